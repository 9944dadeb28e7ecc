"""Samples: invented persons from a seeded generator, as a reception centre's CSV and XML exports, some of them dirty.

The first ten are the people of the reference rulebook's examples. Names are put together from syllables, identity
codes are of the artificial 900 series. `samples-manifest.json` says which rows were made dirty, how, and what an
adapter must find there.
"""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from lxml import etree

from adapters.samples import formats
from adapters.samples.values import iso
from schemas.identifiers import check_character

_SEED = 2026
COLUMNS = [
    "ASIAKASNUMERO",
    "HETU",
    "SUKUNIMI",
    "ETUNIMET",
    "SYNTYMAAIKA",
    "SUKUPUOLI",
    "AIDINKIELI",
    "TULKKI",
    "KANSALAISUUS",
    "OLESKELULUPA",
    "LUPA_PVM",
    "PUHELIN",
    "SAHKOPOSTI",
    "OSOITE",
    "POSTINUMERO",
    "POSTITOIMIPAIKKA",
    "KUNTA",
    "MUUTTOPAIVA",
    "OMATOIMINEN_MUUTTO",
    "TURVAKIELTO",
    "TURVAKIELTO_VASTAANOTTAJA",
    "PERHEKOKO",
    "LASTEN_IAT",
    "YKSIN_TULLUT_ALAIKAINEN",
    "EDUSTAJA",
    "HUOLTAJA",
    "HAAVOITTUVUUS",
    "HAAVOITTUVUUSPERUSTE",
    "ASUMINEN",
    "KOULUTUS",
    "AMMATTI",
    "TULOT",
    "LASTENSUOJELU",
    "TERVEYSTARPEET",
    "PALVELUTARPEET",
    "KIIREELLISYYS",
    "MUOKKAAJA",
    "MUOKATTU",
]

#: Where each column of the CSV stands in the XML: elements, or an attribute after @.
_XML_PATHS = dict(
    zip(
        COLUMNS,
        [
            "@numero",
            "Henkilo/Henkilotunnus",
            "Henkilo/Sukunimi",
            "Henkilo/Etunimet",
            "Henkilo/Syntymaaika",
            "Henkilo/Sukupuoli",
            "Henkilo/Aidinkieli",
            "Henkilo/TulkinTarve",
            "Henkilo/Kansalaisuus",
            "Lupa/Laji",
            "Lupa/Paatospaiva",
            "Yhteystiedot/Puhelin",
            "Yhteystiedot/Sahkoposti",
            "Yhteystiedot/Osoite/Katuosoite",
            "Yhteystiedot/Osoite/Postinumero",
            "Yhteystiedot/Osoite/Postitoimipaikka",
            "Muutto/Kunta",
            "Muutto/Paiva",
            "Muutto/Omatoiminen",
            "Turvakielto/Voimassa",
            "Turvakielto/SallittuKunta",
            "Perhe/Koko",
            "Perhe/Lapsi",
            "Alaikainen/IlmanHuoltajaa",
            "Alaikainen/Edustaja",
            "Alaikainen/Huoltaja",
            "Haavoittuvuus/Todettu",
            "Haavoittuvuus/Peruste",
            "Tilanne/Asuminen",
            "Tilanne/Koulutus",
            "Tilanne/Ammatti",
            "Tilanne/Tulot",
            "Tilanne/Lastensuojelu",
            "Tilanne/Terveys",
            "Palvelutarpeet/Tarve",
            "Palvelutarpeet/@kiireellisyys",
            "Muokkaus/Muokkaaja",
            "Muokkaus/Aika",
        ],
        strict=True,
    )
)

TODAY = date(2026, 11, 24)

_FIRST = ["Sa", "La", "Mi", "Ka", "Ra", "Zu", "No", "Ta", "Vi", "Le", "Ha", "Da", "Yo", "Se"]
_SECOND = ["lim", "rina", "zad", "mira", "dorl", "vesk", "hanu", "tov", "nael", "shir", "bek", "riya", "somu", "lanä"]
_FAMILY_END = ["ovar", "enkö", "azimi", "uldra", "eskyn", "orami", "ihal", "ustan", "adeel", "irvö", "amsok"]
_STREETS = ["Hiekkatie", "Saarnikatu", "Valajantie", "Kaislapolku", "Myllyrinne", "Ängeslahdentie"]
_PLACES = {
    "285": ("48100", "Kotka"),
    "286": ("45100", "Kouvola"),
    "091": ("00500", "Helsinki"),
    "837": ("33100", "Tampere"),
}

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Dirt:
    """One planted fault: the record's key, its row in the CSV, the column, and the code that must be found."""

    key: str
    row: int
    column: str
    code: str


