"""The closed vocabulary of conditions: named, pure questions about a request, answered yes, no or not known.

A rulebook may only use the conditions below. A new one is a function here with one line that says what it asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from consent.request import Request

#: Yes, no, or None where the facts do not tell.
Answer = bool | None

ADULT = 18


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition: its name in rulebooks, what it asks, and the fact that it needs."""

    name: str
    asks: str
    needs: str
    holds: Callable[[Request], Answer]


def _municipality_of_residence(request: Request) -> Answer:
    residence = request.stated.municipality
    return None if residence is None else residence in request.requester.municipalities


def _county_of_residence(request: Request) -> Answer:
    facts = request.stated
    if facts.county is not None:
        return facts.county in request.requester.counties
    if facts.municipality is None:
        return None
    # A municipality that belongs to no county arranges social and health services itself.
    return facts.municipality in request.requester.municipalities


def _named_recipient(request: Request) -> Answer:
    facts = request.stated
    if facts.named_recipient is None:
        return None if facts.safety_prohibition is None else False
    return facts.named_recipient in request.requester.municipalities


def _minor(request: Request) -> Answer:
    return None if request.stated.age is None else request.stated.age < ADULT


def _adult(request: Request) -> Answer:
    return None if request.stated.age is None else request.stated.age >= ADULT


def _not_granted(request: Request) -> Answer:
    return None if request.stated.permit_granted is None else not request.stated.permit_granted


def _family(request: Request) -> Answer:
    return None if request.stated.family_size is None else request.stated.family_size > 1


_ALL = (
    Condition(
        "requester-is-municipality-of-residence",
        "Does the requester act for the municipality where the person lives or moves to?",
        "municipality",
        _municipality_of_residence,
    ),
    Condition(
        "requester-is-county-of-residence",
        "Does the requester arrange social and health services where the person lives or moves to?",
        "municipality",
        _county_of_residence,
    ),
    Condition(
        "requester-is-named-recipient",
        "Is the requester the one municipality that a person under a safety prohibition has named?",
        "named_recipient",
        _named_recipient,
    ),
    Condition(
        "permit-granted",
        "Has the residence permit or protection been granted?",
        "permit_granted",
        lambda request: request.stated.permit_granted,
    ),
    Condition("permit-not-granted", "Is a final permit missing?", "permit_granted", _not_granted),
    Condition("subject-is-minor", "Is the person under 18?", "age", _minor),
    Condition("subject-is-adult", "Is the person 18 or over?", "age", _adult),
    Condition(
        "unaccompanied",
        "Did the person come as a minor without a guardian?",
        "unaccompanied",
        lambda request: request.stated.unaccompanied,
    ),
    Condition(
        "guardian-known",
        "Does the person have a guardian?",
        "has_guardian",
        lambda request: request.stated.has_guardian,
    ),
    Condition(
        "representative-appointed",
        "Does the person have a representative?",
        "has_representative",
        lambda request: request.stated.has_representative,
    ),
    Condition(
        "vulnerable",
        "Has the person been found to be in a vulnerable position?",
        "vulnerable",
        lambda request: request.stated.vulnerable,
    ),
    Condition(
        "safety-prohibition",
        "Is there a safety prohibition on the person's address?",
        "safety_prohibition",
        lambda request: request.stated.safety_prohibition,
    ),
    Condition(
        "moves-independently",
        "Does the person move without being directed to a municipal place?",
        "moves_independently",
        lambda request: request.stated.moves_independently,
    ),
    Condition("has-family", "Does the person move with a family?", "family_size", _family),
    Condition(
        "plan-in-force",
        "Is an integration plan of the person in force?",
        "plan_in_force",
        lambda request: request.stated.plan_in_force,
    ),
)

CONDITIONS: Mapping[str, Condition] = MappingProxyType({condition.name: condition for condition in _ALL})
