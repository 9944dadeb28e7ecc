"""HL7 v2's own words of doubt: what a message says of itself, of a person, and of each result.

* MSH-11 other than P: for training or debugging, never taken.
* OBX-11 W (another person's), D (deleted), X (cannot be had), N (not asked): taken back; an unknown status too.
* PID-29, PID-30: the person has died: a fact where the mapping takes it, or else the message stops. PID-31: nobody
  knows who it is. PID-32 AL, UD, UA, US: an alias, or an invented birth date, address or number.
* PID-7.2 Y or L: of the day of birth only the year, or the year and month, is known.
* PID-5 of type L (legal) comes before all others; a name of another type alone is no name. PID-11: not a bad address,
  nor one of birth or of a former time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from adapters.sdk import UNREADABLE, Finding, Position, Withdrawn
from adapters.texts import finding

#: The finding of a death: no longer a doubt of what a mapping takes, for then the rulebook decides by it.
DEATH: Final = "deceased"
_PRODUCTION: Final = frozenset({"", "P"})
#: Statuses of a result that stand: final, corrected, unchanged, preliminary, in progress, partial, or none at all.
_STANDING: Final = frozenset({"F", "C", "U", "P", "I", "R", "S", "A", "O", "V", "B", ""})
_DOUBTED: Final = frozenset({"AL", "UD", "UA", "US"})
#: Types of values that have no components.
_WHOLE: Final = frozenset({"ST", "TX", "FT", "NM", "DT", "TM", "DTM", "TS", "ID", "IS", "SI"})
#: By degree of precision, how many digits of a time are known.
_PRECISE: Final[Mapping[Any, int]] = {"Y": 4, "L": 6, "D": 8}
#: By field: the components that say when it ceased to be so.
_ENDS: Final[Mapping[str, tuple[str, ...]]] = {
    "PID-3": ("8",),
    "PID-5": ("10.2", "13"),
    "PID-11": ("12.2", "14"),
}
#: By field: the component of the type, and the types that are in use, the best first.
_TYPES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "PID-5": ("7", ("L", "", "D", "C")),
    "PID-11": ("7", ("H", "", "P", "L", "C", "M", "O")),
}


def judged(segment: str, parts: dict[str, Any]) -> dict[str, Any]:
    """The parts of a segment, as ones that are taken back where its status says so. A value of a type that has no parts
    and comes in parts, `E^K`, is unreadable: which of them was meant nobody knows.
    """
    if segment != "OBX":
        return parts
    if "5.1.2" in parts or ("5.2" in parts and parts.get("2.1", "") in _WHOLE):
        parts["5.1"] = UNREADABLE
    return Withdrawn(parts) if parts.get("11.1", "") not in _STANDING else parts


def of_today(field: str, repetition: dict[str, Any], today: str) -> dict[str, Any]:
    """A repetition, as one that is taken back where its time is over; `today` is written 20260131."""
    ends = (repetition.get(component, "") for component in _ENDS.get(field, ()))
    return Withdrawn(repetition) if any(isinstance(end, str) and "" < end[:8] < today for end in ends) else repetition


def _as_known(parts: dict[str, Any]) -> dict[str, Any]:
    """A time, cut to what its degree of precision says is known of it."""
    length = _PRECISE.get(parts.get("2", ""))
    if length is None or not isinstance(parts.get("1"), str):
        return parts
    return {name: text[:length] if name == "1" else text for name, text in parts.items() if name != "2"}


def in_use(field: str, repetitions: Sequence[dict[str, Any]], today: str) -> list[dict[str, Any]]:
    """The repetitions of a field with the one in use first; an empty one leads where none is."""
    if field == "PID-7":
        repetitions = [_as_known(parts) for parts in repetitions]
    kept = [of_today(field, parts, today) for parts in repetitions if parts]
    if field not in _TYPES or not kept:
        return kept
    component, order = _TYPES[field]
    kept.sort(key=lambda parts: isinstance(parts, Withdrawn))
    if isinstance(kept[0], Withdrawn):
        return [{}, *kept]
    current = [parts for parts in kept if not isinstance(parts, Withdrawn)]
    current.sort(key=lambda parts: order.index(kind) if (kind := parts.get(component, "")) in order else len(order))
    kept = [*current, *kept[len(current) :]]
    return kept if kept[0].get(component, "") in order else [{}, *kept]


def doubts_of(fields: Mapping[str, Any], position: Position) -> Iterator[Finding]:
    """What a message says against itself."""

    def told(code: str, column: str) -> Finding:
        return finding("error", code, Position(row=position.row, column=column))

    if any(name.startswith("PID[2]-") for name in fields):
        yield told("one-person", "PID[2]")  # what follows the second is not of the first
    if str(fields.get("MSH-11.1", "")).strip().upper() not in _PRODUCTION:
        yield told("not-production", "MSH-11")
    for place, is_said in (("PID-29.1", bool(fields.get("PID-29.1"))), ("PID-30.1", fields.get("PID-30.1", "") == "Y")):
        if is_said:
            yield told(DEATH, place)
    if fields.get("PID-31.1", "") == "Y":
        yield told("identity-doubted", "PID-31")
    if any(name.startswith("PID-32") and value in _DOUBTED for name, value in fields.items()):
        yield told("identity-doubted", "PID-32")
    if "PID-5[2].1" in fields and not any(name.startswith("PID-5.") for name in fields):
        yield told("not-current", "PID-5")
