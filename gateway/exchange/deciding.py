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
from consent.decision import Decision, Emergency, Party, Request, SubjectFacts, decide
from consent.rulebook import Rulebook
from gateway.protocol.identifiers import SubsystemId
from gateway.trust.registry import Registry
from schemas.facts import read_facts


def facts_of(bundle: dict[str, Any], registry: Registry, at: datetime) -> SubjectFacts:
    """What the record says about the person, as far as a legal basis can depend on it."""
    stated = read_facts(bundle)
    county = registry.county_of(stated.municipality, at) if stated.municipality else None
    return SubjectFacts(
        permit_ground=stated.permit_ground,
        permit_granted=stated.permit_granted,
        age=_age(stated.birth_date, at.date()) if stated.birth_date else None,
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
