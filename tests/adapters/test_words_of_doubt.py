"""A format's own words of doubt: what is withdrawn, deleted, of a former time, another's, or not all, stays so."""

from __future__ import annotations

import io
import json
from copy import deepcopy
from datetime import date
from importlib.resources import files
from typing import Any

import pytest

from adapters.sdk import Limits
from schemas.facts import read_facts
from schemas.identifiers import HETU, LOCAL
from tests.adapters.reading import codes, convert, only, refusals
from tests.adapters.test_exports import values_of
from tests.adapters.test_hl7_escapes import message
from tests.adapters.test_layouts import Made
from tests.adapters.test_protective_facts import bundle

NEED = {
    "resourceType": "ServiceRequest",
    "id": "n1",
    "status": "active",
    "intent": "order",
    "code": {"coding": [{"system": "urn:yhdyspinta:codes:service-need", "code": "language-training"}]},
    "subject": {"reference": "Patient/patient-1"},
}
EXTRA = {"url": "https://example.fi/x", "valueBoolean": True}


def needs_of(record: dict[str, Any]) -> int:
    return sum(entry["resource"]["resourceType"] == "ServiceRequest" for entry in record["entry"])


def fhir(*needs: dict[str, Any], patient: dict[str, Any] | None = None, **head: Any) -> Any:
    made = bundle(**head)
    made["entry"][0]["resource"] |= patient or {}
    made["entry"] += [{"resource": need} if "resourceType" in need else need for need in needs]
    return convert("fhir-r4", json.dumps(made).encode())


STOPPING: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]] = {
    "modifier-of-a-need": ({"modifierExtension": [EXTRA]}, {}, {}, "modifier"),
    "modifier-deep-within": ({"code": {**NEED["code"], "modifierExtension": [EXTRA]}}, {}, {}, "modifier"),
    "rules": ({"implicitRules": "https://example.fi/r"}, {}, {}, "modifier"),
    "rules-of-the-bundle": ({}, {}, {"implicitRules": "https://example.fi/r"}, "modifier"),
    "not-to-be-done": ({"doNotPerform": True}, {}, {}, "modifier"),
    "not-in-use": ({}, {"active": False}, {}, "not-current"),
    "dead-in-words": ({}, {"deceasedBoolean": "yes"}, {}, "schema"),
    "dead-in-some-month": ({}, {"deceasedDateTime": "2026-01"}, {}, "schema"),
    "dead-on-a-day-to-come": ({}, {"deceasedDateTime": "2999-01-01"}, {}, "date-future"),
    "dead-and-alive": ({}, {"deceasedBoolean": False, "deceasedDateTime": "2026-01-01"}, {}, "schema"),
    "dead-before-birth": (
        {},
        {"birthDate": "1990-05-04", "deceasedDateTime": "1990-05-03"},
        {},
        "contradictory",
    ),
    "replaced": (
        {},
        {"link": [{"other": {"reference": "Patient/2"}, "type": "replaced-by"}]},
        {},
        "identity-doubted",
    ),
    "name-in-one-text": ({}, {"name": [{"text": "Aino Merisalo"}]}, {}, "field-missing"),
    "birth-at-an-instant": ({}, {"birthDate": "1990-05-04T22:00:00Z"}, {}, "schema"),
    "page-one": ({}, {}, {"link": [{"relation": "next", "url": "https://x"}]}, "count-differs"),
    "fewer-than-told": ({}, {}, {"type": "searchset", "total": 57}, "count-differs"),
}


@pytest.mark.parametrize("name", STOPPING)
def test_what_turns_the_meaning_round_stops_the_record(name: str) -> None:
    need, patient, head, code = STOPPING[name]

    (item,) = fhir({**NEED, **need}, patient=patient, **head)

    assert item.bundle is None
    assert code in [told.code for told in refusals([item])]


@pytest.mark.parametrize(
    ("said", "died"),
    [
        ({"deceasedBoolean": True}, (True, None)),
        ({"deceasedDateTime": "2026-01-01"}, (None, date(2026, 1, 1))),
        ({"deceasedDateTime": "2026-01-01T22:30:00Z"}, (None, date(2026, 1, 2))),
        ({"deceasedBoolean": False}, (False, None)),
        ({}, (None, None)),
    ],
)
def test_death_is_a_fact_that_the_rulebook_decides_by(said: dict[str, Any], died: tuple[Any, Any]) -> None:
    (item,) = fhir(NEED, patient=said)

    assert item.bundle is not None
    facts = read_facts(item.bundle)
    assert (facts.deceased, facts.deceased_on) == died


