"""Invented persons: each test makes its own, so that it can be run again and disturbs no other.

Identity codes are of the artificial 900 series, which is never given to anybody, with the check character that the
Finnish form asks for.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

HETU = "urn:oid:1.2.246.21"
_CHECKS = "0123456789ABCDEFHJKLMNPRSTUVWXY"
_FIRST_DAY = date(1950, 1, 1)
_DAYS = 18_000  # until 1999: adults, whose codes have a hyphen
_PERMIT = "urn:yhdyspinta:extension:residence-permit"
_MOVE = "urn:yhdyspinta:extension:move"
_SAFETY = "urn:yhdyspinta:extension:safety-prohibition"
_VULNERABILITY = "urn:yhdyspinta:extension:vulnerability"
_CODES = "urn:yhdyspinta:codes:"


@dataclass(frozen=True, slots=True)
class Person:
    """An adult with a permit who moves to a municipality."""

    code: str
    born: date

    @classmethod
    def make(cls) -> Person:
        """Somebody new."""
        born = _FIRST_DAY + timedelta(days=secrets.randbelow(_DAYS))
        digits, number = f"{born:%d%m%y}", 900 + secrets.randbelow(100)
        return cls(f"{digits}-{number}{_CHECKS[int(f'{digits}{number}') % 31]}", born)

    @property
    def subject(self) -> dict[str, str]:
        """How requests name the person."""
        return {"system": HETU, "value": self.code}

    @property
    def misspelt(self) -> dict[str, str]:
        """The same code with a check character that is not its own."""
        wrong = _CHECKS[(_CHECKS.index(self.code[-1]) + 1) % len(_CHECKS)]
        return {"system": HETU, "value": self.code[:-1] + wrong}

    def bundle(self, municipality: str, note: str = "") -> dict[str, Any]:
        """The person's record in the canonical form, health needs among it; `note` makes one differ from another."""
        return {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [{"resource": self._patient(municipality)}, {"resource": _health(note)}],
        }

    def _patient(self, municipality: str) -> dict[str, Any]:
        permit = [
            {"url": "ground", "valueCoding": {"system": f"{_CODES}permit-ground", "code": "asylum-granted"}},
            {"url": "granted", "valueBoolean": True},
            {"url": "decided", "valueDate": "2026-02-01"},
        ]
        move = [
            {"url": "municipality", "valueCoding": {"system": f"{_CODES}municipality", "code": municipality}},
            {"url": "date", "valueDate": (datetime.now(UTC).date() + timedelta(days=30)).isoformat()},
            {"url": "independent", "valueBoolean": False},
        ]
        return {
            "resourceType": "Patient",
            "id": "patient-1",
            "extension": [
                {"url": _PERMIT, "extension": permit},
                {"url": _MOVE, "extension": move},
                {"url": _SAFETY, "extension": [{"url": "active", "valueBoolean": False}]},
                {"url": _VULNERABILITY, "extension": [{"url": "fact", "valueBoolean": False}]},
            ],
            "identifier": [{"system": HETU, "value": self.code}],
            "name": [{"family": "Koekovar", "given": ["Salim"]}],
            "birthDate": self.born.isoformat(),
        }


def _health(note: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": "observation-1",
        "status": "final",
        "code": {"coding": [{"system": f"{_CODES}observation", "code": "health"}]},
        "subject": {"reference": "Patient/patient-1"},
        "valueString": f"astma {note}".strip(),
    }
