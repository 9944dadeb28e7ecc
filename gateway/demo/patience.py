"""Wait for something by whether it moves, and not by how long it takes: on a busy machine all is slow.

`Patience` is shown what is waited for again and again: how many deliveries have arrived, which faces answer. It is over
only when that has stood still for long; whoever waits gives up then, or at once when a process that should bring it
about has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable

STALLED_SECONDS = 300.0
# Between two looks no more than this counts: time in which the waiting process itself did not run proves nothing.
_LOOK_SECONDS = 1.0


class Patience:
    """How long something has stood still, in seconds of `clock`."""

    def __init__(self, stalled_seconds: float = STALLED_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self.stalled_seconds = stalled_seconds
        self._clock = clock
        self._seen: object = None
        self._looked = clock()
        self._still_seconds = 0.0

    def is_over(self, seen: object) -> bool:
        """Whether what is seen now has been the same for so long that it will hardly change any more."""
        now = self._clock()
        if seen == self._seen:
            self._still_seconds += min(now - self._looked, _LOOK_SECONDS)
        else:
            self._seen, self._still_seconds = seen, 0.0
        self._looked = now
        return self._still_seconds > self.stalled_seconds