LEFT: dict[str, dict[str, Any]] = {
    "entered-in-error": {**NEED, "id": "n2", "status": "entered-in-error"},
    "revoked": {**NEED, "id": "n2", "status": "revoked"},
    "a-draft": {**NEED, "id": "n2", "status": "draft"},
    "deleted": {"request": {"method": "DELETE", "url": "ServiceRequest/n2"}, "resource": {**NEED, "id": "n2"}},
    "not-found": {"response": {"status": "404"}, "resource": {**NEED, "id": "n2"}},
    "the-same-again": NEED,
    "code-of-another-system": {
        **NEED,
        "id": "n2",
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "1"}]},
    },
    "code-that-is-none": {
        **NEED,
        "id": "n2",
        "code": {"coding": [{"system": "urn:yhdyspinta:codes:service-need", "code": "space-travel"}]},
    },
    "kind-that-is-not-known": {"resourceType": "Immunization", "id": "n2", "status": "completed"},
    "refuted": {
        "resourceType": "Condition",
        "id": "n2",
        "verificationStatus": {"coding": [{"code": "refuted"}]},
        "code": {"text": "x"},
        "subject": {"reference": "Patient/patient-1"},
    },
}


@pytest.mark.parametrize("name", LEFT)
def test_what_is_taken_back_or_not_known_costs_its_resource_and_is_told(name: str) -> None:
    (item,) = fhir(NEED, LEFT[name])

    assert item.bundle is not None, codes([item])
    assert needs_of(item.bundle) == 1
    assert len(item.bundle["entry"]) == 2
    assert [told.position.column.startswith("/entry/2") for told in item.findings].count(True) >= 1


def test_what_is_of_a_former_time_is_not_taken_for_todays() -> None:
    former = {
        "identifier": [
            {"use": "old", "system": HETU, "value": "131052-308T"},
            {"system": HETU, "value": "131052-900W"},
        ],
        "name": [{"use": "old", "family": "Entinen"}, {"family": "Nykyinen", "given": ["Aino"]}],
        "telecom": [{"system": "phone", "value": "0401234567", "period": {"end": "2020-01-01"}}],
        "address": [{"use": "old", "city": "Kotka"}],
    }

    (item,) = fhir(patient=former)

    assert item.bundle is not None, codes([item])
    patient = item.bundle["entry"][0]["resource"]
    assert [given["value"] for given in patient["identifier"]] == ["131052-900W"]
    assert [name["family"] for name in patient["name"]] == ["Nykyinen"]
    assert not {"telecom", "address"} & set(patient)
    assert codes([item]).count("not-current") == 4


def test_a_person_alone_is_a_record_and_the_number_of_another_system_keeps_them_apart() -> None:
    def alone(system: str) -> Any:
        patient = deepcopy(bundle()["entry"][0]["resource"])
        patient["identifier"] = [{"system": system, "value": "010199-T12"}]
        patient["communication"] = [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "ar-SY"}]}}]
        return only(convert("fhir-r4", json.dumps(patient).encode()))["entry"][0]["resource"]

    one, other = alone("urn:oid:1.2.246.10.1.22.1"), alone("urn:oid:1.2.246.10.2.22.1")

    assert one["identifier"][0]["system"] == LOCAL
    assert one["identifier"][0]["value"].endswith(".010199-T12")
    assert one["identifier"] != other["identifier"]
    assert one["communication"][0]["language"]["coding"][0]["code"] == "ar"


def test_a_page_of_a_search_is_parted_by_person_and_what_is_nobodys_is_told() -> None:
    page: dict[str, Any] = {"resourceType": "Bundle", "id": "s", "type": "searchset", "total": 2, "entry": []}
    for number in (1, 2):
        patient = deepcopy(bundle()["entry"][0]["resource"])
        patient |= {"id": f"p{number}", "identifier": [{**patient["identifier"][0], "value": f"A-{number}"}]}
        page["entry"].append({"fullUrl": f"https://x/Patient/p{number}", "resource": patient})
    for number, about in enumerate(("Patient/p2", "https://x/Patient/p2", "Patient/p9")):
        need = {**NEED, "id": f"n{number}", "subject": {"reference": about}}
        page["entry"].append({"search": {"mode": "include"}, "resource": {**need, "note": [{"text": str(number)}]}})

    lost, one, two = convert("fhir-r4", json.dumps(page).encode())

    assert (lost.bundle, codes([lost]), lost.position.column) == (None, ["one-person"], "/entry/4/resource")
    assert one.bundle is not None
    assert two.bundle is not None
    assert (needs_of(one.bundle), needs_of(two.bundle)) == (0, 2)
    assert "A-2" not in values_of(one.bundle)


# -- HL7 v2 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["W", "D", "X", "N", "?"])
def test_a_prohibition_that_is_taken_back_stops_the_record_and_a_note_costs_itself(status: str) -> None:
    (item,) = convert("county-hl7", message(prohibition=f"OBX|3|ST|TURVAKIELTO||E||||||{status}"))
    noted = message("HIV").replace(b"||HIV||||||F", f"||HIV||||||{status}".encode())
    (other,) = convert("county-hl7", noted)

    assert item.bundle is None
    assert [told.code for told in refusals([item])] == ["withdrawn"]
    assert other.bundle is not None
    assert "HIV" not in values_of(other.bundle)
    assert "withdrawn" in codes([other])


