"""Layouts: titles above the header, sums below the rows, envelopes, families by row and by column, a second sheet."""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import openpyxl
import pytest

from adapters.faults import MappingError
from adapters.mapped import MappedAdapter
from adapters.mapping import CompiledMapping, compile_mapping
from adapters.sdk import Limits, Manifest, Mapped, Text
from adapters.texts import missing_columns
from schemas.catalogue import catalogue

PATIENT = """\
resources:
  Patient:
    identifier:
      migri-customer: {from: NRO, required: true}
    name: [{family: {from: SUKU}}]
"""
ROWS = "NRO;SUKU\nA1;Äijälä\nA2;Oja\n"


class Made(MappedAdapter):
    """An adapter of a mapping that a test writes."""

    def __init__(self, text: str, beside: dict[str, str] | None = None) -> None:
        super().__init__(Manifest("made", Text("x", "x", "x"), ("text/x",), writes=True), __name__, "made.yaml")
        self._text = text
        self._files = beside or {}

    @cached_property
    def mapping(self) -> CompiledMapping:
        return compile_mapping(self._text, catalogue(), source="made.yaml", read=self._files.__getitem__)


def adapter(source: str, rest: str = PATIENT, beside: dict[str, str] | None = None) -> Made:
    return Made(f"mapping: made\nversion: 1\nsource: {source}\n{rest}", beside)


def run(made: Made, data: bytes) -> list[Mapped]:
    return list(made.convert(io.BytesIO(data), Limits()))


def told(mapped: Iterable[Mapped]) -> list[str]:
    """Of each record its key and its name, or the codes of its findings."""
    found = []
    for item in mapped:
        if item.bundle is None:
            found.append("!" + " ".join(finding.code for finding in item.findings))
        else:
            (name,) = item.bundle["entry"][0]["resource"].get("name", [{}])
            found.append(f"{item.key} {name.get('family', '')}".strip())
    return found


def csv(layout: str = "", delimiter: str = ";") -> str:
    layout = f", layout: {{{layout}}}" if layout else ""
    return f'{{format: csv, encoding: [utf-8-sig, windows-1252], delimiter: "{delimiter}", key: NRO{layout}}}'


BOTH = ["A1 Äijälä", "A2 Oja"]


@pytest.mark.parametrize(
    ("layout", "text", "outcome"),
    [
        ("", "sep=;\n" + ROWS, BOTH),
        ("", "sep=,\n" + ROWS, ["!delimiter"]),
        ("header: 3", "Asiakkaat 24.11.2026;\n;\n" + ROWS, BOTH),
        ("header: 3", 'Vain "sisäiseen käyttöön\n\n' + ROWS, BOTH),
        ("", "Asiakkaat;\n" + ROWS, ["!header-unknown"]),
        ("", "NRO;SUKUNIMI\nA1;Oja\n", ["!column-missing"]),
        ("", "NRO,SUKU\nA1,Oja\n", ["!header-unknown"]),
        ("", "NRO;SUKU;\nA1;Äijälä;\nA2;Oja;\n", BOTH),
        ("", "NRO;SUKU;\nA1;Äijälä;\nA2;Oja;lisää\n", ["A1 Äijälä", "!column-count"]),
        ("", "NRO;SUKU\nA1;Äijälä\n\n;\nNRO;SUKU\nA2;Oja\n", BOTH),
        ("", "NRO;SUKU;SUKU\nA1;Äijälä;x\n", ["!duplicate-member"]),
        ("columns: [NRO, SUKU, SUKU_2]", "NRO;SUKU;SUKU\nA1;Äijälä;\nA2;Oja;\n", BOTH),
        ("columns: [NRO, SUKU, X]", ROWS, ["!column-count"]),
        ("header: 0, columns: [NRO, SUKU]", "A1;Äijälä\nA2;Oja\n", BOTH),
        ("footer: [Yhteensä]", ROWS + "Yhteensä;2\n", BOTH),
        ("", ROWS + "Yhteensä 2\n", [*BOTH, "!column-count"]),
        ("footer: [Yhteensä], counted: true", ROWS + "Yhteensä 2\n", BOTH),
        ("footer: [Yhteensä], counted: true", ROWS + "Yhteensä 3\n", [*BOTH, "!count-differs"]),
        ("", "NRO;SUKU\n", ["!no-record"]),
        ("", "", ["!no-record"]),
        ("", "\n\n", ["!no-record"]),
        ("", "NRO;SU\u0308KU\nA1;x\n", ["!column-missing"]),
    ],
)
def test_a_table_is_read_as_its_layout_says_or_refused_as_a_whole(layout: str, text: str, outcome: list[str]) -> None:
    assert told(run(adapter(csv(layout)), text.encode())) == outcome


