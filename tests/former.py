"""The rulebook of former networks, first form: tests that are not about the law itself run under it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from consent.rulebook import checked
from consent.rules.document import Document, read
from consent.rules.law import Rulebook

_FILE = Path(__file__).parent / "consent" / "recorded" / "fi-kotoutuminen-2026-11-27.yaml"


def former_rulebook() -> bytes:
    """The last rulebook of the first form that was published."""
    return _FILE.read_bytes()


@cache
def _document() -> Document:
    return read(former_rulebook(), "reference")


@cache
def former() -> Rulebook:
    """That rulebook, read once."""
    return checked(_document(), "sha-256:" + hashlib.sha256(former_rulebook()).hexdigest(), "reference")


def values() -> Any:
    """What stands in it, for whoever changes it."""
    return json.loads(json.dumps(_document().values))


def changed(
    entries: Mapping[str, Mapping[str, Any]], added: Iterable[tuple[str, Mapping[str, Any]]] = (), **whole: Any
) -> Rulebook:
    """That rulebook with other fields of some entries (by id, or by code of a flow), more entries, other headings."""
    document = {**values(), **whole}
    named = {entry["id"]: entry for kind in ("bases", "gaps", "prohibitions") for entry in document[kind]}
    for name, fields in entries.items():
        (named | document["flows"])[name].update(fields)
    for kind, entry in added:
        document[kind].insert(0, entry)
    return checked(replace(_document(), values=document), "sha-256:changed", "changed")
