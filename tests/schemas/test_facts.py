"""Facts: what a decision can stand on is stated once, by one person, who comes first."""

from __future__ import annotations

import copy
import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from gateway.exchange.deciding import facts_in
from schemas.catalogue import catalogue
from schemas.facts import BundleFacts, check_single_subject, identifiers, read_facts
from schemas.projection import project
from tests.schemas.test_examples import FLOWS, example

EXTENSION = "/entry/0/resource/extension"


def person(bundle: dict[str, Any]) -> dict[str, Any]:
    """The person of a record."""
    resource: dict[str, Any] = bundle["entry"][0]["resource"]
    return resource


def test_the_facts_of_a_record_are_read_and_what_is_not_stated_is_unknown() -> None:
    facts = read_facts(example("F6"))

    assert (facts.permit_ground, facts.permit_granted, facts.municipality) == ("asylum-granted", True, "285")
    assert (facts.unaccompanied, facts.has_representative, facts.has_guardian) == (True, True, None)
    assert facts.born is not None
    assert facts.born.first == facts.born.last
    assert facts.vulnerable is facts.safety_prohibition is facts.family_size is None
    assert [one.value for one in identifiers(example("F1"))] == ["060995-901P", "DEMO-2001"]


@pytest.mark.parametrize("part", ["granted", "ground"])
def test_a_fact_that_is_stated_twice_is_refused_so_that_no_two_readers_differ(part: str) -> None:
    bundle = example("F1")
    permit = person(bundle)["extension"][0]["extension"]
    again = copy.deepcopy(next(one for one in permit if one["url"] == part))
    permit.append(again)

    assert [(one.pointer, one.code) for one in check_single_subject(bundle)] == [
        (f"{EXTENSION}/0/extension/2", "stated-twice")
    ]


def test_an_extension_twice_is_refused_and_two_children_of_one_age_are_not() -> None:
    bundle = example("F5")
    ages = person(bundle)["extension"][2]["extension"]
    ages.append(copy.deepcopy(ages[-1]))
    twice = copy.deepcopy(bundle)
    person(twice)["extension"].append(copy.deepcopy(person(twice)["extension"][0]))

    assert check_single_subject(bundle) == []
    assert [(one.pointer, one.code) for one in check_single_subject(twice)] == [(f"{EXTENSION}/3", "stated-twice")]


def test_a_second_person_or_none_at_the_front_is_refused() -> None:
    bundle = example("F1")
    second = copy.deepcopy(bundle["entry"][0])
    second["resource"]["id"] = "patient-2"

    more = {**bundle, "entry": [*bundle["entry"], second]}
    late = {**bundle, "entry": bundle["entry"][::-1]}

    assert [one.code for one in check_single_subject(more)] == ["one-subject"]
    assert {one.code for one in check_single_subject(late)} == {"subject-first", "one-subject"}


def test_a_person_of_whom_nothing_is_stated_has_no_facts() -> None:
    bundle = {"entry": [{"resource": {"resourceType": "Patient", "id": "patient-1", "identifier": []}}]}

    assert read_facts(bundle) == BundleFacts()
    assert len(FLOWS) == 14


@pytest.mark.parametrize(
    ("changes", "in_force"),
    [
        ({}, True),
        ({"period": {"start": "2026-03-01", "end": "2026-03-01"}}, True),
        ({"period": {"start": "2026-03-02"}}, None),
        ({"period": {"end": "2026-02-28"}}, None),
        ({"status": "draft"}, None),
        ({"category": [{"coding": [{"system": "urn:yhdyspinta:codes:plan-kind", "code": "employment-plan"}]}]}, None),
    ],
    ids=["open", "its one day", "begins tomorrow", "ended yesterday", "a draft", "another plan"],
)
def test_integration_plan_is_in_force_on_the_days_of_its_period(changes: dict[str, Any], in_force: bool | None) -> None:
    bundle = example("F10")
    plan = next(one["resource"] for one in bundle["entry"] if one["resource"]["resourceType"] == "CarePlan")
    plan.update({"period": {}, **changes})

    facts = facts_in(bundle, None, datetime(2026, 3, 1, 12, tzinfo=UTC))

    assert facts.plan_in_force is in_force


def test_record_without_a_plan_does_not_say_that_there_is_one() -> None:
    assert facts_in(example("F1"), None, datetime(2026, 3, 1, 12, tzinfo=UTC)).plan_in_force is None


@pytest.mark.parametrize(
    ("first", "on", "within"),
    [
        ("2023-03-01", "2026-03-01", True),
        ("2023-02-28", "2026-03-01", False),
        ("2026-03-01", "2026-03-01", True),
        ("2026-03-02", "2026-03-01", None),
        (None, "2026-03-01", None),
    ],
)
def test_three_years_are_counted_from_the_first_permit_by_the_finnish_calendar(
    first: str | None, on: str, within: bool | None
) -> None:
    bundle = example("F1")
    permit = bundle["entry"][0]["resource"]["extension"][0]["extension"]
    if first is not None:
        permit.append({"url": "decided", "valueDate": "2000-01-01"})
        permit.append({"url": "first", "valueDate": first})

    facts = facts_in(bundle, None, datetime.fromisoformat(f"{on}T12:00:00+02:00"))

    assert catalogue().validate_bundle(bundle) == []
    assert facts.within_three_years is within


