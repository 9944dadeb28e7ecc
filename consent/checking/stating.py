"""Read the statements that a lawyer writes of a whole rulebook: what must `never` move, or must `always` move.

Each is checked by its names: a role, purpose, category or condition that the rulebook does not know is told with its
place in the file. That the statements hold is for `consent.checking.invariants`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from typing import Any, Final

from consent.rules.conditions import CONDITIONS
from consent.rules.document import Fault, RulebookError, read
from consent.rules.law import Rulebook, Words
from consent.rules.naming import day
from consent.rules.provisions import Provision
from consent.rules.request import Way

#: What a person may have said. `nothing` is to have said nothing, `prohibition` to have forbidden everything.
SAID: Final = ("nothing", "prohibition", "permission", "consent")


@dataclass(frozen=True, slots=True)
class Invariant:
    """One statement. Empty sets mean all; `but_by` are provisions by which it may move all the same.

    With `is_whole` it speaks of the categories that it names and not of their parts.
    """

    id: str
    says: Words
    always: bool
    providers: frozenset[str]
    requesters: frozenset[str]
    purposes: frozenset[str]
    categories: frozenset[str]
    permits: frozenset[str]
    ways: tuple[Way, ...]
    said: tuple[str, ...]
    when: tuple[str, ...]
    unless: tuple[str, ...]
    but_by: tuple[Provision, ...]
    starts: date | None
    ends: date | None
    emergency: bool
    asked: bool
    is_whole: bool = False


def reference_invariants() -> bytes:
    """The invariants of the reference rulebook."""
    return (files("consent") / "reference" / "fi-kotoutuminen.invariants.yaml").read_bytes()


def load_invariants(data: bytes, rulebook: Rulebook, *, source: str = "invariants") -> tuple[Invariant, ...]:
    """Read invariants, and check that every name in them is one of the rulebook's. Raises RulebookError."""
    document = read(data, source, "list of invariants")
    faults = [Fault(document.line(pointer), pointer, message) for pointer, message in _wrong(document.values, rulebook)]
    if faults:
        raise RulebookError(source, faults)
    return tuple(_invariant(entry) for entry in document.values["invariants"])


_SETS: Final = {
    "from": "roles",
    "to": "roles",
    "purposes": "purposes",
    "categories": "categories",
    "persons": "permits",
}
_KEYS: Final = frozenset(
    (*_SETS, "ways", "said", "when", "unless", "but_by", "since", "until", "emergency", "asked", "whole")
)


def _wrong(document: Mapping[str, Any], rulebook: Rulebook) -> Iterator[tuple[str, str]]:
    entries = document.get("invariants")
    if not isinstance(entries, list) or set(document) != {"invariants"}:
        yield "", "write a list under `invariants`"
        return
    for index, entry in enumerate(entries):
        at = f"/invariants/{index}"
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
            yield at, "each invariant has an id"
            continue
        kinds = [kind for kind in ("never", "always") if isinstance(entry.get(kind), dict)]
        if len(kinds) != 1 or set(entry) != {"id", "says", kinds[0]}:
            yield at, "an invariant has an id, says what it means, and says `never` or `always`"
            continue
        if not isinstance(entry["says"], dict) or set(entry["says"]) != {"fi", "sv", "en"}:
            yield f"{at}/says", "say it in fi, sv and en"
        yield from _wrong_names(f"{at}/{kinds[0]}", entry[kinds[0]], rulebook)


def _wrong_names(at: str, stated: Mapping[str, Any], rulebook: Rulebook) -> Iterator[tuple[str, str]]:
    known: dict[str, Iterable[str]] = {
        "roles": rulebook.roles,
        "purposes": rulebook.purposes,
        "categories": rulebook.categories,
        "permits": rulebook.permits,
        "ways": [way.value for way in Way],
        "said": SAID,
        "when": CONDITIONS,
        "unless": CONDITIONS,
    }
    for name in sorted(set(stated) - _KEYS):
        yield f"{at}/{name}", f"there is no {name!r} in an invariant"
    for name in ("emergency", "asked", "whole"):
        if not isinstance(stated.get(name, False), bool):
            yield f"{at}/{name}", "true or false is needed"
    for name in (*_SETS, "ways", "said", "when", "unless"):
        names = stated.get(name, [])
        kind = _SETS.get(name, name)
        if not isinstance(names, list):
            yield f"{at}/{name}", "a list is needed"
            continue
        for place, value in enumerate(names):
            if value not in known[kind]:
                yield f"{at}/{name}/{place}", f"there is no {value!r} among the {kind}"
    for name in ("since", "until"):
        try:
            day(stated.get(name))
        except ValueError:
            yield f"{at}/{name}", "write YYYY-MM-DD"
    for place, text in enumerate(stated.get("but_by", [])):
        try:
            Provision.parse(text)
        except (ValueError, TypeError):
            yield f"{at}/but_by/{place}", "write a provision, such as 681/2023 86:1"


def _invariant(entry: Mapping[str, Any]) -> Invariant:
    always = "always" in entry
    stated = entry["always" if always else "never"]
    return Invariant(
        id=entry["id"],
        says=entry["says"],
        always=always,
        providers=frozenset(stated.get("from", ())),
        requesters=frozenset(stated.get("to", ())),
        purposes=frozenset(stated.get("purposes", ())),
        categories=frozenset(stated.get("categories", ())),
        permits=frozenset(stated.get("persons", ())),
        ways=tuple(Way(way) for way in stated.get("ways", [way.value for way in Way])),
        said=tuple(stated.get("said", ("nothing", "prohibition"))),
        when=tuple(stated.get("when", ())),
        unless=tuple(stated.get("unless", ())),
        but_by=tuple(Provision.parse(text) for text in stated.get("but_by", ())),
        starts=day(stated.get("since")),
        ends=day(stated.get("until")),
        emergency=stated.get("emergency", False),
        asked=stated.get("asked", True),
        is_whole=stated.get("whole", False),
    )
