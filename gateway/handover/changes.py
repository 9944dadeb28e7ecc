"""What a register says of a record that it has handed over before: so far, that it has taken it back.

What has not left is stopped at once. Those who hold the record already keep it: how many they are is on record and in
the answer, so that somebody tells them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, select, update

from adapters.sdk import Change
from audit.log.entries import Entry, EntryType, Outcome, micros
from audit.log.waiting import Written
from gateway.exchange.context import Exchange
from gateway.handover import store
from gateway.handover.states import DeliveryKind, DeliveryState
from gateway.person.values import Named, Register
from gateway.storage.tables import deliveries
from gateway.story import Story
from gateway.wire.identifiers import SubsystemId
from gateway.wire.problems import ProblemError
from schemas.facts import Identifier
from schemas.identifiers import SubjectIdentifierError, canonical

#: Deliveries that have left; one that is still due, when all that can be stopped is, is leaving.
_GONE: Final = (DeliveryState.DELIVERED.value, DeliveryState.ACCEPTED.value, DeliveryState.DUE.value)


@dataclass(frozen=True, slots=True)
class Teller:
    """Who says it: the client, the subsystem whose register it is, the register, and the trace."""

    client: str
    sender: SubsystemId
    register: Register
    trace_id: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What was done: deliveries that were stopped, and those that have left or are leaving at this moment."""

    stopped: int
    gone: int


class Changes:
    """Takes what registers say of records that they gave before."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def take(self, change: Change, teller: Teller) -> Taken:
        """Stop what has not left of a person's record, and put it on record. Saying it again changes nothing.

        Raises ProblemError.
        """
        now = self._exchange.clock()
        try:
            pairs = tuple(Identifier(*canonical(system, value)) for system, value in change.identifiers)
        except SubjectIdentifierError as error:
            raise ProblemError(error.code, detail=error.detail, remedy=error.remedy) from None
        named = Named(str(teller.sender.member), pairs, teller.register, change.key or None)

        def record(connection: Connection) -> Written[Taken]:
            # Whoever is meant: nobody becomes known, and no two become one, by a record that is none any more.
            person = self._exchange.people.recall_in(connection, named)
            met = {subject.id: subject.pseudonym for known in person.known for subject in known.subjects}
            stopped = self._stop(connection, change, teller, met, now)
            left = select(deliveries.c.id).where(*_of(teller, met), deliveries.c.state.in_(_GONE))
            taken = Taken(len(stopped), len(connection.execute(left).all()))
            opening = self._story(teller, next(iter(met.values()), None)).entry(
                EntryType.HANDOVER,
                Outcome.SUCCESS if met else Outcome.NOT_FOUND,
                now,
                reason=change.kind.value,
                detail={"act": change.kind.value, "stopped": taken.stopped, "gone": taken.gone},
            )
            # What waits of the record goes as well, or a registrar would send on what the register has taken back.
            return Written(taken, (opening, *stopped, *self._exchange.held.corrected(connection, named, now)))

        return (await self._exchange.log.commit(record)).value

    def _stop(
        self, connection: Connection, change: Change, teller: Teller, met: Mapping[str, str], now: datetime
    ) -> list[Entry]:
        """Stop what has not left; gives the entries that tell of it."""
        at, columns = micros(now), deliveries.c["id", "handover", "subject", "service", "purpose", "entry"]
        # One that a worker holds is leaving now: what becomes of it the worker alone puts on record.
        waiting = (deliveries.c.state == DeliveryState.DUE.value, deliveries.c.lease <= at)
        entries = []
        for row in connection.execute(select(*columns).where(*_of(teller, met), *waiting).with_for_update()).all():
            story = self._story(teller, met[row.subject])
            story = story.to(row.service or None, row.service.rpartition("/")[0] or None, row.purpose)
            entry = story.entry(
                EntryType.DELIVERY,
                Outcome.STOPPED,
                now,
                previous=row.entry,
                reason=change.kind.value,
                detail={"handover": row.handover, "delivery": row.id},
            )
            values = {"state": DeliveryState.STOPPED.value, "problem": change.kind.value, "lease": 0, "changed": at}
            connection.execute(update(deliveries).where(deliveries.c.id == row.id).values(**values, entry=entry.id))
            store.complete(connection, row.handover, at)
            entries.append(entry)
        return entries

    def _story(self, teller: Teller, subject: str | None) -> Story:
        return Story(
            node=self._exchange.node,
            client=teller.client,
            source=str(teller.sender),
            subject=subject,
            trace_id=teller.trace_id,
        )


def _of(teller: Teller, subjects: Mapping[str, str]) -> tuple[ColumnElement[bool], ...]:
    """The deliveries of handovers of these subjects that this subsystem has ordered."""
    return (
        deliveries.c.subject.in_(sorted(subjects)),
        deliveries.c.kind == DeliveryKind.HANDOVER.value,
        deliveries.c.consumer == str(teller.sender),
    )