def test_day_of_the_decision_stands_for_the_first_permit_where_there_is_no_other() -> None:
    bundle = example("F1")
    bundle["entry"][0]["resource"]["extension"][0]["extension"].append({"url": "decided", "valueDate": "2025-06-01"})

    assert facts_in(bundle, None, datetime(2026, 3, 1, tzinfo=UTC)).within_three_years is True


def test_what_the_law_turns_on_can_be_said_in_a_record() -> None:
    bundle = example("F1")
    said = bundle["entry"][0]["resource"]["extension"]
    said[1]["extension"].append({"url": "directed", "valueBoolean": True})
    parts = ("assessment-due", "county-takes-part", "evident-need", "childs-interest", "client-of-social-care")
    said.append(
        {
            "url": "urn:yhdyspinta:extension:integration",
            "extension": [{"url": part, "valueBoolean": True} for part in parts],
        }
    )

    facts = facts_in(bundle, None, datetime(2026, 3, 1, tzinfo=UTC))

    assert catalogue().validate_bundle(bundle) == []
    assert (facts.directed, facts.assessment_due, facts.county_takes_part) == (True, True, True)
    assert facts.childs_interest is True
    assert (facts.evident_need, facts.client_of_social_care, facts.trafficking_victim) == (True, True, None)


@pytest.mark.parametrize(
    ("parts", "paid"),
    [
        ({"from": "2026-02-01"}, True),
        ({"from": "2026-02-01", "until": "2026-03-01"}, True),
        ({"from": "2026-02-01", "until": "2026-02-28"}, False),
        ({"from": "2026-03-02"}, False),
        ({"until": "2026-12-31"}, None),
        ({}, None),
    ],
    ids=["goes on", "last day", "over", "not begun", "no first day", "not said"],
)
@pytest.mark.parametrize("benefit", ["lasting-social-assistance", "home-care-allowance"])
def test_benefit_is_paid_on_the_days_that_the_record_says(
    benefit: str, parts: dict[str, str], paid: bool | None
) -> None:
    bundle = example("F1")
    said = [{"url": f"{benefit}-{part}", "valueDate": day} for part, day in parts.items()]
    if said:
        person = bundle["entry"][0]["resource"]
        person["extension"].append({"url": "urn:yhdyspinta:extension:benefits", "extension": said})

    facts = facts_in(bundle, None, datetime(2026, 3, 1, tzinfo=UTC))

    assert catalogue().validate_bundle(bundle) == []
    both = {"lasting-social-assistance": facts.social_assistance, "home-care-allowance": facts.home_care_allowance}
    assert both == {benefit: paid, **dict.fromkeys(both.keys() - {benefit})}


def test_which_benefit_is_paid_goes_with_the_means_of_support_alone() -> None:
    bundle = example("F1")
    benefit = {"url": "lasting-social-assistance-from", "valueDate": "2026-02-01"}
    bundle["entry"][0]["resource"]["extension"].append(
        {"url": "urn:yhdyspinta:extension:benefits", "extension": [benefit]}
    )

    without = project(bundle, {"identity", "residence-permit"})
    with_it = project(bundle, {"identity", "finances"})

    assert "social-assistance" not in json.dumps(without.bundle)
    assert "lasting-social-assistance-from" in json.dumps(with_it.bundle)


def test_person_of_a_merged_municipality_lives_in_its_successor() -> None:
    bundle = example("F1")
    municipality = bundle["entry"][0]["resource"]["extension"][1]["extension"][0]
    assert municipality["url"] == "municipality"
    municipality["valueCoding"]["code"] = "588"

    assert facts_in(bundle, None, datetime(2024, 12, 31, tzinfo=UTC)).municipality == "588"
    assert facts_in(bundle, None, datetime(2026, 3, 1, tzinfo=UTC)).municipality == "507"


@pytest.mark.parametrize(
    ("said", "on", "dead"),
    [
        ({"deceasedDateTime": "2026-03-02"}, date(2026, 3, 1), False),
        ({"deceasedDateTime": "2026-03-02"}, date(2026, 3, 2), True),
        ({"deceasedBoolean": True}, date(2020, 1, 1), True),
        ({"deceasedBoolean": False}, date(2026, 3, 2), False),
        ({}, date(2026, 3, 2), None),
    ],
)
def test_person_is_dead_from_the_day_of_their_death(said: dict[str, Any], on: date, dead: bool | None) -> None:
    bundle = example("F1")
    bundle["entry"][0]["resource"] |= said

    assert not catalogue().validate_bundle(bundle)
    assert read_facts(bundle).has_died(on) is dead
