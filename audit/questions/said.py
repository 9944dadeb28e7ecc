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
from typing import Any, Final

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


FORBIDDING: Final = frozenset({Saying.PROHIBITION, Saying.REPORT})
KINDS: Final = FORBIDDING | {Saying.PERMISSION, Saying.CONSENT}


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


class AimedAt(StrEnum):
    """What a word is aimed at, where that is narrower than all: a part of the data, or who hears of it."""

    CONTROLLER = "controller"
    REGISTER = "register"
    SERVICE_TASK = "service-task"
    DOCUMENT = "document"
    SERVICE_EVENT = "service-event"
    GUARDIAN = "guardian"
    REPRESENTATIVE = "representative"


@dataclass(frozen=True, slots=True)
class Aim:
    """What one word is aimed at. `code` is empty for who hears, and where nothing but an entry is kept."""

    kind: AimedAt
    code: str = ""

    @property
    def is_of_hearing(self) -> bool:
        """Whether it says who may not hear of the person, and narrows no data."""
        return self.kind in (AimedAt.GUARDIAN, AimedAt.REPRESENTATIVE)

    @property
    def organisation(self) -> str:
        """The organisation that it names."""
        if self.kind is AimedAt.REGISTER:
            return self.code.rpartition("/")[0]
        return self.code if self.kind is AimedAt.CONTROLLER else ""

    @property
    def called(self) -> str:
        """What it is called there where it is kept."""
        if self.kind is AimedAt.REGISTER:
            return self.code.rpartition("/")[2]
        return "" if self.kind is AimedAt.CONTROLLER else self.code

    def to_dict(self) -> dict[str, Any]:
        """As JSON tells it."""
        return {"kind": self.kind, "code": self.code}


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
    aim: Aim | None = None

    @property
    def stands(self) -> bool:
        """Whether it counts on that day."""
        return self.state in (State.IN_FORCE, State.HOLDS)

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
            "target": None if self.aim is None else self.aim.to_dict(),
        }


TermsOf = Callable[[Connection, str, int], Terms | None]
"""The terms of a version of a word, by its id; None where nothing of it is kept."""


def no_terms(_connection: Connection, _word: str, _version: int) -> Terms | None:
    """Nothing is known of a word but what its entry says."""
    return None


def terms_in(connection: Connection, entry: Entry, terms: TermsOf) -> Terms | None:
    """The terms of the word of an entry."""
    return next((found for word in entry.consents if (found := terms(connection, *word)) is not None), None)


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


def aim_of(entry: Entry) -> Aim | None:
    """What the word of an entry is aimed at, as far as the log says it: of what kind, and not which."""
    kind = entry.detail.get("target")
    return Aim(AimedAt(str(kind))) if word_of(entry) is not None and kind in set(AimedAt) else None
