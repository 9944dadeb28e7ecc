"""What is under way: handovers with their deliveries, and arrivals that nobody has accepted yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, select

from audit.log.entries import moment
from gateway.desk.asking import Answered, Note, Question
from gateway.desk.reading import Reading
from gateway.desk.roles import EVERYONE
from gateway.handover.contact import kept_contact
from gateway.handover.states import OPEN, ArrivalKind, ArrivalState, DeliveryKind, DeliveryState, HandoverState
from gateway.storage.tables import deliveries, handovers, inbox
from gateway.wire.identifiers import ServiceId, SubsystemId

MOST: Final = 200


@dataclass(frozen=True, slots=True)
class Leg:
    """One delivery of a handover. `since` is when it came to where it stands, however often it was tried there."""

    recipient: str
    role: str
    purpose: str
    state: str
    attempts: int
    problem: str | None
    since: datetime
    is_late: bool
    contact: Mapping[str, str]

    @property
    def is_open(self) -> bool:
        """Whether somebody still has to do something about it."""
        return self.state in OPEN


@dataclass(frozen=True, slots=True)
class Journey:
    """One handover with its deliveries."""

    id: str
    flow: str
    state: str
    created: datetime
    entry: str
    legs: tuple[Leg, ...]

    @property
    def is_late(self) -> bool:
        """Whether a delivery of it has waited too long."""
        return any(leg.is_late for leg in self.legs)

    @property
    def is_open(self) -> bool:
        """Whether a delivery of it is under way."""
        return any(leg.is_open for leg in self.legs)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A handover that has come in, and that nobody has accepted yet."""

    sender: str
    flow: str
    purpose: str
    received: datetime
    entry: str
    is_late: bool


@dataclass(frozen=True, slots=True)
class Board:
    """Handovers and arrivals; `after` is how long one may wait before it is late."""

    journeys: tuple[Journey, ...]
    arrivals: tuple[Arrival, ...]
    after: timedelta


class Handovers(Question[Board], named="handovers", roles=EVERYONE):
    """Handovers under way and those that are over, and arrivals that nobody has accepted yet."""

    def read(self, reading: Reading) -> Answered[Board]:
        after = timedelta(seconds=reading.context.overdue_seconds)
        before = reading.now - after
        told = Board(tuple(_journeys(reading, before)), tuple(_arrivals(reading, before)), after)
        return Answered(told, Note())


def _journeys(reading: Reading, late_before: datetime) -> Iterable[Journey]:
    newest = select(handovers).order_by(handovers.c.created.desc()).limit(MOST)
    # What is open is never pushed off the board by what is new.
    unfinished = (
        select(handovers).where(handovers.c.state == HandoverState.PLANNED).order_by(handovers.c.created).limit(MOST)
    )
    connection = reading.connection
    found = {row.id: row for row in (*connection.execute(unfinished), *connection.execute(newest))}
    legs: dict[str, list[Row[Any]]] = {}
    statement = select(deliveries).where(deliveries.c.handover.in_(found)).order_by(deliveries.c.id)
    for leg in connection.execute(statement):
        legs.setdefault(leg.handover, []).append(leg)
    for row in found.values():
        its = legs.get(row.id, [])
        if _own(reading, (leg.consumer for leg in its)):
            told = tuple(_leg(reading, leg, late_before) for leg in its)
            yield Journey(row.id, row.flow, row.state, moment(row.created), row.entry, told)


def _leg(reading: Reading, row: Row[Any], late_before: datetime) -> Leg:
    contact = kept_contact(reading.subjects, reading.connection, "deliveries", row) or {}
    is_open = row.state in OPEN
    return Leg(
        recipient=str(ServiceId.parse(row.service).subsystem) if row.service else "",
        role=row.role,
        purpose=row.purpose,
        state=row.state,
        attempts=row.attempts,
        problem=row.problem,
        # Each attempt changes the row of what is still due.
        since=moment(row.created if row.state == DeliveryState.DUE else row.changed),
        is_late=row.kind == DeliveryKind.HANDOVER and is_open and moment(row.created) < late_before,
        contact=contact,
    )


def _arrivals(reading: Reading, late_before: datetime) -> Iterable[Arrival]:
    unaccepted = select(inbox).where(inbox.c.kind == ArrivalKind.HANDOVER, inbox.c.state == ArrivalState.RECEIVED)
    for row in reading.connection.execute(unaccepted.order_by(inbox.c.received).limit(MOST)):
        if _own(reading, (row.recipient,)):
            received = moment(row.received)
            yield Arrival(row.sender, row.flow, row.purpose, received, row.entry, received < late_before)


def _own(reading: Reading, subsystems: Iterable[str]) -> bool:
    own = reading.asker.member
    return own is None or any(str(SubsystemId.parse(subsystem).member) == own for subsystem in subsystems)
