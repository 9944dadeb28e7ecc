"""Compile what a mapping makes into nodes that make it, against the schemas."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from copy import copy
from dataclasses import replace
from typing import Any, TypeVar

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from adapters.building import Each, Items, Literal, Object, Resource, Source
from adapters.conditions import Condition, When
from adapters.faults import Faults, near
from adapters.protecting import DECLARED, Then, paths, rule_of
from adapters.tables import Tables, folded
from adapters.transforms import TRANSFORMS, Transform, short_date
from adapters.under_way import NOTHING, Node
from schemas.catalogue import Catalogue
from schemas.codes import PREFIX, code_system, code_systems
from schemas.shape import Shape

#: What can be said of a value that comes from a field.
VALUE_MEMBERS = ("from", "as", "required", "optional", "or", "default", "each", "when", "unless")
#: Where a resource says whom it is about; a mapping need not.
_ABOUT = frozenset({"subject", "patient", "for"})

#: Words of the language that may stand in any object, and are no members of it.
_WORDS = frozenset({"each", "when", "unless", "keep"})

_T = TypeVar("_T")


class Compiler:
    """Makes the nodes of a mapping from what stands under `resources`. Raises MappingError."""

    def __init__(
        self, catalogue: Catalogue, faults: Faults, transforms: Mapping[str, Transform], tables: Tables
    ) -> None:
        self._catalogue = catalogue
        self._faults = faults
        self._transforms = transforms
        self._tables = tables
        #: The fields that are taken, those of them that may be missing, and the members that are taken of lists.
        self.fields: set[str] = set()
        self.optional: set[str] = set()
        self.parts: dict[str, set[str]] = {}
        #: The fields that only a condition looks at.
        self.conditional: set[str] = set()
        #: The facts that the mapping makes, by the paths of their values.
        self.made: set[str] = set()
        #: The fields of identity codes, with the list of whose parts they are members.
        self.codes: list[tuple[str, Each | None]] = []
        self._each_of: Each | None = None
        self._code = ""
        self._protects = False

    def resources(self, stated: CommentedMap) -> Iterator[Resource]:
        for kind, templates in stated.items():
            schema = self._catalogue.resources.get(kind)
            if schema is None:
                self._faults.fail(stated, kind, f"there is no resource {kind!r}", near(kind, self._catalogue.resources))
            listed = templates if isinstance(templates, CommentedSeq) else CommentedSeq([templates])
            for index, template in enumerate(listed):
                if not isinstance(template, CommentedMap):
                    holder, key = (templates, index) if listed is templates else (stated, kind)
                    self._faults.fail(
                        holder, key, "a resource is an object", f"members: {', '.join(schema.shape.members)}"
                    )
                yield self._resource(kind, schema.shape, template, stated)

    def _resource(self, kind: str, shape: Shape, template: CommentedMap, parent: CommentedMap) -> Resource:
        self._code = str(template.get("code", ""))
        each, members = self._within(template, lambda: self._members(shape, template, skip=_WORDS))
        filled: dict[str, Node] = {"resourceType": Literal(kind)}
        for name, inner in shape.members.items():
            if name in members:
                filled[name] = members[name]
            elif inner.constant is not None:
                filled.setdefault(name, Literal(inner.constant))
            elif name in _ABOUT and "reference" in inner.members:
                filled[name] = Object((("reference", Literal("Patient/patient-1")),), form=True)
        self._covered(shape, {*filled, "id"}, template, parent, kind)
        template_node = Object(tuple(filled.items()), form=_is_constant(members) or self._is_kept(template))
        return Resource(kind, self._guarded(template_node, template), each)

    def _covered(self, shape: Shape, found: Collection[str], template: Any, parent: Any, key: Any) -> None:
        missing = sorted(shape.required - set(found))
        if missing:
            holder, at = (template, None) if isinstance(template, CommentedMap) and template.lc.line else (parent, key)
            self._faults.fail(holder, at, f"`{missing[0]}` is required here and not mapped", f"add {missing[0]}: …")

    def _within(self, template: Any, make: Callable[[], _T]) -> tuple[Each | None, _T]:
        """What stands within a template's `each`, where `./NAME` is a member of the part."""
        each = self._each(template)
        outer = self._each_of
        self._each_of = each or outer
        around, self._protects = self._protects, False
        made = make()
        if each is not None and self._protects:
            each = replace(each, protects=True)
        self._each_of, self._protects = outer, around or self._protects
        return each, made

    def _each(self, template: Any) -> Each | None:
        stated = template.get("each") if isinstance(template, CommentedMap) else None
        if stated is None:
            return None
        given = set(stated) if isinstance(stated, CommentedMap) else set()
        if not given or not (
            (given <= {"split", "by"} and "split" in given) or (given <= {"of", "where"} and "of" in given)
        ):
            self._faults.fail(
                template,
                "each",
                "`each` says which field is split, or of which list it takes the objects",
                'write each: {split: FIELD, by: "|"} or each: {of: FIELD}',
            )
        if "split" in stated:
            field = str(stated["split"])
            self.fields.add(field)
            return Each(field, str(stated["by"]) if "by" in stated else None)
        field = str(stated["of"])
        self.fields.add(field)
        where = tuple(
            (str(name), None if value is None else str(value)) for name, value in (stated.get("where") or {}).items()
        )
        names = self.parts.setdefault(field, set())
        names.update(name for name, _ in where)
        return Each(field, names=names, where=where)

    def _members(self, shape: Shape, template: CommentedMap, skip: Collection[str] = ()) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for name, inner in template.items():
            if name in skip:
                continue
            member = shape.members.get(name)
            if member is None:
                self._faults.fail(template, name, f"the schema has no member {name!r} here", near(name, shape.members))
            found[name] = self._node(member, inner, template, name)
        return found

    def _node(self, shape: Shape, template: Any, parent: Any, key: Any) -> Node:
        before = set(self.fields)
        node = self._bare(shape, template, parent, key)
        return self._guarded(node, template, self.fields - before) if isinstance(template, CommentedMap) else node

    def _guarded(self, node: Node, template: CommentedMap, within: Collection[str] = ()) -> Node:
        """A node under the conditions that its template states."""
        conditions = []
        for word in ("when", "unless"):
            stated = template.get(word)
            if stated is None:
                continue
            if not isinstance(stated, CommentedMap) or not stated:
                self._faults.fail(template, word, f"`{word}` names fields and values", "write {FIELD: [VALUE, VALUE]}")
            values: dict[str, frozenset[str]] = {}
            for name, wanted in stated.items():
                listed = wanted if isinstance(wanted, CommentedSeq) else [wanted]
                values[str(name)] = frozenset(folded(value) for value in listed)
                if str(name).startswith("./"):
                    if self._each_of is None or self._each_of.names is None:
                        self._faults.fail(stated, name, f"there is no part {name!r} here", "it needs each: {of: …}")
                    self._each_of.names.add(str(name)[2:])
                else:
                    self.fields.add(str(name))
                    self.conditional.add(str(name))
            conditions.append(Condition(values, word == "unless"))
        return When(node, tuple(conditions), frozenset(within)) if conditions else node

    def _bare(self, shape: Shape, template: Any, parent: Any, key: Any) -> Node:
        if shape.kind == "array":
            return self._array(shape, template, parent, key)
        if shape.kind == "choice":
            return self._choice(shape, template, parent, key)
        if shape.kind == "object":
            return self._filled(shape, template, parent, key)
        if isinstance(template, CommentedMap):
            return self._source_of(template, shape, parent, key)
        if isinstance(template, CommentedSeq):
            self._faults.fail(parent, key, "one value is written here, not a list", "write the value alone")
        if shape.allowed is not None and template not in shape.allowed:
            self._faults.fail(
                parent, key, f"{template!r} is not allowed here", near(str(template), sorted(shape.allowed))
            )
        return self._constant(template, paths().get(id(shape), ""), parent, key)

    def _constant(self, value: Any, path: str, parent: Any, key: Any) -> Literal:
        """A constant. That a protection does not hold no mapping can say of everybody whom it has not met."""
        fact = next((fact for fact, declared in DECLARED.items() if path.startswith(declared)), None)
        if fact is not None and value is not True:
            message = f"“{fact}” is said of everybody here, whatever their record says"
            self._faults.fail(parent, key, message, f"map a field, or write cannot-say: [{fact}]")
        self.made.add(path)
        return Literal(value)

    def _filled(self, shape: Shape, template: Any, parent: Any, key: Any) -> Node:
        coding = _coding_shape(shape)
        if coding is not None and not (isinstance(template, CommentedMap) and "from" not in template):
            return self._coded(shape, coding, template, parent, key)
        if not isinstance(template, CommentedMap):
            self._faults.fail(parent, key, "an object is written here", f"members: {', '.join(shape.members)}")
        members = self._members(shape, template, skip=_WORDS)
        form = {n: Literal(s.constant) for n, s in shape.members.items() if s.constant is not None}
        self._covered(shape, {*form, *members}, template, parent, key)
        is_kept = _is_constant(members) or self._is_kept(template)
        return Object(tuple({**form, **members}.items()), form=is_kept)

    def _is_kept(self, template: CommentedMap) -> bool:
        """Whether an object stays though no value of the source is in it."""
        if not isinstance(template.get("keep", False), bool):
            self._faults.fail(template, "keep", "`keep` is yes or no", "write true, or leave it out")
        return bool(template.get("keep", False))

    def _array(self, shape: Shape, template: Any, parent: Any, key: Any) -> Node:
        item = shape.item
        assert item is not None
        if isinstance(template, CommentedSeq):
            return Items(tuple(self._item(item, one, template, index) for index, one in enumerate(template)))
        if isinstance(template, CommentedMap) and item.kind == "choice" and "from" not in template:
            named = {name: inner for name, inner in template.items() if name not in _WORDS}
            return Items(tuple(self._option(item, name, inner, template) for name, inner in named.items()))
        if isinstance(template, CommentedMap) and "from" in template and item.kind == "value":
            return self._source_of(template, shape, parent, key)  # the transform gives a list
        return Items((self._item(item, template, parent, key),))

    def _item(self, shape: Shape, template: Any, parent: Any, key: Any) -> tuple[Node, Each | None]:
        each, node = self._within(template, lambda: self._node(shape, template, parent, key))
        return node, each

    def _option(self, shape: Shape, name: str, template: Any, parent: Any) -> tuple[Node, Each | None]:
        """One item that is told apart by a constant, named by that constant or its end."""
        names = [option.rsplit(":", 1)[-1].rsplit("/", 1)[-1] for option in shape.options]
        fitting = [one for one, end in zip(shape.options, names, strict=True) if name in (one, end)]
        if len(fitting) != 1:
            self._faults.fail(parent, name, f"there is no {shape.key} {name!r} here", near(name, names))
        option = shape.options[fitting[0]]
        rest = next(member for member in option.members if member != shape.key)
        each, node = self._within(
            template, lambda: self._node(option.members[rest], _without_each(template), parent, name)
        )
        is_kept = _is_constant({rest: node}) or (isinstance(template, CommentedMap) and self._is_kept(template))
        return Object(((shape.key, Literal(fitting[0])), (rest, node)), form=is_kept), each

    def _choice(self, shape: Shape, template: Any, parent: Any, key: Any) -> Node:
        if not isinstance(template, CommentedMap) or template.get(shape.key) not in shape.options:
            self._faults.fail(parent, key, f"name the {shape.key}", f"one of: {', '.join(shape.options)}")
        option = shape.options[template[shape.key]]
        members = self._members(option, template, skip=_WORDS)
        self._covered(option, members, template, parent, key)
        is_kept = _is_constant({name: node for name, node in members.items() if name != shape.key})
        return Object(tuple(members.items()), form=is_kept or self._is_kept(template))

    def _coded(self, shape: Shape, coding: Shape, template: Any, parent: Any, key: Any) -> Node:
        """A coded value: a code, or a field with `as: code TABLE`, becomes a Coding with its system."""
        options = coding.options.values() if coding.kind == "choice" else (coding,)
        systems = {str(option.members["system"].constant): option for option in options}
        chosen = self._system(systems, template, parent, key)
        codes = systems[chosen].members["code"]
        inner: Node
        if isinstance(template, CommentedMap):
            inner = self._source_of(template, codes, parent, key)
        else:
            if codes.codes is not None and template not in code_system(codes.codes).codes:
                meant = near(str(template), code_system(codes.codes).codes)
                self._faults.fail(parent, key, f"there is no code {template!r}", meant)
            inner = Literal(template)
        form = isinstance(inner, Literal)
        node: Node = Object((("system", Literal(chosen)), ("code", inner)), form=form)
        return node if "coding" not in shape.members else Object((("coding", Items(((node, None),))),), form=form)

    def _system(self, systems: Mapping[str, Shape], template: Any, parent: Any, key: Any) -> str:
        if len(systems) == 1:
            return next(iter(systems))
        if isinstance(template, CommentedMap):
            table = self._transform(template).name
            fitting = [system for system in systems if system == _table_system(table)]
            if not fitting:
                codes = set(self._tables.values(table))
                fitting = [one for one, shape in systems.items() if codes and codes <= set(_codes_of(shape))]
        else:
            fitting = [one for one, shape in systems.items() if template in _codes_of(shape)]
        if len(fitting) != 1:
            self._faults.fail(
                parent, key, "it is not clear which code system is meant", f"one of: {', '.join(systems)}"
            )
        return fitting[0]

    def _source_of(self, template: CommentedMap, shape: Shape, parent: Any, key: Any) -> Source:
        for name in template:
            if name not in VALUE_MEMBERS:
                self._faults.fail(template, name, f"unknown member {name!r}", near(name, VALUE_MEMBERS))
        if not isinstance(template.get("from"), str) or not template["from"]:
            self._faults.fail(
                template, "from" if "from" in template else None, "say which field it comes `from`", "from: FIELD"
            )
        for name in ("required", "optional"):
            if not isinstance(template.get(name, False), bool):
                self._faults.fail(template, name, f"`{name}` is yes or no", "write true, or leave it out")
        named = str(template["from"])
        if not named.startswith("."):
            self.fields.add(named)
            if template.get("optional"):
                self.optional.add(named)
        elif self._each_of is None or (named != ".") != (self._each_of.names is not None):
            self._faults.fail(
                template,
                "from",
                f"there is no part {named!r} here",
                "it needs `each`: {split: …} for ., {of: …} for ./NAME",
            )
        elif self._each_of.names is not None:
            self._each_of.names.add(named[2:])
        transform = _fitted(self._transform(template), shape)
        self._possible(transform, shape, template, parent, key)
        path = paths().get(id(shape if shape.item is None else shape.item), "")
        if path.startswith("Observation"):  # what it is about, and so what protects it, its code tells
            path = f"Observation({self._code}){path.removeprefix('Observation')}"
        if ".identifier" in path and transform.name == "hetu" and named != ".":
            self.codes.append((named, self._each_of if named.startswith("./") else None))
        is_required = bool(template.get("required", False))
        costs = self._costs(template, path)
        default = self._default(template, shape, path) if "default" in template else NOTHING
        is_quiet = not is_required and default is NOTHING
        return Source(named, transform, is_required, costs, ".identifier" in path, default, ".name." in path, is_quiet)

    def _default(self, template: CommentedMap, shape: Shape, path: str) -> Any:
        """The value for an empty field. Of a fact that protects or permits nobody may invent one."""
        default = template["default"]
        rule = rule_of(path)
        if not rule.costs:
            message = f"a value of “{rule.fact}” has no default"
            self._faults.fail(template, "default", message, "leave it out: an empty field says nothing")
        allowed = shape.allowed or (code_system(shape.codes).codes if shape.codes else None)
        if allowed is not None and default not in allowed:
            self._faults.fail(template, "default", f"{default!r} is not allowed here", near(default, allowed))
        return default

    def _costs(self, template: CommentedMap, path: str) -> bool:
        """Whether a value that cannot be taken costs itself alone: as the table of rules says, or the mapping."""
        rule = rule_of(path)
        self.made.add(path)
        self._protects = self._protects or rule.withdrawn is Then.STOPS
        told = template.get("or")
        if told not in (None, "drop", "reject"):
            self._faults.fail(template, "or", f"there is no {told!r} here", "write or: drop, or or: reject")
        if told == "drop" and not rule.costs:
            self._faults.fail(
                template, "or", f"a value of “{rule.fact}” that cannot be read stops the record", "leave `or` out"
            )
        return rule.costs and told != "reject" and not template.get("required", False)

    def _possible(self, transform: Transform, shape: Shape, template: CommentedMap, parent: Any, key: Any) -> None:
        """Whether what a transform gives can stand at a place of the schema."""
        at = "as" if "as" in template else "from"
        wanted = frozenset({"array"}) if shape.kind == "array" else shape.types
        if transform.gives and transform.gives not in wanted:
            asked = " or ".join(sorted(wanted))
            self._faults.fail(
                template, at, f"{transform.name!r} gives {transform.gives}, and {asked} stands here", _giving(wanted)
            )
        choices = shape.allowed or (code_system(shape.codes).codes if shape.codes else None)
        if choices is not None and self._tables.values(transform.name):
            alien = [value for value in self._tables.values(transform.name) if value not in choices]
            if alien:
                self._faults.fail(
                    template,
                    at,
                    f"{transform.name!r} gives other codes than stand here: {alien[0]!r}",
                    near(alien[0], choices)
                    if shape.codes is None
                    else f"give codes of {shape.codes}: {near(alien[0], choices)}",
                )

    def _transform(self, template: CommentedMap) -> Transform:
        named = str(template.get("as", "text"))
        found = self._tables.transform(named, template) or self._transforms.get(named)
        word, _, first = named.partition(" ")
        if found is None and word == "short-date":
            if re.fullmatch(r"(18|19|20)[0-9]{2}", first) is None:
                message = "a year of two digits is one of two hundred years"
                self._faults.fail(template, "as", message, "write short-date 1930 for the years 1930 to 2029")
            return short_date(int(first))
        if found is None:
            self._faults.fail(template, "as", f"there is no transform {named!r}", near(named, self._transforms))
        return found


