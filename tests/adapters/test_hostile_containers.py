"""Hostile workbooks and messages: archives that unpack without end, parts that lie, separators of somebody's own."""

from __future__ import annotations

import io
import zipfile

import pytest

from adapters.hl7_messages import Hl7Form, read_hl7
from adapters.sdk import Finding, Limits, Record
from adapters.workbooks import XlsxForm, read_xlsx, write_rows
from tests.adapters.reading import codes, convert
from tests.adapters.test_hostile_input import GIGABYTE, WIDE, Generated, limit_of

SHEET = XlsxForm("Lomake", "NRO")
MESSAGES = Hl7Form(("REF^I12",), frozenset({"PID-3", "OBX"}), "PID-3:PI")


def workbook(rows: list[dict[str, str]]) -> bytes:
    return write_rows(rows, list(rows[0]), SHEET)


def xlsx_of(data: bytes, limits: Limits | None = None) -> list[Record | Finding]:
    return list(read_xlsx(io.BytesIO(data), SHEET, limits or Limits()))


def with_part(data: bytes, name: str, content: bytes) -> bytes:
    """A workbook in which one part of the archive is another."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.namelist():
            target.writestr(member, content if member == name else source.read(member))
        if name not in source.namelist():
            target.writestr(name, content)
    return out.getvalue()


GOOD = workbook([{"NRO": "A1", "NIMI": "Äijä"}, {"NRO": "A2", "NIMI": ""}])


def test_a_zip_bomb_is_refused_by_its_ratio_before_it_is_read_as_a_workbook() -> None:
    bomb = with_part(GOOD, "xl/media/x.bin", b"\0" * 60_000_000)

    found = xlsx_of(bomb)

    assert len(bomb) < 200_000
    assert [limit_of(one) for one in found] == [("limit-exceeded", "ratio")]


def test_an_archive_that_lies_about_its_sizes_is_counted_as_it_unpacks() -> None:
    data = bytearray(with_part(GOOD, "xl/media/x.bin", b"\0" * 60_000_000))
    size = (60_000_000).to_bytes(4, "little")
    while (at := data.find(size)) >= 0:
        data[at : at + 4] = (10).to_bytes(4, "little")

    found = xlsx_of(bytes(data))

    assert [one.code for one in found if isinstance(one, Finding)] in (["unreadable"], ["limit-exceeded"])
    assert len(found) == 1


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        (Limits(total_bytes=100), "total_bytes"),
        (Limits(total_bytes=len(GOOD) + 10), "total_bytes"),
        (Limits(records=1), "records"),
        (Limits(field_characters=1), "field_characters"),
    ],
    ids=["packed", "unpacked", "records", "field"],
)
def test_each_limit_of_a_workbook_is_named(limits: Limits, limit: str) -> None:
    assert limit_of(next(one for one in xlsx_of(GOOD, limits) if isinstance(one, Finding))) == ("limit-exceeded", limit)


def test_an_archive_of_too_many_parts_is_refused() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(1_100):
            archive.writestr(f"{number}", b"")

    assert [limit_of(one) for one in xlsx_of(out.getvalue())] == [("limit-exceeded", "fields")]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"NRO;NIMI\n", id="csv"),
        pytest.param(b"PK\x03\x04" + b"\0" * 100, id="broken-archive"),
        pytest.param(GOOD[:-30], id="cut"),
        pytest.param(with_part(GOOD, "xl/worksheets/sheet1.xml", b"<worksheet"), id="broken-sheet"),
        pytest.param(with_part(GOOD, "xl/workbook.xml", b""), id="no-workbook"),
    ],
)
def test_what_is_no_such_workbook_is_one_finding(data: bytes) -> None:
    found = xlsx_of(data)

    assert [one.code for one in found if isinstance(one, Finding)] == ["unreadable"]
    assert len(found) == 1


def test_a_workbook_without_the_sheet_says_which_sheet_is_missing() -> None:
    (found,) = xlsx_of(write_rows([{"NRO": "A1"}], ["NRO"], XlsxForm("Muu", "NRO")))

    assert isinstance(found, Finding)
    assert (found.code, found.position.column) == ("sheet-missing", SHEET.sheet)


def test_entities_in_a_workbook_are_not_resolved() -> None:
    sheet = (
        b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>"
        b"<worksheet xmlns='http://schemas.openxmlformats.org/spreadsheetml/2006/main'><sheetData>"
        b"<row r='1'><c r='A1' t='inlineStr'><is><t>NRO</t></is></c></row>"
        b"<row r='2'><c r='A2' t='inlineStr'><is><t>&e;</t></is></c></row></sheetData></worksheet>"
    )

    found = xlsx_of(with_part(GOOD, "xl/worksheets/sheet1.xml", sheet))

    assert "root:" not in repr(found)
    assert all(isinstance(one, Finding) or one.fields["NRO"] in ("", "&e;") for one in found)


def test_a_row_with_more_cells_than_headings_is_a_finding_and_an_empty_row_is_none() -> None:
    data = write_rows([{"NRO": "A1", "": "x"}, {}, {"NRO": "A2"}], ["NRO", ""], SHEET)

    found = xlsx_of(data)

    assert [one.code if isinstance(one, Finding) else one.key for one in found] == ["column-count", "A2"]
    assert [one.position.row for one in found] == [2, 4]


def message(person: str = "PID|1||A1^^^^PI", head: str = "MSH|^~\\&|A|B|||20261124||REF^I12|1|P|2.5.1") -> bytes:
    return f"{head}\r{person}\rOBX|1|ST|LUPA||x\r".encode()


def hl7_of(data: bytes, limits: Limits | None = None) -> list[Record | Finding]:
    return list(read_hl7(io.BytesIO(data), MESSAGES, limits or Limits()))


@pytest.mark.parametrize(
    "head",
    [
        pytest.param("MSH#*@!%#A#B###20261124##REF*I12#1#P#2.5.1", id="all"),
        pytest.param("MSH|^~&\\|A|B|||20261124||REF^I12|1|P|2.5.1", id="swapped"),
        pytest.param("MSH|^^^^|A|B|||20261124||REF^I12|1|P|2.5.1", id="one-for-all"),
        pytest.param("MSH|||A|B|||20261124||REF^I12|1|P|2.5.1", id="none"),
        pytest.param("MSHA^~\\&A", id="letter"),
        pytest.param("MSH|^~\\&", id="end"),
        pytest.param("MSH", id="bare"),
    ],
)
def test_a_message_with_separators_of_its_own_is_refused_and_the_next_is_read(head: str) -> None:
    found = hl7_of(message(head=head) + message())

    assert isinstance(found[0], Finding)
    assert found[0].code == "separators"
    assert isinstance(found[1], Record)
    assert len(found) == 2


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(message(head="MSH|^~\\&|A|B|||20261124||ORU^R01|1|P|2.5.1"), "message-type", id="type"),
        pytest.param(message(head="MSH|^~\\&|A|B|||1||REF^I12|1|P|2.5|||||FIN|KOI8-R"), "encoding", id="charset"),
        pytest.param(message().replace(b"A1", b"\xff"), "encoding", id="not-utf-8"),
        pytest.param(b"PID|1||A1\r", "unreadable", id="no-msh"),
        pytest.param(message(person="pid|1"), "unreadable", id="no-segment"),
        pytest.param(b"\x00\x01\x02", "unreadable", id="binary"),
    ],
)
def test_what_is_no_such_message_is_one_finding(data: bytes, code: str) -> None:
    found = hl7_of(data)

    assert [one.code for one in found if isinstance(one, Finding)] == [code]
    assert len(found) == 1


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        (Limits(total_bytes=100), "total_bytes"),
        (Limits(records=1), "records"),
        (Limits(row_characters=40), "row_characters"),
        (Limits(fields=4), "fields"),
        (Limits(field_characters=3), "field_characters"),
    ],
    ids=["bytes", "records", "row", "fields", "field"],
)
def test_each_limit_of_messages_is_named(limits: Limits, limit: str) -> None:
    found = hl7_of(message() + message(), limits)

    assert limit_of(next(one for one in found if isinstance(one, Finding))) == ("limit-exceeded", limit)


def test_a_segment_of_a_gigabyte_is_not_held_and_the_next_message_is_read() -> None:
    source = Generated(message() + b"OBX|1|ST|X||", b"a", GIGABYTE, b"\r" + message())

    found = list(read_hl7(source, MESSAGES, WIDE))  # type: ignore[arg-type]

    assert limit_of(found[0]) == ("limit-exceeded", "row_characters")
    assert isinstance(found[1], Record)
    assert source.grown < 32 * 1_048_576


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_messages_are_read_with_any_line_end_and_within_frames(end: str) -> None:
    framed = b"".join(b"\x0b" + message() + b"\x1c\r" for _ in range(2)).replace(b"\r", end.encode())

    assert [one.key for one in hl7_of(framed) if isinstance(one, Record)] == ["A1", "A1"]


def test_eight_bit_letters_are_read_by_the_character_set_that_the_message_names() -> None:
    head = "MSH|^~\\&|A|B|||1||REF^I12|1|P|2.5|||||FIN|8859/1"
    data = message(person="PID|1||A1^^^^PI||Äijä", head=head).decode().encode("iso-8859-1")

    (found,) = hl7_of(data)

    assert isinstance(found, Record)
    assert found.fields["PID-5.1"] == "Äijä"


def test_a_message_about_two_persons_is_refused_for_what_follows_the_second_is_not_of_the_first() -> None:
    data = message(
        person="PID|1||A1^^^MIGRI^PI||Yksi\rPID|2||A2^^^MIGRI^PI||Kaksi",
    )

    (mapped,) = convert("county-hl7", data.replace(b"|ST|LUPA||x", b"|ST|LUPA||pending"))

    assert mapped.bundle is None
    assert "one-person" in codes([mapped])