def test_a_header_with_marks_apart_as_a_mac_writes_them_is_the_same_header() -> None:
    made = adapter(csv(), PATIENT.replace("SUKU", "Äiti"))

    assert told(run(made, "NRO;A\u0308iti\nA1;Oja\n".encode())) == ["A1 Oja"]


def test_column_that_comes_nearest_is_named_without_what_may_be_a_persons_number() -> None:
    told = missing_columns(["ASIAKKAAN_TUNNUS"], ["ASIAKKAAN_TUNNUS 010190-999X"], 1)

    assert "ASIAKKAAN_TUNNUS … (ASIAKKAAN_TUNNUS)" in told.hint.en
    assert "999X" not in str(told)


def test_a_missing_column_is_told_once_with_the_name_that_comes_nearest() -> None:
    (item,) = run(adapter(csv()), b"NRO;SUKUN\nA1;Oja\n")

    assert item.findings[0].position.column == "SUKU"
    assert "SUKUN" in item.findings[0].hint.en


def test_an_encoding_is_decided_by_the_first_letter_that_needs_one_however_late_it_comes() -> None:
    rows = "".join(f"A{number};Oja\n" for number in range(40_000))
    text = f"NRO;SUKU\n{rows}B1;Äijälä\nB2;Töölö\n"

    for encoding in ("utf-8", "windows-1252"):
        found = run(adapter(csv()), text.encode(encoding))
        assert told(found[-2:]) == ["B1 Äijälä", "B2 Töölö"]
        assert len(found) == 40_002


@pytest.mark.parametrize("encoding", ["cp850", "iso-8859-15", "windows-1252", "utf-8"])
def test_of_several_encodings_that_decode_the_one_that_makes_words_is_taken(encoding: str) -> None:
    source = csv().replace("[utf-8-sig, windows-1252]", "[utf-8-sig, windows-1252, iso-8859-15, cp850]")
    name = "Šerifovic" if encoding != "cp850" else "Mäkinen"

    assert told(run(adapter(source), f"NRO;SUKU\nA1;{name}\nA2;Hölttä\n".encode(encoding))) == [
        f"A1 {name}",
        "A2 Hölttä",
    ]


def test_columns_of_fixed_width_are_cut_where_the_layout_says() -> None:
    source = (
        "{format: fixed, encoding: [windows-1252], key: NRO, "
        "layout: {header: 0, columns: [NRO, SUKU, ETU], widths: [4, 10, 8], footer: [LKM], counted: true}}"
    )
    rest = PATIENT + "        given: {from: ETU, as: words}\n"
    text = "A1  Äijälä    Aino    \r\nA2  Oja\r\nA3  Oja       Aino    liikaa\r\nLKM 3\r\n"

    made = adapter(source, rest.replace("name: [{family: {from: SUKU}}]", "name:\n      - family: {from: SUKU}"))

    assert told(run(made, text.encode("cp1252"))) == ["A1 Äijälä", "A2 Oja", "!column-count"]


GROUPED = """\
resources:
  Patient:
    identifier:
      migri-customer: {from: NRO, required: true}
    name: [{family: {from: SUKU}}]
    extension:
      family: {child-age: {each: {of: PERHE, where: {ROOLI: lapsi}}, from: ./IKA, as: number}}
ignored: [PERHE/NRO, PERHE/SUKU, PERHE/TAPAUS, TAPAUS, ROOLI, IKA]
"""


def test_rows_of_a_family_that_stand_together_see_each_other() -> None:
    made = adapter(csv("group: {by: TAPAUS, into: PERHE}"), GROUPED)
    text = (
        "NRO;SUKU;TAPAUS;ROOLI;IKA\nA1;Oja;T1;päämies;40\nA2;Oja;T1;lapsi;7\nA3;Yksi;T2;päämies;30\nA4;Oja;T1;lapsi;3\n"
    )

    found = run(made, text.encode())

    assert told(found) == ["A1 Oja", "A2 Oja", "A3 Yksi", "!group-apart"]
    first = found[0].bundle
    assert first is not None
    assert first["entry"][0]["resource"]["extension"][0]["extension"] == [{"url": "child-age", "valueInteger": 7}]


