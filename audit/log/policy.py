"""How the log works: the sizes of its batches and queue, and what stops it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

MAX_BATCH: Final = 1_024
MAX_WAITING: Final = 10_000
KEEP_EVERY: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class LogPolicy:
    """How many units are written at once, how many may wait, and how often a checkpoint is kept for later.

    `fault` says what would keep anybody from finding what is committed; None if nothing would. `told` hears why the log
    can be written no more, once, and None when it can again.
    """

    max_batch: int = MAX_BATCH
    max_waiting: int = MAX_WAITING
    keep_every: timedelta = KEEP_EVERY
    fault: Callable[[], str | None] = lambda: None
    told: Callable[[str | None], None] = lambda _failure: None
