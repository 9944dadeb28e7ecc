"""Consents from files: what a good row becomes, and what is told of a bad one."""

from __future__ import annotations

import json

import pytest

from consent.words.forms import COLUMNS, MOST, column_of, read_csv, read_json
from consent.words.reading import ConsentError

HEADER = (
    "subject_system;subject;status;given_by;mandate_until;minor_opinion;purposes;recipients;categories;language;form"
)
ROW = "urn:oid:1.2.246.21;010190-900P;active;self;;;service-need-lookup;municipality county;health-needs;ar;S-3"


def csv_of(*rows: str, header: str = HEADER) -> bytes:
    return "\r\n".join((header, *rows, "")).encode()


def test_row_becomes_a_form() -> None:
    (row,) = read_csv(csv_of(ROW))

    assert row.number == 2
    assert row.form is not None
    assert row.form["subject"] == {"system": "urn:oid:1.2.246.21", "value": "010190-900P"}
    assert row.form["recipients"] == ["municipality", "county"]
    assert row.form["evidence"] == {"form": "S-3", "digest": None}
    assert row.form["given_by"] == {"kind": "self"}


@pytest.mark.parametrize("column", ["given_by", "minor_opinion"])
def test_row_that_does_not_say_who_gives_it_says_nobody(column: str) -> None:
    header = HEADER if column == "given_by" else HEADER.replace("given_by;", "")
    (row,) = read_csv(csv_of(ROW.replace(";self;", ";;" if column == "given_by" else ";"), header=header))

    assert row.form is not None
    assert row.form["given_by"] is None


@pytest.mark.parametrize(
    "data",
    [
        csv_of(ROW).replace(b";", b","),
        b"\xef\xbb\xbf" + csv_of(ROW),
        csv_of(ROW).replace(b"\r\n", b"\n"),
        csv_of(ROW, "", ";" * (HEADER.count(";"))),
        csv_of(ROW, header=HEADER.upper()),
    ],
    ids=["commas", "byte order mark", "line feeds", "empty rows", "capitals in the header"],
)
def test_file_as_spreadsheets_write_it(data: bytes) -> None:
    (row,) = read_csv(data)

    assert row.form is not None
    assert row.form["categories"] == ["health-needs"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (csv_of(ROW, header=HEADER.replace("language", "kieli")), "there is no column kieli"),
        (csv_of(ROW, header=HEADER.replace("subject_system", "status2")), "the column subject_system is missing"),
        (csv_of(ROW, header=HEADER.replace("form", "language")), "a column stands twice"),
        (csv_of("\xe4").replace("\xe4".encode(), b"\xe4"), "not UTF-8"),
        (b"", "the column subject_system, subject is missing"),
        (csv_of(*[ROW] * (MOST + 1)), f"at most {MOST}"),
        (csv_of('urn;"' + "x" * 200_000), "field larger than field limit"),
    ],
    ids=["unknown column", "missing column", "column twice", "another encoding", "empty", "too many", "endless value"],
)
def test_file_that_cannot_be_taken_is_told_why(data: bytes, says: str) -> None:
    with pytest.raises(ConsentError, match=says):
        list(read_csv(data))


def test_bad_row_does_not_take_the_others_with_it() -> None:
    header = HEADER + ";subject_age"

    good, short, age = read_csv(csv_of(ROW + ";30", ROW, ROW + ";many", header=header))

    assert good.form is not None
    assert short.form is None
    assert "the row has" in str(short.error)
    assert age.error is not None
    assert column_of(age.error.pointer) == "subject_age"


@pytest.mark.parametrize(
    ("value", "expected"), [("yes", True), ("kyllä", True), ("ja", True), ("ei", False), ("", None)]
)
def test_unaccompanied_in_the_language_of_the_form(value: str, expected: bool | None) -> None:
    (row,) = read_csv(csv_of(f"{ROW};{value}", header=HEADER + ";unaccompanied"))

    assert row.form is not None
    assert row.form["subject_unaccompanied"] is expected


def test_json_list_and_document_are_the_same() -> None:
    form = {"subject": {"system": "x", "value": "y"}}

    listed, document = (
        list(read_json(json.dumps([form]).encode())),
        list(read_json(json.dumps({"consents": [form]}).encode())),
    )

    assert listed == document
    assert listed[0].number == 1


@pytest.mark.parametrize("data", [b"{", b"{}", b'"x"', b"[" * 100_000], ids=["broken", "no list", "a text", "deep"])
def test_json_that_is_no_list_of_consents_is_refused(data: bytes) -> None:
    with pytest.raises(ConsentError):
        list(read_json(data))


def test_every_column_has_a_place_in_the_record() -> None:
    assert {"subject", "status", "purposes", "mandate_until", "digest", "unaccompanied"} <= set(COLUMNS)
    assert column_of("/given_by/kind") == "given_by"
    assert column_of("/nowhere") == "/nowhere"