def changed(old: str, new: str) -> bytes:
    data = message()
    assert old.encode() in data, data
    return data.replace(old.encode(), new.encode())


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("|P|2.5.1", "|T|2.5.1", "not-production"),
        ("|P|2.5.1", "|D|2.5.1", "not-production"),
        ("\rOBX|1|", "\rPID|2||9^^^MIGRI^PI||Toinen\rOBX|1|", "one-person"),
        ("^^^MIGRI^PI", "^^^SAIRAALA^PI", "field-missing"),
    ],
    ids=["training", "debugging", "two-persons", "number-of-another-authority"],
)
def test_a_message_that_speaks_against_itself_is_refused(old: str, new: str, code: str) -> None:
    data = changed(old, new)

    (item,) = convert("county-hl7", data)

    assert item.bundle is None
    assert code in [told.code for told in refusals([item])]


def test_a_legal_name_comes_before_a_former_one() -> None:
    data = changed("||Lokivuoto^Etu|", "||Entinen^Etu^^^^^M~Laillinen^Etu^^^^^L|")

    (item,) = convert("county-hl7", data)

    assert item.bundle is not None, codes([item])
    assert item.bundle["entry"][0]["resource"]["name"][0]["family"] == "Laillinen"


def test_a_line_break_within_a_text_makes_no_segment_of_it() -> None:
    data = message("x").replace(b"||x|", b"||x\nOBX|9|ST|PALVELUTARVE||child-welfare|")

    (item,) = convert("county-hl7", data)

    assert item.bundle is None
    assert codes([item]) == ["line-ends"]


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize("counted", ["2", "", "3"])
def test_a_batch_is_held_against_its_count_and_is_itself_no_message(end: str, counted: str) -> None:
    second = message().replace(b"A-77", b"A-78")
    data = b"FHS|^~\\&|A\rBHS|^~\\&|A\r" + message() + second + f"BTS|{counted}\rFTS|1\r".encode()

    found = convert("county-hl7", b"\xef\xbb\xbf" + data.replace(b"\r", end.encode()))

    assert [item.bundle is not None for item in found[:2]] == [True, True], codes(found)
    assert codes(found[2:]) == (["count-differs"] if counted == "3" else [])


@pytest.mark.parametrize("second", [b"", b"BHS|^~\\&|A\r" + message().replace(b"A-77", b"A-78") + b"BTS|2\r"])
def test_a_batch_that_was_cut_is_told(second: bytes) -> None:
    found = convert("county-hl7", b"BHS|^~\\&|A\r" + message() + second)

    assert codes(found[-1:]) == ["count-differs"]


@pytest.mark.parametrize(
    ("day", "sign", "died"),
    [
        ("20260301", "Y", (None, date(2026, 3, 1))),
        ("202603012230", "", (None, date(2026, 3, 1))),
        ("", "Y", (True, None)),
        ("", "N", (False, None)),
        ('""', "N", (False, None)),
        ("", "", (None, None)),
        ("20260301", "N", None),
        ("202603", "Y", None),
        ("29990101", "Y", None),
        ("", "U", None),
    ],
    ids=["day", "hour", "sign", "alive", "day deleted", "not said", "both", "month", "to come", "unclear"],
)
def test_death_in_a_message_is_a_fact_or_stops_it(day: str, sign: str, died: tuple[Any, Any] | None) -> None:
    (item,) = convert("county-hl7", dead(day, sign))

    if died is None:
        assert item.bundle is None
        return
    assert item.bundle is not None, codes([item])
    facts = read_facts(item.bundle)
    assert (facts.deceased, facts.deceased_on) == died
    assert "column-unmapped" not in codes([item])


def dead(day: str, sign: str) -> bytes:
    """A message with a day and a sign of death."""
    lines = message().split(b"\r")
    at = next(number for number, line in enumerate(lines) if line.startswith(b"PID|"))
    fields = lines[at].split(b"|")
    fields += [b""] * (31 - len(fields))
    fields[29], fields[30] = day.encode(), sign.encode()
    lines[at] = b"|".join(fields)
    return b"\r".join(lines)


@pytest.mark.parametrize(("day", "sign"), [("20260301", ""), ("", "Y"), ("20260301", "Y")])
def test_death_that_a_mapping_does_not_take_stops_the_message(day: str, sign: str) -> None:
    text = (files("adapters.wellbeing_county") / "hl7.yaml").read_text("utf-8")
    deaf = "".join(line for line in text.splitlines(keepends=True) if "deceased" not in line)

    (item,) = Made(deaf).convert(io.BytesIO(dead(day, sign)), Limits())

    assert item.bundle is None
    assert "deceased" in codes([item])
