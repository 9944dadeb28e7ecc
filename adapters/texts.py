"""The words of findings, in one place: what is wrong and how to mend it, by code."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from adapters.sdk import Finding, Limits, Position, Severity
from schemas.identifiers import masked
from texts import Catalogue

_NOWHERE = Position()

#: How a finding of the schema is called where it has words of its own; for all others there is `schema`.
FINDINGS: Final = {"subject-form": "hetu-form", "subject-check": "hetu-check", "stated-twice": "contradictory"}


_TEXTS: Final = Catalogue("findings")
CODES: Final = frozenset(key.partition(".")[0] for key in _TEXTS)


def finding(severity: Severity, code: str, position: Position, target: str | None = None) -> Finding:
    """A finding with its words."""
    return Finding(severity, code, position, target, _TEXTS[f"{code}.is"], _TEXTS[f"{code}.mends"])


def missing_columns(columns: Sequence[str], header: Collection[str], row: int) -> Finding:
    """The one finding for all columns that a header lacks, with the names in it that come nearest to them."""
    lacking = finding("error", "column-missing", Position(row=row, column=", ".join(columns)))
    near = {name: found for name in columns for found in difflib.get_close_matches(name, header, 1, 0.7)}
    if not near:
        return lacking
    told = ", ".join(f"{masked(found)} ({name})" for name, found in near.items())
    hint = _TEXTS["column-missing.near"].filled(near=told)
    return replace(lacking, hint=hint)


def damage(position: Position, target: str) -> Finding:
    """The finding for damaged text. A name that is none finds nobody and offends its bearer, so it stops the record."""
    return finding("error" if "/name/" in target else "warning", "damaged-text", position, target)


def over(limit: str, limits: Limits, position: Position = _NOWHERE) -> Finding:
    """The finding that a source goes over one of its limits, which it names by its member of Limits."""
    found = finding("error", "limit-exceeded", position)
    return replace(found, message=found.message.filled(limit=limit, most=getattr(limits, limit)))
