"""The words of findings, in one place: what is wrong and how to mend it, by code."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Final

from adapters.sdk import Finding, Limits, Position, Severity, Text

_NOWHERE = Position()

#: How a finding of the schema is called where it has words of its own; for all others there is `schema`.
FINDINGS: Final = {"subject-form": "hetu-form", "subject-check": "hetu-check", "stated-twice": "contradictory"}


@cache
def _texts() -> Mapping[str, tuple[Text, Text]]:
    document = tomllib.loads((files("adapters") / "findings.toml").read_text(encoding="utf-8"))
    return {code: (Text(**told["is"]), Text(**told["mends"])) for code, told in document.items()}


CODES = frozenset(_texts())


def finding(severity: Severity, code: str, position: Position, target: str | None = None) -> Finding:
    """A finding with its words."""
    message, hint = _texts()[code]
    return Finding(severity, code, position, target, message, hint)


def missing_columns(columns: Sequence[str], header: Collection[str], row: int) -> Finding:
    """The one finding for all columns that a header lacks, with the names in it that come nearest to them."""
    lacking = finding("error", "column-missing", Position(row=row, column=", ".join(columns)))
    near = {name: found for name in columns for found in difflib.get_close_matches(name, header, 1, 0.7)}
    if not near:
        return lacking
    told = ", ".join(f"{found} ({name})" for name, found in near.items())
    hint = Text(
        f"Otsikossa on lähes samanniminen: {told}. Korjaa kuvaus tai vienti.",
        f"Rubriken har en nästan likadan: {told}. Rätta mappningen eller exporten.",
        f"The header has one almost like it: {told}. Mend the mapping or the export.",
    )
    return replace(lacking, hint=hint)


def damage(position: Position, target: str) -> Finding:
    """The finding for damaged text. A name that is none finds nobody and offends its bearer, so it stops the record."""
    return finding("error" if "/name/" in target else "warning", "damaged-text", position, target)


def over(limit: str, limits: Limits, position: Position = _NOWHERE) -> Finding:
    """The finding that a source goes over one of its limits, which it names by its member of Limits."""
    message, hint = _texts()["limit-exceeded"]
    most = getattr(limits, limit)
    named = Text(*(text.format(limit=limit, most=most) for text in (message.fi, message.sv, message.en)))
    return Finding("error", "limit-exceeded", position, None, named, hint)
