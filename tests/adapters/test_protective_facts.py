"""A safety prohibition that is contradicted, misplaced or nearly said stops the record; so does what is said twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from adapters.fhir_r4 import MUNICIPALITY, MUNICIPALITY_CODES, NON_DISCLOSURE, SECURITY
from schemas.facts import EXTENSION
from schemas.identifiers import HETU, MIGRI_CUSTOMER
from tests.adapters.reading import convert, only, refusals
from tests.adapters.test_hl7_escapes import message
from tests.adapters.test_stray_quotes import person, raw
from tests.adapters.test_unreadable_cells import book_of

PROHIBITION = EXTENSION + "safety-prohibition"
LABEL = {"system": SECURITY, "code": NON_DISCLOSURE}
PERMIT = {
    "url": EXTENSION + "residence-permit",
    "extension": [
        {"url": "ground", "valueCoding": {"system": "urn:yhdyspinta:codes:permit-ground", "code": "pending"}}
    ],
}


def active(value: bool) -> dict[str, Any]:
    return {"url": PROHIBITION, "extension": [{"url": "active", "valueBoolean": value}]}


def municipality(code: str) -> dict[str, Any]:
    return {"url": MUNICIPALITY, "valueCoding": {"system": MUNICIPALITY_CODES, "code": code}}


def move(code: str) -> dict[str, Any]:
    coding = {"system": "urn:yhdyspinta:codes:municipality", "code": code, "display": "x"}
    return {"url": EXTENSION + "move", "extension": [{"url": "municipality", "valueCoding": coding}]}


def bundle(labels: Any = (), *extensions: dict[str, Any], **more: Any) -> dict[str, Any]:
    patient = {
        "resourceType": "Patient",
        "id": "patient-1",
        "identifier": [{"system": MIGRI_CUSTOMER, "value": "A-1"}],
        "name": [{"family": "Merisalo", "given": ["Aino"]}],
        "extension": [PERMIT, *extensions],
    }
    if labels:
        patient["meta"] = {"security": labels}
    return {"resourceType": "Bundle", "id": "b", "type": "collection", **more, "entry": [{"resource": patient}]}


def prohibition_of(record: dict[str, Any]) -> list[bool]:
    extensions = record["entry"][0]["resource"]["extension"]
    return [one["extension"][0]["valueBoolean"] for one in extensions if one["url"] == PROHIBITION]


def fhir(record: dict[str, Any]) -> list[Any]:
    return convert("fhir-r4", json.dumps(record).encode())


@pytest.mark.parametrize(
    ("record", "held"),
    [
        pytest.param(bundle([LABEL]), [True], id="label"),
        pytest.param(bundle([LABEL], active(True)), [True], id="both"),
        pytest.param(bundle((), active(False)), [False], id="none"),
        pytest.param(bundle([{"system": "urn:x", "code": "R"}]), [], id="another-label"),
        pytest.param(bundle((), municipality("285"), move("285")), [], id="one-municipality-said-twice"),
    ],
)
def test_what_agrees_is_taken(record: dict[str, Any], held: list[bool]) -> None:
    assert prohibition_of(only(fhir(record))) == held


AT = "/entry/0/resource"


@pytest.mark.parametrize(
    ("record", "code", "place"),
    [
        pytest.param(bundle([LABEL], active(False)), "contradictory", f"{AT}/meta/security/0", id="contradicted"),
        pytest.param(bundle(meta={"security": [LABEL]}), "misplaced", "/meta/security/0", id="on-the-bundle"),
        pytest.param(bundle(extension=[active(True)]), "misplaced", "/extension/0", id="extension-on-the-bundle"),
        pytest.param(
            bundle([{**LABEL, "system": SECURITY + "|2.0.0"}]), "code-unknown", f"{AT}/meta/security/0", id="version"
        ),
        pytest.param(bundle([{"code": NON_DISCLOSURE}]), "code-unknown", f"{AT}/meta/security/0", id="no-system"),
        pytest.param(
            bundle([{**LABEL, "code": "turvakielto"}]), "code-unknown", f"{AT}/meta/security/0", id="lower-case"
        ),
        pytest.param(
            bundle([{"code": "x", "display": "Turvakielto"}]), "code-unknown", f"{AT}/meta/security/0", id="in-words"
        ),
        pytest.param(bundle(["TURVAKIELTO"]), "code-unknown", f"{AT}/meta/security/0", id="no-object"),
        pytest.param(bundle(LABEL), "unreadable", f"{AT}/meta/security", id="no-list"),
        pytest.param(
            bundle((), municipality("285"), municipality("091")),
            "contradictory",
            f"{AT}/extension/2",
            id="municipality",
        ),
        pytest.param(
            bundle((), move("091"), municipality("285")),
            "contradictory",
            f"{AT}/extension/2",
            id="of-move",
        ),
    ],
)
def test_a_prohibition_that_is_in_doubt_stops_the_record(record: dict[str, Any], code: str, place: str) -> None:
    (mapped,) = fhir(record)

    assert mapped.bundle is None
    assert (code, place) in {(one.code, one.position.column) for one in refusals([mapped])}


def test_a_label_on_another_resource_is_misplaced() -> None:
    record = bundle()
    record["entry"].append({"resource": {"resourceType": "Basic", "id": "x", "meta": {"security": [LABEL]}}})

    (mapped,) = fhir(record)

    assert mapped.bundle is None
    assert [one.position.column for one in refusals([mapped])] == ["/entry/1/resource/meta/security/0"]


def canonical(record: dict[str, Any]) -> dict[str, Any]:
    """The same in the canonical form, which has no id of its own."""
    return {name: value for name, value in record.items() if name != "id"}


NAMED_WITHOUT = {
    "reception-centre-csv": lambda told: raw(person(1, TURVAKIELTO=told and "E", TURVAKIELTO_VASTAANOTTAJA="285")),
    "municipality-xlsx": lambda told: book_of({"Turvakielto": told and "ei", "Turvakiellon kunta": "285"}),
    "municipality-json": lambda told: json.dumps(
        [
            {
                "asiakasnumero": "A-1",
                "sukunimi": "X",
                "turvakielto_kunta": "285",
                **({"turvakielto": False} if told else {}),
            }
        ]
    ).encode(),
    "reception-centre-xml": lambda told: (
        '<Asiakkaat><Asiakas numero="A-1"><Henkilo><Sukunimi>X</Sukunimi><Etunimet>Y</Etunimet>'
        "<Syntymaaika>1990-02-05</Syntymaaika></Henkilo><Lupa><Laji>TP</Laji></Lupa><Turvakielto>"
        + ("<Voimassa>E</Voimassa>" if told else "")
        + "<SallittuKunta>285</SallittuKunta></Turvakielto></Asiakas></Asiakkaat>"
    ).encode(),
    "county-hl7": lambda told: message(
        prohibition=("OBX|3|ST|TURVAKIELTO||E||||||F\r" if told else "") + "OBX|4|ST|TURVAKIELTO-KUNTA||285||||||F"
    ),
    "canonical": lambda told: json.dumps(canonical(bundle((), _named(told)))).encode(),
    "fhir-r4": lambda told: json.dumps(bundle((), _named(told))).encode(),
}


def _named(told: str) -> dict[str, Any]:
    recipient = {"system": "urn:yhdyspinta:codes:municipality", "code": "285"}
    said = active(False)["extension"] if told else []
    return {"url": PROHIBITION, "extension": [*said, {"url": "named-recipient", "valueCoding": recipient}]}


@pytest.mark.parametrize("told", ["no", ""], ids=["denied", "absent"])
@pytest.mark.parametrize("name", NAMED_WITHOUT)
def test_a_recipient_named_under_no_prohibition_stops_the_record(name: str, told: str) -> None:
    make: Callable[[str], bytes] = NAMED_WITHOUT[name]

    (mapped,) = convert(name, make(told))

    assert mapped.bundle is None
    assert {one.code for one in refusals([mapped])} == {"contradictory"}


@pytest.mark.parametrize(
    "said",
    [
        "OBX|3|ST|TURVAKIELTO||K~E||||||F",
        "OBX|3|ST|TURVAKIELTO||E~K||||||F",
        "OBX|3|ST|TURVAKIELTO||K||||||F\rOBX|4|ST|TURVAKIELTO||E||||||F",
        "OBX|3|ST|MUUTTO-KUNTA||285||||||F\rOBX|4|ST|MUUTTO-KUNTA||091||||||F",
        "OBX|3|ST|MUUTTO-KUNTA||285~091||||||F",
    ],
)
def test_a_message_that_says_a_fact_twice_is_refused(said: str) -> None:
    (mapped,) = convert("county-hl7", message(prohibition=said))

    assert mapped.bundle is None
    assert refusals([mapped])


@pytest.mark.parametrize("name", ["fhir-r4", "canonical"])
def test_two_identity_codes_are_not_one_person(name: str) -> None:
    record = bundle()
    codes = [{"system": HETU, "value": value} for value in ("131052-900W", "010190-901R")]
    record["entry"][0]["resource"]["identifier"] = codes

    (mapped,) = convert(name, json.dumps(canonical(record)).encode())

    assert mapped.bundle is None
    assert {one.code for one in refusals([mapped])} == {"contradictory"}
