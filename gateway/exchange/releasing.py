"""Put an answer on record, and only then let it go.

The decision, the release, the taking of the message id, the held message and the log entry are one transaction. What is
decided on is read in it, under the log's lock, so a withdrawal that was stored first always wins. When the commit
returned, the record is durable and the answer may leave.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import orjson
from sqlalchemy import Connection

from audit.log.entries import Categories, Entry, EntryType, Outcome
from audit.log.waiting import Written
from audit.questions.subjects import Subject
from consent.deciding.verdicts import Decision
from gateway.exchange.context import Exchange
from gateway.exchange.holding import (
    Disclosure,
    bases_of,
    basis_and_consents,
    keep_bodies,
    keep_disclosures,
    keep_message,
    keep_reason,
)
from gateway.exchange.keeping import keep_decision
from gateway.exchange.opening import Answer, Incoming, PeerCall, check_in_time
from gateway.exchange.telling import told
from gateway.person.values import Named, Person
from gateway.story import Detail, Story, came_to, made_by
from gateway.telemetry import event
from gateway.wire.decided import DecisionSummary, body_digest
from gateway.wire.message import Checkpoint, ResponseClaims, Words
from gateway.wire.problems import ProblemError, to_problem_json
from gateway.wire.signing import request_digest, sign_response
from schemas.projection import Projection

LOGGER = logging.getLogger("yhdyspinta.release")
DISPUTED: Final = {"identity": "disputed"}
BUNDLE_TYPE = "application/fhir+json"
PROBLEM_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Release:
    """An answer that may leave once it is on record."""

    incoming: Incoming
    person: Person
    decision: Decision
    projection: Projection
    #: By which words it goes; None where the asker does not take that.
    words: Words | None = None
    #: The version of the adapter that made the record.
    made_by: str = ""

    @property
    def detail(self) -> Detail:
        """What its entry says besides."""
        # Whose data it is was in doubt, and an emergency did not wait for that: whoever reviews it is to see so.
        disputed = DISPUTED if self.person.conflict is not None else {}
        return {**disputed, **made_by(self.made_by)}


@dataclass(frozen=True, slots=True)
class Withheld:
    """Nothing leaves, and why; `entries` tell what was done instead."""

    incoming: Incoming
    problem: ProblemError
    decision: Decision
    entries: tuple[Entry, ...] = ()


async def record_release(exchange: Exchange, decided: Callable[[Connection], Release | Withheld]) -> Answer | Withheld:
    """Decide, sign the answer and record it in one transaction; hand it out. What is withheld is for others to record.

    `decided` runs in the transaction.
    """

    def record(connection: Connection) -> Written[tuple[Release, Answer] | Withheld]:
        release = decided(connection)
        if isinstance(release, Withheld):
            return Written(release, release.entries)
        incoming = release.incoming
        check_in_time(exchange, incoming)
        exchange.replays.take(connection, incoming.claims.message_id, incoming.claims.expires_at)
        answer, entries = _released(exchange, connection, release)
        return Written((release, answer), entries)

    recorded = (await exchange.log.commit(record)).value
    if isinstance(recorded, Withheld):
        return recorded
    release, answer = recorded
    exchange.rulebooks.committed(release.incoming.rulebook.digest)
    if release.decision.emergency:
        # It waits in the officer's review queue, because its entry is in the log; this is what an alert can go by.
        event(LOGGER, logging.WARNING, "emergency-access", message_id=release.incoming.claims.message_id)
    return answer


def _released(exchange: Exchange, connection: Connection, release: Release) -> tuple[Answer, tuple[Entry, ...]]:
    """Sign the answer and keep all that is kept of it; the entries that tell of it."""
    incoming, decision = release.incoming, release.decision
    body = orjson.dumps(release.projection.bundle)
    answer = sign_answer(exchange, incoming, Body(200, BUNDLE_TYPE, body, told(incoming, decision), release.words))
    filed = exchange.people.file_as(connection, release.person, incoming.now)
    act = Act(
        outcome=Outcome.PARTIAL if decision.withheld else Outcome.SUCCESS,
        subject=filed.subject.pseudonym,
        decision=decision,
        response_digest=body_digest(body),
        kept=release.projection.kept,
        detail=release.detail,
    )
    entry = provider_entry(exchange, incoming, act)
    noticed = keep_message(exchange, connection, incoming, answer, entry)
    _keep_release(exchange, connection, release, filed.subject, entry)
    if incoming.service.keep_bodies:
        keep_bodies(connection, incoming.claims.message_id, filed.subject, request=incoming.body, response=body)
    return answer, (entry, *filed.entries, *noticed)


def _keep_release(exchange: Exchange, connection: Connection, release: Release, subject: Subject, entry: Entry) -> None:
    """Keep what was decided, for whom, and in an emergency why."""
    incoming, decision = release.incoming, release.decision
    exchange.rulebooks.keep(connection, incoming.rulebook.digest, incoming.registry.rulebook, incoming.now)
    keep_decision(connection, entry, decision, subject=subject.id, key=subject.key)
    sender, recipient = str(incoming.claims.audience.subsystem), str(incoming.claims.issuer)
    keep_disclosures(connection, decision, subject, Disclosure(sender, recipient, release.person.named, incoming.now))
    if incoming.emergency is not None and decision.emergency:
        keep_reason(connection, incoming.claims.message_id, subject, incoming.emergency)


#: What an entry speaks of where a service takes in; of the others it speaks as of a question.
_CAME: Final = {"inbox": EntryType.RECEIPT, "acceptance": EntryType.ACCEPTANCE, "notice": EntryType.CONSENT}


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
    answer = sign_answer(exchange, incoming, Body(answered.status, PROBLEM_TYPE, body, answered.decision))

    def record(connection: Connection) -> Written[Answer]:
        exchange.replays.take(connection, incoming.claims.message_id, incoming.claims.expires_at)
        withheld = tuple(category for category, _ in problem.decision.withheld) if problem.decision else ()
        filed = exchange.people.file(connection, named, incoming.now) if named is not None else None
        subject = filed.subject if filed is not None else None
        act = Act(
            outcome=came_to(problem),
            # What came and was refused asked for nothing: the sender would have been the one who gave.
            type=_CAME.get(incoming.service.kind),
            reason=problem.code,
            subject=subject.pseudonym if subject else None,
            decision=decision,
            response_digest=body_digest(body),
        )
        entry = replace(provider_entry(exchange, incoming, act), categories=Categories((), withheld))
        noticed = keep_message(exchange, connection, incoming, answer, entry)
        if subject is not None and decision is not None:
            exchange.rulebooks.keep(connection, incoming.rulebook.digest, incoming.registry.rulebook, incoming.now)
            keep_decision(connection, entry, decision, subject=subject.id, key=subject.key)
        # What the record joined, or put in its place, is so although nothing of it is given.
        return Written(answer, (entry, *(filed.entries if filed is not None else ()), *noticed))

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What was done with a message, as its entry tells it.

    `subject` is a pseudonym, `kept` what of the permitted was there to be given, `type` what the entry speaks of if
    that is neither a query nor an emergency.
    """

    outcome: Outcome
    type: EntryType | None = None
    subject: str | None = None
    decision: Decision | None = None
    kept: frozenset[str] | None = None
    reason: str | None = None
    response_digest: str | None = None
    detail: Detail = field(default_factory=dict)


