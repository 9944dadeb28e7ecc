"""Decide again what was decided: by the rulebook of that time, to prove it, or by others, to see what would change."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from consent.deciding import replaying
from consent.rulebook import load
from consent.rules.document import RulebookError
from consent.rules.law import Rulebook
from gateway.exchange.keeping import Kept

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Replay:
    """How recorded decisions came out when they were made again. The three tuples name log entries."""

    decisions: int
    same: int
    different: tuple[str, ...]
    without_rulebook: tuple[str, ...]
    forgotten: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether everything that can still be made again came out byte for byte the same."""
        return not self.different and not self.without_rulebook


def replay(
    kept: Iterable[Kept], text_of: Callable[[str], bytes | None], progress: Progress = lambda _done: None
) -> Replay:
    """Make each decision again by the rulebook of its time, which `text_of` finds by digest, and compare the texts."""
    rulebooks = _Rulebooks(text_of)
    done = same = 0
    different, missing, forgotten = [], [], []
    for item in kept:
        done += 1
        progress(done)
        if item.recorded is None or item.consents is None:
            forgotten.append(item.entry)
            continue
        rulebook = rulebooks.by(item.rulebook)
        if rulebook is None:
            missing.append(item.entry)
            continue
        decision = replaying.again(item.recorded, rulebook, item.consents)
        if decision.canonical() == item.recorded.canonical and decision.id == item.decision:
            same += 1
        else:
            different.append(item.entry)
    return Replay(done, same, tuple(different), tuple(missing), tuple(forgotten))


@dataclass(frozen=True, slots=True)
class Turn:
    """What two rulebooks decide differently for one purpose: in how many exchanges, and how often which category."""

    exchanges: int
    gained: Mapping[str, int]
    lost: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Swing:
    """How many recorded exchanges two rulebooks decide differently, by purpose and by category.

    `decisions` leaves out those that nobody can make again, because the person's key was destroyed: `forgotten`.
    `entries` names the log entries of those that differ, in the order in which they were given.
    """

    decisions: int
    forgotten: int
    turns: Mapping[str, Turn]
    entries: tuple[str, ...] = field(repr=False)

    @property
    def otherwise(self) -> int:
        """How many would have gone otherwise."""
        return len(self.entries)

    @property
    def by_purpose(self) -> dict[str, int]:
        """How many would have gone otherwise, by purpose."""
        return {purpose: turn.exchanges for purpose, turn in self.turns.items()}

    @property
    def gained(self) -> Counter[str]:
        """How often each category would have moved that did not."""
        return sum((Counter(turn.gained) for turn in self.turns.values()), Counter())

    @property
    def lost(self) -> Counter[str]:
        """How often each category would not have moved that did."""
        return sum((Counter(turn.lost) for turn in self.turns.values()), Counter())


def swing(kept: Iterable[Kept], old: Rulebook, new: Rulebook, progress: Progress = lambda _done: None) -> Swing:
    """Decide what was recorded by both rulebooks, each at the moment of the exchange."""
    done = forgotten = 0
    purposes: Counter[str] = Counter()
    gained: dict[str, Counter[str]] = defaultdict(Counter)
    lost: dict[str, Counter[str]] = defaultdict(Counter)
    entries = []
    for item in kept:
        if item.recorded is None or item.consents is None:
            forgotten += 1
            continue
        done += 1
        progress(done)
        before = replaying.again(item.recorded, old, item.consents).permitted_categories
        after = replaying.again(item.recorded, new, item.consents).permitted_categories
        if before != after:
            purpose = item.recorded.request.purpose
            entries.append(item.entry)
            purposes[purpose] += 1
            gained[purpose].update(after - before)
            lost[purpose].update(before - after)
    turns = {purpose: Turn(count, gained[purpose], lost[purpose]) for purpose, count in purposes.most_common()}
    return Swing(done, forgotten, turns, tuple(entries))


class _Rulebooks:
    """Rulebooks by digest, each loaded once. One that was altered does not have the digest, and is as good as none."""

    def __init__(self, text_of: Callable[[str], bytes | None]) -> None:
        self._text_of = text_of
        self._loaded: dict[str, Rulebook | None] = {}

    def by(self, digest: str) -> Rulebook | None:
        if digest not in self._loaded:
            text = self._text_of(digest)
            self._loaded[digest] = _loaded(text, digest) if text is not None else None
        return self._loaded[digest]


def _loaded(text: bytes, digest: str) -> Rulebook | None:
    try:
        rulebook = load(text, source=digest)
    except RulebookError:
        return None
    return rulebook if rulebook.digest == digest else None
