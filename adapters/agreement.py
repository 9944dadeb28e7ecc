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
_CODE_LENGTH = 11


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
    yield from _impossible_days(person, day)
    birth = person.get("birthDate")
    # In the east a day begins before it does in UTC.
    if birth and date.fromisoformat(birth) > day + timedelta(days=1):
        yield Doubt("/entry/0/resource/birthDate", "date-future")
    elif contradicts_identity_code(bundle):
        # The node holds such a record until somebody has decided whose it is; here it is told.
        at = next(index for index, given in enumerate(person["identifier"]) if given["system"] == HETU)
        yield Doubt(f"/entry/0/resource/identifier/{at}/value", "identity-disagrees", "warning")


def _impossible_days(person: Mapping[str, Any], day: date) -> Iterator[Doubt]:
    """A permit that was decided on a day to come was not decided; nobody is born so long ago."""
    for place, part in _said(person, "residence-permit").values():
        value = part.get("valueDate")
        if value and date.fromisoformat(value) > day + timedelta(days=1):
            yield Doubt(f"{place}/valueDate", "date-future")
    days = {"/birthDate": date.fromisoformat(person["birthDate"])} if person.get("birthDate") else {}
    for index, given in enumerate(person.get("identifier", ())):
        system, value = given["system"], given["value"]
        if system == HETU:
            if (born_on := born(system, value)) is not None:
                days[f"/identifier/{index}/value"] = born_on
        elif system in (MIGRI_CUSTOMER, LOCAL) and _is_identity_code(value):
            # Under this name nobody would find what the person has refused under their code.
            yield Doubt(f"/entry/0/resource/identifier/{index}/value", "identity-code-as-number")
    for pointer, born_on in days.items():
        if day.year - born_on.year > _OLDEST:
            yield Doubt(f"/entry/0/resource{pointer}", "born-long-ago", "warning")


def _is_identity_code(value: str) -> bool:
    if len(value) < _CODE_LENGTH:
        return False
    try:
        canonical(HETU, value)
    except SubjectIdentifierError:
        return False
    return True


def _said(person: Mapping[str, Any], name: str) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """The parts of one of our own extensions by their names: where each stands, and what it says."""
    url = EXTENSION + name
    for index, extension in enumerate(person.get("extension", ())):
        if extension["url"] == url:
            at = f"/entry/0/resource/extension/{index}/extension"
            return {part["url"]: (f"{at}/{number}", part) for number, part in enumerate(extension.get("extension", ()))}
    return {}


def disagreements(bundle: Mapping[str, Any]) -> Iterator[str]:
    """The pointers of what contradicts something that stands before it, in a bundle that has passed its schema."""
    person = subject(bundle)
    at = "/entry/0/resource"
    first: dict[str, str] = {}
    for index, identifier in enumerate(person.get("identifier", ())):
        system, value = identifier["system"], identifier["value"]
        if system in _SINGLE and first.setdefault(system, value) != value:
            yield f"{at}/identifier/{index}/value"
    permit = _said(person, "residence-permit")
    if "granted" in permit and "ground" in permit:
        place, granted = permit["granted"]
        if (permit["ground"][1]["valueCoding"].get("code") in _NOT_GRANTED) is granted.get("valueBoolean"):
            yield place
    vulnerable = _said(person, "vulnerability")
    if "ground" in vulnerable and "fact" in vulnerable and vulnerable["fact"][1].get("valueBoolean") is False:
        yield vulnerable["ground"][0]
    # Whom a prohibition lets know is named only where there is one: "no" beside a name cannot be believed.
    safety = _said(person, "safety-prohibition")
    if "named-recipient" in safety and ("active" not in safety or safety["active"][1].get("valueBoolean") is not True):
        yield safety["named-recipient"][0]
