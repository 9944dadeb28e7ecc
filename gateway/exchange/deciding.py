"""Put a case before the rulebook: who asks whom, for what, about whom.

The rules are the rulebook's, and `consent.decision.decide` applies them. Here the values of the registry and of the
canonical bundle become the values that it decides on. Facts come from the provider's own record of the person, never
from the one who asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from consent.consents import ConsentRecord
from consent.decision import Decision, Emergency, Party, Request, SubjectFacts, decide, legal_day
from consent.rulebook import Rulebook
from gateway.exchange.context import Standing
from gateway.protocol.identifiers import SubsystemId
from gateway.trust.registry import Registry
from schemas.facts import read_facts

#: How many requests that are possible are remembered; beyond it the memory starts anew.
MOST_REMEMBERED = 10_000


def facts_of(bundle: dict[str, Any], registry: Registry, at: datetime) -> SubjectFacts:
    """What the record says about the person, as far as a legal basis can depend on it."""
    municipality = read_facts(bundle).municipality
    return facts_in(bundle, registry.county_of(municipality, at) if municipality else None, at)


def facts_in(bundle: dict[str, Any], county: str | None, at: datetime) -> SubjectFacts:
    """The same with the county of the municipality at hand. Ages are by the Finnish calendar, as acts are."""
    stated = read_facts(bundle)
    return SubjectFacts(
        permit_ground=stated.permit_ground,
        permit_granted=stated.permit_granted,
        age=_age(stated.birth_date, legal_day(at)) if stated.birth_date else None,
        municipality=stated.municipality,
        county=county,
        unaccompanied=stated.unaccompanied,
        has_guardian=stated.has_guardian,
        has_representative=stated.has_representative,
        vulnerable=stated.vulnerable,
        safety_prohibition=stated.safety_prohibition,
        named_recipient=stated.named_recipient,
        moves_independently=stated.moves_independently,
        family_size=stated.family_size,
        plan_in_force=any(period.covers(legal_day(at)) for period in stated.integration_plans) or None,
    )


def _age(born: date, on: date) -> int:
    return on.year - born.year - ((on.month, on.day) < (born.month, born.day))


def party(registry: Registry, subsystem: SubsystemId, role: str, at: datetime) -> Party:
    """A member as the rulebook sees it: its role and the territory it serves."""
    territory = registry.territory_of(subsystem, at)
    return Party(
        role=role,
        member=str(subsystem.member),
        municipalities=territory.municipalities,
        counties=territory.counties,
    )


def decide_between(
    registry: Registry,
    rulebook: Rulebook,
    *,
    provider: SubsystemId,
    requester: SubsystemId,
    purpose: str,
    categories: frozenset[str],
    facts: SubjectFacts | None,
    consents: Sequence[ConsentRecord],
    at: datetime,
    emergency: Emergency | None = None,
    complete: bool = True,
) -> Decision:
    """Decide for the roles that both have at that moment; of several roles, those that permit the most.

    `facts` None means that the record has not been seen yet, `complete` False that only a part of it has: then a
    Decision may be `possible`.
    """
    best: Decision | None = None
    for from_role in sorted(registry.roles_of(provider, at)) or [""]:
        for to_role in sorted(registry.roles_of(requester, at)) or [""]:
            decision = decide(
                Request(
                    provider=party(registry, provider, from_role, at),
                    requester=party(registry, requester, to_role, at),
                    purpose=purpose,
                    categories=categories,
                    facts=facts,
                    known=complete and facts is not None,
                    emergency=emergency,
                ),
                rulebook,
                consents,
                at,
            )
            if best is None or len(decision.permitted) > len(best.permitted):
                best = decision
    assert best is not None
    return best


def refusal_in_advance(
    standing: Standing,
    *,
    provider: SubsystemId,
    requester: SubsystemId,
    purpose: str,
    categories: frozenset[str],
    consents: Sequence[ConsentRecord],
    at: datetime,
    emergency: Emergency | None,
) -> Decision | None:
    """Could the requester ever get any of it, nothing being known of the person? None if so, else the Decision.

    Without consents the answer is the same for everybody until the day ends or the registry or rulebook changes, so a
    request that was found possible is not worked out again.
    """
    # Acts are in force by the Finnish calendar, roles by that of the registry.
    key = (provider, requester, purpose, categories, legal_day(at), at.date(), emergency is not None)
    if not consents and key in standing.possible:
        return None
    decision = decide_between(
        standing.registry,
        standing.rulebook,
        provider=provider,
        requester=requester,
        purpose=purpose,
        categories=categories,
        facts=None,
        consents=consents,
        at=at,
        emergency=emergency,
    )
    if not decision.permitted:
        return decision
    if not consents:
        if len(standing.possible) >= MOST_REMEMBERED:
            standing.possible.clear()
        standing.possible.add(key)
    return None
