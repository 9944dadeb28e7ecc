"""A birth of which only the year, or year and month, is known: taken as it is from every format, and written back."""

from __future__ import annotations

import io
import json
from datetime import date
from typing import Any

import pytest

from adapters.agreement import doubts
from adapters.sdk import Limits, Mapped, load
from adapters.transforms import TRANSFORMS, TransformError, short_date
from schemas.identifiers import HETU
from tests.adapters.reading import codes, convert, judge, only
from tests.adapters.test_hl7_escapes import message
from tests.adapters.test_layouts import Made, run
from tests.adapters.test_protective_facts import bundle
from tests.adapters.test_stray_quotes import person, raw
from tests.adapters.test_unreadable_cells import book_of

TODAY = date(2026, 11, 28)


def csv(written: str) -> list[Mapped]:
    return convert("reception-centre-csv", raw(person(1, SYNTYMAAIKA=written)))


def xml(written: str) -> list[Mapped]:
    data = f"""<Asiakkaat><Asiakas numero="Q-1"><Henkilo><Sukunimi>Merisalo</Sukunimi><Etunimet>Aino</Etunimet>
      <Syntymaaika>{written}</Syntymaaika></Henkilo><Lupa><Laji>TP</Laji></Lupa></Asiakas></Asiakkaat>"""
    return convert("reception-centre-xml", data.encode())


def flat(written: Any) -> list[Mapped]:
    found = {"asiakasnumero": "K-1", "sukunimi": "Merisalo", "etunimet": "Aino", "syntymaaika": written}
    return convert("municipality-json", json.dumps([found]).encode())


def book(written: Any) -> list[Mapped]:
    return convert("municipality-xlsx", book_of({"Henkilötunnus": "", "Syntymäaika": written, "Oleskelulupa": None}))


def hl7(written: str) -> list[Mapped]:
    return convert("county-hl7", message().replace(b"|19920101|", f"|{written}|".encode()))


def fhir(written: str) -> list[Mapped]:
    record = bundle()
    record["entry"][0]["resource"]["birthDate"] = written
    return convert("fhir-r4", json.dumps(record).encode())


@pytest.mark.parametrize(
    ("read", "written", "meant"),
    [
        (csv, "1990", "1990"),
        (csv, "00.00.1990", "1990"),
        (csv, "01.1990", "1990-01"),
        (csv, "00.01.1990", "1990-01"),
        (csv, "1990-05", "1990-05"),
        (csv, "1990-00-00", "1990"),
        (xml, "1990", "1990"),
        (xml, "1990-05", "1990-05"),
        (flat, "1990", "1990"),
        (flat, 1990, "1990"),
        (flat, "1990-05", "1990-05"),
        (book, "1990", "1990"),
        (book, 1990, "1990"),
        (book, "5/1990", None),
        (book, 32874, None),
        (hl7, "1990", "1990"),
        (hl7, "199005", "1990-05"),
        (hl7, "19900000", "1990"),
        (hl7, "19900101^Y", "1990"),
        (hl7, "19900501000000^L", "1990-05"),
        (hl7, "19900501^D", "1990-05-01"),
        (hl7, "199013", None),
        (fhir, "1990", "1990"),
        (fhir, "1990-05", "1990-05"),
        (fhir, "1990-13", None),
        (fhir, "1990-00-00", None),
        (csv, "00.00.0000", None),
        (csv, "00.13.1990", None),
        (csv, "32874", None),
        (csv, "1790", None),
        (csv, "90", None),
    ],
)
def test_what_is_known_of_a_birth_is_taken_and_nothing_is_added(read: Any, written: Any, meant: str | None) -> None:
    found = read(written)

    if meant is None:
        assert [item.bundle for item in found] == [None]
        return
    taken = only(found)
    assert taken["entry"][0]["resource"]["birthDate"] == meant
    assert [code for code in codes(found) if code != "column-unmapped"] == []
    judge(taken)


