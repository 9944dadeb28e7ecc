"""Consents as FHIR R4: valid by a library that knows FHIR, and the same consent again when they come back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from fhir.resources.R4B.consent import Consent
from hypothesis import given
from hypothesis import strategies as st

from consent.words.consents import ConsentRecord, Stamp, WordKind, WordStatus
from consent.words.fhir import ERROR, form_of, to_fhir
from consent.words.givers import Giver, GiverKind
from consent.words.reading import ConsentError
from consent.words.resource import GIVER, SCOPE, TARGET
from tests.consent.words.test_consents import FORM, records
from tests.properties import examples

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
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
    form = form_of(resource, AT)
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
        form_of({**resource, "patient": {"identifier": {"system": SUBJECT[0], "value": SUBJECT[1]}}}, AT)["status"]
        == status
    )


def test_refusal_denies() -> None:
    resource = to_fhir(replace(RECORD, status="refused"))

    Consent.model_validate(resource)
    assert (resource["status"], resource["provision"]["type"]) == ("active", "deny")
    assert resource["policyRule"]["coding"][0]["code"] == "OPTOUT"
    assert "patient" not in resource


def test_rejected_consent_of_another_system_is_a_refusal() -> None:
    assert form_of({**to_fhir(RECORD, SUBJECT), "status": "rejected"}, AT)["status"] == "refused"


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
        "/provision/actor/0/role/coding/0",
    ),
]


@pytest.mark.parametrize(("change", "pointer"), [row[1:] for row in NARROWED], ids=[row[0] for row in NARROWED])
def test_permit_that_says_less_than_is_read_of_it_is_refused_and_a_deny_is_taken(
    change: Callable[[dict[str, Any]], Any], pointer: str
) -> None:
    resource = broken(change)
    with pytest.raises(ConsentError) as raised:
        form_of(resource, AT)

    assert raised.value.pointer == pointer
    resource["provision"]["type"] = "deny"
    assert form_of(resource, AT)["status"] == "refused"


PATIENT = {"identifier": {"system": SUBJECT[0], "value": SUBJECT[1]}}
NEIGHBOUR = {"reference": "RelatedPerson/naapuri", "display": "Naapuri Nieminen"}


def giver(*parts: dict[str, Any], url: str = GIVER) -> dict[str, Any]:
    return {"url": url, "extension": list(parts)}


SELF = {"url": "kind", "valueCode": "self"}
GUARDIAN = {"url": "kind", "valueCode": "guardian"}


def own(**changes: Any) -> dict[str, Any]:
    """A permit of the person: as another system writes it, with none of this product's extensions."""
    record = replace(RECORD, given_by=Giver(GiverKind.SELF))
    return {**to_fhir(record, SUBJECT), "extension": [], "performer": [PATIENT]} | changes


SAID: list[tuple[str, dict[str, Any], str | None]] = [
    ("the patient by identifier", {"performer": [PATIENT]}, "self"),
    (
        "the patient in small letters",
        {"performer": [{"identifier": PATIENT["identifier"] | {"value": "010190-900p"}}]},
        "self",
    ),
    (
        "the patient by reference",
        {"patient": PATIENT | {"reference": "Patient/1"}, "performer": [{"reference": "Patient/1"}]},
        "self",
    ),
    ("the extension alone", {"performer": None, "extension": [giver(SELF)]}, "self"),
    ("a guardian", {"performer": [NEIGHBOUR], "extension": [giver(GUARDIAN)]}, "guardian"),
    ("a guardian with the patient", {"performer": [PATIENT, NEIGHBOUR], "extension": [giver(GUARDIAN)]}, "guardian"),
    ("nobody", {"performer": None}, "/performer"),
    ("an empty list", {"performer": []}, "/performer"),
    ("a neighbour", {"performer": [NEIGHBOUR]}, "/performer/0"),
    ("a neighbour beside the patient", {"performer": [PATIENT, NEIGHBOUR]}, "/performer/1"),
    (
        "a neighbour, and the extension says the person",
        {"performer": [NEIGHBOUR], "extension": [giver(SELF)]},
        "/performer/0",
    ),
    ("a name alone", {"performer": [{"display": "Person"}]}, "/performer/0"),
    ("another person", {"performer": [{"identifier": {"system": SUBJECT[0], "value": "010190-901R"}}]}, "/performer/0"),
    (
        "another patient",
        {"patient": PATIENT | {"reference": "Patient/1"}, "performer": [{"reference": "Patient/2"}]},
        "/performer/0",
    ),
    ("a patient of whom nothing is known", {"performer": [{"reference": "Patient/1"}]}, "/performer/0"),
    (
        "a practitioner with the code of the patient",
        {"performer": [PATIENT | {"reference": "Practitioner/1"}]},
        "/performer/0",
    ),
    ("an organisation", {"performer": [PATIENT | {"type": "Organization"}]}, "/performer/0"),
    ("no list", {"performer": NEIGHBOUR}, "/performer"),
    ("the patient, and the extension a guardian", {"extension": [giver(GUARDIAN)]}, "/performer"),
    (
        "the patient who is a relative",
        {"patient": PATIENT | {"reference": "RelatedPerson/1"}, "performer": [{"reference": "RelatedPerson/1"}]},
        "/patient/reference",
    ),
    ("no kind", {"extension": [giver()]}, "/extension/0/extension"),
    (
        "a text for the code",
        {"extension": [giver({"url": "kind", "valueString": "other"})]},
        "/extension/0/extension/0",
    ),
    ("a kind twice", {"extension": [giver(SELF, GUARDIAN)]}, "/extension/0/extension/1"),
    (
        "a part that is unknown",
        {"extension": [giver(SELF, {"url": "kin", "valueCode": "other"})]},
        "/extension/0/extension/1/url",
    ),
    ("two givers", {"extension": [giver(SELF), giver(GUARDIAN)]}, "/extension/1"),
    ("a misspelt extension", {"extension": [giver(GUARDIAN, url=GIVER + "s")]}, "/extension/0/url"),
    ("a foreign extension", {"extension": [{"url": "urn:only-if", "valueString": "x"}]}, "/extension/0/url"),
    (
        "verified with a neighbour",
        {"verification": [{"verified": True, "verifiedWith": NEIGHBOUR}]},
        "/verification/0/verifiedWith",
    ),
    ("verified with the person", {"verification": [{"verified": True, "verifiedWith": PATIENT}]}, "self"),
    (
        "verified with the guardian who gives it",
        {
            "performer": None,
            "extension": [giver(GUARDIAN)],
            "verification": [{"verified": True, "verifiedWith": NEIGHBOUR}],
        },
        "guardian",
    ),
]


