"""A reception centre's register: its two exports of the same two hundred persons say the same, and each planted fault
is found in its row and column.
"""

from __future__ import annotations

import pytest

from adapters.sdk import load
from tests.adapters import golden
from tests.adapters.conftest import Samples
from tests.adapters.reading import COSTING, codes, convert, judge, only

FORMS = [("reception-centre-csv", "reception-centre.csv"), ("reception-centre-xml", "reception-centre.xml")]


@pytest.mark.parametrize(("adapter", "file"), FORMS)
def test_every_person_is_mapped_or_rejected_and_every_bundle_is_fhir(samples: Samples, adapter: str, file: str) -> None:
    mapped = convert(adapter, samples.read(file))

    good = [item for item in mapped if item.bundle is not None]
    bad = [item for item in mapped if item.bundle is None]
    dirty = samples.manifest["csv" if file.endswith("csv") else "xml"]["dirty"]
    assert len(mapped) == len(good) + len(bad) == 200
    assert len(bad) == sum(one["code"] not in COSTING for one in dirty)
    assert all(any(one.severity == "error" for one in item.findings) for item in bad)
    for item in good:
        assert item.bundle is not None
        judge(item.bundle)


def test_each_planted_fault_of_the_csv_is_found_in_its_row_and_column(samples: Samples) -> None:
    mapped = convert("reception-centre-csv", samples.read("reception-centre.csv"))

    found = {(one.position.row, one.position.column, one.code) for item in mapped for one in item.findings}
    planted = {(one["row"], one["column"], one["code"]) for one in samples.manifest["csv"]["dirty"]}
    assert planted <= found
    assert {one for one in found if one[2] != "code-unknown"} == {one for one in planted if one[2] != "code-unknown"}


def test_each_planted_fault_of_the_xml_is_found_in_its_element(samples: Samples) -> None:
    mapped = convert("reception-centre-xml", samples.read("reception-centre.xml"))

    found = {(item.key, one.position.column, one.code) for item in mapped for one in item.findings}
    for one in samples.manifest["xml"]["dirty"]:
        assert (one["key"], one["column"], one["code"]) in found


def test_each_finding_has_a_remedy_in_three_languages_and_never_the_value(samples: Samples) -> None:
    mapped = convert("reception-centre-csv", samples.read("reception-centre.csv"))

    for item in mapped:
        for one in item.findings:
            texts = (one.message, one.hint)
            assert all(text.fi and text.sv and text.en for text in texts)
            assert not any(value in repr(texts) for value in ("AVARUUSMATKA", "kolmesataa", "010190-900", "ei puhel"))


def test_both_exports_say_the_same_of_the_same_person(samples: Samples) -> None:
    by_csv = {item.key: item.bundle for item in convert("reception-centre-csv", samples.read("reception-centre.csv"))}
    by_xml = {item.key: item.bundle for item in convert("reception-centre-xml", samples.read("reception-centre.xml"))}

    both = [key for key, bundle in by_csv.items() if bundle is not None and by_xml.get(key) is not None]
    assert len(both) >= 180
    assert all(by_csv[key] == by_xml[key] for key in both)


@pytest.mark.parametrize(("adapter", "file"), FORMS)
def test_the_samples_give_what_the_golden_file_holds(samples: Samples, adapter: str, file: str) -> None:
    mapped = convert(adapter, samples.read(file))

    golden.agrees("adapters.reception_centre", adapter, golden.told(mapped))


def test_every_value_knows_its_cell_and_its_transform(samples: Samples) -> None:
    mapped = convert("reception-centre-csv", samples.read("reception-centre.csv"))[0]

    assert mapped.bundle is not None
    born = mapped.provenance["/entry/0/resource/birthDate"]
    assert (born.position.row, born.position.column, born.transform) == (2, "SYNTYMAAIKA", "fi-date")
    need = mapped.provenance["/entry/1/resource/code/coding/0/code"]
    assert (need.position.column, need.transform) == ("PALVELUTARPEET", "code tarve")
    for pointer in mapped.provenance:
        value: object = mapped.bundle
        for step in pointer.split("/")[1:]:
            value = value[int(step)] if isinstance(value, list) else value[step]  # type: ignore[index]
        assert value is not None


def test_a_column_that_nobody_knows_is_reported_and_one_that_is_missing_stops_the_file(samples: Samples) -> None:
    lines = samples.read("reception-centre.csv").split(b"\r\n")

    more = convert("reception-centre-csv", lines[0] + b";UUSI\r\n" + lines[1] + b";x\r\n")
    fewer = convert("reception-centre-csv", lines[0].replace(b";TULOT", b";TULOTUS") + b"\r\n" + lines[1] + b"\r\n")

    assert codes(more) == ["column-unmapped"]
    assert more[0].bundle is not None
    assert more[0].findings[0].position.column == "UUSI"
    assert codes(fewer) == ["column-missing"]
    assert [item.bundle for item in fewer] == [None]


def test_a_value_that_stands_without_what_it_belongs_to_is_reported(samples: Samples) -> None:
    header, row = samples.read("reception-centre.csv").split(b"\r\n")[:2]
    cells = dict(zip(header.split(b";"), row.split(b";"), strict=True))
    cells[b"PALVELUTARPEET"] = b""

    mapped = convert("reception-centre-csv", header + b"\r\n" + b";".join(cells.values()) + b"\r\n")

    assert [(one.code, one.position.column) for one in mapped[0].findings] == [("not-taken", "KIIREELLISYYS")]
    assert only(mapped)["entry"][1]["resource"]["resourceType"] != "ServiceRequest"


def test_the_exports_are_written_back_as_they_were_read(samples: Samples) -> None:
    for adapter, file in FORMS:
        for item in convert(adapter, samples.read(file)):
            if item.bundle is None:
                continue
            rendered = load(adapter).from_canonical(item.bundle)
            assert rendered.findings == ()
            assert only(convert(adapter, rendered.body)) == item.bundle