@pytest.mark.parametrize("name", ["municipality-json", "municipality-xlsx", "county-json", "county-hl7"])
@pytest.mark.parametrize("birth", ["1990", "1990-05", "1990-05-03"])
def test_what_goes_back_to_a_system_says_as_much(name: str, birth: str) -> None:
    record = only(flat("1990-05-03"))
    record["entry"][0]["resource"]["birthDate"] = birth

    rendered = load(name).from_canonical(record)

    again = only(list(load(name).convert(io.BytesIO(rendered.body), Limits())))
    assert again["entry"][0]["resource"]["birthDate"] == birth
    assert "/entry/0/resource/birthDate" not in {told.target for told in rendered.findings}


@pytest.mark.parametrize("birth", ["1990", "1990-05", "1990-05-03"])
def test_every_way_to_write_a_day_brings_back_what_it_wrote(birth: str) -> None:
    ways = [way for way in TRANSFORMS.values() if way.in_part is not None]
    for way in [*ways, short_date(1930)]:
        assert way.in_part is not None
        assert way.backward is not None
        assert way.in_part(way.backward(birth)) == birth, way.name
    assert len(ways) == 7


@pytest.mark.parametrize("name", [way.name for way in TRANSFORMS.values() if way.in_part is not None])
def test_a_year_is_no_day_where_a_day_is_asked_for(name: str) -> None:
    for written in ("1990", "00001990", "1990-05", "00.00.1990"):
        with pytest.raises(TransformError):
            TRANSFORMS[name].forward(written)


OWN = """mapping: births
version: 1
source: {format: csv, encoding: [utf-8], delimiter: ";", key: ID}
cannot-say: [safety-prohibition]
resources:
  Patient:
    identifier: {local: {from: ID}}
    birthDate: {from: BORN, as: AS}
    extension: {move: {date: {from: MOVES, as: fi-date}}}
  RelatedPerson:
    - {relationship: [guardian], name: [{family: {from: NEXT}}], birthDate: {from: NEXTBORN, as: fi-date}}
"""


@pytest.mark.parametrize(
    ("way", "written", "meant"),
    [
        ("day-first", "00/05/1990", "1990-05"),
        ("named-month", "May 1990", "1990-05"),
        ("ddmmyyyy", "00001990", "1990"),
        ("short-date 1930", "00.00.90", "1990"),
        ("day-of", "1990", "1990"),
    ],
)
def test_a_mapping_needs_no_word_for_it_and_a_move_is_on_a_day(way: str, written: str, meant: str) -> None:
    made = Made(OWN.replace("AS}", f"{way}}}"))
    head = "ID;BORN;MOVES;NEXT;NEXTBORN\n"

    record = only(run(made, f"{head}A1;{written};1.2.2027;Merisalo;1960\n".encode()))
    refused = run(made, f"{head}A1;{written};2027;Merisalo;1960\n".encode())

    births = [entry["resource"].get("birthDate") for entry in record["entry"]]
    assert births == [meant, "1960"]
    assert "date-form" in codes(refused)
    assert refused[0].bundle is None


@pytest.mark.parametrize(
    ("birth", "found"),
    [
        ("1952", []),
        ("1952-10", []),
        ("1952-10-13", []),
        ("1953", ["identity-disagrees"]),
        ("1952-11", ["identity-disagrees"]),
        ("1952-10-12", ["identity-disagrees"]),
        ("2026", ["identity-disagrees"]),
        ("2026-12", ["date-future"]),
        ("2027", ["date-future"]),
        ("1900", ["born-long-ago", "identity-disagrees"]),
    ],
)
def test_a_year_is_held_against_the_identity_code_and_today(birth: str, found: list[str]) -> None:
    record = only(fhir(birth if birth < "2026-11" else "1952"))
    patient = record["entry"][0]["resource"]
    patient["birthDate"] = birth
    patient["identifier"].append({"system": HETU, "value": "131052-900W"})

    assert [doubt.code for doubt in doubts(record, TODAY)] == found


def test_nobody_dies_before_the_year_of_their_birth() -> None:
    record = only(fhir("1990"))
    patient = record["entry"][0]["resource"]
    for died, found in (("1989-12-31", ["contradictory"]), ("1990-01-01", []), ("1991-01-01", [])):
        patient["deceasedDateTime"] = died

        assert [doubt.code for doubt in doubts(record, TODAY)] == found, died
