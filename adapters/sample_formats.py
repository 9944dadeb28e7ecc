"""The invented persons of `adapters.samples` in the other formats, written without any mapping, so that they can
judge one.

A value that was made dirty is carried on as it stands, so that the same fault is there in every format that has a
place for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = Mapping[str, str]
Planted = Mapping[str, Any]

_NEEDS = {
    "ASUNTO": "housing",
    "KIELIKOULUTUS": "language-training",
    "PERUSOPETUS": "basic-education",
    "TYÖ": "employment-services",
    "OHJAUS": "early-guidance",
    "SOSIAALITYÖ": "social-work",
    "VAMMAISPALVELU": "disability-services",
    "TERVEYS": "basic-health-care",
    "MIELENTERVEYS": "mental-health-services",
    "KUNTOUTUS": "torture-rehabilitation",
    "NEUVOLA": "maternity-care",
    "LASTENSUOJELU": "child-welfare",
    "EDUSTAJA": "representative",
    "ALKUTOIMEENTULO": "early-income-support",
}
_MUNICIPAL_NEEDS = {
    "ASUNTO": "asunto",
    "KIELIKOULUTUS": "kielikoulutus",
    "PERUSOPETUS": "perusopetus",
    "TYÖ": "tyollisyys",
    "OHJAUS": "ohjaus",
    "SOSIAALITYÖ": "sosiaalityo",
    "VAMMAISPALVELU": "vammaispalvelu",
    "TERVEYS": "terveys",
    "MIELENTERVEYS": "mielenterveys",
    "KUNTOUTUS": "kuntoutus",
    "NEUVOLA": "neuvola",
    "LASTENSUOJELU": "lastensuojelu",
    "EDUSTAJA": "edustaja",
    "ALKUTOIMEENTULO": "alkutoimeentulo",
}
_LANGUAGES = {
    "ukraina": "uk",
    "venäjä": "ru",
    "arabia": "ar",
    "dari": "prs",
    "pashto": "ps",
    "somali": "so",
    "sorani": "ckb",
    "tigrinja": "ti",
}
_GROUNDS = {
    "TP": "asylum-granted",
    "TS": "subsidiary-protection",
    "KP": "quota-refugee",
    "TILK": "temporary-protection-with-home-municipality",
    "INH": "humanitarian",
    "VIR": "pending",
}
_GENDERS = {"M": "male", "N": "female"}
_URGENCY = {"K1": "routine", "K2": "urgent", "K3": "asap"}
_HOUSING = {"VOK": "reception-centre", "YKS": "private"}
_SCHOOLING = {"0": "none", "L": "literacy", "P": "primary", "T": "secondary", "K": "tertiary"}
_VULNERABLE = {
    "KIDUTUS": "torture",
    "VAMMA": "disability",
    "VÄKIVALTA": "violence",
    "ILMAN-HUOLTAJAA": "unaccompanied",
}


def iso(value: str) -> str:
    """A Finnish day as ISO 8601 writes it; a day that is none stays none."""
    day, month, year = value.split(".")
    return f"{year}-{int(month):02d}-{int(day):02d}"


def _by(table: Mapping[str, str]) -> Callable[[str], Any]:
    return lambda value: table.get(value, value)


def _truth(value: str) -> Any:
    return {"K": True, "E": False}.get(value, value)


def _count(value: str) -> Any:
    return int(value) if value.isdigit() else value


def _unspaced(value: str) -> str:
    return value.replace(" ", "") if any(letter.isdigit() for letter in value) else value


def _same(value: str) -> Any:
    return value


#: Each column of the register, its field in the municipality's form, and how its value is written there.
_MUNICIPAL: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("ASIAKASNUMERO", "asiakasnumero", _same),
    ("HETU", "henkilotunnus", _same),
    ("SUKUNIMI", "sukunimi", _same),
    ("ETUNIMET", "etunimet", _same),
    ("SUKUPUOLI", "sukupuoli", _by(_GENDERS)),
    ("SYNTYMAAIKA", "syntymaaika", iso),
    ("PUHELIN", "puhelin", _unspaced),
    ("SAHKOPOSTI", "sahkoposti", _same),
    ("OSOITE", "katuosoite", _same),
    ("POSTINUMERO", "postinumero", _same),
    ("POSTITOIMIPAIKKA", "postitoimipaikka", _same),
    ("AIDINKIELI", "aidinkieli", _by(_LANGUAGES)),
    ("TULKKI", "tulkki", _truth),
    ("KANSALAISUUS", "kansalaisuus", _same),
    ("OLESKELULUPA", "lupa", _by(_GROUNDS)),
    ("LUPA_PVM", "lupa_pvm", iso),
    ("KUNTA", "kunta", _same),
    ("MUUTTOPAIVA", "muuttopaiva", iso),
    ("OMATOIMINEN_MUUTTO", "omatoiminen_muutto", _truth),
    ("TURVAKIELTO", "turvakielto", _truth),
    ("TURVAKIELTO_VASTAANOTTAJA", "turvakielto_kunta", _same),
    ("HAAVOITTUVUUS", "haavoittuvassa_asemassa", _truth),
    ("HAAVOITTUVUUSPERUSTE", "haavoittuvuuden_peruste", _by(_VULNERABLE)),
    ("PERHEKOKO", "perhekoko", _count),
    ("YKSIN_TULLUT_ALAIKAINEN", "ilman_huoltajaa", _truth),
    ("EDUSTAJA", "edustaja", _same),
    ("HUOLTAJA", "huoltaja", _same),
    ("KIIREELLISYYS", "kiireellisyys", _by(_URGENCY)),
    ("ASUMINEN", "asuminen", _by(_HOUSING)),
    ("KOULUTUS", "koulutus", _by(_SCHOOLING)),
    ("AMMATTI", "ammatti", _same),
    ("TULOT", "tulot", _count),
    ("LASTENSUOJELU", "lastensuojelu", _same),
    ("TERVEYSTARPEET", "terveys", _same),
)


def municipality(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The persons as the municipality's flat objects; a field without a value is left out."""
    made = []
    for row in rows:
        person = {name: write(row[column]) for column, name, write in _MUNICIPAL if row[column]}
        if row["OLESKELULUPA"] in _GROUNDS:
            person["lupa_myonnetty"] = row["OLESKELULUPA"] != "VIR"
        if row["LASTEN_IAT"]:
            person["lasten_iat"] = [int(age) for age in row["LASTEN_IAT"].split("|")]
        if row["PALVELUTARPEET"]:
            person["palvelutarpeet"] = [_MUNICIPAL_NEEDS.get(need, need) for need in row["PALVELUTARPEET"].split("|")]
        made.append(person)
    return made


def municipality_json(rows: Sequence[Row]) -> bytes:
    """The same as a file."""
    return json.dumps(municipality(rows), ensure_ascii=False, indent=1).encode()


def municipality_dirt(planted: Sequence[Planted]) -> list[dict[str, Any]]:
    """The planted faults as they stand in the municipality's form."""
    names = {column: name for column, name, _ in _MUNICIPAL} | {"PALVELUTARPEET": "palvelutarpeet", "": ""}
    return [
        {"key": one["key"], "row": one["row"] - 1, "column": names[one["column"]], "code": one["code"]}
        for one in planted
        if one["code"] not in {"column-count", "encoding", "field-missing"}
    ]


def all_of(rows: Sequence[Row], planted: Sequence[Planted]) -> dict[str, tuple[str, bytes, list[dict[str, Any]]]]:
    """By the adapter's name: the file, its content, and the planted faults in the order of its records."""
    return {
        "municipality-json": ("municipality.json", municipality_json(rows), municipality_dirt(planted)),
    }
