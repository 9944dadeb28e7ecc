"""The data protection officer's desk: every question about the log is asked here, and each is on record.

Console, interface and commands are coats of it: they read a form, ask, and show the answer. The desk sees to the order,
so that nobody can forget it: may this role ask, what is the answer, is it on record; only then does the answer leave.
Archived months are searched with the database, as one. All functions block; call them from a thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import TypeVar, cast

from sqlalchemy import Connection

from audit.log.entries import Entry, EntryType, Outcome
from audit.log.waiting import Written
from gateway.desk.asking import Answered, Detail, Note, NotPermittedError, Question
from gateway.desk.context import DeskContext
from gateway.desk.proposals import Proposals
from gateway.desk.reading import Reading, Shelves, story_of
from gateway.desk.roles import Asker, Role

A = TypeVar("A")


class Desk:
    """Answers questions from one node's log."""

    def __init__(self, context: DeskContext) -> None:
        self.context = context
        self.shelves = Shelves()
        self.checking = Lock()
        self._proposals = Proposals(context.engine, context.subjects, context.standing)

    def ask(self, question: Question[A], asker: Asker) -> A:
        """The answer, after its entry is durable. Raises NotPermittedError, LogError, and what the question raises."""
        if not question.permits(asker.role):
            self.note(asker, Outcome.REFUSED, {"question": question.recorded_as, "reason": "role"})
            raise NotPermittedError(f"the role {asker.role} may not ask {question.recorded_as}")
        if not self.is_told_for_whom(asker):
            self.note(asker, Outcome.REFUSED, {"question": question.recorded_as, "reason": "member"})
            raise NotPermittedError("this node speaks for several members; ask for one of them")
        with self.context.engine.connect() as connection:
            answered = question.read(self.reading(connection, asker))
        if not question.is_recorded:
            return cast("A", answered.value)

        def unit(connection: Connection) -> Written[A]:
            told: tuple[Entry, ...] = ()
            value = cast("A", answered.value)
            if answered.write is not None:
                value, told = answered.write(connection)
            return Written(value, (*self._entry(question, asker, answered), *told))

        # The answer leaves by the return below and no other way: if the log cannot record, commit raises.
        done = self.context.log.commit_blocking(unit)
        return done.value if answered.placed is None else answered.placed(done.indexes[0])

    def is_told_for_whom(self, asker: Asker) -> bool:
        """Whether it is known for which member somebody asks, where the node speaks for several."""
        # Each member is a controller of its own: nobody looks into the registers of two at once.
        members = self.context.members
        return len(members) < 2 or asker.member in members or asker.role is Role.OPERATOR

    def reading(self, connection: Connection, asker: Asker) -> Reading:
        """What a question reads with."""
        return Reading(
            self.context, self.shelves, asker, connection, self.context.clock(), self.checking, self._proposals
        )

    def _entry(self, question: Question[A], asker: Asker, answered: Answered[A]) -> tuple[Entry, ...]:
        note = answered.note
        if note is None:
            return ()
        outcome = Outcome.SUCCESS if note.found else Outcome.NOT_FOUND
        return (self._told(asker, question.kind, outcome, note, {"question": question.recorded_as, **note.detail}),)

    def note(self, asker: Asker, outcome: Outcome, detail: Detail, kind: EntryType = EntryType.CONSOLE_READ) -> None:
        """Put on record what was done at the desk without a question: a page that asks nothing, a form refused."""
        self.context.log.append_blocking((self._told(asker, kind, outcome, Note(), detail),))

    def _told(
        self, asker: Asker, kind: EntryType, outcome: Outcome, note: Note, detail: Mapping[str, str | int | bool]
    ) -> Entry:
        place = {} if asker.page is None else {"page": asker.page, "role": asker.role.value}
        story = story_of(self.context, asker).about(note.subject, note.case)
        return story.entry(kind.value, outcome.value, self.context.clock(), detail={**place, **detail})

    def close(self) -> None:
        """Close what is open of archives."""
        self.shelves.close()
