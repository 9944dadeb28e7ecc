"""Put an answer on record, and only then let it go.

The release, the taking of the message id, the held message and the log entry are one transaction. It compares the
person's consents with those that were decided on, under the log's lock, so a withdrawal that was stored first always
wins. When the commit returned, the record is durable and the answer may leave.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

import orjson
from sqlalchemy import Connection, bindparam, select, update

from audit.log.entries import Categories, Entry, EntryType, Outcome
from audit.log.log import Written
from audit.log.statements import Fixed
from audit.questions.subjects import Subject
from consent.decision import Decision
from gateway.exchange.context import Exchange
from gateway.exchange.keeping import keep_decision
from gateway.exchange.opening import Answer, Incoming, PeerCall, check_in_time
from gateway.exchange.telling import told
from gateway.person.people import StaleError
from gateway.person.values import Named, Person
from gateway.storage.sealing import seal
from gateway.storage.tables import bodies, disclosures, messages
from gateway.story import Story
from gateway.telemetry import event
from gateway.wire.message import Checkpoint, DecisionSummary, ResponseClaims, body_digest
from gateway.wire.problems import ProblemError, to_problem_json
from gateway.wire.signing import request_digest, sign_response
from schemas.projection import Projection

LOGGER = logging.getLogger("yhdyspinta.release")
DISPUTED: Final = {"identity": "disputed"}
BUNDLE_TYPE = "application/fhir+json"
PROBLEM_TYPE = "application/problem+json"

_KEEP_MESSAGE = Fixed.insert(
    messages, "message_id", "direction", "peer", "service", "request", "response", "registry_version",
    "response_registry_version", "entry", "at",
)  # fmt: skip
_KEEP_RESPONSE = Fixed(
    update(messages)
    .where(messages.c.message_id == bindparam("of"), messages.c.direction == "sent")
    .values(response=bindparam("answer"), entry=bindparam("by"), response_registry_version=bindparam("version")),
    "of",
    "answer",
    "by",
    "version",
)
_KEEP_BODY = Fixed.insert(bodies, "message_id", "part", "subject", "sealed")
_DISCLOSE = Fixed.insert(disclosures, "consent", "recipient", "sender", "subject", "at", "identifiers")
_DISCLOSED = Fixed(
    select(disclosures.c.at).where(
        disclosures.c.consent == bindparam("under"), disclosures.c.recipient == bindparam("to")
    ),
    "under",
    "to",
)


@dataclass(frozen=True, slots=True)
class Release:
    """An answer that may leave once it is on record."""

    incoming: Incoming
    person: Person
    decision: Decision
    projection: Projection


async def record_release(exchange: Exchange, release: Release) -> Answer:
    """Sign the answer, record it, hand it out. Raises StaleError if the rulebook or the person's consents changed."""
    incoming = release.incoming
    body = orjson.dumps(release.projection.bundle)
    summary = told(incoming, release.decision)
    answer = sign_answer(exchange, incoming, 200, BUNDLE_TYPE, body, summary)

    def record(connection: Connection) -> Written[Answer]:
        if exchange.standing(exchange.clock()).rulebook.digest != incoming.rulebook.digest:
            raise StaleError
        check_in_time(exchange, incoming)
        exchange.replays.take(connection, incoming.claims.message_id, incoming.claims.expires_at)
        settled = exchange.people.settle(connection, release.person, incoming.now)
        subject = settled.subject
        entry = provider_entry(
            exchange,
            incoming,
            outcome=Outcome.SUCCESS if not release.decision.withheld else Outcome.PARTIAL,
            subject=subject.pseudonym,
            decision=release.decision,
            response_digest=body_digest(body),
            kept=release.projection.kept,
            # Whose data it is was in doubt, and an emergency did not wait for that: whoever reviews it is to see so.
            detail=DISPUTED if release.person.conflict is not None else None,
        )
        noticed = keep_message(exchange, connection, incoming, answer, entry)
        exchange.rulebooks.keep(connection, incoming.rulebook.digest, incoming.registry.rulebook, incoming.now)
        keep_decision(connection, entry, release.decision, subject=subject.id, key=subject.key)
        keep_disclosures(
            connection,
            release.decision,
            recipient=str(incoming.claims.issuer),
            sender=str(incoming.claims.audience.subsystem),
            subject=subject,
            named=release.person.named,
            at=incoming.now,
        )
        if incoming.service.keep_bodies:
            keep_bodies(connection, incoming.claims.message_id, subject, request=incoming.body, response=body)
        if incoming.emergency is not None and release.decision.emergency:
            # The justification is a free text: it is kept sealed for the officer's review, never in the log.
            text = incoming.emergency.justification.encode()
            keep_body(connection, incoming.claims.message_id, "reason", subject.id, subject.key, text)
        return Written(answer, (entry, *settled.entries, *noticed))

    committed = await exchange.log.commit(record)
    exchange.rulebooks.committed(incoming.rulebook.digest)
    if release.decision.emergency:
        # It waits in the officer's review queue, because its entry is in the log; this is what an alert can go by.
        event(LOGGER, logging.WARNING, "emergency-access", message_id=incoming.claims.message_id)
    return committed.value


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something is refused, as it stands in the log, and what the other side is told in its place."""

    problem: ProblemError
    told: ProblemError


async def record_refusal(
    exchange: Exchange,
    incoming: Incoming,
    refusal: ProblemError | Refusal,
    *,
    named: Named | None = None,
    decision: Decision | None = None,
) -> Answer:
    """Answer a verified message with a problem, signed and on record; under the person's pseudonym where the record
    had been seen, so that who asked in vain is on it as well.
    """
    problem, answered = (refusal.problem, refusal.told) if isinstance(refusal, Refusal) else (refusal, refusal)
    body = to_problem_json(answered)
    answer = sign_answer(exchange, incoming, answered.status, PROBLEM_TYPE, body, answered.decision)

    def record(connection: Connection) -> Written[Answer]:
        exchange.replays.take(connection, incoming.claims.message_id, incoming.claims.expires_at)
        withheld = tuple(category for category, _ in problem.decision.withheld) if problem.decision else ()
        subject = exchange.people.file(connection, named, incoming.now).subject if named is not None else None
        entry = provider_entry(
            exchange,
            incoming,
            outcome=Outcome.REFUSED,
            reason=problem.code,
            subject=subject.pseudonym if subject else None,
            decision=decision,
        )
        entry = replace(entry, categories=Categories((), withheld), response_digest=body_digest(body))
        noticed = keep_message(exchange, connection, incoming, answer, entry)
        if subject is not None and decision is not None:
            exchange.rulebooks.keep(connection, incoming.rulebook.digest, incoming.registry.rulebook, incoming.now)
            keep_decision(connection, entry, decision, subject=subject.id, key=subject.key)
        return Written(answer, (entry, *noticed))

    try:
        return (await exchange.log.commit(record)).value
    except ProblemError as replayed:
        if problem.code == replayed.code:
            raise
        return await record_refusal(exchange, incoming, replayed)


async def record_unopened(exchange: Exchange, call: PeerCall, problem: ProblemError) -> None:
    """Put on record that a message was refused before it could be believed, by code and TLS pin only."""
    await exchange.log.append(
        (
            Story(
                node=exchange.node,
                request_digest=request_digest(call.message) if call.message else None,
                trace_id=call.trace_id,
            ).entry(
                EntryType.QUERY,
                Outcome.REFUSED,
                exchange.clock(),
                reason=problem.code,
                detail={"pin": body_digest(call.certificate)} if call.certificate else {},
            ),
        )
    )


def provider_entry(
    exchange: Exchange,
    incoming: Incoming,
    *,
    outcome: Outcome,
    subject: str | None = None,
    decision: Decision | None = None,
    response_digest: str | None = None,
    reason: str | None = None,
    kept: frozenset[str] | None = None,
    type_: EntryType | None = None,
    detail: Mapping[str, str | int | bool] | None = None,
) -> Entry:
    """The log entry of the side that was asked."""
    claims = incoming.claims
    used = basis_and_consents(decision) if decision is not None else ((), ())
    permitted: tuple[str, ...] = ()
    if decision is not None:
        permitted = tuple(sorted(decision.permitted_categories if kept is None else kept))
    return Story(
        user=exchange.user_pseudonym(claims.issuer, claims.user),
        node=exchange.node,
        recipient=str(claims.issuer),
        source=str(claims.audience.subsystem),
        service=str(claims.audience),
        message_id=claims.message_id,
        subject=subject,
        purpose=claims.purpose if claims.purpose in incoming.rulebook.purposes else None,
        rulebook=incoming.rulebook.digest,
        request_digest=request_digest(incoming.call.message),
        trace_id=incoming.call.trace_id,
        case=exchange.case_pseudonym(claims.case),
    ).entry(
        type_ or (EntryType.BREAK_GLASS if decision is not None and decision.emergency else EntryType.QUERY),
        outcome,
        incoming.now,
        categories=Categories(
            permitted, tuple(sorted(withheld.category for withheld in decision.withheld)) if decision else ()
        ),
        bases=used[0],
        consents=used[1],
        response_digest=response_digest,
        reason=reason,
        detail={**(detail or {}), **({"decision": decision.id} if decision is not None else {})},
    )


def basis_and_consents(decision: Decision) -> tuple[tuple[str, ...], tuple[tuple[str, int], ...]]:
    """The bases that carried a decision, and the consents with their versions."""
    bases = sorted({permitted.basis for permitted in decision.permitted})
    consents = sorted(
        {
            (permitted.consent_id, permitted.consent_version)
            for permitted in decision.permitted
            if permitted.consent_id is not None and permitted.consent_version is not None
        }
    )
    return tuple(bases), tuple(consents)


def sign_answer(
    exchange: Exchange,
    incoming: Incoming,
    status: int,
    content_type: str,
    body: bytes,
    decision: DecisionSummary | None,
) -> Answer:
    """Sign an answer to this message, with our log's latest checkpoint in it."""
    latest = exchange.log.latest()
    claims = ResponseClaims(
        issuer=incoming.claims.audience,
        audience=incoming.claims.issuer,
        issued_at=exchange.clock(),
        request=request_digest(incoming.call.message),
        status=status,
        content_type=content_type,
        digest=body_digest(body),
        checkpoint=Checkpoint(latest.origin, latest.size, latest.root),
        decision=decision,
    )
    return Answer(status, sign_response(claims, exchange.signer()), content_type, body)


