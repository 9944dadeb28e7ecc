"""The compiled form of a mapping: nodes that build a value of the canonical record from a source, and read it back.

Building notes the origin of every value and a finding for every value that cannot be taken. Writing goes the other
way, through the transforms' way back, and marks what it has written, so that what a format has no place for can be
told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from adapters.legibility import has_lost_letters, is_damaged
from adapters.sdk import UNREADABLE, DateCell, NumberCell, Origin, Position, Shown, Unreadable, Withdrawn
from adapters.texts import damage, finding
from adapters.transforms import Transform, TransformError
from adapters.under_way import NOTHING, Build, Node, Write, member_of

#: What no text of the canonical record may hold, for FHIR's strings cannot.
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")

_EXACT = 10**15  # from here on a spreadsheet does not hold every whole number
_SHOWN = 80  # characters of a value that the developer's tools show
_EMPTY = (NOTHING, False)

#: How a node makes its value of a record at a pointer: see `Node.build`.
Make = Callable[[Build, str], tuple[Any, bool]]


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant of the mapping or the schema."""

    value: Any

    def build(self, build: Build, pointer: str) -> tuple[Any, bool]:
        """The constant; it is not of the source."""
        return self.value, False

    def fits(self, value: Any) -> bool:
        """Only the same constant fits."""
        return bool(value == self.value)

    def write(self, write: Write, value: Any, pointer: str) -> None:
        """A constant needs no field."""
        write.written.add(pointer)


