"""Put on record that a delivery leaves, and how each attempt ended: always in the transaction that changes its row."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import orjson
from sqlalchemy import Connection

from audit.log.entries import Categories, Entry, EntryType, Outcome, micros, new_id
from audit.log.waiting import Written
from audit.questions.subjects import Subject
from gateway.exchange.context import Exchange
from gateway.exchange.holding import (
    UNSENT,
    Answered,
    Disclosure,
    bases_of,
    basis_and_consents,
    keep_bodies,
    keep_disclosures,
    keep_response,
)
from gateway.exchange.keeping import keep_decision
from gateway.exchange.messaging import keep_request, keeps
from gateway.handover import leases
from gateway.handover.leases import Delivery, PutOff
from gateway.handover.sending import Sending
from gateway.handover.states import DeliveryKind
from gateway.obligations import arising
from gateway.obligations.arising import Moved
from gateway.obligations.receiving import language_of
from gateway.story import Detail, Said, Story
from gateway.wire.identifiers import SubsystemId
from gateway.wire.problems import ProblemError, UnsentError
from gateway.wire.signing import request_digest

_DAY_MILLISECONDS = 24 * 3600 * 1000
_MOST_RECIPIENTS = 100_000

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


async def record_leaving(exchange: Exchange, sending: Sending, trace_id: str, now: datetime) -> Entry:
    """Put on record that a delivery leaves. Raises StaleError if the person's consents changed, and LeaseLostError."""
    delivery, outgoing = sending.delivery, sending.outgoing
    # What has been released is its worker's alone while it is sent and its end is put on record.
    longest = timedelta(seconds=exchange.delivery.lease_seconds + exchange.limits.peer_timeout_seconds)

    def record(connection: Connection) -> Written[Entry]:
        if sending.person is not None:
            exchange.people.settle(connection, sending.person, now)
        subject = exchange.subjects.by_id(connection, delivery.subject)
        told = _decided(sending, tuple(sorted(sending.kept)))
        story = _story(exchange, delivery, sending, subject, trace_id)
        entry = story.entry(EntryType.DELIVERY, Outcome.REQUESTED, now, **told)
        keep_request(connection, outgoing, entry)
        if keeps(exchange, outgoing.service):
            keep_bodies(connection, outgoing.claims.message_id, subject, request=outgoing.body)
        if sending.decision is not None and sending.person is not None and subject is not None:
            _keep_decision(exchange, connection, sending, subject, entry)
            recipient = str(outgoing.service.id.subsystem)
            disclosure = Disclosure(delivery.consumer, recipient, sending.person.named, now)
            keep_disclosures(connection, sending.decision, subject, disclosure)
        span = micros(now), micros(now + longest)
        leases.release(connection, delivery, str(outgoing.service.id), entry.id, span)
        return Written(entry, (entry,))

    released = await exchange.log.commit(record)
    exchange.rulebooks.committed(outgoing.standing.rulebook.digest)
    return released.value


async def record_stopped(exchange: Exchange, sending: Sending, trace_id: str, now: datetime) -> None:
    """What was planned may not go any more: say so, for good."""
    delivery = sending.delivery

    def record(connection: Connection) -> Written[None]:
        subject = exchange.subjects.by_id(connection, delivery.subject)
        story = _story(exchange, delivery, sending, subject, trace_id)
        entry = story.entry(EntryType.DELIVERY, Outcome.STOPPED, now, **_decided(sending, ()))
        entry = replace(entry, reason="not-permitted")
        if subject is not None:
            _keep_decision(exchange, connection, sending, subject, entry)
        leases.stop(connection, delivery, "not-permitted", entry.id, micros(now))
        return Written(None, (entry,))

    await exchange.log.commit(record)