def _is_constant(members: Mapping[str, Node]) -> bool:
    """Whether the mapping says it all, and the source nothing: then it is said of every record."""
    return bool(members) and all(_says(node) for node in members.values())


def _says(node: Node) -> bool:
    match node:
        case Literal():
            return True
        case Object():
            return node.form or all(_says(member) for _, member in node.members)
        case Items():
            return bool(node.templates) and all(each is None and _says(item) for item, each in node.templates)
        case _:
            return False


def _without_each(template: Any) -> Any:
    if not isinstance(template, CommentedMap) or "each" not in template:
        return template
    rest = copy(template)
    del rest["each"]
    return rest


def _codes_of(coding: Shape) -> Collection[str]:
    named = coding.members["code"].codes
    return code_system(named).codes if named else ()


def _giving(types: Collection[str]) -> str:
    fitting = [transform.name for transform in TRANSFORMS.values() if transform.gives in types]
    return "one of: " + ", ".join(fitting) if fitting else "map the parts of it"


def _fitted(transform: Transform, shape: Shape) -> Transform:
    """A transform as it works at a place: one that takes days takes a year alone where one may stand."""
    if transform.in_part is None or shape.pattern is None or shape.pattern.fullmatch("1990") is None:
        return transform
    return replace(transform, forward=transform.in_part)


def _coding_shape(shape: Shape) -> Shape | None:
    """The shape of the Coding in a CodeableConcept or a Coding; None for any other object."""
    if "coding" in shape.members:
        return shape.members["coding"].item
    return shape if {"system", "code"} <= shape.members.keys() else None


def _table_system(named: str) -> str | None:
    word, _, argument = named.partition(" ")
    return PREFIX + argument if word == "code" and argument in code_systems() else None
