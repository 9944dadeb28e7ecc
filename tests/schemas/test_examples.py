"""One example for each flow: valid here, FHIR R4 elsewhere, and as minimal for each recipient as it must be."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class

from schemas import reference
from schemas.catalogue import catalogue
from schemas.categories import CATEGORIES
from schemas.facts import check_single_subject
from schemas.projection import project

FLOWS = [f"F{number}" for number in range(1, 15)]
#: The directory of contact persons is about officials, and has no person first.
DIRECTORY = "F13"


def example(flow: str) -> dict[str, Any]:
    """The shipped example of a flow."""
    path = files("schemas") / "fhir-like" / "examples" / f"{flow}.json"
    made: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return made


@pytest.mark.parametrize("flow", FLOWS)
def test_the_example_of_each_flow_is_valid_and_fhir_r4(flow: str) -> None:
    bundle = example(flow)

    assert catalogue().validate_bundle(bundle) == []
    assert all(reference.is_valid(one["resource"]) for one in bundle["entry"])
    assert flow == DIRECTORY or check_single_subject(bundle) == []
    get_fhir_model_class("Bundle").model_validate(bundle)


@pytest.mark.parametrize("flow", FLOWS)
def test_with_all_categories_permitted_nothing_is_withheld(flow: str) -> None:
    projection = project(example(flow), CATEGORIES)

    assert projection.withheld == ()
    assert projection.bundle == example(flow)


@pytest.mark.parametrize("category", sorted(CATEGORIES))
@pytest.mark.parametrize("flow", FLOWS)
def test_whatever_one_category_leaves_is_still_a_valid_record(flow: str, category: str) -> None:
    left = project(example(flow), {"identity", category}).bundle

    if left["entry"]:
        assert catalogue().validate_bundle(left) == []
    assert all("reference" not in one for one in left["entry"])


def test_a_plan_goes_without_the_needs_that_its_reader_may_not_see() -> None:
    left = project(example("F8"), {"identity", "employment"}).bundle

    kinds = [one["resource"]["resourceType"] for one in left["entry"]]
    plan = next(one["resource"] for one in left["entry"] if one["resource"]["resourceType"] == "CarePlan")
    assert kinds == ["Patient", "ServiceRequest", "CarePlan"]
    assert plan["activity"] == [{"reference": {"reference": "ServiceRequest/service-request-2"}}]
    assert "contributor" not in plan


def test_a_consent_is_seen_only_by_those_who_may_see_what_it_is_about() -> None:
    seen = {
        category: any(
            one["resource"]["resourceType"] == "Consent" for one in project(example("F9"), {category}).bundle["entry"]
        )
        for category in ("health-needs", "identity", "housing")
    }

    assert seen == {"health-needs": True, "identity": False, "housing": False}


def test_what_speaks_about_records_never_travels_in_one() -> None:
    bundle = example("F3")
    provenance = {"resourceType": "Provenance", "id": "provenance-1"}
    bundle["entry"].append({"resource": provenance})

    assert [one.code for one in catalogue().validate_bundle(bundle)] == ["enum"]
    assert project(bundle, CATEGORIES).withheld[-1].pointer == "/entry/1/resource"
    assert set(catalogue().apart) == {"Provenance", "AuditEvent"}
