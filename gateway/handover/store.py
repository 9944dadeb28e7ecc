"""Handovers, deliveries and arrivals as rows: what an exchange writes of them and finds, as values.

All of it runs in the caller's transaction, and goes to the driver.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, bindparam, exists, func, select, update

from audit.log.statements import Fixed
from gateway.handover.states import (
    SETTLED,
    ArrivalKind,
    ArrivalState,
    DeliveryKind,
    DeliveryState,
    HandoverState,
)
from gateway.storage.tables import deliveries, handovers, inbox, requests


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHandover:
    """A handover that is planned; times are microseconds, `idempotency` a keyed hash, `sealed` the record."""

    id: str
    flow: str
    subject: str
    case: str | None
    client: str
    idempotency: str
    state: HandoverState
    at: int
    entry: str
    sealed: bytes
    adapter: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelivery:
    """A delivery that is planned; `sealed` is what it carries, unless that is its handover's record."""

    id: str
    handover: str | None
    kind: DeliveryKind
    service: str
    consumer: str
    role: str = ""
    purpose: str
    categories: frozenset[str] = frozenset()
    subject: str
    state: DeliveryState = DeliveryState.DUE
    due: int
    problem: str | None = None
    at: int
    entry: str
    case: str | None = None
    sealed: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewArrival:
    """What another organisation has brought; `handover` is of a notice the consent that it is about."""

    id: str
    delivery: str
    handover: str
    sender: str
    recipient: str
    kind: ArrivalKind
    flow: str
    purpose: str
    categories: frozenset[str]
    subject: str
    digest: str
    at: int
    entry: str
    case: str | None = None
    sealed: bytes
    retain_until: str | None = None


@dataclass(frozen=True, slots=True)
class Arrived:
    """What a sender brought under an id before; `at` in microseconds, `digest` that of the body that brought it."""

    id: str
    at: int
    digest: str
    subject: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A delivery of ours as an acceptance finds it."""

    id: str
    handover: str | None
    kind: DeliveryKind
    service: str
    consumer: str
    purpose: str
    subject: str
    state: DeliveryState
    entry: str
    case: str | None


@dataclass(frozen=True, slots=True)
class Ordered:
    """A handover that was taken before."""

    id: str
    state: HandoverState


@dataclass(frozen=True, slots=True)
class OrderedDelivery:
    """One of its deliveries."""

    id: str
    role: str
    purpose: str
    categories: frozenset[str]
    state: DeliveryState
    problem: str | None


def add_handover(connection: Connection, new: NewHandover) -> None:
    """Store a handover."""
    _ADD_HANDOVER.run(
        connection, new.id, new.flow, new.subject, new.case, new.client, new.idempotency, new.state.value,
        new.at, new.at, new.entry, new.sealed, new.adapter,
    )  # fmt: skip


def add_delivery(connection: Connection, new: NewDelivery) -> None:
    """Store a delivery; nobody has a lease on it."""
    _ADD_DELIVERY.run(
        connection, new.id, new.handover, new.kind.value, new.service, new.consumer, new.role, new.purpose,
        " ".join(sorted(new.categories)), new.subject, new.state.value, 0, new.due, 0, new.problem, new.at, new.at,
        new.entry, new.case, new.sealed,
    )  # fmt: skip


def add_arrival(connection: Connection, new: NewArrival) -> None:
    """Store an arrival, which nobody has accepted yet."""
    _ADD_ARRIVAL.run(
        connection, new.id, new.delivery, new.handover, new.sender, new.recipient, new.kind.value, new.flow,
        new.purpose, " ".join(sorted(new.categories)), new.subject, ArrivalState.RECEIVED.value, new.digest, new.at,
        new.at, new.entry, new.case, new.sealed, new.retain_until,
    )  # fmt: skip


def arrived(connection: Connection, delivery: str, sender: str, recipient: str) -> Arrived | None:
    """What this sender brought to this recipient under that id before.

    By the recipient too: while it waited, the delivery may have been turned to another system of this node, and that
    one has not got it yet. By the sender, since ids of deliveries are the senders' own.
    """
    row = _ARRIVED.row(connection, delivery, sender, recipient)
    return None if row is None else Arrived(*row)


def sent(connection: Connection, delivery: str) -> Sent | None:
    """The delivery of this id."""
    row = _SENT.row(connection, delivery)
    if row is None:
        return None
    id_, handover, kind, service, consumer, purpose, subject, state, entry, case = row
    return Sent(
        id_, handover, DeliveryKind(kind), service, consumer, purpose, subject, DeliveryState(state), entry, case
    )


def accept(connection: Connection, delivery: str, contact: bytes | None, at: int, entry: str) -> None:
    """The recipient of a delivery has named who is responsible."""
    _ACCEPT.run(connection, delivery, contact, at, entry)


def complete(connection: Connection, handover: str, at: int) -> None:
    """Close a handover once every one of its deliveries is accepted or stopped; its payload is then let go."""
    _COMPLETE.run(connection, handover, at)


def ordered(connection: Connection, client: str, *keys: str) -> Ordered | None:
    """The handover that a client has ordered under one of these keys, of which there are two as a rule."""
    for former in keys[1:]:
        row = _ORDERED.row(connection, client, keys[0], former)
        if row is not None:
            return Ordered(row[0], HandoverState(row[1]))
    return None


def ordered_deliveries(connection: Connection, handover: str) -> list[OrderedDelivery]:
    """The deliveries of a handover, in the order of their ids."""
    return [
        OrderedDelivery(id_, role, purpose, frozenset(categories.split()), DeliveryState(state), problem)
        for id_, role, purpose, categories, state, problem in _DELIVERIES.rows(connection, handover)
    ]


def fingerprint(connection: Connection, client: str, key: str) -> str | None:
    """What a client's idempotency key was used for."""
    row = _FINGERPRINT.row(connection, client, key)
    return None if row is None else str(row[0])


