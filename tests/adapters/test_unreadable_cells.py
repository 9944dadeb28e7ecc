"""Workbooks that reach too far or cannot say what they hold: refused by their limits, and never read as empty."""

from __future__ import annotations

import io
import tracemalloc
from typing import Any

import openpyxl
import pytest

from adapters.scaffold.outlining import SampleError
from adapters.scaffold.sniffing import sniff
from adapters.sdk import UNREADABLE, Finding, Limits, Record
from adapters.workbooks import XlsxForm, read_xlsx
from tests.adapters.reading import convert, refusals
from tests.adapters.test_hostile_containers import with_part
from tests.adapters.test_hostile_input import limit_of

SHEET = XlsxForm("Lomake", "Asiakasnumero")
PERSON = {
    "Asiakasnumero": "K-1",
    "Henkilötunnus": "131052-900W",
    "Sukunimi": "Merisalo",
    "Etunimet": "Aino",
    "Oleskelulupa": "päätös puuttuu",
    "Turvakielto": "",
    "Turvakiellon kunta": "",
    "Katuosoite": "Hiekkatie 1",
}
PLACES = {name: column for column, name in zip("ABCDEFGH", PERSON, strict=True)}
NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def book_of(*persons: dict[str, Any], merged: tuple[str, ...] = ()) -> bytes:
    from adapters.municipality import xlsx_adapter

    columns = [*PERSON, *sorted(xlsx_adapter().mapping.fields - set(PERSON))]
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = SHEET.sheet
    sheet.append(columns)
    for number, person in enumerate(persons, 1):
        row = {**PERSON, "Asiakasnumero": f"K-{number}", "Henkilötunnus": "", **person}
        sheet.append([row.get(column) or None for column in columns])
    for area in merged:
        sheet.merge_cells(area)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def sheet_of(rows: str, dimension: str = "A1:A2", after: str = "") -> bytes:
    """A workbook whose sheet is written by hand."""
    xml = (
        f'<worksheet xmlns="{NAMESPACE}"><dimension ref="{dimension}"/><sheetData><row r="1">'
        '<c r="A1" t="inlineStr"><is><t>Asiakasnumero</t></is></c><c r="B1" t="inlineStr"><is><t>Nimi</t></is></c>'
        f"</row>{rows}</sheetData>{after}</worksheet>"
    )
    return with_part(book_of(), "xl/worksheets/sheet1.xml", xml.encode())


def read(data: bytes, limits: Limits | None = None) -> list[Record | Finding]:
    return list(read_xlsx(io.BytesIO(data), SHEET, limits or Limits()))


def prohibition(mapped: Any) -> Any:
    patient = mapped.bundle["entry"][0]["resource"]
    return next((one for one in patient["extension"] if one["url"].endswith("safety-prohibition")), None)


@pytest.mark.parametrize("dimension", ["A1:XFD1048576", "A1:B2"], ids=["told", "denied"])
@pytest.mark.parametrize(
    ("cell", "limit"),
    [("XFD1048576", "fields"), ("XFD2", "fields"), ("A1048576", "records")],
)
def test_a_lone_far_cell_is_refused_by_name_before_anything_is_made_of_it(
    cell: str, limit: str, dimension: str
) -> None:
    row = cell.lstrip("AXFD")
    data = sheet_of(f'<row r="{row}"><c r="{cell}"><v>1</v></c></row>', dimension)

    tracemalloc.start()
    found = read(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert [limit_of(one) for one in found if isinstance(one, Finding)] == [("limit-exceeded", limit)]
    assert len(found) == 1
    assert peak < 16 * 1_048_576
    with pytest.raises(SampleError):
        sniff(data)


def test_a_cell_far_down_within_the_limits_is_read_without_the_room_between() -> None:
    data = sheet_of('<row r="900000"><c r="A900000" t="inlineStr"><is><t>K-9</t></is></c></row>')

    tracemalloc.start()
    (found,) = read(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert isinstance(found, Record)
    assert (found.key, found.position.row) == ("K-9", 900_000)
    assert peak < 16 * 1_048_576


def test_a_row_of_endless_empty_cells_is_refused_and_formatted_ones_are_not() -> None:
    styled = '<row r="2"><c r="A2"><v>7</v></c>' + '<c s="0"/>' * 16_000 + "</row>"
    endless = '<row r="2"><c r="A2"><v>7</v></c>' + "<c/>" * 100_000 + "</row>"

    assert [one.key for one in read(sheet_of(styled)) if isinstance(one, Record)] == ["7"]
    assert [limit_of(one) for one in read(sheet_of(endless))] == [("limit-exceeded", "fields")]


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param('<c r="B2" t="e"><v>#N/A</v></c>', id="error"),
        pytest.param('<c r="B2" t="e"><f>A9/0</f><v>#DIV/0!</v></c>', id="formula-error"),
        pytest.param('<c r="B2"><f>A1</f></c>', id="never-calculated"),
        pytest.param('<c r="B2"><f>A1</f><v></v></c>', id="calculated-to-nothing"),
        pytest.param('<c r="B2" t="s"><v>99999</v></c>', id="no-such-text"),
        pytest.param('<c r="B2"><v>abc</v></c>', id="no-number"),
        pytest.param('<c r="B2"><v>1e999</v></c>', id="endless-number"),
        pytest.param('<c r="B2" t="zz"><v>x</v></c>', id="unknown-kind"),
    ],
)
def test_a_cell_that_cannot_say_its_value_is_unreadable_and_not_empty(cell: str) -> None:
    (found,) = read(sheet_of(f'<row r="2"><c r="A2"><v>7</v></c>{cell}</row>'))

    assert isinstance(found, Record)
    assert found.fields == {"Asiakasnumero": 7, "Nimi": UNREADABLE}


