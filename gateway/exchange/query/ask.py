"""Ask another organisation: the consumer's side of a query, from top to bottom.

Resolve the service, decide whether we would even be allowed to ask, sign, record, send, verify the answer, record it,
and only then give it to the client. A question is itself a disclosure (it says that we know the person), so it is on
record before it leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection

from audit.log.entries import Categories, Entry, EntryType, Outcome
from audit.log.log import Written
from consent.decision import Decision, Emergency
from consent.rulebook import Rulebook
from gateway.exchange.context import Exchange
from gateway.exchange.deciding import Case, refusal_in_advance
from gateway.exchange.messaging import (
    Answered,
    Outgoing,
    keep_request,
    keeps,
    prepare,
    refused_by_peer,
    resolve,
    send,
    verified,
)
from gateway.exchange.releasing import keep_bodies, keep_response
from gateway.person.values import Person
from gateway.sources.backends import Locator
from gateway.story import Story
from gateway.wire.identifiers import ServiceId, SubsystemId
from gateway.wire.message import DecisionSummary, ResponseClaims
from gateway.wire.problems import ProblemError
from gateway.wire.signing import request_digest


@dataclass(frozen=True, slots=True)
class Question:
    """What a client of ours wants to know, about whom, from whom, and why."""

    client: str
    consumer: SubsystemId
    service: ServiceId
    locator: Locator
    purpose: str
    categories: frozenset[str]
    case: str | None
    user: str | None
    emergency: Emergency | None
    trace_id: str
    trace: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reading:
    """The provider's answer, verified and on record: a bundle of exactly what may be known, and the decision on it."""

    message_id: str
    bundle: dict[str, Any]
    claims: ResponseClaims
    asked_at: datetime