def remember(connection: Connection, client: str, key: str, fingerprint: str, at: int) -> None:
    """Take an idempotency key for a request."""
    _REMEMBER.run(connection, client, key, fingerprint, at)


_ADD_HANDOVER: Final = Fixed.insert(
    handovers, "id", "flow", "subject", "case_reference", "client", "idempotency", "state", "created", "changed",
    "entry", "sealed", "adapter",
)  # fmt: skip
_ADD_DELIVERY: Final = Fixed.insert(
    deliveries, "id", "handover", "kind", "service", "consumer", "role", "purpose", "categories", "subject", "state",
    "attempts", "due", "lease", "problem", "created", "changed", "entry", "case_reference", "sealed",
)  # fmt: skip
_ADD_ARRIVAL: Final = Fixed.insert(
    inbox, "id", "delivery", "handover", "sender", "recipient", "kind", "flow", "purpose", "categories", "subject",
    "state", "digest", "received", "changed", "entry", "case_reference", "sealed", "retain_until",
)  # fmt: skip
_ARRIVED: Final = Fixed(
    select(inbox.c.id, inbox.c.received, inbox.c.digest, inbox.c.subject).where(
        inbox.c.delivery == bindparam("of"),
        inbox.c.sender == bindparam("sent_by"),
        inbox.c.recipient == bindparam("sent_to"),
    ),
    "of",
    "sent_by",
    "sent_to",
)
#: A row that a replica of a former version wrote has no case of its own: it is its handover's.
case_of: Final[Any] = func.coalesce(
    deliveries.c.case_reference,
    select(handovers.c.case_reference).where(handovers.c.id == deliveries.c.handover).scalar_subquery(),
)
_SENT: Final = Fixed(
    select(
        *(
            deliveries.c[name]
            for name in ("id", "handover", "kind", "service", "consumer", "purpose", "subject", "state", "entry")
        ),
        case_of,
    ).where(deliveries.c.id == bindparam("of")),
    "of",
)
_ACCEPT: Final = Fixed(
    update(deliveries)
    .where(deliveries.c.id == bindparam("of"), deliveries.c.state == DeliveryState.DELIVERED.value)
    .values(
        state=DeliveryState.ACCEPTED.value,
        contact_sealed=bindparam("who"),
        changed=bindparam("now"),
        entry=bindparam("by"),
        sealed=None,
    ),
    "of",
    "who",
    "now",
    "by",
)
_COMPLETE: Final = Fixed(
    update(handovers)
    .where(
        handovers.c.id == bindparam("of"),
        ~exists().where(
            deliveries.c.handover == handovers.c.id,
            deliveries.c.kind == DeliveryKind.HANDOVER.value,
            deliveries.c.state.not_in([bindparam(f"settled_{state.value}", state.value) for state in SETTLED]),
        ),
    )
    .values(state=HandoverState.COMPLETED.value, changed=bindparam("now"), sealed=None),
    "of",
    "now",
)
_ORDERED: Final = Fixed(
    select(handovers.c.id, handovers.c.state).where(
        handovers.c.client == bindparam("by"), handovers.c.idempotency.in_([bindparam("today"), bindparam("former")])
    ),
    "by",
    "today",
    "former",
)
_DELIVERIES: Final = Fixed(
    select(*(deliveries.c[name] for name in ("id", "role", "purpose", "categories", "state", "problem")))
    .where(deliveries.c.handover == bindparam("of"), deliveries.c.kind == DeliveryKind.HANDOVER.value)
    .order_by(deliveries.c.id),
    "of",
)
_FINGERPRINT: Final = Fixed(
    select(requests.c.fingerprint).where(requests.c.client == bindparam("by"), requests.c.key == bindparam("under")),
    "by",
    "under",
)
_REMEMBER: Final = Fixed.insert(requests, "client", "key", "fingerprint", "at")
