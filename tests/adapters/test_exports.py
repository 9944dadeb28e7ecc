"""Files as real systems have sent them, each with its right outcome: who is taken, who is not, and what is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.adapters.reading import convert

FOLDER = Path(__file__).parent / "exports"
ADAPTERS = {".csv": "reception-centre-csv", ".json": "fhir-r4", ".hl7": "county-hl7", ".xlsx": "municipality-xlsx"}
#: Not of the file's fault: invented persons whose number says another sex than their record.
BESIDE = "identity-disagrees"

#: By file: of each record its key, and the codes of what is told; a rejected one begins with an exclamation mark.
OUTCOMES: dict[str, list[tuple[str, ...]]] = {
    "csv-empty-rows.csv": [("KENTTA-7",)],
    "csv-identity-and-birth-date-disagree.csv": [
        ("KENTTA-3", BESIDE),
        ("KENTTA-4", BESIDE),
        ("!KENTTA-5", "date-future"),
        ("!KENTTA-6", "date-form"),
    ],
    "csv-mojibake-names.csv": [(f"!KENTTA-{number}", "damaged-text") for number in (9, 10, 11)],
    "csv-open-quote-swallows-rows.csv": [("T-1",), ("T-2", BESIDE), *[("!", "quotation")] * 6],
    "csv-sep-line.csv": [("KENTTA-8", BESIDE)],
    "csv-stray-quote-merges-persons.csv": [("BUGQ-1",), *[("!", "quotation")] * 3, ("BUGQ-5",)],
    "fhir-do-not-perform.json": [("!b-BUGF-7", "modifier", "column-unmapped")],
    "fhir-transaction-delete.json": [("b-BUGF-6", "withdrawn", BESIDE)],
    "fhir-turvakielto-label-and-extension-false.json": [("!b-BUGF-2", "contradictory", BESIDE)],
    "hl7-backslash.hl7": [("BUG-77",)],
    "hl7-batch-cut.hl7": [("T-1",), ("!", "count-differs")],
    "hl7-obx-wrong-status.hl7": [("T-1", "withdrawn", "withdrawn", "withdrawn", "not-taken")],
    "hl7-training-message.hl7": [("!T-1", "not-production")],
    "hl7-update-order.hl7": [("!T-1", "duplicate-key"), ("!T-1", "duplicate-key")],
    "idempotency-first.csv": [("BUGC-31",), ("BUGC-32", BESIDE)],
    "idempotency-second.csv": [("BUGC-33",), ("BUGC-32", BESIDE), ("BUGC-31",)],
    "xlsx-error-cell-turvakielto.xlsx": [("!T-1", "unreadable")],
    "xlsx-numbers-lost-zeros.xlsx": [("0001234", "phone-form")],
}


def outcome_of(file: Path) -> list[tuple[str, ...]]:
    return [
        (("" if item.bundle else "!") + item.key, *(told.code for told in item.findings))
        for item in convert(ADAPTERS[file.suffix], file.read_bytes())
    ]


def test_every_file_has_its_outcome() -> None:
    assert {file.name for file in FOLDER.iterdir()} == set(OUTCOMES)


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_file_from_the_field_has_its_right_outcome(name: str) -> None:
    assert outcome_of(FOLDER / name) == OUTCOMES[name]


def values_of(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for member in value.values() for text in values_of(member)]
    if isinstance(value, list):
        return [text for item in value for text in values_of(item)]
    return [str(value)]


def test_nothing_of_a_person_is_in_the_record_of_another() -> None:
    for name in ("csv-stray-quote-merges-persons.csv", "csv-open-quote-swallows-rows.csv"):
        for item in convert("reception-centre-csv", (FOLDER / name).read_bytes()):
            others = {"BUGQ-3", "Salainen", "HIV", "Suku4", "T-5", "010184-914L"}
            assert item.bundle is None or not others & set(" ".join(values_of(item.bundle)).split())


def test_a_withdrawn_result_and_a_deleted_need_are_in_no_record() -> None:
    (hl7,) = convert("county-hl7", (FOLDER / "hl7-obx-wrong-status.hl7").read_bytes())
    (fhir,) = convert("fhir-r4", (FOLDER / "fhir-transaction-delete.json").read_bytes())

    assert not {"child-welfare", "torture-rehabilitation", "HIV"} & set(values_of(hl7.bundle))
    assert fhir.bundle is not None
    assert sum(entry["resource"]["resourceType"] == "ServiceRequest" for entry in fhir.bundle["entry"]) == 2


def test_a_customer_number_keeps_the_zeros_that_its_cell_shows() -> None:
    (item,) = convert("municipality-xlsx", (FOLDER / "xlsx-numbers-lost-zeros.xlsx").read_bytes())

    assert "0001234" in values_of(item.bundle)
