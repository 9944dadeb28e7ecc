"""Refuse a message that was seen before.

A message id counts as seen for as long as its message could still be believed. The database is what decides: the id is
inserted in the same transaction that records the release, so that of two copies only one can ever be answered, after a
restart and between replicas too. The memory in front of it only makes the usual refusal cheap: it holds a minute or so
of messages and not a number of them, so that a node which runs for days needs no more than it did in its first minutes.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete

from audit.log.statements import Fixed
from gateway.storage.tables import replays
from gateway.wire.problems import ProblemError
from gateway.wire.signing import CLOCK_TOLERANCE, LIFETIME_LIMIT

# Longer than any message can be believed, so that a clock that was set back by an hour opens no door.
KEPT = timedelta(hours=2)
#: A message that was believed may say that it was issued a little later than now, and is believed a little longer than
#: it says. After that its own times refuse it, so that the memory of it would refuse nothing more.
REMEMBERED = LIFETIME_LIMIT + 2 * CLOCK_TOLERANCE
#: However much comes within that time.
MEMORY = 100_000


class Replays:
    """The message ids that have been taken. Seconds are those of a clock that nobody sets."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._recent: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """How many ids are held in memory."""
        return len(self._recent)

    def refuse_seen(self, message_id: str) -> None:
        """Refuse an id that this process has taken already. Raises ProblemError `message-replayed`."""
        now = self._seconds()
        if message_id in self._recent:
            raise _replayed()
        self._recent[message_id] = now
        outlived = now - REMEMBERED.total_seconds()
        while len(self._recent) > MEMORY or next(iter(self._recent.values())) < outlived:
            self._recent.popitem(last=False)

    def take(self, connection: Connection, message_id: str, expires: datetime) -> None:
        """Take an id for good, in the transaction that records what is done for it. Raises `message-replayed`."""
        if not _TAKE.run(connection, message_id, int((expires + KEPT).timestamp() * 1_000_000)):
            raise _replayed()

    def sweep(self, connection: Connection, now: datetime) -> int:
        """Delete ids whose messages nobody would believe any more; returns how many."""
        gone = connection.execute(delete(replays).where(replays.c.expires < int(now.timestamp() * 1_000_000)))
        return int(gone.rowcount)


def _replayed() -> ProblemError:
    return ProblemError(
        "message-replayed",
        detail="a message with this id was taken before",
        remedy="make a new message, with a new id, for each attempt",
    )


_TAKE = Fixed.insert(replays, "message_id", "expires", otherwise="ON CONFLICT DO NOTHING")
