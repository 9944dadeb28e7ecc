"""Which messages of a source were taken lately, by their numbers: one that is sent again is answered as it was.

Kept in the books of sources, so that it holds after a restart and between replicas. A row says nothing of anyone: it
holds keyed hashes of the message's number and of its content.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from sqlalchemy import Connection, Engine, delete, insert, select

from audit.log.entries import micros
from audit.log.log import Log
from audit.log.waiting import Written
from gateway.storage.engine import read
from gateway.storage.tables import sources

#: Before the keyed hash of a number, beside what a source keeps of its batches.
_PREFIX: Final = "message/"

#: To let go of those whose time is over reads all of the source's: so seldom that no message waits for it.
CLEARING: Final = timedelta(minutes=1)

#: The keyed hashes of something under every key in use, today's first.
Fingerprints = Callable[..., tuple[str, ...]]


class Before(Enum):
    """What is known of a message's number."""

    NEW = "new"
    SAME = "same"  # the same message was taken
    OTHER = "other"  # a message of this number was taken that said something else


class Window:
    """The messages of one source that were taken within so many seconds."""

    def __init__(self, source: str, engine: Engine, log: Log, fingerprints: Fingerprints, seconds: float) -> None:
        self._source = source
        self._engine = engine
        self._log = log
        self._fingerprints = fingerprints
        self._kept = timedelta(seconds=seconds)
        self._cleared: datetime | None = None

    async def look(self, sender: str, control: str, message: bytes, now: datetime) -> Before:
        """What is known of a number that a sender gave a message."""
        keys = [self._item(hashed) for hashed in self._fingerprints("mllp-number", sender.encode(), control.encode())]
        content = set(self._fingerprints("mllp-message", message))
        known = select(sources.c.position).where(
            sources.c.source == self._source, sources.c.item.in_(keys), sources.c.changed >= micros(now - self._kept)
        )
        held = await read(self._engine, lambda connection: connection.scalars(known).all())
        if not held:
            return Before.NEW
        return Before.SAME if content & set(held) else Before.OTHER

    async def keep(self, sender: str, control: str, message: bytes, now: datetime) -> None:
        """Keep a message that was taken, and now and then let go of those whose time is over: none of them counts."""
        item = self._item(self._fingerprints("mllp-number", sender.encode(), control.encode())[0])
        content = self._fingerprints("mllp-message", message)[0]

        is_clearing = self._cleared is None or now - self._cleared >= CLEARING
        if is_clearing:
            self._cleared = now

        def write(connection: Connection) -> Written[None]:
            own = sources.c.source == self._source
            if is_clearing:
                is_over = (sources.c.item.startswith(_PREFIX)) & (sources.c.changed < micros(now - self._kept))
                connection.execute(delete(sources).where(own, is_over))
            connection.execute(delete(sources).where(own, sources.c.item == item))
            row = {"source": self._source, "item": item, "position": content, "changed": micros(now)}
            connection.execute(insert(sources), {**row, "records": 1, "report": 0, "finished": 1})
            return Written(None, ())

        await self._log.commit(write)

    @staticmethod
    def _item(hashed: str) -> str:
        return f"{_PREFIX}{hashed}"