def test_a_row_for_each_need_makes_one_person_with_all_of_them() -> None:
    rest = PATIENT + (
        "  ServiceRequest:\n    - {code: {from: TARVE, as: code service-need}}\n"
        "    - {each: {of: MUUT}, code: {from: ./TARVE, as: code service-need}}\n"
        "ignored: [MUUT/NRO, MUUT/SUKU]\n"
    )
    made = adapter(csv("group: {by: NRO, into: MUUT, records: first}"), rest)
    text = "NRO;SUKU;TARVE\nA1;Oja;housing\nA1;Oja;language-training\nA2;Yksi;housing\n"

    one, two = run(made, text.encode())

    assert told([one, two]) == ["A1 Oja", "A2 Yksi"]
    assert one.bundle is not None
    assert len(one.bundle["entry"]) == 3


def test_the_persons_of_a_row_are_records_of_their_own_and_nobody_is_made_of_nothing() -> None:
    made = adapter(csv('persons: ["PA ", "Puoliso ", "Lapsi1 "]'), PATIENT + "ignored: [Maa]\n")
    text = "NRO;Maa;PA SUKU;Puoliso SUKU;Lapsi1 SUKU\nT1;SYR;Oja;;Pieni\nT2;SYR;;Toinen;\n"

    assert told(run(made, text.encode())) == ["T1-1 Oja", "T1-3 Pieni", "T2-2 Toinen"]


# -- envelopes and trees ----------------------------------------------------------------------------------------------

JSON = (
    '{"versio": 1, "data": {"maara": %s, "asiakkaat": [{"NRO": "A1", "SUKU": "Äijälä"}, {"NRO": "A2", "SUKU": "Oja"}]}}'
)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (JSON % 2, BOTH),
        (JSON % 5, [*BOTH, "!count-differs"]),
        ((JSON % 2).replace("asiakkaat", "clients"), ["!no-record"]),
        ((JSON % 2)[:-1], [*BOTH, "!unreadable"]),
        ((JSON % 2) + "x", [*BOTH, "!unreadable"]),
        ('{"data": {"asiakkaat": []}}', ["!no-record"]),
        ('[{"NRO": "A1"}]', ["!no-record"]),
    ],
    ids=["whole", "one-page", "renamed", "cut", "more", "none", "no-envelope"],
)
def test_the_records_of_an_envelope_are_found_and_counted(text: str, outcome: list[str]) -> None:
    source = "{format: json, key: NRO, layout: {records: data/asiakkaat, total: maara}}"

    assert told(run(adapter(source), text.encode())) == outcome


def test_members_of_objects_in_lists_are_reached_by_their_paths_and_come_back() -> None:
    rest = (
        PATIENT + "  ServiceRequest:\n    each: {of: tarpeet, where: {tila/koodi: auki}}\n"
        "    code: {from: ./palvelu/koodi, as: code service-need}\n"
    )
    made = adapter("{format: json, key: NRO}", rest)
    data = (
        b'[{"NRO": "A1", "SUKU": "Oja", "tarpeet": [{"palvelu": {"koodi": "housing"}, "tila": {"koodi": "auki"}},'
        b' {"palvelu": {"koodi": "housing", "nimi": "x"}, "tila": {"koodi": "suljettu"}}]}]'
    )

    (item,) = run(made, data)

    assert item.bundle is not None
    assert len(item.bundle["entry"]) == 2
    assert [(found.code, found.position.column) for found in item.findings] == [("not-taken", "tarpeet[2]")]
    (again,) = run(made, made.from_canonical(item.bundle).body)
    assert again.bundle == item.bundle


XML = """<?xml version="1.0"?>
<m:Vienti xmlns:m="urn:migri:1" xmlns:p="urn:perhe:1" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
 <m:Asiakas nro="A1"><m:Suku>Oja</m:Suku><p:Jasen rooli="lapsi"><p:Ika>7</p:Ika></p:Jasen>
  <p:Jasen rooli="puoliso"><p:Ika xsi:nil="true"/></p:Jasen></m:Asiakas>
 <m:Asiakas nro="A2"><m:Suku xsi:nil="true"/></m:Asiakas>
 <m:Asiakas nro="A3"><m:Suku xsi:nil="true">Oja</m:Suku></m:Asiakas>
</m:Vienti>"""


