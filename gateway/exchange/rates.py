"""How much one asker may ask: per user and purpose, per caller, and most about persons of whom nothing was given.

Whoever asks in vain about one person after another tries out who is known where, and that is itself a disclosure; so
persons are counted, each once, and not attempts. An emergency is counted and never refused. Counts live in this
process: each replica has its own, and a restart forgets them.
Source: 906/2019 section 23 (unusual use is to be noticed).
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from gateway.wire.problems import ProblemError

Count = TypeVar("Count")
Key = tuple[str, ...]
MINUTE, HOUR = 60.0, 3600.0
#: Askers of whom a count is kept; of more, those are forgotten that have not asked for longest.
_MOST_ASKERS: Final = 20_000
#: Answers that tell only that nothing is given about a person.
IN_VAIN: Final = frozenset({"not-available", "not-permitted", "subject-not-found", "subject-ambiguous"})


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Questions in a minute, and persons asked about in vain in an hour; 0 for as many as one likes."""

    user_per_minute: int = 0
    caller_per_minute: int = 0
    user_in_vain_per_hour: int = 0
    caller_in_vain_per_hour: int = 0


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks for what: a client or another member, the pseudonym of the person behind it, and the purpose."""

    caller: str
    user: str | None
    purpose: str


@dataclass(slots=True)
class _Bucket:
    """What is left of a minute's questions; it fills up evenly."""

    left: float
    at: float


@dataclass(slots=True)
class _Persons:
    """Persons asked about in vain, with the moment of the last time, the oldest first."""

    seen: OrderedDict[str, float] = field(default_factory=OrderedDict)


class Rates:
    """The counts of one node. Belongs to its event loop. Seconds are those of a clock that nobody sets."""

    def __init__(self, limits: RateLimits | None = None, seconds: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits or RateLimits()
        self._seconds = seconds
        self._buckets: OrderedDict[Key, _Bucket] = OrderedDict()
        self._persons: OrderedDict[Key, _Persons] = OrderedDict()

    def spend(self, asker: Asker, *, is_emergency: bool = False) -> None:
        """Count a question. Raises ProblemError `rate-limited`, with the seconds after which it may be asked again."""
        waits = [self._wait_for_vain(key, most) for key, most in self._vain_keys(asker) if most] + [
            self._wait_for_minute(key, most) for key, most in self._minute_keys(asker) if most
        ]
        wait = max(waits, default=0.0)
        if wait > 0 and not is_emergency:
            raise ProblemError(
                "rate-limited",
                detail="so much was asked, or about so many persons in vain, that this question is not taken now",
                remedy="ask again after Retry-After; `rates` in the settings of the node that refuses holds the limits",
                retry_after=math.ceil(wait),
            )
        for key, most in self._minute_keys(asker):
            if most:
                self._buckets[key].left -= 1

    def in_vain(self, asker: Asker, person: str) -> None:
        """Count that nothing was given about a person, who is named by a keyed hash."""
        now = self._seconds()
        for key, most in self._vain_keys(asker):
            if most:
                seen = _kept(self._persons, key, _Persons).seen
                seen[person] = now
                seen.move_to_end(person)
                while len(seen) > most:
                    seen.popitem(last=False)

    def _minute_keys(self, asker: Asker) -> list[tuple[Key, int]]:
        keys: list[tuple[Key, int]] = [((asker.caller,), self._limits.caller_per_minute)]
        if asker.user is not None:
            keys.append(((asker.caller, asker.user, asker.purpose), self._limits.user_per_minute))
        return keys

    def _vain_keys(self, asker: Asker) -> list[tuple[Key, int]]:
        # Not by purpose: who tries out persons would only change it. A caller may name ever new users, so it has a
        # count of its own.
        keys: list[tuple[Key, int]] = [((asker.caller,), self._limits.caller_in_vain_per_hour)]
        if asker.user is not None:
            keys.append(((asker.caller, asker.user), self._limits.user_in_vain_per_hour))
        return keys

    def _wait_for_minute(self, key: Key, most: int) -> float:
        now = self._seconds()
        bucket = _kept(self._buckets, key, lambda: _Bucket(float(most), now))
        bucket.left = min(float(most), bucket.left + (now - bucket.at) * most / MINUTE)
        bucket.at = now
        return 0.0 if bucket.left >= 1 else (1 - bucket.left) * MINUTE / most

    def _wait_for_vain(self, key: Key, most: int) -> float:
        persons = self._persons.get(key)
        if persons is None:
            return 0.0
        now = self._seconds()
        while persons.seen and next(iter(persons.seen.values())) <= now - HOUR:
            persons.seen.popitem(last=False)
        if len(persons.seen) < most:
            return 0.0
        return next(iter(persons.seen.values())) + HOUR - now


def _kept(counts: OrderedDict[Key, Count], key: Key, new: Callable[[], Count]) -> Count:
    """The count of a key, made if there is none; the one that was not used for longest gives way."""
    count = counts.get(key)
    if count is None:
        count = counts[key] = new()
        if len(counts) > _MOST_ASKERS:
            counts.popitem(last=False)
    counts.move_to_end(key)
    return count
