"""Letters that were decoded as those of another character set: noticed, read as what they are, or refused."""

from __future__ import annotations

import io
import json

import pytest

from adapters.csv_reader import CsvForm, read_csv
from adapters.legibility import is_damaged, is_misdecoded
from adapters.scaffold.outlining import SampleError
from adapters.scaffold.sniffing import sniff
from adapters.sdk import Limits, Record
from tests.adapters.reading import convert
from tests.adapters.test_hl7_escapes import message
from tests.adapters.test_protective_facts import bundle
from tests.adapters.test_stray_quotes import person, raw

TABLE = "NRO;NIMI;TULOT\nA1;Šerifovic;5 €\nA2;Žana Živkovic;\nA3;Äijälä;\nA4;Saša;\n"
BOTH = CsvForm(("utf-8-sig", "windows-1252", "iso-8859-15"), ";", "NRO")
ONE = CsvForm(("utf-8-sig", "windows-1252"), ";", "NRO")


def told(data: bytes, form: CsvForm) -> list[str]:
    return [
        str(one.fields["NIMI"]) if isinstance(one, Record) else f"{one.code} {one.position.row} {one.position.column}"
        for one in read_csv(io.BytesIO(data), form, Limits())
    ]


@pytest.mark.parametrize("encoding", ["windows-1252", "iso-8859-15"])
@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1)])
def test_of_two_encodings_that_both_decode_the_one_that_makes_sense_is_taken(
    encoding: str, order: tuple[int, ...]
) -> None:
    form = CsvForm(tuple(BOTH.encodings[at] for at in order), ";", "NRO")

    assert told(TABLE.encode(encoding), form) == ["Šerifovic", "Žana Živkovic", "Äijälä", "Saša"]


def test_letters_that_make_no_sense_in_the_only_declared_encoding_are_refused_and_the_others_read() -> None:
    assert told(TABLE.encode("iso-8859-15"), ONE) == [
        "encoding 2 NIMI",
        "encoding 3 NIMI",
        "Äijälä",
        "encoding 5 NIMI",
    ]


def test_the_scaffold_proposes_the_encoding_that_makes_sense_or_says_that_none_does() -> None:
    assert sniff(TABLE.encode("windows-1252")).source["encoding"] == ["utf-8-sig", "windows-1252"]
    found = sniff(TABLE.encode("iso-8859-15"))
    assert found.source["encoding"] == ["utf-8-sig", "iso-8859-15"]
    assert found.columns[1].values[:2] == ("Šerifovic", "Žana Živkovic")
    with pytest.raises(SampleError, match="make sense"):
        sniff(TABLE.encode("windows-1252") + "A5;Šaban;\n".encode("iso-8859-15"))


@pytest.mark.parametrize(
    "text",
    ["O´Brien", "D´Angelo", "1½ h", "2¾l maitoa", "§ 5", "Åström", "Ñuñez", "naïve – ”näin”", "½ vuotta"],
)
def test_what_people_write_is_no_misreading(text: str) -> None:
    assert not is_misdecoded(text, "windows-1252")
    assert not is_damaged(text)


NAMES = ["JÃ¤rvi", "J\ufffdrvi", "J\x8ervi", "J\u202eivr", "Ko\u2066ti"]


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_name_stops_the_record_in_each_format(name: str) -> None:
    record = bundle()
    record["entry"][0]["resource"]["name"][0]["family"] = name
    sources = {
        "reception-centre-csv": raw(person(1, SUKUNIMI=name)),
        "municipality-json": json.dumps([{"asiakasnumero": "A-1", "sukunimi": name}]).encode(),
        "county-hl7": message().replace(b"Lokivuoto", name.encode()),
        "fhir-r4": json.dumps(record).encode(),
    }
    for adapter, data in sources.items():
        (mapped,) = convert(adapter, data)

        assert mapped.bundle is None
        assert ("error", "damaged-text") in {(one.severity, one.code) for one in mapped.findings}, adapter


@pytest.mark.parametrize("text", NAMES)
def test_damaged_text_elsewhere_is_told(text: str) -> None:
    (mapped,) = convert("reception-centre-csv", raw(person(1, OSOITE=text)))

    assert mapped.bundle is not None
    assert [(one.severity, one.code, one.position.column) for one in mapped.findings] == [
        ("warning", "damaged-text", "OSOITE")
    ]
