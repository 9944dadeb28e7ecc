"""Tables in several files: each record with its rows of the other file, or nothing at all."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest

from adapters.faults import MappingError
from adapters.sdk import Limits
from tests.adapters.test_layouts import PATIENT, adapter, run, told

JOIN = 'file: "henkilot-*.csv", join: [{file: "tarpeet-*.csv", on: NRO, into: TARPEET}]'
NEEDS = "  ServiceRequest:\n    each: {of: TARPEET}\n    code: {from: ./TARVE, as: code service-need}\n"
PERSONS = "NRO;SUKU\nA1;Äijälä\nA2;Oja\n"
ROWS = "NRO;TARVE\nA2;housing\nA2;language-training\n"


def source(layout: str = JOIN) -> str:
    return f'{{format: csv, encoding: [utf-8], delimiter: ";", key: NRO, layout: {{{layout}}}}}'


def drop(**files: str) -> bytes:
    """An archive of files; `__` in a name is a hyphen."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(f"{name.replace('__', '-')}.csv", text)
    return out.getvalue()


def needs_of(found: list[Any]) -> list[int]:
    return [len(item.bundle["entry"]) - 1 for item in found if item.bundle]


def test_each_record_has_its_rows_of_the_other_file() -> None:
    found = run(adapter(source(), PATIENT + NEEDS), drop(tarpeet__1128=ROWS, henkilot__1128=PERSONS))

    assert told(found) == ["A1 Äijälä", "A2 Oja"]
    assert needs_of(found) == [0, 2]


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"henkilot__1128": PERSONS}, "part-missing"),
        ({"tarpeet__1128": ROWS}, "part-missing"),
        ({"henkilot__1128": PERSONS, "tarpeet__1127": ROWS}, "part-of-another"),
        ({"henkilot__1128": PERSONS, "tarpeet__1128": ROWS, "tarpeet__1127": ROWS}, "part-twice"),
        ({"henkilot__1128": PERSONS, "tarpeet__1128": ROWS, "henkilot__1129": PERSONS}, "part-twice"),
        ({"henkilot__1128": PERSONS, "tarpeet__1128": ""}, "column-missing"),
        ({"henkilot__1128": PERSONS, "tarpeet__1128": "NUMERO;TARVE\nA2;housing\n"}, "column-missing"),
        ({"henkilot__1128": PERSONS, "tarpeet__1128": 'NRO;TARVE\nA1;"housing\nA2;housing\n'}, "quotation"),
        ({"henkilot__1128": PERSONS, "tarpeet__1128": "NRO;TARVE\nA1;housing;x\n"}, "column-count"),
    ],
)
def test_a_drop_that_is_not_whole_is_not_read_at_all(files: dict[str, str], code: str) -> None:
    assert told(run(adapter(source(), PATIENT + NEEDS), drop(**files))) == [f"!{code}"]


def test_one_of_the_files_alone_is_no_drop() -> None:
    assert told(run(adapter(source(), PATIENT + NEEDS), PERSONS.encode())) == ["!part-missing"]


@pytest.mark.parametrize("cut", [10, 120, 250])
def test_an_archive_that_is_cut_is_not_read(cut: int) -> None:
    whole = drop(henkilot__1128=PERSONS, tarpeet__1128=ROWS)

    assert told(run(adapter(source(), PATIENT + NEEDS), whole[:cut])) == ["!unreadable"]


def test_rows_of_nobody_are_told_and_are_nobodys() -> None:
    data = drop(henkilot__1=PERSONS + ";Nimetön\n", tarpeet__1=ROWS + "A9;housing\n;housing\na1;housing\n")

    found = run(adapter(source(), PATIENT + NEEDS), data)

    assert [code for code in told(found) if code == "!join-apart"] == ["!join-apart"] * 3
    assert needs_of(found) == [0, 2]


def test_a_record_that_is_there_twice_shares_no_rows() -> None:
    found = run(adapter(source(), PATIENT + NEEDS), drop(henkilot__1=PERSONS + "A2;Oja\n", tarpeet__1=ROWS))

    assert told(found)[1:] == ["!duplicate-key", "!duplicate-key"]


def test_a_file_that_the_mapping_does_not_know_is_told_once() -> None:
    found = run(adapter(source(), PATIENT + NEEDS), drop(henkilot__1=PERSONS, tarpeet__1=ROWS, muut__1="X\n1\n"))

    assert [[told.code for told in item.findings] for item in found] == [["not-read"], []]


def test_families_are_brought_together_after_their_rows() -> None:
    family = "  RelatedPerson:\n    each: {of: PERHE}\n    relationship: [{from: ./SUHDE, as: table suhde}]\n"
    layout = f"{JOIN}, group: {{by: PERHENRO, into: PERHE}}"
    made = adapter(source(layout), f"tables:\n  suhde: {{H: guardian}}\n{PATIENT}{NEEDS}{family}")
    persons = "NRO;SUKU;PERHENRO;SUHDE\nA1;Oja;1;H\nA2;Oja;1;H\n"

    found = run(made, drop(henkilot__1=persons, tarpeet__1="NRO;TARVE\nA1;housing\n"))

    kinds = [
        sorted(entry["resource"]["resourceType"] for entry in item.bundle["entry"]) for item in found if item.bundle
    ]
    assert kinds == [["Patient", "RelatedPerson", "ServiceRequest"], ["Patient", "RelatedPerson"]]


