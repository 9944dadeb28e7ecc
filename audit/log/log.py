"""The append-only log: everything that must be on record before data moves, written together and durably.

Requests in flight hand over *units*: functions that write the node's own rows and say which entries go with them. One
thread takes all units that are waiting and runs them in order in ONE transaction: it locks the log's head row, runs the
units, gives their entries the next indices, inserts entries and completed tiles, signs the checkpoint, and commits.
Only when the commit has returned are the waiters released, so

* what was acknowledged is durable, together with its entries;
* if the commit fails, nobody is told that it succeeded;
* a unit that raises is undone alone (each runs in a savepoint) and raises to its own waiter;
* units see what earlier units wrote, and nobody else appends meanwhile: on PostgreSQL several processes share one log
  through the lock on the head row, on SQLite through the write lock that the transaction takes when it begins.

The batch is whatever has gathered while the previous one was written. Under load the thread waits a little longer, for
those who have said that they are under way (`under_way`) and for those it has just released: the more they are, the
longer, as a batch costs nearly the same for one as for twenty. A lone request waits for nobody.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from time import monotonic
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from audit.log.appending import ADD_TILE, BODY, CREATE_HEAD, KEEP_CHECKPOINT, LOCK_HEAD, MOVE_HEAD
from audit.log.entries import Entry, micros
from audit.log.failure import said
from audit.log.policy import LogPolicy
from audit.log.rows import EntryRow, FacetRow, entry_row, facet_rows, insert_rows
from audit.log.statements import Owned
from audit.log.waiting import Committed, Unit, Waiting, release
from audit.tree.checkpoint import (
    Checkpoint,
    LogSigner,
    NoteError,
    VerifierKey,
    parse_checkpoint,
    verify_checkpoint,
)
from audit.tree.merkle import Frontier
from audit.tree.tiles import WIDTH, StoredTiles, completed

T = TypeVar("T")


class LogError(Exception):
    """The log could not record; nothing was released."""


class LogUnavailableError(LogError):
    """The database did not take the batch (lost connection, full disk, read-only); nothing in it is acknowledged."""


class LogOverloadedError(LogError):
    """More units are waiting than the log accepts; try again later."""

    def __init__(self, waiting: int, retry_after: float) -> None:
        super().__init__(f"{waiting} units are waiting to be recorded; try again in {retry_after:.1f} s")
        self.retry_after = retry_after


class LogClosedError(LogError):
    """The log is not started, or it has been closed."""


class LogAlteredError(LogError):
    """The stored log is not the one this process wrote before: it went back, forked, or has another origin."""


PATIENCE: Final = 0.0004  # seconds, for each who is expected to come
LONGEST_WINDOW: Final = 0.02


class Log:
    """The log of one node. Safe to use from any thread and event loop; `start` it once, `close` it at the end.

    `origin` is the log's name and must be the signer's. `clock` gives the time of checkpoints. A checkpoint is kept for
    later (table `audit_checkpoints`) whenever the policy's `keep_every` has passed since the last one kept.
    """

    def __init__(
        self,
        engine: Engine,
        signer: LogSigner,
        *,
        origin: str,
        clock: Callable[[], datetime],
        policy: LogPolicy = LogPolicy(),
    ) -> None:
        if origin != signer.name:
            raise ValueError(f"the log's origin {origin!r} must be the name of its signer, {signer.name!r}")
        self.origin = origin
        self._engine = engine
        self._signer = signer
        self._clock = clock
        self._max_batch = policy.max_batch
        self._max_waiting = policy.max_waiting
        self._keep_every = policy.keep_every // timedelta(microseconds=1)
        self._fault = policy.fault
        self._told = policy.told
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._latest: Checkpoint | None = None
        #: Why the last attempt to write did not end well; None if it did. Told to whoever asks about the node.
        self.failure: str | None = None
        self._frontier = Frontier()
        self._partial: list[bytes] | None = None  # leaf hashes of the incomplete tile, if this process wrote the last
        self._owned: Owned | None = None
        self._kept = 0  # when the last checkpoint was kept, as the head row says
        self._pace = 0.0  # seconds a batch takes, smoothed
        self._last = (0, 0.0)  # size of the last batch and when it ended
        self._entering = threading.Lock()
        self._under_way = 0

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Make the head row of a new log, read that of an old one, and start the appender thread."""
        if self._thread is not None:
            raise LogError("the log has been started already")
        with self._engine.execution_options(writes=True).begin() as connection:
            now = micros(self._clock())
            empty = self._signer.sign(0, Frontier().root())
            CREATE_HEAD.run(connection, 1, self.origin, 0, b"", now, now, empty.note)
            origin, _, _, note = self._lock(connection)
        if origin != self.origin:
            raise LogAlteredError(f"the database holds the log of {origin!r}, not of {self.origin!r}")
        try:
            self._latest, _ = verify_checkpoint(note, self._signer.verifier)
        except NoteError as error:
            raise LogAlteredError(
                f"the log's last checkpoint does not hold with the key given, so either is not the one it was: {error}"
            ) from error
        self._thread = threading.Thread(target=self._run, name="appender", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what is waiting, then stop. Safe to call twice."""
        with self._entering:
            thread, self._thread = self._thread, None
            self._queue.put(None)
        if thread is not None:
            thread.join()

    @property
    def verifier(self) -> VerifierKey:
        """The key by which others verify this log's checkpoints."""
        return self._signer.verifier

    @property
    def signs_by(self) -> tuple[VerifierKey, ...]:
        """The keys that sign checkpoints: one, or while it changes the one that is to follow as well."""
        coming = self._signer.coming
        return (self._signer.verifier, *((coming,) if coming is not None else ()))

    def sign_by(self, signer: LogSigner) -> None:
        """Go on under other keys, which follow those in use. Raises LogAlteredError for keys that do not."""
        try:
            verify_checkpoint(self.latest().note, signer.verifier)
        except NoteError as error:
            raise LogAlteredError(f"the keys are not of this log: {error}") from error
        self._signer = signer

    def latest(self) -> Checkpoint:
        """The newest checkpoint that this process knows. Raises LogClosedError before `start`."""
        if self._latest is None:
            raise LogClosedError("the log has not been started")
        return self._latest

    def look(self) -> str | None:
        """What keeps the database from taking anything, though it would answer; the log is not writable for as long."""
        fault = self._fault()
        if fault is not None:
            self._say(fault)
        return fault

    @property
    def is_writable(self) -> bool:
        """Whether the last attempt to write ended well."""
        return self.failure is None

    def _say(self, failure: str | None) -> None:
        has_changed = (failure is None) is not self.is_writable
        self.failure = failure
        if has_changed:
            self._told(failure)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """For as long as it is entered, the log knows of one more who will have something to record soon."""
        with self._entering:
            self._under_way += 1
        try:
            yield
        finally:
            with self._entering:
                self._under_way -= 1

    @property
    def waiting(self) -> int:
        """How many units wait to be written."""
        return self._queue.qsize()

    @property
    def expected_wait(self) -> float:
        """About how many seconds a unit would wait that came now: as many batches as are before it, at their pace."""
        return self._pace * (self._queue.qsize() // self._max_batch)

    # -- appending ----------------------------------------------------------------------------------------------

    async def commit(self, unit: Unit[T]) -> Committed[T]:
        """Run a unit and its entries durably. Raises what the unit raises, or LogError if it could not be recorded.

        The unit runs in the appender's thread, inside a transaction that is not its own to end.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Committed[T]] = loop.create_future()
        self._enter(Waiting(unit, [], loop, future))
        return await future

    async def append(self, entries: Sequence[Entry]) -> Committed[None]:
        """Record entries that go with nothing else."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Committed[None]] = loop.create_future()
        self._enter(Waiting(None, [(entry, entry.canonical()) for entry in entries], loop, future))
        return await future

    def commit_blocking(self, unit: Unit[T]) -> Committed[T]:
        """`commit` for threads and commands."""
        future: Future[Committed[T]] = Future()
        self._enter(Waiting(unit, [], None, future))
        return future.result()

    def append_blocking(self, entries: Sequence[Entry]) -> Committed[None]:
        """`append` for threads and commands."""
        future: Future[Committed[None]] = Future()
        self._enter(Waiting(None, [(entry, entry.canonical()) for entry in entries], None, future))
        return future.result()

    def _enter(self, waiting: Waiting) -> None:
        count = self._queue.qsize()
        if count >= self._max_waiting:
            raise LogOverloadedError(count, max(0.1, self._pace * count / self._max_batch))
        with self._entering:  # nothing may enter after the closing mark
            if self._thread is None:
                raise LogClosedError("the log has been closed" if self._latest else "the log has not been started")
            self._queue.put(waiting)

    # -- the appender's thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        closing = False
        while not closing:
            batch, closing = self._gather()
            if not batch:
                continue
            begun = monotonic()
            try:
                checkpoint = self._write(batch)
            except BaseException as error:
                self._discard_connection()
                failure = error if isinstance(error, LogError) else _unavailable(error)
                self._say(str(failure))
                for waiting in batch:
                    waiting.error = waiting.error or failure
            else:
                self._latest = checkpoint
                # A unit without entries may have written nothing: only an entry shows that writing works.
                if any(waiting.indexes for waiting in batch):
                    self._say(None)
            ended = monotonic()
            self._pace += ((ended - begun) - self._pace) / 8
            self._last = (len(batch), ended)
            release(batch, self._latest)
        self._discard_connection()

    def _gather(self) -> tuple[list[Waiting], bool]:
        batch: list[Waiting] = []
        item = self._queue.get()
        until: float | None = None
        while item is not None:
            batch.append(item)
            if len(batch) >= self._max_batch:
                return batch, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                now = monotonic()
                expected = self._expected(now) - len(batch)
                if until is None:
                    until = now + min(LONGEST_WINDOW, PATIENCE * expected)
                if expected <= 0 or until <= now:
                    return batch, False
                try:
                    item = self._queue.get(timeout=until - now)
                except queue.Empty:
                    return batch, False
        return batch, True

    def _expected(self, now: float) -> int:
        """How many are likely to come soon, with those who are here already."""
        released, ended = self._last
        return max(self._under_way, released if now - ended < 2 * self._pace else 0)

    def _write(self, batch: list[Waiting]) -> Checkpoint:
        owned = self._owned
        if owned is None:
            owned = self._owned = Owned(self._engine, writes=True)
        with owned.transaction() as connection:
            origin, size, frontier, note = self._lock(connection)
            before = self._known(origin, size, frontier)
            self._run_units(owned, batch)
            if all(waiting.error is not None for waiting in batch):
                owned.roll_back()
                return self.latest()
            rows: list[EntryRow] = []
            facets: list[FacetRow] = []
            index = size
            for waiting in batch:
                if waiting.error is None:
                    for entry, body in waiting.prepared:
                        rows.append(entry_row(index, entry, body))
                        facets += facet_rows(index, entry)
                        index += 1
                    waiting.indexes = tuple(range(index - len(waiting.prepared), index))
            if not rows:
                checkpoint, after = parse_checkpoint(note), before
            else:
                checkpoint, after = self._append(connection, before, rows, facets)
            # A commit into a file that nobody finds again returns like any other: nobody may be told of it.
            if (fault := self.look()) is not None:
                raise LogUnavailableError(f"{fault}; nothing was recorded")
        self._frontier = after
        return checkpoint

    def _lock(self, connection: Connection) -> tuple[str, int, bytes, str]:
        """Lock the head row; give origin, size, frontier and note."""
        row = LOCK_HEAD.row(connection)
        if row is None:
            raise LogAlteredError("the head row of the log is gone")
        origin, size, frontier, note, self._kept = row
        return origin, size, bytes(frontier), note

    def _run_units(self, owned: Owned, batch: list[Waiting]) -> None:
        alone = len(batch) == 1
        for waiting in batch:
            if waiting.future.cancelled():
                waiting.error = LogError("nobody waits for this unit any more")
                continue
            if waiting.unit is None:
                continue
            if not alone:
                owned.command("SAVEPOINT unit")
            try:
                written = waiting.unit(owned.connection)
                waiting.prepared = [(entry, entry.canonical()) for entry in written.entries]
                waiting.value = written.value
            except Exception as error:
                if isinstance(error, DBAPIError) and error.connection_invalidated:
                    raise
                waiting.error = error
                if not alone:
                    owned.command("ROLLBACK TO SAVEPOINT unit")
            if not alone:
                owned.command("RELEASE SAVEPOINT unit")

    def _known(self, origin: str, size: int, data: bytes) -> Frontier:
        """The stored frontier, held against what this process has seen. Raises LogAlteredError."""
        if origin != self.origin:
            raise LogAlteredError(f"the database holds the log of {origin!r}, not of {self.origin!r}")
        if size < self.latest().size:
            raise LogAlteredError(f"the log went back from {self.latest().size} to {size} entries")
        frontier = Frontier.from_bytes(size, data)
        if frontier != self._frontier:
            self._partial = None  # another process appended, or this is the first batch
            if size == self.latest().size and frontier.root() != self.latest().root:
                raise LogAlteredError(f"the log of {size} entries has another root than before")
        return frontier

    def _append(
        self, connection: Connection, before: Frontier, rows: list[EntryRow], facets: list[FacetRow]
    ) -> tuple[Checkpoint, Frontier]:
        leaves = [row[1] for row in rows]
        stored = StoredTiles(connection)
        if self._partial is None:
            filled = before.size % WIDTH
            self._partial = stored.hashes(0, before.size - filled, filled) if filled else []
        tiles = completed(stored, before.size, leaves, self._partial)
        after = before.extended(leaves)
        checkpoint = self._signer.sign(after.size, after.root())
        now = micros(self._clock())
        insert_rows(connection, rows, facets)
        if tiles:
            ADD_TILE.many(connection, tiles)
        if now - self._kept >= self._keep_every or self._kept == 0:
            KEEP_CHECKPOINT.run(connection, after.size, now, checkpoint.note)
            self._kept = now
        MOVE_HEAD.run(connection, after.size, after.to_bytes(), now, self._kept, checkpoint.note)
        # If the commit fails after this, the connection is discarded and this memory with it.
        self._partial += leaves
        del self._partial[: len(self._partial) - after.size % WIDTH]
        return checkpoint, after

    def _discard_connection(self) -> None:
        owned, self._owned = self._owned, None
        self._partial = None
        if owned is None:
            return
        with suppress(SQLAlchemyError):  # it was broken already, and it is out of the pool
            owned.discard()

    # -- reading --------------------------------------------------------------------------------------------------

    def entry(self, connection: Connection, index: int) -> Entry | None:
        row = BODY.row(connection, index)
        return None if row is None else Entry.parse(row[0])


def _unavailable(error: BaseException) -> LogUnavailableError:
    failure = LogUnavailableError(f"the log could not be written ({said(error)}); nothing was recorded")
    failure.__cause__ = error
    return failure
