"""All shipped formats: of two hundred persons each is mapped or rejected, each planted fault is found in its place,
what is mapped is FHIR R4, and what can go back comes back.
"""

from __future__ import annotations

import io
import json
from typing import Any

import hl7
import pytest
from fhir.resources.R4B import get_fhir_model_class

from adapters.sdk import Limits, available, load
from adapters.workbooks import XlsxForm, read_xlsx
from tests.adapters import golden
from tests.adapters.conftest import Samples
from tests.adapters.reading import COSTING, codes, convert, judge, only, reread

FORMATS = {
    "municipality-json": "adapters.municipality",
    "municipality-xlsx": "adapters.municipality",
    "county-json": "adapters.wellbeing_county",
    "county-hl7": "adapters.wellbeing_county",
    "fhir-r4": "adapters.fhir_r4",
}
RECIPIENTS = [*FORMATS, "reception-centre-csv", "reception-centre-xml", "canonical"]


def file_of(samples: Samples, name: str) -> bytes:
    """The sample of an adapter."""
    return samples.read(samples.manifest[name]["file"])


def test_every_shipped_adapter_is_available_by_name() -> None:
    names = [one.name for one in available()]

    assert set(RECIPIENTS) <= set(names)
    for one in available():
        assert all((one.title.fi, one.title.sv, one.title.en, one.media_types))


@pytest.mark.parametrize("name", FORMATS)
def test_every_person_is_mapped_or_rejected_and_each_planted_fault_is_found_in_its_place(
    samples: Samples, name: str
) -> None:
    mapped = convert(name, file_of(samples, name))

    good = [item.bundle for item in mapped if item.bundle is not None]
    bad = [item for item in mapped if item.bundle is None]
    found = {(one.position.row, one.position.column, one.code) for item in mapped for one in item.findings}
    planted = {(one["row"], one["column"], one["code"]) for one in samples.manifest[name]["dirty"]}
    assert len(mapped) == len(good) + len(bad) == 200
    assert len(planted) >= 4
    assert planted <= found
    stopping = [code for _, column, code in planted if code not in COSTING and "tulk" not in column.lower()]
    assert len(bad) >= len(stopping)
    assert all(any(one.severity == "error" for one in item.findings) for item in bad)
    assert set(codes(mapped)) & {"column-unmapped", "not-taken"} == set()
    for bundle in good[:: 1 if len(good) < 60 else 4]:
        judge(bundle)


@pytest.mark.parametrize(("name", "package"), FORMATS.items())
def test_the_samples_give_what_the_golden_file_holds(samples: Samples, name: str, package: str) -> None:
    golden.agrees(package, name, golden.told(convert(name, file_of(samples, name)), first=4))


@pytest.mark.parametrize("recipient", RECIPIENTS)
def test_what_a_reception_centre_sends_comes_back_whole_from_each_recipients_form(
    samples: Samples, recipient: str
) -> None:
    adapter = load(recipient)
    cases = [item.bundle for item in convert("reception-centre-csv", samples.read("reception-centre.csv"))]

    compared = 0
    for bundle in cases[:60]:
        if bundle is None:
            continue
        rendered = adapter.from_canonical(bundle)
        assert rendered.findings == ()
        assert in_order(reread(recipient, rendered)) == in_order(bundle)
        compared += 1
    assert compared > 40


def in_order(bundle: dict[str, Any]) -> dict[str, Any]:
    """A record with what has no order in FHIR in one order: extensions."""
    made: dict[str, Any] = json.loads(json.dumps(bundle))
    for entry in made["entry"]:
        for one in entry["resource"].get("extension", ()):
            if "extension" in one:
                one["extension"].sort(key=str)
        if "extension" in entry["resource"]:
            entry["resource"]["extension"].sort(key=lambda part: part["url"])
    return made


def test_a_county_document_comes_back_as_it_was(samples: Samples) -> None:
    adapter = load("county-json")
    documents = json.loads(file_of(samples, "county-json"))

    compared = 0
    for document, item in zip(documents, convert("county-json", json.dumps(documents).encode()), strict=True):
        if item.bundle is None or item.findings:
            continue
        del document["asiakirja"]["tyyppi"], document["asiakirja"]["versio"]
        if not document["asiakirja"]:
            del document["asiakirja"]
        document["arviot"].sort(key=lambda one: one["aihe"])
        written = json.loads(adapter.from_canonical(item.bundle).body)
        written["arviot"].sort(key=lambda one: one["aihe"])
        assert written == document
        compared += 1
    assert compared == 188


def test_a_workbook_comes_back_cell_by_cell(samples: Samples) -> None:
    adapter = load("municipality-xlsx")
    form = XlsxForm("Lomake", "Asiakasnumero")
    rows = [
        dict(one.fields)
        for one in load("municipality-xlsx").read(io.BytesIO(file_of(samples, "municipality-xlsx")), Limits())
    ]  # type: ignore[union-attr]

    for row, item in list(zip(rows, convert("municipality-xlsx", file_of(samples, "municipality-xlsx")), strict=True))[
        :60
    ]:
        if item.bundle is None or item.findings:
            continue
        body = adapter.from_canonical(item.bundle).body
        (written,) = read_xlsx(io.BytesIO(body), form, Limits())
        assert {name: cell for name, cell in written.fields.items() if cell != ""} == {  # type: ignore[union-attr]
            name: cell for name, cell in row.items() if cell != ""
        }


