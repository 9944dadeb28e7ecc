"""Work the deliveries: take what is due, decide once more, send, and keep the signed receipt.

Store and forward, at least once: a delivery is due until its receipt is on record, across crashes of either side. The
receiver knows a delivery by its id and takes it in once. Nothing is ever given up silently: what cannot be delivered
stays due, with longer and longer waits, and is shown as overdue; what may not be delivered any more is stopped, with
its reason. Each entry about a delivery stands in the transaction that changes its row (`leases`).
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, Row, select

from audit.log.entries import Categories, Entry, EntryType, Outcome, new_id
from audit.log.log import Written
from audit.questions.subjects import Subject
from consent.decision import Decision
from gateway.exchange.context import Exchange
from gateway.exchange.deciding import Case
from gateway.exchange.handover import carrying
from gateway.exchange.handover.leases import Delivery, LeaseLostError, claim, is_any_due, write
from gateway.exchange.handover.plan import decide_for_delivery, recipient_service
from gateway.exchange.handover.receive import complete
from gateway.exchange.handover.states import OPEN, DeliveryKind, DeliveryState
from gateway.exchange.keeping import keep_decision
from gateway.exchange.messaging import Answered, Outgoing, keep_request, keeps, prepare, refused_by_peer, send, verified
from gateway.exchange.releasing import basis_and_consents, keep_bodies, keep_disclosures, keep_response
from gateway.person.people import StaleError
from gateway.person.values import Named, Person, Register
from gateway.registry.read.standing import Standing
from gateway.storage.sealing import unseal
from gateway.storage.tables import deliveries, handovers
from gateway.story import Story
from gateway.telemetry import event
from gateway.wire.identifiers import MemberId, ServiceId, SubsystemId
from gateway.wire.problems import ProblemError
from gateway.wire.signing import request_digest
from schemas.projection import project

LOGGER = logging.getLogger("yhdyspinta.delivery")

#: Refusals that another attempt cannot change by itself; every other problem is waited out.
FINAL = frozenset(
    {
        "not-permitted",
        "invalid-request",
        "subject-system-unknown",
        "subject-form",
        "subject-check",
        "purpose-not-declared",
        "delivery-unknown",
        "body-destroyed",
    }
)
BATCH = 16


@dataclass(frozen=True, slots=True)
class Sending:
    """One attempt at one delivery, ready to be recorded and sent."""

    outgoing: Outgoing
    decision: Decision | None
    person: Person | None
    kept: frozenset[str]
    withheld: tuple[str, ...]


class Deliveries:
    """The workers of one node."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._due = asyncio.Event()
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue(maxsize=BATCH)
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
            if len(taken) < BATCH:
                try:
                    await asyncio.wait_for(self._due.wait(), self._exchange.delivery.poll_seconds)
                except TimeoutError:
                    continue

    async def _claim(self) -> list[Delivery]:
        """Take due deliveries under a lease, so that no two workers or replicas send the same one at once."""
        at = _micros(self._exchange.clock())
        if not await asyncio.to_thread(self._any_due, at):
            return []
        until = at + int(self._exchange.delivery.lease_seconds * 1_000_000)
        return (
            await self._exchange.log.commit(lambda connection: Written(claim(connection, at, until, BATCH), ()))
        ).value

    def _any_due(self, at: int) -> bool:
        with self._exchange.engine.connect() as connection:
            return is_any_due(connection, at)

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

    async def _attempt(self, delivery: Delivery) -> None:
        """Send one delivery and settle it. Raises LeaseLostError if it is not ours any more: it is left as it is."""
        if delivery.until <= _micros(self._exchange.clock()):
            raise LeaseLostError(delivery.id)  # it waited in the queue for longer than its lease: another may have it
        trace_id, trace = self._exchange.telemetry.trace()
        try:
            sending, released = await self._release(delivery, trace_id)
        except ProblemError as problem:
            await self._settle_problem(delivery, problem, None, trace_id)
            return
        if sending is None or released is None:
            return
        answered: Answered | None = None
        try:
            reply = await send(self._exchange, sending.outgoing, trace)
            answered = verified(self._exchange, sending.outgoing, reply)
            if answered.claims.status != 200:
                raise refused_by_peer(reply.body, answered.claims.decision)
            receipt = _receipt(answered.body)
        except ProblemError as problem:
            await self._settle_problem(delivery, problem, released, trace_id, answered)
            return
        await self._settle_receipt(delivery, sending, released, receipt, answered)

    async def _release(self, delivery: Delivery, trace_id: str) -> tuple[Sending | None, Entry | None]:
        """Decide at this moment, sign, and put on record that it leaves. None if it may not leave any more."""
        for _ in range(5):
            now = self._exchange.clock()
            standing = self._exchange.standing(now)
            sending = await self._prepare(delivery, standing, now)
            if sending.decision is not None and not sending.decision.permitted:
                await self._stop(delivery, sending, now, trace_id)
                return None, None

            def record(connection: Connection, sending: Sending = sending, now: datetime = now) -> Written[Entry]:
                if sending.person is not None:
                    self._exchange.people.settle(connection, sending.person, now)
                subject = self._exchange.subjects.by_id(connection, delivery.subject)
                entry = self._entry(
                    delivery, sending, Outcome.REQUESTED, now, trace_id, subject.pseudonym if subject else None
                )
                keep_request(connection, sending.outgoing, entry)
                if keeps(self._exchange, sending.outgoing.service):
                    keep_bodies(connection, sending.outgoing.claims.message_id, subject, request=sending.outgoing.body)
                if sending.decision is not None and sending.person is not None and subject is not None:
                    self._keep(connection, entry, sending, subject, now)
                    keep_disclosures(
                        connection,
                        sending.decision,
                        recipient=str(sending.outgoing.service.id.subsystem),
                        sender=delivery.consumer,
                        subject=subject,
                        named=sending.person.named,
                        at=now,
                    )
                write(
                    connection,
                    delivery,
                    attempts=deliveries.c.attempts + 1,
                    service=str(sending.outgoing.service.id),
                    entry=entry.id,
                    changed=_micros(now),
                    lease=_micros(now + self._longest_attempt()),
                )
                return Written(entry, (entry,))

            try:
                released = await self._exchange.log.commit(record)
                self._exchange.rulebooks.committed(standing.rulebook.digest)
                return sending, released.value
            except StaleError:
                continue
        raise ProblemError("busy", detail="the person's consents are changing right now", retry_after=1)

    def _longest_attempt(self) -> timedelta:
        """How long what has been released is its worker's alone: while it is sent, and its end is put on record."""
        return timedelta(seconds=self._exchange.delivery.lease_seconds + self._exchange.limits.peer_timeout_seconds)

    async def _prepare(self, delivery: Delivery, standing: Standing, now: datetime) -> Sending:
        sender = SubsystemId.parse(delivery.consumer)
        if delivery.kind is not DeliveryKind.HANDOVER:
            return self._prepare_plain(
                delivery, standing, sender, await asyncio.to_thread(self._unsealed, delivery), now
            )
        bundle = orjson.loads(await asyncio.to_thread(self._unsealed, delivery))
        # The record was believed or not when it was ordered; a delivery joins nothing.
        named = Named.in_record(str(sender.member), bundle, Register(""))
        # The recipient is looked up anew: the person's municipality may have joined, or changed its system, while
        # we waited.
        service = recipient_service(standing, bundle, delivery.role, now)
        if service is None:
            raise ProblemError("recipient-unknown", detail="no member of the registry serves this municipality yet")
        person = await self._exchange.people.recall(named)
        case = Case(
            provider=sender,
            requester=service.id.subsystem,
            purpose=delivery.purpose,
            categories=delivery.categories,
            at=now,
            mode="handover",
        )
        decision = decide_for_delivery(standing, case, bundle, person)
        projection = project(bundle, decision.permitted_categories)
        body = orjson.dumps(
            {
                "handover": delivery.handover,
                "delivery": delivery.id,
                "flow": delivery.flow,
                **told_words(standing, service.id.member, decision, person),
                "bundle": projection.bundle,
            }
        )
        outgoing = prepare(
            self._exchange,
            standing,
            service,
            consumer=sender,
            purpose=delivery.purpose,
            categories=projection.kept or decision.permitted_categories,
            body=body,
            case=None,
            user=None,
            now=now,
        )
        withheld = tuple(sorted({one.category for one in decision.withheld}))
        return Sending(outgoing, decision, person, projection.kept, withheld)

    def _prepare_plain(
        self, delivery: Delivery, standing: Standing, sender: SubsystemId, body: bytes, now: datetime
    ) -> Sending:
        """An acceptance or a notice: it carries no category of the person's data, so there is nothing to decide."""
        service = standing.registry.service(ServiceId.parse(delivery.service))
        if service is None:
            raise ProblemError("service-unknown", detail="the registry lists no such service any more")
        categories = delivery.categories or frozenset({"identity"})
        outgoing = prepare(
            self._exchange,
            standing,
            service,
            consumer=sender,
            purpose=delivery.purpose,
            categories=categories,
            body=body,
            case=None,
            user=None,
            now=now,
        )
        return Sending(outgoing, None, None, frozenset(), ())

    def _unsealed(self, delivery: Delivery) -> bytes:
        with self._exchange.engine.connect() as connection:
            key = self._exchange.subjects.key_of(connection, delivery.subject)
            if delivery.kind is DeliveryKind.HANDOVER:
                place, statement = "handovers", select(handovers.c.sealed).where(handovers.c.id == delivery.handover)
            else:
                place, statement = "deliveries", select(deliveries.c.sealed).where(deliveries.c.id == delivery.id)
            sealed = connection.execute(statement).scalar_one_or_none()
        if key is None:
            raise ProblemError("body-destroyed", detail="the record is gone: its data subject's key was destroyed")
        if sealed is None:
            # An acceptance lets the record go, which is another thing: whoever comes too late for it finds, when the
            # problem is to be written, that the delivery is settled.
            raise ProblemError("delivery-state", detail="the record is not there, though the delivery is due")
        return unseal(key, f"{place}/{delivery.handover if place == 'handovers' else delivery.id}", sealed)

    async def _stop(self, delivery: Delivery, sending: Sending, now: datetime, trace_id: str) -> None:
        """What was planned may not go any more: say so, for good."""

        def record(connection: Connection) -> Written[None]:
            subject = self._exchange.subjects.by_id(connection, delivery.subject)
            entry = self._entry(
                delivery,
                sending,
                Outcome.STOPPED,
                now,
                trace_id,
                subject.pseudonym if subject else None,
                reason="not-permitted",
            )
            if subject is not None:
                self._keep(connection, entry, sending, subject, now)
            _settle(connection, delivery, DeliveryState.STOPPED, "not-permitted", entry, now)
            return Written(None, (entry,))

        await self._exchange.log.commit(record)
        self._exchange.telemetry.deliveries.add(1, {"outcome": "stopped"})

    def _keep(self, connection: Connection, entry: Entry, sending: Sending, subject: Subject, now: datetime) -> None:
        if sending.decision is not None:
            standing = sending.outgoing.standing
            self._exchange.rulebooks.keep(connection, standing.rulebook.digest, standing.registry.rulebook, now)
            keep_decision(connection, entry, sending.decision, subject=subject.id, key=subject.key)

    async def _settle_receipt(
        self, delivery: Delivery, sending: Sending, released: Entry, receipt: str, answered: Answered
    ) -> None:
        now = self._exchange.clock()

        def record(connection: Connection) -> Written[None]:
            entry = self._follow(released, Outcome.SUCCESS, now, response_digest=answered.claims.digest)
            message_id = sending.outgoing.claims.message_id
            noticed = keep_response(
                self._exchange, connection, message_id, answered.text, answered.claims, entry, answered.registry
            )
            if keeps(self._exchange, sending.outgoing.service):
                subject = self._exchange.subjects.by_id(connection, delivery.subject)
                keep_bodies(connection, message_id, subject, response=answered.body)
            state = DeliveryState.DELIVERED if delivery.kind is DeliveryKind.HANDOVER else DeliveryState.ACCEPTED
            write(
                connection,
                delivery,
                state=state.value,
                receipt=receipt,
                problem=None,
                lease=0,
                changed=_micros(now),
                entry=entry.id,
                sealed=None,
            )
            return Written(None, (entry, *noticed))

        await self._exchange.log.commit(record)
        self._exchange.telemetry.deliveries.add(1, {"outcome": "delivered"})

    async def _settle_problem(
        self,
        delivery: Delivery,
        problem: ProblemError,
        released: Entry | None,
        trace_id: str,
        answered: Answered | None = None,
    ) -> None:
        now = self._exchange.clock()
        final = problem.code in FINAL
        wait = _backoff(
            delivery.attempts, self._exchange.delivery.retry_seconds, self._exchange.delivery.retry_limit_seconds
        )

        def record(connection: Connection) -> Written[None]:
            subject = self._exchange.subjects.by_id(connection, delivery.subject)
            entry = (
                self._follow(
                    released,
                    Outcome.STOPPED if final else Outcome.FAILED,
                    now,
                    reason=problem.code,
                    response_digest=answered.claims.digest if answered is not None else None,
                )
                if released is not None
                else self._entry(
                    delivery,
                    None,
                    Outcome.STOPPED if final else Outcome.FAILED,
                    now,
                    trace_id,
                    subject.pseudonym if subject else None,
                    reason=problem.code,
                )
            )
            noticed: tuple[Entry, ...] = ()
            if answered is not None and released is not None:
                message_id = released.message_id or ""
                noticed = keep_response(
                    self._exchange, connection, message_id, answered.text, answered.claims, entry, answered.registry
                )
            if final:
                _settle(connection, delivery, DeliveryState.STOPPED, problem.code, entry, now)
            else:
                write(
                    connection,
                    delivery,
                    due=_micros(now + wait),
                    lease=0,
                    problem=problem.code,
                    changed=_micros(now),
                    attempts=deliveries.c.attempts + (1 if released is None else 0),
                )
            # A recipient that stays away is on record once for each new reason, not once for each attempt.
            told = released is None and not final and delivery.problem == problem.code
            return Written(None, noticed if told else (entry, *noticed))

        await self._exchange.log.commit(record)
        self._exchange.telemetry.deliveries.add(1, {"outcome": "stopped" if final else "waiting"})
        event(
            LOGGER,
            logging.INFO,
            "delivery-waits",
            delivery=delivery.id,
            reason=problem.code,
            attempt=delivery.attempts + 1,
        )

    def _entry(
        self,
        delivery: Delivery,
        sending: Sending | None,
        outcome: Outcome,
        now: datetime,
        trace_id: str,
        subject: str | None,
        *,
        reason: str | None = None,
    ) -> Entry:
        decision = sending.decision if sending is not None else None
        bases, consents = basis_and_consents(decision) if decision is not None else ((), ())
        return Story(
            node=self._exchange.node,
            recipient=delivery.service.rpartition("/")[0] or None,
            source=delivery.consumer,
            service=(str(sending.outgoing.service.id) if sending else delivery.service) or None,
            message_id=sending.outgoing.claims.message_id if sending else None,
            subject=subject,
            purpose=delivery.purpose,
            rulebook=sending.outgoing.standing.rulebook.digest if sending else None,
            request_digest=request_digest(sending.outgoing.text) if sending else None,
            trace_id=trace_id,
            case=delivery.case,
        ).entry(
            EntryType.DELIVERY,
            outcome,
            now,
            categories=Categories(
                tuple(sorted(sending.kept)) if sending and outcome is Outcome.REQUESTED else (),
                sending.withheld if sending else (),
            ),
            bases=bases,
            consents=consents,
            previous=delivery.entry,
            reason=reason,
            detail={**_detail(delivery), **({"decision": decision.id} if decision is not None else {})},
        )

    def _follow(
        self,
        released: Entry,
        outcome: Outcome,
        now: datetime,
        *,
        reason: str | None = None,
        response_digest: str | None = None,
    ) -> Entry:
        """The entry which says how a recorded attempt ended."""
        return replace(
            released,
            id=new_id(now),
            outcome=outcome,
            recorded=now,
            response_digest=response_digest,
            previous=released.id,
            reason=reason,
        )


