"""The values of the invented persons of `adapters.samples` as the other formats call them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Row = Mapping[str, str]
Planted = Mapping[str, Any]

NEEDS = {
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
MUNICIPAL_NEEDS = {
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
LANGUAGES = {
    "ukraina": "uk",
    "venäjä": "ru",
    "arabia": "ar",
    "dari": "prs",
    "pashto": "ps",
    "somali": "so",
    "sorani": "ckb",
    "tigrinja": "ti",
}
GROUNDS = {
    "TP": "asylum-granted",
    "TS": "subsidiary-protection",
    "KP": "quota-refugee",
    "TILK": "temporary-protection-with-home-municipality",
    "INH": "humanitarian",
    "VIR": "pending",
}
GENDERS = {"M": "male", "N": "female"}
URGENCY = {"K1": "routine", "K2": "urgent", "K3": "asap"}
HOUSING = {"VOK": "reception-centre", "YKS": "private"}
SCHOOLING = {"0": "none", "L": "literacy", "P": "primary", "T": "secondary", "K": "tertiary"}
VULNERABLE = {
    "KIDUTUS": "torture",
    "VAMMA": "disability",
    "VÄKIVALTA": "violence",
    "ILMAN-HUOLTAJAA": "unaccompanied",
}


def iso(value: str) -> str:
    """A Finnish day as ISO 8601 writes it; a day that is none stays none."""
    day, month, year = value.split(".")
    return f"{year}-{int(month):02d}-{int(day):02d}"


def by(table: Mapping[str, str]) -> Callable[[str], Any]:
    return lambda value: table.get(value, value)


def truth(value: str) -> Any:
    return {"K": True, "E": False}.get(value, value)


def count(value: str) -> Any:
    return int(value) if value.isdigit() else value


def unspaced(value: str) -> str:
    return value.replace(" ", "") if any(letter.isdigit() for letter in value) else value


def same(value: str) -> Any:
    return value