def test_elements_are_named_by_their_prefixes_and_repeated_ones_are_kept_apart() -> None:
    source = '{format: xml, record: Asiakas, key: "@nro", layout: {namespaces: {"": "urn:migri:1", p: "urn:perhe:1"}}}'
    rest = (
        PATIENT.replace("NRO", '"@nro"').replace("SUKU", "Suku") + "    extension:\n      family: {child-age: "
        '{each: {of: "p:Jasen", where: {"@rooli": lapsi}}, from: "./p:Ika", as: number}}\n'
    )

    one, two, three = run(adapter(source, rest), XML.encode())

    assert told([one, two, three]) == ["A1 Oja", "A2", "!unreadable"]
    assert one.bundle is not None
    assert one.bundle["entry"][0]["resource"]["extension"][0]["extension"] == [{"url": "child-age", "valueInteger": 7}]
    assert [found.position.column for found in one.findings] == ["p:Jasen[2]"]


def workbook(**sheets: list[list[Any]]) -> bytes:
    book = openpyxl.Workbook()
    for index, (name, rows) in enumerate(sheets.items()):
        sheet = book.active if index == 0 else book.create_sheet()
        assert sheet is not None
        sheet.title = name
        for row in rows:
            sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_a_sheet_with_titles_sums_and_a_second_sheet_is_read_whole() -> None:
    source = (
        "{format: xlsx, sheet: asiakkaat, key: NRO, layout: {header: 3, footer: [Yhteensä], counted: true, "
        "join: [{sheet: Tarpeet, on: NRO, into: TARPEET}]}}"
    )
    rest = PATIENT + ("  ServiceRequest:\n    each: {of: TARPEET}\n    code: {from: ./TARVE, as: code service-need}\n")
    data = workbook(
        Asiakkaat=[["Raportti"], [], ["NRO", "SUKU"], ["A1", "Äijälä"], ["A2", "Oja"], ["Yhteensä", 2]],
        Tarpeet=[["NRO", "TARVE"], ["A2", "housing"], ["A2", "language-training"], ["A9", "housing"]],
    )

    found = run(adapter(source, rest), data)

    assert told(found) == [*BOTH, "!join-apart"]
    assert [len(item.bundle["entry"]) for item in found[:2] if item.bundle] == [1, 3]


# -- conditions, defaults, constants, vocabularies --------------------------------------------------------------------


def patient_of(item: Mapped) -> dict[str, Any]:
    assert item.bundle is not None, item.findings
    found: dict[str, Any] = item.bundle["entry"][0]["resource"]
    return found


CONDITION = PATIENT + (
    "    telecom:\n      - {when: {KIELTO: [E, ei]}, system: phone, value: {from: PUH, as: phone}}\n"
    "    extension:\n      safety-prohibition: {active: {from: KIELTO, as: yes-no}}\n"
)


@pytest.mark.parametrize(("told_of", "is_there"), [("E", True), ("Ei", True), ("K", False), ("", False)])
def test_what_stands_under_a_condition_is_made_when_it_holds_and_is_not_reported_when_not(
    told_of: str, is_there: bool
) -> None:
    (item,) = run(adapter(csv(), CONDITION), f"NRO;SUKU;KIELTO;PUH\nA1;Oja;{told_of};0401234567\n".encode())

    assert ("telecom" in patient_of(item)) is is_there
    assert item.findings == ()


def test_what_a_mapping_says_of_everybody_stays() -> None:
    rest = PATIENT + (
        "    extension:\n      residence-permit: {ground: quota-refugee, granted: true}\n"
        "      move: {keep: true, municipality: '285', date: {from: PVM, as: fi-date}}\n"
        "  ServiceRequest:\n"
        "    - {keep: true, code: housing, priority: {from: KIIRE, as: code urgency, default: routine}}\n"
    )

    (item,) = run(adapter(csv(), rest), b"NRO;SUKU;PVM;KIIRE\nA1;Oja;;\n")

    assert item.bundle is not None
    permit, move = patient_of(item)["extension"]
    assert [part["url"] for part in permit["extension"]] == ["ground", "granted"]
    assert move["extension"][0]["valueCoding"]["code"] == "285"
    assert item.bundle["entry"][1]["resource"]["priority"] == "routine"


