"""Wild exports that a developer connected from the documentation alone, without Python: for every person the truth.

Who made exports and mappings had seen none of the readers. `truth.json` has of each person whether there is a safety
prohibition, and the needs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.judging import prohibition
from tests.adapters.test_layouts import Made, run

FOLDER = Path(__file__).parent / "connected"
TRUTH: dict[str, dict[str, tuple[bool, list[str]]]] = json.loads((FOLDER / "truth.json").read_text("utf-8"))
#: Exports that cannot say who is protected, as their mappings declare, nor all the needs.
SILENT = frozenset({"submission-individuals.csv", "submission-cases.csv"})
#: Persons of whom the export tells only the year of birth, which is no day: they are refused and told.
REFUSED = {"submission-individuals.csv": 5}


def needs(bundle: dict[str, Any]) -> list[str]:
    resources = [entry["resource"] for entry in bundle["entry"]]
    wanted = [resource["code"] for resource in resources if resource["resourceType"] == "ServiceRequest"]
    return sorted(code["coding"][0]["code"] for code in wanted)


@pytest.mark.parametrize("name", TRUTH)
def test_every_person_of_a_connected_export_is_who_they_are(name: str) -> None:
    mapping = (FOLDER / name).with_suffix(".yaml").read_text("utf-8")

    bundles = [item.bundle for item in run(Made(mapping), (FOLDER / name).read_bytes()) if item.bundle is not None]

    found = {}
    for bundle in bundles:
        for identifier in bundle["entry"][0]["resource"]["identifier"]:
            found[identifier["value"]] = (prohibition(bundle), needs(bundle))
    met = {key: found[key] for key in TRUTH[name] if key in found}
    assert len(met) == len(bundles)
    assert len(TRUTH[name]) - len(met) >= REFUSED.get(name, 0)
    for key, (told, wanted) in met.items():
        is_protected, needed = TRUTH[name][key]
        # Where nothing is said of it, it is unknown: never “no” of one who is protected, never “yes” of another.
        assert told is is_protected or (told is None and (name in SILENT or not is_protected)), key
        assert wanted == needed or (name in SILENT and set(wanted) <= set(needed)), key