def hetu(born: date, number: int) -> str:
    """An artificial identity code for a day of birth; `number` is 900–999."""
    digits = f"{born:%d%m%y}"
    sign = "-" if born.year < 2000 else "A"
    return f"{digits}{sign}{number}{check_character(digits + str(number))}"


#: What makes each of the ten people who they are. The rest of a row is drawn at random.
_CASES: tuple[tuple[str, str, Row, int], ...] = (
    ("p01-asylum-adult", "F1", {"OLESKELULUPA": "TP", "TERVEYSTARPEET": "astma, säännöllinen lääkitys"}, 31),
    (
        "p02-quota-family",
        "F1",
        {
            "OLESKELULUPA": "KP",
            "PERHEKOKO": "6",
            "LASTEN_IAT": "3|6|9|14",
            "HAAVOITTUVUUS": "K",
            "HAAVOITTUVUUSPERUSTE": "VAMMA",
            "PALVELUTARPEET": "ASUNTO|VAMMAISPALVELU|PERUSOPETUS|NEUVOLA",
        },
        38,
    ),
    (
        "p03-ukrainian-mother",
        "F5",
        {
            "OLESKELULUPA": "TILK",
            "KUNTA": "286",
            "AIDINKIELI": "ukraina",
            "KANSALAISUUS": "UKR",
            "SUKUPUOLI": "N",
            "PERHEKOKO": "3",
            "LASTEN_IAT": "5|8",
        },
        36,
    ),
    (
        "p04-unaccompanied-minor",
        "F6",
        {
            "OLESKELULUPA": "TP",
            "SUKUPUOLI": "M",
            "YKSIN_TULLUT_ALAIKAINEN": "K",
            "EDUSTAJA": "Edustaja Vaahtera",
            "HAAVOITTUVUUS": "K",
            "HAAVOITTUVUUSPERUSTE": "ILMAN-HUOLTAJAA",
            "LASTENSUOJELU": "perheryhmäkoti",
            "TERVEYSTARPEET": "hammashoito kesken",
            "PALVELUTARPEET": "PERUSOPETUS|LASTENSUOJELU|EDUSTAJA",
        },
        16,
    ),
    ("p05-independent-mover", "F3", {"OLESKELULUPA": "TS", "KUNTA": "091", "OMATOIMINEN_MUUTTO": "K"}, 27),
    (
        "p06-torture-survivor",
        "F1",
        {
            "OLESKELULUPA": "TP",
            "HAAVOITTUVUUS": "K",
            "HAAVOITTUVUUSPERUSTE": "KIDUTUS",
            "TERVEYSTARPEET": "kidutuksen jälkihoito",
            "PALVELUTARPEET": "ASUNTO|KUNTOUTUS|MIELENTERVEYS",
        },
        44,
    ),
    (
        "p07-safety-prohibition",
        "F1",
        {
            "OLESKELULUPA": "TP",
            "SUKUPUOLI": "N",
            "TURVAKIELTO": "K",
            "TURVAKIELTO_VASTAANOTTAJA": "285",
            "HAAVOITTUVUUS": "K",
            "HAAVOITTUVUUSPERUSTE": "VÄKIVALTA",
        },
        29,
    ),
    ("p08-pending-permit", "F1", {"OLESKELULUPA": "VIR", "LUPA_PVM": "", "OMATOIMINEN_MUUTTO": "K"}, 24),
    ("p09-withdrawn-consent", "F1", {"OLESKELULUPA": "TP", "TERVEYSTARPEET": "selkäkivut"}, 33),
    ("p10-moves-on", "F1", {"OLESKELULUPA": "TP"}, 41),
)


