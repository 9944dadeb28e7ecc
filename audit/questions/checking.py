"""The check that a running node makes when somebody asks: of its newest entries only, and one check at a time.

It reads at most MOST entries, which takes about a second of one processor; the whole log is checked beside the node, by
the command line. So nobody slows an exchange down by asking again and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Final

from sqlalchemy import Engine

from audit.questions.check import Report, check
from audit.questions.checks import Others
from audit.tree.checkpoint import VerifierKey

MOST: Final = 10_000


class CheckingError(RuntimeError):
    """A check is being made right now."""


def check_newest(
    engine: Engine, under_way: Lock, *, log_key: VerifierKey, witnesses: Sequence[VerifierKey], newest: int
) -> Report:
    """Check at least the `newest` entries (1 to MOST). `under_way` is held meanwhile.

    Raises CheckingError if it is held by another, ValueError for another number.
    """
    if not 1 <= newest <= MOST:
        raise ValueError(f"between 1 and {MOST} of the newest entries are checked at once")
    if not under_way.acquire(blocking=False):
        raise CheckingError("a check is being made right now")
    try:
        return check(engine, log_key=log_key, others=Others(witnesses), newest=newest)
    finally:
        under_way.release()
