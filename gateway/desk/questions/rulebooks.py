"""Questions about decisions: why one was made, whether all come out the same, what another rulebook would change."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Final

from pydantic import InstanceOf

from audit.questions.query import Filters, Found, by_id
from consent.rulebook import load
from consent.rules.law import Rulebook
from gateway.desk.asking import Answered, Detail, Note, Question, Windowed, Zoned
from gateway.desk.forms import EntryRef, lines
from gateway.desk.proposals import LONGEST, Foresight
from gateway.desk.reading import Reading
from gateway.exchange.keeping import Kept, Period, kept_decisions, kept_rulebook
from gateway.exchange.rejudging import Replay, Swing, replay, swing

MOST_TOLD: Final = 1_000


def unheard(_done: int) -> None:
    """Progress that nobody listens to."""


@lru_cache(maxsize=4)
def loaded(written: bytes) -> Rulebook:
    """A rulebook that was loaded before."""
    return load(written)


def kept_of(reading: Reading, entry: str) -> Kept | None:
    """The decision that was kept for an entry."""
    with closing(kept_decisions(reading.context.engine, reading.context.subjects, entry=entry)) as kept:
        return next(kept, None)


def _note_of(found: Found | None, detail: Detail, *, seen: bool) -> Note:
    """What is recorded where decisions were opened: those of many, or that of one entry with its place and person."""
    if found is None:
        return Note(seen, detail=detail)
    return Note(seen, found.entry.subject, detail={**detail, "of": found.index})


class Explain(Question[tuple[Kept, bytes] | None], named="explain"):
    """The decision that is kept for an entry, opened, and the text of the rulebook by which it was made."""

    entry: EntryRef

    def read(self, reading: Reading) -> Answered[tuple[Kept, bytes] | None]:
        found = reading.locate(self.entry)
        kept = None if found is None else kept_of(reading, found.entry.id)
        made_by = None if kept is None else kept_rulebook(reading.context.engine, kept.rulebook)
        told = None if kept is None or made_by is None else (kept, made_by)
        return Answered(told, _note_of(found, {}, seen=kept is not None))


class Again(Question[Replay], named="replay"):
    """The kept decisions since a moment, or that of one entry, made again. One entry records the whole run."""

    since: Zoned | None = None
    entry: EntryRef | None = None
    progress: Callable[[int], None] = unheard

    def read(self, reading: Reading) -> Answered[Replay]:
        context = reading.context
        found = None if self.entry is None else reading.locate(self.entry)
        wanted = None if self.entry is None else str(self.entry) if found is None else found.entry.id
        with closing(kept_decisions(context.engine, context.subjects, within=Period(self.since), entry=wanted)) as kept:
            told = replay(kept, lambda digest: kept_rulebook(context.engine, digest), self.progress)
        detail = {**Filters(self.since).to_codes(), "recorded": told.decisions, "same": told.same}
        return Answered(told, _note_of(found, detail, seen=bool(told.decisions)))


class Swings(Question[Swing], named="rulebook-change"):
    """How two rulebooks decide what was recorded since a moment. One entry records the whole run."""

    old: InstanceOf[Rulebook]
    new: InstanceOf[Rulebook]
    since: Zoned | None = None
    progress: Callable[[int], None] = unheard

    def read(self, reading: Reading) -> Answered[Swing]:
        context = reading.context
        with closing(kept_decisions(context.engine, context.subjects, within=Period(self.since))) as kept:
            told = swing(kept, self.old, self.new, self.progress)
        return Answered(told, _note_of_change(Filters(self.since), self.new, told))


def _note_of_change(within: Filters, new: Rulebook, told: Swing) -> Note:
    detail: Detail = {"rulebook": new.digest, "recorded": told.decisions, "otherwise": told.otherwise}
    return Note(bool(told.entries), detail={**within.to_codes(), **detail})


@dataclass(frozen=True, slots=True)
class Change:
    """What a proposed rulebook would change; `found` are the first of the records that would have gone otherwise."""

    foresight: Foresight
    found: tuple[Found, ...]

    def to_dict(self) -> dict[str, Any]:
        told, apart = self.foresight.swing, self.foresight.differences
        return {
            "old": self.foresight.old.digest,
            "new": self.foresight.new.digest,
            "recorded": told.decisions,
            "forgotten": told.forgotten,
            "cut": self.foresight.cut,
            "otherwise": told.otherwise,
            "by_purpose": told.by_purpose,
            "gained": told.gained,
            "lost": told.lost,
            "entries": told.entries[:MOST_TOLD],
            "more": len(told.entries) > MOST_TOLD,
            "differences": None
            if apart is None
            else {
                "points": apart.cells,
                "changes": [change.to_dict() for change in apart.changes[:MOST_TOLD]],
                "more": len(apart.changes) > MOST_TOLD,
                "prohibitions": [{"id": name, "change": said} for name, said in apart.prohibitions],
            },
        }


class RulebookChange(Windowed[Change], named="rulebook-change"):
    """Which recorded exchanges of a window would a proposed rulebook change? The proposal is not kept.

    Raises RulebookError, NothingStandsError, ComparingError.
    """

    shown: ClassVar[int] = 0

    rulebook: Annotated[str, lines(LONGEST, 0)]

    def read(self, reading: Reading) -> Answered[Change]:
        told = reading.proposals.compare(self.rulebook, start=self.start, end=self.end, member=reading.asker.member)
        located = (by_id(reading.connection, entry, find=reading.find) for entry in told.swing.entries[: self.shown])
        found = tuple(item for item in located if item is not None)
        return Answered(Change(told, found), _note_of_change(Filters(self.start, self.end), told.new, told.swing))


class ChangeShown(RulebookChange, shown=50):
    """The same with the first of the records that would have gone otherwise."""