@dataclass(frozen=True, slots=True)
class Source:
    """A field of the source through a transform: of the record, the part itself (`.`), or a member of it (`./NAME`)."""

    field: str
    transform: Transform
    required: bool
    #: Whether a value that cannot be taken costs itself alone, or stops the record.
    costs: bool = False
    #: Whether what is made of it tells one person from another.
    identifies: bool = False
    #: What an empty field stands for.
    default: Any = NOTHING
    #: Whether it is a person's name, whose letters are looked at.
    names: bool = False
    #: Whether nothing follows from an empty field.
    is_quiet: bool = False

    def build(self, build: Build, pointer: str) -> tuple[Any, bool]:
        """The transformed value; a finding if there is none and must be, or if it cannot be taken."""
        name = self.field
        if name[0] != ".":
            raw, column = build.record.fields.get(name), name
            if raw == "" and self.is_quiet:  # most fields of most records
                return NOTHING, False
        elif name == ".":
            raw, column = build.part, build.part_field
        else:
            raw, column = member_of(build.part, name[2:]), f"{build.part_field}/{name[2:]}"
        if type(raw) is list:
            # A list where one value belongs: of what protects or names a person nobody may take it for the value.
            raw = raw[0] if len(raw) == 1 and (self.costs or type(raw[0]) is str) else raw or NOTHING
        if type(raw) is str:  # nearly every field: it is looked at as quickly as can be
            is_empty = not raw or raw.isspace()
            if not is_empty and (self.names or not (raw.isascii() and raw.isprintable() and "?" not in raw)):
                if doubt := self._doubt(raw):
                    build.refuse(doubt, column, pointer, costs=self.costs)
                    return NOTHING, False
                if is_damaged(raw) or (self.names and has_lost_letters(raw)):
                    build.findings.append(damage(build.at(column), pointer))
        else:
            is_empty = raw is None or raw is NOTHING
            if not is_empty and (doubt := self._doubt(raw)):
                build.refuse(doubt, column, pointer, costs=self.costs)
                return NOTHING, False
            if self.identifies and isinstance(raw, NumberCell):
                build.findings.append(finding("warning", "number-in-identifier", build.at(column), pointer))
        if is_empty:
            if self.required:
                build.refuse("field-missing", column, pointer)
            elif self.default is not NOTHING:
                build.provenance[pointer] = Origin(build.at(column), "default")
            return self.default, False
        try:
            value = self.transform.forward(raw)
        except TransformError as error:
            shown = Shown(str(raw)[:_SHOWN], self.transform.name, error.near)
            build.refuse(error.code, column, pointer, costs=self.costs, shown=shown)
            return NOTHING, False
        build.taken.add(name)
        build.provenance[pointer] = Origin(build.at(column), self.transform.name)
        return value, True

    def _doubt(self, raw: Any) -> str:
        """The code of the finding for a value that no transform may see; empty for any other."""
        if isinstance(raw, dict | list | Unreadable):
            return "unreadable"
        if isinstance(raw, DateCell):
            return "number-in-identifier" if self.identifies else ""
        if isinstance(raw, str):
            return "control-character" if not raw.isprintable() and _CONTROLS.search(raw) else ""
        if not self.identifies:
            return ""
        # What was a number has lost its zeros, and beyond fifteen digits its end; yes or no is no identifier at all.
        is_whole = isinstance(raw, int) and not isinstance(raw, bool)
        return "" if is_whole and abs(raw) < _EXACT else "number-in-identifier"

    def fits(self, value: Any) -> bool:
        """A value that the transform can bring back fits."""
        return self._back(value) is not NOTHING

    def write(self, write: Write, value: Any, pointer: str) -> None:
        """Bring the value back into its field; the first of several keeps it."""
        raw = self._back(value)
        if raw is NOTHING:
            if self._says_already(write, value):
                write.written.add(pointer)
            return
        if self.field == ".":
            if write.parts is None:
                return
            write.parts.append(raw)
        elif not self._put(write, raw, value):
            return
        write.written.add(pointer)
        if isinstance(value, list):
            write.written.update(f"{pointer}/{index}" for index in range(len(value)))

    def _back(self, value: Any) -> Any:
        if self.transform.backward is None:
            return NOTHING
        try:
            raw = self.transform.backward(value)
        except (TransformError, ValueError, TypeError):
            return NOTHING
        return NOTHING if isinstance(raw, str) and _CONTROLS.search(raw) else raw

    def _put(self, write: Write, raw: Any, value: Any) -> bool:
        inner = self.field.startswith("./")
        fields, name = (write.part, self.field[2:]) if inner else (write.fields, self.field)
        if fields is None:
            return False
        if name not in fields:
            fields[name] = raw
            return True
        return self._says_already(write, value)

    def _says_already(self, write: Write, value: Any) -> bool:
        """Whether another value has written the field, and it reads as this one too."""
        inner = self.field.startswith("./")
        fields, name = (write.part, self.field[2:]) if inner else (write.fields, self.field)
        if not fields or name not in fields:
            return False
        try:
            return bool(self.transform.forward(fields[name]) == value)
        except TransformError:
            return False


def maker(node: Node) -> Make:
    """How a node makes its value, found once for a mapping.

    A text that nothing is wrong with is taken at once, as nearly every cell of nearly every record is. Whatever else
    a field holds, empty, doubtful or refused, goes the careful way of `Source.build`, which alone makes findings.
    """
    if type(node) is not Source or node.field.startswith("./"):
        return node.build
    careful, name, is_part = node.build, node.field, node.field == "."
    forward, label = node.transform.forward, node.transform.name
    is_name, is_quiet = node.names, node.is_quiet and not is_part

    def make(build: Build, pointer: str) -> tuple[Any, bool]:
        raw = build.part if is_part else build.fields.get(name)
        if raw == "" and is_quiet:
            return _EMPTY
        if (
            type(raw) is not str  # neither a list nor what a cell of a spreadsheet holds as a number or a day
            or not raw.isprintable()  # a control character, or a sign that may be one
            or not raw
            or raw.isspace()
            or (not raw.isascii() and is_damaged(raw))
            or (is_name and has_lost_letters(raw))
        ):
            return careful(build, pointer)
        try:
            value = forward(raw)
        except TransformError:
            return careful(build, pointer)
        build.taken.add(name)
        build.provenance[pointer] = Origin(
            Position(build.file, build.row, build.part_field if is_part else name), label
        )
        return value, True

    return make


