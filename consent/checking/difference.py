"""What changes when one rulebook takes the place of another, point by point of the space that they speak of. Pure.

Each point is given by the strongest of the bases that could carry it: a duty asks nothing of anybody, a right to get
waits to be asked, what goes by word waits for the person, and nothing is nothing. A change of class is told apart from
a change of conditions, and changes are grouped by the bases that they come from and go to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal

from consent.checking.space import Interval, carrying, covering, in_force, intervals, triples
from consent.rules.law import Basis, Mode, Rulebook, Triple, Word

Change = Literal["becomes-permitted", "becomes-withheld", "changes"]
Progress = Callable[[int, int], None]
_Rule = tuple[Word, Mode | None, bool, frozenset[str]]


class Strength(StrEnum):
    """By what a point is given, from the strongest to nothing."""

    DUTY = "duty"
    MAY_GIVE = "may-give"
    RIGHT = "right"
    ON_REQUEST = "on-request"
    UNLESS_REFUSED = "unless-refused"
    WORD = "word"
    EMERGENCY = "emergency"
    NOTHING = "nothing"


_ORDER: Final = {strength: place for place, strength in enumerate(Strength)}
_BY_MODE: Final = {
    Mode.DUTY: Strength.DUTY,
    Mode.MAY_GIVE: Strength.MAY_GIVE,
    Mode.RIGHT_TO_GET: Strength.RIGHT,
    Mode.ON_REQUEST: Strength.ON_REQUEST,
}
_SAID: Final = {
    Strength.DUTY: "by duty",
    Strength.MAY_GIVE: "if the holder gives it",
    Strength.RIGHT: "by right",
    Strength.ON_REQUEST: "on request",
    Strength.UNLESS_REFUSED: "unless refused",
    Strength.EMERGENCY: "in an emergency",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """A change for one provider, requester, purpose and category in one interval, for the permits that it concerns.

    `before` and `after` say by what rule it is given: class and conditions; empty if not at all. `was` and `becomes`
    are the classes, `old_bases` and `new_bases` the bases.
    """

    change: Change
    provider: str
    requester: str
    purpose: str
    category: str
    interval: Interval
    permits: tuple[str, ...]
    before: str
    after: str
    was: Strength = Strength.NOTHING
    becomes: Strength = Strength.NOTHING
    old_bases: tuple[str, ...] = ()
    new_bases: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON says it."""
        return {
            "change": self.change,
            "provider": self.provider,
            "requester": self.requester,
            "purpose": self.purpose,
            "category": self.category,
            "days": str(self.interval),
            "permits": list(self.permits),
            "before": self.before,
            "after": self.after,
            "was": self.was.value,
            "becomes": self.becomes.value,
            "old_bases": list(self.old_bases),
            "new_bases": list(self.new_bases),
        }


@dataclass(frozen=True, slots=True)
class Group:
    """Changes of one class from the same bases to the same bases: who gains or loses what, at how many points."""

    was: Strength
    becomes: Strength
    old_bases: tuple[str, ...]
    new_bases: tuple[str, ...]
    providers: tuple[str, ...]
    requesters: tuple[str, ...]
    purposes: tuple[str, ...]
    categories: tuple[str, ...]
    points: int


@dataclass(frozen=True, slots=True)
class Differences:
    """All changes, and the prohibitions that came, went or became others."""

    old: Rulebook
    new: Rulebook
    cells: int
    changes: tuple[Difference, ...]
    prohibitions: tuple[tuple[str, str], ...]

    def groups(self) -> tuple[Group, ...]:
        """The changes by class and by the bases that they concern, the biggest loss first."""
        found: dict[tuple[Strength, Strength, tuple[str, ...], tuple[str, ...]], list[Difference]] = defaultdict(list)
        for change in self.changes:
            found[change.was, change.becomes, change.old_bases, change.new_bases].append(change)
        groups = [
            Group(
                *classes,
                _each(change.provider for change in changes),
                _each(change.requester for change in changes),
                _each(change.purpose for change in changes),
                _each(change.category for change in changes),
                sum(len(change.permits) for change in changes),
            )
            for classes, changes in found.items()
        ]
        groups.sort(
            key=lambda group: (
                _ORDER[group.was] - _ORDER[group.becomes],
                -group.points,
                group.old_bases,
                group.new_bases,
            )
        )
        return tuple(groups)


def steps(old: Rulebook, new: Rulebook) -> int:
    """How much `differences` has to look at, at most; about 15 000 000 for the reference, in some seconds."""
    roles = {*old.roles, *new.roles}
    triples_ = len(roles) ** 2 * len({*old.purposes, *new.purposes})
    asked = len({*old.categories, *new.categories}) * len({*old.permits, *new.permits})
    bases = (*old.bases, *new.bases)
    paths = sum(len(basis.providers) * len(basis.requesters) * len(basis.purposes) for basis in bases)
    return len(intervals(old, new)) * (triples_ + asked * paths)


