"""Where a permission was never asked, somebody is to ask the person; the task ends when the person's word comes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, select

from audit.log.entries import Entry, EntryType, Outcome
from audit.questions.subjects import Subject
from consent.deciding.verdicts import Decision, legal_day
from consent.rules.law import Rulebook
from consent.words.consents import ConsentRecord, WordKind
from gateway.obligations import tasks as kept
from gateway.obligations.acts import Answered
from gateway.obligations.arising import care_of
from gateway.obligations.tasks import Kind, NewTask, Settling, State
from gateway.storage.tables import tasks
from gateway.story import Story
from gateway.wire.identifiers import MemberId

NOT_ASKED: Final = "permission-not-asked"
DAYS_TO_ASK: Final = 14


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was to go to whom, about whom: `named` is what the person is known by, `message` the handover's id."""

    member: MemberId
    party: str
    subject: Subject
    named: Sequence[tuple[str, str]]
    message: str


def not_asked(
    connection: Connection, story: Story, decision: Decision, wanted: Wanted, now: datetime
) -> tuple[Entry, ...]:
    """Make a task to ask where a decision withholds something only because nobody has asked; its entries."""
    missing = [withheld for withheld in decision.withheld if withheld.code == NOT_ASKED]
    if not missing:
        return ()
    task = NewTask(
        kind=Kind.ASK,
        member=str(wanted.member),
        subject=wanted.subject,
        message=wanted.message,
        party=wanted.party,
        purpose=decision.purpose,
        categories=frozenset(withheld.category for withheld in missing),
        bases=tuple(sorted({withheld.nearest_basis for withheld in missing if withheld.nearest_basis})),
        care=care_of(decision.request.facts),
        due=legal_day(now) + timedelta(days=DAYS_TO_ASK),
        named=wanted.named,
    )
    return kept.add(connection, story, task, now)


def answered(
    connection: Connection, story: Story, word: ConsentRecord, subjects: Iterable[str], rulebook: Rulebook
) -> tuple[Entry, ...]:
    """End the tasks to ask that a person's word answers; the entries that say so."""
    if word.forbids and word.kind is not WordKind.REPORT:
        outcome = Answered.REFUSED
    elif word.carries and word.kind is WordKind.PERMISSION:
        outcome = Answered.PERMITTED
    else:
        return ()
    entries = []
    waiting = select(tasks).where(
        tasks.c.kind == Kind.ASK.value, tasks.c.state == State.OPEN.value, tasks.c.subject.in_(list(subjects))
    )
    for row in connection.execute(waiting).all():
        about = row.categories.split()
        if not word.names_all and not any(rulebook.touches(word.categories, category) for category in about):
            continue
        entry = story.entry(
            EntryType.OBLIGATION,
            Outcome.SUCCESS,
            word.recorded_at,
            consents=((word.id, word.version),),
            previous=row.entry,
            detail={"task": row.id, "kind": row.kind, "outcome": outcome.value},
        )
        if kept.settle(connection, row, None, Settling(outcome.value, {}, entry)):
            entries.append(entry)
    return tuple(entries)