def test_an_hl7_message_comes_back_segment_by_segment(samples: Samples) -> None:
    adapter = load("county-hl7")
    data = file_of(samples, "county-hl7")
    messages = ["MSH" + one for one in data.decode().split("MSH")[1:]]

    for text, item in list(zip(messages, convert("county-hl7", data), strict=True))[:60]:
        if item.bundle is None or item.findings:
            continue
        written = hl7.parse(adapter.from_canonical(item.bundle).body.decode())
        source = hl7.parse(text)
        assert str(written.segment("PID")[3]) == str(source.segment("PID")[3])
        for number in (5, 7, 8, 11, 15, 26):
            assert str(written.segment("PID")[number]) == str(source.segment("PID")[number])
        answers = sorted((str(one[3]), str(one[5])) for one in written.segments("OBX"))
        assert answers == sorted((str(one[3]), str(one[5])) for one in source.segments("OBX"))
        assert str(written.segment("MSH")[9]) == "REF^I12^REF_I12"


def test_the_same_content_makes_the_same_control_id_and_other_content_another(samples: Samples) -> None:
    adapter = load("county-hl7")
    bundles = [item.bundle for item in convert("county-hl7", file_of(samples, "county-hl7")) if item.bundle]

    ids = [
        str(hl7.parse(adapter.from_canonical(one).body.decode()).segment("MSH")[10])
        for one in [bundles[0], *bundles[:5]]
    ]

    assert ids[0] == ids[1]
    assert len(set(ids)) == 5


def test_text_that_would_break_a_message_is_escaped_and_read_back(samples: Samples) -> None:
    bundle = only(convert("municipality-json", samples.read("municipality.json"))[:1])
    bundle["entry"][0]["resource"]["name"] = [{"family": "O|r^a&l~a\\X0D\\", "given": ["Ä"]}]

    rendered = load("county-hl7").from_canonical(bundle)

    assert rendered.body.count(b"PID|") == 1
    assert reread("county-hl7", rendered)["entry"][0]["resource"]["name"] == bundle["entry"][0]["resource"]["name"]


def test_text_that_a_spreadsheet_would_run_is_text_in_the_workbook_and_the_csv(samples: Samples) -> None:
    import openpyxl

    bundle = only(convert("municipality-json", samples.read("municipality.json"))[:1])
    bundle["entry"][0]["resource"]["name"] = [{"family": '=HYPERLINK("http://x")', "given": ["+1", "@A1"]}]

    workbook = load("municipality-xlsx").from_canonical(bundle)
    table = load("reception-centre-csv").from_canonical(bundle)

    cells = [cell for row in openpyxl.load_workbook(io.BytesIO(workbook.body))["Lomake"] for cell in row]
    assert all(cell.data_type != "f" for cell in cells)
    assert [cell.value for cell in cells if str(cell.value).startswith("=")] == ['=HYPERLINK("http://x")']
    assert b"'=HYPERLINK" in table.body
    assert b"'+1 @A1" in table.body
    for name, rendered in (("municipality-xlsx", workbook), ("reception-centre-csv", table)):
        assert reread(name, rendered)["entry"][0]["resource"]["name"] == bundle["entry"][0]["resource"]["name"]


def test_what_is_written_as_fhir_has_the_finnish_profiles_places_and_parses(samples: Samples) -> None:
    mapped = convert("reception-centre-csv", samples.read("reception-centre.csv"))
    bundle = mapped[6].bundle  # the one whose address is not to be disclosed
    assert bundle is not None

    rendered = load("fhir-r4").from_canonical(bundle)

    patient = json.loads(rendered.body)["entry"][0]["resource"]
    get_fhir_model_class("Bundle").model_validate_json(rendered.body)
    assert [one["code"] for one in patient["meta"]["security"]] == ["TURVAKIELTO"]
    assert patient["identifier"][0]["type"]["coding"][0]["code"] == "NNFIN"
    assert [one["valueCoding"]["code"] for one in patient["extension"] if one["url"].endswith("municipality-code")] == [
        "285"
    ]


def test_what_fhir_says_beyond_the_canonical_record_is_told_by_its_pointer(samples: Samples) -> None:
    bundle = json.loads(file_of(samples, "fhir-r4"))[0]
    patient = bundle["entry"][0]["resource"]
    patient["maritalStatus"] = {"text": "naimaton"}
    patient["extension"].append({"url": "https://example.fi/shoe-size", "valueInteger": 43})
    bundle["entry"].append({"resource": {"resourceType": "Binary", "contentType": "text/plain"}})

    (item,) = convert("fhir-r4", json.dumps(bundle).encode())

    assert item.bundle is not None
    assert {(one.code, one.position.column) for one in item.findings} == {
        ("column-unmapped", "/entry/0/resource/maritalStatus/text"),
        ("column-unmapped", "/entry/0/resource/extension/4/url"),
        ("column-unmapped", "/entry/0/resource/extension/4/valueInteger"),
        ("resource-left", "/entry/4/resource"),
    }


def test_a_fhir_bundle_about_two_persons_or_none_is_refused(samples: Samples) -> None:
    two, none, other = json.loads(file_of(samples, "fhir-r4"))[:3]
    two["entry"].append({"resource": {**two["entry"][0]["resource"], "id": "other"}})
    none["entry"] = none["entry"][1:]
    other["entry"] = "x"

    found = convert("fhir-r4", json.dumps([two, none, other, {"id": "x"}]).encode())

    assert codes(found) == ["one-person", "one-person", "no-bundle", "no-bundle"]
    assert all(item.bundle is None for item in found)
