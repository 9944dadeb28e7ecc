"""Find what a record says twice and not alike, where a reader would have to choose one of the two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from adapters.sdk import Severity
from schemas.facts import EXTENSION, HETU, MIGRI_CUSTOMER, contradicts_identity_code, subject

#: A person has one of each; identifiers of an organisation's own may be several.
_SINGLE = frozenset({HETU, MIGRI_CUSTOMER})


@dataclass(frozen=True, slots=True)
class Doubt:
    """A value that is well formed and cannot be believed: where it stands, and the code of its finding."""

    pointer: str
    code: str
    severity: Severity = "error"


def today() -> date:
    """The day in UTC."""
    return datetime.now(UTC).date()


def doubts(bundle: Mapping[str, Any], day: date) -> Iterator[Doubt]:
    """What cannot be believed of a bundle that has passed its schema; `day` is today's in UTC."""
    for pointer in disagreements(bundle):
        yield Doubt(pointer, "contradictory")
    person = subject(bundle)
    birth = person.get("birthDate")
    # In the east a day begins before it does in UTC.
    if birth and date.fromisoformat(birth) > day + timedelta(days=1):
        yield Doubt("/entry/0/resource/birthDate", "date-future")
    elif contradicts_identity_code(bundle):
        # The node holds such a record until somebody has decided whose it is; here it is told.
        at = next(index for index, given in enumerate(person["identifier"]) if given["system"] == HETU)
        yield Doubt(f"/entry/0/resource/identifier/{at}/value", "identity-disagrees", "warning")


def disagreements(bundle: Mapping[str, Any]) -> Iterator[str]:
    """The pointers of what contradicts something that stands before it, in a bundle that has passed its schema."""
    person = subject(bundle)
    at = "/entry/0/resource"
    first: dict[str, str] = {}
    for index, identifier in enumerate(person.get("identifier", ())):
        system, value = identifier["system"], identifier["value"]
        if system in _SINGLE and first.setdefault(system, value) != value:
            yield f"{at}/identifier/{index}/value"
    for index, extension in enumerate(person.get("extension", ())):
        if extension["url"] != EXTENSION + "safety-prohibition":
            continue
        parts = {part["url"]: (number, part) for number, part in enumerate(extension.get("extension", ()))}
        # Whom a prohibition lets know is named only where there is one: "no" beside a name cannot be believed.
        if "named-recipient" in parts and ("active" not in parts or parts["active"][1].get("valueBoolean") is not True):
            yield f"{at}/extension/{index}/extension/{parts['named-recipient'][0]}"
