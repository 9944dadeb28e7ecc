"""The mapping language: a YAML file that says which field of a source becomes which value of the canonical record.

A mapping mirrors the record that it makes. It is compiled once, against the schemas: a name that does not exist, an
unknown transform or an impossible target is an error when it is loaded, with its line and the nearest name. What the
schema fixes (types, ids, references, systems) need not be written.

* `{from: FIELD, as: transform}` takes a field; `required: true` rejects a record without it.
* A list makes a list; an object without any value of the source in it is left out.
* `each: {split: FIELD, by: "|"}` makes one resource or item for each part of a field; `from: .` is the part.
* `each: {of: FIELD, where: {NAME: VALUE}}` does so for each object of a list, or for those with such members;
`from: ./NAME` is a member of it, and `./NAME/NAME` one of an object within it.
* `when: {FIELD: [VALUE, VALUE]}` beside anything makes it only where the field has one of these values, `unless` only
where it has none of them; a field that cannot be read fulfils neither.
* `default: VALUE` stands for an empty field, except of facts that protect or permit. What the mapping says of every
record, with nothing of the source in it, stays; beside `keep: true` so does what else is empty.
* `tables: {NAME: {extends: municipality, VALUE: code}}` adds to a list that is here; `{file: codes/NAME.csv}` is a file
with the columns `value`, `code` and, if codes come and go, `valid_from` and `valid_to`.
* Where items are told apart by a constant (extensions by `url`, identifiers by `system`), an object with their names
will do.
* `status: {from: FIELD, current: [VALUE], withdrawn: [VALUE]}` beside `source` says which records the register has
taken back: they are handed over as that and nothing else. A value in neither list stops the record.
* Anything harder is a Python function in the adapter's folder, named by `as` like the transforms that are here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from adapters.agreement import today as today_in_utc
from adapters.building import Each, Resource
from adapters.compiling import Compiler
from adapters.faults import Faults, MappingError, near
from adapters.layouts import MEMBERS as LAYOUT
from adapters.layouts import LayoutError, layout_of
from adapters.protecting import DECLARED
from adapters.tables import Tables, folded
from adapters.transforms import TRANSFORMS, Transform
from schemas.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Status:
    """The field that says whether a record stands, and its values, folded; an empty field says that it does."""

    field: str
    current: frozenset[str]
    withdrawn: frozenset[str]


@dataclass(frozen=True, slots=True)
class CompiledMapping:
    """A compiled mapping: its resources, the fields of the source that it takes, those it takes if they are there, and
    those it leaves out on purpose; of each field that is a list of objects, the members that it takes.
    """

    name: str
    version: str
    source: Mapping[str, Any]
    resources: tuple[Resource, ...]
    fields: frozenset[str]
    optional: frozenset[str]
    ignored: frozenset[str]
    parts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    #: The protecting facts that it does not make, and those of them that it says its source cannot know.
    unsaid: frozenset[str] = frozenset()
    cannot_say: frozenset[str] = frozenset()
    status: Status | None = None
    #: The fields of identity codes, with the list of whose parts they are members.
    codes: tuple[tuple[str, Each | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Beside:
    """What a mapping is compiled with: all transforms by name, how a file beside it is read, and what day it is."""

    transforms: Mapping[str, Transform]
    read: Callable[[str], str]
    today: Callable[[], date]


#: What a mapping says of its source, by format: what must be said, and what may.
FORMATS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "csv": (frozenset({"encoding", "delimiter", "key"}), frozenset({"layout"})),
    "fixed": (frozenset({"encoding", "key", "layout"}), frozenset()),
    "xml": (frozenset({"record", "key"}), frozenset({"root", "layout"})),
    "json": (frozenset({"key"}), frozenset({"nested", "layout"})),
    "xlsx": (frozenset({"sheet", "key"}), frozenset({"layout"})),
    "hl7": (frozenset({"messages", "key"}), frozenset({"repeating"})),
}
MEMBERS = ("mapping", "version", "source", "tables", "ignored", "status", "cannot-say", "resources")


def compile_mapping(
    text: str,
    catalogue: Catalogue,
    *,
    source: str,
    functions: Mapping[str, Transform] | None = None,
    read: Callable[[str], str] | None = None,
) -> CompiledMapping:
    """Compile a mapping; `functions` are the adapter's own transforms, by the names that `as` gives them, and `read`
    gives the text of a file that stands beside the mapping.

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
    beside = Beside({**TRANSFORMS, **(functions or {})}, read or _nothing_beside, today_in_utc)
    return _Document(document, Faults(source)).compile(beside, catalogue)


def _nothing_beside(name: str) -> str:
    raise FileNotFoundError(name)


