"""Put a case before the rulebook: who asks whom, for what, about whom.

The rules are the rulebook's, and `consent.deciding.decision` applies them. Here the values of the registry and of the
canonical bundle become the values that it decides on. Facts come from the provider's own record of the person, never
from the one who asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, Literal

from consent.deciding.decision import decide
from consent.deciding.verdicts import Decision, legal_day
from consent.rules.law import Rulebook
from consent.rules.request import Emergency, Party, Request, SubjectFacts, Way
from consent.rules.standing import StandingRequest
from consent.words.consents import ConsentRecord
from consent.words.givers import years
from gateway.registry.read.registry import Registry
from gateway.registry.read.standing import Standing
from gateway.wire.identifiers import SubsystemId
from schemas.codes import code_system
from schemas.facts import BundleFacts, Period, read_facts

#: How many requests that are possible are remembered; beyond it the memory starts anew.
MOST_REMEMBERED = 10_000


def facts_of(bundle: dict[str, Any], registry: Registry, at: datetime) -> SubjectFacts:
    """What the record says about the person, as far as a legal basis can depend on it."""
    municipality = _municipality(read_facts(bundle), at)
    return facts_in(bundle, registry.county_of(municipality, at) if municipality else None, at)


def _municipality(stated: BundleFacts, at: datetime) -> str | None:
    """The municipality of residence by the code that it has now: of one that was merged, that of its successor."""
    if stated.municipality is None:
        return None
    return code_system("municipality").current(stated.municipality, legal_day(at))


def facts_in(bundle: dict[str, Any], county: str | None, at: datetime) -> SubjectFacts:
    """The same with the county of the municipality at hand. Ages are by the Finnish calendar, as acts are."""
    stated = read_facts(bundle)
    ages = _ages(stated.born, legal_day(at))
    return SubjectFacts(
        permit_ground=stated.permit_ground,
        permit_granted=stated.permit_granted,
        age=min(ages, default=None),
        may_be_a_year_older=len(ages) > 1 or None,
        municipality=_municipality(stated, at),
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
        within_three_years=_within(stated.first_permit, legal_day(at)),
        assessment_due=stated.assessment_due,
        county_takes_part=stated.county_takes_part,
        plan_made_in_time=_made_in_time(stated),
        directed=stated.directed,
        trafficking_victim=stated.trafficking_victim,
        cannot_permit=stated.cannot_permit,
        evident_need=stated.evident_need,
        childs_interest=stated.childs_interest,
        client_of_social_care=stated.client_of_social_care,
        social_assistance=_paid(stated.social_assistance, legal_day(at)),
        home_care_allowance=_paid(stated.home_care_allowance, legal_day(at)),
        deceased=stated.has_died(legal_day(at)),
    )


#: For how long after the first permit the law asks for an assessment and a plan (681/2023, sections 14 and 20).
YEARS = 3


def _within(first: date | None, day: date) -> bool | None:
    """Whether at most three years have passed since the first permit. One that begins later has not begun."""
    if first is None or first > day:
        return None
    return years(first, day) < YEARS or (
        day.year - first.year == YEARS and (day.month, day.day) == (first.month, first.day)
    )


def _paid(period: Period | None, day: date) -> bool | None:
    """Whether a benefit is paid on a day; None of one of which the record says nothing."""
    return None if period is None else period.covers(day)


def _made_in_time(stated: BundleFacts) -> bool | None:
    """Whether a plan was made within the three years; of a victim of trafficking whether one was made at all."""
    made = [period.first for period in stated.integration_plans if period.first is not None]
    if stated.trafficking_victim and made:
        return True
    if stated.first_permit is None or not made:
        return None
    return any(bool(_within(stated.first_permit, first)) for first in made)


def _ages(born: Period | None, on: date) -> set[int]:
    """The ages that a person may have who was born on one of these days, of which one to come is none."""
    if born is None or born.first is None or born.last is None:
        return set()
    return {years(born.first, on), years(max(born.first, min(born.last, on)), on)}


def party(registry: Registry, subsystem: SubsystemId, role: str, at: datetime) -> Party:
    """A member as the rulebook sees it: its role and the territory it serves."""
    territory = registry.territory_of(subsystem, at)
    return Party(
        role=role,
        member=str(subsystem.member),
        municipalities=territory.municipalities,
        counties=territory.counties,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is decided: who gets what from whom, for what, about whom, at which moment.

    `facts` None means that the record has not been seen yet, `is_complete` False that only a part of it has: then a
    Decision may be `possible`. `mode` says by which way the data would go, where a basis tells ways apart, and
    `declared` holds facts that whoever asks has declared.
    """

    provider: SubsystemId
    requester: SubsystemId
    purpose: str
    categories: frozenset[str]
    at: datetime
    facts: SubjectFacts | None = None
    consents: Sequence[ConsentRecord] = ()
    emergency: Emergency | None = None
    is_complete: bool = True
    mode: Literal["handover", "query"] | None = None
    declared: Mapping[str, object] = field(default_factory=dict)
    #: What came to the provider under the condition that it is not disclosed onward.
    restricted: frozenset[str] = frozenset()
    #: What the provider says to give by a word of the person.
    by_word: frozenset[str] = frozenset()


def decide_between(registry: Registry, rulebook: Rulebook, case: Case) -> Decision:
    """Decide for the roles that both have at that moment; of several roles, those that permit the most."""
    best: Decision | None = None
    asked: tuple[StandingRequest, ...] = ()
    if case.mode == "handover":
        asked = registry.standing_requests(case.requester.member, case.at)
    for from_role in sorted(registry.roles_of(case.provider, case.at)) or [""]:
        for to_role in sorted(registry.roles_of(case.requester, case.at)) or [""]:
            decision = decide(
                Request(
                    provider=party(registry, case.provider, from_role, case.at),
                    requester=party(registry, case.requester, to_role, case.at),
                    purpose=case.purpose,
                    categories=case.categories,
                    facts=case.facts,
                    known=case.is_complete and case.facts is not None,
                    emergency=case.emergency,
                    way=Way(case.mode) if case.mode is not None else Way.QUERY,
                    standing=asked,
                    restricted=case.restricted,
                    by_word=case.by_word,
                ),
                rulebook,
                case.consents,
                case.at,
            )
            if best is None or len(decision.permitted) > len(best.permitted):
                best = decision
    assert best is not None
    return best


def refusal_in_advance(standing: Standing, case: Case) -> Decision | None:
    """Could the requester ever get any of it, nothing being known of the person? None if so, else the Decision.

    Without consents the answer is the same for everybody until the day ends or the registry or rulebook changes, so a
    request that was found possible is not worked out again.
    """
    # Acts are in force by the Finnish calendar, roles by that of the registry.
    days = (legal_day(case.at), case.at.date())
    key = (case.provider, case.requester, case.purpose, case.categories, *days, case.emergency is not None, case.mode)
    if not case.consents and key in standing.possible:
        return None
    decision = decide_between(standing.registry, standing.rulebook, replace(case, facts=None))
    if not decision.permitted:
        return decision
    if not case.consents:
        if len(standing.possible) >= MOST_REMEMBERED:
            standing.possible.clear()
        standing.possible.add(key)
    return None