def test_an_archive_that_unpacks_without_end_is_stopped_at_its_limit() -> None:
    data = drop(henkilot__1=PERSONS, tarpeet__1=ROWS, muut__1="x" * 2_000_000)

    found = list(adapter(source(), PATIENT + NEEDS).convert(io.BytesIO(data), Limits(ratio=10)))

    assert told(found) == ["!limit-exceeded"]


@pytest.mark.parametrize(
    "layout",
    [
        'join: [{file: "tarpeet-*.csv", on: NRO, into: TARPEET}]',
        'file: "henkilot-*.csv"',
        'file: "henkilot.csv", join: [{file: "tarpeet-*.csv", on: NRO, into: TARPEET}]',
        'file: "x-*.csv", join: [{file: "x-*.csv", on: NRO, into: TARPEET}]',
        "join: [{sheet: Tarpeet, on: NRO, into: TARPEET}]",
    ],
)
def test_files_that_come_together_are_declared_whole(layout: str) -> None:
    with pytest.raises(MappingError):
        run(adapter(source(layout), PATIENT + NEEDS), b"")


FIXED = (
    'file: "henkilot-*.csv", header: 0, columns: [NRO, SUKU], widths: [6, 12], footer: [Yht], '
    'join: [{file: "tarpeet-*.csv", on: NRO, into: TARPEET, header: 0, columns: [NRO, TARVE], widths: [6, 20], JOINED}]'
)


def fixed(layout: str = FIXED.replace(", JOINED", "")) -> str:
    return f"{{format: fixed, encoding: [utf-8], key: NRO, layout: {{{layout}}}}}"


def columns(*rows: tuple[str, str]) -> str:
    return "".join(f"{number:<6}{text}\n" for number, text in rows)


PEOPLE = columns(("A1", "Äijälä"), ("A2", "Oja"), ("Yht 2", ""))


def test_columns_of_fixed_width_come_in_several_files_too() -> None:
    rows = columns(("A2", "housing"), ("A2", "language-training"))

    found = run(adapter(fixed(), PATIENT + NEEDS), drop(tarpeet__1128=rows, henkilot__1128=PEOPLE))

    assert told(found) == ["A1 Äijälä", "A2 Oja"]
    assert needs_of(found) == [0, 2]


@pytest.mark.parametrize(
    ("rows", "outcome"),
    [
        (columns(("A3", "housing")), ["A1 Äijälä", "A2 Oja", "!join-apart"]),
        ("A2\n", ["!column-count"]),
        (columns(("A2", "housing")) + "A1".ljust(26) + "x\n", ["!column-count"]),
        (columns(("A2", "housing"), ("Rivit 2", "")), ["A1 Äijälä", "A2 Oja", "!join-apart"]),
        ("A2;housing\n", ["A1 Äijälä", "A2 Oja", "!join-apart"]),
    ],
)
def test_a_file_of_fixed_width_whose_rows_are_not_of_its_columns_stops_the_drop(rows: str, outcome: list[str]) -> None:
    found = run(adapter(fixed(), PATIENT + NEEDS), drop(tarpeet__1128=rows, henkilot__1128=PEOPLE))

    assert told(found) == outcome


@pytest.mark.parametrize(("count", "outcome"), [(1, ["A1 Äijälä", "A2 Oja"]), (2, ["!count-differs"])])
def test_rows_of_another_file_are_counted_as_that_file_says(count: int, outcome: list[str]) -> None:
    layout = FIXED.replace("JOINED", "footer: [Rivit], counted: true")
    rows = columns(("A2", "housing"), ("Rivit ", f"yhteensä {count}"))

    assert (
        told(run(adapter(fixed(layout), PATIENT + NEEDS), drop(tarpeet__1128=rows, henkilot__1128=PEOPLE))) == outcome
    )


def test_titles_stand_above_the_header_of_another_file() -> None:
    layout = JOIN.replace("into: TARPEET", "into: TARPEET, header: 3")
    rows = f"Tarpeet 28.11.2026\n\n{ROWS}"

    found = run(adapter(source(layout), PATIENT + NEEDS), drop(henkilot__1128=PERSONS, tarpeet__1128=rows))

    assert needs_of(found) == [0, 2]


@pytest.mark.parametrize(
    "layout",
    [
        FIXED.replace(", header: 0, columns: [NRO, TARVE], widths: [6, 20], JOINED", ""),
        FIXED.replace(", widths: [6, 20], JOINED", ""),
        FIXED.replace("widths: [6, 20], JOINED", "widths: [6]"),
        FIXED.replace("JOINED", "group: {by: NRO, into: X}"),
        FIXED.replace("JOINED", "header: true"),
    ],
)
def test_each_file_of_fixed_width_says_where_its_columns_end(layout: str) -> None:
    with pytest.raises(MappingError):
        adapter(fixed(layout), PATIENT + NEEDS).mapping  # noqa: B018
    with pytest.raises(MappingError):
        adapter(source(JOIN.replace("into: TARPEET", "into: TARPEET, widths: [6, 20]")), PATIENT + NEEDS).mapping  # noqa: B018
