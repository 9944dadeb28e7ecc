"""A pool of readers, and which inputs none of them is given again.

A pool keeps readers warm and replaces each after some thousand inputs or ten minutes, so that whatever an input did to
one does not last. An input that killed or stalled a reader is known by its digest for an hour, and is refused unread:
a source that gives it again and again costs nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson

from adapters.sdk import AdapterError, Limits
from gateway.reading.process import LOAD_SECONDS, Reader, ReaderDiedError
from gateway.telemetry import event
from gateway.wire.problems import ProblemError

LOGGER = logging.getLogger("yhdyspinta.reading")
INPUTS: Final = 5_000
LIFE_SECONDS: Final = 600.0
"""After so many inputs a reader is replaced, and when it comes back after so long. To start one takes as much processor
time as some thousand records."""
REMEMBERED_SECONDS: Final = 3600.0
MOST_REMEMBERED: Final = 1_000
IN_A_ROW: Final = 3
RESTING_SECONDS: Final = 60.0
WAIT_SECONDS: Final = 10.0
_DRAINED: Final = 64
T = TypeVar("T")


class Poison:
    """Inputs that killed a reader, by digest. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._until)

    def remember(self, digest: bytes, limit: str) -> None:
        """It killed a reader just now."""
        with self._lock:
            self._until[digest] = self._clock() + REMEMBERED_SECONDS, limit
            self._until.move_to_end(digest)
            while len(self._until) > MOST_REMEMBERED:
                self._until.popitem(last=False)

    def limit(self, digest: bytes) -> str | None:
        """The limit that it went over, if it did within the hour."""
        with self._lock:
            until, limit = self._until.get(digest, (0.0, ""))
            return limit if self._clock() < until else None


