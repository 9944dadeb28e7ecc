"""Read a rulebook as a whole: where it says nothing, says a thing twice, contradicts itself, or speaks in vain.

Every role × role × purpose × category × permit × interval is looked at. What a flow asks for and no basis gives is a
gap; the rulebook says of each gap why it is meant, and a gap without a reason is a fault. What no flow asks for and no
basis gives is closed, as everything is that nothing opens. Pure; `Progress` is told how far it is.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

from consent.checking.space import (
    Interval,
    Triple,
    asked,
    carrying,
    covering,
    in_force,
    intervals,
    permits_at,
    prohibiting,
    triples,
    worlds,
)
from consent.deciding.examples import outcome
from consent.rules.law import Basis, Gap, Prohibition, Rulebook

Kind = Literal["gap", "contradiction", "unreachable", "no-example", "stale-gap", "duplicate", "overlap", "beyond"]
Progress = Callable[[int, int], None]

#: What a rulebook must not have. An overlap may be meant, and a basis may give more than a flow asks for.
FAULTS: frozenset[Kind] = frozenset({"gap", "contradiction", "unreachable", "no-example", "stale-gap", "duplicate"})


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a rulebook that its author should know. `cells` is how many points of the space it concerns."""

    kind: Kind
    about: str
    message: str
    where: str = ""
    cells: int = 0

    @property
    def fault(self) -> bool:
        """Whether it must be mended, and is not only worth knowing."""
        return self.kind in FAULTS


@dataclass(frozen=True, slots=True)
class Explained:
    """A gap that is meant, with the rulebook's reason and the number of points that it explains."""

    gap: Gap
    cells: int


@dataclass(frozen=True, slots=True)
class Check:
    """A rulebook, checked. The counts are points of the space: given by a basis, meant gaps, closed to all flows."""

    rulebook: Rulebook
    intervals: tuple[Interval, ...]
    cells: int
    given: int
    explained: tuple[Explained, ...]
    closed: int
    findings: tuple[Finding, ...]

    @property
    def faults(self) -> tuple[Finding, ...]:
        """What must be mended."""
        return tuple(finding for finding in self.findings if finding.fault)

    @property
    def sound(self) -> bool:
        """Whether there is nothing to mend."""
        return not self.faults


def check(rulebook: Rulebook, progress: Progress = lambda _done, _total: None) -> Check:
    """Look at the whole space of a rulebook."""
    walk = _Walk(rulebook)
    every = list(triples(rulebook))
    for done, triple in enumerate(every):
        walk.look(triple)
        if done % 16 == 0:
            progress(done, len(every))
    progress(len(every), len(every))
    findings = [
        *_duplicates(rulebook),
        *walk.gaps(),
        *walk.contradictions(),
        *walk.unreachable(),
        *_without_example(rulebook),
        *walk.stale(),
        *walk.overlaps(),
        *walk.beyond(),
    ]
    explained = tuple(Explained(gap, walk.reasons[gap.id]) for gap in rulebook.gaps if walk.reasons[gap.id])
    return Check(rulebook, walk.intervals, walk.cells, walk.given, explained, walk.closed, tuple(findings))