def write_samples(folder: Path, count: int = 200) -> dict[str, Any]:
    """Write the samples into a folder and return their manifest. `count` counts the dirty ones in; at least 40."""
    if count < 40:
        raise ValueError("at least 40 persons, so that each kind of dirt has its row")
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(_SEED)  # noqa: S311 - samples, not secrets
    rows = [_person(draw, index) for index in range(count)]
    dirt, broken = _soil(rows)
    planted = [{"key": spot.key, "row": spot.row, "column": spot.column, "code": spot.code} for spot in dirt]
    structural = {"column-count", "encoding"}
    written: dict[str, tuple[str, bytes, list[dict[str, Any]]]] = {
        "csv": ("reception-centre.csv", _csv(rows, broken), planted),
        "xml": (
            "reception-centre.xml",
            _xml(rows),
            [
                {"key": fault.key, "column": _XML_PATHS.get(fault.column, ""), "code": fault.code}
                for fault in dirt
                if fault.code not in structural
            ],
        ),
        **formats.all_of(rows, planted),
    }
    for file, content, _ in written.values():
        (folder / file).write_bytes(content)
    manifest = {
        "persons": count,
        "seed": _SEED,
        "cases": {
            name: {"key": rows[index]["ASIAKASNUMERO"], "flow": flow} for index, (name, flow, _, _) in enumerate(_CASES)
        },
        **{name: {"file": file, "dirty": faults} for name, (file, _, faults) in written.items()},
    }
    (folder / "samples-manifest.json").write_text(
        json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return manifest


def samples_rows(count: int) -> list[Row]:
    """The rows of so many clients, without faults."""
    draw = random.Random(_SEED)  # noqa: S311 - samples, not secrets
    return [_person(draw, index) for index in range(count)]


def _person(draw: random.Random, index: int) -> Row:
    case = _CASES[index] if index < len(_CASES) else None
    age = case[3] if case is not None else draw.randint(19, 64)
    born = TODAY - timedelta(days=age * 365 + age // 4 + draw.randint(20, 300))
    municipality = "285" if index < 20 else draw.choice(("285", "285", "286", "091", "837"))
    postal_code, city = _PLACES[municipality]
    male = draw.random() < 0.5
    family = draw.choice(_FIRST) + draw.choice(_FAMILY_END)
    given = " ".join(draw.choice(_FIRST) + draw.choice(_SECOND) for _ in range(draw.randint(1, 2)))
    children = [str(draw.randint(0, 17)) for _ in range(draw.choice((0, 0, 0, 1, 2, 3)))]
    row: Row = dict.fromkeys(COLUMNS, "")
    row |= {
        "ASIAKASNUMERO": f"DEMO-{1001 + index}",
        "SUKUNIMI": family,
        "ETUNIMET": given,
        "SYNTYMAAIKA": f"{born.day}.{born.month}.{born.year}",
        "SUKUPUOLI": "M" if male else "N",
        "AIDINKIELI": draw.choice(("ukraina", "venäjä", "arabia", "dari", "pashto", "somali", "sorani", "tigrinja")),
        "TULKKI": draw.choice(("K", "K", "E")),
        "KANSALAISUUS": draw.choice(("AFG", "SYR", "SOM", "IRQ", "UKR", "ERI")),
        "OLESKELULUPA": draw.choice(("TP", "TP", "TS", "KP", "TILK", "INH")),
        "LUPA_PVM": f"{draw.randint(1, 28)}.{draw.randint(1, 9)}.2026",
        "PUHELIN": f"050 555 {draw.randint(0, 9999):04d}",
        "SAHKOPOSTI": f"asukas{1001 + index}@example.fi" if draw.random() < 0.4 else "",
        "OSOITE": f"{draw.choice(_STREETS)} {draw.randint(1, 90)} as. {draw.randint(1, 60)}",
        "KUNTA": municipality,
        "MUUTTOPAIVA": f"{draw.randint(1, 28)}.12.2026",
        "OMATOIMINEN_MUUTTO": "E",
        "TURVAKIELTO": "E",
        "PERHEKOKO": str(1 + len(children)),
        "LASTEN_IAT": "|".join(children),
        "HAAVOITTUVUUS": "E",
        "ASUMINEN": draw.choice(("VOK", "VOK", "YKS")),
        "KOULUTUS": draw.choice(("0", "L", "P", "T", "K")),
        "AMMATTI": draw.choice(("leipuri", "opettaja", "sähköasentaja", "ompelija", "maanviljelijä", "")),
        "TULOT": str(draw.choice((0, 0, 320, 610))),
        "PALVELUTARPEET": "|".join(
            draw.sample(("ASUNTO", "KIELIKOULUTUS", "TYÖ", "OHJAUS", "SOSIAALITYÖ", "TERVEYS", "ALKUTOIMEENTULO"), 3)
        ),
        "KIIREELLISYYS": draw.choice(("K1", "K1", "K2", "K3")),
        "MUOKKAAJA": "esimerkki",
        "MUOKATTU": "24.11.2026 08:00",
    }
    if case is not None:
        row |= case[2]
        postal_code, city = _PLACES[row["KUNTA"]]
    row |= {"POSTINUMERO": postal_code, "POSTITOIMIPAIKKA": city}
    # Some have no identity code yet: their customer number identifies them.
    if index != 7 and (case is not None or draw.random() < 0.8):
        number = 900 + (index * 2 + (1 if row["SUKUPUOLI"] == "M" else 0)) % 100
        row["HETU"] = hetu(born, number)
    return row


def _soil(rows: Sequence[Row]) -> tuple[list[Dirt], Mapping[int, str]]:
    """Make some rows dirty, from the 24th on; gives what was done, and the rows that break the file's form."""
    dirt: list[Dirt] = []
    broken: dict[int, str] = {}
    faults: tuple[tuple[str, str, Callable[[Row], None]], ...] = (
        (
            "HETU",
            "hetu-check",
            lambda row: row.update(HETU="010190-900A"),
        ),
        ("HETU", "hetu-form", lambda row: row.update(HETU="310290-901X")),
        ("SUKUNIMI", "field-missing", lambda row: row.update(SUKUNIMI="")),
        ("SYNTYMAAIKA", "date-form", lambda row: row.update(SYNTYMAAIKA="31.4.1990")),
        ("OLESKELULUPA", "code-unknown", lambda row: row.update(OLESKELULUPA="ZZ")),
        ("PALVELUTARPEET", "code-unknown", lambda row: row.update(PALVELUTARPEET="ASUNTO|AVARUUSMATKA")),
        ("POSTINUMERO", "postal-code-form", lambda row: row.update(POSTINUMERO="4810")),
        ("TULKKI", "not-yes-no", lambda row: row.update(TULKKI="ehkä")),
        ("TULOT", "not-a-number", lambda row: row.update(TULOT="kolmesataa")),
        ("PUHELIN", "phone-form", lambda row: row.update(PUHELIN="ei puhelinta")),
        ("KUNTA", "code-unknown", lambda row: row.update(KUNTA="999")),
        ("ASIAKASNUMERO", "duplicate-key", lambda row: row.update(ASIAKASNUMERO=rows[20]["ASIAKASNUMERO"])),
    )
    for index, (column, code, spoil) in enumerate(faults, 24):
        spoil(rows[index])
        place = "" if code == "duplicate-key" else column
        dirt.append(Dirt(rows[index]["ASIAKASNUMERO"], index + 2, place, code))
        if code == "duplicate-key":  # the former of the two is held back as well
            dirt.append(Dirt(rows[20]["ASIAKASNUMERO"], 22, place, code))
    for index, code in ((37, "column-count"), (38, "encoding")):
        broken[index] = code
        dirt.append(Dirt("", index + 2, "ETUNIMET" if code == "encoding" else "", code))
    return dirt, broken


def _csv(rows: Sequence[Row], broken: Mapping[int, str]) -> bytes:
    """The CSV export, in windows-1252 with a semicolon between columns."""
    out = bytearray()
    for index, cells in enumerate([COLUMNS, *([row[column] for column in COLUMNS] for row in rows)], -1):
        text = io.StringIO()
        csv.writer(text, delimiter=";", lineterminator="\r\n").writerow(cells)
        line = text.getvalue().encode("windows-1252")
        if broken.get(index) == "column-count":
            line = line.replace(b"\r\n", b";liikaa\r\n")
        elif broken.get(index) == "encoding":
            given = cells[COLUMNS.index("ETUNIMET")].encode("windows-1252")
            line = line.replace(given, given + b"\x81", 1)
        out += line
    return bytes(out)


def _xml(rows: Sequence[Row]) -> bytes:
    """The XML export, in UTF-8, days in ISO 8601."""
    root = etree.Element("Asiakkaat")
    for row in rows:
        record = etree.SubElement(root, "Asiakas")
        for column, value in row.items():
            path = _XML_PATHS[column]
            if value == "" and column != "SUKUNIMI":
                continue
            if column in {"SYNTYMAAIKA", "LUPA_PVM", "MUUTTOPAIVA"}:
                value = iso(value)
            _place(record, path, column, value)
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def _place(record: Any, path: str, column: str, value: str) -> None:
    *parents, last = path.split("/")
    holder = record
    for name in parents:
        found = holder.find(name)
        holder = found if found is not None else etree.SubElement(holder, name)
    if last.startswith("@"):
        holder.set(last[1:], value)
    elif column == "LASTEN_IAT":
        for age in value.split("|"):
            etree.SubElement(holder, last).set("ika", age)
    elif column == "PALVELUTARPEET":
        for need in value.split("|"):
            etree.SubElement(holder, last).text = need
    else:
        etree.SubElement(holder, last).text = value
