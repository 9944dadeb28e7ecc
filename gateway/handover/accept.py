"""What has arrived for our organisation, and its acceptance: the receiving end of an escorted handover.

Opening an arrival is a read of personal data and is on record as one. Accepting it names who is responsible from now
on and tells the sender so, by a delivery of its own that is as durable as the handover was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Row, select, update

from audit.log.entries import Categories, Entry, EntryType, Outcome, micros, new_id
from audit.log.waiting import Written
from audit.questions.subjects import Subject
from gateway.exchange.context import Exchange
from gateway.handover import store
from gateway.handover.contact import Contact, kept_contact, sealed_contact
from gateway.handover.cursors import following, position
from gateway.handover.states import ArrivalKind, ArrivalState, DeliveryKind
from gateway.handover.store import NewDelivery
from gateway.person.acceptance import Acceptance, join
from gateway.registry.read.entries import ServiceDescriptor
from gateway.storage.engine import read
from gateway.storage.sealing import seal, unseal
from gateway.storage.tables import inbox
from gateway.story import Story
from gateway.wire.identifiers import SubsystemId
from gateway.wire.problems import ProblemError
from schemas.facts import Identifier

Permits = Callable[[str, frozenset[str]], None]
"""Refuses a purpose or categories, by raising."""


@dataclass(frozen=True, slots=True)
class Item:
    """One arrival, without its content."""

    id: str
    kind: ArrivalKind
    delivery: str
    handover: str
    sender: str
    flow: str
    purpose: str
    categories: tuple[str, ...]
    state: ArrivalState
    received: datetime
    contact: Contact | None
    #: The last day on which its content is kept, here and by whoever takes it.
    retain_until: str | None = None


@dataclass(frozen=True, slots=True)
class Opener:
    """The client that opens or accepts an arrival. `permits` refuses, by raising, what it has no right to."""

    client: str
    permits: Permits = lambda _purpose, _categories: None


class Inbox:
    """The arrivals of one node."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def list(
        self, recipient: SubsystemId, *, state: str | None, after: str, limit: int
    ) -> tuple[list[Item], str]:
        """Arrivals for a subsystem in the order in which they arrived, after a cursor; and the cursor to go on with."""

        def look(connection: Connection) -> tuple[list[Item], str]:
            own = inbox.c.recipient == str(recipient)
            before = position(connection, inbox, after, own)
            statement = select(inbox).where(own, inbox.c.number > before).order_by(inbox.c.number).limit(limit)
            if state is not None:
                statement = statement.where(inbox.c.state == state)
            rows = connection.execute(statement).all()
            return [self._item(connection, row) for row in rows], following(rows, before)

        return await read(self._exchange.engine, look)

    async def open(
        self,
        recipient: SubsystemId,
        identifier: str,
        opener: Opener,
        user: str | None,
    ) -> tuple[Item, dict[str, Any]]:
        """One arrival with its content; the read is on record before it is given. Raises ProblemError."""
        now = self._exchange.clock()

        def record(connection: Connection) -> Written[tuple[Item, bytes]]:
            row = _row(connection, recipient, identifier)
            opener.permits(row.purpose, frozenset(row.categories.split()))
            subject = self._exchange.subjects.by_id(connection, row.subject)
            key = self._exchange.subjects.key_of(connection, row.subject)
            if subject is None or key is None or row.sealed is None:
                raise ProblemError("body-destroyed", detail="the content is gone: its data subject's key was destroyed")
            entry = Story(
                client=opener.client,
                user=user,
                node=self._exchange.node,
                recipient=str(recipient),
                source=row.sender,
                subject=subject.pseudonym,
                purpose=row.purpose,
                case=row.case_reference,
            ).entry(
                EntryType.RECEIPT,
                Outcome.SUCCESS,
                now,
                categories=Categories(tuple(row.categories.split()), ()),
                previous=row.entry,
                detail={"act": "opened", "handover": row.handover, "delivery": row.delivery},
            )
            return Written((self._item(connection, row), unseal(key, f"inbox/{row.id}", row.sealed)), (entry,))

        item, content = (await self._exchange.log.commit(record)).value
        document: dict[str, Any] = orjson.loads(content)
        return item, document

    async def accept(
        self,
        recipient: SubsystemId,
        identifier: str,
        opener: Opener,
        contact: Contact,
        *,
        person: Identifier | None = None,
    ) -> Item:
        """Accept an arrival; doing it again changes nothing. Raises ProblemError.

        `person` is who it is about in the recipient's own register: what the sender named is joined with that person.
        """
        now = self._exchange.clock()
        standing = self._exchange.standing(now)

        def record(connection: Connection) -> Written[Item]:
            row = _row(connection, recipient, identifier)
            opener.permits(row.purpose, frozenset(row.categories.split()))
            joined: tuple[Entry, ...] = ()
            if person is not None:
                same = Acceptance(row.id, row.subject, person, opener.client, self._exchange.node)
                joined = self._join(connection, recipient, same, now)
            if row.state == ArrivalState.ACCEPTED.value:
                return Written(self._item(connection, row), joined)
            subject = self._exchange.subjects.by_id(connection, row.subject)
            entry = Story(
                client=opener.client,
                node=self._exchange.node,
                recipient=str(recipient),
                source=row.sender,
                subject=subject.pseudonym if subject else None,
                purpose=row.purpose,
                case=row.case_reference,
            ).entry(
                EntryType.ACCEPTANCE,
                Outcome.SUCCESS,
                now,
                previous=row.entry,
                detail={"handover": row.handover, "delivery": row.delivery},
            )
            kept = sealed_contact(subject.key if subject else None, "inbox", row.id, contact)
            connection.execute(
                update(inbox)
                .where(inbox.c.id == row.id)
                .values(state=ArrivalState.ACCEPTED.value, contact_sealed=kept, changed=micros(now), entry=entry.id)
            )
            services = standing.registry.services_of(SubsystemId.parse(row.sender), "acceptance")
            if row.kind == ArrivalKind.HANDOVER.value and services and subject is not None:
                store.add_delivery(connection, _told(row, services[0], contact, subject, entry))
            return Written(self._item(connection, _row(connection, recipient, identifier)), (entry, *joined))

        return (await self._exchange.log.commit(record)).value

    def _join(
        self, connection: Connection, recipient: SubsystemId, acceptance: Acceptance, now: datetime
    ) -> tuple[Entry, ...]:
        subjects = self._exchange.subjects_of(recipient)
        if subjects.key_of(connection, acceptance.filed) is None:
            raise ProblemError(
                "body-destroyed",
                pointer="/person",
                detail="whom the arrival was about was forgotten: nobody is there to be joined",
                remedy="accept without `person`",
            )
        return join(connection, subjects, acceptance, now)

    def _item(self, connection: Connection, row: Row[Any]) -> Item:
        return Item(
            row.id,
            ArrivalKind(row.kind),
            row.delivery,
            row.handover,
            row.sender,
            row.flow,
            row.purpose,
            tuple(row.categories.split()),
            ArrivalState(row.state),
            datetime.fromtimestamp(row.received / 1_000_000, UTC),
            kept_contact(self._exchange.subjects, connection, "inbox", row),
            row.retain_until,
        )


def _told(row: Row[Any], service: ServiceDescriptor, contact: Contact, subject: Subject, entry: Entry) -> NewDelivery:
    """The delivery that tells the sender of an arrival who has accepted it."""
    delivery, at = new_id(entry.recorded), micros(entry.recorded)
    told = orjson.dumps({"delivery": row.delivery, "contact": contact})
    return NewDelivery(
        id=delivery,
        handover=None,
        kind=DeliveryKind.ACCEPTANCE,
        service=str(service.id),
        consumer=row.recipient,
        purpose=row.purpose,
        subject=subject.id,
        due=at,
        at=at,
        entry=entry.id,
        case=row.case_reference,
        sealed=seal(subject.key, f"deliveries/{delivery}", told),
    )


def _row(connection: Connection, recipient: SubsystemId, identifier: str) -> Row[Any]:
    row = connection.execute(select(inbox).where(inbox.c.id == identifier, inbox.c.recipient == str(recipient))).first()
    if row is None:
        raise ProblemError("not-found", detail="nothing of that id has arrived for this organisation")
    return row