@dataclass(frozen=True, slots=True)
class Object:
    """An object; left out if nothing in it comes from the source, unless it is pure form."""

    members: tuple[tuple[str, Node], ...]
    form: bool = False
    #: Of each member its name, its step in a pointer, and how it is made; of a constant, its value.
    _plan: tuple[tuple[str, str, Make | None, Any], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        plan = tuple(
            (name, f"/{name}", None, node.value) if type(node) is Literal else (name, f"/{name}", maker(node), None)
            for name, node in self.members
        )
        object.__setattr__(self, "_plan", plan)

    def build(self, build: Build, pointer: str) -> tuple[Any, bool]:
        """The object with the members that have a value."""
        made: dict[str, Any] = {}
        sourced = False
        for name, step, make, constant in self._plan:
            if make is None:  # most members are constants: asking each would cost a call
                made[name] = constant
                continue
            value, full = make(build, pointer + step)
            if value is not NOTHING:
                made[name] = value
            if full:
                sourced = True
        return (made, sourced) if sourced or self.form else _EMPTY

    def fits(self, value: Any) -> bool:
        """An object fits if its constants do, and every member of it that has a place here."""
        if not isinstance(value, dict):
            return False
        return all(
            name in value and node.fits(value[name])
            for name, node in self.members
            if isinstance(node, Literal) or (name in value and isinstance(node, Object | Items))
        )

    def write(self, write: Write, value: Any, pointer: str) -> None:
        """Write each member."""
        for name, node in self.members:
            if isinstance(value, dict) and name in value:
                node.write(write, value[name], f"{pointer}/{name}")


@dataclass(frozen=True, slots=True)
class Each:
    """One item for each part of a field: of a list as it is, of a text split at `by`, letter by letter if it is "".

    With `names` the parts are objects, and `names` are those of their members that the mapping takes; `where` picks
    the parts whose members have these values.
    """

    field: str
    by: str | None = None
    names: set[str] | None = None
    where: tuple[tuple[str, str | None], ...] = ()
    #: Whether a part that its source takes back stops the record.
    protects: bool = False

    def parts(self, build: Build) -> Iterator[tuple[Any, str]]:
        """The parts that are not empty, each with its place."""
        raw = build.record.fields.get(self.field)
        if self.names is not None:
            yield from self._objects(build, raw)
            return
        for value in raw if isinstance(raw, list) else [] if raw is None else [raw]:
            is_split = self.by is not None and isinstance(value, str)
            for part in (value.split(self.by) if self.by else value) if is_split else (value,):
                if not isinstance(part, str):
                    yield part, self.field
                elif part.strip():
                    yield part.strip(), self.field

    def _objects(self, build: Build, raw: Any) -> Iterator[tuple[Any, str]]:
        listed = raw if isinstance(raw, list) else [] if raw is None else [raw]
        for index, part in enumerate(listed):
            place = f"{self.field}[{index + 1}]"
            if isinstance(part, Withdrawn) and self._is_near(part):
                build.matched.setdefault(self.field, set()).add(index)
                build.tell("error" if self.protects else "warning", "withdrawn", place)
            elif self.is_meant(part):
                build.matched.setdefault(self.field, set()).add(index)
                yield part, place
            elif doubt := self._doubt(part):
                # What cannot be told apart from what is asked for may be just that: a prohibition, for one.
                build.tell("error", doubt, place)

    def is_meant(self, part: Any) -> bool:
        """Whether a part is one that `where` picks."""
        return isinstance(part, dict) and all(
            part.get(name) == value
            or ("/" in name and member_of(part, name) == value)
            or (value is None and member_of(part, name) in ("", []))
            for name, value in self.where
        )

    def _doubt(self, part: Any) -> str:
        """The code of the finding for a part that may be meant by `where` and does not say so; empty for any other."""
        if not isinstance(part, dict) or any(member_of(part, name) is UNREADABLE for name, _ in self.where):
            return "unreadable"
        return "code-unknown" if self._is_near(part) else ""

    def _is_near(self, part: Mapping[str, Any]) -> bool:
        """Whether a part is what is asked for but for blanks and case."""
        return all(
            str(member_of(part, name) or "").strip().casefold() == (value or "").casefold()
            for name, value in self.where
        )

    def gather(self, write: Write, parts: list[Any], part: dict[str, Any]) -> None:
        """Bring the values of one item back into the field."""
        held = write.fields.get(self.field)
        if self.names is not None:
            if part:
                write.fields[self.field] = [
                    *(held or ()),
                    {**part, **{name: value for name, value in self.where if value is not None}},
                ]
        elif parts:
            if self.by is None:
                write.fields[self.field] = [*(held or ()), *parts]
            else:
                write.fields[self.field] = self.by.join([*([held] if held else ()), *map(str, parts)])


@dataclass(frozen=True, slots=True)
class Items:
    """A list, made of one or more templates; each of them may stand for several items."""

    templates: tuple[tuple[Node, Each | None], ...]
    _plan: tuple[tuple[Make, Each | None], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_plan", tuple((maker(node), each) for node, each in self.templates))

    def build(self, build: Build, pointer: str) -> tuple[Any, bool]:
        """The items that have a value."""
        made: list[Any] = []
        sourced = False
        for make, each in self._plan:
            for _ in _ONCE if each is None else _parts(build, each):
                value, full = make(build, f"{pointer}/{len(made)}")
                if value is not NOTHING:
                    made.append(value)
                if full:
                    sourced = True
        return (made, sourced) if made else _EMPTY

    def fits(self, value: Any) -> bool:
        """A list fits if some item fits some template."""
        return isinstance(value, list) and any(node.fits(item) for item in value for node, _ in self.templates)

    def write(self, write: Write, value: Any, pointer: str) -> None:
        """Give each item to the first template that fits and is free."""
        taken: set[int] = set()
        for node, each in self.templates:
            for index, item in enumerate(value if isinstance(value, list) else ()):
                if index in taken or not node.fits(item):
                    continue
                taken.add(index)
                if each is None:
                    node.write(write, item, f"{pointer}/{index}")
                    break
                _write_part(write, node, each, item, f"{pointer}/{index}")


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of the record, or one for each part of a field."""

    kind: str
    template: Node
    each: Each | None

    def build(self, build: Build, count: Mapping[str, int], index: int) -> Iterator[dict[str, Any]]:
        """The resources that hold a value of the source, with ids that mean nothing; `count` goes up as they are
        taken.
        """
        made = 0
        for _ in _ONCE if self.each is None else _parts(build, self.each):
            pointer = f"/entry/{index + made}/resource"
            value, full = self.template.build(build, pointer)
            if value is not NOTHING and (full or getattr(self.template, "form", True)):
                number = count.get(self.kind, 0) + 1
                made += 1
                yield {"resourceType": self.kind, "id": f"{_dashed(self.kind)}-{number}", **value}

    def write(self, write: Write, resource: dict[str, Any], pointer: str) -> bool:
        """Write a resource back; False if it is not one that this template makes."""
        if not self.template.fits(resource):
            return False
        write.written.add(f"{pointer}/id")
        if self.each is None:
            self.template.write(write, resource, pointer)
        else:
            _write_part(write, self.template, self.each, resource, pointer)
        return True


_ONCE = (None,)


def _parts(build: Build, each: Each) -> Iterator[None]:
    outer, outer_field = build.part, build.part_field
    for part, place in each.parts(build):
        build.part, build.part_field = part, place
        build.taken.add(each.field)
        yield None
    build.part, build.part_field = outer, outer_field


def _write_part(write: Write, node: Node, each: Each, value: Any, pointer: str) -> None:
    outer = (write.parts, write.part)
    parts: list[Any] = []
    part: dict[str, Any] = {}
    write.parts, write.part = parts, part
    node.write(write, value, pointer)
    write.parts, write.part = outer
    each.gather(write, parts, part)


@cache
def _dashed(kind: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in kind).lstrip("-")
