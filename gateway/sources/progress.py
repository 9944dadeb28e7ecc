"""How far each source has been read: its position, and for each batch how many records are done.

Kept in the node's database and written through the log's own transactions, so that there is one writer. A row says
nothing of anyone: positions are dates, numbers, pages; batches are digests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, delete, insert, select

from audit.log.log import Log
from audit.log.waiting import Written
from gateway.storage.tables import sources

#: The row of a source that holds its position; every other row is a batch.
_POSITION = ""
_READ = ("position", "records", "report", "finished", "adapter")


@dataclass(frozen=True, slots=True)
class Done:
    """What of a batch is done: records worked, the report's length then (bytes), and whether that is all.

    `adapter` is the digest of the version that it was begun with: another might count its records otherwise.
    """

    records: int = 0
    report: int = 0
    finished: bool = False
    adapter: str = ""


class Progress:
    """The books of all sources of a node."""

    def __init__(self, engine: Engine, log: Log, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._log = log
        self._clock = clock

    async def position(self, source: str) -> str | None:
        """From where a source is read next; None for its beginning."""
        row = await asyncio.to_thread(self._read, source, _POSITION)
        return str(row[0]) if row is not None else None

    async def done(self, source: str, batch: str) -> Done:
        """How far a batch has been worked."""
        row = await asyncio.to_thread(self._read, source, batch)
        return Done(row[1], row[2], bool(row[3]), row[4]) if row is not None else Done()

    async def store(self, source: str, batch: str, done: Done) -> None:
        """Write down how far a batch has been worked."""
        await self._write(source, batch, "", done)

    async def advance(self, source: str, position: str) -> None:
        """Write down from where a source is read next."""
        await self._write(source, _POSITION, position, Done())

    def _read(self, source: str, item: str) -> tuple[str, int, int, int, str] | None:
        with self._engine.connect() as connection:
            row = connection.execute(
                select(*(sources.c[name] for name in _READ)).where(sources.c.source == source, sources.c.item == item)
            ).first()
        return (row[0], row[1], row[2], row[3], row[4]) if row is not None else None

    async def _write(self, source: str, item: str, position: str, done: Done) -> None:
        changed = int(self._clock().timestamp() * 1_000_000)

        def write(connection: Connection) -> Written[None]:
            connection.execute(delete(sources).where(sources.c.source == source, sources.c.item == item))
            connection.execute(
                insert(sources),
                {
                    "source": source,
                    "item": item,
                    "position": position,
                    "records": done.records,
                    "report": done.report,
                    "finished": int(done.finished),
                    "changed": changed,
                    "adapter": done.adapter,
                },
            )
            return Written(None, ())

        await self._log.commit(write)
