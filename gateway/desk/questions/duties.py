"""Tasks at the desk: what people are to be told, what is to be deleted, what is late; seen to by a registrar."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection

from audit.log.entries import Entry, EntryType
from gateway.desk.asking import Answered, Note, Question
from gateway.desk.forms import Text
from gateway.desk.questions.words import Unsettled, unsettled
from gateway.desk.reading import Reading
from gateway.desk.roles import REGISTRAR, Role
from gateway.obligations.acts import Actor, Channel, Outcomes, Tasks
from gateway.obligations.notice import Told, told
from gateway.obligations.tasks import TELLS, Task
from gateway.web.forms import Code, Key
from gateway.wire.identifiers import MemberId


@dataclass(frozen=True, slots=True)
class Due:
    """What is late, what is to be done, what was done lately, and which prohibitions wait; nobody is named."""

    late: tuple[Task, ...]
    open: tuple[Task, ...]
    done: tuple[Task, ...]
    words: Unsettled


@dataclass(frozen=True, slots=True)
class Opened:
    """A task with whom it is about, and what the person is to be told in each language."""

    task: Task
    texts: Told | None


class DueTasks(Question[Due], named="tasks", roles=frozenset({Role.REGISTRAR, Role.OFFICER})):
    """What people are to be told, and what is to be deleted; what is late first."""

    def read(self, reading: Reading) -> Answered[Due]:
        """The answer and its note."""
        found = _tasks(reading).listed(reading.connection, _actor(reading), reading.now, is_all=True)
        still = [task for task in found if task.outcome is None or task.state == "open"]
        late = tuple(task for task in still if task.is_overdue)
        due = Due(
            late,
            tuple(task for task in still if not task.is_overdue),
            tuple(task for task in found if task not in still)[-30:],
            unsettled(reading),
        )
        return Answered(due, Note(bool(found), detail={"open": len(still), "overdue": len(late)}))


class OpenTask(Question[Opened], named="task", kind=EntryType.OBLIGATION, roles=REGISTRAR):
    """One task with whom it is about; that it was opened is put on record."""

    task: Key

    def read(self, reading: Reading) -> Answered[Opened]:
        """It is read in the transaction that records it."""

        def unit(connection: Connection) -> tuple[Opened, tuple[Entry, ...]]:
            task, entry = _tasks(reading).open(connection, _actor(reading), self.task, reading.now)
            standing = reading.context.standing()
            texts = told(task, standing) if standing is not None and task.kind in TELLS else None
            return Opened(task, texts), (entry,)

        return Answered(None, None, write=unit)


class EndTask(Question[Task], named="task-outcome", kind=EntryType.OBLIGATION, roles=REGISTRAR):
    """Say how a task ended, with proof."""

    task: Key
    outcome: Code
    day: date
    channel: Channel | None = None
    language: Code | None = None
    remark: Text | None = None
    is_safe: bool = False
    until: date | None = None

    def read(self, reading: Reading) -> Answered[Task]:
        """Nothing is read; the task ends in the transaction that records it."""
        said = Outcomes(**self.model_dump(exclude={"task"}))

        def unit(connection: Connection) -> tuple[Task, tuple[Entry, ...]]:
            task, entry = _tasks(reading).settle(connection, _actor(reading), self.task, said, reading.now)
            return task, (entry,)

        return Answered(None, None, write=unit)


def _tasks(reading: Reading) -> Tasks:
    context = reading.context
    return Tasks(context.node, lambda member: context.subjects.of(str(member)))


def _actor(reading: Reading) -> Actor:
    own = reading.asker.member
    members = (MemberId.parse(own),) if own else tuple(subsystem.member for subsystem in reading.context.subsystems)
    return Actor(reading.asker.client, reading.asker.user, tuple(dict.fromkeys(members)))
