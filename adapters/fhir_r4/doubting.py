"""FHIR R4's own words of doubt: what turns the meaning round, takes back, or says that it is not all.

A receiver that does not understand a modifier element must not use the resource (R4, 2.20.0.2): those stop the record.
What is entered in error, revoked, deleted or of a former time is left out and told; where it is the person that is, the
record stops.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Any, Final

_REFUSED: Final = frozenset({"DELETE", "PATCH"})
_OLD: Final = frozenset({"old"})
#: By kind: the statuses that stand; every other one is none of what the canonical record means.
_STANDING: Final[Mapping[str, frozenset[str]]] = {
    "ServiceRequest": frozenset({"active"}),
    "Observation": frozenset({"final", "amended", "corrected"}),
    "CarePlan": frozenset({"active", "draft", "on-hold", "completed", "revoked"}),
}
_FALSE: Final = frozenset({"entered-in-error", "nullified", "refuted"})
_INTENTS: Final = frozenset({"proposal", "plan", "directive", "order", "original-order"})


class Doing(Enum):
    """What a doubt does."""

    STOPS = "stops the record"
    LEAVES = "leaves the resource out"


@dataclass(frozen=True, slots=True)
class Word:
    """One word of doubt: the code of its finding, where it stands, and what it does."""

    code: str
    at: str
    doing: Doing


def of_bundle(bundle: Mapping[str, Any]) -> Iterator[Word]:
    """What a bundle says of itself: rules that are not known here, and whether it is one page of several."""
    if bundle.get("implicitRules"):
        yield Word("modifier", "/implicitRules", Doing.STOPS)
    entries = bundle.get("entry")
    total = bundle.get("total")
    matches = [entry for entry in entries if _is_match(entry)] if isinstance(entries, list) else []
    links = bundle.get("link")
    has_next = any(isinstance(link, dict) and link.get("relation") == "next" for link in _listed(links))
    is_short = bundle.get("type") in {"searchset", "history"} and isinstance(total, int) and total != len(matches)
    if has_next or is_short:
        yield Word("count-differs", "/link" if has_next else "/total", Doing.STOPS)


def _is_match(entry: Any) -> bool:
    search = entry.get("search") if isinstance(entry, dict) else None
    return not isinstance(search, dict) or search.get("mode", "match") == "match"


def of_entry(entry: Mapping[str, Any], at: str) -> Iterator[Word]:
    """What an entry says of its resource: that it is to be deleted, or was not found."""
    kind = _kind(entry.get("resource"))
    request, response = entry.get("request"), entry.get("response")
    if isinstance(request, dict) and str(request.get("method", "")).strip().upper() in _REFUSED:
        yield Word("withdrawn", f"{at}/request/method", _of_person(kind))
    if isinstance(response, dict) and str(response.get("status", "2"))[:1] not in {"1", "2"}:
        yield Word("withdrawn", f"{at}/response/status", _of_person(kind))


def of_resource(resource: Mapping[str, Any], at: str, today: date) -> Iterator[Word]:
    """What a resource says against itself."""
    kind = _kind(resource)
    yield from _modifiers(resource, at)
    if resource.get("doNotPerform") not in (None, False):
        yield Word("modifier", f"{at}/doNotPerform", Doing.STOPS)
    yield from _statuses(resource, kind, at)
    if kind == "Patient":
        yield from _person(resource, at, today)


def _modifiers(value: Any, at: str) -> Iterator[Word]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _modifiers(item, f"{at}/{index}")
    elif isinstance(value, dict):
        for name, member in value.items():
            if name in {"modifierExtension", "implicitRules"} and member:
                yield Word("modifier", f"{at}/{name}", Doing.STOPS)
            elif isinstance(member, list | dict):
                yield from _modifiers(member, f"{at}/{name}")


def _statuses(resource: Mapping[str, Any], kind: str, at: str) -> Iterator[Word]:
    status = resource.get("status")
    standing = _STANDING.get(kind)
    if status in _FALSE or (standing is not None and status is not None and status not in standing):
        yield Word("withdrawn", f"{at}/status", _of_person(kind))
    verified = _codes(resource.get("verificationStatus"))
    if kind == "Condition" and resource.get("verificationStatus") and verified != {"confirmed"}:
        # Refuted, entered in error, or not yet known: the canonical record could only say it as if it were so.
        yield Word("withdrawn", f"{at}/verificationStatus", Doing.LEAVES)


def _person(person: Mapping[str, Any], at: str, today: date) -> Iterator[Word]:
    if person.get("active") is False:
        yield Word("not-current", f"{at}/active", Doing.STOPS)
    for index, link in enumerate(_listed(person.get("link"))):
        if not isinstance(link, dict) or link.get("type") != "seealso":
            yield Word("identity-doubted", f"{at}/link/{index}", Doing.STOPS)
    names = [name for name in _listed(person.get("name")) if isinstance(name, dict)]
    if names and not any(name.get("family") or name.get("given") for name in names):
        yield Word("field-missing", f"{at}/name", Doing.STOPS)


def in_use(value: Any, today: date) -> bool:
    """Whether an identifier, a name, an address or a number is of today: its use and its period say no else."""
    if not isinstance(value, dict):
        return True
    period = value.get("period")
    end = period.get("end") if isinstance(period, dict) else None
    return value.get("use") not in _OLD and not (isinstance(end, str) and end[:10] < today.isoformat())


def settled(resource: Mapping[str, Any]) -> dict[str, Any]:
    """A resource whose form is the canonical record's: intents and statuses that mean the same here are one."""
    kind = _kind(resource)
    made = dict(resource)
    if kind == "ServiceRequest" and made.get("intent") in _INTENTS:
        made["intent"] = "proposal"
    if kind == "Observation" and made.get("status") in _STANDING["Observation"]:
        made["status"] = "final"
    return made


def _of_person(kind: str) -> Doing:
    return Doing.STOPS if kind in {"Patient", "Consent"} else Doing.LEAVES


def _kind(resource: Any) -> str:
    return str(resource.get("resourceType", "")) if isinstance(resource, dict) else ""


def _codes(concept: Any) -> set[str]:
    codings = concept.get("coding") if isinstance(concept, dict) else None
    return {str(coding.get("code", "")) for coding in _listed(codings) if isinstance(coding, dict)}


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
