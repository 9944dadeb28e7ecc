"""How tests wait: for as long as what they wait for can still come.

No wait here ends because the machine is busy. It ends when what it waits for is there, when a process that should bring
it about has died, or when what is looked at has stood still for ten minutes; pytest ends each test after fifteen, with
the stacks of all threads.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import time
from collections.abc import Callable
from typing import Any

from gateway.demo.patience import Patience

#: Where a guard was taken out, what a test waits for never comes: whoever takes it out says how long to wait for that.
STALLED_SECONDS = float(os.environ.get("TESTS_STALLED_SECONDS", "600"))
#: For what wants a limit of its own, such as a browser: more than the waits here, less than a test has.
LIMIT_SECONDS = 840.0
BETWEEN_LOOKS_SECONDS = 0.05


def nothing() -> None:
    """Nothing that could die is waited for."""


def living(*processes: subprocess.Popen[Any]) -> Callable[[], object]:
    """Fails as soon as one of the processes has ended."""

    def check() -> None:
        for process in processes:
            assert process.poll() is None, f"{process.args} ended with {process.returncode}"

    return check


async def until(
    look: Callable[[], Any], enough: Callable[[Any], Any] = bool, *, alive: Callable[[], object] = nothing
) -> Any:
    """What `look` (which may be async) sees, as soon as it is `enough`. `alive` raises when it can come no more."""
    patience = Patience(STALLED_SECONDS)
    while True:
        seen = look()
        if inspect.isawaitable(seen):
            seen = await seen
        if enough(seen):
            return seen
        alive()
        assert not patience.is_over(seen), f"it does not come; seen last: {seen!r}"
        await asyncio.sleep(BETWEEN_LOOKS_SECONDS)


def wait(look: Callable[[], Any], enough: Callable[[Any], Any] = bool, *, alive: Callable[[], object] = nothing) -> Any:
    """`until` for tests without an event loop."""
    patience = Patience(STALLED_SECONDS)
    while not enough(seen := look()):
        alive()
        assert not patience.is_over(seen), f"it does not come; seen last: {seen!r}"
        time.sleep(BETWEEN_LOOKS_SECONDS)
    return seen