class _Document:
    """One mapping file: what stands around its resources."""

    def __init__(self, document: CommentedMap, faults: Faults) -> None:
        self._document = document
        self._faults = faults

    def compile(self, beside: Beside, catalogue: Catalogue) -> CompiledMapping:
        document, faults = self._document, self._faults
        for name in ("mapping", "source", "resources"):
            if name not in document:
                faults.fail(document, None, f"`{name}` is missing")
        for name in document:
            if name not in MEMBERS:
                faults.fail(document, name, f"unknown member {name!r}", near(name, MEMBERS))
        self._check_source(faults.object(document, "source"))
        stated = faults.object(document, "tables") if document.get("tables") is not None else CommentedMap()
        ignored = self._names("ignored")
        compiler = Compiler(catalogue, faults, beside.transforms, Tables(stated, faults, beside.read, beside.today))
        resources = tuple(compiler.resources(faults.object(document, "resources")))
        if not resources or resources[0].kind != "Patient":
            faults.fail(document, "resources", "the first resource is the person", "begin with `Patient:`")
        status = self._status()
        unsaid = frozenset(
            fact for fact, path in DECLARED.items() if not any(made.startswith(path) for made in compiler.made)
        )
        return CompiledMapping(
            name=str(document["mapping"]),
            version=str(document.get("version", "")),
            source=dict(document["source"]),
            resources=resources,
            fields=frozenset(compiler.fields | compiler.conditional | ({status.field} if status else set())),
            optional=frozenset(compiler.optional),
            ignored=frozenset(ignored),
            parts={name: frozenset(names) for name, names in compiler.parts.items()},
            unsaid=unsaid,
            cannot_say=frozenset(self._cannot_say(unsaid)),
            status=status,
            codes=tuple(compiler.codes),
        )

    def _names(self, member: str) -> list[str]:
        names = self._document.get(member) or ()
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            self._faults.fail(self._document, member, f"`{member}` is a list of fields", f"write {member}: [FIELD, …]")
        return list(names)

    def _status(self) -> Status | None:
        stated = self._document.get("status")
        if stated is None:
            return None
        remedy = "write status: {from: FIELD, current: [VALUE], withdrawn: [VALUE]}"
        if not isinstance(stated, CommentedMap) or set(stated) != {"from", "current", "withdrawn"}:
            self._faults.fail(
                self._document, "status", "`status` says of which field, and what its values mean", remedy
            )
        values = {}
        for name in ("current", "withdrawn"):
            if not isinstance(stated[name], list):
                self._faults.fail(stated, name, f"`{name}` is a list of values", remedy)
            values[name] = frozenset(folded(value) for value in stated[name])
        if values["current"] & values["withdrawn"]:
            self._faults.fail(stated, "withdrawn", "a value cannot mean both", remedy)
        return Status(str(stated["from"]), values["current"], values["withdrawn"])

    def _cannot_say(self, unsaid: Collection[str]) -> list[str]:
        names = self._names("cannot-say")
        for name in names:
            if name not in DECLARED:
                self._faults.fail(self._document, "cannot-say", f"there is no fact {name!r}", near(name, DECLARED))
            if name not in unsaid:
                message = f"{name!r} is mapped, and yet said to be what the source cannot know"
                self._faults.fail(self._document, "cannot-say", message, f"take {name} out of cannot-say")
        return names

    def _check_source(self, source: CommentedMap) -> None:
        must, may = FORMATS.get(source.get("format", ""), (None, None))
        if must is None or may is None:
            told = source.get("format", "")
            at = "format" if "format" in source else None
            self._faults.fail(source, at, f"there is no format {told!r}", near(told, FORMATS))
        for name in source:
            if name != "format" and name not in must | may:
                self._faults.fail(source, name, f"unknown member {name!r}", near(name, sorted(must | may)))
        missing = sorted(must - set(source))
        if missing:
            say = f"say: {', '.join(sorted(must))}"
            self._faults.fail(self._document, "source", f"`{missing[0]}` is missing", say)
        if "layout" in source:
            self._check_layout(source["format"], self._faults.object(source, "layout"))

    def _check_layout(self, form: str, layout: CommentedMap) -> None:
        for name in layout:
            if name not in LAYOUT[form]:
                self._faults.fail(layout, name, f"unknown member {name!r}", near(name, sorted(LAYOUT[form])))
        try:
            found = layout_of(layout)
        except LayoutError as error:
            at = error.member if error.member in layout else None
            self._faults.fail(layout, at, str(error), error.remedy)
        if any(bool(join.sheet) != (form == "xlsx") for join in found.joins):
            wanted = "a sheet" if form == "xlsx" else "a file"
            self._faults.fail(layout, "join", f"{form} joins {wanted}", "see `join` in the reference")
        for at, table in ((None, found), *(("join", join.layout) for join in found.joins)):
            if form == "fixed" and (not table.widths or len(table.widths) != len(table.columns)):
                remedy = "write columns: [NAME, …], widths: [8, …]"
                self._faults.fail(layout, at, "each column of each file has a name and a width", remedy)
            if form != "fixed" and table.widths:
                self._faults.fail(layout, at, f"columns of {form} have no `widths`", "leave them out, or write fixed")
