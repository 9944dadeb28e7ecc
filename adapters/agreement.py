"""Find what a record says twice and not alike, where a reader would have to choose one of the two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from adapters.sdk import Severity
from schemas.facts import EXTENSION, HETU, LOCAL, MIGRI_CUSTOMER, contradicts_identity_code, subject
from schemas.identifiers import SubjectIdentifierError, born, canonical

#: A person has one of each; identifiers of an organisation's own may be several.
_SINGLE = frozenset({HETU, MIGRI_CUSTOMER})
_NOT_GRANTED = frozenset({"pending", "refused"})
_OLDEST = 120


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
    yield from _impossible_days(bundle, day)
    birth = person.get("birthDate")
    # In the east a day begins before it does in UTC.
    if birth and date.fromisoformat(birth) > day + timedelta(days=1):
        yield Doubt("/entry/0/resource/birthDate", "date-future")
    elif contradicts_identity_code(bundle):
        # The node holds such a record until somebody has decided whose it is; here it is told.
        at = next(index for index, given in enumerate(person["identifier"]) if given["system"] == HETU)
        yield Doubt(f"/entry/0/resource/identifier/{at}/value", "identity-disagrees", "warning")


def _impossible_days(bundle: Mapping[str, Any], day: date) -> Iterator[Doubt]:
    """A permit that was decided on a day to come was not decided; nobody is born so long ago."""
    person = subject(bundle)
    for at, name, part in _parts(person):
        value = part.get("valueDate")
        if name == "residence-permit" and value and date.fromisoformat(value) > day + timedelta(days=1):
            yield Doubt(f"{at}/valueDate", "date-future")
    days = {"/birthDate": date.fromisoformat(person["birthDate"])} if person.get("birthDate") else {}
    for index, given in enumerate(person.get("identifier", ())):
        if (born_on := born(given["system"], given["value"])) is not None:
            days[f"/identifier/{index}/value"] = born_on
        elif given["system"] in (MIGRI_CUSTOMER, LOCAL) and _is_identity_code(given["value"]):
            # Under this name nobody would find what the person has refused under their code.
            yield Doubt(f"/entry/0/resource/identifier/{index}/value", "identity-code-as-number")
    for pointer, born_on in days.items():
        if day.year - born_on.year > _OLDEST:
            yield Doubt(f"/entry/0/resource{pointer}", "born-long-ago", "warning")


def _is_identity_code(value: str) -> bool:
    try:
        canonical(HETU, value)
    except SubjectIdentifierError:
        return False
    return True


def _parts(person: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """The parts of our own extensions: where each stands, of which extension it is, and what it says."""
    for index, extension in enumerate(person.get("extension", ())):
        for number, part in enumerate(extension.get("extension", ())):
            at = f"/entry/0/resource/extension/{index}/extension/{number}"
            yield at, extension["url"].removeprefix(EXTENSION), part


def disagreements(bundle: Mapping[str, Any]) -> Iterator[str]:
    """The pointers of what contradicts something that stands before it, in a bundle that has passed its schema."""
    person = subject(bundle)
    at = "/entry/0/resource"
    first: dict[str, str] = {}
    for index, identifier in enumerate(person.get("identifier", ())):
        system, value = identifier["system"], identifier["value"]
        if system in _SINGLE and first.setdefault(system, value) != value:
            yield f"{at}/identifier/{index}/value"
    said = {(name, part["url"]): (place, _value(part)) for place, name, part in _parts(person)}
    granted = said.get(("residence-permit", "granted"))
    ground = said.get(("residence-permit", "ground"), ("", None))[1]
    if granted is not None and ground is not None and (ground in _NOT_GRANTED) is bool(granted[1]):
        yield granted[0]
    if ("vulnerability", "ground") in said and said.get(("vulnerability", "fact"), ("", None))[1] is False:
        yield said["vulnerability", "ground"][0]
    for index, extension in enumerate(person.get("extension", ())):
        if extension["url"] != EXTENSION + "safety-prohibition":
            continue
        parts = {part["url"]: (number, part) for number, part in enumerate(extension.get("extension", ()))}
        # Whom a prohibition lets know is named only where there is one: "no" beside a name cannot be believed.
        if "named-recipient" in parts and ("active" not in parts or parts["active"][1].get("valueBoolean") is not True):
            yield f"{at}/extension/{index}/extension/{parts['named-recipient'][0]}"


def _value(part: Mapping[str, Any]) -> Any:
    value = next((member for name, member in part.items() if name.startswith("value")), None)
    return value.get("code") if isinstance(value, dict) else value