def test_a_formula_that_gives_the_empty_text_is_empty() -> None:
    (found,) = read(sheet_of('<row r="2"><c r="A2"><v>7</v></c><c r="B2" t="str"><f>""</f><v></v></c></row>'))

    assert isinstance(found, Record)
    assert found.fields == {"Asiakasnumero": 7, "Nimi": ""}


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param('<row r="3"><c r="A3"><v>1</v></c></row><row r="2"><c r="A2"><v>2</v></c></row>', id="rows"),
        pytest.param('<row r="2"><c r="A2"><v>1</v></c></row><row r="2"><c r="A2"><v>2</v></c></row>', id="row-twice"),
        pytest.param('<row r="2"><c r="A2"><v>1</v></c><c r="A2"><v>2</v></c></row>', id="cell-twice"),
        pytest.param('<row r="2"><c r="A9"><v>1</v></c></row>', id="cell-of-another-row"),
    ],
)
def test_a_sheet_that_says_a_place_twice_is_not_read_past_it(rows: str) -> None:
    assert [one.code for one in read(sheet_of(rows)) if isinstance(one, Finding)] == ["unreadable"]


@pytest.mark.parametrize("column", ["Turvakielto", "Turvakiellon kunta", "Sukunimi", "Palvelutarpeet"])
@pytest.mark.parametrize("value", ["#N/A", "#REF!", "=1+1"])
def test_an_unreadable_cell_of_a_mapped_column_stops_the_record(column: str, value: str) -> None:
    first, second = convert("municipality-xlsx", book_of({column: value}, {}))

    assert first.bundle is None
    assert {("unreadable", column)} == {(one.code, one.position.column) for one in refusals([first])}
    assert second.bundle is not None


def test_a_prohibition_merged_over_a_family_holds_for_each_of_its_rows() -> None:
    column = PLACES["Turvakielto"]

    found = convert("municipality-xlsx", book_of({"Turvakielto": "kyllä"}, {}, {}, merged=(f"{column}2:{column}3",)))

    active = [{"url": "active", "valueBoolean": True}]
    assert [prohibition(one) and prohibition(one)["extension"] for one in found] == [active, active, None]


def test_a_prohibition_beneath_a_cell_that_is_merged_sideways_stops_the_record() -> None:
    data = book_of({"Etunimet": "Aino"}, {}, merged=(f"{PLACES['Oleskelulupa']}2:{PLACES['Turvakielto']}2",))

    first, second = convert("municipality-xlsx", data)

    assert first.bundle is None
    assert [one.position.column for one in refusals([first])] == ["Turvakielto"]
    assert second.bundle is not None


def test_merged_areas_without_end_are_refused() -> None:
    areas = "".join(f'<mergeCell ref="A{2 + number % 2}:A9"/>' for number in range(1_100))
    data = sheet_of('<row r="3"><c r="A3"><v>1</v></c></row>', after=f"<mergeCells>{areas}</mergeCells>")

    assert [limit_of(one) for one in read(data)] == [("limit-exceeded", "fields")]
