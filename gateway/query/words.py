"""By which words of the person an answer goes: said by whoever gives it, and checked by whoever gets it.

An answer states, for each category that a permission or consent carries, what a delivery would state of it. The asker
holds it against its own rulebook, keeps it, and finds by it what a later withdrawal is about. A peer that does not take
this form is told nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from consent.deciding.verdicts import Decision, legal_day
from consent.rules.request import Emergency, SubjectFacts
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
from gateway.person.values import Person
from gateway.wire.message import ResponseClaims, Words
from gateway.wire.problems import ProblemError
from schemas.facts import identifiers
from schemas.projection import categories_in


def words_of(incoming: Incoming, decision: Decision, kept: frozenset[str], person: Person) -> Words | None:
    """What the asker is told of the words that carry what it gets; None if it does not take that."""
    if version_for(incoming.registry, incoming.claims.issuer.member) < IN_ANSWERS:
        return None
    found, covers = carriers(decision, incoming.rulebook, person.words), incoming.rulebook.covers
    # What is permitted as a whole may be there by its parts only.
    there = {category for category in found if any(covers(frozenset({category}), part) for part in kept)}
    return {category: word for category, word in found.items() if category in there}


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer as its asker judges it: by which words it goes, what it gives, by what it names its person, if it does,
    and by which decision we take it in.
    """

    words: tuple[Carrier, ...]
    categories: frozenset[str]
    named: tuple[tuple[str, str], ...]
    decision: Decision


def judged(emergency: Emergency | None, outgoing: Outgoing, claims: ResponseClaims, bundle: dict[str, Any]) -> Judged:
    """Check by which words an answer goes, and decide on what came.

    Raises ProblemError `peer-answer-invalid`: what nothing gives us we do not take in, whoever signed it.
    """
    try:
        # An answer may hold nothing of what it permits, not even whom it is about.
        is_empty = bundle.get("resourceType") == "Bundle" and bundle.get("entry") == []
        facts = SubjectFacts() if is_empty else facts_of(bundle, outgoing.standing.registry, claims.issued_at)
        given = _Given(claims.issued_at, categories_in(bundle), facts, emergency)
        named = () if is_empty else tuple((known.system, known.value) for known in identifiers(bundle))
    except (ValueError, LookupError, TypeError, AttributeError):
        # A signature says who answered, not that it is a record. No schema tells: one that was minimised may lack much.
        raise ProblemError("peer-answer-invalid", detail="the other node's signed answer is not a record") from None
    stated, decision = _checked(outgoing, claims, given)
    return Judged(stated, given.categories, named, decision)


def _checked(outgoing: Outgoing, claims: ResponseClaims, given: _Given) -> tuple[tuple[Carrier, ...], Decision]:
    """The words by which an answer says that it goes, if our own rulebook lets them carry it; our decision by them."""
    if claims.words is None and not _tells_words(outgoing):
        return (), _decided(outgoing, given, ())
    permitted = claims.decision.permitted if claims.decision is not None else frozenset()
    try:
        stated = read({"wrd": claims.words or {}}, claims.issued_at)
        if not permitted.issuperset(carrier.category for carrier in stated):
            raise ProblemError("not-permitted", detail="a word carries a category that the answer does not give")
        decision = _decided(outgoing, given, stated)
        # What was permitted and is not there did not go by any word.
        if stated or _needs_words(outgoing, given):
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
    """What an answer gives: when, which categories, what it says of the person, and why it was said not to wait."""

    at: datetime
    categories: frozenset[str]
    facts: SubjectFacts
    emergency: Emergency | None


def _needs_words(outgoing: Outgoing, given: _Given) -> bool:
    """Whether our rulebook, in the roles that both have, gives any of it by a word only; else nothing is to check."""
    registry, rulebook, day = outgoing.standing.registry, outgoing.standing.rulebook, legal_day(given.at)
    triples = [
        (provider, requester, outgoing.claims.purpose)
        for provider in registry.roles_of(outgoing.service.id.subsystem, given.at)
        for requester in registry.roles_of(outgoing.claims.issuer, given.at)
    ]
    return any(
        all(basis.needs_word for triple in triples for basis in rulebook.carriers(triple, category, day))
        for category in given.categories
    )


def _decided(outgoing: Outgoing, given: _Given, stated: tuple[Carrier, ...]) -> Decision:
    standing, sender = outgoing.standing, outgoing.service.id.subsystem
    towards = Towards(outgoing.claims.purpose, outgoing.claims.issuer.member, sender)
    case = Case(
        provider=sender,
        requester=outgoing.claims.issuer,
        purpose=outgoing.claims.purpose,
        categories=given.categories,
        facts=given.facts,
        consents=as_words(stated, towards),
        at=given.at,
        emergency=given.emergency,
        # What was withheld may be what a condition asks about, so a fact that is not there may still hold.
        is_complete=False,
        mode="query",
        by_word=frozenset(carrier.category for carrier in stated),
    )
    return decide_between(standing.registry, standing.rulebook, case)


def _check_carried(outgoing: Outgoing, decision: Decision, given: _Given, stated: tuple[Carrier, ...]) -> None:
    rulebook = outgoing.standing.rulebook
    carried = frozenset(permitted.category for permitted in decision.permitted if is_carried(permitted))
    beyond = sorted(category for category in given.categories if not rulebook.covers(carried, category))
    if beyond:
        raise ProblemError("not-permitted", detail=f"nothing gives {', '.join(beyond)} without a word of the person")
    check_sections(decision, rulebook, stated)