@pytest.mark.parametrize(("changes", "expected"), [row[1:] for row in SAID], ids=[row[0] for row in SAID])
def test_who_gives_a_permit_is_said_and_never_supposed(changes: dict[str, Any], expected: str) -> None:
    resource = own(**changes)
    if not expected.startswith("/"):
        assert form_of(resource, AT)["given_by"]["kind"] == expected
        return
    with pytest.raises(ConsentError) as raised:
        form_of(resource, AT)

    assert raised.value.pointer == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"performer": [NEIGHBOUR]}, {"kind": "other"}),
        ({"performer": None}, None),
        ({"performer": None, "extension": [giver(SELF), giver(GUARDIAN)]}, None),
        ({"performer": NEIGHBOUR}, None),
        ({"performer": [NEIGHBOUR, PATIENT]}, {"kind": "self"}),
    ],
    ids=["a neighbour", "nobody", "two givers", "no list", "a neighbour beside the patient"],
)
def test_deny_is_taken_whoever_says_it(changes: dict[str, Any], expected: dict[str, str] | None) -> None:
    resource = own(**changes)
    resource["provision"]["type"] = "deny"

    assert form_of(resource, AT)["given_by"] == expected


def test_deny_is_not_narrowed_by_the_last_of_two_targets() -> None:
    targets = [{"url": TARGET, "valueString": f"controller:FI-DEMO/MUN/{number}"} for number in "12"]
    resource = own(extension=targets)
    resource["provision"]["type"] = "deny"

    assert "target" not in form_of(resource, AT)