async def record_receipt(
    exchange: Exchange, sending: Sending, released: Entry, receipt: str, answered: Answered
) -> None:
    """Put the receipt of a delivery on record."""
    now, delivery = exchange.clock(), sending.delivery
    entry = _follow(released, Outcome.SUCCESS, now, answered)
    onward = told_onward(answered.body) if delivery.kind is DeliveryKind.NOTICE else 0
    if onward:
        entry = replace(entry, detail={**entry.detail, "onward": onward})

    def record(connection: Connection) -> Written[None]:
        message_id = sending.outgoing.claims.message_id
        noticed = keep_response(exchange, connection, message_id, answered, entry)
        if keeps(exchange, sending.outgoing.service):
            subject = exchange.subjects.by_id(connection, delivery.subject)
            keep_bodies(connection, message_id, subject, response=answered.body)
        leases.arrive(connection, delivery, receipt, entry.id, micros(now))
        return Written(None, (entry, *noticed, *_to_tell(exchange, connection, sending, entry)))

    await exchange.log.commit(record)


def _to_tell(exchange: Exchange, connection: Connection, sending: Sending, arrived: Entry) -> tuple[Entry, ...]:
    """The task to tell the person of what has arrived by their word."""
    delivery, decision, person = sending.delivery, sending.decision, sending.person
    rulebook = sending.outgoing.standing.rulebook
    if decision is None or person is None or arrived.agents.recipient is None or not arising.tells(decision, rulebook):
        return ()
    subject = exchange.subjects.by_id(connection, delivery.subject)
    if subject is None:
        return ()
    moved = Moved(
        decision=decision,
        rulebook=rulebook,
        categories=sending.kept,
        facts=decision.request.facts,
        subject=subject,
        under=(),
        named=person.named.pairs,
        ours=SubsystemId.parse(delivery.consumer).member,
        party=SubsystemId.parse(arrived.agents.recipient),
        message=arrived.message_id or "",
        purpose=delivery.purpose,
        language=language_of(orjson.loads(sending.outgoing.body)["bundle"]),
    )
    story = Story(
        node=exchange.node,
        recipient=arrived.agents.recipient,
        source=delivery.consumer,
        message_id=arrived.message_id,
        subject=subject.pseudonym,
        purpose=delivery.purpose,
        rulebook=rulebook.digest,
        case=delivery.case,
    )
    return arising.given(connection, story, moved, arrived.recorded)


async def record_problem_before(
    exchange: Exchange, delivery: Delivery, problem: ProblemError, trace_id: str, again: timedelta
) -> None:
    """An attempt failed before anything left: it is tried again then, or never."""
    now, is_final = exchange.clock(), problem.code in FINAL

    def record(connection: Connection) -> Written[None]:
        subject = exchange.subjects.by_id(connection, delivery.subject)
        outcome = Outcome.STOPPED if is_final else Outcome.FAILED
        entry = _story(exchange, delivery, None, subject, trace_id).entry(
            EntryType.DELIVERY,
            outcome,
            now,
            previous=delivery.entry,
            reason=problem.code,
            detail=_detail(delivery),
        )
        # A recipient that stays away is on record once for each new reason and once a day, with the number of attempts
        # by then; not once for each attempt.
        is_said = not is_final and delivery.problem == problem.code and not _is_day_old(delivery.entry, now)
        if is_final:
            leases.stop(connection, delivery, problem.code, entry.id, micros(now))
        else:
            newest = delivery.entry if is_said else entry.id
            put = PutOff(problem.code, micros(now), micros(now + again), attempts=1, entry=newest)
            leases.put_off(connection, delivery, put)
        return Written(None, () if is_said else (entry,))

    await exchange.log.commit(record)