def told_words(standing: Standing, recipient: MemberId, decision: Decision, person: Person) -> dict[str, Any]:
    """By which words a delivery goes, in the version that the recipient takes."""
    if carrying.version_for(standing.registry, recipient) >= carrying.CARRIERS:
        return {"wrd": carrying.carriers(decision, standing.rulebook, person.words)}
    return {"consents": carried(decision, person)}


def carried(decision: Decision, person: Person) -> list[dict[str, Any]]:
    """The consents that carry a decision, as the recipient is told them: what was consented to, not by whom."""
    used = {permitted.consent_id for permitted in decision.permitted if permitted.consent_id is not None}
    return [record.to_wire() for record in person.words if record.id in used]


def _receipt(body: bytes) -> str:
    """What the receiver calls what it took in: its receipt; an acceptance is known by the delivery it accepts."""
    try:
        document = orjson.loads(body)
        return str(document.get("receipt") or document["delivery"])
    except (orjson.JSONDecodeError, AttributeError, KeyError):
        raise ProblemError("receipt-invalid", detail="the other node's receipt cannot be read") from None


def overdue(connection: Connection, now: datetime, after: timedelta) -> list[Row[Any]]:
    """Handover deliveries without acceptance for longer than `after`, oldest first."""
    return list(
        connection.execute(
            select(deliveries)
            .where(
                deliveries.c.kind == DeliveryKind.HANDOVER.value,
                deliveries.c.state.in_(OPEN),
                deliveries.c.created < _micros(now - after),
            )
            .order_by(deliveries.c.created)
        )
    )


def _settle(
    connection: Connection, delivery: Delivery, state: DeliveryState, problem: str, entry: Entry, now: datetime
) -> None:
    write(connection, delivery, state=state.value, problem=problem, lease=0, changed=_micros(now), entry=entry.id)
    if delivery.handover is not None:
        complete(connection, delivery.handover, _micros(now))


def _detail(delivery: Delivery) -> dict[str, str | int | bool]:
    detail: dict[str, str | int | bool] = {
        "delivery": delivery.id,
        "kind": delivery.kind,
        "attempt": delivery.attempts + 1,
    }
    if delivery.handover is not None:
        detail["handover"] = delivery.handover
    return detail


def _backoff(attempts: int, first: float, most: float) -> timedelta:
    """Doubling waits with a quarter of jitter, in seconds."""
    seconds = min(most, first * 2 ** min(attempts, 20))
    return timedelta(seconds=seconds * random.uniform(0.75, 1.25))  # noqa: S311 - jitter, not a secret


def _micros(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
