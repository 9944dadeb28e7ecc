"""What a missing, empty, unreadable or contradictory value means, for each fact that protects a person or lets data go.

Four values are never one: a column that is not there, a cell that is empty, a cell that cannot be read, and two places
that disagree. This table is the only place that says what follows from each; the documentation shows it as it stands.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache, lru_cache
from typing import Any, Final

from schemas.catalogue import catalogue
from schemas.facts import EXTENSION


class Then(Enum):
    """What follows from a value."""

    STOPS = "the record is stopped, with an error"
    HELD = "told as a warning; the node holds the record until a person has decided"
    UNKNOWN = "the record says nothing: never “no”"
    WITHHELD = "the record says nothing: never “no”; contact details and municipality are withheld"
    DECLARED = "the mapping says `cannot-say`, or `adapter test` fails; then as empty"
    LEFT_OUT = "it is left out"
    COSTS = "the value is left out, with a warning; the rest is taken"


@dataclass(frozen=True, slots=True)
class Rule:
    """What follows for one fact. `places` are the beginnings of the paths of its values, `Resource.path`."""

    fact: str
    places: tuple[str, ...]
    absent: Then
    empty: Then
    unreadable: Then
    contradictory: Then
    #: What its source takes back: nobody knows whether it holds on.
    withdrawn: Then = Then.STOPS

    @property
    def costs(self) -> bool:
        """Whether a value that cannot be taken costs itself alone."""
        return self.unreadable is Then.COSTS


def _part(name: str) -> str:
    return f"Patient.extension[url={EXTENSION}{name}]"


_SHORT: Final = 64  # characters of a text that may be a name

#: From the most particular to the rule for what no other names.
RULES: Final = (
    Rule("safety prohibition", (_part("safety-prohibition"),), Then.DECLARED, Then.WITHHELD, Then.STOPS, Then.STOPS),
    Rule(
        "birth date",
        ("Patient.birthDate",),
        Then.DECLARED,
        Then.UNKNOWN,
        Then.STOPS,
        Then.HELD,
    ),
    Rule("death", ("Patient.deceased",), Then.UNKNOWN, Then.UNKNOWN, Then.STOPS, Then.STOPS),
    Rule("identifier", ("Patient.identifier",), Then.STOPS, Then.STOPS, Then.STOPS, Then.STOPS),
    Rule("name", ("Patient.name",), Then.UNKNOWN, Then.UNKNOWN, Then.STOPS, Then.STOPS),
    Rule("residence permit", (_part("residence-permit"),), Then.UNKNOWN, Then.UNKNOWN, Then.STOPS, Then.STOPS),
    Rule("guardianship", (_part("guardianship"),), Then.UNKNOWN, Then.UNKNOWN, Then.STOPS, Then.STOPS),
    Rule("vulnerability", (_part("vulnerability"),), Then.UNKNOWN, Then.UNKNOWN, Then.STOPS, Then.STOPS),
    Rule("move and municipality", (_part("move"),), Then.UNKNOWN, Then.UNKNOWN, Then.STOPS, Then.STOPS),
    Rule(
        "need, its code and its status",
        ("ServiceRequest.code", "ServiceRequest.status", "ServiceRequest.intent"),
        Then.LEFT_OUT,
        Then.LEFT_OUT,
        Then.STOPS,
        Then.STOPS,
        Then.COSTS,
    ),
    Rule(
        "health, child protection",
        ("Observation(health)", "Observation(child-protection)", "Condition"),
        Then.LEFT_OUT,
        Then.LEFT_OUT,
        Then.STOPS,
        Then.STOPS,
        Then.COSTS,
    ),
    Rule(
        "contact, language, sex, family size, urgency, other observations",
        (
            "Patient.telecom",
            "Patient.address",
            "Patient.communication",
            "Patient.gender",
            "Patient.extension[url=http://hl7.org/fhir/StructureDefinition/patient-",
            _part("family"),
            "ServiceRequest.priority",
            "ServiceRequest.authoredOn",
            "ServiceRequest.note",
            "Observation",
            "RelatedPerson.telecom",
            "RelatedPerson.birthDate",
            "RelatedPerson.gender",
            "Practitioner.telecom",
        ),
        Then.LEFT_OUT,
        Then.LEFT_OUT,
        Then.COSTS,
        Then.STOPS,
        Then.COSTS,
    ),
    Rule("everything else", ("",), Then.LEFT_OUT, Then.LEFT_OUT, Then.STOPS, Then.STOPS, Then.COSTS),
)

#: The facts that a source which cannot know them must declare, by the names that `cannot-say` has for them.
DECLARED: Final[Mapping[str, str]] = {
    "safety-prohibition": _part("safety-prohibition") + ".extension[url=active]",
    "birth-date": "Patient.birthDate",
}


#: What a safety prohibition is called, in small letters without marks.
_NAMES: Final = ("turvakiel", "sparrmark", "safetyprohib", "nondisclosure")


@lru_cache(10_000)
def names_prohibition(text: str) -> bool:
    """Whether a name of a field, or a short text, speaks of a safety prohibition."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text).casefold() if letter.isalpha())
    return any(name in plain for name in _NAMES)


def speaks_of_prohibition(value: Any) -> bool:
    """Whether something in a value that nobody takes speaks of a safety prohibition."""
    if isinstance(value, dict):
        return any(names_prohibition(name) or speaks_of_prohibition(member) for name, member in value.items())
    if isinstance(value, list):
        return any(speaks_of_prohibition(item) for item in value)
    return isinstance(value, str) and len(value) <= _SHORT and names_prohibition(value)


def rule_of(path: str) -> Rule:
    """The rule for a value by its path: `Patient.telecom.value`."""
    return next(rule for rule in RULES if path.startswith(rule.places))


@cache
def paths() -> Mapping[int, str]:
    """The path of every value of the schemas, by the identity of its compiled shape in memory."""
    return dict(_paths())


def _paths() -> Iterator[tuple[int, str]]:
    for kind, resource in catalogue().resources.items():
        for path, shape in resource.shape.values():
            yield id(shape), f"{kind}.{path}"


def table() -> Iterator[tuple[str, ...]]:
    """The rules for the documentation: fact, absent column, empty, unreadable, contradictory, taken back."""
    for rule in RULES:
        thens = (rule.absent, rule.empty, rule.unreadable, rule.contradictory, rule.withdrawn)
        yield (rule.fact, *(then.value for then in thens))
