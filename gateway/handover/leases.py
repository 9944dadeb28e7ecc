"""Lease deliveries to workers, and fence what a worker writes about one.

A claim gives a delivery to one worker for a time and writes a fresh token into its row. Every later write about the
delivery presents that token and changes the row, or changes nothing at all: a worker whose lease was taken over, or
whose delivery was accepted or stopped meanwhile, can put nothing on record about it. The entries of a write stand in
the same transaction, so an entry says only what its row says too.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, bindparam, exists, or_, select, true, update

from audit.log.statements import Fixed
from gateway.handover.states import DeliveryKind, DeliveryState
from gateway.handover.store import case_of, complete
from gateway.storage.tables import deliveries, handovers

#: Nobody is there. Whoever was found so is called before anything is sent again.
ABSENT: Final = frozenset({"peer-unreachable", "peer-timeout"})
#: What our own node says before it has heard anything; it is no sign of how the recipient is.
OURS: Final = frozenset({"busy", "member-unknown", "registry-expired", "node-held"})
#: What says nothing of what was sent, so that an attempt more may well bring it there.
_WAITED_OUT: Final = ABSENT | OURS | {"rate-limited"}


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


@dataclass(frozen=True, slots=True)
class Span:
    """Microseconds of one claim: now, the end of its leases, and what only a wrong clock can have written.

    `longest_lease` and `longest_wait` are the latest ends that a lease and a put-off attempt can have from now.
    `may_be_set_back`: the clock was ahead before, or may have been, so what was ordered then is looked for.
    """

    now: int
    until: int
    longest_lease: int
    longest_wait: int
    may_be_set_back: bool = False


@dataclass(frozen=True, slots=True)
class Room:
    """How many deliveries may be claimed: at `most` in all, and of a recipient what is `free`, or else `each`.

    `full` are services of recipients that have nothing free, so that a claim need not come upon their deliveries.
    """

    most: int
    each: int
    free: Mapping[str, int]
    full: frozenset[str]


@dataclass(frozen=True, slots=True)
class Claimed:
    """The deliveries that were claimed, and the services that were passed over because their recipients are full."""

    deliveries: tuple[Delivery, ...]
    full: frozenset[str]


@dataclass(frozen=True, slots=True)
class PutOff:
    """An attempt that did not work: why, when it was and when the next is, by how many attempts it is more.

    `entry` is the newest one about the delivery. Microseconds.
    """

    problem: str
    at: int
    due: int
    attempts: int
    entry: str


def recipient_of(service: str) -> str:
    """The member that a service belongs to; empty where the recipient is not known yet."""
    return "/".join(service.split("/")[:3])


def is_any_due(connection: Connection, span: Span, full: frozenset[str]) -> bool:
    """Whether there is something to claim, or a time to put right that a wrong clock has written."""
    if _any_due(len(full)).row(connection, span.now, span.now, span.longest_lease, *sorted(full)) is not None:
        return True
    if _ANY_FAR.row(connection, span.longest_wait) is not None:
        return True
    return span.may_be_set_back and _ANY_AHEAD.row(connection, span.now) is not None


def claim(connection: Connection, span: Span, room: Room) -> Claimed:
    """Lease deliveries that are due, those that have waited longest first, as far as there is room. Call it in a unit.

    What waits for a recipient that is full is passed over, however much of it is older than what others wait for.
    """
    # A wait that no back-off can have made was counted by a clock that was wrong: it is cut to the longest there is.
    _CUT.run(connection, span.longest_wait, span.longest_wait)
    if span.may_be_set_back:
        _AT_ONCE.run(connection, span.now, span.now)
    claimed: list[Delivery] = []
    free, full = dict(room.free), set(room.full)
    while len(claimed) < room.most:
        values = span.now, span.now, span.longest_lease, *sorted(full), room.most - len(claimed)
        found = [_delivery(row, span.until) for row in _due(len(full)).rows(connection, *values)]
        has_passed = False
        for delivery in found:
            recipient = recipient_of(delivery.service)
            left = free.get(recipient, room.each)
            if left < 1:
                full.add(delivery.service)
                has_passed = True
                continue
            free[recipient] = left - 1
            _LEASE.run(connection, delivery.id, span.until, delivery.token)
            claimed.append(delivery)
        if not has_passed:
            break
    return Claimed(tuple(claimed), frozenset(full))


def _delivery(row: tuple[object, ...], until: int) -> Delivery:
    found: dict[str, Any] = dict(zip(_COLUMNS, row, strict=True))
    found["kind"] = DeliveryKind(found["kind"])
    found["categories"] = frozenset(found["categories"].split())
    found["flow"] = found["flow"] or ""
    return Delivery(**found, token=secrets.randbits(63), until=until)


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


def put_off(connection: Connection, delivery: Delivery, put: PutOff) -> None:
    """It did not work: it is tried again."""
    values = put.due, put.problem, put.at, put.attempts, put.entry
    _mine(_PUT_OFF.run(connection, delivery.id, delivery.token, *values), delivery)


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


def _is_behind() -> ColumnElement[bool]:
    """Whether an earlier handover of the same flow about the same person is still to go to the same service.

    So the recipient gets the newer last. What it has refused itself holds back nothing: that may stay so for ever.
    """
    own, before, earlier = handovers.alias("own"), handovers.alias("before"), deliveries.alias("earlier")
    return exists().where(
        # Driven by the index on the person; there may be thousands that are due.
        (earlier.c.state == DeliveryState.DUE.value).is_(true()),
        earlier.c.subject == deliveries.c.subject,
        earlier.c.service == deliveries.c.service,
        earlier.c.consumer == deliveries.c.consumer,
        or_(
            # What was ordered for a later day waits for it, and nothing waits for that.
            and_(earlier.c.problem.is_(None), earlier.c.due <= bindparam("now")),
            *(earlier.c.problem == code for code in sorted(_WAITED_OUT)),
        ),
        own.c.id == deliveries.c.handover,
        before.c.id == earlier.c.handover,
        before.c.flow == own.c.flow,
        before.c.number < own.c.number,
    )


_IS_DUE: Final = (
    deliveries.c.state == DeliveryState.DUE.value,
    deliveries.c.due <= bindparam("now"),
    # A lease that ends later than any can was counted by a clock that was wrong: nobody has it.
    or_(deliveries.c.lease <= bindparam("free"), deliveries.c.lease > bindparam("longest")),
    ~_is_behind(),
)
# Only what was put off has its time from a back-off; an order may name any day.
_IS_FAR: Final = (
    deliveries.c.state == DeliveryState.DUE.value,
    deliveries.c.due > bindparam("latest"),
    deliveries.c.problem.is_not(None),
)
# Ordered to go at once, by a clock that was ahead of this one. Whoever ordered it for a day has named a later one.
_IS_AHEAD: Final = (
    deliveries.c.state == DeliveryState.DUE.value,
    deliveries.c.due > bindparam("latest"),
    deliveries.c.due <= deliveries.c.created,
)
_COLUMNS: Final = (
    "id", "handover", "kind", "service", "consumer", "role", "purpose", "categories", "subject", "attempts", "problem",
    "entry", "case", "flow",
)  # fmt: skip


@cache
def _any_due(full: int) -> Fixed:
    names = [f"full_{number}" for number in range(full)]
    others = deliveries.c.service.not_in([bindparam(name) for name in names])
    return Fixed(
        select(deliveries.c.id).where(*_IS_DUE, *([others] if names else [])).limit(1),
        "now",
        "free",
        "longest",
        *names,
    )


@cache
def _due(full: int) -> Fixed:
    names = [f"full_{number}" for number in range(full)]
    others = deliveries.c.service.not_in([bindparam(name) for name in names])
    return Fixed(
        select(
            *(deliveries.c[name] for name in _COLUMNS[:-2]),
            case_of,
            select(handovers.c.flow).where(handovers.c.id == deliveries.c.handover).scalar_subquery(),
        )
        .where(*_IS_DUE, *([others] if names else []))
        .order_by(deliveries.c.due)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True, of=deliveries),
        "now",
        "free",
        "longest",
        *names,
        "most",
    )


_ANY_FAR: Final = Fixed(select(deliveries.c.id).where(*_IS_FAR).limit(1), "latest")
_ANY_AHEAD: Final = Fixed(select(deliveries.c.id).where(*_IS_AHEAD).limit(1), "latest")
_AT_ONCE: Final = Fixed(update(deliveries).where(*_IS_AHEAD).values(due=bindparam("cut")), "cut", "latest")
_CUT: Final = Fixed(update(deliveries).where(*_IS_FAR).values(due=bindparam("cut")), "cut", "latest")
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
        entry=bindparam("by"),
    ),
    "of",
    "mine",
    "again",
    "why",
    "now",
    "more",
    "by",
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
