"""Statements that must hold of a whole rulebook, proved over its space or answered by a case that breaks them.

A lawyer writes them in a file of their own: what must `never` move, or must `always` move, for whom, to whom and under
which conditions. Each is looked at for every provider, requester, way, purpose, category and period in which the law
stands still, over exactly those answers of conditions that some basis or prohibition there reads. What breaks one is a
case: a person, two parties, a day, which `rulebook explain` takes. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from functools import cache, cached_property
from typing import Final

from consent.checking.space import Interval, intervals
from consent.checking.stating import Invariant
from consent.checking.worlds import World, placed, sited, worlds
from consent.deciding.supposed import Supposed
from consent.rules.conditions import Answer
from consent.rules.law import Basis, Mode, Prohibition, Rulebook, Triple, Word
from consent.rules.request import Emergency, Party, Request, Way
from consent.rules.standing import StandingRequest
from consent.words.consents import ConsentRecord

_TRUE: Final = frozenset({True})
_NOT_TRUE: Final[frozenset[Answer]] = frozenset({False, None})
#: Permit grounds under which no permit has been granted.
_WITHOUT_PERMIT: Final = frozenset({"pending", "refused"})


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A case that breaks an invariant: the category, and the basis by which it moves, if it is that it moves."""

    supposed: Supposed
    category: str
    basis: str | None


@dataclass(frozen=True, slots=True)
class Proof:
    """What became of an invariant: the number of points that it speaks of, and what breaks it, if something does."""

    invariant: Invariant
    points: int
    counterexample: Counterexample | None = None

    @property
    def holds(self) -> bool:
        """Whether it was proved."""
        return self.counterexample is None


def prove(rulebook: Rulebook, invariants: Iterable[Invariant]) -> tuple[Proof, ...]:
    """Prove each invariant over the space of the rulebook, or find a case that breaks it."""
    spans = intervals(rulebook)
    return tuple(_prove(rulebook, invariant, spans) for invariant in invariants)


def _prove(rulebook: Rulebook, invariant: Invariant, spans: Iterable[Interval]) -> Proof:
    categories = [code for code in rulebook.categories if _speaks_of(rulebook, invariant, code)]
    days = [_Day(rulebook, invariant, span.first) for span in spans if _within(invariant, span)]
    points = 0
    known: _Known = {}
    for triple in _triples(rulebook, invariant):
        for day in days:
            for category in categories:
                if not invariant.always and not rulebook.carriers(triple, category, day.first):
                    points += len(invariant.ways)  # no basis speaks of it, so that it moves by no way
                    continue
                point = _Point(rulebook, invariant, _Spot(triple, category, day), known)
                for way in invariant.ways:
                    points += 1
                    broken = point.not_moving(way) if invariant.always else point.moving(way)
                    if broken is not None:
                        return Proof(invariant, points, broken)
    return Proof(invariant, points)


def _speaks_of(rulebook: Rulebook, invariant: Invariant, category: str) -> bool:
    if not invariant.categories or category in invariant.categories:
        return True
    return not invariant.is_whole and rulebook.touches(invariant.categories, category)


def _triples(rulebook: Rulebook, invariant: Invariant) -> Iterator[Triple]:
    """The sides and purposes that it speaks of. Where no basis stands nothing moves: only `always` looks there."""
    if not invariant.always:
        for triple in rulebook._index:
            if _speaks(invariant, triple):
                yield triple
        return
    for provider in sorted(invariant.providers or rulebook.roles):
        for requester in sorted(invariant.requesters or rulebook.roles):
            for purpose in sorted(invariant.purposes or rulebook.purposes):
                yield provider, requester, purpose


def _speaks(invariant: Invariant, triple: Triple) -> bool:
    provider, requester, purpose = triple
    return (
        (not invariant.providers or provider in invariant.providers)
        and (not invariant.requesters or requester in invariant.requesters)
        and (not invariant.purposes or purpose in invariant.purposes)
    )


def _within(invariant: Invariant, span: Interval) -> bool:
    """Whether it speaks of a period. One that begins within a period speaks of it from its first day on."""
    if invariant.ends is not None and span.first > invariant.ends:
        return False
    return invariant.starts is None or span.last >= invariant.starts


#: Whether a basis can carry somebody past certain prohibitions, on days on which the law knows certain permits.
_Known = dict[tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]], tuple[World, str] | None]


