"""Lease deliveries to workers, and fence what a worker writes about one.

A claim gives a delivery to one worker for a time and writes a fresh token into its row. Every later write about the
delivery presents that token and changes the row, or changes nothing at all: a worker whose lease was taken over, or
whose delivery was accepted or stopped meanwhile, can put nothing on record about it. The entries of a write stand in
the same transaction, so an entry says only what its row says too.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from gateway.exchange.handover.states import DeliveryKind, DeliveryState
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
    return connection.execute(_DUE, {"at": at, "most": 1}).first() is not None


def claim(connection: Connection, at: int, until: int, most: int) -> list[Delivery]:
    """Lease at most so many deliveries that are due, those that have waited longest first. Call it in a unit."""
    claimed = []
    for row in connection.execute(_DUE.with_for_update(skip_locked=True, of=deliveries), {"at": at, "most": most}):
        token = secrets.randbits(63)
        claimed.append(
            Delivery(
                row.id,
                row.handover,
                DeliveryKind(row.kind),
                row.service,
                row.consumer,
                row.role,
                row.purpose,
                frozenset(row.categories.split()),
                row.subject,
                row.attempts,
                row.problem,
                row.entry,
                row.case,
                row.flow or "",
                token,
                until,
            )
        )
    if claimed:
        connection.execute(_LEASE, [{"of": one.id, "mine": one.token, "until": until} for one in claimed])
    return claimed


def write(connection: Connection, delivery: Delivery, **values: Any) -> None:
    """Change the row of a delivery that is still due and still this worker's; else nothing. Raises LeaseLostError.

    Raised in a unit, the error undoes the unit, entries and all.
    """
    changed = connection.execute(
        update(deliveries)
        # Without the state, what an acceptance has settled would be written over; without the token, what another
        # worker is sending at this moment.
        .where(
            deliveries.c.id == delivery.id,
            deliveries.c.state == DeliveryState.DUE.value,
            deliveries.c.token == delivery.token,
        )
        .values(**values)
    )
    if changed.rowcount != 1:
        raise LeaseLostError(delivery.id)


_DUE = (
    select(
        deliveries,
        # A row of a replica of the former version has no case of its own.
        func.coalesce(
            deliveries.c.case_reference,
            select(handovers.c.case_reference).where(handovers.c.id == deliveries.c.handover).scalar_subquery(),
        ).label("case"),
        select(handovers.c.flow).where(handovers.c.id == deliveries.c.handover).scalar_subquery().label("flow"),
    )
    .where(
        deliveries.c.state == DeliveryState.DUE.value,
        deliveries.c.due <= bindparam("at"),
        deliveries.c.lease <= bindparam("at"),
    )
    .order_by(deliveries.c.due)
    .limit(bindparam("most"))
)
_LEASE = (
    update(deliveries)
    .where(deliveries.c.id == bindparam("of"))
    .values(lease=bindparam("until"), token=bindparam("mine"))
)
