"""`adapter new` on ten wild exports that nobody made for it: it begins right or refuses, and makes nobody another."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from tests.adapters.judging import prohibition
from tests.adapters.test_connected import FOLDER, TRUTH


@dataclass(frozen=True)
class Begun:
    """What is asked of the beginning: how many records it maps at least, its key, and what it must leave to a human."""

    mapped: int
    key: str
    left: frozenset[str] = frozenset()


#: One row for each export; what it maps without anybody's help, of how many is in the truth.
BEGUN = {
    "harju-rekisteri.csv": Begun(39, "Asiakasnumero", frozenset({"TK", "Muutto", "Asunto", "Pnro ja -tmp"})),
    "kotoutuminen.xlsx": Begun(48, "Asiakasnro"),
    "aluehallinta.json": Begun(68, "asiakas/asiakastunnus", frozenset({"asiakas/turvakiellot[]/alkaa"})),
    "luovutus.xml": Begun(60, "@tunnus"),
    "submission-individuals.csv": Begun(115, "Individual ID", frozenset({"Country of Origin"})),
    "submission-cases.csv": Begun(93, "ID", frozenset({"Case No."})),
    "klientregister.tsv": Begun(32, "KlientNr", frozenset({"Ort"})),
    "as114.txt": Begun(50, "ASNRO", frozenset({"TK"})),
    "adt-feed.hl7": Begun(66, "PID-3:MR", frozenset({"PD1-12.1"})),
}


def begin(name: str, tmp_path: Path, *said: str, data: bytes | None = None) -> tuple[int, dict[str, Any]]:
    sample = tmp_path / name
    sample.write_bytes((FOLDER / name).read_bytes() if data is None else data)
    words = ["adapter", "new", "begun", "--from", str(sample), "--into", str(tmp_path), "--json", *said]
    answer = CliRunner().invoke(app, words)
    return answer.exit_code, json.loads(answer.stdout)


def made(tmp_path: Path) -> list[dict[str, Any]]:
    (golden,) = (tmp_path / "begun" / "golden").iterdir()
    return [item["bundle"] for item in json.loads(golden.read_text("utf-8")) if item["bundle"] is not None]


def said_of(bundle: dict[str, Any]) -> dict[str, Any]:
    """What a bundle says of a person; what it does not say is not among it."""
    patient = bundle["entry"][0]["resource"]
    found: dict[str, Any] = {"born": patient.get("birthDate")}
    for name in patient.get("name", ()):
        found["family"] = name.get("family", "").casefold() or None
        found["given"] = " ".join(name.get("given", ())).casefold() or None
    for language in patient.get("communication", ()):
        found["language"] = language["language"]["coding"][0]["code"]
    for extension in patient.get("extension", ()):
        parts = {part["url"]: part for part in extension.get("extension", ())}
        if extension["url"].endswith("patient-citizenship"):
            found["citizenship"] = parts["code"]["valueCodeableConcept"]["coding"][0]["code"]
        if extension["url"].endswith(":move"):
            found["moves"] = parts.get("date", {}).get("valueDate")
            found["municipality"] = parts.get("municipality", {}).get("valueCoding", {}).get("code")
    return {fact: value for fact, value in found.items() if value is not None}


def own_numbers() -> dict[str, str]:
    """The numbers that the feed's own system gives, with those by which the truth names people: from its bytes."""
    found = {}
    for line in re.split(r"[\r\n]+", (FOLDER / "adt-feed.hl7").read_text("utf-8")):
        if line.startswith("PID|"):
            kinds = {part.split("^")[4]: part.split("^")[0] for part in line.split("|")[3].split("~")}
            found[kinds["MR"]] = kinds.get("PI", "")
    return found


@pytest.mark.parametrize("name", BEGUN)
def test_an_adapter_of_a_wild_export_begins_right(name: str, tmp_path: Path) -> None:
    begun = BEGUN[name]

    code, told = begin(name, tmp_path)

    assert (code, told["faults"]) == (0, [])
    assert told["key"] == begun.key
    assert begun.left <= {column["column"] for column in told["left"]}
    assert told["mapped"] >= begun.mapped
    bundles = made(tmp_path)
    assert len(bundles) == told["mapped"]


