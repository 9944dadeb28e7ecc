"""Refuse a message that was seen before.

A message id counts as seen for as long as its message could still be believed. The database is what decides: the id is
inserted in the same transaction that records the release, so that of two copies only one can ever be answered, after a
restart and between replicas too. The memory in front of it only makes the usual refusal cheap.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete

from audit.log.statements import Fixed
from gateway.storage.tables import replays
from gateway.wire.problems import ProblemError

# Longer than any message can be believed, so that a clock that was set back by an hour opens no door.
KEPT = timedelta(hours=2)
MEMORY = 100_000


class Replays:
    """The message ids that have been taken."""

    def __init__(self) -> None:
        self._recent: OrderedDict[str, float] = OrderedDict()

    def refuse_seen(self, message_id: str, expires: datetime) -> None:
        """Refuse an id that this process has taken already. Raises ProblemError `message-replayed`."""
        if message_id in self._recent:
            raise _replayed()
        self._recent[message_id] = expires.timestamp()
        if len(self._recent) > MEMORY:
            self._recent.popitem(last=False)

    def forget(self, message_id: str) -> None:
        """Let an id be taken again whose message was never recorded, for example because the disk was full."""
        self._recent.pop(message_id, None)

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
