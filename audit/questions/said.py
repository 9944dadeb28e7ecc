"""What an entry says of a person's word, and what is told with it: four kinds of words, each by its own name.

An entry about a word discloses and withholds nothing: its categories are what the word is about. What the person
permitted, consented to and forbade is theirs; a report is what somebody else said, and is told to nobody as the
person's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection

from audit.log.entries import Entry, EntryType, Outcome


class Saying(StrEnum):
    """What an entry about words is about: one of the four kinds, or something that was done with words."""

    PERMISSION = "permission"
    CONSENT = "consent"
    PROHIBITION = "prohibition"
    REPORT = "report"
    NOTICE = "notice"  # another organisation told that a word has ended, or that something is forbidden
    READING = "reading"  # an information system read words
    ATTEMPT = "attempt"  # an information system asked for more about words than its rights


KINDS = frozenset({Saying.PERMISSION, Saying.CONSENT, Saying.PROHIBITION, Saying.REPORT})


class Step(StrEnum):
    """What became of a word with an entry."""

    RECORDED = "recorded"
    WITHDRAWN = "withdrawn"
    IN_ERROR = "entered-in-error"
    LAPSED = "lapsed"


class State(StrEnum):
    """How a word stands on a day."""

    IN_FORCE = "in-force"
    NOT_YET = "not-yet"
    ENDED = "ended"
    HOLDS = "holds"  # a report, while the person is asked
    WITHDRAWN = "withdrawn"
    IN_ERROR = "entered-in-error"
    LAPSED = "lapsed"


class Speaker(StrEnum):
    """In what capacity somebody spoke."""

    SELF = "self"
    GUARDIAN = "guardian"
    REPRESENTATIVE = "representative"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a version of a word says beyond its entry, and how it stands.

    `state` is None where a newer one stands, `ended_by` where nobody ended it, or it is not on record who did. What was
    ended has no period any more.
    """

    speaker: Speaker
    state: State | None
    categories: tuple[str, ...]
    purposes: tuple[str, ...]
    recipients: tuple[str, ...]
    starts: date | None
    ends: date | None
    ended_by: Speaker | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON tells it."""
        return {
            "given_by": self.speaker,
            "state": self.state,
            "categories": list(self.categories),
            "purposes": list(self.purposes),
            "recipients": list(self.recipients),
            "starts": self.starts and self.starts.isoformat(),
            "ends": self.ends and self.ends.isoformat(),
            "ended_by": self.ended_by,
        }


TermsOf = Callable[[Connection, str, int], Terms | None]
"""The terms of a version of a word, by its id; None where nothing of it is kept."""


def no_terms(_connection: Connection, _word: str, _version: int) -> Terms | None:
    """Nothing is known of a word but what its entry says."""
    return None


def saying(entry: Entry) -> Saying | None:
    """What an entry about words is about; None for any other entry."""
    if entry.type not in (EntryType.CONSENT, EntryType.REFUSAL):
        return None
    kind = entry.detail.get("kind")
    if kind in KINDS:
        return Saying(str(kind))
    if entry.detail.get("act") == "read":
        return Saying.READING
    if "notice" in entry.detail:
        return Saying.NOTICE
    if entry.outcome is Outcome.REFUSED and not entry.consents:
        return Saying.ATTEMPT
    # Former versions wrote no kind: what permitted was a consent, what forbade a prohibition.
    return Saying.PROHIBITION if entry.type is EntryType.REFUSAL else Saying.CONSENT


def word_of(entry: Entry) -> Saying | None:
    """Which of the four kinds of words an entry records or ends; None for any other entry."""
    said = saying(entry)
    return said if said in KINDS else None


def step(entry: Entry) -> Step:
    """What became of the word with this entry."""
    status = entry.detail.get("status")
    return Step(str(status)) if status in set(Step) else Step.RECORDED


def about(entry: Entry) -> tuple[str, ...]:
    """The categories that the word of an entry names; none for a word about all of them."""
    return tuple(dict.fromkeys((*entry.categories.permitted, *entry.categories.withheld)))
