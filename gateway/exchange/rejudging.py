"""Decide again what was decided: by the rulebook of that time, to prove it, or by others, to see what would change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from consent import replaying
from consent.rulebook import Rulebook, RulebookError, load
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
    for one in kept:
        done += 1
        progress(done)
        if one.recorded is None or one.consents is None:
            forgotten.append(one.entry)
            continue
        rulebook = rulebooks.by(one.rulebook)
        if rulebook is None:
            missing.append(one.entry)
            continue
        decision = replaying.again(one.recorded, rulebook, one.consents)
        if decision.canonical() == one.recorded.canonical and decision.id == one.decision:
            same += 1
        else:
            different.append(one.entry)
    return Replay(done, same, tuple(different), tuple(missing), tuple(forgotten))


@dataclass(frozen=True, slots=True)
class Swing:
    """How many recorded exchanges two rulebooks decide differently, by purpose and by category."""

    decisions: int
    otherwise: int
    by_purpose: Mapping[str, int]
    gained: Mapping[str, int]
    lost: Mapping[str, int]
    entries: tuple[str, ...] = field(repr=False)


def swing(kept: Iterable[Kept], old: Rulebook, new: Rulebook, progress: Progress = lambda _done: None) -> Swing:
    """Decide what was recorded by both rulebooks, each at the moment of the exchange."""
    done = 0
    purposes: Counter[str] = Counter()
    gained: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    entries = []
    for one in kept:
        if one.recorded is None or one.consents is None:
            continue
        done += 1
        progress(done)
        before = replaying.again(one.recorded, old, one.consents).permitted_categories
        after = replaying.again(one.recorded, new, one.consents).permitted_categories
        if before != after:
            entries.append(one.entry)
            purposes[one.recorded.request.purpose] += 1
            gained.update(after - before)
            lost.update(before - after)
    return Swing(done, len(entries), purposes, gained, lost, tuple(entries))


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