@dataclass
class _Walk:
    rulebook: Rulebook
    cells: int = 0
    given: int = 0
    closed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    reached: set[str] = field(default_factory=set)
    shadows: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _open: dict[tuple[str, str, str, Interval], set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    _twice: dict[tuple[str, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _against: dict[tuple[str, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _more: dict[tuple[str, str, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def __post_init__(self) -> None:
        self.intervals = intervals(self.rulebook)
        self._asked = asked(self.rulebook)
        self._categories = tuple(self.rulebook.categories)
        self._permits = {interval: permits_at(self.rulebook, interval) for interval in self.intervals}

    def look(self, triple: Triple) -> None:
        """Look at all categories, permits and intervals of a provider, a requester and a purpose."""
        wanted = self._asked.get(triple, frozenset())
        for interval in self.intervals:
            permits = self._permits[interval]
            bases = in_force(self.rulebook, triple, interval)
            self.cells += len(permits) * len(self._categories)
            if not bases and not wanted:
                self.closed += len(permits) * len(self._categories)
                continue
            for category in self._categories:
                expected = self.rulebook.covers(wanted, category)
                covered = covering(self.rulebook, bases, category)
                if not covered and not expected:
                    self.closed += len(permits)
                    continue
                for permit in permits:
                    found = carrying(covered, permit)
                    if found:
                        self.given += 1
                        self._reach(triple, interval, category, found)
                        self._compare(category, found)
                        if not expected:
                            self._more[triple][", ".join(item.id for item in found)] += 1
                    elif expected:
                        self._missing(triple, interval, category, permit)
                    else:
                        self.closed += 1

    def _missing(self, triple: Triple, interval: Interval, category: str, permit: str) -> None:
        provider, requester, purpose = triple
        for gap in self.rulebook.gaps:
            if self._explains(gap, triple, interval, category, permit):
                self.reasons[gap.id] += 1
                return
        self._open[requester, purpose, category, interval].add((provider, permit))

    def _explains(self, gap: Gap, triple: Triple, interval: Interval, category: str, permit: str) -> bool:
        provider, requester, purpose = triple
        return (
            (gap.starts is None or gap.starts <= interval.first)
            and (gap.ends is None or interval.last <= gap.ends)
            and (not gap.purposes or purpose in gap.purposes)
            and (not gap.providers or provider in gap.providers)
            and (not gap.requesters or requester in gap.requesters)
            and (not gap.permits or permit in gap.permits)
            and (not gap.categories or self.rulebook.covers(gap.categories, category))
        )

    def _reach(self, triple: Triple, interval: Interval, category: str, found: tuple[Basis, ...]) -> None:
        """Which of the bases carry this category for somebody, and which always come too late."""
        for place, basis in enumerate(found):
            if basis.id in self.reached:
                continue
            for world in worlds(basis):
                stopped = prohibiting(self.rulebook, basis, (triple[2], category), interval, world)
                first = next((item for item in found[:place] if _carries_before(item, basis, world)), None)
                if stopped is None and first is None:
                    self.reached.add(basis.id)
                    break
                self.shadows[basis.id][
                    f"the prohibition {stopped.id}" if stopped is not None else f"the basis {first.id if first else ''}"
                ] += 1

    def _compare(self, category: str, found: tuple[Basis, ...]) -> None:
        named = [item for item in found if category in item.categories and not item.emergency]
        for one, other in combinations(named, 2):
            same = frozenset(one.conditions) == frozenset(other.conditions) and one.permits == other.permits
            if same and one.word is not other.word and not (one.needs_word and other.needs_word):
                self._against[one.id, other.id][category] += 1
            else:
                self._twice[one.id, other.id][category] += 1

    def gaps(self) -> Iterator[Finding]:
        """What flows ask for, no basis gives, and the rulebook does not explain."""
        for (requester, purpose, category, interval), points in sorted(self._open.items(), key=str):
            providers, permits = sorted({one for one, _ in points}), sorted({one for _, one in points})
            yield Finding(
                "gap",
                f"{requester} / {purpose} / {category}",
                "a flow asks for it and no basis gives it: add a basis, or say under `gaps` why it is meant",
                f"{interval}; from {', '.join(providers)}; permits: {', '.join(permits)}",
                len(points),
            )

    def contradictions(self) -> Iterator[Finding]:
        """Two bases that ask different things of the same person for the same data."""
        for (one, other), categories in sorted(self._against.items()):
            rules = [basis.word.value for basis in map(self.rulebook.basis, (one, other)) if basis is not None]
            yield Finding(
                "contradiction",
                f"{one} / {other}",
                f"the same persons and data; the person's word is {rules[0]} by the one, {rules[1]} by the other",
                ", ".join(sorted(categories)),
                categories.total(),
            )

    def unreachable(self) -> Iterator[Finding]:
        """Bases that never carry anything, whoever asks and whenever."""
        for basis in self.rulebook.bases:
            if basis.id in self.reached:
                continue
            yield Finding("unreachable", basis.id, self._why_unreached(basis))

    def _why_unreached(self, basis: Basis) -> str:
        if not list(worlds(basis)):
            return "its conditions contradict each other: nobody fulfils them all"
        before = self.shadows.get(basis.id)
        if before:
            return f"{before.most_common(1)[0][0]} always comes before it"
        return "no permit that it names is known to the law on a day on which it is in force"

    def stale(self) -> Iterator[Finding]:
        """Reasons for gaps that are none."""
        for gap in self.rulebook.gaps:
            if not self.reasons[gap.id]:
                yield Finding(
                    "stale-gap", gap.id, "it explains nothing: what it speaks of is given, or nobody asks for it"
                )

    def overlaps(self) -> Iterator[Finding]:
        """Bases that give the same, so that one may be more than is needed."""
        for (one, other), categories in sorted(self._twice.items()):
            yield Finding(
                "overlap",
                f"{one} / {other}",
                "both give it; the first that holds is named",
                ", ".join(sorted(categories)),
                categories.total(),
            )

    def beyond(self) -> Iterator[Finding]:
        """What bases give although no flow asks for it."""
        for (provider, requester, purpose), bases in sorted(self._more.items()):
            yield Finding(
                "beyond",
                f"{provider} → {requester} / {purpose}",
                "no flow asks for it",
                "; ".join(sorted(bases)),
                bases.total(),
            )


def _carries_before(earlier: Basis, later: Basis, world: frozenset[str]) -> bool:
    """Whether an earlier basis carries what a later one would, in a world where the person does what the later asks."""
    if not world.issuperset(earlier.conditions) or (earlier.emergency and not later.emergency):
        return False
    # For a later basis that needs no consent, there is a person who has given none.
    return not earlier.needs_word or later.word is earlier.word


def _duplicates(rulebook: Rulebook) -> Iterator[Finding]:
    named: list[Basis | Prohibition | Gap] = [*rulebook.bases, *rulebook.prohibitions, *rulebook.gaps]
    seen = Counter(entry.id for entry in named)
    for name, times in sorted(seen.items()):
        if times > 1:
            yield Finding("duplicate", name, f"{times} bases, prohibitions or gaps have this id; give each its own")


def _without_example(rulebook: Rulebook) -> Iterator[Finding]:
    """Each basis shows itself at work: an example that it carries, and one that it does not."""
    carries: Counter[str] = Counter()
    refuses: Counter[str] = Counter()
    for example in rulebook.examples:
        decision = outcome(rulebook, example)
        carries[example.basis] += any(permitted.basis == example.basis for permitted in decision.permitted) and bool(
            example.permitted
        )
        refuses[example.basis] += bool(example.withheld)
    for basis in rulebook.bases:
        if not carries[basis.id]:
            yield Finding("no-example", basis.id, "no example of it shows that it carries something")
        if not refuses[basis.id]:
            yield Finding("no-example", basis.id, "no example of it shows something that is withheld")
