"""What the words of the log mean to people, and which entries each of them counts. Nothing counts by a rule of its own.

* **disclosed**: data of a person left this node, or reached it. A notice or an acceptance is sent like a delivery and
  carries no category of anybody's data: it is no disclosure.
* **refused**: somebody asked, and got nothing by rule.
* **withheld**: a part of an answer or of a handover was held back by rule.
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

from sqlalchemy import ColumnElement

from audit.log.entries import REFUSED, Entry, EntryType, Outcome
from audit.log.tables import entries

RELEASES: Final = tuple(
    kind.value for kind in (EntryType.QUERY, EntryType.HANDOVER, EntryType.DELIVERY, EntryType.BREAK_GLASS)
)
"""Types of entry under which data moves, or would have."""
RELEASED: Final = (Outcome.SUCCESS.value, Outcome.PARTIAL.value)
FRUITLESS: Final = (Outcome.NOT_FOUND.value, Outcome.FAILED.value, Outcome.STOPPED.value)
NOT_RELEASED: Final = (*REFUSED, *FRUITLESS)
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
    """The types and outcomes that a word takes in; `carries`: only what names a category of data that moved."""

    types: tuple[str, ...]
    outcomes: tuple[str, ...]
    carries: bool = False


MEANINGS: Final[Mapping[Word, Meaning]] = {
    Word.DISCLOSED: Meaning(RELEASES, RELEASED, carries=True),
    Word.REFUSED: Meaning(RELEASES, REFUSED),
    # What a plan for a handover holds back is told by a decision, before there is anything to deliver.
    Word.WITHHELD: Meaning((*RELEASES, EntryType.DECISION.value), (Outcome.PARTIAL.value, Outcome.WITHHELD.value)),
    Word.FAILED: Meaning(RELEASES, (Outcome.FAILED.value,)),
    Word.NOT_FOUND: Meaning(RELEASES, (Outcome.NOT_FOUND.value,)),
    Word.STOPPED: Meaning(RELEASES, (Outcome.STOPPED.value,)),
    Word.FRUITLESS: Meaning(RELEASES, FRUITLESS),
}


def carries(entry: Entry) -> bool:
    """Whether it names a category of data that moved."""
    return bool(entry.categories.permitted)


def carrying() -> ColumnElement[bool]:
    """The same, of a row: the canonical text of an entry has the member only where it holds something."""
    return entries.c.body.contains('"permitted":[', autoescape=True)
