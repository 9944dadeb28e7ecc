"""Exports as real systems give them: titles, sums, envelopes, families, old encodings. All persons are invented."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import openpyxl

from adapters.samples import hetu

PEOPLE = [
    ("M-1001", "Šerifovic", "Žana", date(1985, 3, 4), "nainen", "Kotka"),
    ("M-1002", "Äijälä", "Öljan", date(1990, 11, 24), "mies", "Lahti"),
    ("M-1003", "al-Hassan", "Omar", date(1979, 1, 31), "mies", "Pori"),
    ("M-1004", "Petrenko", "Olena", date(2001, 7, 9), "nainen", "Vaasa"),
]


@dataclass(frozen=True)
class Wild:
    """An export: its file, what the developer says of it, and what `adapter new` must have found."""

    name: str
    data: bytes
    format: str
    records: int
    key: str
    layout: dict[str, Any] = field(default_factory=dict)
    hints: dict[str, Any] = field(default_factory=dict)
    families: tuple[str, ...] = tuple(person[1] for person in PEOPLE)
    #: The column of the family name, which must be read without a letter lost; empty where a list holds it.
    column: str = "Sukunimi"


def rows(date_form: str = "%d.%m.%Y") -> list[list[str]]:
    return [
        [number, family, given, born.strftime(date_form), hetu(born, 900 + index), sex, home]
        for index, (number, family, given, born, sex, home) in enumerate(PEOPLE, 1)
    ]


HEADER = ["Asiakasnumero", "Sukunimi", "Etunimet", "Syntymäaika", "Henkilötunnus", "Sukupuoli", "Kunta"]


def lines(table: Sequence[Sequence[str]], delimiter: str, end: str = "\r\n") -> str:
    return "".join(delimiter.join(row) + end for row in table)


def with_separator_line() -> Wild:
    text = "sep=;\r\n" + lines([[*HEADER, "Muistio"], *([*row, '"kaksi\nriviä"'] for row in rows())], ";")
    return Wild("separator-line", text.encode("utf-8-sig"), "csv", 4, "Asiakasnumero")


def titles_and_sums() -> Wild:
    text = "Asiakasraportti 24.11.2026;;;;;;\r\nYksikkö: Kotka;;;;;;\r\n;;;;;;\r\n"
    text += lines([HEADER, *rows()], ";") + "Yhteensä 4;;;;;;\r\n"
    layout = {"header": 4, "footer": ["Yhteensä"], "counted": True}
    return Wild("titles-and-sums", text.encode("utf-8"), "csv", 4, "Asiakasnumero", layout)


def latin_9() -> Wild:
    header = ["Klientnummer", "Efternamn", "Förnamn", "Födelsedatum", "Personbeteckning", "Kön", "Kommun"]
    table = [[*row[:5], {"mies": "man"}.get(row[5], "kvinna"), row[6]] for row in rows()]
    text = lines([header, *table], "\t")
    return Wild("latin-9", text.encode("iso-8859-15"), "csv", 4, "Klientnummer", column="Efternamn")


def dos() -> Wild:
    table = [[cell.replace("Š", "S").replace("Ž", "Z").replace("ž", "z") for cell in row] for row in rows()]
    families = tuple(row[1] for row in table)
    return Wild("dos", lines([HEADER, *table], ";").encode("cp850"), "csv", 4, "Asiakasnumero", families=families)


def fixed_width() -> Wild:
    widths = [15, 14, 12, 13, 15, 11, 8]
    text = "".join(
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\r\n"
        for row in [HEADER, *rows()]
    )
    return Wild("fixed-width", text.encode("cp1252"), "fixed", 4, "Asiakasnumero", {"columns": HEADER})


def trailing_delimiters() -> Wild:
    text = "".join(";".join(row) + ";\r\n" for row in [HEADER, *rows()])
    return Wild("trailing-delimiters", text.encode("utf-8"), "csv", 4, "Asiakasnumero")


def doubled_headers() -> Wild:
    header = [*HEADER, "Puhelin", "Puhelin", ""]
    text = lines([header, *([*row, "040 1234567", "050 7654321", ""] for row in rows())], ";")
    layout = {"columns": [*HEADER, "Puhelin", "Puhelin 2", "column 10"]}
    return Wild("doubled-headers", text.encode("utf-8"), "csv", 4, "Asiakasnumero", layout)


def envelope() -> Wild:
    clients = [
        {
            "asiakasnumero": row[0],
            "henkilo": {"sukunimi": row[1], "etunimet": row[2], "syntymaaika": row[3]},
            "omatyontekija": {"nimi": "Elli Esimerkki", "puhelin": "0401234567"},
            "palvelutarpeet": [{"palvelutehtava": {"koodi": "asuminen"}}],
        }
        for row in rows()
    ]
    text = json.dumps({"versio": "1.2", "vienti": {"maara": 4, "asiakkaat": clients}}, ensure_ascii=False)
    layout = {"records": "vienti/asiakkaat", "total": "maara"}
    return Wild("envelope", text.encode(), "json", 4, "asiakasnumero", layout, column="henkilo/sukunimi")


def namespaces() -> Wild:
    body = "".join(
        f'<m:Asiakas nro="{row[0]}"><m:Henkilo><m:Sukunimi>{row[1]}</m:Sukunimi><m:Etunimet>{row[2]}</m:Etunimet>'
        f"<m:Syntymaaika>{row[3]}</m:Syntymaaika></m:Henkilo><p:Perhe><p:Jasen><p:Nimi>A</p:Nimi></p:Jasen>"
        "<p:Jasen><p:Nimi>B</p:Nimi></p:Jasen></p:Perhe></m:Asiakas>"
        for row in rows()
    )
    text = f'<m:Vienti xmlns:m="urn:m:1" xmlns:p="urn:p:1"><m:Otsikko><m:Aika>x</m:Aika></m:Otsikko>{body}</m:Vienti>'
    layout = {"namespaces": {"": "urn:m:1", "p": "urn:p:1"}}
    return Wild("namespaces", text.encode(), "xml", 4, "@nro", layout, column="Henkilo/Sukunimi")


def workbook() -> Wild:
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.title = "Asiakkaat"
    for row in [["Asiakasraportti"], ["Tulostettu 24.11.2026"], [], [], HEADER, *rows(), ["Yhteensä", 4]]:
        sheet.append(row)
    sheet.merge_cells("A1:G1")
    needs = book.create_sheet("Tarpeet")
    for row in [["Asiakasnumero", "Tarve"], ["M-1001", "asuminen"]]:
        needs.append(row)
    out = io.BytesIO()
    book.save(out)
    layout = {"header": 5, "footer": ["Yhteensä"], "counted": True}
    return Wild("workbook", out.getvalue(), "xlsx", 4, "Asiakasnumero", layout)


def messages() -> Wild:
    made = [
        f"MSH|^~\\&|X|Y|||20261124080000||ADT^A08^ADT_A01|{row[0]}|P|2.5.1|||||FIN|UNICODE UTF-8\r"
        f"PID|1||{row[0]}^^^X^MR||{row[1]}^{row[2]}||{row[3][6:]}{row[3][3:5]}{row[3][:2]}|F\r"
        "OBX|1|ST|LUPA||asylum-granted||||||F\rZFI|1|oma\r"
        for row in rows()
    ]
    return Wild("messages", "".join(made).encode(), "hl7", 4, "PID-3:MR", column="PID-5.1")


def cases() -> Wild:
    """A row for each person, in English, with the family's number, as resettlement exports have them."""
    header = ["Case No.", "Individual ID", "Family Name", "Given Name", "Date of Birth", "Sex", "Relationship"]
    table = [
        [f"C-{1 + index // 2}", row[0], row[1], row[2], row[3], {"mies": "M"}.get(row[5], "F"), "PA"]
        for index, row in enumerate(rows("%d-%b-%Y"))
    ]
    text = lines([header, *table], ",")
    return Wild("cases", text.encode(), "csv", 4, "Individual ID", column="Family Name")


WILD: Sequence[Callable[[], Wild]] = (
    with_separator_line,
    titles_and_sums,
    latin_9,
    dos,
    fixed_width,
    trailing_delimiters,
    doubled_headers,
    envelope,
    namespaces,
    workbook,
    messages,
    cases,
)
