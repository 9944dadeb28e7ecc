"""Answer one message from another organisation: the provider's side, from top to bottom.

`Provider.answer` is the whole story of a query. Each stage either hands on to the next or refuses with a named
problem, in this order and no other: is the registry valid, is the message what it claims to be, is it new, what does
it ask for, could the one who asks ever get any of it, what does the source hold, may it move now, what of it may
move, is that on record. Only then does anything leave.

Messages that bring something instead of asking (a handover, an acceptance, a notice) pass the same first four stages
and are then received by `gateway.handover.receive`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from consent.deciding.verdicts import Decision
from consent.rules.request import SubjectFacts
from gateway.exchange.context import Exchange
from gateway.exchange.deciding import Case, decide_between, facts_of, refusal_in_advance
from gateway.exchange.opening import (
    Answer,
    Incoming,
    PeerCall,
    check_in_time,
    check_purpose,
    check_still_vouched,
    open_message,
)
from gateway.exchange.rates import IN_VAIN, Asker
from gateway.exchange.releasing import Refusal, Release, Withheld, record_refusal, record_release
from gateway.exchange.telling import ABOUT_A_PERSON, is_own, not_available, told, wait_until_step
from gateway.handover.receive import Reception
from gateway.person.held import HeldKind
from gateway.person.values import Named
from gateway.query.words import words_of
from gateway.sources.backends import Locator, Sourced, read_query
from gateway.wire.decided import DecisionSummary
from gateway.wire.problems import ProblemError
from schemas.catalogue import catalogue
from schemas.facts import check_single_subject, identifiers
from schemas.projection import project

#: Statuses of refusals that were decided about a person.
_NOTHING_GIVEN = frozenset({403, 404, 409})
Pause = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Read:
    """A record as it was read: its bundle, whom it is about, and what it says that a legal basis may depend on."""

    bundle: dict[str, Any]
    named: Named
    facts: SubjectFacts
    #: The version of the adapter that mapped it.
    made_by: str = ""


class Provider:
    """The node's answer to its peers."""

    def __init__(self, exchange: Exchange, reception: Reception, pause: Pause = asyncio.sleep) -> None:
        self._exchange = exchange
        self._reception = reception
        self._pause = pause

    async def answer(self, call: PeerCall) -> Answer:
        """Answer a peer's message. Refusals are answers too: signed, with a problem as their body, and on record."""
        arrived = time.monotonic()
        with self._exchange.log.under_way():
            answer = await self._answer(open_message(self._exchange, call))
        if answer.is_held_back:
            # Outside of what the log waits for: how long it took says whether there was a record to read.
            await self._pause(wait_until_step(time.monotonic() - arrived))
        return answer

    async def _answer(self, incoming: Incoming) -> Answer:
        try:
            if incoming.service.kind != "query":
                return await self._reception.receive(incoming)
            return await self._counted(incoming)
        except ProblemError as problem:
            return await record_refusal(self._exchange, incoming, problem)

    async def _counted(self, incoming: Incoming) -> Answer:
        """A query, if its asker has not asked too much; persons of whom it gets nothing count most."""
        claims = incoming.claims
        asker = Asker(str(claims.issuer.member), claims.user, claims.purpose)
        locator, justification = read_query(incoming.body)
        self._exchange.rates.spend(asker, is_emergency=justification is not None)
        try:
            answer = await self._query(incoming.with_emergency(justification), locator)
        except ProblemError as problem:
            if problem.code in IN_VAIN:
                self._exchange.rates.in_vain(asker, self._exchange.reference(locator))
            raise
        if answer.status in _NOTHING_GIVEN:
            self._exchange.rates.in_vain(asker, self._exchange.reference(locator))
        return answer

    async def _query(self, incoming: Incoming, locator: Locator) -> Answer:
        check_purpose(incoming)
        self._admit(incoming)
        # Before the source is asked: afterwards it would be told of those alone who have a record.
        check_in_time(self._exchange, incoming, self._exchange.log.expected_wait)
        try:
            return await self._about(incoming, locator)
        except ProblemError as problem:
            if problem.code not in ABOUT_A_PERSON:
                raise
            return await self._nothing(incoming, problem)

    async def _about(self, incoming: Incoming, locator: Locator) -> Answer:
        """Answer from the person's record. From here on a refusal would say whether there is one."""
        sourced = await self._fetch(incoming, locator)
        self._validate(sourced)
        self._same_person(sourced, locator)
        subsystem = incoming.service.id.subsystem
        register = self._exchange.register_of(incoming.service.id)
        named = Named.in_record(str(subsystem.member), sourced.bundle, register, sourced.key)
        facts = facts_of(sourced.bundle, incoming.registry, incoming.now)

        def decided(connection: Connection) -> Release | Withheld:
            read = Read(sourced.bundle, named, facts, sourced.made_by)
            return self._decided(connection, self._as_of_now(incoming), read)

        answer = await record_release(self._exchange, decided)
        if isinstance(answer, Withheld):
            return await self._nothing(answer.incoming, answer.problem, named, answer.decision)
        return answer

    def _decided(self, connection: Connection, incoming: Incoming, read: Read) -> Release | Withheld:
        """May it move now, and what of it? In the transaction that records the release, under the log's lock."""
        # No word about the person can come in between: what is decided here is what is released.
        person = self._exchange.people.recall_in(connection, read.named)
        case = replace(_case(incoming), facts=read.facts, consents=person.words, restricted=person.restricted)
        decision = decide_between(incoming.registry, incoming.rulebook, case)
        if person.conflict is not None and not decision.emergency:
            # The record may be about two persons: it waits for a human or for the source, an emergency does not.
            # Nothing of it may move, and nothing else waits with it.
            problem, entries = self._exchange.held.hold(connection, person, HeldKind.QUERY)
            return Withheld(incoming, problem, decision, entries)
        if not decision.permitted:
            problem = ProblemError(
                "not-permitted", detail="no legal basis lets any of it move", decision=DecisionSummary.of(decision)
            )
            return Withheld(incoming, problem, decision)
        check_still_vouched(self._exchange, incoming)
        projection = project(read.bundle, decision.permitted_categories)
        words = words_of(incoming, decision, projection.kept, person)
        return Release(incoming, person, decision, projection, words, read.made_by)

    async def _nothing(
        self, incoming: Incoming, problem: ProblemError, named: Named | None = None, decision: Decision | None = None
    ) -> Answer:
        """Put on record why nothing is given; another organisation is told the same whatever the reason is."""
        if is_own(incoming):
            return await record_refusal(self._exchange, incoming, problem, named=named, decision=decision)
        refusal = Refusal(problem, not_available(incoming))
        answer = await record_refusal(self._exchange, incoming, refusal, named=named, decision=decision)
        return replace(answer, is_held_back=True)

    def _as_of_now(self, incoming: Incoming) -> Incoming:
        """The same message under the rulebook that stands now: it may have changed while the source was read."""
        standing = self._exchange.standing(self._exchange.clock())
        if standing.rulebook.digest == incoming.rulebook.digest:
            return incoming
        check_still_vouched(self._exchange, incoming)
        return replace(incoming, registry=standing.registry, rulebook=standing.rulebook)

    def _admit(self, incoming: Incoming) -> None:
        """Could this requester, for this purpose, ever get any of it? If not, the source is not even asked."""
        refusal = refusal_in_advance(self._exchange.standing(incoming.now), _case(incoming))
        if refusal is not None:
            raise ProblemError(
                "not-permitted",
                detail="no legal basis gives any of these categories to this requester for this purpose",
                decision=told(incoming, refusal),
            )

    async def _fetch(self, incoming: Incoming, locator: Locator) -> Sourced:
        backend = self._exchange.backends.get(incoming.service.id)
        if backend is None:
            raise ProblemError("service-disabled", detail="this node has no source system behind the service")
        with self._exchange.telemetry.stage("fetch"):
            return await backend.fetch(locator)

    def _validate(self, sourced: Sourced) -> None:
        # Whoever mapped it, ours or not, did so in a process that read foreign bytes: its word is not taken.
        findings = catalogue().validate_bundle(sourced.bundle) or check_single_subject(sourced.bundle)
        if findings:
            raise ProblemError(
                "source-invalid",
                detail="the source's record breaks the schema: "
                + "; ".join(f"{finding.pointer} {finding.code}" for finding in findings[:5]),
            )

    def _same_person(self, sourced: Sourced, locator: Locator) -> None:
        if not any(
            (identifier.system, identifier.value) == (locator.system, locator.value)
            for identifier in identifiers(sourced.bundle)
        ):
            raise ProblemError("source-invalid", detail="the source answered with another person's record")


def _case(incoming: Incoming) -> Case:
    """What the message asks, while nothing is known of the person."""
    return Case(
        provider=incoming.service.id.subsystem,
        requester=incoming.claims.issuer,
        purpose=incoming.claims.purpose,
        categories=frozenset(incoming.claims.categories),
        at=incoming.now,
        emergency=incoming.emergency,
        mode="query",
    )
