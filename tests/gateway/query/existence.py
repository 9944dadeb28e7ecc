"""By hand: does the time of an answer that says nothing tell whether the person is known here?

    python -m tests.gateway.query.existence [QUESTIONS]

Asks so many questions of each kind, interleaved, about somebody unknown, somebody who forbids it, and somebody about
whom there is no right; once as a node answers, by the clock on the wall, and once without the wait for the next step,
by processor time, which is what the wait hides. For each pair of kinds it holds the times against each other by the
two-sample Kolmogorov-Smirnov test. Exit code 0 if at 0.1 per cent it tells no pair apart as a node answers, and tells
the unknown apart by processor time: a test that could tell nothing is none.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from itertools import combinations
from math import sqrt
from pathlib import Path
from typing import Any

from gateway.handover.receive import Reception
from gateway.query.answer import Provider
from tests.gateway.exchange.inprocess import InProcess, Place, hidden_reason, node
from tests.gateway.query.test_telling import HEALTH, elsewhere, forbidden

#: Of the two-sample test at 0.1 per cent, for samples that are not small.
CRITICAL = 1.949
KINDS = ("UNKNOWN", "FORBIDDEN", "SILENT")  # and the people's customer numbers, as they are written

Pause = Callable[[float], Coroutine[Any, Any, None]]


def distance(first: Sequence[float], second: Sequence[float]) -> float:
    """How far the shares of times up to any moment lie apart at most, in units of what chance allows."""
    one, other = sorted(first), sorted(second)
    apart = max(abs(bisect_right(one, at) / len(one) - bisect_right(other, at) / len(other)) for at in (*one, *other))
    return apart / (CRITICAL * sqrt((len(one) + len(other)) / (len(one) * len(other))))


async def no_pause(_seconds: float) -> None:
    """Answer at once."""


async def times(here: InProcess, count: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """How long the answers took by this clock, in seconds, by kind."""
    taken: dict[str, list[float]] = {kind: [] for kind in KINDS}

    async def ask(kind: str) -> None:
        began = clock()
        answer = await here.ask(kind, categories=HEALTH)
        taken[kind].append(clock() - began)
        assert hidden_reason(here, answer) == ("subject-not-found" if kind == "UNKNOWN" else "not-permitted")

    drawn = random.Random(1)
    for _ in range(count):
        # One at a time, since those that are asked together wait for each other; and none always after another.
        for kind in drawn.sample(KINDS, len(KINDS)):
            await ask(kind)
    return taken


async def measured(folder: Path, count: int) -> bool:
    """Print what the test says; whether it is what it should be."""
    holds = True
    place = Place.build(folder)
    async with node(place, f"sqlite:///{folder / 'node.db'}") as found:
        found.register.changed["UNKNOWN"] = elsewhere
        await forbidden(found, "FORBIDDEN")
        ways: tuple[tuple[str, Pause, Callable[[], float], bool], ...] = (
            ("as a node answers", asyncio.sleep, time.monotonic, False),
            ("without the wait, by processor time", no_pause, time.process_time, True),
        )
        for way, pause, clock, is_told in ways:
            here = replace(found, provider=Provider(found.exchange, Reception(found.exchange), pause))
            taken = await times(here, count, clock)
            for first, second in combinations(KINDS, 2):
                found_apart = distance(taken[first], taken[second])
                print(f"{way}: {first} and {second}: {found_apart:.2f} of what chance allows")
                if not is_told:
                    holds &= found_apart < 1
                elif "UNKNOWN" in (first, second):
                    holds &= found_apart >= 1
    return holds


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        sys.exit(0 if asyncio.run(measured(Path(name), int(sys.argv[1]) if len(sys.argv) > 1 else 200)) else 1)
