"""A record on its way to a bundle, a bundle on its way back, and what a place of a mapping does with either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from adapters.sdk import Finding, Origin, Position, Record, Severity, Shown
from adapters.texts import finding

#: Nothing: an empty source field, or an object that holds no value of the source.
NOTHING: Any = object()


@dataclass(slots=True)
class Build:
    """One record on its way to a bundle.

    `part` is what `each` stands at, `part_field` its place. `taken` holds the fields that have been looked at,
    `matched` the numbers of the parts of a list that some `each` has taken. `fields`, `file` and `row` are the record's
    own, which every cell asks for.
    """

    record: Record
    part: Any = NOTHING
    part_field: str = ""
    findings: list[Finding] = field(default_factory=list)
    provenance: dict[str, Origin] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    matched: dict[str, set[int]] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(init=False)
    file: str = field(init=False)
    row: int = field(init=False)

    def __post_init__(self) -> None:
        self.fields = self.record.fields
        self.file, self.row = self.record.position.file, self.record.position.row

    def at(self, column: str) -> Position:
        """The place of a field of this record."""
        return Position(self.file, self.row, column)

    def tell(self, severity: Severity, code: str, column: str) -> None:
        """Something of a place, once however often it is come upon."""
        told = finding(severity, code, self.at(column))
        if told not in self.findings:
            self.findings.append(told)

    def refuse(self, code: str, column: str, pointer: str, *, costs: bool = False, shown: Shown | None = None) -> None:
        """A value that cannot be taken: it stops the record, or costs itself alone."""
        refusal = finding("warning" if costs else "error", code, self.at(column), pointer)
        self.findings.append(refusal if shown is None else replace(refusal, shown=shown))


@dataclass(slots=True)
class Write:
    """One bundle on its way to a flat record: its fields, the pointers of what found a place there; of an `each` the
    values of the part, or the members of the part that is an object.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    parts: list[Any] | None = None
    part: dict[str, Any] | None = None


class Node(Protocol):
    """A place of the record that a mapping makes."""

    def build(self, build: Build, pointer: str) -> tuple[Any, bool]:
        """The value (or NOTHING), and whether anything in it comes from the source."""
        ...

    def fits(self, value: Any) -> bool:
        """Whether a value of a bundle could have come from here: its constants are the same."""
        ...

    def write(self, write: Write, value: Any, pointer: str) -> None:
        """Write a value of a bundle back into the fields."""
        ...


def member_of(part: Any, name: str) -> Any:
    """A member of a part, by its name or its path."""
    if not isinstance(part, dict):
        return None
    if name in part or "/" not in name:
        return part.get(name)
    first, _, rest = name.partition("/")
    return member_of(part.get(first), rest)
