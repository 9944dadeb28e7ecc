"""What a measurement gives: a figure of ours, the baseline beside it, the goal, and whether it was reached.

Machines differ and are noisy, so what counts is the ratio of two medians from interleaved rounds of one run. Absolute
numbers are printed beside it and prove nothing elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the report. `value` and `baseline` are medians in `unit`; without a baseline the value is compared.

    `goal` is what the compared number should be at least or at most; None where it is only reported.
    """

    part: str
    what: str
    unit: str
    value: float
    against: str | None = None
    baseline: float | None = None
    goal: float | None = None
    sense: Literal["at least", "at most"] = "at least"
    rounds: int = 1
    samples: tuple[float, ...] = ()
    baseline_samples: tuple[float, ...] = ()

    @property
    def compared(self) -> float:
        """The ratio to the baseline, or the value itself where there is none."""
        return self.value / self.baseline if self.baseline else self.value

    @property
    def reached(self) -> bool | None:
        """Whether the goal was reached; None if there is none."""
        if self.goal is None:
            return None
        return self.compared >= self.goal if self.sense == "at least" else self.compared <= self.goal


def ratio(
    part: str,
    what: str,
    unit: str,
    ours: Sequence[float],
    against: str,
    theirs: Sequence[float],
    *,
    goal: float | None = None,
    sense: Literal["at least", "at most"] = "at least",
) -> Figure:
    """The medians of rounds that were run in turn, one against the other."""
    return Figure(
        part, what, unit, median(ours), against, median(theirs), goal, sense, len(ours), tuple(ours), tuple(theirs)
    )
