"""What changes when one rulebook takes the place of another, point by point of the space that they speak of. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from consent.law import Basis, Rulebook, Word
from consent.space import Interval, Triple, carrying, in_force, intervals, triples

Change = Literal["becomes-permitted", "becomes-withheld", "changes"]
Progress = Callable[[int, int], None]
_Rule = tuple[Word, bool, frozenset[str]]
_SAID = {
    Word.SHOWN: "by law",
    Word.REFUSABLE: "unless refused",
    Word.PERMISSION: "by permission",
    Word.CONSENT: "by consent",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """A change for one provider, requester, purpose and category in one interval, for the permits that it concerns.

    `before` and `after` say by what rule it is given: consent and conditions; empty if not at all.
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
        }


@dataclass(frozen=True, slots=True)
class Differences:
    """All changes, and the prohibitions that came, went or became others."""

    old: Rulebook
    new: Rulebook
    cells: int
    changes: tuple[Difference, ...]
    prohibitions: tuple[tuple[str, str], ...]


def steps(old: Rulebook, new: Rulebook) -> int:
    """How much `differences` has to look at, at most; about 600 000 for the reference, in a second."""
    roles = {*old.roles, *new.roles}
    triples_ = len(roles) ** 2 * len({*old.purposes, *new.purposes})
    asked = len({*old.categories, *new.categories}) * len({*old.permits, *new.permits})
    paths = sum(len(one.providers) * len(one.requesters) * len(one.purposes) for one in (*old.bases, *new.bases))
    return len(intervals(old, new)) * (triples_ + asked * paths)


def differences(old: Rulebook, new: Rulebook, progress: Progress = lambda _done, _total: None) -> Differences:
    """Compare two rulebooks over the whole space of both."""
    spans = intervals(old, new)
    categories = tuple(dict.fromkeys((*old.categories, *new.categories)))
    permits = tuple(dict.fromkeys((*old.permits, *new.permits)))
    every = list(triples(old, new))
    cells = 0
    found: dict[tuple[Triple, str, Interval, str, str], list[str]] = defaultdict(list)
    for done, triple in enumerate(every):
        for interval in spans:
            before, after = in_force(old, triple, interval), in_force(new, triple, interval)
            cells += len(categories) * len(permits)
            if not before and not after:
                continue
            for category in categories:
                for permit in permits:
                    was = _rules(old, before, category, permit, interval)
                    becomes = _rules(new, after, category, permit, interval)
                    if was != becomes:
                        found[triple, category, interval, _said(was), _said(becomes)].append(permit)
        if done % 16 == 0:
            progress(done, len(every))
    progress(len(every), len(every))
    changes = tuple(
        Difference(_change(was, becomes), *triple, category, interval, tuple(concerned), was, becomes)
        for (triple, category, interval, was, becomes), concerned in sorted(found.items(), key=str)
    )
    return Differences(old, new, cells, changes, tuple(_prohibitions(old, new)))


def _rules(
    rulebook: Rulebook, bases: tuple[Basis, ...], category: str, permit: str, interval: Interval
) -> frozenset[_Rule]:
    known = rulebook.permits.get(permit)
    if category not in rulebook.categories or known is None or not known.in_force(interval.first):
        return frozenset()
    return frozenset(
        (one.word, one.emergency, frozenset(one.conditions)) for one in carrying(rulebook, bases, category, permit)
    )


def _said(rules: frozenset[_Rule]) -> str:
    texts = []
    for word, emergency, conditions in rules:
        said = _SAID[word]
        if emergency:
            said = "in an emergency"
        if conditions:
            said += f" if {', '.join(sorted(conditions))}"
        texts.append(said)
    return "; or ".join(sorted(texts))


def _change(was: str, becomes: str) -> Change:
    if not was:
        return "becomes-permitted"
    return "changes" if becomes else "becomes-withheld"


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
