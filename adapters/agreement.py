"""Find what a record says twice and not alike, where a reader would have to choose one of the two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from adapters.sdk import Severity
from schemas.facts import EXTENSION, contradicts_identity_code, subject
from schemas.identifiers import HETU, LOCAL, MIGRI_CUSTOMER, SubjectIdentifierError, born, canonical

#: A person has one of each; identifiers of an organisation's own may be several.
_SINGLE = frozenset({HETU, MIGRI_CUSTOMER})
_NOT_GRANTED = frozenset({"pending", "refused"})
_PERMIT = EXTENSION + "residence-permit"
_VULNERABLE = EXTENSION + "vulnerability"
_SAFETY = EXTENSION + "safety-prohibition"
_OLDEST = 120
_CODE_LENGTH = 11
#: The extensions that are held against themselves here.
_LOOKED_AT = frozenset({_PERMIT, _VULNERABLE, _SAFETY})

#: Where a part of an extension of the person stands: the number of the extension, and that of the part within it.
Place = tuple[int, int]
#: What extensions say: by their URLs, and by the names of their parts, where each stands and what it says.
Said = Mapping[str, Mapping[str, tuple[Place, Mapping[str, Any]]]]


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
    person = subject(bundle)
    said = _said(person)
    for pointer in _disagreements(person, said):
        yield Doubt(pointer, "contradictory")
    yield from _impossible_days(person, said, day)
    birth = person.get("birthDate")
    # In the east a day begins before it does in UTC. A year that has begun may hold the day.
    if birth and birth > (day + timedelta(days=1)).isoformat():
        yield Doubt("/entry/0/resource/birthDate", "date-future")
    elif contradicts_identity_code(bundle):
        # The node holds such a record until somebody has decided whose it is; here it is told.
        at = next(index for index, given in enumerate(person["identifier"]) if given["system"] == HETU)
        yield Doubt(f"/entry/0/resource/identifier/{at}/value", "identity-disagrees", "warning")


def _impossible_days(person: Mapping[str, Any], said: Said, day: date) -> Iterator[Doubt]:
    """A permit that was decided on a day to come was not decided; nobody is born so long ago."""
    for place, part in said.get(_PERMIT, {}).values():
        value = part.get("valueDate")
        if value and date.fromisoformat(value) > day + timedelta(days=1):
            yield Doubt(f"{_at(place)}/valueDate", "date-future")
    died = person.get("deceasedDateTime")
    if died and date.fromisoformat(died) > day + timedelta(days=1):
        yield Doubt("/entry/0/resource/deceasedDateTime", "date-future")
    years = {"/birthDate": int(person["birthDate"][:4])} if person.get("birthDate") else {}
    for index, given in enumerate(person.get("identifier", ())):
        system, value = given["system"], given["value"]
        if system == HETU:
            if (born_on := born(system, value)) is not None:
                years[f"/identifier/{index}/value"] = born_on.year
        elif system in (MIGRI_CUSTOMER, LOCAL) and _is_identity_code(value):
            # Under this name nobody would find what the person has refused under their code.
            yield Doubt(f"/entry/0/resource/identifier/{index}/value", "identity-code-as-number")
    for pointer, year in years.items():
        if day.year - year > _OLDEST:
            yield Doubt(f"/entry/0/resource{pointer}", "born-long-ago", "warning")


def _is_identity_code(value: str) -> bool:
    if len(value) < _CODE_LENGTH:
        return False
    try:
        canonical(HETU, value)
    except SubjectIdentifierError:
        return False
    return True


def _said(person: Mapping[str, Any]) -> Said:
    """The parts of each extension of the person, by its URL and their names; of extensions of one URL, the first's."""
    said: dict[str, dict[str, tuple[Place, Mapping[str, Any]]]] = {}
    for index, extension in enumerate(person.get("extension", ())):
        if (url := extension["url"]) in _LOOKED_AT and url not in said:
            parts = extension.get("extension", ())
            said[url] = {part["url"]: ((index, number), part) for number, part in enumerate(parts)}
    return said


def _at(place: Place) -> str:
    index, number = place
    return f"/entry/0/resource/extension/{index}/extension/{number}"


def _disagreements(person: Mapping[str, Any], said: Said) -> Iterator[str]:
    """The pointers of what contradicts something that stands before it, of a person who has passed their schema."""
    first: dict[str, str] = {}
    for index, identifier in enumerate(person.get("identifier", ())):
        system, value = identifier["system"], identifier["value"]
        if system in _SINGLE and first.setdefault(system, value) != value:
            yield f"/entry/0/resource/identifier/{index}/value"
    if (died := person.get("deceasedDateTime")) and (birth := person.get("birthDate")) and died < birth:
        yield "/entry/0/resource/deceasedDateTime"
    permit = said.get(_PERMIT, {})
    if "granted" in permit and "ground" in permit:
        place, granted = permit["granted"]
        if (permit["ground"][1]["valueCoding"].get("code") in _NOT_GRANTED) is granted.get("valueBoolean"):
            yield _at(place)
    vulnerable = said.get(_VULNERABLE, {})
    if "ground" in vulnerable and "fact" in vulnerable and vulnerable["fact"][1].get("valueBoolean") is False:
        yield _at(vulnerable["ground"][0])
    # Whom a prohibition lets know is named only where there is one: "no" beside a name cannot be believed.
    safety = said.get(_SAFETY, {})
    if "named-recipient" in safety and ("active" not in safety or safety["active"][1].get("valueBoolean") is not True):
        yield _at(safety["named-recipient"][0])
