"""Hostile input: each attack is refused by a finding that names its place, or the limit that it goes over, in flat
memory; and what stood before it in the source has been read.
"""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.csv_reader import CsvForm, read_csv
from adapters.json_reader import JsonForm, read_json
from adapters.sdk import Finding, Limits, Record
from adapters.spreadsheets import guarded
from adapters.xml_reader import XmlForm, read_xml
from tests.adapters.reading import codes, convert, refusals

GIGABYTE = 1_000_000_000
WIDE = Limits(total_bytes=4 * GIGABYTE)
CSV = CsvForm(("utf-8-sig", "windows-1252"), ";", "NRO")


def resident() -> int:
    """The bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class Generated(io.RawIOBase):
    """A source that is made while it is read: a beginning, one piece many times over, an end."""

    def __init__(self, beginning: bytes, piece: bytes, size: int, end: bytes = b"") -> None:
        self._parts = self._make(beginning, piece, size, end)
        self._held = memoryview(b"")
        self.given = 0
        self.resident = self._at_first = resident()

    @staticmethod
    def _make(beginning: bytes, piece: bytes, size: int, end: bytes) -> Iterator[bytes]:
        yield beginning
        block = piece * (1_048_576 // len(piece))
        for _ in range(size // len(block)):
            yield block
        yield end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._held:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._held = memoryview(part)
        taken = self._held[: len(buffer)]
        buffer[: len(taken)] = taken
        self._held = self._held[len(taken) :]
        if self.given // 16_777_216 != (self.given + len(taken)) // 16_777_216:
            self.resident = max(self.resident, resident())
        self.given += len(taken)
        return len(taken)

    @property
    def grown(self) -> int:
        """By how many bytes the process has grown while it read, sampled every 16 MB."""
        return self.resident - self._at_first


def limit_of(item: Record | Finding) -> tuple[str, str]:
    """The code of a finding and the limit that its text names."""
    assert isinstance(item, Finding)
    named = [name for name in Limits.__dataclass_fields__ if f" {name} (" in item.message.en]
    for text in (item.message.fi, item.message.sv):
        assert all(f" {name} (" in text for name in named)
    return item.code, named[0] if named else ""


def peak_of(items: Iterator[Record | Finding]) -> tuple[list[Record | Finding], int]:
    """All items of a source, and the most bytes that reading held."""
    tracemalloc.start()
    try:
        found = list(items)
        return found, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_csv_line_of_a_gigabyte_is_refused_in_a_few_megabytes_and_the_next_row_is_read() -> None:
    source = Generated(b"NRO;NIMI\nA1;x\nA2;", b"a", GIGABYTE, b"\nA3;y\n")

    found = list(read_csv(source, CSV, WIDE))  # type: ignore[arg-type]

    assert [one.key for one in found if isinstance(one, Record)] == ["A1", "A3"]
    assert limit_of(found[1]) == ("limit-exceeded", "row_characters")
    assert found[1].position.row == 3
    assert source.given > 0.9 * GIGABYTE
    assert source.grown < 32 * 1_048_576


def test_a_quotation_that_never_ends_does_not_fill_the_memory() -> None:
    source = Generated(b'NRO;NIMI\nA1;x\nA2;"', b"aaaaaaa\n", 1_100_000)

    found, peak = peak_of(read_csv(source, CSV, WIDE))  # type: ignore[arg-type]

    assert isinstance(found[0], Record)
    assert isinstance(found[1], Finding)
    assert found[1].code == "quotation"
    assert all(isinstance(one, Finding) for one in found[1:])
    assert peak < 512 * len(found) + 16 * 1_048_576


@pytest.mark.parametrize(
    ("limits", "data", "limit", "row"),
    [
        pytest.param(Limits(total_bytes=30), b"NRO;NIMI\n" + b"A1;x\n" * 9, "total_bytes", 0, id="bytes"),
        pytest.param(Limits(records=2), b"NRO;NIMI\nA1;x\nA2;y\nA3;z\n", "records", 4, id="records"),
        pytest.param(Limits(field_characters=5), b"NRO;NIMI\nA1;abcdef\n", "field_characters", 2, id="field"),
        pytest.param(Limits(row_characters=20), b"NRO;NIMI\nA1;" + b"x" * 20 + b"\n", "row_characters", 2, id="row"),
        pytest.param(Limits(fields=1), b"NRO;NIMI\nA1;x\n", "fields", 1, id="fields"),
    ],
)
def test_each_limit_of_a_csv_is_named_where_it_is_exceeded(limits: Limits, data: bytes, limit: str, row: int) -> None:
    found = list(read_csv(io.BytesIO(data), CSV, limits))

    assert limit_of(found[-1]) == ("limit-exceeded", limit)
    assert found[-1].position.row == row


XML = XmlForm("A", "@n")
BOMB = "<!DOCTYPE r [<!ENTITY a 'ha'>" + "".join(
    f"<!ENTITY {chr(98 + i)} '{f'&{chr(97 + i)};' * 10}'>" for i in range(9)
)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("<!DOCTYPE r [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><r><A n='1'><v>&x;</v></A></r>", id="xxe"),
        pytest.param(
            "<!DOCTYPE r [<!ENTITY % x SYSTEM 'http://127.0.0.1:1/x.dtd'> %x;]><r><A n='1'/></r>", id="xxe-parameter"
        ),
        pytest.param("<!DOCTYPE r SYSTEM 'http://127.0.0.1:1/x.dtd'><r><A n='1'/></r>", id="external-dtd"),
        pytest.param(f"{BOMB}]><r><A n='1'><v>&j;</v></A></r>", id="billion-laughs"),
        pytest.param(
            f"<!DOCTYPE r [<!ENTITY a '{'a' * 50_000}'>]><r><A n='1'><v>{'&a;' * 50_000}</v></A></r>",
            id="quadratic-blowup",
        ),
        pytest.param("<!DOCTYPE r><r><A n='1'/></r>", id="bare-doctype"),
    ],
)
def test_xml_with_a_document_type_is_refused_before_anything_of_it_is_used(data: str) -> None:
    found, peak = peak_of(read_xml(io.BytesIO(data.encode()), XML, Limits()))

    assert [one.code for one in found if isinstance(one, Finding)] == ["doctype"]
    assert len(found) == 1
    assert peak < 16 * 1_048_576


def test_an_entity_without_a_document_type_is_no_xml() -> None:
    found = list(read_xml(io.BytesIO(b"<r><A n='1'><v>&x;</v></A></r>"), XML, Limits()))

    assert [one.code for one in found if isinstance(one, Finding)] == ["unreadable"]


@pytest.mark.parametrize(
    ("limits", "data", "limit"),
    [
        pytest.param(Limits(), "<r><A>" + "<x>" * 100_000 + "</x>" * 100_000 + "</A></r>", "depth", id="depth"),
        pytest.param(Limits(), "<x>" * 1000 + "</x>" * 1000, "depth", id="depth-outside-of-records"),
        pytest.param(Limits(), "<r><A>" + "<x/>" * 2000 + "</A></r>", "fields", id="fields"),
        pytest.param(Limits(records=1), "<r><A n='1'/><A n='2'/></r>", "records", id="records"),
        pytest.param(Limits(total_bytes=50), "<r>" + "<A n='1'/>" * 9 + "</r>", "total_bytes", id="bytes"),
        pytest.param(Limits(field_characters=5), "<r><A><v>abcdef</v></A></r>", "field_characters", id="field"),
        pytest.param(Limits(field_characters=5), "<r><A n='abcdef'/></r>", "field_characters", id="attribute"),
        pytest.param(Limits(), f"<r><A><v>{'a' * 11_000_000}</v></A></r>", "field_characters", id="huge-text"),
    ],
)
def test_each_limit_of_xml_is_named(limits: Limits, data: str, limit: str) -> None:
    found = list(read_xml(io.BytesIO(data.encode()), XML, limits))

    assert limit_of(found[-1]) == ("limit-exceeded", limit)


def test_elements_outside_of_records_do_not_gather() -> None:
    source = Generated(b"<r>", b"<x><y>aaaaaaaa</y></x>", 3_000_000, b"</r>")
    tracemalloc.start()

    found = list(read_xml(source, XML, WIDE))  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert found == []
    assert peak < 16 * 1_048_576


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_with_a_hundred_thousand_levels_is_refused_by_its_depth(opening: str) -> None:
    closing = {"[": "]", '{"a":': "}"}[opening]
    data = opening * 100_000 + "1" + closing * 100_000

    found = list(read_json(io.BytesIO(data.encode()), JsonForm("n"), Limits()))

    assert limit_of(found[-1]) == ("limit-exceeded", "depth")


@pytest.mark.parametrize(
    ("limits", "data", "limit"),
    [
        pytest.param(Limits(depth=3), '[{"a": {"b": {"c": {}}}}]', "depth", id="depth"),
        pytest.param(Limits(records=1), '[{"n": 1}, {"n": 2}]', "records", id="records"),
        pytest.param(Limits(total_bytes=20), '[{"n": 1}, {"n": 2}, {"n": 3}]', "total_bytes", id="bytes"),
        pytest.param(Limits(fields=3), '[{"a": [1, 2, 3, 4]}]', "fields", id="fields"),
        pytest.param(Limits(field_characters=3), '[{"a": "abcd"}]', "field_characters", id="field"),
        pytest.param(Limits(row_characters=10), '[{"a": "abcdefgh"}]', "row_characters", id="row"),
    ],
)
def test_each_limit_of_json_is_named(limits: Limits, data: str, limit: str) -> None:
    found = list(read_json(io.BytesIO(data.encode()), JsonForm("n"), limits))

    assert limit_of(found[-1]) == ("limit-exceeded", limit)


def test_a_json_string_of_a_gigabyte_is_not_held() -> None:
    source = Generated(b'[{"n": "1"}, {"n": "', b"a", GIGABYTE, b'"}]')

    found, peak = peak_of(read_json(source, JsonForm("n"), WIDE))  # type: ignore[arg-type]

    assert isinstance(found[0], Record)
    assert limit_of(found[1]) == ("limit-exceeded", "row_characters")
    assert len(found) == 2
    assert peak < 16 * 1_048_576


def test_a_name_twice_in_one_object_is_refused() -> None:
    found = convert("municipality-json", b'[{"asiakasnumero": "A1", "sukunimi": "x", "sukunimi": "y"}]')

    assert codes(found) == ["duplicate-member"]
    assert found[0].bundle is None


def test_an_encoding_that_changes_within_a_file_is_noticed_in_its_cell() -> None:
    rows = "NRO;NIMI\nA1;Äijä\n".encode("windows-1252") + "A2;Öljy\n".encode() + "A3;Åre\n".encode("windows-1252")

    found = list(read_csv(io.BytesIO(rows), CSV, Limits()))

    assert [(one.code, one.position.row, one.position.column) for one in found if isinstance(one, Finding)] == [
        ("encoding", 3, "NIMI")
    ]
    assert [one.fields["NIMI"] for one in found if isinstance(one, Record)] == ["Äijä", "Åre"]


def test_windows_letters_late_in_a_file_that_began_as_utf_8_are_noticed() -> None:
    rows = b"NRO;NIMI\n" + "A;ä\n".encode() * 90_000 + "B;ö\n".encode("windows-1252")

    found = list(read_csv(io.BytesIO(rows), CSV, Limits()))

    assert [(one.code, one.position.row) for one in found if isinstance(one, Finding)] == [("encoding", 90_002)]


def test_marks_of_byte_order_are_taken_off_at_the_start_and_noticed_elsewhere() -> None:
    start = list(read_csv(io.BytesIO("\ufeffNRO;NIMI\nA1;x\n".encode()), CSV, Limits()))
    joined = list(read_csv(io.BytesIO("NRO;NIMI\nA1;x\n\ufeffA2;y\n".encode()), CSV, Limits()))

    assert [one.key for one in start if isinstance(one, Record)] == ["A1"]
    assert [(one.code, one.position.row, one.position.column) for one in joined if isinstance(one, Finding)] == [
        ("encoding", 3, "NRO")
    ]


@pytest.mark.parametrize("text", ['=HYPERLINK("http://x")', "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_text_that_a_spreadsheet_would_run_is_guarded(text: str) -> None:
    assert guarded(text) == "'" + text


def person(**fields: Any) -> bytes:
    """A record of the municipality's JSON."""
    import json

    return json.dumps([{"asiakasnumero": "DEMO-1", "sukunimi": "Ketola", **fields}]).encode()


