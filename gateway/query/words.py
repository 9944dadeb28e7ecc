"""By which words of the person an answer goes: said by whoever gives it, and checked by whoever gets it.

An answer states, for each category that a permission or consent carries, what a delivery would state of it. The asker
holds it against its own rulebook, keeps it, and finds by it what a later withdrawal is about. A peer that does not take
this form is told nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from consent.deciding.verdicts import Decision, legal_day
from consent.rules.law import Basis
from consent.rules.request import Emergency
from gateway.exchange.deciding import Case, decide_between, facts_of
from gateway.exchange.messaging import Outgoing
from gateway.exchange.opening import Incoming
from gateway.handover.carrying import (
    IN_ANSWERS,
    Carrier,
    Towards,
    as_words,
    carriers,
    check_sections,
    is_carried,
    read,
    version_for,
)
from gateway.obligations.arising import DUTIES
from gateway.person.values import Person
from gateway.wire.message import ResponseClaims, Words
from gateway.wire.problems import ProblemError
from schemas.projection import categories_in


def words_of(incoming: Incoming, decision: Decision, kept: frozenset[str], person: Person) -> Words | None:
    """What the asker is told of the words that carry what it gets; None if it does not take that."""
    if version_for(incoming.registry, incoming.claims.issuer.member) < IN_ANSWERS:
        return None
    found = carriers(decision, incoming.rulebook, person.words)
    return {category: word for category, word in found.items() if category in kept}


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer as its asker judges it: by which words it goes, what it gives, and our decision if one was needed."""

    words: tuple[Carrier, ...]
    categories: frozenset[str]
    bundle: dict[str, Any]
    decision: Decision | None = None


def judged(emergency: Emergency | None, outgoing: Outgoing, claims: ResponseClaims, bundle: dict[str, Any]) -> Judged:
    """Check by which words an answer goes, and decide on it where something comes with it.

    Raises ProblemError `peer-answer-invalid`: what nothing gives us we do not take in, whoever signed it.
    """
    categories = categories_in(bundle)
    bases = _bases(outgoing, claims.issued_at, categories)
    given = _Given(claims.issued_at, categories, bases, bundle, emergency)
    words, decision = _checked(outgoing, claims, given)
    if decision is None and _brings_duties(outgoing, given):
        decision = _decided(outgoing, given, words)
    return Judged(words, given.categories, bundle, decision)


def _checked(outgoing: Outgoing, claims: ResponseClaims, given: _Given) -> tuple[tuple[Carrier, ...], Decision | None]:
    """The words by which an answer says that it goes, if our own rulebook lets them carry it."""
    if claims.words is None and not _tells_words(outgoing):
        return (), None
    permitted = claims.decision.permitted if claims.decision is not None else frozenset()
    try:
        stated = read({"wrd": claims.words or {}}, claims.issued_at)
        if not permitted.issuperset(carrier.category for carrier in stated):
            raise ProblemError("not-permitted", detail="a word carries a category that the answer does not give")
        # What was permitted and is not there did not go by any word.
        decision = _decided(outgoing, given, stated) if stated or _needs_words(given) else None
        if decision is not None:
            _check_carried(outgoing, decision, given, stated)
    except ProblemError as problem:
        raise ProblemError(
            "peer-answer-invalid",
            detail=f"the answer says by which words of the person it goes, and they do not carry it: {problem.detail}",
            remedy="ask the other organisation by which provision it gives the data",
        ) from None
    return stated, decision


def _tells_words(outgoing: Outgoing) -> bool:
    """Whether both sides list the version in which an answer states its words: leaving them out is then a statement."""
    registry = outgoing.standing.registry
    members = (outgoing.service.id.member, outgoing.claims.issuer.member)
    return all(version_for(registry, member) >= IN_ANSWERS for member in members)


@dataclass(frozen=True, slots=True)
class _Given:
    """What an answer gives: when, which categories, the bases that our rulebook has for each, and the bundle."""

    at: datetime
    categories: frozenset[str]
    bases: tuple[list[Basis], ...]
    bundle: dict[str, Any]
    emergency: Emergency | None


def _bases(outgoing: Outgoing, at: datetime, categories: Iterable[str]) -> tuple[list[Basis], ...]:
    """What our rulebook has for each category, in the roles that both have."""
    registry, rulebook, day = outgoing.standing.registry, outgoing.standing.rulebook, legal_day(at)
    triples = [
        (provider, requester, outgoing.claims.purpose)
        for provider in registry.roles_of(outgoing.service.id.subsystem, at)
        for requester in registry.roles_of(outgoing.claims.issuer, at)
    ]
    return tuple(
        [basis for triple in triples for basis in rulebook.carriers(triple, category, day)] for category in categories
    )


def _needs_words(given: _Given) -> bool:
    """Whether our rulebook gives any of it by a word only; where it does not, there is nothing to check."""
    return any(all(basis.needs_word for basis in bases) for bases in given.bases)


def _brings_duties(outgoing: Outgoing, given: _Given) -> bool:
    """Whether anything can come with it that a human, or this node, has to see to."""
    if not outgoing.standing.rulebook.obligations:
        return False
    return any(not DUTIES.isdisjoint(basis.obligations) for bases in given.bases for basis in bases)


def _decided(outgoing: Outgoing, given: _Given, stated: tuple[Carrier, ...]) -> Decision:
    standing, sender = outgoing.standing, outgoing.service.id.subsystem
    towards = Towards(outgoing.claims.purpose, outgoing.claims.issuer.member, sender)
    case = Case(
        provider=sender,
        requester=outgoing.claims.issuer,
        purpose=outgoing.claims.purpose,
        categories=given.categories,
        facts=facts_of(given.bundle, standing.registry, given.at),
        consents=as_words(stated, towards),
        at=given.at,
        emergency=given.emergency,
        # What was withheld may be what a condition asks about, so a fact that is not there may still hold.
        is_complete=False,
        mode="query",
    )
    return decide_between(standing.registry, standing.rulebook, case)


def _check_carried(outgoing: Outgoing, decision: Decision, given: _Given, stated: tuple[Carrier, ...]) -> None:
    rulebook = outgoing.standing.rulebook
    carried = frozenset(permitted.category for permitted in decision.permitted if is_carried(permitted))
    beyond = sorted(category for category in given.categories if not rulebook.covers(carried, category))
    if beyond:
        raise ProblemError("not-permitted", detail=f"nothing gives {', '.join(beyond)} without a word of the person")
    check_sections(decision, rulebook, stated)
