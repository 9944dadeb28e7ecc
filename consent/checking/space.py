"""The finite space on which a rulebook speaks: who, to whom, for what, which category and permit, between which days.

Between two days on which something begins or ends the law stands still, so that a few intervals stand for all days of
the calendar. What may hold of a person is kept to a world: the set of conditions that are true in it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from consent.rules.law import Basis, Gap, Permit, Prohibition, Rulebook

#: Conditions of which exactly one holds, whoever the person is.
_OPPOSITES = (("permit-granted", "permit-not-granted"), ("subject-is-minor", "subject-is-adult"))

Triple = tuple[str, str, str]
World = frozenset[str]


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """Days between which the law stands still; both ends count. `date.min` and `date.max` mean open."""

    first: date
    last: date

    def __str__(self) -> str:
        first = "…" if self.first == date.min else self.first.isoformat()
        last = "…" if self.last == date.max else self.last.isoformat()
        return f"{first} – {last}"


def intervals(*rulebooks: Rulebook) -> tuple[Interval, ...]:
    """The intervals of one rulebook, or those of several together."""
    begins = {date.min}
    for rulebook in rulebooks:
        dates: list[Basis | Prohibition | Gap | Permit] = [*rulebook.bases, *rulebook.prohibitions, *rulebook.gaps]
        for dated in (*dates, *rulebook.permits.values()):
            if dated.starts is not None:
                begins.add(dated.starts)
            if dated.ends is not None and dated.ends < date.max:
                begins.add(dated.ends + timedelta(days=1))
    ordered = sorted(begins)
    return tuple(
        Interval(first, following - timedelta(days=1) if following is not None else date.max)
        for first, following in zip(ordered, [*ordered[1:], None], strict=True)
    )


def asked(rulebook: Rulebook) -> dict[Triple, frozenset[str]]:
    """What the flows ask for: the categories for each provider, requester and purpose."""
    found: dict[Triple, frozenset[str]] = {}
    for flow in rulebook.flows.values():
        for part in (*flow.deliveries, *flow.asked):
            for provider in part.from_roles:
                triple = (provider, part.to_role, part.purpose)
                found[triple] = found.get(triple, frozenset()) | part.categories
    return found


def triples(*rulebooks: Rulebook) -> Iterator[Triple]:
    """Every provider, requester and purpose."""
    roles = list(dict.fromkeys(role for rulebook in rulebooks for role in rulebook.roles))
    purposes = list(dict.fromkeys(purpose for rulebook in rulebooks for purpose in rulebook.purposes))
    for provider in roles:
        for requester in roles:
            for purpose in purposes:
                yield provider, requester, purpose


def permits_at(rulebook: Rulebook, interval: Interval) -> tuple[str, ...]:
    """The permit grounds that the law knows in an interval."""
    return tuple(code for code, permit in rulebook.permits.items() if permit.in_force(interval.first))


def in_force(rulebook: Rulebook, triple: Triple, interval: Interval) -> tuple[Basis, ...]:
    """The bases between two roles for a purpose that are in force in an interval, as they are asked."""
    return tuple(basis for basis in rulebook.bases_for(*triple) if basis.in_force(interval.first))


def covering(rulebook: Rulebook, bases: Iterable[Basis], category: str) -> tuple[Basis, ...]:
    """Those of the bases that speak of a category."""
    return tuple(basis for basis in bases if rulebook.covers(basis.categories, category))


def carrying(bases: Iterable[Basis], permit: str) -> tuple[Basis, ...]:
    """Those of the bases that could carry something for a person with this permit."""
    return tuple(basis for basis in bases if not basis.permits or permit in basis.permits)


def worlds(basis: Basis) -> Iterator[World]:
    """The smallest worlds in which all conditions of a basis hold; none if they contradict each other."""
    stated = frozenset(basis.conditions)
    if any(one in stated and other in stated for one, other in _OPPOSITES):
        return
    found: list[World] = [stated]
    for one, other in _OPPOSITES:
        if one not in stated and other not in stated:
            found = [world | {either} for world in found for either in (one, other)]
    yield from found


def prohibiting(
    rulebook: Rulebook, basis: Basis, given: tuple[str, str], interval: Interval, world: World
) -> Prohibition | None:
    """The prohibition that stops what a basis would give in a world; `given` are the purpose and the category of it."""
    purpose, category = given
    for prohibition in rulebook.prohibitions:
        if (
            prohibition.in_force(interval.first)
            and (prohibition.stops_emergencies or not basis.emergency)
            and (not prohibition.purposes or purpose in prohibition.purposes)
            and rulebook.touches(prohibition.categories, category)
            and world.issuperset(prohibition.when)
            and world.isdisjoint(prohibition.unless)
        ):
            return prohibition
    return None
