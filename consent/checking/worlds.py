"""Which answers conditions can have together: every combination that some person and some two parties can bring about.

Conditions that read the same facts hang together (nobody is both under 18 and an adult), others do not. The facts that
some conditions read are run through values that stand for all others; what the conditions then answer is asked of
themselves. So the answers are exactly those that a decision can meet. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any, Final

from consent.rules.conditions import CONDITIONS, Answer
from consent.rules.request import Party, Request, SubjectFacts

_PLACE: Final = "place"
_TRI: Final = (True, False, None)
#: Where the person lives, whom the requester serves and whom the provider does: municipality and county of each. The
#: person lives with the requester, the provider, neither or both; in Åland; nowhere known; in the city of no county.
_KOTKA, _TAMPERE, _OULU = ("285", "kymenlaakso"), ("837", "pirkanmaa"), ("564", "pohjois-pohjanmaa")
_MARIEHAMN, _OTHER_ALAND, _HELSINKI, _UNKNOWN = ("478", None), ("035", None), ("091", None), (None, None)
_Home = tuple[str | None, str | None]
PLACES: Final[Mapping[str | None, tuple[_Home, _Home, _Home]]] = {
    "requester": (_KOTKA, _KOTKA, _TAMPERE),
    "provider": (_TAMPERE, _KOTKA, _TAMPERE),
    "neither": (_OULU, _KOTKA, _TAMPERE),
    "aland-served": (_MARIEHAMN, _MARIEHAMN, _TAMPERE),
    "aland": (_OTHER_ALAND, _KOTKA, _TAMPERE),
    None: (_UNKNOWN, _KOTKA, _TAMPERE),
    "city": (_HELSINKI, _HELSINKI, _TAMPERE),
    "both": (_KOTKA, _KOTKA, _KOTKA),
    "from-aland": (_KOTKA, _KOTKA, _MARIEHAMN),
    "neither-from-aland": (_OULU, _KOTKA, _MARIEHAMN),
    "aland-of-the-provider": (_MARIEHAMN, _KOTKA, _MARIEHAMN),
    "aland-both": (_MARIEHAMN, _MARIEHAMN, _MARIEHAMN),
    "aland-served-from-aland": (_MARIEHAMN, _MARIEHAMN, _OTHER_ALAND),
    "aland-from-aland": (_OTHER_ALAND, _KOTKA, _MARIEHAMN),
    "unknown-from-aland": (_UNKNOWN, _KOTKA, _MARIEHAMN),
    "city-from-aland": (_HELSINKI, _HELSINKI, _MARIEHAMN),
    "city-both": (_HELSINKI, _HELSINKI, _HELSINKI),
}
#: Values that stand for all others, where a fact is not a plain yes or no.
_VALUES: Final[Mapping[str, tuple[Any, ...]]] = {
    "age": (17, 20, 22, 24, 40, None),
    "may_be_a_year_older": (None, True),
    "family_size": (1, 3, None),
    "named_recipient": ("285", "837", None),
    _PLACE: tuple(PLACES),
}
#: The facts that a condition reads, where it is not only the one that it needs.
_READS: Final[Mapping[str, tuple[str, ...]]] = {
    "requester-is-municipality-of-residence": (_PLACE,),
    "requester-is-county-of-residence": (_PLACE,),
    "residence-outside-aland": (_PLACE,),
    "residence-in-aland": (_PLACE,),
    "provider-is-of-residence": (_PLACE,),
    "provider-in-aland": (_PLACE,),
    **dict.fromkeys(
        ("subject-is-minor", "subject-is-adult", "under-21", "under-23", "under-25"), ("age", "may_be_a_year_older")
    ),
    "assessment-stated": ("assessment_due", "trafficking_victim"),
    "requester-is-named-recipient": ("named_recipient", "safety_prohibition", _PLACE),
    "directed-to-municipality": ("directed", "moves_independently"),
    "assessment-to-be-made": ("assessment_due", "trafficking_victim", "within_three_years"),
}


@dataclass(frozen=True, slots=True)
class World:
    """One combination of answers, with facts and a place that bring it about."""

    answers: Mapping[str, Answer]
    facts: SubjectFacts
    place: str | None = "requester"

    def holds(self, name: str) -> bool:
        """Whether a condition holds where it permits: what is not known does not."""
        return self.answers.get(name) is True

    def protects(self, name: str) -> bool:
        """Whether a condition holds where it protects: what is not known does."""
        return self.answers.get(name) is not False


def reads(name: str) -> tuple[str, ...]:
    """The facts that a condition reads."""
    return _READS.get(name, (CONDITIONS[name].needs,))


def sited(party: Party, place: str | None, *, is_requester: bool) -> Party:
    """A party with the territory that it has in a world."""
    municipality, county = PLACES[place][1 if is_requester else 2]
    counties = frozenset() if county is None else frozenset({county})
    return replace(party, municipalities=frozenset({municipality or ""}), counties=counties)


def placed(facts: SubjectFacts, place: str | None) -> SubjectFacts:
    """The facts of a person who lives there."""
    municipality, county = PLACES[place][0]
    return replace(facts, municipality=municipality, county=county)


@cache
def _components(names: frozenset[str]) -> tuple[frozenset[str], ...]:
    """The conditions that hang together, because they read a fact in common."""
    groups: list[tuple[set[str], set[str]]] = []
    for name in sorted(names):
        facts = set(reads(name))
        joined = [group for group in groups if group[1] & facts]
        groups = [group for group in groups if not group[1] & facts]
        groups.append(({name}.union(*(group[0] for group in joined)), facts.union(*(group[1] for group in joined))))
    return tuple(frozenset(group[0]) for group in groups)


@cache
def _worlds(names: frozenset[str]) -> tuple[World, ...]:
    """The different combinations of answers of conditions that hang together."""
    facts = sorted({fact for name in names for fact in reads(name)})
    found: dict[tuple[Answer, ...], World] = {}
    ordered = sorted(names)
    for values in product(*(_VALUES.get(fact, _TRI) for fact in facts)):
        stated = dict(zip(facts, values, strict=True))
        place = stated.pop(_PLACE, "requester")
        person = placed(SubjectFacts(**stated), place)
        request = Request(
            sited(Party("provider"), place, is_requester=False),
            sited(Party("requester"), place, is_requester=True),
            "",
            frozenset(),
            person,
        )
        answers = tuple(CONDITIONS[name].holds(request) for name in ordered)
        if answers not in found:
            found[answers] = World(dict(zip(ordered, answers, strict=True)), SubjectFacts(**stated), place)
    return tuple(found.values())


def worlds(names: Iterable[str], wanted: Mapping[str, frozenset[Answer]]) -> Iterator[World]:
    """Every combination of answers of some conditions in which those of `wanted` have one of the answers wanted."""
    components = _components(frozenset(names))
    choices = [
        [
            world
            for world in _worlds(component)
            if all(world.answers[name] in wanted[name] for name in component if name in wanted)
        ]
        for component in components
    ]
    for chosen in product(*choices):
        yield _together(chosen)


def _together(chosen: tuple[World, ...]) -> World:
    answers: dict[str, Answer] = {}
    stated: dict[str, Any] = {}
    place: str | None = "requester"
    for world in chosen:
        answers |= world.answers
        stated |= {
            name: value
            for name in SubjectFacts.__dataclass_fields__
            if (value := getattr(world.facts, name)) is not None
        }
        if any(_PLACE in reads(name) for name in world.answers):
            place = world.place
    return World(answers, SubjectFacts(**stated), place)