@pytest.mark.parametrize(
    ("fields", "code", "column"),
    [
        pytest.param({"henkilotunnus": "010190-900B"}, "hetu-check", "henkilotunnus", id="wrong-check-character"),
        pytest.param({"henkilotunnus": "310290-901X"}, "hetu-form", "henkilotunnus", id="code-of-31-february"),
        pytest.param({"syntymaaika": "31.2.1990"}, "date-form", "syntymaaika", id="31-february"),
        pytest.param({"syntymaaika": "29.2.2023"}, "date-form", "syntymaaika", id="no-leap-day"),
        pytest.param({"sukunimi": "Ket\x00ola"}, "control-character", "sukunimi", id="nul"),
        pytest.param({"sukunimi": "Ket\x1b[31mola"}, "control-character", "sukunimi", id="escape"),
        pytest.param({"sukunimi": {"a": 1}}, "unreadable", "sukunimi", id="object-for-text"),
    ],
)
def test_a_value_that_cannot_be_true_is_refused_in_its_field_and_never_repeated(
    fields: dict[str, Any], code: str, column: str
) -> None:
    found = refusals(convert("municipality-json", person(**fields)))

    assert [(one.code, one.position.column) for one in found] == [(code, column)]
    assert str(fields[column]) not in repr(found[0])


def test_a_source_that_takes_too_long_is_cut_and_says_so() -> None:
    times = iter(range(0, 10_000, 7))
    data = b"[" + b",".join(person(asiakasnumero=f"D-{n}")[1:-1] for n in range(9)) + b"]"

    found = convert("municipality-json", data, Limits(seconds=100, clock=lambda: float(next(times))))

    assert found[0].bundle is not None
    assert limit_of(found[-1].findings[0]) == ("limit-exceeded", "seconds")
    assert len(found) < 9
