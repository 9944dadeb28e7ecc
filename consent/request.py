"""What a decision is about: who asks whom, for what, about a person of whom this much is known."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Party:
    """One side of an exchange: the role in which it acts, the member, and the codes of the territory it serves."""

    role: str
    member: str = ""
    municipalities: frozenset[str] = frozenset()
    counties: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SubjectFacts:
    """What is known of the person as far as a legal basis can depend on it; None where it is not known.

    `municipality` is the three-digit code of residence or destination, `county` the code of its wellbeing services
    county (None as well for a municipality that belongs to none), `named_recipient` the municipality that alone may
    have the address of a person under a safety prohibition, `plan_in_force` whether an integration plan of the person
    is in force on the day of the decision.
    """

    permit_ground: str | None = None
    permit_granted: bool | None = None
    age: int | None = None
    municipality: str | None = None
    county: str | None = None
    unaccompanied: bool | None = None
    has_guardian: bool | None = None
    has_representative: bool | None = None
    vulnerable: bool | None = None
    safety_prohibition: bool | None = None
    named_recipient: str | None = None
    moves_independently: bool | None = None
    family_size: int | None = None
    plan_in_force: bool | None = None


@dataclass(frozen=True, slots=True)
class Emergency:
    """Break-glass: the requester states in writing why it cannot wait."""

    justification: str


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. With `known` False, a fact that is missing may still turn out either way."""

    provider: Party
    requester: Party
    purpose: str
    categories: frozenset[str]
    facts: SubjectFacts | None = None
    known: bool = True
    emergency: Emergency | None = None

    @property
    def stated(self) -> SubjectFacts:
        """The facts; all unknown if there are none."""
        return self.facts if self.facts is not None else _NOTHING


_NOTHING = SubjectFacts()
