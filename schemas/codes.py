"""Code systems: closed lists of codes with their dates and their names in Finnish, Swedish and English.

One CSV file each in `fhir-like/codes`. A code may say which data category it belongs to, and from when to when it was
in use. Columns beyond those are other names of the code, as another standard writes it.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from types import MappingProxyType

PREFIX = "urn:yhdyspinta:codes:"

_COLUMNS = frozenset({"code", "fi", "sv", "en", "category", "valid_from", "valid_to", "successor"})


@dataclass(frozen=True, slots=True)
class Coding:
    """One code: its names, its data category if it has one, its first and last day of use, its other names, and the
    code that took its place.
    """

    code: str
    fi: str
    sv: str
    en: str
    category: str | None
    valid_from: date | None
    valid_to: date | None
    aliases: tuple[str, ...] = ()
    successor: str | None = None

    def in_use(self, on: date) -> bool:
        """Whether the code was in use on a day."""
        return (self.valid_from is None or self.valid_from <= on) and (self.valid_to is None or on <= self.valid_to)

    def label(self, language: str) -> str:
        """Its name in `fi`, `sv` or `en`; any other language gets the English one."""
        return {"fi": self.fi, "sv": self.sv}.get(language, self.en)


@dataclass(frozen=True, slots=True)
class CodeSystem:
    """A closed list of codes."""

    name: str
    codes: Mapping[str, Coding]

    @property
    def uri(self) -> str:
        """How a Coding names this system."""
        return PREFIX + self.name

    def lookup(self, code: str, on: date | None = None) -> Coding | None:
        """The code, if it exists and, when a day is given, was in use then."""
        found = self.codes.get(code)
        return found if found is None or on is None or found.in_use(on) else None

    def current(self, code: str, on: date) -> str:
        """The code itself, or, where it was no longer in use on a day, the one that had taken its place by then."""
        seen = {code}
        known = self.codes.get(code)
        while known is not None and known.successor is not None and known.valid_to is not None and on > known.valid_to:
            if known.successor in seen:
                break
            code = known.successor
            seen.add(code)
            known = self.codes.get(code)
        return code

    def find(self, name: str) -> Coding | None:
        """The code that is so written here or in another standard, in capitals or not."""
        return _by_any_name(self.name).get(name.strip().lower())


@cache
def _by_any_name(name: str) -> Mapping[str, Coding]:
    codes = code_system(name).codes.values()
    found = {alias.lower(): coding for coding in codes for alias in coding.aliases}
    return MappingProxyType(found | {coding.code.lower(): coding for coding in codes})


@cache
def code_system(name: str) -> CodeSystem:
    """Read one of the shipped code systems. Raises KeyError for a name that is not shipped."""
    path = files("schemas") / "fhir-like" / "codes" / f"{name}.csv"
    if not path.is_file():
        raise KeyError(name)
    rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    return CodeSystem(name, MappingProxyType({row["code"]: _coding(row) for row in rows}))


@cache
def code_systems() -> tuple[str, ...]:
    """The names of all shipped code systems."""
    folder = files("schemas") / "fhir-like" / "codes"
    return tuple(sorted(entry.name.removesuffix(".csv") for entry in folder.iterdir() if entry.name.endswith(".csv")))


def _coding(row: Mapping[str, str]) -> Coding:
    return Coding(
        code=row["code"],
        fi=row["fi"],
        sv=row["sv"],
        en=row["en"],
        category=row["category"] or None,
        valid_from=date.fromisoformat(row["valid_from"]) if row["valid_from"] else None,
        valid_to=date.fromisoformat(row["valid_to"]) if row["valid_to"] else None,
        successor=row.get("successor") or None,
        aliases=tuple(value for name, value in row.items() if name not in _COLUMNS and value),
    )
