"""Work the deliveries: take what is due, decide once more, send, and keep the signed receipt.

Store and forward, at least once: a delivery is due until its receipt is on record, across crashes of either side. The
receiver knows a delivery by its id and takes it in once. Nothing is ever given up silently: what cannot be delivered
stays due, with longer and longer waits, and is shown as overdue; what may not be delivered any more is stopped, with
its reason.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, Row, bindparam, select, update

from audit.entries import Agents, Categories, Entry, new_id
from audit.log import Written
from audit.subjects import Subject
from consent.decision import Decision
from gateway.exchange.consumer import Answered, Outgoing, keep_request, keeps, prepare, refused_by_peer, send, verified
from gateway.exchange.context import Exchange, Standing
from gateway.exchange.handover import decide_for_delivery, recipient_service
from gateway.exchange.keeping import keep_decision
from gateway.exchange.people import Person, StaleError
from gateway.exchange.reception import complete
from gateway.exchange.releasing import basis_and_consents, keep_bodies, keep_disclosures, keep_response
from gateway.protocol.identifiers import ServiceId, SubsystemId
from gateway.protocol.problems import ProblemError
from gateway.protocol.signing import request_digest
from gateway.storage.sealing import unseal
from gateway.storage.tables import deliveries, handovers
from gateway.telemetry import event
from schemas.facts import identifiers
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
        "category-not-declared",
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
    named: tuple[tuple[str, str], ...]
    kept: frozenset[str]
    withheld: tuple[str, ...]


class Deliveries:
    """The workers of one node."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._due = asyncio.Event()
        self._queue: asyncio.Queue[Row[Any]] = asyncio.Queue(maxsize=BATCH)
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

    async def _claim(self) -> list[Row[Any]]:
        """Take due deliveries under a lease, so that no two workers or replicas send the same one at once."""
        now = self._exchange.clock()
        at = _micros(now)
        if not await asyncio.to_thread(self._any_due, at):
            return []
        until = at + int(self._exchange.delivery.lease_seconds * 1_000_000)

        def claim(connection: Connection) -> Written[list[Row[Any]]]:
            rows = list(connection.execute(_DUE, {"at": at, "most": BATCH}))
            if rows:
                connection.execute(_LEASE, [{"of": row.id, "until": until} for row in rows])
            return Written(rows, ())

        return (await self._exchange.log.commit(claim)).value

    def _any_due(self, at: int) -> bool:
        with self._exchange.engine.connect() as connection:
            return connection.execute(_DUE, {"at": at, "most": 1}).first() is not None

    async def _work(self) -> None:
        while True:
            row = await self._queue.get()
            try:
                await self._attempt(row)
            except Exception as error:
                event(LOGGER, logging.ERROR, "delivery-attempt-failed", delivery=row.id, reason=type(error).__name__)
                self._exchange.telemetry.deliveries.add(1, {"outcome": "error"})

    async def _attempt(self, row: Row[Any]) -> None:
        trace_id, trace = self._exchange.telemetry.trace()
        try:
            sending, released = await self._release(row, trace_id)
        except ProblemError as problem:
            await self._settle_problem(row, problem, None, trace_id)
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
            await self._settle_problem(row, problem, released, trace_id, answered)
            return
        await self._settle_receipt(row, sending, released, receipt, answered)

    async def _release(self, row: Row[Any], trace_id: str) -> tuple[Sending | None, Entry | None]:
        """Decide at this moment, sign, and put on record that it leaves. None if it may not leave any more."""
        for _ in range(5):
            now = self._exchange.clock()
            standing = self._exchange.standing(now)
            sending = await self._prepare(row, standing, now)
            if sending.decision is not None and not sending.decision.permitted:
                await self._stop(row, sending, now, trace_id)
                return None, None

            def record(connection: Connection, sending: Sending = sending, now: datetime = now) -> Written[Entry]:
                current = connection.execute(_STATE, {"of": row.id}).scalar_one()
                if current != "due":
                    raise ProblemError("delivery-state", detail="the delivery was settled meanwhile")
                if sending.person is not None:
                    self._exchange.people.settle(connection, sending.named, sending.person, now)
                subject = self._exchange.subjects.by_id(connection, row.subject)
                entry = self._entry(row, sending, "requested", now, trace_id, subject.pseudonym if subject else None)
                keep_request(connection, sending.outgoing, entry)
                if keeps(self._exchange, sending.outgoing.service):
                    keep_bodies(connection, sending.outgoing.claims.message_id, subject, request=sending.outgoing.body)
                if sending.decision is not None and subject is not None:
                    self._keep(connection, entry, sending, subject, now)
                    keep_disclosures(
                        connection,
                        sending.decision,
                        recipient=str(sending.outgoing.service.id.subsystem),
                        sender=row.consumer,
                        subject=subject,
                        named=sending.named,
                        at=now,
                    )
                connection.execute(
                    update(deliveries)
                    .where(deliveries.c.id == row.id)
                    .values(
                        attempts=deliveries.c.attempts + 1,
                        service=str(sending.outgoing.service.id),
                        entry=entry.id,
                        changed=_micros(now),
                    )
                )
                return Written(entry, (entry,))

            try:
                released = await self._exchange.log.commit(record)
                self._exchange.rulebooks.committed(standing.rulebook.digest)
                return sending, released.value
            except StaleError:
                continue
            except ProblemError as problem:
                if problem.code == "delivery-state":
                    return None, None
                raise
        raise ProblemError("busy", detail="the person's consents are changing right now", retry_after=1)

    async def _prepare(self, row: Row[Any], standing: Standing, now: datetime) -> Sending:
        sender = SubsystemId.parse(row.consumer)
        if row.kind != "handover":
            return self._prepare_plain(row, standing, sender, await asyncio.to_thread(self._unsealed, row), now)
        bundle = orjson.loads(await asyncio.to_thread(self._unsealed, row))
        named = tuple((one.system, one.value) for one in identifiers(bundle))
        # The recipient is looked up anew: the person's municipality may have joined, or changed its system, while
        # we waited.
        service = recipient_service(standing, bundle, row.role, now)
        if service is None:
            raise ProblemError("recipient-unknown", detail="no member of the registry serves this municipality yet")
        person = await self._exchange.people.recall(named)
        decision = decide_for_delivery(
            standing, sender, service, row.purpose, frozenset(row.categories.split()), bundle, person, now
        )
        projection = project(bundle, decision.permitted_categories)
        body = orjson.dumps(
            {
                "handover": row.handover,
                "delivery": row.id,
                "flow": await asyncio.to_thread(self._flow, row.handover),
                "consents": carried(decision, person),
                "bundle": projection.bundle,
            }
        )
        outgoing = prepare(
            self._exchange,
            standing,
            service,
            consumer=sender,
            purpose=row.purpose,
            categories=projection.kept or decision.permitted_categories,
            body=body,
            case=None,
            user=None,
            now=now,
        )
        withheld = tuple(sorted({one.category for one in decision.withheld}))
        return Sending(outgoing, decision, person, named, projection.kept, withheld)

    def _prepare_plain(
        self, row: Row[Any], standing: Standing, sender: SubsystemId, body: bytes, now: datetime
    ) -> Sending:
        """An acceptance or a notice: it carries no category of the person's data, so there is nothing to decide."""
        service = standing.registry.service(ServiceId.parse(row.service))
        if service is None:
            raise ProblemError("service-unknown", detail="the registry lists no such service any more")
        categories = frozenset(row.categories.split()) or frozenset({"identity"})
        outgoing = prepare(
            self._exchange,
            standing,
            service,
            consumer=sender,
            purpose=row.purpose,
            categories=categories,
            body=body,
            case=None,
            user=None,
            now=now,
        )
        return Sending(outgoing, None, None, (), frozenset(), ())

    def _unsealed(self, row: Row[Any]) -> bytes:
        with self._exchange.engine.connect() as connection:
            key = self._exchange.subjects.key_of(connection, row.subject)
            if row.kind == "handover":
                place, statement = "handovers", select(handovers.c.sealed).where(handovers.c.id == row.handover)
            else:
                place, statement = "deliveries", select(deliveries.c.sealed).where(deliveries.c.id == row.id)
            sealed = connection.execute(statement).scalar_one_or_none()
        if key is None or sealed is None:
            raise ProblemError("body-destroyed", detail="the record is gone: its data subject's key was destroyed")
        return unseal(key, f"{place}/{row.handover if place == 'handovers' else row.id}", sealed)

    def _flow(self, handover: str) -> str:
        with self._exchange.engine.connect() as connection:
            return str(connection.execute(select(handovers.c.flow).where(handovers.c.id == handover)).scalar_one())

    async def _stop(self, row: Row[Any], sending: Sending, now: datetime, trace_id: str) -> None:
        """What was planned may not go any more: say so, for good."""

        def record(connection: Connection) -> Written[None]:
            subject = self._exchange.subjects.by_id(connection, row.subject)
            entry = self._entry(
                row, sending, "stopped", now, trace_id, subject.pseudonym if subject else None, reason="not-permitted"
            )
            if subject is not None:
                self._keep(connection, entry, sending, subject, now)
            _settle(connection, row, "stopped", "not-permitted", entry, now)
            return Written(None, (entry,))

        await self._exchange.log.commit(record)
        self._exchange.telemetry.deliveries.add(1, {"outcome": "stopped"})

    def _keep(self, connection: Connection, entry: Entry, sending: Sending, subject: Subject, now: datetime) -> None:
        if sending.decision is not None:
            standing = sending.outgoing.standing
            self._exchange.rulebooks.keep(connection, standing.rulebook.digest, standing.registry.rulebook, now)
            keep_decision(connection, entry, sending.decision, subject=subject.id, key=subject.key)

    async def _settle_receipt(
        self, row: Row[Any], sending: Sending, released: Entry, receipt: str, answered: Answered
    ) -> None:
        now = self._exchange.clock()

        def record(connection: Connection) -> Written[None]:
            entry = self._follow(released, "success", now, response_digest=answered.claims.digest)
            message_id = sending.outgoing.claims.message_id
            noticed = keep_response(
                self._exchange, connection, message_id, answered.text, answered.claims, entry, answered.registry
            )
            if keeps(self._exchange, sending.outgoing.service):
                subject = self._exchange.subjects.by_id(connection, row.subject)
                keep_bodies(connection, message_id, subject, response=answered.body)
            state = "delivered" if row.kind == "handover" else "accepted"
            connection.execute(
                update(deliveries)
                .where(deliveries.c.id == row.id, deliveries.c.state == "due")
                .values(
                    state=state,
                    receipt=receipt,
                    problem=None,
                    lease=0,
                    changed=_micros(now),
                    entry=entry.id,
                    sealed=None,
                )
            )
            return Written(None, (entry, *noticed))

        await self._exchange.log.commit(record)
        self._exchange.telemetry.deliveries.add(1, {"outcome": "delivered"})

    async def _settle_problem(
        self,
        row: Row[Any],
        problem: ProblemError,
        released: Entry | None,
        trace_id: str,
        answered: Answered | None = None,
    ) -> None:
        now = self._exchange.clock()
        final = problem.code in FINAL
        wait = _backoff(
            row.attempts, self._exchange.delivery.retry_seconds, self._exchange.delivery.retry_limit_seconds
        )

        def record(connection: Connection) -> Written[None]:
            subject = self._exchange.subjects.by_id(connection, row.subject)
            entry = (
                self._follow(
                    released,
                    "stopped" if final else "failed",
                    now,
                    reason=problem.code,
                    response_digest=answered.claims.digest if answered is not None else None,
                )
                if released is not None
                else self._entry(
                    row,
                    None,
                    "stopped" if final else "failed",
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
                _settle(connection, row, "stopped", problem.code, entry, now)
            else:
                connection.execute(
                    update(deliveries)
                    .where(deliveries.c.id == row.id, deliveries.c.state == "due")
                    .values(
                        due=_micros(now + wait),
                        lease=0,
                        problem=problem.code,
                        changed=_micros(now),
                        attempts=deliveries.c.attempts + (1 if released is None else 0),
                    )
                )
            # A recipient that stays away is on record once for each new reason, not once for each attempt.
            told = released is None and not final and row.problem == problem.code
            return Written(None, noticed if told else (entry, *noticed))

        await self._exchange.log.commit(record)
        self._exchange.telemetry.deliveries.add(1, {"outcome": "stopped" if final else "waiting"})
        event(LOGGER, logging.INFO, "delivery-waits", delivery=row.id, reason=problem.code, attempt=row.attempts + 1)

    def _entry(
        self,
        row: Row[Any],
        sending: Sending | None,
        outcome: str,
        now: datetime,
        trace_id: str,
        subject: str | None,
        *,
        reason: str | None = None,
    ) -> Entry:
        decision = sending.decision if sending is not None else None
        bases, consents = basis_and_consents(decision) if decision is not None else ((), ())
        return Entry(
            type="delivery",
            outcome=outcome,
            recorded=now,
            id=new_id(now),
            agents=Agents(node=self._exchange.node, recipient=row.service.rpartition("/")[0] or None),
            source=row.consumer,
            service=(str(sending.outgoing.service.id) if sending else row.service) or None,
            message_id=sending.outgoing.claims.message_id if sending else None,
            subject=subject,
            purpose=row.purpose,
            categories=Categories(
                tuple(sorted(sending.kept)) if sending and outcome == "requested" else (),
                sending.withheld if sending else (),
            ),
            bases=bases,
            consents=consents,
            rulebook=sending.outgoing.standing.rulebook.digest if sending else None,
            request_digest=request_digest(sending.outgoing.text) if sending else None,
            trace_id=trace_id,
            previous=row.entry,
            reason=reason,
            detail={**_detail(row), **({"decision": decision.id} if decision is not None else {})},
        )

    def _follow(
        self,
        released: Entry,
        outcome: str,
        now: datetime,
        *,
        reason: str | None = None,
        response_digest: str | None = None,
    ) -> Entry:
        """The entry which says how a recorded attempt ended."""
        return Entry(
            type=released.type,
            outcome=outcome,
            recorded=now,
            id=new_id(now),
            agents=released.agents,
            source=released.source,
            service=released.service,
            message_id=released.message_id,
            subject=released.subject,
            purpose=released.purpose,
            categories=released.categories,
            bases=released.bases,
            consents=released.consents,
            rulebook=released.rulebook,
            request_digest=released.request_digest,
            response_digest=response_digest,
            trace_id=released.trace_id,
            previous=released.id,
            reason=reason,
            detail=released.detail,
        )


def carried(decision: Decision, person: Person) -> list[dict[str, Any]]:
    """The consents that carry a decision, as the recipient is told them: what was consented to, not by whom."""
    used = {one.consent_id for one in decision.permitted if one.consent_id is not None}
    return [record.to_wire() for record in person.consents if record.id in used]


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
                deliveries.c.kind == "handover",
                deliveries.c.state.in_(("due", "delivered")),
                deliveries.c.created < _micros(now - after),
            )
            .order_by(deliveries.c.created)
        )
    )