async def record_problem_after(
    exchange: Exchange, sending: Sending, released: Entry, ended: tuple[ProblemError, Answered | None], again: timedelta
) -> None:
    """An attempt that has left came to nothing: it is tried again then, or never."""
    now, delivery, (problem, answered) = exchange.clock(), sending.delivery, ended
    is_final = problem.code in FINAL
    outcome = Outcome.STOPPED if is_final else Outcome.FAILED
    entry = replace(_follow(released, outcome, now, answered), reason=problem.code)
    if isinstance(problem, UnsentError):
        entry = replace(entry, detail={**entry.detail, UNSENT: True})

    def record(connection: Connection) -> Written[None]:
        noticed: tuple[Entry, ...] = ()
        if answered is not None:
            message_id = sending.outgoing.claims.message_id
            noticed = keep_response(exchange, connection, message_id, answered, entry)
        if is_final:
            leases.stop(connection, delivery, problem.code, entry.id, micros(now))
        else:
            put = PutOff(problem.code, micros(now), micros(now + again), attempts=0, entry=released.id)
            leases.put_off(connection, delivery, put)
        return Written(None, (entry, *noticed))

    await exchange.log.commit(record)


def told_onward(body: bytes) -> int:
    """To how many others the recipient of a notice passes it on, as its receipt says; not to whom, which is its own."""
    document = orjson.loads(body)
    count = document.get("onward") if isinstance(document, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 <= count < _MOST_RECIPIENTS else 0


def _is_day_old(entry: str, now: datetime) -> bool:
    """Whether an entry is a day older than now, or younger by a day: then one of the clocks was wrong."""
    try:
        made = int(entry[:8] + entry[9:13], 16)
    except ValueError:
        return True
    return abs(micros(now) // 1000 - made) >= _DAY_MILLISECONDS


def _keep_decision(
    exchange: Exchange, connection: Connection, sending: Sending, subject: Subject, entry: Entry
) -> None:
    if sending.decision is not None:
        standing = sending.outgoing.standing
        exchange.rulebooks.keep(connection, standing.rulebook.digest, standing.registry.rulebook, entry.recorded)
        keep_decision(connection, entry, sending.decision, subject=subject.id, key=subject.key)


def _story(
    exchange: Exchange, delivery: Delivery, sending: Sending | None, subject: Subject | None, trace_id: str
) -> Story:
    """Whose delivery it is; with what is sent, if anything is, and to which service."""
    outgoing = sending.outgoing if sending is not None else None
    return Story(
        node=exchange.node,
        recipient=delivery.service.rpartition("/")[0] or None,
        source=delivery.consumer,
        service=(str(outgoing.service.id) if outgoing else delivery.service) or None,
        message_id=outgoing.claims.message_id if outgoing else None,
        subject=subject.pseudonym if subject is not None else None,
        purpose=delivery.purpose,
        rulebook=outgoing.standing.rulebook.digest if outgoing else None,
        request_digest=request_digest(outgoing.text) if outgoing else None,
        trace_id=trace_id,
        case=delivery.case,
    )


def _decided(sending: Sending, permitted: tuple[str, ...]) -> Said:
    """What an entry tells of the decision; `permitted` are the categories that really leave."""
    bases, consents = basis_and_consents(sending.decision)
    if sending.decision is not None and permitted:
        bases = bases_of(sending.decision, sending.outgoing.standing.rulebook, permitted)
    decision: Detail = {"decision": sending.decision.id} if sending.decision is not None else {}
    return {
        "categories": Categories(permitted, sending.withheld),
        "bases": bases,
        "consents": consents,
        "previous": sending.delivery.entry,
        "detail": {**_detail(sending.delivery), **decision},
    }


def _detail(delivery: Delivery) -> Detail:
    handover: Detail = {"handover": delivery.handover} if delivery.handover is not None else {}
    return {"delivery": delivery.id, "kind": delivery.kind.value, "attempt": delivery.attempts + 1, **handover}


def _follow(released: Entry, outcome: Outcome, now: datetime, answered: Answered | None) -> Entry:
    """The entry which says how a recorded attempt ended."""
    return replace(
        released,
        id=new_id(now),
        outcome=outcome,
        recorded=now,
        response_digest=answered.claims.digest if answered is not None else None,
        previous=released.id,
        reason=None,
    )