@pytest.mark.parametrize("name", BEGUN)
def test_what_a_beginning_says_of_somebody_is_true_of_them(name: str, tmp_path: Path) -> None:
    begin(name, tmp_path)

    people: dict[str, dict[str, Any]] = {}
    for key, person in TRUTH[name].items():
        people |= dict.fromkeys({key, person["identity"]} - {""}, person)
    if name == "adt-feed.hl7":
        people |= {own: people[number] for own, number in own_numbers().items() if number in people}
    bundles = made(tmp_path)
    for bundle in bundles:
        numbers = [number["value"] for number in bundle["entry"][0]["resource"]["identifier"]]
        keys = [number for number in numbers if number in people]
        assert keys, numbers
        person = people[keys[0]]
        for fact, value in said_of(bundle).items():
            truth = person[fact].casefold() if fact in {"family", "given"} else person[fact]
            # Half of the given names may still be left to the developer (PID-5.3); another's are nobody's. Of some
            # the export tells the year of birth alone.
            is_part = fact == "given" or (fact == "born" and len(value) == len("1990"))
            assert value == truth or (is_part and truth.startswith(value)), (keys[0], fact)
        protected = prohibition(bundle)
        assert protected is None or protected is person["prohibited"], keys[0]


def test_fhir_is_sent_to_the_adapter_that_it_has(tmp_path: Path) -> None:
    code, told = begin("fhir-haku.json", tmp_path)

    assert code != 0
    assert "fhir-r4" in told["remedy"]
    assert not (tmp_path / "begun").exists()


HARJU = "harju-rekisteri.csv"


def without_furniture() -> bytes:
    """The export as another program writes it: no `sep=`, no titles, one comma in each name."""
    lines = (FOLDER / HARJU).read_bytes().decode("utf-8-sig").splitlines()
    whole = [line for line in lines[4:] if line.count(";") == 28]
    return "\n".join(whole).encode()


@pytest.mark.parametrize("said", [(), ("--delimiter", ";"), ("--delimiter", ";", "--header-row", "1")])
def test_a_comma_in_each_name_is_no_delimiter_of_a_sparse_register(said: tuple[str, ...], tmp_path: Path) -> None:
    code, told = begin(HARJU, tmp_path, *said, data=without_furniture())

    assert (code, told["key"], told["source"]["delimiter"]) == (0, "Asiakasnumero", ";")


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"Asiakasnumero;Sukunimi;Lupa\nA1;Oja;zz\nA2;Meri;yy\nA3;Suo;TP\n", ""),
        (b"Nro;Huomio\nA1;aa bb\nA2;cc dd\n", "neither a name"),
        (b"Asiakasnumero;Sukunimi;Maa\nA1;Oja;FIN\nA2;\xc3\x83\xc3\xa4rvi;FIN\n", ""),
        (b"Asiakasnumero;Sukunimi\nA1;J\xc3\x83\xc2\xa4rvi\nA2;J\xc3\x83\xc2\xa4\n", "none of its 2 records"),
    ],
    ids=["partly", "nobody", "damaged", "none"],
)
def test_a_beginning_that_makes_nobody_is_no_success(data: bytes, fault: str, tmp_path: Path) -> None:
    code, told = begin("export.csv", tmp_path, data=data)

    assert (code == 0) is (not fault)
    assert fault in " ".join(told["faults"])


@pytest.mark.parametrize(
    "data",
    [
        b"Sukunimi;Etunimet;Hetu\nOja;Anna;010190-900X\nMeri;Eva;010190-901X\n",
        b"Asiakasnumero;Sukunimi;Lupa\nA1;Oja;TP\nA1;Meri;TP\n",
    ],
    ids=["names-alone", "number-twice"],
)
def test_a_name_is_no_key_and_what_is_refused_leaves_no_folder(data: bytes, tmp_path: Path) -> None:
    code, told = begin("export.csv", tmp_path, data=data)

    assert code != 0
    assert "--key" in told["remedy"]
    assert not (tmp_path / "begun").exists()


def test_a_key_that_the_developer_says_is_the_registers_own(tmp_path: Path) -> None:
    code, told = begin(
        "export.csv", tmp_path, "--key", "Sukunimi", data=b"Sukunimi;Synt.\nOja;5.2.1990\nMeri;6.2.1990\n"
    )

    assert (code, told["key"], told["mapped"]) == (0, "Sukunimi", 2)