_DUE = (
    select(deliveries)
    .where(deliveries.c.state == "due", deliveries.c.due <= bindparam("at"), deliveries.c.lease <= bindparam("at"))
    .order_by(deliveries.c.due)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
_LEASE = update(deliveries).where(deliveries.c.id == bindparam("of")).values(lease=bindparam("until"))
_STATE = select(deliveries.c.state).where(deliveries.c.id == bindparam("of"))


def _settle(connection: Connection, row: Row[Any], state: str, problem: str, entry: Entry, now: datetime) -> None:
    connection.execute(
        update(deliveries)
        .where(deliveries.c.id == row.id, deliveries.c.state == "due")
        .values(state=state, problem=problem, lease=0, changed=_micros(now), entry=entry.id)
    )
    if row.handover is not None:
        complete(connection, row.handover, _micros(now))


def _detail(row: Row[Any]) -> dict[str, str | int | bool]:
    detail: dict[str, str | int | bool] = {"delivery": row.id, "kind": row.kind, "attempt": row.attempts + 1}
    if row.handover is not None:
        detail["handover"] = row.handover
    return detail


def _backoff(attempts: int, first: float, most: float) -> timedelta:
    """Doubling waits with a quarter of jitter, in seconds."""
    seconds = min(most, first * 2 ** min(attempts, 20))
    return timedelta(seconds=seconds * random.uniform(0.75, 1.25))  # noqa: S311 - jitter, not a secret


def _micros(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