@pytest.mark.parametrize(
    "written", ["Kotka", "KOTKA", " kotka ", "285", "Lahtis", "Hki"], ids=["fi", "case", "blanks", "code", "sv", "own"]
)
def test_a_list_takes_all_its_names_and_a_table_may_add_to_it(written: str) -> None:
    rest = PATIENT + (
        "    extension:\n      move: {municipality: {from: KUNTA, as: code kunta}}\n"
        "tables:\n  kunta: {extends: municipality, Hki: '091'}\n"
    )

    (item,) = run(adapter(csv(), rest), f"NRO;SUKU;KUNTA\nA1;Oja;{written}\n".encode())

    code = patient_of(item)["extension"][0]["extension"][0]["valueCoding"]["code"]
    assert code == {"Lahtis": "398", "Hki": "091"}.get(written, "285")


def test_an_unknown_code_names_the_nearest_to_the_developer_and_to_nobody_else() -> None:
    rest = PATIENT + "    extension:\n      move: {municipality: {from: KUNTA, as: code municipality}}\n"

    (item,) = run(adapter(csv(), rest), b"NRO;SUKU;KUNTA\nA1;Oja;Kottka\n")

    (found,) = item.findings
    assert found.shown is not None
    assert (found.shown.value, found.shown.near) == ("Kottka", "kotka")
    assert "ott" not in repr(found) + str(found.to_dict())


def test_a_table_may_be_a_file_with_the_days_of_its_codes() -> None:
    rest = PATIENT + (
        "    extension:\n      residence-permit: {ground: {from: LUPA, as: code lupa}}\n"
        "tables:\n  lupa: {file: lupa.csv}\n"
    )
    table = "value,code,valid_from,valid_to\nTP,asylum-granted,,\nXX,quota-refugee,2011-01-01,2015-12-31\n"
    made = adapter(csv(), rest, {"lupa.csv": table})

    found = run(made, b"NRO;SUKU;LUPA\nA1;Oja;TP\nA2;Oja;XX\n")

    assert told(found) == ["A1 Oja", "!code-not-in-use"]


@pytest.mark.parametrize(
    ("source", "rest", "message"),
    [
        (csv("heder: 3"), PATIENT, "unknown member 'heder'"),
        (csv("header: -1"), PATIENT, "number of a row"),
        (csv("header: 0"), PATIENT, "columns need names"),
        (csv("columns: [A, A]"), PATIENT, "twice"),
        (csv("group: {by: A}"), PATIENT, "by which column"),
        (csv("widths: [3]"), PATIENT, "unknown member 'widths'"),
        ("{format: fixed, encoding: [utf-8], key: NRO, layout: {header: 0, columns: [NRO]}}", PATIENT, "a width"),
        (csv(), PATIENT + "cannot-say: [birthday]\n", "no fact 'birthday'"),
        (csv(), CONDITION.replace("when: {KIELTO: [E, ei]}", "when: KIELTO"), "names fields"),
        (csv(), PATIENT + "    birthDate: {from: PVM, as: short-date}\n", "one of two hundred years"),
        (csv(), PATIENT + "    birthDate: {from: PVM, as: short-date 26}\n", "one of two hundred years"),
        (csv(), PATIENT.replace("from: SUKU}", "from: SUKU, default: X}"), "has no default"),
        (csv(), PATIENT.replace("from: SUKU}", "from: SUKU, or: drop}"), "stops the record"),
        (csv(), PATIENT + "tables:\n  x: {extends: municipalities}\n", "no code system"),
        (csv(), PATIENT + "tables:\n  x: {file: nowhere.csv}\n", "no code table"),
    ],
)
def test_a_slip_in_what_was_added_to_the_language_is_found_on_load(source: str, rest: str, message: str) -> None:
    with pytest.raises(MappingError, match=message):
        _ = adapter(source, rest).mapping


def test_protecting_facts_that_are_neither_made_nor_declared_are_known_on_load() -> None:
    plain = adapter(csv()).mapping
    declared = adapter(csv(), PATIENT + "cannot-say: [safety-prohibition, birth-date]\n").mapping

    assert plain.unsaid - plain.cannot_say == {"safety-prohibition", "birth-date"}
    assert declared.unsaid - declared.cannot_say == set()
