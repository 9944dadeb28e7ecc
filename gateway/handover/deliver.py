"""Work the deliveries: take what is due, decide once more, send, and keep the signed receipt.

Store and forward, at least once: a delivery is due until its receipt is on record, across crashes of either side. The
receiver knows a delivery by its id and takes it in once. Nothing is ever given up silently: what cannot be delivered
stays due, with longer and longer waits, and is shown as overdue; what may not be delivered any more is stopped, with
its reason. Each entry about a delivery stands in the transaction that changes its row (`leases`). A recipient that
hangs harms only itself (`recipients`).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta

import orjson
from sqlalchemy import Connection, select

from audit.log.entries import Entry, micros
from audit.log.waiting import Written
from gateway.exchange.context import Exchange
from gateway.exchange.holding import Answered
from gateway.exchange.messaging import Outgoing, refused_by_peer, send, verified
from gateway.handover.leases import ABSENT, OURS, Delivery, LeaseLostError, Span, claim, is_any_due
from gateway.handover.recipients import Recipients
from gateway.handover.sending import Sending, make_ready
from gateway.handover.settling import (
    FINAL,
    record_leaving,
    record_problem_after,
    record_problem_before,
    record_receipt,
    record_stopped,
)
from gateway.handover.states import OPEN, DeliveryKind
from gateway.person.people import StaleError
from gateway.storage.tables import deliveries
from gateway.telemetry import event
from gateway.wire.problems import ProblemError

LOGGER = logging.getLogger("yhdyspinta.delivery")

ATTEMPTS = 5
#: What every node answers other nodes, and what costs it nearly nothing.
CALLED = "/peer/v1/log/checkpoint"
JITTER = 0.25
#: What clocks of replicas may differ by, when a lease is held against the longest that there can be.
SKEW_SECONDS = 60.0


class Deliveries:
    """The workers of one node."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._due = asyncio.Event()
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue()  # never longer than there is room for
        self._recipients = Recipients(exchange.delivery)
        self._looked: int | None = None  # when deliveries were last looked for, by the wall clock
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start taking deliveries that are due, those of before a crash included."""
        self._tasks = [asyncio.create_task(self._take(), name="deliveries")]
        for number in range(self._exchange.delivery.workers):
            self._tasks.append(asyncio.create_task(self._work(), name=f"delivery-{number}"))

    async def stop(self) -> None:
        """Stop after the attempts under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def wake(self) -> None:
        """Say that something has become due."""
        self._due.set()

    async def _take(self) -> None:
        while True:
            self._due.clear()
            try:
                taken = await self._claim()
            except Exception as error:
                event(LOGGER, logging.WARNING, "deliveries-not-taken", reason=type(error).__name__)
                taken = []
            for row in taken:
                await self._queue.put(row)
            if not taken:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._exchange.delivery.poll_seconds):
                        await self._due.wait()

    async def _claim(self) -> list[Delivery]:
        """Take due deliveries under a lease, so that no two workers or replicas send the same one at once.

        Only so many as workers and recipients have slots for: what waits behind a full recipient is not ours yet. While
        the node is held nothing is taken: an older database would send again what has arrived, or what is forbidden.
        """
        if self._exchange.is_held():
            return []
        room, span = self._recipients.room(), self._span()
        if not room.most:
            return []
        if not await self._exchange.people.readers.read(lambda connection: is_any_due(connection, span, room.full)):
            self._looked = span.now
            return []
        written = await self._exchange.log.commit(lambda connection: Written(claim(connection, span, room), ()))
        self._looked = span.now
        for delivery in written.value.deliveries:
            self._recipients.take(delivery)
        self._recipients.learn(written.value.full)
        return list(written.value.deliveries)

    def _span(self) -> Span:
        policy, at = self._exchange.delivery, micros(self._exchange.clock())
        longest_lease = policy.lease_seconds + self._exchange.limits.peer_timeout_seconds + SKEW_SECONDS
        longest_wait = policy.retry_limit_seconds * (1 + JITTER)
        return Span(
            now=at,
            until=at + int(policy.lease_seconds * 1_000_000),
            longest_lease=at + int(longest_lease * 1_000_000),
            longest_wait=at + int(longest_wait * 1_000_000),
            # At the first look nobody knows how the clock went before.
            may_be_set_back=self._looked is None or at < self._looked,
        )

    async def _work(self) -> None:
        while True:
            delivery = await self._queue.get()
            try:
                await self._attempt(delivery)
            except LeaseLostError:
                event(LOGGER, logging.INFO, "delivery-left", delivery=delivery.id)
            except Exception as error:
                event(
                    LOGGER, logging.ERROR, "delivery-attempt-failed", delivery=delivery.id, reason=type(error).__name__
                )
                self._exchange.telemetry.deliveries.add(1, {"outcome": "error"})
            self._due.set()  # a slot is free

    async def _attempt(self, delivery: Delivery) -> None:
        """Send one delivery and settle it. Raises LeaseLostError if it is not ours any more: it is left as it is."""
        try:
            await self._settle(delivery)
        finally:
            self._recipients.done(delivery)

    async def _settle(self, delivery: Delivery) -> None:
        if delivery.until <= micros(self._exchange.clock()):
            raise LeaseLostError(delivery.id)  # it waited in the queue for longer than its lease: another may have it
        trace_id, trace = self._exchange.telemetry.trace()
        try:
            left = await self._leave(delivery, trace_id)
        except ProblemError as problem:
            again = self._again(delivery)
            await record_problem_before(self._exchange, delivery, problem, trace_id, again)
            self._told(delivery, problem)
            return
        if left is None:
            self._exchange.telemetry.deliveries.add(1, {"outcome": "stopped"})
            return
        sending, released = left
        answered: Answered | None = None
        try:
            answered = await self._ask(sending.outgoing, trace)
            if answered.claims.status != 200:
                raise refused_by_peer(answered.body, answered.claims.decision)
            receipt = _receipt(answered.body)
        except ProblemError as problem:
            ended, again = (problem, answered), self._again(delivery)
            await record_problem_after(self._exchange, sending, released, ended, again)
            self._told(delivery, problem)
            return
        await record_receipt(self._exchange, sending, released, receipt, answered)
        self._exchange.telemetry.deliveries.add(1, {"outcome": "delivered"})

    async def _leave(self, delivery: Delivery, trace_id: str) -> tuple[Sending, Entry] | None:
        """Decide at this moment, sign, and put on record that it leaves. None if it may not leave any more."""
        for _ in range(ATTEMPTS):
            now = self._exchange.clock()
            sending = await make_ready(self._exchange, delivery, self._exchange.standing(now), now)
            if sending.decision is not None and not sending.decision.permitted:
                await record_stopped(self._exchange, sending, trace_id, now)
                return None
            await self._reach(delivery, sending.outgoing)
            try:
                return sending, await record_leaving(self._exchange, sending, trace_id, now)
            except StaleError:
                continue
        raise ProblemError("busy", detail="the person's consents are changing right now", retry_after=1)

    async def _reach(self, delivery: Delivery, outgoing: Outgoing) -> None:
        """Call a recipient that did not answer lately before anything is put on record as leaving. Raises ProblemError.

        Nothing of the person goes with the call. So whoever stays away costs no signed message and no entries.
        """
        member = outgoing.service.id.subsystem.member
        if delivery.problem not in ABSENT and not self._recipients.is_doubtful(str(member)):
            return
        try:
            async with self._deadline():
                await self._call(outgoing)
        except ProblemError as problem:
            if problem.code in ABSENT:
                self._recipients.failed(str(member))
                raise

    async def _call(self, outgoing: Outgoing) -> None:
        """Call the member's nodes until one answers, whatever it answers. Raises ProblemError if none does."""
        failure = ProblemError("member-unknown", detail="the registry lists no node that serves this member")
        for node in outgoing.standing.registry.nodes_of(outgoing.service.id.subsystem.member):
            try:
                await self._exchange.transport.call(node, "GET", CALLED)
            except ProblemError as problem:
                failure = problem
            else:
                return
        raise failure

    async def _ask(self, outgoing: Outgoing, trace: Mapping[str, str]) -> Answered:
        """Send, and learn from what comes back whether the recipient is there. Raises ProblemError."""
        member = str(outgoing.service.id.subsystem.member)
        try:
            async with self._deadline():
                answered = verified(self._exchange, outgoing, await send(self._exchange, outgoing, trace))
        except ProblemError as problem:
            if problem.code not in OURS:
                self._recipients.failed(member)
            raise
        self._recipients.answered(member)
        return answered

    @asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        """What a message's own expiry does not end: the wall clock that it goes by may have been set back."""
        try:
            async with asyncio.timeout(self._exchange.delivery.attempt_seconds):
                yield
        except TimeoutError:
            raise ProblemError("peer-timeout", detail="the other node did not answer within an attempt") from None

    def _again(self, delivery: Delivery) -> timedelta:
        """How long the next attempt waits: twice as long each time, with a quarter of jitter."""
        policy = self._exchange.delivery
        seconds = min(policy.retry_limit_seconds, policy.retry_seconds * 2 ** min(delivery.attempts, 20))
        return timedelta(seconds=seconds * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - jitter, not a secret

    def _told(self, delivery: Delivery, problem: ProblemError) -> None:
        outcome = "stopped" if problem.code in FINAL else "waiting"
        self._exchange.telemetry.deliveries.add(1, {"outcome": outcome})
        attempt = delivery.attempts + 1
        event(LOGGER, logging.INFO, "delivery-waits", delivery=delivery.id, reason=problem.code, attempt=attempt)


def _receipt(body: bytes) -> str:
    """What the receiver calls what it took in: its receipt; an acceptance is known by the delivery it accepts."""
    try:
        document = orjson.loads(body)
        return str(document.get("receipt") or document["delivery"])
    except (orjson.JSONDecodeError, AttributeError, KeyError):
        raise ProblemError("receipt-invalid", detail="the other node's receipt cannot be read") from None


def overdue(connection: Connection, now: datetime, after: timedelta) -> tuple[str, ...]:
    """The handovers of which a delivery has not been accepted for longer than `after`, the longest waiting first."""
    found = connection.scalars(
        select(deliveries.c.handover)
        .where(
            deliveries.c.kind == DeliveryKind.HANDOVER.value,
            deliveries.c.state.in_([state.value for state in OPEN]),
            deliveries.c.created < micros(now - after),
        )
        .order_by(deliveries.c.created)
    )
    return tuple(dict.fromkeys(found))
