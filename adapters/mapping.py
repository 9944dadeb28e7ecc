"""The mapping language: a YAML file that says which field of a source becomes which value of the canonical record.

A mapping mirrors the record that it makes. It is compiled once, against the schemas: a name that does not exist, an
unknown transform or an impossible target is an error when it is loaded, with its line and the nearest name. What the
schema fixes (types, ids, references, systems) need not be written.

* `{from: FIELD, as: transform}` takes a field; `required: true` rejects a record without it.
* A list makes a list; an object without any value of the source in it is left out.
* `each: {split: FIELD, by: "|"}` makes one resource or item for each part of a field; `from: .` is the part.
* Where items are told apart by a constant (extensions by `url`, identifiers by `system`), an object with their names
will do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from adapters.building import (
    Build,
    Each,
    Items,
    Literal,
    Node,
    Object,
    Resource,
    Source,
)
from adapters.transforms import TRANSFORMS, Transform, TransformError
from schemas.catalogue import Catalogue
from schemas.codes import PREFIX, code_system, code_systems
from schemas.shape import Shape

EXTENSION = "urn:yhdyspinta:extension:"


class MappingError(ValueError):
    """A mapping that cannot be compiled: the line and column (from 1), what is wrong, and how to mend it."""

    def __init__(self, source: str, line: int, column: int, message: str, remedy: str = "") -> None:
        self.line, self.column, self.message, self.remedy = line, column, message, remedy
        super().__init__(f"{source}:{line}:{column}: {message}" + (f" ({remedy})" if remedy else ""))


@dataclass(frozen=True, slots=True)
class CompiledMapping:
    """A compiled mapping."""

    name: str
    source: Mapping[str, Any]
    resources: tuple[Resource, ...]
    fields: frozenset[str]
    optional: frozenset[str]
    ignored: frozenset[str]


def compile_mapping(text: str, catalogue: Catalogue, *, source: str) -> CompiledMapping:
    """Compile a mapping. Raises MappingError."""
    try:
        document = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise MappingError(source, line, column, f"not YAML: {error.problem or error.context}") from None
    if not isinstance(document, CommentedMap):
        raise MappingError(source, 1, 1, "a mapping is a YAML object", "begin with `mapping: NAME`")
    return _Compiler(document, catalogue, source).compile()


class _Compiler:
    def __init__(self, document: CommentedMap, catalogue: Catalogue, source: str) -> None:
        self._document = document
        self._catalogue = catalogue
        self._source = source
        self._fields: set[str] = set()
        self._optional: set[str] = set()

    def compile(self) -> CompiledMapping:
        for name in ("mapping", "source", "resources"):
            if name not in self._document:
                self._fail(self._document, None, f"`{name}` is missing")
        resources: list[Resource] = []
        for kind, templates in self._document["resources"].items():
            schema = self._catalogue.resources.get(kind)
            if schema is None:
                self._fail(
                    self._document["resources"],
                    kind,
                    f"there is no resource {kind!r}",
                    _near(kind, self._catalogue.resources),
                )
                raise AssertionError
            listed = templates if isinstance(templates, CommentedSeq) else (templates,)
            resources += [self._resource(kind, schema.shape, template) for template in listed]
        if not resources or resources[0].kind != "Patient":
            self._fail(self._document, "resources", "the first resource is the person", "begin with `Patient:`")
        return CompiledMapping(
            name=str(self._document["mapping"]),
            source=dict(self._document["source"]),
            resources=tuple(resources),
            fields=frozenset(self._fields),
            optional=frozenset(self._optional),
            ignored=frozenset(self._document.get("ignored", ())),
        )

    def _resource(self, kind: str, shape: Shape, template: CommentedMap) -> Resource:
        each = self._each(template)
        members = self._members(shape, template, skip={"each"})
        filled: dict[str, Node] = {"resourceType": Literal(kind)}
        for name, inner in shape.members.items():
            if name in members:
                filled[name] = members[name]
            elif inner.constant is not None:
                filled.setdefault(name, Literal(inner.constant))
            elif name in {"subject", "patient"} and "reference" in inner.members:
                filled[name] = Object((("reference", Literal("Patient/patient-1")),), form=True)
        return Resource(kind, Object(tuple(filled.items())), each)

    def _each(self, template: Any) -> Each | None:
        stated = template.get("each") if isinstance(template, CommentedMap) else None
        if stated is None:
            return None
        if not isinstance(stated, CommentedMap) or "split" not in stated:
            self._fail(template, "each", "`each` says which field is split", 'write each: {split: FIELD, by: "|"}')
        field = str(stated["split"])
        self._fields.add(field)
        return Each(field, str(stated["by"]) if "by" in stated else None)

    def _members(self, shape: Shape, template: CommentedMap, skip: set[str]) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for name, inner in template.items():
            if name in skip:
                continue
            member = shape.members.get(name)
            if member is None:
                self._fail(template, name, f"the schema has no member {name!r} here", _near(name, shape.members))
                raise AssertionError
            found[name] = self._node(member, inner, template, name)
        return found

    def _node(self, shape: Shape, template: Any, parent: Any, key: Any) -> Node:
        if shape.kind == "array":
            return self._array(shape, template, parent, key)
        if shape.kind == "choice":
            return self._choice(shape, template, parent, key)
        if shape.kind == "object":
            coding = _coding_shape(shape)
            if coding is not None and not (isinstance(template, CommentedMap) and "from" not in template):
                return self._coded(shape, coding, template, parent, key)
            if not isinstance(template, CommentedMap):
                self._fail(parent, key, "an object is written here", f"members: {', '.join(shape.members)}")
            members = self._members(shape, template, skip=set())
            form = {n: Literal(s.constant) for n, s in shape.members.items() if s.constant is not None}
            return Object(tuple({**form, **members}.items()))
        if isinstance(template, CommentedMap):
            return self._source_of(template, parent, key)
        if isinstance(template, CommentedSeq):
            self._fail(parent, key, "one value is written here, not a list")
        return Literal(template)

    def _array(self, shape: Shape, template: Any, parent: Any, key: Any) -> Node:
        assert shape.item is not None
        if isinstance(template, CommentedSeq):
            return Items(
                tuple((self._node(shape.item, one, template, i), self._each(one)) for i, one in enumerate(template))
            )
        if isinstance(template, CommentedMap) and shape.item.kind == "choice" and "from" not in template:
            return Items(
                tuple(
                    node for name, inner in template.items() for node in self._option(shape.item, name, inner, template)
                )
            )
        if isinstance(template, CommentedMap) and "from" in template and shape.item.kind == "value":
            return self._source_of(template, parent, key)  # the transform gives a list
        return Items(((self._node(shape.item, template, parent, key), self._each(template)),))

    def _option(self, shape: Shape, name: str, template: Any, parent: Any) -> Iterator[tuple[Node, Each | None]]:
        """One item that is told apart by a constant, named by that constant or its end."""
        fitting = [one for one in shape.options if one == name or one.rsplit(":", 1)[-1].rsplit("/", 1)[-1] == name]
        if len(fitting) != 1:
            names = [one.rsplit(":", 1)[-1].rsplit("/", 1)[-1] for one in shape.options]
            self._fail(parent, name, f"there is no {shape.key} {name!r} here", _near(name, names))
        option = shape.options[fitting[0]]
        rest = [member for member in option.members if member != shape.key]
        each = self._each(template)
        if each is not None and isinstance(template, CommentedMap):
            template = CommentedMap({k: v for k, v in template.items() if k != "each"})
        yield (
            Object(
                (
                    (shape.key, Literal(fitting[0])),
                    (rest[0], self._node(option.members[rest[0]], template, parent, name)),
                )
            ),
            each,
        )

    def _choice(self, shape: Shape, template: Any, parent: Any, key: Any) -> Node:
        if not isinstance(template, CommentedMap) or template.get(shape.key) not in shape.options:
            self._fail(parent, key, f"name the {shape.key}", f"one of: {', '.join(shape.options)}")
        option = shape.options[template[shape.key]]
        return Object(tuple(self._members(option, template, skip=set()).items()))

    def _coded(self, shape: Shape, coding: Shape, template: Any, parent: Any, key: Any) -> Node:
        """A coded value: a code, or a field with `as: code TABLE`, becomes a Coding with its system."""
        options = coding.options.values() if coding.kind == "choice" else (coding,)
        if isinstance(template, CommentedMap):
            inner: Node = self._source_of(template, parent, key)
            system = _table_system(str(template.get("as", "")))
        else:
            inner, system = Literal(template), None
        systems = {str(option.members["system"].constant): option for option in options}
        if system in systems:
            chosen = system
        elif len(systems) == 1:
            chosen = next(iter(systems))
        else:
            fitting = (
                [
                    one
                    for one, option in systems.items()
                    if template in (code_system(option.members["code"].codes or "").codes)
                ]
                if not isinstance(template, CommentedMap)
                else []
            )
            if len(fitting) != 1:
                self._fail(parent, key, "it is not clear which code system is meant", f"one of: {', '.join(systems)}")
            chosen = fitting[0]
        codes = systems[chosen].members["code"].codes
        if isinstance(inner, Literal) and codes is not None and inner.value not in code_system(codes).codes:
            self._fail(
                parent, key, f"there is no code {inner.value!r}", _near(str(inner.value), code_system(codes).codes)
            )
        form = isinstance(inner, Literal)
        node: Node = Object((("system", Literal(chosen)), ("code", inner)), form=form)
        return node if "coding" not in shape.members else Object((("coding", Items(((node, None),))),), form=form)

    def _source_of(self, template: CommentedMap, parent: Any, key: Any) -> Source:
        unknown = set(template) - {"from", "as", "required", "optional", "each"}
        if "from" not in template or unknown:
            wrong = next(iter(unknown), None)
            self._fail(template, wrong, f"unknown member {wrong!r}" if wrong else "say which field it comes `from`")
        field = str(template["from"])
        if field != ".":
            self._fields.add(field)
            if template.get("optional"):
                self._optional.add(field)
        return Source(field, self._transform(template, parent, key), bool(template.get("required", False)))

    def _transform(self, template: CommentedMap, parent: Any, key: Any) -> Transform:
        named = str(template.get("as", "text"))
        word, _, argument = named.partition(" ")
        if word in {"code", "table"}:
            tables = self._document.get("tables", {})
            if argument in tables:
                return _table(named, tables[argument])
            if word == "code" and argument in code_systems():
                return _table(named, {code: code for code in code_system(argument).codes})
            self._fail(
                template, "as", f"there is no code table {argument!r}", _near(argument, [*tables, *code_systems()])
            )
        found = TRANSFORMS.get(named)
        if found is None:
            self._fail(template, "as", f"there is no transform {named!r}", _near(named, TRANSFORMS))
            raise AssertionError
        return found

    def _fail(self, holder: Any, key: Any, message: str, remedy: str = "") -> None:
        line, column = 0, 0
        try:
            if isinstance(holder, CommentedSeq):
                line, column = holder.lc.item(key)
            elif isinstance(holder, CommentedMap):
                line, column = holder.lc.key(key) if key is not None else (holder.lc.line, holder.lc.col)
        except (KeyError, AttributeError, TypeError):
            line, column = getattr(holder.lc, "line", 0) or 0, getattr(holder.lc, "col", 0) or 0
        raise MappingError(self._source, line + 1, column + 1, message, remedy)


def _coding_shape(shape: Shape) -> Shape | None:
    """The shape of the Coding in a CodeableConcept or a Coding; None for any other object."""
    if "coding" in shape.members:
        return shape.members["coding"].item
    return shape if {"system", "code"} <= shape.members.keys() else None


def _table_system(named: str) -> str | None:
    word, _, argument = named.partition(" ")
    return PREFIX + argument if word == "code" and argument in code_systems() else None


def _table(name: str, table: Mapping[Any, Any]) -> Transform:
    forward = {str(one).strip().lower(): value for one, value in table.items()}
    backward: dict[Any, str] = {}
    for one, value in table.items():
        backward.setdefault(value, str(one))

    def look_up(value: Any) -> Any:
        try:
            return forward[str(value).strip().lower()]
        except KeyError:
            raise TransformError("code-unknown") from None

    def look_back(value: Any) -> Any:
        try:
            return backward[value]
        except KeyError:
            raise TransformError("code-unknown") from None

    return Transform(name, "A value of a table.", ("", ""), look_up, look_back)


def _near(name: str, names: Any) -> str:
    near = difflib.get_close_matches(str(name), [str(one) for one in names], 1, 0.5)
    return f"did you mean {near[0]!r}?" if near else "one of: " + ", ".join(str(one) for one in names)


__all__ = ["Build", "CompiledMapping", "MappingError", "compile_mapping"]
