"""Tasks that a duty makes: kept until a human has seen to them, with proof of what was done.

A task names its person only by the id that they are filed under; by what they are known, and what was done, is sealed
under their key. The same duty makes one task: a duty is the same while person, other party, purpose and bases are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final

import orjson
from sqlalchemy import Connection, Row, bindparam, insert, select, update

from audit.log.entries import Entry, EntryType, Outcome, micros, moment, new_id
from audit.log.statements import Fixed
from audit.log.tables import subjects
from audit.questions.subjects import Subject
from gateway.storage.sealing import seal, unseal
from gateway.storage.tables import tasks
from gateway.story import Story

MOST: Final = 1_000
#: Asked at each answer that brings a duty, and nearly always the duty is known.
_KNOWN: Final = Fixed(
    select(tasks.c.id).where(tasks.c.kind == bindparam("what"), tasks.c.reference == bindparam("same")), "what", "same"
)


class Kind(StrEnum):
    """What is to be done."""

    TELL = "notify-subject"  # tell the person of the data that was got
    TELL_GIVEN = "notify-of-disclosure"  # tell the person of the data that was given by their word
    DELETE = "confirm-deletion"  # what the organisation's own systems hold ends
    ASK = "ask-permission"  # the person has not been asked


TELLS: Final = frozenset({Kind.TELL, Kind.TELL_GIVEN})
"""A person is told something."""


class State(StrEnum):
    """How far a task has come."""

    OPEN = "open"
    DONE = "done"


FORGOTTEN: Final = "person-forgotten"
"""How a task ends by itself: nothing is left by which the person could be reached."""


class Care(StrEnum):
    """Why a human chooses how a person is reached: a letter to a home can harm."""

    SAFETY = "safety-prohibition"
    MINOR = "minor"
    TRAFFICKING = "trafficking"
    GUARDIAN = "guardian"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A task that a duty makes. `named` is what the person is known by: pairs of system and value."""

    kind: Kind
    member: str
    subject: Subject
    message: str
    party: str
    purpose: str
    categories: frozenset[str]
    bases: tuple[str, ...]
    care: tuple[Care, ...]
    due: date
    named: Sequence[tuple[str, str]]
    language: str | None = None

    @property
    def reference(self) -> str:
        """What makes the duty the same as one before."""
        about = (self.member, self.subject.id, self.party, self.purpose, *sorted(self.bases))
        # What is to be deleted belongs to one exchange.
        once = (self.message,) if self.kind is Kind.DELETE else ()
        return hashlib.sha256(orjson.dumps([*about, *once])).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task as it is shown. `named`, `language` and `proof` are there for whoever may see persons."""

    id: str
    kind: Kind
    party: str
    purpose: str
    categories: tuple[str, ...]
    bases: tuple[str, ...]
    care: tuple[Care, ...]
    due: date
    state: State
    outcome: str | None
    created: datetime
    changed: datetime
    entry: str
    subject: str
    message: str
    is_overdue: bool
    named: tuple[tuple[str, str], ...] = ()
    language: str | None = None
    proof: dict[str, Any] | None = None


def add(connection: Connection, story: Story, new: NewTask, now: datetime) -> tuple[Entry, ...]:
    """Keep a task and give its entry; nothing where the same duty made one before."""
    reference = new.reference
    if _KNOWN.row(connection, new.kind.value, reference) is not None:
        return ()
    identifier = new_id(now)
    entry = story.entry(
        EntryType.OBLIGATION,
        Outcome.PENDING,
        now,
        bases=new.bases,
        detail={"task": identifier, "kind": new.kind.value, "due": new.due.isoformat()},
    )
    about = orjson.dumps({"named": [list(pair) for pair in new.named], "language": new.language})
    row = {
        "id": identifier,
        "kind": new.kind.value,
        "reference": reference,
        "member": new.member,
        "subject": new.subject.id,
        "message": new.message,
        "party": new.party,
        "purpose": new.purpose,
        "categories": " ".join(sorted(new.categories)),
        "bases": " ".join(new.bases),
        "care": " ".join(reason.value for reason in new.care),
        "due": new.due.isoformat(),
        "state": State.OPEN.value,
        "created": micros(now),
        "changed": micros(now),
        "entry": entry.id,
        "sealed": seal(new.subject.key, f"tasks/{identifier}", about),
    }
    connection.execute(insert(tasks), row)
    return (entry,)


def listed(connection: Connection, members: Iterable[str], state: State | None, today: date) -> tuple[Task, ...]:
    """The tasks of these members, what is due first before what is due later."""
    statement = select(tasks).where(tasks.c.member.in_(list(members))).order_by(tasks.c.due, tasks.c.id).limit(MOST)
    if state is not None:
        statement = statement.where(tasks.c.state == state.value)
    return tuple(task_of(row, today) for row in connection.execute(statement))


def one(connection: Connection, members: Iterable[str], identifier: str) -> Row[Any] | None:
    """The row of one task, if it is one of these members'."""
    mine = tasks.c.member.in_(list(members))
    return connection.execute(select(tasks).where(tasks.c.id == identifier, mine)).first()