class Consumer:
    """The node's questions to its peers."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def ask(self, question: Question) -> Reading:
        """Ask, and return what came back. Raises ProblemError; when the provider refused, with the provider's code."""
        with self._exchange.log.under_way():
            return await self._ask(question)

    async def _ask(self, question: Question) -> Reading:
        now = self._exchange.clock()
        standing = self._exchange.standing(now)
        service = resolve(standing.registry, question.service)
        _check_words(question, standing.rulebook)
        outgoing = prepare(
            self._exchange,
            standing,
            service,
            consumer=question.consumer,
            purpose=question.purpose,
            categories=question.categories,
            body=_query_body(question),
            case=question.case,
            user=question.user,
            now=now,
        )
        requested = await self._record_request(question, outgoing, now)
        answered: Answered | None = None
        try:
            reply = await send(self._exchange, outgoing, question.trace)
            answered = verified(self._exchange, outgoing, reply)
            if answered.claims.status != 200:
                raise refused_by_peer(reply.body, answered.claims.decision)
            bundle = _bundle(reply.body)
        except ProblemError as problem:
            await self._record_failure(question, requested, problem, outgoing, answered)
            raise
        claims = answered.claims
        await self._record_answer(question, requested, outgoing, answered)
        return Reading(outgoing.claims.message_id, bundle, claims, now)

    async def _record_request(self, question: Question, outgoing: Outgoing, now: datetime) -> Entry:
        """Decide and record in one transaction: whether we may ask at all, by the consents as they stand in it."""
        named = self._exchange.looked_for(question.consumer, question.locator.system, question.locator.value)

        def record(connection: Connection) -> Written[Entry | Decision]:
            person = self._exchange.people.recall_in(connection, named)
            refusal = self._refusal(question, outgoing, person, now)
            subject = self._exchange.people.file_as(connection, person, now).subject
            if refusal is not None:
                refused = self._entry(
                    question,
                    outgoing,
                    Outcome.REFUSED,
                    now,
                    subject=subject.pseudonym,
                    reason="not-permitted",
                    decision=refusal,
                )
                return Written(refusal, (refused,))
            entry = self._entry(question, outgoing, Outcome.REQUESTED, now, subject=subject.pseudonym)
            keep_request(connection, outgoing, entry)
            if keeps(self._exchange, outgoing.service):
                keep_bodies(connection, outgoing.claims.message_id, subject, request=outgoing.body)
            return Written(entry, (entry,))

        recorded = (await self._exchange.log.commit(record)).value
        if isinstance(recorded, Decision):
            raise ProblemError(
                "not-permitted",
                detail="no legal basis lets this organisation ask for any of it, for this purpose, from this service",
                decision=DecisionSummary.of(recorded),
            )
        return recorded

    def _refusal(self, question: Question, outgoing: Outgoing, person: Person, now: datetime) -> Decision | None:
        """The Decision that stops us from asking; None if we might get something."""
        case = Case(
            provider=question.service.subsystem,
            requester=question.consumer,
            purpose=question.purpose,
            categories=question.categories,
            consents=person.words,
            at=now,
            emergency=question.emergency,
            mode="query",
        )
        return refusal_in_advance(outgoing.standing, case)

    async def _record_answer(
        self, question: Question, requested: Entry, outgoing: Outgoing, answered: Answered
    ) -> None:
        claims = answered.claims
        decided = claims.decision
        entry = self._entry(
            question,
            outgoing,
            Outcome.PARTIAL if decided is not None and decided.withheld else Outcome.SUCCESS,
            self._exchange.clock(),
            subject=requested.subject,
            response_digest=claims.digest,
            permitted=tuple(sorted(decided.permitted)) if decided else (),
            withheld=tuple(category for category, _ in decided.withheld) if decided else (),
            previous=requested.id,
        )

        def record(connection: Connection) -> Written[None]:
            noticed = keep_response(
                self._exchange,
                connection,
                outgoing.claims.message_id,
                answered.text,
                claims,
                entry,
                answered.registry,
            )
            if keeps(self._exchange, outgoing.service):
                subjects = self._exchange.subjects_of(question.consumer)
                subject = subjects.find(connection, question.locator.system, question.locator.value)
                keep_bodies(connection, outgoing.claims.message_id, subject, response=answered.body)
            return Written(None, (entry, *noticed))

        await self._exchange.log.commit(record)

    async def _record_failure(
        self,
        question: Question,
        requested: Entry,
        problem: ProblemError,
        outgoing: Outgoing,
        answered: Answered | None,
    ) -> None:
        outcome = Outcome.REFUSED if problem.status in {401, 403, 404} else Outcome.FAILED
        decided = problem.decision
        entry = self._entry(
            question,
            outgoing,
            outcome,
            self._exchange.clock(),
            subject=requested.subject,
            reason=problem.code,
            previous=requested.id,
            response_digest=answered.claims.digest if answered is not None else None,
            withheld=tuple(category for category, _ in decided.withheld) if decided else (),
        )

        def record(connection: Connection) -> Written[None]:
            # A refusal that was signed is an answer, and as much evidence as any other.
            noticed: tuple[Entry, ...] = ()
            if answered is not None:
                noticed = keep_response(
                    self._exchange,
                    connection,
                    outgoing.claims.message_id,
                    answered.text,
                    answered.claims,
                    entry,
                    answered.registry,
                )
            return Written(None, (entry, *noticed))

        await self._exchange.log.commit(record)

    def _entry(
        self,
        question: Question,
        outgoing: Outgoing,
        outcome: Outcome,
        at: datetime,
        *,
        subject: str | None,
        reason: str | None = None,
        previous: str | None = None,
        response_digest: str | None = None,
        permitted: tuple[str, ...] = (),
        withheld: tuple[str, ...] = (),
        decision: Decision | None = None,
    ) -> Entry:
        if decision is not None:
            withheld = tuple(sorted(one.category for one in decision.withheld))
        claims = outgoing.claims
        return Story(
            client=question.client,
            user=claims.user,
            node=self._exchange.node,
            recipient=str(question.consumer),
            source=str(question.service.subsystem),
            service=str(question.service),
            message_id=claims.message_id,
            subject=subject,
            purpose=question.purpose,
            rulebook=outgoing.standing.rulebook.digest,
            request_digest=request_digest(outgoing.text),
            trace_id=question.trace_id,
            case=question.case,
        ).entry(
            EntryType.QUERY,
            outcome,
            at,
            categories=Categories(permitted, withheld),
            response_digest=response_digest,
            previous=previous,
            reason=reason,
        )


def _check_words(question: Question, rulebook: Rulebook) -> None:
    """Only words of the rulebook get into messages and the log. Raises `purpose-unknown`, `category-unknown`."""
    if question.purpose not in rulebook.purposes:
        raise ProblemError(
            "purpose-unknown",
            pointer="/purpose",
            detail="the rulebook has no such purpose of use",
            remedy="use one of: " + ", ".join(sorted(rulebook.purposes)),
        )
    if not question.categories <= rulebook.categories.keys():
        raise ProblemError(
            "category-unknown",
            pointer="/categories",
            detail="the rulebook has no such data category",
            remedy="use some of: " + ", ".join(sorted(rulebook.categories)),
        )


def _bundle(body: bytes) -> dict[str, Any]:
    """A signature says who answered, not that the answer can be read."""
    try:
        bundle = orjson.loads(body)
    except orjson.JSONDecodeError:
        bundle = None
    if not isinstance(bundle, dict):
        raise ProblemError("peer-answer-invalid", detail="the other node's signed answer is not a JSON object")
    return bundle


def _query_body(question: Question) -> bytes:
    body: dict[str, Any] = {"subject": {"system": question.locator.system, "value": question.locator.value}}
    if question.emergency is not None:
        body["emergency"] = {"justification": question.emergency.justification}
    return orjson.dumps(body)
