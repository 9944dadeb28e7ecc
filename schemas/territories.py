"""Which wellbeing services county, employment area and state office a municipality belongs to on a day.

The tables are Statistics Finland's classifications of the years 2023–2026 (CC BY 4.0). A municipality that was merged
is taken for its successor from the day of the merger on. Before 2023 there were no counties: the tables say nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from schemas.codes import Coding, code_system


@dataclass(frozen=True, slots=True)
class Territory:
    """Where a municipality belongs. Helsinki and Åland belong to no county, Åland to no ELY centre.

    Before 2025 there were no employment areas. Each has its official names.
    """

    municipality: Coding
    county: Coding | None
    employment_area: Coding | None
    state_office: Coding | None


@dataclass(frozen=True, slots=True)
class _Span:
    first: date
    last: date
    county: str
    employment_area: str
    state_office: str


def territory(municipality: str, on: date) -> Territory | None:
    """Where a municipality, or its successor, belongs on a day; None where the tables do not say."""
    municipalities = code_system("municipality")
    code = municipalities.current(municipality, on)
    known = municipalities.lookup(code, on)
    span = next((span for span in _spans().get(code, ()) if span.first <= on <= span.last), None)
    if known is None or span is None:
        return None
    return Territory(
        known,
        code_system("wellbeing-county").lookup(span.county),
        code_system("employment-area").lookup(span.employment_area),
        code_system("state-office").lookup(span.state_office),
    )


@cache
def _spans() -> Mapping[str, tuple[_Span, ...]]:
    found: dict[str, list[_Span]] = {}
    text = (files("schemas") / "fhir-like" / "territories.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        last = date.fromisoformat(row["last"]) if row["last"] else date.max
        found.setdefault(row["municipality"], []).append(
            _Span(date.fromisoformat(row["first"]), last, row["county"], row["employment_area"], row["state_office"])
        )
    return MappingProxyType({code: tuple(spans) for code, spans in found.items()})
