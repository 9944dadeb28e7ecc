"""What a run of survival found, as a line of the report that `scripts/survive` prints and keeps.

Short forms run with all tests, long ones with SURVIVE=long. Either may write its line: into the folder that
SURVIVE_REPORT names.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

IS_LONG = os.environ.get("SURVIVE") == "long"


def form(short: int, long: int) -> int:
    """A number of the form that runs."""
    return long if IS_LONG else short


@dataclass(frozen=True)
class Figures:
    """What was acknowledged, and how much of it was lost or doubled. Seconds of recoveries are told, never judged."""

    acknowledged: int
    lost: int
    doubled: int
    recoveries: tuple[float, ...] = ()
    slope: float | None = None  # MiB of memory for each thousand exchanges
    more: dict[str, Any] = field(default_factory=dict)


class Recoveries:
    """How long each took, by the wall clock: for the report alone."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    @contextmanager
    def timed(self) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.seconds.append(round(time.monotonic() - begun, 1))


def report(name: str, figures: Figures, recoveries: Recoveries | None = None) -> Figures:
    """Keep the line of this run where the report gathers them; nothing acknowledged may be lost or doubled."""
    if recoveries is not None:
        figures = replace(figures, recoveries=tuple(recoveries.seconds))
    folder = os.environ.get("SURVIVE_REPORT")
    if folder:
        line = {"name": name, "form": "long" if IS_LONG else "short", **asdict(figures)}
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.json").write_text(json.dumps(line, indent=1) + "\n", "utf-8")
    print(f"{name}: {figures}")
    assert (figures.lost, figures.doubled) == (0, 0), figures
    assert figures.acknowledged > 0
    return figures
