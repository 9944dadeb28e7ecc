"""Name what happened to entries that are not what they were, or not where they stood, when they were recorded.

Each row keeps the hash of its entry and a seal that ties this hash to its place. A text that was changed no longer fits
its hash; a row that was moved fits its hash but not its place, and the seal tells the place it came from. From this
follows what was done: entries that changed places, entries removed or pushed in with the rest renumbered, or a plain
alteration.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from audit.log.rows import seal

FARTHEST: Final = 64  # how far a row is looked for from where it stands
MOST: Final = 1_000
_PAIRED: Final = 300  # each is held against each


class Damaged(StrEnum):
    """What was done to a log."""

    ALTERED = "altered"
    DELETED = "deleted"
    INSERTED = "inserted"
    SWAPPED = "swapped"
    TRUNCATED = "truncated"
    FORKED = "forked"
    BACK_DATED = "back-dated"
    SEARCH = "search"  # a search column or facet is not what the entry says
    TILES = "tiles"  # a stored tile differs
    HEAD = "head"


OF_ENTRIES: Final = frozenset(Damaged) - {Damaged.FORKED, Damaged.SEARCH, Damaged.TILES, Damaged.HEAD}
"""What was done to entries themselves."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not hold. `index` is the first entry affected, `through` the last that may be."""

    kind: Damaged
    index: int
    through: int
    entry: str | None
    explanation: str


@dataclass(slots=True)
class _Run:
    """Rows `first` to `last`, all of which stood `shift` places further on when they were recorded."""

    first: int
    last: int
    shift: int
    entry: str | None


@dataclass(frozen=True, slots=True)
class DamagedRow:
    """A row as it stands: the hash of its text, the hash and the seal stored with it, and the id of its entry, if the
    text is one. `back_dated`: its time goes back behind that of earlier entries.
    """

    index: int
    actual: bytes
    stored: bytes
    mark: bytes
    entry: str | None
    back_dated: bool


class Damage:
    """Damaged rows as a check comes upon them in order, and in the end what was done to them."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []
        self._changed: list[DamagedRow] = []

    def note(self, row: DamagedRow) -> bytes | None:
        """Take in a damaged row. Gives the hash that stood here when it was recorded, or None if that cannot be told
        from the row.
        """
        index, actual, stored, mark, entry = row.index, row.actual, row.stored, row.mark, row.entry
        if entry is not None and actual == stored:
            shift = self._shift(index, stored, mark)
            if shift is not None:
                self._displaced(index, shift, entry)
                return None
        if len(self._changed) < MOST:
            self._changed.append(row)
        if seal(index, actual) == mark or actual == stored:
            return actual
        return stored if seal(index, stored) == mark else None

    def touches(self, index: int) -> bool:
        """Whether a damaged row stands at this index."""
        return any(run.first <= index <= run.last for run in self._runs) or any(
            item.index == index for item in self._changed
        )

    def displaced(self, first: int, last: int) -> bool:
        """Whether a row that was recorded elsewhere stands anywhere from `first` to `last`."""
        return any(run.first <= last and first <= run.last for run in self._runs)

    def _shift(self, index: int, stored: bytes, mark: bytes) -> int | None:
        latest = self._runs[-1].shift if self._runs else 1
        if index + latest >= 0 and seal(index + latest, stored) == mark:
            return latest
        for distance in range(1, FARTHEST + 1):
            for shift in (distance, -distance):
                if index + shift >= 0 and seal(index + shift, stored) == mark:
                    return shift
        return None

    def _displaced(self, index: int, shift: int, entry: str | None) -> None:
        latest = self._runs[-1] if self._runs else None
        if latest is not None and latest.shift == shift and latest.last == index - 1:
            latest.last = index
        elif len(self._runs) < MOST:
            self._runs.append(_Run(index, index, shift, entry))

    def findings(self) -> list[Finding]:
        """What was done, in words, by index."""
        found = [*self._of_runs(), *self._of_changed()]
        return sorted(found, key=lambda finding: (finding.index, finding.through))

    def _stood(self, place: int) -> bool:
        """Whether the row that was recorded at this place stands elsewhere now."""
        return any(run.first <= place - run.shift <= run.last for run in self._runs)

    def _of_runs(self) -> list[Finding]:
        found: list[Finding] = []
        before: _Run | None = None
        for run in self._runs:
            shift = before.shift if before is not None and before.last == run.first - 1 else 0
            before = run
            moved = all(self.touches(at + run.shift) and self._stood(at) for at in (run.first, run.last))
            if moved:
                found.append(_swapped(run.first, run.first + run.shift, run.entry, run.last))
            elif run.shift > shift:
                first, last = run.first + shift, run.first + run.shift - 1
                found.append(
                    Finding(Damaged.DELETED, first, last, None, "entries were removed here and the rest renumbered")
                )
            else:
                first = run.first - (shift - run.shift)
                found.append(
                    Finding(
                        Damaged.INSERTED,
                        first,
                        run.first - 1,
                        None,
                        "entries were pushed in here and the rest renumbered",
                    )
                )
        return found

    def _of_changed(self) -> list[Finding]:
        origin: dict[int, int] = {}
        by_hash = {item.stored: item.index for item in self._changed}
        for item in self._changed[:_PAIRED]:
            if item.actual != item.stored:
                place = by_hash.get(item.actual)
            else:
                place = next(
                    (
                        other.index
                        for other in self._changed[:_PAIRED]
                        if other is not item and seal(other.index, item.stored) == item.mark
                    ),
                    None,
                )
            if place is not None and place != item.index:
                origin[item.index] = place
        return [
            _swapped(item.index, origin[item.index], item.entry)
            if item.index in origin and item.index in origin.values()
            else _altered(item)
            for item in self._changed
        ]


def _swapped(index: int, place: int, entry: str | None, through: int | None = None) -> Finding:
    return Finding(
        Damaged.SWAPPED,
        index,
        index if through is None else through,
        entry,
        f"this is not where the entry was recorded: it stood at {place}",
    )


def _altered(item: DamagedRow) -> Finding:
    if item.entry is None:
        return Finding(Damaged.ALTERED, item.index, item.index, None, "the text is not an entry of this log")
    if item.back_dated:
        explanation = "the entry is not what was recorded, and its time goes back behind that of earlier entries"
        return Finding(Damaged.BACK_DATED, item.index, item.index, item.entry, explanation)
    return Finding(
        Damaged.ALTERED, item.index, item.index, item.entry, "the entry is not what was recorded: its hash has changed"
    )
