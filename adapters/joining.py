"""Bring the rows of another sheet or file to the records that they belong to, by the record's key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from adapters.layouts import Join
from adapters.sdk import Finding, Position, Record
from adapters.texts import finding


class Joined:
    """The rows of another sheet or file that nobody has taken yet. `items` are records whose key is that of the record
    to which they belong. Raises ValueError when made for a row that cannot be read: whose it is nobody knows, and
    everybody may lack what it says.
    """

    def __init__(self, join: Join, items: Iterable[Record | Finding]) -> None:
        self.join = join
        self._rows: dict[str, list[tuple[dict[str, Any], Position]]] = {}
        for item in items:
            if isinstance(item, Finding):
                raise UnreadRowError(item)
            rest = {name: value for name, value in item.fields.items() if name != join.on}
            place = replace(item.position, file=join.sheet or join.file)
            self._rows.setdefault(item.key, []).append((rest, place))

    def take(self, key: str) -> list[dict[str, Any]]:
        """The rows of a record. A row that names nobody is not that of a record which has no key."""
        return [row for row, _ in self._rows.pop(key, ())] if key else []

    def left(self) -> Iterator[Finding]:
        """Nobody's rows: their record is missing, or its key is written otherwise there."""
        for rest in self._rows.values():
            yield from (finding("error", "join-apart", replace(at, column=self.join.on)) for _, at in rest)


class UnreadRowError(ValueError):
    """A row of another sheet or file that cannot be read, with what was found of it."""

    def __init__(self, found: Finding) -> None:
        super().__init__(found.code)
        self.found = found


def with_rows(
    items: Iterable[Record | Finding], joined: Sequence[Joined], besides: tuple[Finding, ...]
) -> Iterator[Record | Finding]:
    """The records with their rows from elsewhere, each list in its field, and after them the rows that are nobody's.
    What the source holds `besides` is told once, with the first of its records.
    """
    for item in items:
        if not isinstance(item, Record):
            yield item
            continue
        fields = {**item.fields, **{rows.join.into: rows.take(item.key) for rows in joined}}
        yield replace(item, fields=fields, findings=(*item.findings, *besides))
        besides = ()
    for rows in joined:
        yield from rows.left()