def differences(old: Rulebook, new: Rulebook, progress: Progress = lambda _done, _total: None) -> Differences:
    """Compare two rulebooks over the whole space of both."""
    spans = intervals(old, new)
    categories = tuple(dict.fromkeys((*old.categories, *new.categories)))
    permits = tuple(dict.fromkeys((*old.permits, *new.permits)))
    every = list(triples(old, new))
    cells = 0
    found: dict[tuple[Triple, str, Interval, _Given, _Given], list[str]] = defaultdict(list)
    for done, triple in enumerate(every):
        for interval in spans:
            before, after = in_force(old, triple, interval), in_force(new, triple, interval)
            cells += len(categories) * len(permits)
            if not before and not after:
                continue
            for category in categories:
                earlier, later = covering(old, before, category), covering(new, after, category)
                if not earlier and not later:
                    continue
                for permit in permits:
                    was = _given(old, earlier, category, permit, interval)
                    becomes = _given(new, later, category, permit, interval)
                    if was.rules != becomes.rules:
                        found[triple, category, interval, was, becomes].append(permit)
        if done % 16 == 0:
            progress(done, len(every))
    progress(len(every), len(every))
    changes = [
        _difference(triple, category, interval, tuple(concerned), (was, becomes))
        for (triple, category, interval, was, becomes), concerned in found.items()
    ]
    changes.sort(key=lambda one: (one.provider, one.requester, one.purpose, one.category, one.interval, one.before))
    return Differences(old, new, cells, tuple(changes), tuple(_prohibitions(old, new)))


@dataclass(frozen=True, slots=True)
class _Given:
    """By what rules a point is given, and by which bases."""

    rules: frozenset[_Rule]
    bases: tuple[str, ...]


_NOT_GIVEN: Final = _Given(frozenset(), ())


def _given(rulebook: Rulebook, bases: tuple[Basis, ...], category: str, permit: str, interval: Interval) -> _Given:
    known = rulebook.permits.get(permit)
    if not bases or category not in rulebook.categories or known is None or not known.in_force(interval.first):
        return _NOT_GIVEN
    found = carrying(bases, permit)
    if not found:
        return _NOT_GIVEN
    return _Given(
        frozenset((basis.word, basis.mode, basis.emergency, frozenset(basis.conditions)) for basis in found),
        tuple(basis.id for basis in found),
    )


def _difference(
    triple: Triple, category: str, interval: Interval, permits: tuple[str, ...], sides: tuple[_Given, _Given]
) -> Difference:
    was, becomes = sides
    before, after = _said(was.rules), _said(becomes.rules)
    change: Change = "changes"
    if not before:
        change = "becomes-permitted"
    elif not after:
        change = "becomes-withheld"
    return Difference(
        change,
        *triple,
        category,
        interval,
        permits,
        before,
        after,
        _strongest(was.rules),
        _strongest(becomes.rules),
        was.bases,
        becomes.bases,
    )


def _strength(rule: _Rule) -> Strength:
    word, mode, emergency, _ = rule
    if emergency:
        return Strength.EMERGENCY
    if word is Word.REFUSABLE:
        return Strength.UNLESS_REFUSED
    if word in (Word.PERMISSION, Word.CONSENT):
        return Strength.WORD
    # Rulebooks of the first form do not tell a right from a duty: what needed no consent moved by itself.
    return Strength.DUTY if mode is None else _BY_MODE[mode]


def _strongest(rules: Iterable[_Rule]) -> Strength:
    return min(map(_strength, rules), key=_ORDER.__getitem__, default=Strength.NOTHING)


def _said(rules: frozenset[_Rule]) -> str:
    texts = []
    for rule in rules:
        word, _, _, conditions = rule
        said = _SAID.get(_strength(rule)) or f"by {word.value}"
        if conditions:
            said += f" if {', '.join(sorted(conditions))}"
        texts.append(said)
    return "; or ".join(sorted(texts))


def _each(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


def _prohibitions(old: Rulebook, new: Rulebook) -> list[tuple[str, str]]:
    before = {prohibition.id: prohibition for prohibition in old.prohibitions}
    after = {prohibition.id: prohibition for prohibition in new.prohibitions}
    said = []
    for name in sorted({*before, *after}):
        if name not in after:
            said.append((name, "no longer stands"))
        elif name not in before:
            said.append((name, "is new"))
        elif before[name] != after[name]:
            said.append((name, "says something else"))
    return said