class Readers:
    """Some readers for one kind of work. Thread-safe."""

    def __init__(
        self,
        size: int,
        memory_mb: int,
        poison: Poison | None = None,
        clock: Callable[[], float] = time.monotonic,
        beside: Path | None = None,
    ) -> None:
        """`beside` is a folder whose adapter goes before those that are installed."""
        self._memory_mb = memory_mb
        self._beside = beside
        self._clock = clock
        self._idle: list[Reader] = []
        self._free = threading.BoundedSemaphore(size)
        self._turns = asyncio.Semaphore(size)
        self._lock = threading.Lock()
        self._is_closed = False
        self.poison = poison if poison is not None else Poison()
        self.killed = 0
        self.is_confined: bool | None = None
        self.are_files_shut: bool | None = None
        self._in_a_row: dict[str, int] = {}
        self._resting: dict[str, float] = {}

    def start(self) -> None:
        """Start one reader now, so that the first who needs one does not wait. Raises ProblemError `readers-down`."""
        with self._lent() as _:
            pass

    def close(self) -> None:
        """End those that are idle now, and the others when they come back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for reader in idle:
            reader.end()

    def ask(
        self, request: Mapping[str, Any], body: bytes, limits: Limits, source: str, made: Callable[[dict[str, Any]], T]
    ) -> Iterator[T]:
        """Have something done by a reader. Raises ReaderDiedError, AdapterError, ProblemError.

        `made` makes a value of each answer; one of which none can be made is as if the reader had died. `source` is
        whose input it is: three in a row that kill readers, and it rests for a minute.
        """
        digest = self._readable(request, body, source)
        try:
            with self._lent() as reader:
                answers = reader.ask(request, body, limits.record_seconds)
                try:
                    for answer in answers:
                        yield _made(answer, made)
                except ReaderDiedError:
                    # What says nonsense is not asked again, even if it still runs.
                    reader.end()
                    raise
                finally:
                    # Who has seen enough leaves the rest in the socket, where the next would take it for an answer.
                    if next((True for index, _ in enumerate(answers) if index > _DRAINED), False):
                        reader.end()
        except ReaderDiedError as error:
            self._died(digest, error.limit, source)
            raise
        self._in_a_row.pop(source, None)

    async def answers(
        self, request: Mapping[str, Any], body: bytes, limits: Limits, source: str, made: Callable[[dict[str, Any]], T]
    ) -> list[T]:
        """The same on the event loop, for what has few answers; it has places of its own, as many as threads have."""
        digest = self._readable(request, body, source)
        if self._turns.locked():
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await self._turns.acquire()
            except TimeoutError:
                raise ProblemError("busy", detail="all readers are at work", retry_after=1) from None
        else:
            await self._turns.acquire()
        try:
            reader = self._rested()
            if reader is None:
                reader = await asyncio.to_thread(self._started)
            try:
                found = await reader.answers(request, body, limits.record_seconds, _DRAINED)
                values = [_made(answer, made) for answer in found]
            except ReaderDiedError as error:
                reader.end()
                self._died(digest, error.limit, source)
                raise
            finally:
                self._back(reader)
        finally:
            self._turns.release()
        self._in_a_row.pop(source, None)
        return values

    def _readable(self, request: Mapping[str, Any], body: bytes, source: str) -> bytes:
        """The digest of an input that may be read. Raises ReaderDiedError, ProblemError."""
        asked = orjson.dumps([request.get(name) for name in ("do", "adapter", "digest")])
        digest = hashlib.sha256(asked + body).digest()
        limit = self.poison.limit(digest)
        if limit is not None:
            raise ReaderDiedError(limit)
        if self._clock() < self._resting.get(source, 0.0):
            raise ProblemError(
                "busy", detail="what this source sent killed readers three times in a row", retry_after=60
            )
        return digest

    def _died(self, digest: bytes, limit: str, source: str) -> None:
        self.killed += 1
        self.poison.remember(digest, limit)
        self._in_a_row[source] = self._in_a_row.get(source, 0) + 1
        if self._in_a_row[source] >= IN_A_ROW:
            self._resting[source] = self._clock() + RESTING_SECONDS
            self._in_a_row.pop(source)
        event(LOGGER, logging.ERROR, "reader-died", source=source, limit=limit, input=digest.hex()[:16])

    @contextmanager
    def _lent(self) -> Iterator[Reader]:
        if not self._free.acquire(timeout=WAIT_SECONDS):
            raise ProblemError("busy", detail="all readers are at work", retry_after=1)
        try:
            reader = self._rested() or self._started()
            try:
                yield reader
            except BaseException:
                if not reader.is_alive:
                    reader.end()
                raise
            finally:
                self._back(reader)
        finally:
            self._free.release()

    def _rested(self) -> Reader | None:
        """A reader that waits for work, if there is one."""
        while True:
            with self._lock:
                reader = self._idle.pop() if self._idle else None
            if reader is None or reader.is_alive:
                return reader
            reader.end()

    def _started(self) -> Reader:
        try:
            reader = Reader(self._memory_mb, self._clock(), self._beside)
        except (ReaderDiedError, OSError) as error:
            event(LOGGER, logging.ERROR, "readers-down", reason=type(error).__name__)
            detail = "no process can be started that reads"
            if isinstance(error, ReaderDiedError):
                is_slow = error.limit == "record_seconds"
                slow = f"it takes more than {LOAD_SECONDS:g} seconds of processor time to load, or stands still"
                detail = slow if is_slow else "its mapping or its code ends the process that reads"
            raise ProblemError("readers-down", detail=detail, retry_after=5) from None
        self.is_confined, self.are_files_shut = reader.is_confined, reader.are_files_shut
        return reader

    def _back(self, reader: Reader) -> None:
        with self._lock:
            is_fresh = reader.worked < INPUTS and self._clock() - reader.started < LIFE_SECONDS
            is_kept = is_fresh and reader.is_alive and not self._is_closed
            if is_kept:
                self._idle.append(reader)
        if not is_kept:
            reader.end()

    def condition(self) -> dict[str, Any]:
        """For the node's health."""
        return {
            "idle": len(self._idle),
            "killed": self.killed,
            "confined": self.is_confined,
            "files_shut": self.are_files_shut,
        }


def _made(answer: dict[str, Any], made: Callable[[dict[str, Any]], T]) -> T:
    if answer.get("error") == "adapter":
        raise AdapterError(str(answer.get("text")))
    if answer.get("error") == "version":
        raise ProblemError(
            "readers-down",
            detail="the files of an adapter have changed under the node",
            remedy="take versions into use by `yhdyspinta adapter take`, or start the node anew",
            retry_after=60,
        )
    try:
        if "error" in answer:
            raise ValueError
        return made(answer)
    except (KeyError, TypeError, ValueError):
        raise ReaderDiedError("memory_mb") from None
