"""Threads that read the database for the event loop, each over a connection of its own that stays open.

To take a connection from the pool, ask it whether it lives, and give it back, takes longer than to read a person.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from audit.log.statements import Owned

T = TypeVar("T")
THREADS: Final = 4


class Readers:
    """The readers of one node. What is read in one call is read in one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="reader")
        self._own = threading.local()
        self._open: set[Owned] = set()

    async def read(self, question: Callable[[Connection], T]) -> T:
        """What `question` finds. It must change nothing, and may be asked twice."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, question)

    def _read(self, question: Callable[[Connection], T]) -> T:
        try:
            return self._read_once(question)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            # The server has closed a connection that nobody used for a while: a new one answers.
            return self._read_once(question)

    def _read_once(self, question: Callable[[Connection], T]) -> T:
        owned: Owned | None = getattr(self._own, "connection", None)
        if owned is None:
            owned = self._own.connection = Owned(self._engine, writes=False)
            self._open.add(owned)
        try:
            with owned.transaction() as connection:
                return question(connection)
        except SQLAlchemyError:
            self._own.connection = None
            self._open.discard(owned)
            with suppress(SQLAlchemyError):
                owned.discard()
            raise

    def close(self) -> None:
        """End the threads and give their connections back."""
        self._threads.shutdown()
        while self._open:
            self._open.pop().close()
