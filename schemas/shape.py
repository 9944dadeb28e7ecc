"""A schema compiled into a tree of shapes, in which each value knows its data category.

The JSON Schemas are written in a small, regular part of the language (objects, arrays, values, and choices told apart
by one constant member such as an extension's `url`). Validation, projection and adapters all walk the same compiled
tree, so that no value can be valid without having a category.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from schemas.categories import STRUCTURE, known

#: Stands for "the category of the resource that holds this value", which depends on the resource's code.
OWN = "*"
#: The member that points at another resource of the record.
REFERENCE = "reference"


class SchemaError(ValueError):
    """A shipped schema breaks the rules that the rest stands on; names the place."""


@dataclass(frozen=True, slots=True)
class ByCode:
    """The category of a resource is that of its code: where the code stands, and in which code system."""

    steps: tuple[str | int, ...]
    codes: str


@dataclass(frozen=True, slots=True)
class Shape:
    """One place in a resource. `category` is a data category, `structure`, or `*` for the resource's own."""

    kind: Literal["object", "array", "choice", "value"]
    category: str
    members: Mapping[str, Shape] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    item: Shape | None = None
    key: str = ""
    options: Mapping[str, Shape] = field(default_factory=dict)
    types: frozenset[str] = frozenset()
    constant: str | None = None
    allowed: frozenset[str] | None = None
    codes: str | None = None
    pattern: re.Pattern[str] | None = None

    #: Whether every value below this place is structure.
    carries_nothing: bool = field(init=False, default=False)
    #: The members by which one comes to a reference, at this place or below.
    referring: tuple[tuple[str, Shape], ...] = field(init=False, default=(), repr=False, compare=False)
    #: Whether a reference stands below this place.
    refers: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        below = [*self.members.values(), *self.options.values(), *([self.item] if self.item is not None else ())]
        nothing = all(element.carries_nothing for element in below) if below else self.category == STRUCTURE
        object.__setattr__(self, "carries_nothing", nothing and (bool(below) or self.kind == "value"))
        referring = [
            (name, member)
            for name, member in self.members.items()
            if member.refers or (name == REFERENCE and member.kind == "value")
        ]
        object.__setattr__(self, "referring", tuple(referring))
        object.__setattr__(self, "refers", bool(referring) or any(element.refers for element in below))

    def is_form(self, value: Any) -> bool:
        """Whether a value of pure structure is what its place asks for, and so can carry nothing."""
        if self.constant is not None:
            return bool(value == self.constant)
        return self.pattern is not None and isinstance(value, str) and self.pattern.fullmatch(value) is not None

    def values(self, path: str = "") -> Iterator[tuple[str, Shape]]:
        """Every value below this place with its path: `name.family`, `extension[url=…].valueBoolean`."""
        if self.kind == "value":
            yield path, self
        elif self.kind == "object":
            for name, member in self.members.items():
                yield from member.values(f"{path}.{name}" if path else name)
        elif self.kind == "array":
            assert self.item is not None
            yield from self.item.values(path)
        else:
            for constant, option in self.options.items():
                yield from option.values(f"{path}[{self.key}={constant}]")


def by_code(schema: Mapping[str, Any]) -> ByCode | None:
    """How the resource's own category is found, if it depends on its code."""
    stated = schema.get("x-category")
    if not isinstance(stated, Mapping):
        return None
    steps = tuple(int(step) if step.isdigit() else step for step in str(stated["by"]).strip("/").split("/"))
    return ByCode(steps, str(stated["codes"]))


def compile_shape(schema: Mapping[str, Any], *, place: str, inherited: str | None = None) -> Shape:
    """Compile one schema. Raises SchemaError for a value without a category or a form that is not understood."""
    stated = schema.get("x-category")
    category = OWN if isinstance(stated, Mapping) else stated or inherited
    if category is not None and category not in (OWN, STRUCTURE) and not known(category):
        raise SchemaError(f"{place}: there is no data category {category!r}")
    if "anyOf" in schema:
        return _choice(schema, category, place)
    if schema.get("type") == "array":
        return Shape(
            "array", category or "", item=compile_shape(schema["items"], place=f"{place}[]", inherited=category)
        )
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            raise SchemaError(f"{place}: unknown members must be refused (additionalProperties: false)")
        # An object's form is its own; what it holds inherits.
        below = None if category == STRUCTURE else category
        return Shape(
            "object",
            category or "",
            members={
                name: compile_shape(member, place=f"{place}.{name}", inherited=below)
                for name, member in schema["properties"].items()
            },
            required=frozenset(schema.get("required", ())),
        )
    if category is None:
        raise SchemaError(f"{place}: the value has no data category (x-category)")
    constant = schema.get("const")
    if category == STRUCTURE and constant is None and "pattern" not in schema:
        raise SchemaError(f"{place}: structure is a constant or has a pattern, so that it can carry no content")
    types = schema.get("type", "string")
    return Shape(
        "value",
        category,
        types=frozenset([types] if isinstance(types, str) else types),
        constant=constant,
        allowed=frozenset(schema["enum"]) if "enum" in schema else None,
        codes=schema.get("x-codes"),
        pattern=re.compile(schema["pattern"]) if "pattern" in schema else None,
    )


def _choice(schema: Mapping[str, Any], category: str | None, place: str) -> Shape:
    options = schema["anyOf"]
    keys = [
        name
        for name, member in options[0]["properties"].items()
        if all("const" in option["properties"].get(name, {}) for option in options) and "const" in member
    ]
    if len(keys) != 1:
        raise SchemaError(f"{place}: the choices are not told apart by one constant member")
    key = keys[0]
    return Shape(
        "choice",
        category or "",
        key=key,
        options={
            option["properties"][key]["const"]: compile_shape(
                option, place=f"{place}({option['properties'][key]['const']})", inherited=category
            )
            for option in options
        },
    )
