"""What humans do with tasks: see them, open one, and say how it ended, with proof. Each is put on record.

A list shows no persons. Whoever opens a task sees whom it is about; that they did is an entry. How a person was told
is said with the day, the channel and the language, and by whom: the proof is sealed under the person's key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Row

from audit.log.entries import Entry, EntryType, Outcome, moment
from audit.questions.subjects import Subject, Subjects
from consent.deciding.verdicts import legal_day
from gateway.obligations import tasks
from gateway.obligations.tasks import Kind, Settling, State, Task
from gateway.story import Story
from gateway.wire.identifiers import MemberId
from gateway.wire.problems import ProblemError


class Channel(StrEnum):
    """How a person was reached. What goes to a home can be read by others there."""

    MEETING = "meeting"
    INTERPRETED = "interpreted-meeting"
    TELEPHONE = "telephone"
    SERVICE = "e-service"
    LETTER = "letter"


class Told(StrEnum):
    """How a task to tell a person ended: they were told, or what excuses it. Source: GDPR 14(5), 23."""

    TOLD = "told"
    KNOWS = "knows-already"  # 14(5)(a)
    IMPOSSIBLE = "cannot-be-reached"  # 14(5)(b)
    BY_LAW = "laid-down-by-law"  # 14(5)(c)
    SECRET = "must-stay-secret"  # noqa: S105 - 14(5)(d)


class Deleted(StrEnum):
    """How a task to confirm a deletion ended."""

    DELETED = "deleted"
    GOES_ON = "relationship-goes-on"  # the time runs from its end: asked again on the day that is named


class Answered(StrEnum):
    """How a task to ask a person ended."""

    PERMITTED = "permitted"
    REFUSED = "refused"
    NOT_ASKED = "could-not-be-asked"


OUTCOMES: Final[Mapping[Kind, type[StrEnum]]] = {
    Kind.TELL: Told,
    Kind.TELL_GIVEN: Told,
    Kind.DELETE: Deleted,
    Kind.ASK: Answered,
}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: the client, the person behind it (a pseudonym), and for which members."""

    client: str
    user: str | None
    members: tuple[MemberId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """How a task ended, as it is said. `is_safe` says that a human has weighed how this person can be reached."""

    outcome: str
    day: date
    channel: str | None = None
    language: str | None = None
    remark: str | None = None
    is_safe: bool = False
    until: date | None = None


class Tasks:
    """The tasks of one node's members. Everything blocks, and works inside the caller's transaction."""

    def __init__(self, node: str, subjects: Callable[[MemberId], Subjects]) -> None:
        self._node = node
        self._subjects = subjects

    def listed(self, connection: Connection, actor: Actor, now: datetime, *, is_all: bool = False) -> tuple[Task, ...]:
        """What is to be done, what is due first before what is due later; with `is_all` also what was done."""
        state = None if is_all else State.OPEN
        return tasks.listed(connection, _names(actor), state, legal_day(now))

    def open(self, connection: Connection, actor: Actor, identifier: str, now: datetime) -> tuple[Task, Entry]:
        """One task with whom it is about, and the entry that says who has seen it. Raises ProblemError."""
        row = _row(connection, actor, identifier)
        subject, key = self._person(connection, row)
        entry = self._story(actor, row, subject).entry(
            EntryType.OBLIGATION,
            Outcome.SUCCESS,
            now,
            previous=row.entry,
            detail={"task": row.id, "kind": row.kind, "act": "opened"},
        )
        return tasks.task_of(row, legal_day(now), key), entry

    def settle(
        self, connection: Connection, actor: Actor, identifier: str, said: Outcomes, now: datetime
    ) -> tuple[Task, Entry]:
        """Say how a task ended. Raises ProblemError."""
        row = _row(connection, actor, identifier)
        if row.state != State.OPEN.value:
            raise ProblemError("not-found", detail="the task was seen to already")
        _check(row, said, legal_day(now))
        subject, key = self._person(connection, row)
        goes_on = said.outcome == Deleted.GOES_ON.value
        detail: dict[str, str | int | bool] = {"task": row.id, "kind": row.kind, "outcome": said.outcome}
        if said.channel is not None:
            detail["channel"] = said.channel
        entry = self._story(actor, row, subject).entry(
            EntryType.OBLIGATION,
            Outcome.PENDING if goes_on else Outcome.SUCCESS,
            now,
            bases=tuple(row.bases.split()),
            previous=row.entry,
            detail=detail,
        )
        proof = {
            "day": said.day.isoformat(),
            "channel": said.channel,
            "language": said.language,
            "remark": said.remark,
            "by": actor.user,
        }
        settling = Settling(said.outcome, proof, entry, said.until if goes_on else None)
        if not tasks.settle(connection, row, key, settling):
            raise ProblemError("busy", detail="somebody else is seeing to the task", retry_after=1)
        done = _row(connection, actor, identifier)
        return tasks.task_of(done, legal_day(now), key), entry

    def _person(self, connection: Connection, row: Row[Any]) -> tuple[Subject | None, bytes | None]:
        subjects = self._subjects(MemberId.parse(row.member))
        return subjects.by_id(connection, row.subject), subjects.key_of(connection, row.subject)

    def _story(self, actor: Actor, row: Row[Any], subject: Subject | None) -> Story:
        return Story(
            node=self._node,
            client=actor.client,
            user=actor.user,
            source=row.party,
            message_id=row.message,
            subject=subject.pseudonym if subject is not None else None,
            purpose=row.purpose,
        )


def _names(actor: Actor) -> Sequence[str]:
    return [str(member) for member in actor.members]


def _row(connection: Connection, actor: Actor, identifier: str) -> Row[Any]:
    row = tasks.one(connection, _names(actor), identifier)
    if row is None:
        raise ProblemError("not-found", detail="there is no task of that id")
    return row


def _check(row: Row[Any], said: Outcomes, today: date) -> None:
    """Refuse an ending that does not belong to the task, or that says too little to prove it. Raises ProblemError."""
    codes = [code.value for code in OUTCOMES[Kind(row.kind)]]
    if said.outcome not in codes:
        raise _wrong("/outcome", "the task does not end so", "use one of: " + ", ".join(codes))
    if said.day > today:
        raise _wrong("/day", "the day has not come", "say on which day it was done")
    if said.outcome == Told.TOLD.value:
        if said.day < legal_day(moment(row.created)):
            # Nobody was told of what had not come: it would prove a duty that nobody has done.
            raise _wrong("/day", "the day is before the data came", "say on which day the person was told of it")
        if said.channel is None or said.language is None:
            missing = "/channel" if said.channel is None else "/language"
            raise _wrong(missing, "how the person was told belongs to the proof", "say the channel and the language")
        if row.care and not said.is_safe:
            # A letter to a home can kill: nobody is to send one because the task said so.
            raise _wrong(
                "/is_safe",
                f"how this person is reached has to be weighed by a human ({row.care})",
                "say that the way was weighed and is safe, or choose another one",
            )
    elif said.outcome == Deleted.GOES_ON.value:
        if said.until is None or said.until <= today:
            raise _wrong("/until", "the day on which to ask again is missing", "name a later day")
    elif said.outcome in _NEEDS_REMARK and not (said.remark or "").strip():
        raise _wrong("/remark", "why nobody was told, or asked, belongs to the proof", "say it in a sentence")


_NEEDS_REMARK: Final = frozenset(
    {Told.KNOWS.value, Told.IMPOSSIBLE.value, Told.BY_LAW.value, Told.SECRET.value, Answered.NOT_ASKED.value}
)


def _wrong(pointer: str, detail: str, remedy: str) -> ProblemError:
    return ProblemError("invalid-request", pointer=pointer, detail=detail, remedy=remedy)