def keep_message(
    exchange: Exchange, connection: Connection, incoming: Incoming, answer: Answer, entry: Entry
) -> tuple[Entry, ...]:
    """Hold both signed texts as evidence, and the checkpoint of the sender's log, in the transaction that records what
    was done. Gives further entries to record with it.
    """
    claims = incoming.claims
    keep_signed(
        connection,
        claims.message_id,
        "received",
        peer=str(claims.issuer),
        service=str(claims.audience),
        request=incoming.call.message,
        response=answer.message,
        registry=incoming.registry.version,
        entry=entry,
        at=incoming.now,
    )
    return exchange.witnessing.take(connection, claims.checkpoint, incoming.call.message, claims.issuer.member)


def keep_signed(
    connection: Connection,
    message_id: str,
    direction: Literal["sent", "received"],
    *,
    peer: str,
    service: str,
    request: str,
    response: str | None,
    registry: int,
    entry: Entry,
    at: datetime,
) -> None:
    """Hold the signed texts of an exchange as evidence, with the version of the registry that vouched for them."""
    _KEEP_MESSAGE.run(
        connection,
        message_id,
        direction,
        peer,
        service,
        request,
        response,
        registry,
        None if response is None else registry,
        entry.id,
        int(at.timestamp() * 1_000_000),
    )


