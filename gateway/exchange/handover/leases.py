"""Lease deliveries to workers, and fence what a worker writes about one.

A claim gives a delivery to one worker for a time and writes a fresh token into its row. Every later write about the
delivery presents that token and changes the row, or changes nothing at all: a worker whose lease was taken over, or
whose delivery was accepted or stopped meanwhile, can put nothing on record about it. The entries of a write stand in
the same transaction, so an entry says only what its row says too.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, select, update

from audit.log.statements import Fixed
from gateway.exchange.handover.states import DeliveryKind, DeliveryState
from gateway.exchange.handover.store import case_of, complete
from gateway.storage.tables import deliveries, handovers


class LeaseLostError(Exception):
    """The delivery is not this worker's any more: its lease ran out, or it was settled meanwhile."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery as it was claimed. `until` is the end of the lease in microseconds, `token` is its fence."""

    id: str
    handover: str | None
    kind: DeliveryKind
    service: str
    consumer: str
    role: str
    purpose: str
    categories: frozenset[str]
    subject: str
    attempts: int
    problem: str | None
    entry: str
    case: str | None
    flow: str
    token: int
    until: int


def is_any_due(connection: Connection, at: int) -> bool:
    """Whether a delivery waits that nobody has a lease on; microseconds."""
    return _ANY_DUE.row(connection, at, at) is not None


def claim(connection: Connection, at: int, until: int, most: int) -> list[Delivery]:
    """Lease at most so many deliveries that are due, those that have waited longest first. Call it in a unit."""
    claimed = []
    for row in _DUE.rows(connection, at, at, most):
        found = dict(zip(_COLUMNS, row, strict=True))
        found["kind"] = DeliveryKind(found["kind"])
        found["categories"] = frozenset(found["categories"].split())
        found["flow"] = found["flow"] or ""
        delivery = Delivery(**found, token=secrets.randbits(63), until=until)
        _LEASE.run(connection, delivery.id, until, delivery.token)
        claimed.append(delivery)
    return claimed


def carried(connection: Connection, delivery: Delivery) -> bytes | None:
    """What the delivery carries, sealed; None if it was let go."""
    if delivery.kind is DeliveryKind.HANDOVER:
        row = _RECORD.row(connection, delivery.handover)
    else:
        row = _CONTENT.row(connection, delivery.id)
    return None if row is None or row[0] is None else bytes(row[0])


# What is written about a delivery. Each changes the row of one that is still due and still this worker's, or raises
# LeaseLostError; raised in a unit, the error undoes the unit, entries and all.


def release(connection: Connection, delivery: Delivery, service: str, entry: str, span: tuple[int, int]) -> None:
    """An attempt begins: to which service, by which entry, from when and how long it is its worker's alone."""
    now, until = span
    _mine(_RELEASE.run(connection, delivery.id, delivery.token, service, entry, now, until), delivery)


def put_off(connection: Connection, delivery: Delivery, problem: str, span: tuple[int, int], *, attempts: int) -> None:
    """It did not work: why, when it was and when it is tried again, and by how many attempts it is more."""
    now, due = span
    _mine(_PUT_OFF.run(connection, delivery.id, delivery.token, due, problem, now, attempts), delivery)


def stop(connection: Connection, delivery: Delivery, problem: str, entry: str, now: int) -> None:
    """It may not be sent, or can never be. A handover of which nothing is open any more is complete."""
    _mine(_STOP.run(connection, delivery.id, delivery.token, problem, now, entry), delivery)
    if delivery.handover is not None:
        complete(connection, delivery.handover, now)


def arrive(connection: Connection, delivery: Delivery, receipt: str, entry: str, now: int) -> None:
    """Its receipt is here: a handover waits to be accepted, and of anything else that is the end."""
    state = DeliveryState.DELIVERED if delivery.kind is DeliveryKind.HANDOVER else DeliveryState.ACCEPTED
    _mine(_ARRIVE.run(connection, delivery.id, delivery.token, state.value, receipt, now, entry), delivery)


def _mine(changed: int, delivery: Delivery) -> None:
    if changed != 1:
        raise LeaseLostError(delivery.id)


# Without the state, what an acceptance has settled would be written over; without the token, what another worker is
# sending at this moment.
_OWN: Final = (
    deliveries.c.id == bindparam("of"),
    deliveries.c.state == DeliveryState.DUE.value,
    deliveries.c.token == bindparam("mine"),
)
_IS_DUE: Final = (
    deliveries.c.state == DeliveryState.DUE.value,
    deliveries.c.due <= bindparam("now"),
    deliveries.c.lease <= bindparam("free"),
)
_ANY_COLUMNS: Final = (
    "id", "handover", "kind", "service", "consumer", "role", "purpose", "categories", "subject", "attempts", "problem",
    "entry", "case", "flow",
)  # fmt: skip
_ANY_DUE: Final = Fixed(select(deliveries.c.id).where(*_IS_DUE).limit(1), "now", "free")
_COLUMNS: Final = (
    "id", "handover", "kind", "service", "consumer", "role", "purpose", "categories", "subject", "attempts", "problem",
    "entry", "case", "flow",
)  # fmt: skip
_DUE: Final = Fixed(
    select(
        *(deliveries.c[name] for name in _COLUMNS[:-2]),
        case_of,
        select(handovers.c.flow).where(handovers.c.id == deliveries.c.handover).scalar_subquery(),
    )
    .where(*_IS_DUE)
    .order_by(deliveries.c.due)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True, of=deliveries),
    "now",
    "free",
    "most",
)  # fmt: skip
_LEASE: Final = Fixed(
    update(deliveries)
    .where(deliveries.c.id == bindparam("of"))
    .values(lease=bindparam("until"), token=bindparam("mine")),
    "of",
    "until",
    "mine",
)
_RELEASE: Final = Fixed(
    update(deliveries)
    .where(*_OWN)
    .values(
        attempts=deliveries.c.attempts + 1,
        service=bindparam("to"),
        entry=bindparam("by"),
        changed=bindparam("now"),
        lease=bindparam("until"),
    ),
    "of",
    "mine",
    "to",
    "by",
    "now",
    "until",
)
_PUT_OFF: Final = Fixed(
    update(deliveries)
    .where(*_OWN)
    .values(
        due=bindparam("again"),
        lease=0,
        problem=bindparam("why"),
        changed=bindparam("now"),
        attempts=deliveries.c.attempts + bindparam("more"),
    ),
    "of",
    "mine",
    "again",
    "why",
    "now",
    "more",
)
_STOP: Final = Fixed(
    update(deliveries)
    .where(*_OWN)
    .values(
        state=DeliveryState.STOPPED.value,
        problem=bindparam("why"),
        lease=0,
        changed=bindparam("now"),
        entry=bindparam("by"),
    ),
    "of",
    "mine",
    "why",
    "now",
    "by",
)
_ARRIVE: Final = Fixed(
    update(deliveries)
    .where(*_OWN)
    .values(
        state=bindparam("into"),
        receipt=bindparam("told"),
        problem=None,
        lease=0,
        changed=bindparam("now"),
        entry=bindparam("by"),
        sealed=None,
    ),
    "of",
    "mine",
    "into",
    "told",
    "now",
    "by",
)
_RECORD: Final = Fixed(select(handovers.c.sealed).where(handovers.c.id == bindparam("of")), "of")
_CONTENT: Final = Fixed(select(deliveries.c.sealed).where(deliveries.c.id == bindparam("of")), "of")