class _Day:
    """The first day of a period of which an invariant speaks, and the permits that the law knows then."""

    def __init__(self, rulebook: Rulebook, invariant: Invariant, first: date) -> None:
        self.first = max(first, invariant.starts or first)
        self.grounds = tuple(
            ground
            for ground, permit in rulebook.permits.items()
            if permit.in_force(self.first) and (not invariant.permits or ground in invariant.permits)
        )


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where is looked: who and for what, which category, from which day on."""

    triple: Triple
    category: str
    day: _Day


class _Point:
    """One provider, requester, purpose, category and period, by each way."""

    def __init__(self, rulebook: Rulebook, invariant: Invariant, spot: _Spot, known: _Known) -> None:
        self._rulebook = rulebook
        self._invariant = invariant
        self._triple, self._category = spot.triple, spot.category
        self._known = known
        self._day, self._grounds = spot.day.first, spot.day.grounds
        bases = rulebook.carriers(spot.triple, spot.category, self._day)
        self._bases = [basis for basis in bases if not basis.emergency or invariant.emergency]
        self._prohibitions = [
            prohibition
            for prohibition in rulebook.prohibitions
            if prohibition.in_force(self._day)
            and (not prohibition.purposes or spot.triple[2] in prohibition.purposes)
            and rulebook.touches(prohibition.categories, spot.category)
        ]

    def moving(self, way: Way) -> Counterexample | None:
        """A case in which it moves."""
        for basis, said, somebody in self._somebodies:
            if self._by_way(basis, way):
                return self._case(*somebody, said, way, basis)
        return None

    @cached_property
    def _somebodies(self) -> list[tuple[Basis, str, tuple[World, str]]]:
        """Each basis that carries, whatever the way, by which word of the person, with somebody whom it carries."""
        found = []
        for basis in self._bases:
            if self._is_excepted(basis):
                continue
            stopping = tuple(prohibition.id for prohibition in self._prohibitions if prohibition.stops(basis))
            grounds = tuple(ground for ground in self._grounds if not basis.permits or ground in basis.permits)
            for said in self._invariant.said:
                if self._by_word(basis, said):
                    somebody = self._carried(basis, stopping, grounds, _needed(basis, said))
                    if somebody is not None:
                        found.append((basis, said, somebody))
        return found

    def _carried(
        self, basis: Basis, stopping: tuple[str, ...], grounds: tuple[str, ...], needed: tuple[str, ...]
    ) -> tuple[World, str] | None:
        """Somebody whom a basis carries, and on which ground: the same for every way, purpose and period alike."""
        key = (basis.id, stopping, grounds, needed)
        if key not in self._known:
            self._known[key] = next(
                (
                    (world, ground)
                    for ground in grounds
                    for world in self._worlds_of(basis, needed, ground)
                    if not self._is_stopped(basis, world)
                ),
                None,
            )
        return self._known[key]

    def not_moving(self, way: Way) -> Counterexample | None:
        """A case in which it does not move."""
        if any(self._by_way(basis, way) and self._carries_everybody(basis) for basis in self._bases):
            return None
        names = {*self._invariant.when, *self._invariant.unless}
        for basis in self._bases:
            names.update(*(_needed(basis, said) for said in self._invariant.said))
        for prohibition in self._prohibitions:
            names.update(prohibition.when, prohibition.unless)
        bases = [basis for basis in self._bases if self._by_way(basis, way)]
        for ground in self._grounds:
            for world in worlds(names, self._wanted(ground)):
                for said in self._invariant.said:
                    if not any(self._carries(basis, world, ground, said) for basis in bases):
                        return self._case(world, ground, said, way, None)
        return None

    def _carries_everybody(self, basis: Basis) -> bool:
        """Whether nothing about the person can keep a basis from carrying."""
        return (
            not basis.permits
            and not basis.conditions
            and basis.word is Word.SHOWN
            and not any(prohibition.stops(basis) for prohibition in self._prohibitions)
        )

    def _carries(self, basis: Basis, world: World, ground: str, said: str) -> bool:
        return (
            (not basis.permits or ground in basis.permits)
            and all(world.holds(name) for name in _needed(basis, said))
            and self._by_word(basis, said)
            and not self._is_stopped(basis, world)
        )

    def _wanted(self, ground: str) -> dict[str, frozenset[Answer]]:
        wanted = dict.fromkeys(self._invariant.unless, _NOT_TRUE) | dict.fromkeys(self._invariant.when, _TRUE)
        if ground in _WITHOUT_PERMIT:
            for name, answer in (("permit-granted", True), ("permit-not-granted", False)):
                wanted[name] = wanted.get(name, _TRUE | _NOT_TRUE) - {answer}
        return wanted

    def _worlds_of(self, basis: Basis, needed: tuple[str, ...], ground: str) -> Iterator[World]:
        wanted = self._wanted(ground)
        for name in needed:
            wanted[name] = wanted.get(name, _TRUE) & _TRUE
        names = {*needed, *self._invariant.when, *self._invariant.unless}
        for prohibition in self._prohibitions:
            if prohibition.stops(basis):
                names.update(prohibition.when, prohibition.unless)
        yield from worlds(names, wanted)

    def _by_word(self, basis: Basis, said: str) -> bool:
        return not basis.needs_word or basis.word.value == said

    def _by_way(self, basis: Basis, way: Way) -> bool:
        if way is Way.QUERY:
            return True
        if basis.mode is Mode.RIGHT_TO_GET:
            return self._invariant.asked
        return basis.mode is not Mode.ON_REQUEST

    def _is_excepted(self, basis: Basis) -> bool:
        provision = basis.source.provision if basis.source is not None else None
        return provision is not None and any(named.covers(provision) for named in self._invariant.but_by)

    def _is_stopped(self, basis: Basis, world: World) -> bool:
        return any(prohibition.stops(basis) and _applies(prohibition, world) for prohibition in self._prohibitions)

    def _case(self, world: World, ground: str, said: str, way: Way, basis: Basis | None) -> Counterexample:
        provider, requester, purpose = self._triple
        giving = sited(Party(provider, "giver"), world.place, is_requester=False)
        getting = sited(Party(requester, "getter"), world.place, is_requester=True)
        facts = replace(placed(world.facts, world.place), permit_ground=ground)
        at = datetime.combine(self._day, time(12), UTC)
        request = Request(
            giving,
            getting,
            purpose,
            frozenset({self._category}),
            facts,
            emergency=Emergency("supposed") if self._invariant.emergency else None,
            way=way,
            standing=tuple(self._standing()) if self._invariant.asked and way is Way.HANDOVER else (),
        )
        words = tuple(_word(said, self._category, purpose, requester, at))
        return Counterexample(Supposed(request, words, at), self._category, basis.id if basis is not None else None)

    def _standing(self) -> Iterator[StandingRequest]:
        provider, requester, purpose = self._triple
        for basis in self._bases:
            if basis.mode is Mode.RIGHT_TO_GET and basis.source is not None:
                yield StandingRequest(
                    id=f"supposed-{basis.id}",
                    member="getter",
                    role=requester,
                    providers=frozenset({provider}),
                    provision=basis.source.provision,
                    purpose=purpose,
                    categories=basis.categories,
                    first=self._day,
                )


def _needed(basis: Basis, said: str) -> tuple[str, ...]:
    """What must hold of a person for a basis to carry, as far as it does not lie in the word that it asks for."""
    if basis.word is Word.FORBIDDEN and said != "prohibition":
        return (*basis.conditions, "cannot-give-permission")
    return basis.conditions


def _applies(prohibition: Prohibition, world: World) -> bool:
    return all(world.protects(name) for name in prohibition.when) and not any(
        world.holds(name) for name in prohibition.unless
    )


@cache
def _kind(said: str) -> tuple[str, str]:
    return ("refused", "prohibition") if said == "prohibition" else ("active", said)


def _word(said: str, category: str, purpose: str, requester: str, at: datetime) -> Iterator[ConsentRecord]:
    if said == "nothing":
        return
    status, kind = _kind(said)
    yield ConsentRecord.from_dict(
        {
            "id": "supposed",
            "version": 1,
            "subject": "supposed",
            "recorded_by": "supposed",
            "recorded_at": at.isoformat(),
            "given_by": {"kind": "self"},
            "status": status,
            "kind": kind,
            "purposes": [purpose],
            "recipients": [requester],
            "categories": [category],
        }
    )
