"""What became of a doubtful input, held to what a careful person of the field demands of it (`doubtful/expected.toml`).

Whoever wrote inputs and demands had read the documentation and none of the readers.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from schemas.facts import EXTENSION

FOLDER: Final = Path(__file__).parent / "doubtful"
DEMANDS: Final[Mapping[str, Mapping[str, Any]]] = {
    demand["name"]: demand for demand in tomllib.loads((FOLDER / "expected.toml").read_text("utf-8"))["input"]
}


def file_of(name: str) -> Path:
    """Where an input is."""
    return FOLDER.parent / "exports" / name if DEMANDS[name].get("field") else FOLDER / "inputs" / name


def adapter_of(name: str) -> tuple[str, str | None]:
    """The adapter that reads an input, and its mapping if it is one that was written for it."""
    adapter = DEMANDS[name]["adapter"]
    own = FOLDER / f"{adapter}.yaml"
    return adapter.rpartition("/")[2], own.read_text("utf-8") if own.exists() else None


@dataclass(frozen=True)
class Told:
    """A finding as a demand looks at it."""

    row: int
    code: str


@dataclass(frozen=True)
class Outcome:
    """What became of an input: the records that were made, what was told, and the rows that were accounted for."""

    bundles: Sequence[Mapping[str, Any]]
    told: Sequence[Told]
    rows: frozenset[int]

    def of(self, key: str) -> list[Mapping[str, Any]]:
        """The records of a person."""
        return [bundle for bundle in self.bundles if key in _identifiers(bundle)]

    def keys(self) -> set[str]:
        return {key for bundle in self.bundles for key in _identifiers(bundle)}


def faults(demand: Mapping[str, Any], outcome: Outcome) -> list[str]:
    """Where an outcome is other than was demanded."""
    return [*_of_persons(demand, outcome), *_of_texts(demand, outcome), *_of_findings(demand, outcome)]


def _of_persons(demand: Mapping[str, Any], outcome: Outcome) -> Iterator[str]:
    yield from (f"{key} is not taken" for key in demand.get("taken", ()) if not outcome.of(key))
    yield from (f"{key} is taken" for key in demand.get("not_taken", ()) if outcome.of(key))
    if len(outcome.bundles) > demand.get("taken_at_most", len(outcome.bundles)):
        yield f"{len(outcome.bundles)} records"
    for name, wrong in (("not_unprotected", False), ("never_unknown", None), ("never_says_no", False)):
        for key in demand.get(name, ()):
            yield from (f"{name}: {key}: {wrong}" for bundle in outcome.of(key) if prohibition(bundle) is wrong)
    if demand.get("not_key_empty") and not all(_identifiers(bundle) for bundle in outcome.bundles):
        yield "a record of nobody"


def _of_texts(demand: Mapping[str, Any], outcome: Outcome) -> Iterator[str]:
    for key, text in demand.get("never_in", ()):
        yield from (f"{key} holds {text!r}" for bundle in outcome.of(key) if _holds(bundle, text))
    for text in demand.get("never_text", ()):
        yield from (f"a record holds {text!r}" for bundle in outcome.bundles if _holds(bundle, text))
    for key, text in demand.get("exact", ()):
        found = outcome.of(key)
        if found and not any(_holds(bundle, text) for bundle in found):
            yield f"{key} lacks {text!r}"


def _of_findings(demand: Mapping[str, Any], outcome: Outcome) -> Iterator[str]:
    for wanted in demand.get("findings", ()):
        row, codes = wanted.get("row", 0), set(wanted["codes"])
        if not any(row in (0, told.row) and ({"*", told.code} & codes) for told in outcome.told):
            yield f"no finding {sorted(codes)} at row {row}"
    unwanted = {told.code for told in outcome.told} & set(demand.get("no_codes", ()))
    if unwanted:
        yield f"told without reason: {sorted(unwanted)}"
    if "refused" in demand:
        codes = {"*", *(told.code for told in outcome.told)} if outcome.told else set()
        if outcome.bundles or not codes & set(demand["refused"]):
            yield f"not refused with {demand['refused']}, but {sorted(codes)}, {len(outcome.bundles)} records"
    if "refused_or_taken" in demand:
        if outcome.bundles and not set(demand["refused_or_taken"]) <= outcome.keys():
            yield f"taken in part: {sorted(outcome.keys())}"
        if not outcome.bundles and not outcome.told:
            yield "nothing is taken and nothing told"
    if len(outcome.rows) < demand.get("read", 0):
        yield f"{len(outcome.rows)} of {demand['read']} persons are accounted for"


def _identifiers(bundle: Mapping[str, Any]) -> list[str]:
    return [identifier["value"] for identifier in bundle["entry"][0]["resource"].get("identifier", ())]


def prohibition(bundle: Mapping[str, Any]) -> bool | None:
    """What a record says of a safety prohibition; None for nothing."""
    for extension in bundle["entry"][0]["resource"].get("extension", ()):
        if extension["url"] == EXTENSION + "safety-prohibition":
            return next((part.get("valueBoolean") for part in extension["extension"] if part["url"] == "active"), None)
    return None


def _holds(bundle: Mapping[str, Any], text: str) -> bool:
    """Whether a text stands in some string of a record, or is one, if it stands in quotation marks."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1] in strings(bundle)
    return any(text in string for string in strings(bundle))


def strings(value: Any) -> list[str]:
    """All strings in a value."""
    if isinstance(value, dict):
        return [text for member in value.values() for text in strings(member)]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []
