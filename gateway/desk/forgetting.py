"""Forget a person: what is kept sealed of them cannot be read any more, and nobody can tell whose entries are theirs.

What is theirs beyond doubt goes. What another organisation has named together with a further identifier, or a join that
nobody has confirmed, may be somebody else's: of that whoever forgets them decides, and before anything is destroyed,
since afterwards nothing leads to it any more. The act is an entry of the log, which names nobody. All of it blocks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, Table, func, select, update

from audit.log.entries import EntryType, Outcome, micros
from audit.log.waiting import Written
from audit.questions import together
from audit.questions.forgotten import scrub
from audit.questions.subjects import Subjects
from audit.questions.together import Beside
from consent.words.tables import consents
from gateway.desk.asking import Detail
from gateway.desk.desk import Desk
from gateway.desk.reading import story_of
from gateway.desk.roles import Asker
from gateway.obligations import tasks as duties
from gateway.person.held import HeldState
from gateway.storage.tables import bodies, decisions, deliveries, disclosures, handovers, held_records, inbox, tasks
from gateway.web.forms import PersonForm

_FILED: Final[Mapping[str, Table]] = {
    "arrivals": inbox,
    "handovers": handovers,
    "deliveries": deliveries,
    "disclosures": disclosures,
    "decisions": decisions,
    "bodies": bodies,
    "tasks": tasks,
    "words": consents,
    "held records": held_records,
}
"""What is kept under a person's key, or leads to them."""


class Others(StrEnum):
    """What becomes of that which may be somebody else's."""

    FORGET = "forget"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What became of it: how many keys were destroyed, and how many tasks ended with them.

    `kept` is what is still readable and names the person together with a further identifier, by its kind, `systems` the
    kinds of those identifiers (None: not on record) and `others` their number. `is_open`: nothing was done, because
    nobody has said whether it is one person.
    """

    keys: int = 0
    tasks: int = 0
    kept: Mapping[str, int] = field(default_factory=dict)
    systems: tuple[str | None, ...] = ()
    others: int = 0
    is_open: bool = False

    def to_dict(self) -> dict[str, object]:
        return {
            "keys_destroyed": self.keys,
            "tasks_ended": self.tasks,
            "kept": dict(self.kept),
            "kept_under": list(self.systems),
            "further_identifiers": self.others,
            "undecided": self.is_open,
        }


def forget(desk: Desk, asker: Asker, person: PersonForm, others: Others | None = None) -> Forgotten:
    """Destroy a person's key: their entries stay, and nobody can tell whose they are."""
    context = desk.context
    now = context.clock()

    def unit(connection: Connection) -> Written[Forgotten]:
        subjects = context.subjects_of(asker.member)
        known = subjects.all_of(connection, person.system, person.value)
        ids = {id_ for subject in known for id_ in subjects.group(connection, subject.id)}
        done = _forgotten(connection, subjects, ids, others, now) if ids else Forgotten()
        # The entry names nobody: it would be the thread by which the others could be found again.
        outcome = Outcome.REFUSED if done.is_open else Outcome.SUCCESS if done.keys else Outcome.NOT_FOUND
        detail: Detail = {"action": "destroy-subject-key", "keys": done.keys, "tasks": done.tasks}
        return Written(done, (story_of(context, asker).entry(EntryType.KEY, outcome, now, detail=detail),))

    done = context.log.commit_blocking(unit).value
    if done.keys:
        with context.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            scrub(connection)
    return done


def beside(connection: Connection, ids: Collection[str]) -> Beside:
    """What may be these people's under further identifiers. Records that are held name two people, and tell nothing."""
    return together.beside(connection, ids, connection.scalars(select(held_records.c.subject).distinct()).all())


def _forgotten(
    connection: Connection, subjects: Subjects, ids: Collection[str], others: Others | None, now: datetime
) -> Forgotten:
    found = beside(connection, ids)
    going = found.person | found.others
    # An identifier that stands in the same messages of others, and has nothing of its own here, goes with them.
    if found.others and not (
        together.only_named(connection, found.others, found.items) and not _filed(connection, found.others)
    ):
        if others is None:
            return Forgotten(
                kept=_filed(connection, found.others | found.items),
                systems=_systems(subjects, connection, found.others),
                others=len(found.others),
                is_open=True,
            )
        going = going if others is Others.FORGET else found.person
    items = together.claims_of(connection, going)
    gone = frozenset(subjects.destroy_all(connection, sorted(going), now))
    ended = _ended(connection, gone, now)
    # What of theirs stays readable is filed under somebody else, too.
    left, stayed = items - gone, found.others - gone
    kept = _filed(connection, left | stayed)
    named = together.named_in(connection, left) | stayed if kept else frozenset[str]()
    return Forgotten(len(gone), ended, kept, _systems(subjects, connection, named), len(named))


def _ended(connection: Connection, gone: Collection[str], now: datetime) -> int:
    """End what nobody can see to any more, those of whom former versions forgot included; gives how many tasks."""
    stale = (
        update(held_records)
        .where(held_records.c.subject.in_(gone), held_records.c.state == HeldState.HELD.value)
        .values(state=HeldState.FORGOTTEN.value, sealed=None, changed=micros(now))
    )
    connection.execute(stale)
    return duties.end_of_forgotten(connection, now)


def _filed(connection: Connection, ids: Collection[str]) -> dict[str, int]:
    """How much of each kind is filed under these subjects."""
    counted = {}
    for kind, table in _FILED.items():
        mine = select(func.count()).select_from(table).where(table.c.subject.in_(ids))
        if table is held_records:
            mine = mine.where(table.c.state == HeldState.HELD.value)
        counted[kind] = int(connection.scalar(mine) or 0)
    return {kind: count for kind, count in counted.items() if count}


def _systems(subjects: Subjects, connection: Connection, ids: Collection[str]) -> tuple[str | None, ...]:
    """The kinds of identifiers that these have, each once."""
    kinds = {system for _, system in subjects.systems(connection, sorted(ids))}
    return tuple(sorted(kinds, key=str))