def task_of(row: Row[Any], today: date, key: bytes | None = None) -> Task:
    """A row as a task; with the person's key also whom it is about, and the proof."""
    due = date.fromisoformat(row.due)
    about: dict[str, Any] = {}
    proof: dict[str, Any] | None = None
    if key is not None and row.sealed is not None:
        about = orjson.loads(unseal(key, f"tasks/{row.id}", row.sealed))
    if key is not None and row.proof is not None:
        proof = orjson.loads(unseal(key, f"tasks/{row.id}/proof", row.proof))
    return Task(
        id=row.id,
        kind=Kind(row.kind),
        party=row.party,
        purpose=row.purpose,
        categories=tuple(row.categories.split()),
        bases=tuple(row.bases.split()),
        care=tuple(Care(reason) for reason in row.care.split()),
        due=due,
        state=State(row.state),
        outcome=row.outcome,
        created=moment(row.created),
        changed=moment(row.changed),
        entry=row.entry,
        subject=row.subject,
        message=row.message,
        is_overdue=row.state == State.OPEN.value and due < today,
        named=tuple((system, value) for system, value in about.get("named", ())),
        language=about.get("language"),
        proof=proof,
    )


@dataclass(frozen=True, slots=True)
class Settling:
    """How a task ended: the outcome's code, what proves it, the entry that tells it; `due` if it goes on until then."""

    outcome: str
    proof: dict[str, Any]
    entry: Entry
    due: date | None = None


def settle(connection: Connection, row: Row[Any], key: bytes | None, settling: Settling) -> bool:
    """End a task, or let it go on to another day; False if somebody else was first."""
    proof = None if key is None else seal(key, f"tasks/{row.id}/proof", orjson.dumps(settling.proof))
    goes_on = settling.due is not None
    changed = connection.execute(
        update(tasks)
        .where(tasks.c.id == row.id, tasks.c.state == State.OPEN.value, tasks.c.entry == row.entry)
        .values(
            state=(State.OPEN if goes_on else State.DONE).value,
            due=settling.due.isoformat() if settling.due is not None else row.due,
            outcome=settling.outcome,
            proof=proof,
            changed=micros(settling.entry.recorded),
            entry=settling.entry.id,
        )
    )
    return changed.rowcount == 1


def end_of_forgotten(connection: Connection, now: datetime) -> int:
    """End what is to be done for people whose key was destroyed: nobody can see whom it is about. Gives how many.

    No entry names the task: it would tell who was forgotten when.
    """
    forgotten = select(subjects.c.id).where(subjects.c.destroyed.is_not(None))
    ended = connection.execute(
        update(tasks)
        .where(tasks.c.state == State.OPEN.value, tasks.c.subject.in_(forgotten))
        .values(state=State.DONE.value, outcome=FORGOTTEN, changed=micros(now))
    )
    return ended.rowcount
