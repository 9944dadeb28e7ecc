"""The invented persons of `adapters.samples` as R4 bundles of another system."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters.samples.values import GENDERS, GROUNDS, LANGUAGES, NEEDS, URGENCY, Row, iso, unspaced

OFFICIAL = "https://hl7.fi/fhir/finnish-base-profiles/"
KINDS = "http://terminology.hl7.org/CodeSystem/v2-0203"


def fhir(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The persons as R4 bundles of another system: ids of its own, full URLs, the Finnish profiles' extensions."""
    return [_r4(row, index) for index, row in enumerate(rows)]


def _extension(name: str, *parts: tuple[str, str, Any]) -> dict[str, Any]:
    return {
        "url": f"urn:yhdyspinta:extension:{name}",
        "extension": [{"url": url, kind: value} for url, kind, value in parts if value not in ("", None)],
    }


def _coding(system: str, code: str) -> dict[str, str]:
    return {"system": f"urn:yhdyspinta:codes:{system}", "code": code}


def _patient(row: Row, index: int) -> dict[str, Any]:
    permit = GROUNDS.get(row["OLESKELULUPA"], row["OLESKELULUPA"])
    patient: dict[str, Any] = {
        "resourceType": "Patient",
        "id": f"p{index}",
        "meta": {"profile": [OFFICIAL + "StructureDefinition/fi-base-patient"]},
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">-</div>'},
        "extension": [
            {
                "url": OFFICIAL + "StructureDefinition/municipality-code",
                "valueCoding": {"system": "urn:oid:1.2.246.537.6.21.2003", "code": row["KUNTA"]},
            },
            _extension(
                "residence-permit",
                ("ground", "valueCoding", _coding("permit-ground", permit)),
                ("granted", "valueBoolean", row["OLESKELULUPA"] != "VIR"),
                ("decided", "valueDate", iso(row["LUPA_PVM"]) if row["LUPA_PVM"] else ""),
            ),
            _extension(
                "move",
                ("date", "valueDate", iso(row["MUUTTOPAIVA"])),
                ("independent", "valueBoolean", row["OMATOIMINEN_MUUTTO"] == "K"),
            ),
            _extension("family", ("size", "valueInteger", int(row["PERHEKOKO"]))),
        ],
        "identifier": [{"system": "urn:yhdyspinta:id:migri-customer", "value": row["ASIAKASNUMERO"]}],
        "active": True,
        "name": [{"use": "official", "family": row["SUKUNIMI"], "given": row["ETUNIMET"].split()}],
        "gender": GENDERS[row["SUKUPUOLI"]],
        "birthDate": iso(row["SYNTYMAAIKA"]),
        "telecom": [{"system": "phone", "use": "mobile", "value": unspaced(row["PUHELIN"])}],
        "address": [
            {
                "use": "home",
                "line": [row["OSOITE"]],
                "postalCode": row["POSTINUMERO"],
                "city": row["POSTITOIMIPAIKKA"],
            }
        ],
        "communication": [
            {
                "language": {"coding": [{"system": "urn:ietf:bcp:47", "code": LANGUAGES[row["AIDINKIELI"]]}]},
                "preferred": True,
            }
        ],
    }
    if row["HETU"]:
        code = {"use": "official", "type": {"coding": [{"system": KINDS, "code": "NNFIN"}]}}
        patient["identifier"].insert(0, {**code, "system": "urn:oid:1.2.246.21", "value": row["HETU"]})
    if row["TURVAKIELTO"] == "K":
        label = {"system": OFFICIAL + "CodeSystem/fi-base-security-label-cs", "code": "TURVAKIELTO"}
        patient["meta"]["security"] = [label]
    if not row["SUKUNIMI"]:
        del patient["name"][0]["family"]
    return patient


def _r4(row: Row, index: int) -> dict[str, Any]:
    person = f"urn:uuid:00000000-0000-4000-8000-{index:012d}"
    entries = [{"fullUrl": person, "resource": _patient(row, index)}]
    for number, need in enumerate(row["PALVELUTARPEET"].split("|")):
        request = {
            "resourceType": "ServiceRequest",
            "id": f"s{index}-{number}",
            "status": "active",
            "intent": "proposal",
            "code": {"coding": [_coding("service-need", NEEDS.get(need, need))]},
            "subject": {"reference": person},
            "priority": URGENCY.get(row["KIIREELLISYYS"], row["KIIREELLISYYS"]),
            "authoredOn": "2026-11-24T08:00:00+02:00",
        }
        entries.append({"fullUrl": f"https://example.fi/fhir/ServiceRequest/s{index}-{number}", "resource": request})
    return {"resourceType": "Bundle", "id": f"b-{row['ASIAKASNUMERO']}", "type": "collection", "entry": entries}
