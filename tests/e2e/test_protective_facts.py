"""What protects a person, said in each way in which a source can fail to say it: nothing protected leaves a node."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.adapters.test_hl7_escapes import message
from tests.adapters.test_protective_facts import LABEL, active, bundle
from tests.adapters.test_stray_quotes import person, raw
from tests.adapters.test_unreadable_cells import book_of
from tests.e2e.conftest import Stage, network
from tests.e2e.installing import install

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

#: What a safety prohibition protects.
PROTECTED = {"contact", "move"}
STATED = {
    "KUNTA": "285",
    "MUUTTOPAIVA": "1.12.2026",
    "PUHELIN": "040 1234567",
    "TURVAKIELTO": "E",
    "LUPA_PVM": "1.9.2026",
    "OMATOIMINEN_MUUTTO": "E",
}
MOVING = (
    "OBX|6|ST|LUPA-PAIVA||20260901||||||F\rOBX|7|ST|MUUTTO-OMATOIMINEN||E||||||F\r"
    "OBX|8|ST|MUUTTO-KUNTA||285||||||F\rOBX|9|ST|LUPA-MYONNETTY||K||||||F\r"
)
#: A register that has no column for a safety prohibition, as its mapping says.
UNMARKED = """\
mapping: unmarked
version: 1
source: {format: csv, encoding: [utf-8-sig], delimiter: ";", key: NRO}
cannot-say: [safety-prohibition, birth-date]
resources:
  Patient:
    identifier: {migri-customer: {from: NRO, required: true}}
    name: [{family: {from: SUKU}}]
    telecom: [{system: phone, value: {from: PUHELIN, as: phone}}]
    extension:
      residence-permit: {ground: asylum-granted, granted: true, decided: {from: LUPA_PVM, as: fi-date}}
      move: {municipality: {from: KUNTA, as: code municipality}, independent: false}
