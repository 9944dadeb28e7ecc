"""Readers: what a source holds comes out with its place, in each encoding, and what breaks breaks alone."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.csv_reader import CsvForm, read_csv
from adapters.json_reader import JsonForm, read_json
from adapters.sdk import Finding, Limits, Record
from adapters.spreadsheets import guarded, unguarded
from adapters.xml_reader import XmlForm, read_xml

CSV = CsvForm(("utf-8-sig", "windows-1252"), ";", "NRO")
XML = XmlForm("Asiakas", "@nro")
JSON = JsonForm("nro")


def csv_of(data: bytes, limits: Limits | None = None, form: CsvForm = CSV) -> list[Record | Finding]:
    return list(read_csv(io.BytesIO(data), form, limits or Limits()))


def xml_of(data: bytes, limits: Limits | None = None) -> list[Record | Finding]:
    return list(read_xml(io.BytesIO(data), XML, limits or Limits()))


def json_of(data: bytes, limits: Limits | None = None, form: JsonForm = JSON) -> list[Record | Finding]:
    return list(read_json(io.BytesIO(data), form, limits or Limits()))


def told(items: list[Record | Finding]) -> list[Any]:
    """Records by their fields, findings by code, row and column."""
    return [
        dict(one.fields) if isinstance(one, Record) else (one.code, one.position.row, one.position.column)
        for one in items
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "windows-1252"])
def test_a_csv_reads_the_same_in_each_encoding(encoding: str) -> None:
    found = csv_of("NRO;NIMI\r\nA1;Äijälä Östen\r\n".encode(encoding))

    assert told(found) == [{"NRO": "A1", "NIMI": "Äijälä Östen"}]
    assert isinstance(found[0], Record)
    assert (found[0].key, found[0].position.row) == ("A1", 2)


def test_a_csv_in_utf_16_is_read_where_the_form_takes_it_and_refused_by_name_where_not() -> None:
    data = "NRO;NIMI\nA1;Äijä\n".encode("utf-16")

    assert told(csv_of(data, form=CsvForm(("utf-16", "utf-8"), ";", "NRO"))) == [{"NRO": "A1", "NIMI": "Äijä"}]
    assert told(csv_of(data)) == [("encoding", 1, "")]


def test_a_letter_cut_at_the_end_of_the_first_read_does_not_change_the_encoding() -> None:
    line = "A;" + "ä" * 120 + "\n"
    data = ("NRO;NIMI\nX;" + "\n").encode() + (line * 3000).encode()

    found = csv_of(data)

    assert all(isinstance(one, Record) for one in found)
    assert len(found) == 3001


def test_quoted_delimiters_quotes_and_line_ends_belong_to_the_field() -> None:
    found = csv_of(b'NRO;NIMI\r\nA1;"a;b ""c""\r\nd"\r\nA2;e\r\n')

    assert told(found) == [{"NRO": "A1", "NIMI": 'a;b "c"\r\nd'}, {"NRO": "A2", "NIMI": "e"}]
    assert [one.position.row for one in found] == [2, 4]


@pytest.mark.parametrize(
    ("row", "finding"),
    [
        pytest.param(b"A1;b;c", ("column-count", 2, ""), id="too-many"),
        pytest.param(b"A1", ("column-count", 2, ""), id="too-few"),
        pytest.param(b'A1;"b"c', ("unreadable", 2, ""), id="quote-in-the-middle"),
        pytest.param(b"A1;\xc3\xa4 \x81", ("encoding", 2, "NIMI"), id="bytes-of-no-encoding"),
    ],
)
def test_a_row_that_breaks_is_a_finding_and_the_next_is_read(row: bytes, finding: tuple[str, int, str]) -> None:
    found = csv_of(b"NRO;NIMI\n" + row + b"\nA2;hyv\xc3\xa4\n" + b"A3;x\n" * 2)

    assert told(found)[0] == finding
    assert len(found) == 4
    assert all(isinstance(one, Record) for one in found[2:])


def test_a_header_with_a_name_twice_is_refused_since_one_of_the_columns_would_be_lost() -> None:
    assert told(csv_of(b"NRO;NIMI;NRO\nA1;b;A2\n")) == [("duplicate-member", 1, "NRO")]


@given(
    st.lists(
        st.lists(
            st.text(
                st.characters(codec="utf-8", exclude_characters="\x00\r\n", exclude_categories=("Cs",)), max_size=8
            ),
            min_size=2,
            max_size=2,
        ),
        max_size=6,
    )
)
def test_what_the_standard_library_writes_is_read_back(rows: list[list[str]]) -> None:
    import csv

    out = io.StringIO()
    writer = csv.writer(out, delimiter=";", quoting=csv.QUOTE_ALL)
    writer.writerow(["NRO", "NIMI"])
    writer.writerows([[guarded(cell) for cell in row] for row in rows])

    found = csv_of(out.getvalue().encode("utf-8"))

    kept = [one for one in found if isinstance(one, Record)]
    full = [row for row in rows if "".join(row).strip() and row != ["NRO", "NIMI"]]
    assert len(found) == len(full)
    assert [list(one.fields.values()) for one in kept] == [row for row in full if "\ufeff" not in "".join(row)]


@given(st.text())
def test_the_guard_against_formulas_is_undone_exactly(text: str) -> None:
    assert unguarded(guarded(text)) == text
    assert guarded(text)[:1] not in set("=+-@\t\r")


def test_xml_fields_are_named_by_path_and_repeat_as_lists() -> None:
    data = b"""<?xml version="1.0" encoding="windows-1252"?>
    <r><!-- x --><Asiakas nro="A1"><H><S>\xc4ij\xe4</S></H><L ika="3"/><L ika="5"/><?pi?></Asiakas><muu/></r>"""

    found = xml_of(data)

    assert told(found) == [{"@nro": "A1", "H/S": "Äijä", "L/@ika": ["3", "5"]}]
    assert isinstance(found[0], Record)
    assert (found[0].key, found[0].position.row) == ("A1", 2)


def test_text_that_belongs_to_no_field_is_not_lost_in_silence() -> None:
    assert told(xml_of(b"<r><Asiakas nro='1'>vapaa <H>x</H></Asiakas><Asiakas nro='2'><H/>loppu</Asiakas></r>")) == [
        ("unreadable", 1, ""),
        ("unreadable", 1, ""),
    ]


def test_xml_that_ends_in_the_middle_keeps_the_records_before() -> None:
    found = told(xml_of(b"<r><Asiakas nro='1'><H>x</H></Asiakas>\n<Asiakas nro='2'><H>"))

    assert found == [{"@nro": "1", "H": "x"}, ("unreadable", 2, "")]


@pytest.mark.parametrize("data", [b"", b"not xml", b"<r>", b"<r></x>", b"\x00", b"<r>\xff</r>"])
def test_what_is_no_xml_is_one_finding(data: bytes) -> None:
    assert [one[0] for one in told(xml_of(data))] == ["unreadable"]


def test_json_is_one_object_or_a_list_of_them() -> None:
    assert told(json_of(b' {"nro": "A1"} ')) == [{"nro": "A1"}]
    assert told(json_of(b'\xef\xbb\xbf[{"nro": 7}, {"nro": "A2"} ]\n')) == [{"nro": 7}, {"nro": "A2"}]
    assert told(json_of(b"[]")) == []


def test_nested_json_is_laid_flat_by_path() -> None:
    data = b'{"nro": "A1", "nimi": {"suku": "x", "etu": {"eka": "y"}, "muu": {}}, "lista": [{"a": 1}]}'

    assert told(json_of(data, form=JsonForm("nro", nested=True))) == [
        {"nro": "A1", "nimi/suku": "x", "nimi/etu/eka": "y", "nimi/muu": {}, "lista": [{"a": 1}]}
    ]


@pytest.mark.parametrize(
    ("data", "finding"),
    [
        pytest.param(b"", ("unreadable", 1, ""), id="empty"),
        pytest.param(b"{", ("unreadable", 1, ""), id="cut"),
        pytest.param(b'[{"nro": 1} {"nro": 2}]', ("unreadable", 2, ""), id="no-comma"),
        pytest.param(b'{"nro": 1} x', ("unreadable", 2, ""), id="more-after-the-end"),
        pytest.param(b"[] []", ("unreadable", 2, ""), id="two-lists"),
        pytest.param(b'{"nro": NaN}', ("unreadable", 1, ""), id="nan"),
        pytest.param(b'{"nro": 1e400}', ("unreadable", 1, ""), id="no-double"),
        pytest.param(b'{"nro": ' + b"9" * 5000 + b"}", ("unreadable", 1, ""), id="endless-number"),
        pytest.param(b"[1]", ("unreadable", 1, ""), id="no-object"),
        pytest.param(b'{"nro": "\xff"}', ("encoding", 1, ""), id="not-utf-8"),
        pytest.param(b'{"nro": "\\ud800"}', ("encoding", 1, ""), id="half-a-surrogate-pair"),
        pytest.param(b'{"a": {"b": 1, "b": 2}}', ("duplicate-member", 1, ""), id="name-twice"),
    ],
)
def test_json_that_breaks_is_a_finding(data: bytes, finding: tuple[str, int, str]) -> None:
    found = told(json_of(data))

    assert found[-1] == finding


@given(
    st.lists(
        st.dictionaries(
            st.text(st.characters(codec="utf-8"), max_size=5),
            st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(st.characters(codec="utf-8"))),
            max_size=4,
        ),
        max_size=6,
    ),
    st.integers(1, 9),
)
def test_json_in_small_pieces_reads_as_json_in_one(records: list[dict[str, Any]], size: int) -> None:
    class Dripping(io.BytesIO):
        def read(self, most: int | None = -1) -> bytes:
            return super().read(min(size, most) if most is not None and most > 0 else size)

    data = json.dumps(records, ensure_ascii=False).encode()

    found = list(read_json(Dripping(data), JSON, Limits()))

    assert told(found) == records