def provider_entry(exchange: Exchange, incoming: Incoming, act: Act) -> Entry:
    """The log entry of the side that was asked."""
    claims, decision = incoming.claims, act.decision
    bases, consents = basis_and_consents(decision)
    permitted: tuple[str, ...] = ()
    if decision is not None:
        permitted = tuple(sorted(decision.permitted_categories if act.kept is None else act.kept))
        bases = bases_of(decision, incoming.rulebook, permitted)
    return Story(
        user=exchange.user_pseudonym(claims.issuer, claims.user),
        node=exchange.node,
        recipient=str(claims.issuer),
        source=str(claims.audience.subsystem),
        service=str(claims.audience),
        message_id=claims.message_id,
        subject=act.subject,
        purpose=claims.purpose if claims.purpose in incoming.rulebook.purposes else None,
        rulebook=incoming.rulebook.digest,
        request_digest=request_digest(incoming.call.message),
        trace_id=incoming.call.trace_id,
        case=exchange.case_pseudonym(claims.case),
    ).entry(
        act.type or (EntryType.BREAK_GLASS if decision is not None and decision.emergency else EntryType.QUERY),
        act.outcome,
        incoming.now,
        categories=Categories(
            permitted, tuple(sorted(withheld.category for withheld in decision.withheld)) if decision else ()
        ),
        bases=bases,
        consents=consents,
        response_digest=act.response_digest,
        reason=act.reason,
        detail={**act.detail, **({"decision": decision.id} if decision is not None else {})},
    )


@dataclass(frozen=True, slots=True)
class Body:
    """What an answer says: HTTP status, media type and content, the decision that it tells of, and its words."""

    status: int
    media_type: str
    content: bytes
    decision: DecisionSummary | None = None
    words: Words | None = None


def sign_answer(exchange: Exchange, incoming: Incoming, body: Body) -> Answer:
    """Sign an answer to this message, with our log's latest checkpoint in it."""
    latest = exchange.log.latest()
    claims = ResponseClaims(
        issuer=incoming.claims.audience,
        audience=incoming.claims.issuer,
        issued_at=exchange.clock(),
        request=request_digest(incoming.call.message),
        status=body.status,
        content_type=body.media_type,
        digest=body_digest(body.content),
        checkpoint=Checkpoint(latest.origin, latest.size, latest.root),
        decision=body.decision,
        words=body.words,
    )
    signer = exchange.signer(claims.issuer.subsystem.member)
    return Answer(body.status, sign_response(claims, signer), body.media_type, body.content)
