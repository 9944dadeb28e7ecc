"""Open a node's database: SQLite out of the box, PostgreSQL when one machine is not enough.

Engines are synchronous and are used from owner threads only. On SQLite every connection runs in WAL mode with
`synchronous=FULL`, so that a commit that returned survives a power cut; foreign keys are on, and a transaction that
means to write says so at its start (`BEGIN IMMEDIATE`) instead of failing half-way on a lock.
Source: SQLite documentation, "Write-Ahead Logging" and "PRAGMA synchronous".
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from audit.log.statements import OWNED

BUSY_TIMEOUT_MS = 20_000


class UnsupportedDatabaseError(ValueError):
    """The URL names a database that a node cannot run on."""


def create(url: str | URL, *, pool_size: int = 8) -> Engine:
    """Return an engine for `sqlite:///FILE` or `postgresql+psycopg://…`.

    Raises UnsupportedDatabaseError for any other kind of database.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed, pool_size)
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


def _sqlite(url: URL, pool_size: int) -> Engine:
    if url.database and url.database != ":memory:" and not url.database.startswith("file:"):
        _own(Path(url.database))
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
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
            "cache_size=-16384",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        options = connection.get_execution_options()
        if not options.get(OWNED, False):  # else whoever owns the connection has begun by the driver
            connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes", False) else "BEGIN")

    return engine


def writer(engine: Engine) -> Engine:
    """The same engine for transactions that write: on SQLite they take the write lock when they begin."""
    return engine.execution_options(writes=True)