UNREAD: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    (
        "a consent for research",
        lambda resource: resource.update(scope={"coding": [SCOPE | {"code": "research"}]}),
        "/scope/coding/0",
    ),
    (
        "one for research too",
        lambda resource: resource["scope"]["coding"].append(SCOPE | {"code": "research"}),
        "/scope/coding/1",
    ),
    ("a scope in words", lambda resource: resource["scope"].update(text="on Tuesdays"), "/scope/text"),
    ("no scope", lambda resource: resource.pop("scope"), "/scope"),
    (
        "a category of treatment",
        lambda resource: resource.update(category=[{"coding": [{"code": "dnr"}]}]),
        "/category/0/coding/0",
    ),
    ("a day to come", lambda resource: resource.update(dateTime="2030-01-01"), "/dateTime"),
    ("a year to come", lambda resource: resource.update(dateTime="2027"), "/dateTime"),
    ("an hour to come", lambda resource: resource.update(dateTime="2026-03-01T14:06:00+01:00"), "/dateTime"),
    ("a time that is none", lambda resource: resource.update(dateTime="soon"), "/dateTime"),
    (
        "a day of verification to come",
        lambda resource: resource.update(verification=[{"verified": True, "verificationDate": "2026-04"}]),
        "/verification/0/verificationDate",
    ),
    ("test data", lambda resource: resource["meta"].update(tag=[{"code": "HTEST"}]), "/meta/tag"),
    ("a label", lambda resource: resource["meta"].update(security=[{"code": "R"}]), "/meta/security"),
    ("what it contains", lambda resource: resource.update(contained=[{"resourceType": "RelatedPerson"}]), "/contained"),
    ("a policy", lambda resource: resource.update(policy=[{"uri": "urn:x"}]), "/policy"),
    ("a policy in words", lambda resource: resource.update(policyRule={"text": "on Tuesdays"}), "/policyRule/text"),
    (
        "another policy",
        lambda resource: resource.update(policyRule={"coding": [{"system": "urn:x", "code": "y"}]}),
        "/policyRule/coding/0",
    ),
    (
        "a source elsewhere",
        lambda resource: resource.update(sourceReference={"reference": "Contract/1"}),
        "/sourceReference",
    ),
    (
        "a form that is not read",
        lambda resource: resource.update(sourceAttachment={"data": "eA=="}),
        "/sourceAttachment/data",
    ),
    (
        "a narrative of its own",
        lambda resource: resource.update(text={"status": "additional", "div": "x"}),
        "/text/status",
    ),
    ("an extended status", lambda resource: resource.update(_status={"extension": []}), "/_status"),
    ("a member that is no member", lambda resource: resource.update({"010190-900P": True}), ""),
    (
        "an extended provision",
        lambda resource: resource["provision"].update(extension=[{"url": "urn:x"}]),
        "/provision/extension",
    ),
    (
        "an extended purpose",
        lambda resource: resource["provision"]["purpose"][0].update(extension=[]),
        "/provision/purpose/0/extension",
    ),
    (
        "an extended kind",
        lambda resource: resource["extension"].append(giver({**SELF, "extension": []})),
        "/extension/0/extension/0/extension",
    ),
    (
        "a time of day",
        lambda resource: resource["provision"].update(period={"end": "2026-11-28T00:00:01Z"}),
        "/provision/period/end",
    ),
    ("a year alone", lambda resource: resource["provision"].update(period={"end": "2026"}), "/provision/period/end"),
    (
        "a number that was",
        lambda resource: resource["patient"]["identifier"].update(use="old"),
        "/patient/identifier/use",
    ),
    (
        "a number of a time",
        lambda resource: resource["patient"]["identifier"].update(period={"end": "2020"}),
        "/patient/identifier/period",
    ),
    (
        "a recipient without its part",
        lambda resource: resource["provision"]["actor"][0].pop("role"),
        "/provision/actor/0/role",
    ),
    (
        "a part of another code system",
        lambda resource: resource["provision"]["actor"][0].update(role={"coding": [{"code": "IRCP"}]}),
        "/provision/actor/0/role/coding/0",
    ),
    (
        "why it was an error",
        lambda resource: resource["extension"].append({"url": ERROR, "valueCode": "never-said"}),
        "/extension/0/url",
    ),
]


@pytest.mark.parametrize(("change", "pointer"), [row[1:] for row in UNREAD], ids=[row[0] for row in UNREAD])
def test_whatever_is_not_read_of_a_permit_is_refused_at_every_depth(
    change: Callable[[dict[str, Any]], Any], pointer: str
) -> None:
    resource = deepcopy(own())
    form_of(resource, AT)
    change(resource)
    with pytest.raises(ConsentError) as raised:
        form_of(resource, AT)

    assert raised.value.pointer == pointer
    assert "010190" not in str(raised.value)


def test_what_a_server_adds_of_itself_is_no_part_of_the_consent() -> None:
    resource = own(
        id="42",
        meta={"versionId": "7", "lastUpdated": "2026-03-01T00:00:00Z", "source": "#x", "profile": ["urn:p"]},
        text={"status": "generated", "div": "<div/>"},
        identifier=[{"use": "official", "system": "urn:x", "value": "1"}],
        dateTime="2026-03-01T14:00:00+02:00",
        sourceAttachment={"title": "S-3", "contentType": "application/pdf", "creation": "2026-02-28"},
    )

    Consent.model_validate(resource)
    assert form_of(resource, AT)["evidence"]["form"] == "S-3"


@examples(300)
@given(st.data())
def test_nothing_can_be_added_to_a_permit_that_is_overlooked(data: st.DataObject) -> None:
    resource = deepcopy(own(extension=[giver(SELF)]))
    places = list(objects(resource))
    data.draw(st.sampled_from(places))["foreign"] = data.draw(st.sampled_from([True, {}, [], "x"]))

    with pytest.raises(ConsentError):
        form_of(resource, AT)


def objects(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(inner)


def test_prohibition_that_names_nobody_is_read() -> None:
    resource = broken(lambda one: one.update(patient={"reference": "Patient/1"}))
    resource["provision"]["type"] = "deny"

    assert form_of(resource, AT)["subject"] is None


@pytest.mark.parametrize(("change", "pointer"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_it_cannot_mean_is_refused_with_its_place(change: Callable[[dict[str, Any]], Any], pointer: str) -> None:
    with pytest.raises(ConsentError) as raised:
        form_of(broken(change), AT)

    assert raised.value.pointer == pointer
