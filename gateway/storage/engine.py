"""Open a node's database: SQLite out of the box, PostgreSQL when one machine is not enough.

Engines are synchronous and are used from owner threads only. On SQLite every connection runs in WAL mode with
`synchronous=FULL`, so that a commit that returned survives a power cut; foreign keys are on, and a transaction that
means to write says so at its start (`BEGIN IMMEDIATE`) instead of failing half-way on a lock.
Source: SQLite documentation, "Write-Ahead Logging" and "PRAGMA synchronous".
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from audit.log.statements import OWNED

BUSY_TIMEOUT_MS = 20_000
T = TypeVar("T")


class UnsupportedDatabaseError(ValueError):
    """The URL names a database that a node cannot run on."""


def create(url: str | URL, *, pool_size: int = 8, cache_mb: int = 16) -> Engine:
    """Return an engine for `sqlite:///FILE` or `postgresql+psycopg://…`.

    `cache_mb` is what each connection to SQLite keeps of its file in memory, at most. Twice `pool_size` connections are
    open at once when there is much to do, and each fills as it meets new pages. Raises UnsupportedDatabaseError for any
    other kind of database.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed, pool_size, cache_mb)
    if parsed.get_backend_name() == "postgresql":
        return create_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",
        )
    raise UnsupportedDatabaseError(
        f"a node runs on SQLite or PostgreSQL, not on {parsed.get_backend_name()!r}; "
        "write sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE"
    )


#: The execution option of an engine that names its file.
_FILE: Final = "database_file"
_Identity = tuple[int, int]


class DatabaseFile:
    """The file of a SQLite database, and whether what this process has open is what stands at its path.

    A file that was moved, deleted or replaced stays open, and takes every commit; whoever starts on the path finds none
    of them. The same holds for the write-ahead log beside it, which stays the same file while a connection is open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self._opened: dict[Path, _Identity] = {}
        self._connections = 0
        self._lock = threading.Lock()

    def fault(self) -> str | None:
        """What is wrong with the file, for an operator; None if nothing is. Costs a look at two directory entries."""
        with self._lock:
            for path in (self._path, self._wal):
                if path not in self._opened and not self._connections:
                    continue
                found = _identity(path)
                opened = self._opened.get(path)
                if opened is None and found is not None:
                    self._opened[path] = found
                elif found != opened:
                    state = "gone" if found is None else "another than the one that is open"
                    return f"the database's file {path.name} is {state}"
        return None

    def connecting(self) -> None:
        """Let nobody open what is not the file that is open already. Raises sqlite3.OperationalError."""
        # SQLite would make an empty database where the file is gone.
        if (fault := self.fault()) is not None:
            raise sqlite3.OperationalError(fault)

    def connected(self) -> None:
        """A connection is open."""
        with self._lock:
            self._connections += 1
            if self._path not in self._opened and (found := _identity(self._path)) is not None:
                self._opened[self._path] = found

    def closed(self) -> None:
        """A connection is closed. With the last one SQLite puts the write-ahead log away; the next makes another."""
        with self._lock:
            self._connections -= 1
            if not self._connections:
                self._opened.pop(self._wal, None)

    def forget(self) -> None:
        """The engine is done with the file: what it opens next may be another."""
        with self._lock:
            self._opened.clear()


def _identity(path: Path) -> _Identity | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def fault_of(engine: Engine) -> str | None:
    """What stops a commit from being found again: its file is not where it was. None on PostgreSQL."""
    file = engine.get_execution_options().get(_FILE)
    return file.fault() if isinstance(file, DatabaseFile) else None


def is_busy(error: BaseException) -> bool:
    """Whether a SQLite database was held by another process for longer than anybody waits: it may be free by now."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, sqlite3.OperationalError) and cause.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            return True
        cause = cause.__cause__
    return False


def _own(file: Path) -> None:
    """Make the database's files readable by their owner only: consents and contacts stand there in the clear.

    SQLite gives the files beside the database the mode of the database, so it has to be right before the first opening.
    """
    if file.parent.is_dir():
        with suppress(FileExistsError):
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    for path in (file, *(file.with_name(file.name + suffix) for suffix in ("-wal", "-shm", "-journal"))):
        # A file of another user stays as it is: whoever may not change it, may only read what they were given.
        with suppress(FileNotFoundError, PermissionError):
            if path.stat().st_mode & 0o077:
                path.chmod(0o600)


def _sqlite(url: URL, pool_size: int, cache_mb: int) -> Engine:
    file: DatabaseFile | None = None
    if url.database and url.database != ":memory:" and not url.database.startswith("file:"):
        _own(Path(url.database))
        file = DatabaseFile(Path(url.database))
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        execution_options={_FILE: file},
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _entry: ConnectionPoolEntry) -> None:
        # The driver's own implicit BEGIN is switched off: SQLAlchemy's "begin" event below says which kind is meant.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "temp_store=MEMORY",
            "secure_delete=ON",  # what is destroyed leaves no trace in the file
            f"cache_size={-1024 * cache_mb}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    if file is not None:
        _watch(engine, file)

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        options = connection.get_execution_options()
        if options.get("writes", False) and file is not None and (fault := file.fault()) is not None:
            raise OperationalError("BEGIN IMMEDIATE", None, sqlite3.OperationalError(fault))
        if not options.get(OWNED, False):  # else whoever owns the connection has begun by the driver
            connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes", False) else "BEGIN")

    return engine


def _watch(engine: Engine, file: DatabaseFile) -> None:
    """Tell `file` of each connection that is opened and closed."""

    @event.listens_for(engine, "do_connect")
    def _connecting(_dialect: Any, _record: Any, _arguments: Any, _options: Any) -> None:
        file.connecting()

    @event.listens_for(engine, "connect")
    def _connected(_connection: Any, _entry: ConnectionPoolEntry) -> None:
        file.connected()

    @event.listens_for(engine, "engine_disposed")
    def _disposed(_engine: Engine) -> None:
        file.forget()

    @event.listens_for(engine, "close")
    def _closed(_connection: Any, _entry: ConnectionPoolEntry) -> None:
        file.closed()


def writer(engine: Engine) -> Engine:
    """The same engine for transactions that write: on SQLite they take the write lock when they begin."""
    return engine.execution_options(writes=True)


async def read(engine: Engine, look: Callable[[Connection], T]) -> T:
    """What a look at the database finds: in a thread, so that nobody waits for it, with a connection of its own."""

    def looking() -> T:
        with engine.connect() as connection:
            return look(connection)

    return await asyncio.to_thread(looking)
