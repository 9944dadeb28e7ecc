"""What a decision is about: who asks whom, for what, about a person of whom this much is known."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from consent.rules.standing import StandingRequest

_LETTERS = frozenset({"Lu", "Ll", "Lt", "Lo"})
#: Fillers of Hangul: letters by their category, which show nothing.
_BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0")


class Way(StrEnum):
    """By which way data would go."""

    QUERY = "query"  # the recipient asks about one person
    HANDOVER = "handover"  # the holder sends on its own


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
    is in force on the day of the decision. `unaccompanied` is whether the person came as a minor without a guardian.

    `age` is in full years; `may_be_a_year_older` is whether it is the lower of the two that the record leaves open, as
    it does not tell on which day of a year or a month the person was born.

    `within_three_years` is whether at most three years have passed since the first residence permit,
    `plan_made_in_time` whether an integration plan was made within them, `directed` whether the person was directed to
    a municipal place, `cannot_permit` whether the person can neither give a permission nor has anybody who could.
    """

    permit_ground: str | None = None
    permit_granted: bool | None = None
    age: int | None = None
    may_be_a_year_older: bool | None = None
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
    within_three_years: bool | None = None
    assessment_due: bool | None = None
    county_takes_part: bool | None = None
    plan_made_in_time: bool | None = None
    plan_ended: bool | None = None
    studies_continue: bool | None = None
    directed: bool | None = None
    place_proposed: bool | None = None
    trafficking_victim: bool | None = None
    social_assistance: bool | None = None
    home_care_allowance: bool | None = None
    cannot_permit: bool | None = None
    evident_need: bool | None = None
    childs_interest: bool | None = None
    client_of_social_care: bool | None = None
    threatened: bool | None = None
    private_lodging: bool | None = None
    sent_to_training: bool | None = None
    costs_before_counties: bool | None = None
    lived_here_before: bool | None = None
    deceased: bool | None = None

    @property
    def ages(self) -> tuple[int, ...]:
        """The ages that the person may have; none where the age is not known."""
        if self.age is None:
            return ()
        return (self.age, self.age + 1) if self.may_be_a_year_older else (self.age,)


@dataclass(frozen=True, slots=True)
class Emergency:
    """Break-glass: the requester states in writing why it cannot wait."""

    justification: str


def is_justification(text: object) -> bool:
    """Whether it says anything that somebody could review: at least two letters that can be seen."""
    if not isinstance(text, str) or "\0" in text:
        return False
    return sum(unicodedata.category(sign) in _LETTERS and sign not in _BLANK_LETTERS for sign in text) >= 2


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. With `known` False, a fact that is missing may still turn out either way.

    `standing` are the standing requests of the recipient, by which a right to get carries a handover.
    `restricted` is what came to the provider under the condition that it is not disclosed onward. `by_word` is what its
    holder says to give by a word of the person.
    """

    provider: Party
    requester: Party
    purpose: str
    categories: frozenset[str]
    facts: SubjectFacts | None = None
    known: bool = True
    emergency: Emergency | None = None
    way: Way = Way.QUERY
    standing: tuple[StandingRequest, ...] = ()
    restricted: frozenset[str] = frozenset()
    by_word: frozenset[str] = frozenset()

    @property
    def stated(self) -> SubjectFacts:
        """The facts; all unknown if there are none."""
        return self.facts if self.facts is not None else _NOTHING


_NOTHING = SubjectFacts()