"""


@dataclass(frozen=True)
class Case:
    """A file about one person, and what becomes of it: the code that rejects it, or of whom what is withheld."""

    adapter: str
    data: bytes
    code: str = ""
    withheld: frozenset[str] = frozenset()
    why: str = ""


def csv_of(number: int, **cells: str) -> bytes:
    return raw(person(number, **{**STATED, **cells}))


def without(column: str, number: int) -> bytes:
    rows = [line.split(";") for line in csv_of(number).decode().splitlines()]
    at = rows[0].index(column)
    return "".join(";".join(row[:at] + row[at + 1 :]) + "\n" for row in rows).encode()


def hl7(number: int, said: str = "", street: str = "Hiekkatie 1") -> bytes:
    return message(prohibition=MOVING + said, street=street).replace(b"A-77", f"A-{number}".encode())


def xlsx(number: int, **cells: Any) -> bytes:
    told = {"Asiakasnumero": f"X-{number}", "Kuntanumero": "285", "Oleskelulupa": "turvapaikka", "Turvakielto": "ei"}
    return book_of({**told, "Lupa myönnetty": "kyllä", "Luvan päivä": "1.9.2026", "Muuttaa itse": "ei", **cells})


def fhir(labels: Any, *extensions: dict[str, Any]) -> bytes:
    return json.dumps(bundle(labels, *extensions)).encode()


def unknown(adapter: str, data: bytes) -> Case:
    return Case(adapter, data, withheld=frozenset(PROTECTED), why="safety-unknown")


def refused(adapter: str, data: bytes, code: str) -> Case:
    return Case(adapter, data, code)


CSV, HL7, XLSX = "reception-centre-csv", "county-hl7", "municipality-xlsx"
CASES = {
    "safety-said": Case(CSV, csv_of(1)),
    "safety-absent": refused(CSV, without("TURVAKIELTO", 2), "column-missing"),
    "safety-empty": unknown(CSV, csv_of(3, TURVAKIELTO="")),
    "safety-blank": unknown(CSV, csv_of(4, TURVAKIELTO="  ")),
    "safety-unreadable": refused(CSV, csv_of(5, TURVAKIELTO="?"), "not-yes-no"),
    "safety-both": refused(CSV, csv_of(6, TURVAKIELTO="K/E"), "not-yes-no"),
    "safety-contradicted": refused(CSV, csv_of(7, TURVAKIELTO_VASTAANOTTAJA="285"), "contradictory"),
    "safety-not-declared": unknown("unmarked", b"NRO;SUKU;PUHELIN;LUPA_PVM;KUNTA\nU-1;Oja;0401234567;1.9.2026;285\n"),
    "hl7-safety-absent": unknown(HL7, hl7(1)),
    "hl7-safety-empty": unknown(HL7, hl7(2, "OBX|5|ST|TURVAKIELTO||||||||F")),
    "hl7-safety-null": unknown(HL7, hl7(3, 'OBX|5|ST|TURVAKIELTO||""||||||F')),
    "hl7-safety-unreadable": refused(HL7, hl7(4, "OBX|5|ST|TURVAKIELTO||ehkä||||||F"), "not-yes-no"),
    "hl7-safety-withdrawn": refused(HL7, hl7(5, "OBX|5|ST|TURVAKIELTO||K||||||D"), "withdrawn"),
    "hl7-safety-contradicted": refused(
        HL7, hl7(6, "OBX|5|ST|TURVAKIELTO||K||||||F\rOBX|6|ST|TURVAKIELTO||E||||||F"), "contradictory"
    ),
    "xlsx-safety-said": Case(XLSX, xlsx(1)),
    "xlsx-safety-empty": unknown(XLSX, xlsx(2, Turvakielto="")),
    "xlsx-safety-unreadable": refused(XLSX, xlsx(3, Turvakielto="#N/A"), "unreadable"),
    "fhir-safety-contradicted": refused("fhir-r4", fhir([LABEL], active(False)), "contradictory"),
    "identity-empty": refused(CSV, csv_of(11, ASIAKASNUMERO=""), "field-missing"),
    "identity-absent": refused(CSV, without("ASIAKASNUMERO", 12), "column-missing"),
    "identity-unreadable": refused(CSV, csv_of(13, HETU="131052-900X"), "hetu-check"),
    "identity-contradicted": refused(
        HL7, hl7(14).replace(b"A-14^^^MIGRI^PI", b"A-14^^^MIGRI^PI~A-15^^^MIGRI^PI"), "contradictory"
    ),
    "permit-absent": refused(CSV, without("OLESKELULUPA", 21), "column-missing"),
    "permit-empty": refused(CSV, csv_of(22, OLESKELULUPA=""), "field-missing"),
    "permit-unreadable": refused(CSV, csv_of(23, OLESKELULUPA="TP?"), "code-unknown"),
    "permit-contradicted": refused(HL7, hl7(24, "OBX|5|ST|LUPA||pending||||||F"), "contradictory"),
    "permit-not-said-to-be-granted": Case(
        HL7, hl7(25, "OBX|5|ST|TURVAKIELTO||E||||||F").replace(b"LUPA-MYONNETTY||K", b"LUPA-MYONNETTY||"),
        withheld=frozenset({"identity", *PROTECTED}), why="condition-unmet",
    ),
    "need-unreadable": refused(CSV, csv_of(26, PALVELUTARPEET="KIELIKOULUTUS|TERVEY?"), "code-unknown"),
    "need-of-a-cell-in-error": refused(XLSX, xlsx(32, Palvelutarpeet="#REF!"), "unreadable"),
    "need-empty": Case(CSV, csv_of(27, PALVELUTARPEET="")),
    "municipality-unreadable": refused(CSV, csv_of(28, KUNTA="28S"), "code-unknown"),
}  # fmt: skip


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("protective")
    site = install(folder / "site", "unmarked", UNMARKED)
    with network(folder, environment={"PYTHONPATH": str(site)}) as running:
        yield running


@pytest.mark.parametrize("name", CASES)
def test_what_is_not_said_or_cannot_be_read_protects(stage: Stage, name: str) -> None:
    case = CASES[name]

    answer = asyncio.run(stage.hand_over(case.adapter, case.data))

    stopping = {found["code"] for found in answer["findings"] if found["severity"] == "error"}
    assert stopping == ({case.code} if case.code else set())
    assert answer["handed_over"] == (0 if case.code else 1)
    for plan in answer["handovers"]:
        for delivery in plan["deliveries"]:
            given = {permitted["category"].split("/")[0] for permitted in delivery["permitted"]}
            reasons = {unmet["category"]: unmet["code"] for unmet in delivery["withheld"]}
            assert given.isdisjoint(case.withheld)
            assert {reasons[category] for category in case.withheld} == ({case.why} if case.why else set())
            assert case.withheld or given >= PROTECTED


def test_a_source_that_cannot_know_is_told_so_and_what_would_mend_it(stage: Stage) -> None:
    data = b"NRO;SUKU;PUHELIN;LUPA_PVM;KUNTA\nU-2;Oja;0401234567;1.9.2026;285\nU-3;Oja;0401234568;1.9.2026;285\n"

    answer = asyncio.run(stage.hand_over("unmarked", data))

    (told,) = answer["findings"]
    assert (told["code"], told["severity"]) == ("safety-unknown", "warning")
    assert "column" in told["hint"]["en"]
