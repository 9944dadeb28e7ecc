"""What the words of the log mean to people, and which entries each of them counts. Nothing counts by a rule of its own.

* **disclosed**: data of a person left this node, or reached it: the same from either side. A look-up counts once
  where it was answered and once where it was asked, a delivery where it was sent and where it arrived. That somebody
  opens what has arrived is no second arrival, and what both left and reached the same node counts as leaving. A notice
  or an acceptance is sent like a delivery and carries no category of anybody's data: it is no disclosure.
* **refused**: somebody asked, and got nothing by rule.
* **withheld**: a part of an answer or of a handover was held back by rule, or all of it: when a handover was planned,
  and again when it was sent, with or without what the plan had let through.
* **failed**: it did not work. **not found**: it worked, and there was nothing.
* **stopped**: it was to be sent and was not, by rule or by hand.
* **fruitless**: failed, not found or stopped, where a count tells only disclosed and refused apart from the rest.

A record has one number for people, its place in the log counted from 1 (`record`); files and programs have its
`index`, counted from 0. A consent carried what is both in it and in what was disclosed under it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, or_

from audit.log.entries import REFUSED, Entry, EntryType, Outcome
from audit.log.tables import entries

RELEASES: Final = tuple(
    kind.value for kind in (EntryType.QUERY, EntryType.HANDOVER, EntryType.DELIVERY, EntryType.BREAK_GLASS)
)
"""Types of entry under which data moves, or would have."""
RELEASED: Final = (Outcome.SUCCESS.value, Outcome.PARTIAL.value)
FRUITLESS: Final = (Outcome.NOT_FOUND.value, Outcome.FAILED.value, Outcome.STOPPED.value)
NOT_RELEASED: Final = (*REFUSED, *FRUITLESS)
MOVES: Final = (*RELEASES, EntryType.RECEIPT.value)
"""Types of entry under which data left this node or reached it."""
_ASKED: Final = (EntryType.QUERY.value, EntryType.BREAK_GLASS.value)
READS: Final = (EntryType.CONSOLE_READ.value, EntryType.EXPORT.value)
"""Types of entry that say that somebody read the log."""


class Word(StrEnum):
    """What can be counted."""

    DISCLOSED = "disclosed"
    REFUSED = "refused"
    WITHHELD = "withheld"
    FAILED = "failed"
    NOT_FOUND = "not-found"
    STOPPED = "stopped"
    FRUITLESS = "fruitless"


@dataclass(frozen=True, slots=True)
class Meaning:
    """The types and outcomes that a word takes in; `carries`: only what names a category of data that moved;
    `withholds`: what succeeded or was planned only if it names one that was held back.
    """

    types: tuple[str, ...]
    outcomes: tuple[str, ...]
    carries: bool = False
    withholds: bool = False

    def takes_in(self, entry: Entry) -> bool:
        """Whether it takes in an entry of its types and outcomes."""
        return (not self.carries or carries(entry)) and (not self.withholds or withholds(entry))


MEANINGS: Final[Mapping[Word, Meaning]] = {
    Word.DISCLOSED: Meaning(MOVES, RELEASED, carries=True),
    Word.REFUSED: Meaning(RELEASES, REFUSED),
    # What a plan for a handover holds back is told by a decision, before there is anything to deliver. The rest of it
    # is planned, and later sent with success.
    Word.WITHHELD: Meaning(
        (*RELEASES, EntryType.DECISION.value),
        (Outcome.PARTIAL.value, Outcome.WITHHELD.value, Outcome.PLANNED.value, Outcome.SUCCESS.value),
        withholds=True,
    ),
    Word.FAILED: Meaning(RELEASES, (Outcome.FAILED.value,)),
    Word.NOT_FOUND: Meaning(RELEASES, (Outcome.NOT_FOUND.value,)),
    Word.STOPPED: Meaning(RELEASES, (Outcome.STOPPED.value,)),
    Word.FRUITLESS: Meaning(RELEASES, FRUITLESS),
}


def carries(entry: Entry) -> bool:
    """Whether it names a category of data that moved: not one that was read where it had arrived before."""
    return bool(entry.categories.permitted) and (entry.type is not EntryType.RECEIPT or entry.message_id is not None)


def withholds(entry: Entry) -> bool:
    """Whether something was held back: told by the outcome, or by a category of what was planned or moved."""
    return bool(entry.categories.withheld) or entry.outcome not in (Outcome.SUCCESS, Outcome.PLANNED)


def moving() -> ColumnElement[bool]:
    """Of a row that names a category: whether it tells that the data moved, and is the one entry here that counts."""
    sent = entries.alias("sent")
    left_here = exists().where(sent.c.message_id == entries.c.message_id, sent.c.type == EntryType.DELIVERY.value)
    arrived = or_(entries.c.type != EntryType.RECEIPT.value, and_(entries.c.message_id.is_not(None), ~left_here))
    return and_(arrived, ~is_told_by_giver())


def is_told_by_giver() -> ColumnElement[bool]:
    """Of a row of whoever asked: whether another row here tells the same of whoever gave it.

    So it is where one member of this node asks another: what is given counts, and not that it came too.
    """
    given = entries.alias("given")
    given_here = exists().where(
        given.c.message_id == entries.c.message_id, given.c.type.in_(_ASKED), given.c.client.is_(None)
    )
    return and_(entries.c.type.in_(_ASKED), entries.c.client.is_not(None), given_here)


def carrying() -> ColumnElement[bool]:
    """Both of a row: the canonical text of an entry has the member only where it holds something."""
    return and_(entries.c.body.contains('"permitted":[', autoescape=True), moving())


def has_come(entry: Entry) -> bool:
    """Whether what a disclosure is about reached this node rather than left it: it arrived, or we had asked."""
    asked = entry.type in (EntryType.QUERY, EntryType.BREAK_GLASS) and entry.agents.client is not None
    return asked or entry.type is EntryType.RECEIPT


class Told(StrEnum):
    """What an entry is called where its type alone would say something else to people."""

    ARRIVAL = "arrival"
    OPENED = "arrival-opened"
    ACCEPTANCE_SENT = "acceptance-sent"
    ACCEPTANCE_RECEIVED = "acceptance-received"
    NOTICE_SENT = "notice-sent"


def told_as(entry: Entry) -> str:
    """What an entry is called: a type, or one of `Told`, for what arrives and what only is sent like a delivery."""
    has_message = entry.message_id is not None
    match entry.type:
        case EntryType.RECEIPT if has_message:
            return Told.ARRIVAL
        case EntryType.RECEIPT if entry.detail.get("act") == "opened":
            return Told.OPENED
        case EntryType.ACCEPTANCE if has_message:
            return Told.ACCEPTANCE_RECEIVED
        case EntryType.DELIVERY if entry.detail.get("kind") in _SENT:
            return _SENT[str(entry.detail["kind"])]
        case _:
            return entry.type


_SENT: Final[Mapping[str, Told]] = {"acceptance": Told.ACCEPTANCE_SENT, "notice": Told.NOTICE_SENT}
"""What is sent like a delivery, by the kind that the entry's detail names."""