def keep_bodies(
    connection: Connection,
    message_id: str,
    subject: Subject | None,
    *,
    request: bytes | None = None,
    response: bytes | None = None,
) -> None:
    """Hold the bodies of an exchange as evidence; nothing is held of a person whose key was destroyed."""
    if subject is None:
        return
    for part, body in (("request", request), ("response", response)):
        if body is not None:
            keep_body(connection, message_id, part, subject.id, subject.key, body)


def keep_body(connection: Connection, message_id: str, part: str, subject: str, key: bytes, body: bytes) -> None:
    """Hold a body, sealed under the data subject's key."""
    _KEEP_BODY.run(connection, message_id, part, subject, seal(key, f"bodies/{message_id}/{part}", body))


def keep_disclosures(
    connection: Connection,
    decision: Decision,
    *,
    recipient: str,
    sender: str,
    subject: Subject,
    named: Named,
    at: datetime,
) -> None:
    """Remember who received data under which consent, so that its withdrawal reaches them."""
    for consent, _ in basis_and_consents(decision)[1]:
        if _DISCLOSED.row(connection, consent, recipient) is None:
            pairs = orjson.dumps([{"system": system, "value": value} for system, value in named.pairs])
            sealed = seal(subject.key, f"disclosures/{consent}/{recipient}", pairs)
            _DISCLOSE.run(connection, consent, recipient, sender, subject.id, int(at.timestamp() * 1_000_000), sealed)


def keep_response(
    exchange: Exchange,
    connection: Connection,
    message_id: str,
    response: str,
    claims: ResponseClaims,
    entry: Entry,
    registry: int,
) -> tuple[Entry, ...]:
    """Hold the answer beside the message that we sent, with the version of the registry by which it was verified, and
    the checkpoint of the answering log. Gives further entries to record with it.
    """
    _KEEP_RESPONSE.run(connection, message_id, response, entry.id, registry)
    return exchange.witnessing.take(connection, claims.checkpoint, response, claims.issuer.subsystem.member)
