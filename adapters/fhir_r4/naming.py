"""By which names and numbers a patient of another system is known."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from adapters.fhir_r4.taking import MOVED, Taking
from schemas.identifiers import LOCAL, SYSTEMS

#: Names that somebody is called by and that are not theirs.
_CALLED = frozenset({"nickname", "anonymous"})


def legal_kept(person: dict[str, Any], taking: Taking, at: str) -> None:
    """Leave out what somebody is called beside their name: a receiver would take it for another name of theirs."""
    names = person.get("name")
    if not isinstance(names, list):
        return
    for index, name in enumerate(names):
        if isinstance(name, dict) and name.get("use") in _CALLED:
            taking.leave(f"{at}/name/{index}", name)
            names = [MOVED if known is name else known for known in names]
    person["name"] = names


#: What a number of another system may hold to become one of ours.
_NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}\Z")


def own_numbers(person: dict[str, Any]) -> None:
    """Where no system gives the person a number that is known here, their own keeps them apart: a temporary code, a
    customer number of theirs. Which system it is of stays in it, for the same number of another is another person's.
    """
    given = [number for number in person.get("identifier") or () if isinstance(number, dict)]
    if any(number.get("system") in SYSTEMS for number in given):
        return
    for number in given:
        system, value = number.get("system"), number.get("value")
        if isinstance(system, str) and isinstance(value, str) and _NUMBER.match(value):
            mark = hashlib.sha256(system.encode()).hexdigest()[:12]
            person["identifier"] = [{"system": LOCAL, "value": f"{mark}.{value}"}]
            return
