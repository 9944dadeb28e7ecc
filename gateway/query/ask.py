"""Ask another organisation: the consumer's side of a query, from top to bottom.

Resolve the service, decide whether we would even be allowed to ask, sign, record, send, verify the answer, record it,
and only then give it to the client. A question is itself a disclosure (it says that we know the person), so it is on
record before it leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection

from audit.log.entries import Categories, Entry, EntryType, Outcome
from audit.log.waiting import Written
from audit.questions.subjects import Subject
from consent.deciding.verdicts import Decision
from consent.rules.law import Rulebook
from consent.rules.request import Emergency
from gateway.exchange.context import Exchange
from gateway.exchange.deciding import Case, refusal_in_advance
from gateway.exchange.holding import Answered, basis_and_consents, keep_bodies, keep_reason, keep_response
from gateway.exchange.messaging import (
    Message,
    Outgoing,
    keep_request,
    keeps,
    prepare,
    refused_by_peer,
    resolve,
    send,
    verified,
)
from gateway.handover.carrying import Answering, keep
from gateway.obligations.arising import Moved
from gateway.obligations.receiving import taken_in
from gateway.person.values import Person
from gateway.query.words import Judged, judged
from gateway.sources.backends import Locator
from gateway.story import Story, came_to
from gateway.wire.decided import DecisionSummary
from gateway.wire.identifiers import ServiceId, SubsystemId
from gateway.wire.message import ResponseClaims
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


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question that is on record: `named` is by what it names its person, `subject` the id that the person is filed
    under, `entry` that of its entry.
    """

    outgoing: Outgoing
    story: Story
    named: tuple[str, str]
    subject: str
    entry: str


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
        message = Message(
            consumer=question.consumer,
            service=service,
            purpose=question.purpose,
            categories=question.categories,
            body=_query_body(question),
            case=question.case,
            user=question.user,
        )
        outgoing = prepare(self._exchange, standing, message, now)
        asked = await self._record_request(question, outgoing, now)
        answered: Answered | None = None
        try:
            reply = await send(self._exchange, outgoing, question.trace)
            answered = verified(self._exchange, outgoing, reply)
            if answered.claims.status != 200:
                raise refused_by_peer(reply.body, answered.claims.decision)
            bundle = _bundle(reply.body)
            found = judged(question.emergency, outgoing, answered.claims, bundle)
        except ProblemError as problem:
            await self._record_failure(asked, problem, answered)
            raise
        await self._record_answer(asked, answered, found)
        return Reading(outgoing.claims.message_id, bundle, answered.claims)

    async def _record_request(self, question: Question, outgoing: Outgoing, now: datetime) -> _Asked:
        """Decide and record in one transaction: whether we may ask at all, by the consents as they stand in it."""
        named = self._exchange.looked_for(question.consumer, question.locator.system, question.locator.value)
        told = self._story(question, outgoing)

        def record(connection: Connection) -> Written[_Asked | Decision]:
            person = self._exchange.people.recall_in(connection, named)
            refusal = self._refusal(question, outgoing, person, now)
            subject = self._exchange.people.file_as(connection, person, now).subject
            story = replace(told, subject=subject.pseudonym)
            if refusal is not None:
                withheld = Categories((), tuple(sorted(withheld.category for withheld in refusal.withheld)))
                refused = story.entry(
                    EntryType.QUERY, Outcome.REFUSED, now, categories=withheld, reason="not-permitted"
                )
                return Written(refusal, (refused,))
            entry = story.entry(EntryType.QUERY, Outcome.REQUESTED, now)
            keep_request(connection, outgoing, entry)
            if keeps(self._exchange, outgoing.service):
                keep_bodies(connection, outgoing.claims.message_id, subject, request=outgoing.body)
            if question.emergency is not None and question.service.subsystem not in self._exchange.subsystems:
                # For the review of the access here; of a service of our own, the side that answers keeps it.
                keep_reason(connection, outgoing.claims.message_id, subject, question.emergency)
            whom = question.locator.system, question.locator.value
            return Written(_Asked(outgoing, story, whom, subject.id, entry.id), (entry,))

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

    async def _record_answer(self, asked: _Asked, answered: Answered, found: Judged) -> None:
        decided, outgoing = answered.claims.decision, asked.outgoing
        # What really came, and by what we decide to take it in: whoever answers says neither.
        bases, consents = basis_and_consents(found.decision)
        entry = asked.story.entry(
            EntryType.BREAK_GLASS if found.decision.emergency else EntryType.QUERY,
            Outcome.PARTIAL if decided is not None and decided.withheld else Outcome.SUCCESS,
            self._exchange.clock(),
            categories=Categories(tuple(sorted(found.categories)), _withheld(decided)),
            bases=bases,
            consents=consents,
            response_digest=answered.claims.digest,
            previous=asked.entry,
        )

        def record(connection: Connection) -> Written[None]:
            subject = self._filed(connection, asked, found, entry.recorded)
            told = entry if subject is None else replace(entry, subject=subject.pseudonym)
            noticed = keep_response(self._exchange, connection, outgoing.claims.message_id, answered, told)
            if keeps(self._exchange, outgoing.service):
                keep_bodies(connection, outgoing.claims.message_id, subject, response=answered.body)
            answering = Answering(str(outgoing.service.id.subsystem), asked.subject if subject is None else subject.id)
            keep(connection, outgoing.claims.message_id, found.words, answering)
            arising = () if subject is None else self._arising(connection, asked, found, subject, told)
            return Written(None, (told, *noticed, *arising))

        await self._exchange.log.commit(record)

    def _filed(self, connection: Connection, asked: _Asked, found: Judged, now: datetime) -> Subject | None:
        """Whom the answer is filed under: it is found under each identifier that it names, and joins nobody.

        None where the person was forgotten while we waited.
        """
        subjects = self._exchange.subjects_of(asked.outgoing.claims.issuer)
        subject = subjects.by_id(connection, asked.subject)
        named = sorted({*found.named} - {asked.named})
        return None if subject is None else subjects.answered(connection, subject, named, now)

    def _arising(
        self, connection: Connection, asked: _Asked, found: Judged, subject: Subject, entry: Entry
    ) -> tuple[Entry, ...]:
        """What comes with the answer."""
        outgoing, rulebook = asked.outgoing, asked.outgoing.standing.rulebook
        moved = Moved(
            decision=found.decision,
            rulebook=rulebook,
            categories=found.categories,
            facts=found.decision.request.facts,
            subject=subject,
            under=self._exchange.subjects.found_under(connection, [subject.id]),
            # An answer need not say of whom it is; the question did.
            named=list(dict.fromkeys((asked.named, *found.named))),
            ours=outgoing.claims.issuer.member,
            party=outgoing.service.id.subsystem,
            message=outgoing.claims.message_id,
            purpose=outgoing.claims.purpose,
        )
        return taken_in(self._exchange, connection, moved, entry)

    async def _record_failure(self, asked: _Asked, problem: ProblemError, answered: Answered | None) -> None:
        entry = asked.story.entry(
            EntryType.QUERY,
            came_to(problem) if problem.status in {401, 403, 404} else Outcome.FAILED,
            self._exchange.clock(),
            categories=Categories((), _withheld(problem.decision)),
            response_digest=answered.claims.digest if answered is not None else None,
            previous=asked.entry,
            reason=problem.code,
        )

        def record(connection: Connection) -> Written[None]:
            # A refusal that was signed is an answer, and as much evidence as any other.
            noticed: tuple[Entry, ...] = ()
            if answered is not None:
                message_id = asked.outgoing.claims.message_id
                noticed = keep_response(self._exchange, connection, message_id, answered, entry)
            return Written(None, (entry, *noticed))

        await self._exchange.log.commit(record)

    def _story(self, question: Question, outgoing: Outgoing) -> Story:
        """Who asks whom, for whom and why; the person is found in the transaction that records it."""
        return Story(
            client=question.client,
            user=question.user,
            node=self._exchange.node,
            recipient=str(question.consumer),
            source=str(question.service.subsystem),
            service=str(question.service),
            message_id=outgoing.claims.message_id,
            purpose=question.purpose,
            rulebook=outgoing.standing.rulebook.digest,
            request_digest=request_digest(outgoing.text),
            trace_id=question.trace_id,
            case=question.case,
        )


def _withheld(decided: DecisionSummary | None) -> tuple[str, ...]:
    return tuple(category for category, _ in decided.withheld) if decided is not None else ()


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
