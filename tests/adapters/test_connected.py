"""Wild exports that were connected with the mapping language alone, without Python: for every person the truth.

Who made the exports had seen none of the readers. `truth.json` has of each person what the export says of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.fhir_r4 import FhirAdapter, codes_of
from adapters.sdk import Adapter, Manifest, Text
from tests.adapters.judging import prohibition
from tests.adapters.test_layouts import Made, run

FOLDER = Path(__file__).parent / "connected"
TRUTH: dict[str, dict[str, dict[str, Any]]] = json.loads((FOLDER / "truth.json").read_text("utf-8"))
#: Exports that cannot say who is protected, as their mappings declare, nor all the needs.
SILENT = frozenset({"submission-individuals.csv", "submission-cases.csv"})
#: Persons of whom the export tells only the year of birth.
BY_YEAR = {"submission-individuals.csv": 5}
#: Persons of the truth for whom a row of the export has no place: a fourth child.
WITHOUT_PLACE = {"submission-cases.csv": 3}
#: The interface has no move; its municipality is where somebody lives.
WITHOUT_MOVE = frozenset({"fhir-haku.json"})


def adapter(name: str) -> Adapter:
    if name != "fhir-haku.json":
        return Made((FOLDER / name).with_suffix(".yaml").read_text("utf-8"))
    codes = codes_of((FOLDER / "fhir-haku.csv").read_text("utf-8"))
    return FhirAdapter(Manifest("ours", Text("x", "x", "x"), ("application/fhir+json",)), codes)


def needs(bundle: dict[str, Any]) -> list[str]:
    resources = [entry["resource"] for entry in bundle["entry"]]
    wanted = [resource["code"] for resource in resources if resource["resourceType"] == "ServiceRequest"]
    return sorted(code["coding"][0]["code"] for code in wanted)


def told_of(bundle: dict[str, Any]) -> dict[str, Any]:
    """What a bundle says of who somebody is, and of where they move."""
    patient = bundle["entry"][0]["resource"]
    (name,) = patient["name"]  # what somebody is called is no name
    extensions = {
        extension["url"].rsplit("/", 1)[-1].rsplit(":", 1)[-1]: extension for extension in patient["extension"]
    }
    move = {part["url"]: part for part in extensions.get("move", {}).get("extension", ())}
    citizenship = extensions["patient-citizenship"]["extension"][0]["valueCodeableConcept"]
    return {
        "family": name["family"].casefold(),
        "given": " ".join(name["given"]).casefold(),
        "born": patient["birthDate"],
        "moves": move.get("date", {}).get("valueDate"),
        "municipality": move.get("municipality", {}).get("valueCoding", {}).get("code"),
        "citizenship": citizenship["coding"][0]["code"],
        "language": patient["communication"][0]["language"]["coding"][0]["code"],
    }


def expected(name: str, truth: dict[str, Any]) -> dict[str, Any]:
    told = {fact: truth[fact] for fact in ("born", "moves", "municipality", "citizenship", "language")} | {
        fact: truth[fact].casefold() for fact in ("family", "given")
    }
    return told | ({"moves": None, "municipality": None} if name in WITHOUT_MOVE else {})


@pytest.mark.parametrize("name", TRUTH)
def test_every_person_of_a_connected_export_is_who_they_are(name: str) -> None:
    truth = TRUTH[name]

    bundles = [item.bundle for item in run(adapter(name), (FOLDER / name).read_bytes()) if item.bundle is not None]

    found = {}
    for bundle in bundles:
        for identifier in bundle["entry"][0]["resource"]["identifier"]:
            # A number of a system that is not known here stands behind a mark of the system.
            found[identifier["value"].rpartition(".")[2]] = bundle
    for key, person in truth.items():
        if person["identity"] in found:
            found[key] = found[person["identity"]]
    met = {key: found[key] for key in truth if key in found}
    assert len(met) == len(bundles) == len(truth) - WITHOUT_PLACE.get(name, 0)
    births = {key: bundle["entry"][0]["resource"]["birthDate"] for key, bundle in met.items()}
    assert sum(len(birth) == 4 for birth in births.values()) == BY_YEAR.get(name, 0)
    for key, bundle in met.items():
        known = expected(name, truth[key])
        assert told_of(bundle) == known | {"born": known["born"][: len(births[key])]}, key
        told, is_protected = prohibition(bundle), truth[key]["prohibited"]
        # Where nothing is said of it, it is unknown: never “no” of one who is protected, never “yes” of another.
        assert told is is_protected or (told is None and (name in SILENT or not is_protected)), key
        needed, wanted = truth[key]["needs"], needs(bundle)
        assert wanted == needed or (name in SILENT and set(wanted) <= set(needed)), key
