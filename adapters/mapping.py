"""The mapping language: a YAML file that says which field of a source becomes which value of the canonical record.

A mapping mirrors the record that it makes. It is compiled once, against the schemas: a name that does not exist, an
unknown transform or an impossible target is an error when it is loaded, with its line and the nearest name. What the
schema fixes (types, ids, references, systems) need not be written.

* `{from: FIELD, as: transform}` takes a field; `required: true` rejects a record without it.
* A list makes a list; an object without any value of the source in it is left out.
* `each: {split: FIELD, by: "|"}` makes one resource or item for each part of a field; `from: .` is the part.
* `each: {of: FIELD, where: {NAME: VALUE}}` does so for each object of a list, or for those with such members;
`from: ./NAME` is a member of it. This is the one condition that there is.
* Where items are told apart by a constant (extensions by `url`, identifiers by `system`), an object with their names
will do.
* Anything harder is a Python function in the adapter's folder, named by `as` like the transforms that are here.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

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
from adapters.layouts import MEMBERS as LAYOUT
from adapters.layouts import LayoutError, layout_of
from adapters.protecting import Then, paths, rule_of
from adapters.transforms import TRANSFORMS, Transform, TransformError
from schemas.catalogue import Catalogue
from schemas.codes import PREFIX, code_system, code_systems
from schemas.shape import Shape

EXTENSION = "urn:yhdyspinta:extension:"

#: Where a resource says whom it is about; a mapping need not.
_ABOUT = frozenset({"subject", "patient", "for"})

_T = TypeVar("_T")


class MappingError(ValueError):
    """A mapping that cannot be compiled: the line and column (from 1), what is wrong, and how to mend it."""

    def __init__(self, source: str, line: int, column: int, message: str, remedy: str = "") -> None:
        self.line, self.column, self.message, self.remedy = line, column, message, remedy
        super().__init__(f"{source}:{line}:{column}: {message}" + (f" ({remedy})" if remedy else ""))


@dataclass(frozen=True, slots=True)
class CompiledMapping:
    """A compiled mapping: its resources, the fields of the source that it takes, those it takes if they are there, and
    those it leaves out on purpose; of each field that is a list of objects, the members that it takes.
    """

    name: str
    source: Mapping[str, Any]
    resources: tuple[Resource, ...]
    fields: frozenset[str]
    optional: frozenset[str]
    ignored: frozenset[str]
    parts: Mapping[str, frozenset[str]] = field(default_factory=dict)


#: What a mapping says of its source, by format: what must be said, and what may.
_FORMATS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "csv": (frozenset({"encoding", "delimiter", "key"}), frozenset({"layout"})),
    "fixed": (frozenset({"encoding", "key", "layout"}), frozenset()),
    "xml": (frozenset({"record", "key"}), frozenset({"root", "layout"})),
    "json": (frozenset({"key"}), frozenset({"nested", "layout"})),
    "xlsx": (frozenset({"sheet", "key"}), frozenset({"layout"})),
    "hl7": (frozenset({"messages", "key"}), frozenset({"repeating"})),
}
_MEMBERS = ("mapping", "version", "source", "tables", "ignored", "resources")
_TYPES = {bool: "boolean", int: "integer", str: "string"}


def compile_mapping(
    text: str, catalogue: Catalogue, *, source: str, functions: Mapping[str, Transform] | None = None
) -> CompiledMapping:
    """Compile a mapping; `functions` are the adapter's own transforms, by the names that `as` gives them.

    Raises MappingError.
    """
    try:
        document = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise MappingError(source, line, column, f"not YAML: {error.problem or error.context}") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise MappingError(source, 1, 1, f"not YAML: {type(error).__name__}") from None
    if not isinstance(document, CommentedMap):
        raise MappingError(source, 1, 1, "a mapping is a YAML object", "begin with `mapping: NAME`")
    return _Compiler(document, catalogue, source, {**TRANSFORMS, **(functions or {})}).compile()


class _Compiler:
    def __init__(
        self, document: CommentedMap, catalogue: Catalogue, source: str, transforms: Mapping[str, Transform]
    ) -> None:
        self._document = document
        self._catalogue = catalogue
        self._source = source
        self._transforms = transforms
        self._fields: set[str] = set()
        self._optional: set[str] = set()
        self._parts: dict[str, set[str]] = {}
        self._each_of: Each | None = None
        self._code = ""
        self._protects = False

    def compile(self) -> CompiledMapping:
        for name in ("mapping", "source", "resources"):
            if name not in self._document:
                self._fail(self._document, None, f"`{name}` is missing")
        for name in self._document:
            if name not in _MEMBERS:
                self._fail(self._document, name, f"unknown member {name!r}", _near(name, _MEMBERS))
        self._check_source(self._object(self._document, "source"))
        for name in self._document.get("tables") or ():
            self._object(self._object(self._document, "tables"), name, "a table is an object", "{VALUE: code, …}")
        ignored = self._document.get("ignored") or ()
        if isinstance(ignored, str) or not all(isinstance(name, str) for name in ignored):
            self._fail(self._document, "ignored", "`ignored` is a list of fields", "write ignored: [FIELD, …]")
        resources = tuple(self._resources(self._object(self._document, "resources")))
        if not resources or resources[0].kind != "Patient":
            self._fail(self._document, "resources", "the first resource is the person", "begin with `Patient:`")
        return CompiledMapping(
            name=str(self._document["mapping"]),
            source=dict(self._document["source"]),
            resources=resources,
            fields=frozenset(self._fields),
            optional=frozenset(self._optional),
            ignored=frozenset(ignored),
            parts={name: frozenset(names) for name, names in self._parts.items()},
        )

    def _check_source(self, source: CommentedMap) -> None:
        must, may = _FORMATS.get(source.get("format", ""), (None, None))
        if must is None or may is None:
            told = source.get("format", "")
            self._fail(
                source, "format" if "format" in source else None, f"there is no format {told!r}", _near(told, _FORMATS)
            )
        for name in source:
            if name != "format" and name not in must | may:
                self._fail(source, name, f"unknown member {name!r}", _near(name, sorted(must | may)))
        missing = sorted(must - set(source))
        if missing:
            self._fail(self._document, "source", f"`{missing[0]}` is missing", f"say: {', '.join(sorted(must))}")
        if "layout" in source:
            self._check_layout(source["format"], self._object(source, "layout"))

    def _check_layout(self, form: str, layout: CommentedMap) -> None:
        for name in layout:
            if name not in LAYOUT[form]:
                self._fail(layout, name, f"unknown member {name!r}", _near(name, sorted(LAYOUT[form])))
        try:
            found = layout_of(layout)
        except LayoutError as error:
            at = error.member if error.member in layout else None
            self._fail(layout, at, str(error), error.remedy)
        if form == "fixed" and (not found.widths or len(found.widths) != len(found.columns)):
            self._fail(layout, None, "each column has a name and a width", "write columns: [NAME, …], widths: [8, …]")

    def _object(self, holder: Any, key: Any, message: str = "", remedy: str = "") -> CommentedMap:
        found = holder[key]
        if not isinstance(found, CommentedMap):
            self._fail(holder, key, message or f"`{key}` is an object", remedy or "write NAME: VALUE below it")
        return found

    def _resources(self, stated: CommentedMap) -> Iterator[Resource]:
        for kind, templates in stated.items():
            schema = self._catalogue.resources.get(kind)
            if schema is None:
                self._fail(stated, kind, f"there is no resource {kind!r}", _near(kind, self._catalogue.resources))
            listed = templates if isinstance(templates, CommentedSeq) else CommentedSeq([templates])
            for index, template in enumerate(listed):
                if not isinstance(template, CommentedMap):
                    holder, key = (templates, index) if listed is templates else (stated, kind)
                    self._fail(holder, key, "a resource is an object", f"members: {', '.join(schema.shape.members)}")
                yield self._resource(kind, schema.shape, template, stated)

    def _resource(self, kind: str, shape: Shape, template: CommentedMap, parent: CommentedMap) -> Resource:
        self._code = str(template.get("code", ""))
        each, members = self._within(template, lambda: self._members(shape, template, skip={"each"}))
        filled: dict[str, Node] = {"resourceType": Literal(kind)}
        for name, inner in shape.members.items():
            if name in members:
                filled[name] = members[name]
            elif inner.constant is not None:
                filled.setdefault(name, Literal(inner.constant))
            elif name in _ABOUT and "reference" in inner.members:
                filled[name] = Object((("reference", Literal("Patient/patient-1")),), form=True)
        self._covered(shape, {*filled, "id"}, template, parent, kind)
        return Resource(kind, Object(tuple(filled.items())), each)

    def _covered(self, shape: Shape, found: Collection[str], template: Any, parent: Any, key: Any) -> None:
        missing = sorted(shape.required - set(found))
        if missing:
            holder, at = (template, None) if isinstance(template, CommentedMap) and template.lc.line else (parent, key)
            self._fail(holder, at, f"`{missing[0]}` is required here and not mapped", f"add {missing[0]}: …")

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
            self._fail(
                template,
                "each",
                "`each` says which field is split, or of which list it takes the objects",
                'write each: {split: FIELD, by: "|"} or each: {of: FIELD}',
            )
        if "split" in stated:
            field = str(stated["split"])
            self._fields.add(field)
            return Each(field, str(stated["by"]) if "by" in stated else None)
        field = str(stated["of"])
        self._fields.add(field)
        where = tuple((str(name), str(value)) for name, value in (stated.get("where") or {}).items())
        names = self._parts.setdefault(field, set())
        names.update(name for name, _ in where)
        return Each(field, names=names, where=where)

    def _members(self, shape: Shape, template: CommentedMap, skip: Collection[str] = ()) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for name, inner in template.items():
            if name in skip:
                continue
            member = shape.members.get(name)
            if member is None:
                self._fail(template, name, f"the schema has no member {name!r} here", _near(name, shape.members))
            found[name] = self._node(member, inner, template, name)
        return found

    def _node(self, shape: Shape, template: Any, parent: Any, key: Any) -> Node:
        if shape.kind == "array":
            return self._array(shape, template, parent, key)
        if shape.kind == "choice":
            return self._choice(shape, template, parent, key)
        if shape.kind == "object":
            return self._filled(shape, template, parent, key)
        if isinstance(template, CommentedMap):
            return self._source_of(template, shape, parent, key)
        if isinstance(template, CommentedSeq):
            self._fail(parent, key, "one value is written here, not a list", "write the value alone")
        if shape.allowed is not None and template not in shape.allowed:
            self._fail(parent, key, f"{template!r} is not allowed here", _near(str(template), sorted(shape.allowed)))
        return Literal(template)

    def _filled(self, shape: Shape, template: Any, parent: Any, key: Any) -> Node:
        coding = _coding_shape(shape)
        if coding is not None and not (isinstance(template, CommentedMap) and "from" not in template):
            return self._coded(shape, coding, template, parent, key)
        if not isinstance(template, CommentedMap):
            self._fail(parent, key, "an object is written here", f"members: {', '.join(shape.members)}")
        members = self._members(shape, template, skip={"each"})
        form = {n: Literal(s.constant) for n, s in shape.members.items() if s.constant is not None}
        self._covered(shape, {*form, *members}, template, parent, key)
        return Object(tuple({**form, **members}.items()))

    def _array(self, shape: Shape, template: Any, parent: Any, key: Any) -> Node:
        item = shape.item
        assert item is not None
        if isinstance(template, CommentedSeq):
            return Items(tuple(self._item(item, one, template, index) for index, one in enumerate(template)))
        if isinstance(template, CommentedMap) and item.kind == "choice" and "from" not in template:
            return Items(tuple(self._option(item, name, inner, template) for name, inner in template.items()))
        if isinstance(template, CommentedMap) and "from" in template and item.kind == "value":
            return self._source_of(template, shape, parent, key)  # the transform gives a list
        return Items((self._item(item, template, parent, key),))

    def _item(self, shape: Shape, template: Any, parent: Any, key: Any) -> tuple[Node, Each | None]:
        each, node = self._within(template, lambda: self._node(shape, template, parent, key))
        return node, each

    def _option(self, shape: Shape, name: str, template: Any, parent: Any) -> tuple[Node, Each | None]:
        """One item that is told apart by a constant, named by that constant or its end."""
        names = [one.rsplit(":", 1)[-1].rsplit("/", 1)[-1] for one in shape.options]
        fitting = [one for one, end in zip(shape.options, names, strict=True) if name in (one, end)]
        if len(fitting) != 1:
            self._fail(parent, name, f"there is no {shape.key} {name!r} here", _near(name, names))
        option = shape.options[fitting[0]]
        rest = next(member for member in option.members if member != shape.key)
        each, node = self._within(
            template, lambda: self._node(option.members[rest], _without_each(template), parent, name)
        )
        return Object(((shape.key, Literal(fitting[0])), (rest, node))), each

    def _choice(self, shape: Shape, template: Any, parent: Any, key: Any) -> Node:
        if not isinstance(template, CommentedMap) or template.get(shape.key) not in shape.options:
            self._fail(parent, key, f"name the {shape.key}", f"one of: {', '.join(shape.options)}")
        option = shape.options[template[shape.key]]
        members = self._members(option, template, skip={"each"})
        self._covered(option, members, template, parent, key)
        return Object(tuple(members.items()))

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
                near = _near(str(template), code_system(codes.codes).codes)
                self._fail(parent, key, f"there is no code {template!r}", near)
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
                codes = set(self._values(table))
                fitting = [one for one, shape in systems.items() if codes and codes <= set(_codes_of(shape))]
        else:
            fitting = [one for one, shape in systems.items() if template in _codes_of(shape)]
        if len(fitting) != 1:
            self._fail(parent, key, "it is not clear which code system is meant", f"one of: {', '.join(systems)}")
        return fitting[0]

    def _values(self, named: str) -> Collection[Any]:
        """What a table can give; empty for any other transform."""
        word, _, argument = named.partition(" ")
        if word not in {"code", "table"}:
            return ()
        tables = self._document.get("tables") or {}
        if argument in tables:
            return list(tables[argument].values())
        return list(code_system(argument).codes)

    def _source_of(self, template: CommentedMap, shape: Shape, parent: Any, key: Any) -> Source:
        allowed = ("from", "as", "required", "optional", "or", "each")
        for name in template:
            if name not in allowed:
                self._fail(template, name, f"unknown member {name!r}", _near(name, allowed))
        if not isinstance(template.get("from"), str) or not template["from"]:
            self._fail(
                template, "from" if "from" in template else None, "say which field it comes `from`", "from: FIELD"
            )
        for name in ("required", "optional"):
            if not isinstance(template.get(name, False), bool):
                self._fail(template, name, f"`{name}` is yes or no", "write true, or leave it out")
        named = str(template["from"])
        if not named.startswith("."):
            self._fields.add(named)
            if template.get("optional"):
                self._optional.add(named)
        elif self._each_of is None or (named != ".") != (self._each_of.names is not None):
            self._fail(
                template,
                "from",
                f"there is no part {named!r} here",
                "it needs `each`: {split: …} for ., {of: …} for ./NAME",
            )
        elif self._each_of.names is not None:
            self._each_of.names.add(named[2:])
        transform = self._transform(template)
        self._possible(transform, shape, template, parent, key)
        path = paths().get(id(shape if shape.item is None else shape.item), "")
        if path.startswith("Observation"):  # what it is about, and so what protects it, its code tells
            path = f"Observation({self._code}){path.removeprefix('Observation')}"
        is_required = bool(template.get("required", False))
        return Source(named, transform, is_required, self._costs(template, path), ".identifier" in path)

    def _costs(self, template: CommentedMap, path: str) -> bool:
        """Whether a value that cannot be taken costs itself alone: as the table of rules says, or the mapping."""
        rule = rule_of(path)
        self._protects = self._protects or rule.withdrawn is Then.STOPS
        told = template.get("or")
        if told not in (None, "drop", "reject"):
            self._fail(template, "or", f"there is no {told!r} here", "write or: drop, or or: reject")
        if told == "drop" and not rule.costs:
            self._fail(
                template, "or", f"a value of “{rule.fact}” that cannot be read stops the record", "leave `or` out"
            )
        return rule.costs and told != "reject" and not template.get("required", False)

    def _possible(self, transform: Transform, shape: Shape, template: CommentedMap, parent: Any, key: Any) -> None:
        """Whether what a transform gives can stand at a place of the schema."""
        at = "as" if "as" in template else "from"
        wanted = frozenset({"array"}) if shape.kind == "array" else shape.types
        if transform.gives and transform.gives not in wanted:
            asked = " or ".join(sorted(wanted))
            self._fail(
                template, at, f"{transform.name!r} gives {transform.gives}, and {asked} stands here", _giving(wanted)
            )
        choices = shape.allowed or (code_system(shape.codes).codes if shape.codes else None)
        if choices is not None and self._values(transform.name):
            alien = [value for value in self._values(transform.name) if value not in choices]
            if alien:
                self._fail(
                    template,
                    at,
                    f"{transform.name!r} gives other codes than stand here: {alien[0]!r}",
                    _near(alien[0], choices)
                    if shape.codes is None
                    else f"give codes of {shape.codes}: {_near(alien[0], choices)}",
                )

    def _transform(self, template: CommentedMap) -> Transform:
        named = str(template.get("as", "text"))
        word, _, argument = named.partition(" ")
        if word in {"code", "table"}:
            tables = self._document.get("tables") or {}
            if argument in tables:
                return _table(named, tables[argument])
            if word == "code" and argument in code_systems():
                return _table(named, {code: code for code in code_system(argument).codes})
            known = [*tables, *code_systems()]
            self._fail(template, "as", f"there is no code table {argument!r}", _near(argument, known))
        found = self._transforms.get(named)
        if found is None:
            self._fail(template, "as", f"there is no transform {named!r}", _near(named, self._transforms))
        return found

    def _fail(self, holder: Any, key: Any, message: str, remedy: str = "") -> NoReturn:
        line, column = 0, 0
        try:
            if isinstance(holder, CommentedSeq):
                line, column = holder.lc.item(key)
            elif isinstance(holder, CommentedMap):
                line, column = holder.lc.key(key) if key is not None else (holder.lc.line, holder.lc.col)
        except (KeyError, AttributeError, TypeError):
            line, column = getattr(holder.lc, "line", 0) or 0, getattr(holder.lc, "col", 0) or 0
        raise MappingError(self._source, line + 1, column + 1, message, remedy)


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
        backward.setdefault((type(value), value), str(one))

    def look_up(value: Any) -> Any:
        try:
            return forward[str(value).strip().lower()]
        except KeyError:
            raise TransformError("code-unknown") from None

    def look_back(value: Any) -> Any:
        try:
            return backward[type(value), value]
        except (KeyError, TypeError):
            raise TransformError("code-unknown") from None

    kinds = {_TYPES.get(type(value), "string") for value in table.values()}
    gives = kinds.pop() if len(kinds) == 1 else ""
    return Transform(name, "A value of a table.", ("", ""), look_up, look_back, gives)


def _near(name: str, names: Any) -> str:
    near = difflib.get_close_matches(str(name), [str(one) for one in names], 1, 0.5)
    return f"did you mean {near[0]!r}?" if near else "one of: " + ", ".join(str(one) for one in names)


__all__ = ["Build", "CompiledMapping", "MappingError", "compile_mapping"]
