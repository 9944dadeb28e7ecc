"""Consents as FHIR R4: valid by a library that knows FHIR, and the same consent again when they come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from fhir.resources.R4B.consent import Consent
from hypothesis import given

from consent.words.consents import ConsentRecord, Stamp, WordKind, WordStatus
from consent.words.fhir import form_of, to_fhir
from consent.words.reading import ConsentError
from tests.consent.words.test_consents import FORM, records
from tests.properties import examples

SUBJECT = ("urn:oid:1.2.246.21", "010190-900P")
RECORD = ConsentRecord.from_form(
    {
        **FORM,
        "given_by": {"kind": "guardian", "mandate_until": "2027-01-01"},
        "subject_age": 9,
        "starts": "2026-01-01",
        "ends": "2026-12-31",
    },
    Stamp("c1", "s-1", "FI/MUN/1/x", datetime(2026, 3, 1, tzinfo=UTC)),
)


@examples(80)
@given(records)
def test_every_record_is_a_valid_fhir_consent_and_comes_back_the_same(record: ConsentRecord) -> None:
    resource = to_fhir(record, SUBJECT)

    Consent.model_validate(resource)
    form = form_of(resource)
    again = ConsentRecord.from_dict({**record.to_dict(), **form, "subject": record.subject})

    assert form["subject"] == {"system": SUBJECT[0], "value": SUBJECT[1]}
    assert again == record


def test_meaning_is_where_fhir_has_it() -> None:
    resource = to_fhir(RECORD, SUBJECT)

    assert resource["status"] == "active"
    assert resource["provision"]["type"] == "permit"
    assert resource["provision"]["period"] == {"start": "2026-01-01", "end": "2026-12-31"}
    assert resource["provision"]["class"] == [{"system": "urn:yhdyspinta:category", "code": "health-needs"}]
    assert resource["provision"]["actor"][0]["reference"]["identifier"]["value"] == "municipality"
    assert resource["policyRule"]["coding"][0]["code"] == "OPTIN"


@pytest.mark.parametrize("status", ["withdrawn", "entered-in-error"])
@pytest.mark.parametrize(("kind", "type_"), [("prohibition", "deny"), ("permission", "permit"), ("consent", "permit")])
def test_a_word_that_has_ended_is_told_as_what_it_was(status: str, kind: str, type_: str) -> None:
    resource = to_fhir(replace(RECORD, status=WordStatus(status), kind=WordKind(kind)))

    Consent.model_validate(resource)
    assert resource["provision"]["type"] == type_
    assert resource["policyRule"]["coding"][0]["code"] == ("OPTOUT" if type_ == "deny" else "OPTIN")
    assert (
        form_of({**resource, "patient": {"identifier": {"system": SUBJECT[0], "value": SUBJECT[1]}}})["status"]
        == status
    )


def test_refusal_denies() -> None:
    resource = to_fhir(replace(RECORD, status="refused"))

    Consent.model_validate(resource)
    assert (resource["status"], resource["provision"]["type"]) == ("active", "deny")
    assert resource["policyRule"]["coding"][0]["code"] == "OPTOUT"
    assert "patient" not in resource


def test_rejected_consent_of_another_system_is_a_refusal() -> None:
    assert form_of({**to_fhir(RECORD, SUBJECT), "status": "rejected"})["status"] == "refused"


def broken(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    resource = to_fhir(RECORD, SUBJECT)
    change(resource)
    return resource


WRONG: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    ("another resource", lambda one: one.update(resourceType="Patient"), "/resourceType"),
    ("a draft", lambda one: one.update(status="draft"), "/status"),
    ("neither permit nor deny", lambda one: one["provision"].pop("type"), "/provision/type"),
    ("no provision", lambda one: one.pop("provision"), "/provision"),
    ("exceptions", lambda one: one["provision"].update(provision=[{"type": "deny"}]), "/provision/provision"),
    (
        "a purpose of another system",
        lambda one: one["provision"]["purpose"][0].update(system="x"),
        "/provision/purpose/0",
    ),
    ("a category of another system", lambda one: one["provision"]["class"][0].update(system="x"), "/provision/class/0"),
    (
        "a recipient by reference only",
        lambda one: one["provision"]["actor"][0].update(reference={"reference": "Organization/1"}),
        "/provision/actor/0/reference/identifier",
    ),
    ("nobody", lambda one: one.pop("patient"), "/patient/identifier"),
    ("actors that are no list", lambda one: one["provision"].update(actor={}), "/provision/actor"),
]


NARROWED: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    *(
        (f"a {name}", lambda one, name=name, value=value: one["provision"].update({name: value}), f"/provision/{name}")
        for name, value in (
            ("data", [{"meaning": "instance", "reference": {"reference": "Observation/1"}}]),
            ("securityLabel", [{"code": "R"}]),
            ("action", [{"text": "collect"}]),
            ("dataPeriod", {"end": "2020-12-31"}),
            ("code", [{"text": "asthma"}]),
            ("modifierExtension", [{"url": "urn:x", "valueBoolean": True}]),
        )
    ),
    ("a modifier", lambda one: one.update(modifierExtension=[{"url": "urn:x"}]), "/modifierExtension"),
    (
        "a modifier of a recipient",
        lambda one: one["provision"]["actor"][0].update(modifierExtension=[{"url": "urn:x"}]),
        "/provision/actor/0/modifierExtension",
    ),
    ("rules of its own", lambda one: one.update(implicitRules="urn:x"), "/implicitRules"),
    (
        "an opting out",
        lambda one: one["policyRule"].update(coding=[one["policyRule"]["coding"][0] | {"code": "OPTOUT"}]),
        "/policyRule/coding/0",
    ),
    ("one not verified", lambda one: one.update(verification=[{"verified": False}]), "/verification/0/verified"),
    (
        "a custodian",
        lambda one: one["provision"]["actor"][0].update(role={"coding": [{"code": "CST"}]}),
        "/provision/actor/0/role",
    ),
]


@pytest.mark.parametrize(("change", "pointer"), [row[1:] for row in NARROWED], ids=[row[0] for row in NARROWED])
def test_permit_that_says_less_than_is_read_of_it_is_refused_and_a_deny_is_taken(
    change: Callable[[dict[str, Any]], Any], pointer: str
) -> None:
    resource = broken(change)
    with pytest.raises(ConsentError) as raised:
        form_of(resource)

    assert raised.value.pointer == pointer
    resource["provision"]["type"] = "deny"
    assert form_of(resource)["status"] == "refused"


def test_prohibition_that_names_nobody_is_read() -> None:
    resource = broken(lambda one: one.update(patient={"reference": "Patient/1"}))
    resource["provision"]["type"] = "deny"

    assert form_of(resource)["subject"] is None


@pytest.mark.parametrize(("change", "pointer"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_it_cannot_mean_is_refused_with_its_place(change: Callable[[dict[str, Any]], Any], pointer: str) -> None:
    with pytest.raises(ConsentError) as raised:
        form_of(broken(change))

    assert raised.value.pointer == pointer
