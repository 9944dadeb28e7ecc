"""What a new rulebook would change: the recorded decisions of a period, decided by it and by the one that stands.

For the officer, before a rulebook is published. Nothing is kept, neither the proposal nor what came out. The work is
bounded: a text of at most LONGEST bytes, of the period's decisions the newest MOST and no longer than SECONDS, and one
comparison at a time. What changes for cases that nobody has asked about yet is told too, unless the two rulebooks are
so large that it would take more than STEPS. All functions block; call them from a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from threading import Lock
from time import monotonic
from typing import Final

from sqlalchemy import Engine

from audit.questions.subjects import Subjects
from consent.checking.difference import Differences, differences, steps
from consent.rulebook import load
from consent.rules.document import Fault, RulebookError
from consent.rules.law import Rulebook
from gateway.exchange.keeping import Kept, Period, kept_decisions
from gateway.exchange.rejudging import Swing, swing
from gateway.registry.read.standing import Standing

LONGEST: Final = 384 * 1024
MOST: Final = 10_000
SECONDS: Final = 30.0
STEPS: Final = 30_000_000  # the reference against another of its size: 16 million, 4 CPU seconds
SOURCE: Final = "the proposed rulebook"


class NothingStandsError(Exception):
    """The node has no rulebook with which another could be compared."""


class ComparingError(Exception):
    """Another comparison is being made; ask again in a moment."""


@dataclass(frozen=True, slots=True)
class Foresight:
    """What would have gone otherwise. `cut`: the period has more decisions, older than those that were looked at.

    `differences` is what becomes permitted or withheld, asked for or not; None where that is too much to work out here.
    """

    old: Rulebook
    new: Rulebook
    swing: Swing
    cut: bool
    differences: Differences | None


class Proposals:
    """Compares proposed rulebooks with the one that stands at this node."""

    def __init__(self, engine: Engine, subjects: Subjects, standing: Callable[[], Standing | None]) -> None:
        self._engine = engine
        self._subjects = subjects
        self._standing = standing
        self._one_at_a_time = Lock()

    def compare(
        self,
        text: str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        member: str | None = None,
        most: int = MOST,
    ) -> Foresight:
        """Decide what was decided from `start` on and before `end` by both rulebooks, newest first.

        With `member` only exchanges of that organisation count. Raises RulebookError if the text is no rulebook,
        NothingStandsError, ComparingError.
        """
        standing = self._standing()
        if standing is None:
            raise NothingStandsError
        data = text.encode()
        if len(data) > LONGEST:
            raise RulebookError(SOURCE, [Fault(1, "", f"it is over {LONGEST // 1024} kB", "compare it by command")])
        if not self._one_at_a_time.acquire(blocking=False):
            raise ComparingError
        try:
            old, new = standing.rulebook, load(data, source=SOURCE)
            found = kept_decisions(self._engine, self._subjects, within=Period(start, end), newest=most + 1)
            with closing(found):
                told = swing(_of(member, _for(SECONDS, islice(found, most))), old, new)
                cut = next(found, None) is not None
            apart = differences(old, new) if steps(old, new) <= STEPS else None
        finally:
            self._one_at_a_time.release()
        return Foresight(old, new, told, cut, apart)


def _for(seconds: float, kept: Iterable[Kept]) -> Iterator[Kept]:
    """What comes within a time."""
    end = monotonic() + seconds
    for item in kept:
        yield item
        if monotonic() > end:
            return


def _of(member: str | None, kept: Iterable[Kept]) -> Iterator[Kept]:
    """What concerns a member; whose a forgotten decision was is not to be told any more."""
    for item in kept:
        if member is None:
            yield item
        elif item.recorded is not None:
            request = item.recorded.request
            if member in (request.provider.member, request.requester.member):
                yield item
