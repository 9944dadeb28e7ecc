"""What the tests of the log share: tables, keys, a clock that only tests move, and entries about invented people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine

from audit.log.entries import Agents, Categories, Entry
from audit.log.log import Log
from audit.log.policy import LogPolicy
from audit.log.tables import metadata
from audit.tree.checkpoint import LogSigner
from tests.databases import database_url, engine, postgresql_server, postgresql_url

__all__ = ["database_url", "engine", "postgresql_server", "postgresql_url"]
ORIGIN = "log.example.fi/node-a"
START = datetime(2026, 10, 1, 8, 0, tzinfo=UTC)


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> datetime:
        self.now += timedelta(**by)
        return self.now


@dataclass
class Bench:
    """A database with the tables of the log, and the log's key."""

    engine: Engine
    clock: Clock = field(default_factory=Clock)
    signer: LogSigner = field(
        default_factory=lambda: LogSigner(Ed25519PrivateKey.from_private_bytes(b"\x07" * 32), ORIGIN)
    )

    @contextmanager
    def log(self, **settings: Any) -> Iterator[Log]:
        log = Log(self.engine, self.signer, origin=ORIGIN, clock=self.clock, policy=LogPolicy(**settings))
        log.start()
        try:
            yield log
        finally:
            log.close()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with self.engine.execution_options(writes=True).begin() as connection:
            yield connection

    @contextmanager
    def tampering(self) -> Iterator[Connection]:
        """A connection of somebody who may change the tables: the triggers that refuse it are gone."""
        with self.writing() as connection:
            postgresql = connection.dialect.name == "postgresql"
            if postgresql:
                found = connection.exec_driver_sql(
                    "SELECT tgname, tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal"
                ).all()
            else:
                found = connection.exec_driver_sql(
                    "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'"
                ).all()
            for name, table in found:
                connection.exec_driver_sql(f"DROP TRIGGER {name}" + (f" ON {table}" if postgresql else ""))
            yield connection


@pytest.fixture
def bench(engine: Engine) -> Bench:
    metadata.create_all(engine)
    return Bench(engine)


@pytest.fixture
def make_entry(bench: Bench) -> Callable[..., Entry]:
    """Make an entry about an invented handover, at the clock's time unless told otherwise."""
    return lambda **fields: entry_at(bench.clock(), **fields)


def entry_at(at: datetime, **fields: Any) -> Entry:
    entry = Entry(
        "query",
        "success",
        at,
        agents=Agents(client="client-1", user="u-1", node="node-a", recipient="FI/GOV/0245437-2/care"),
        source="FI/GOV/0246246-0/records",
        service="records/read",
        subject="a" * 64,
        purpose="care",
        bases=("law-1",),
        rulebook="2026.1",
    )
    made = replace(entry, **fields)
    moved = made.type in ("query", "delivery", "break-glass") and made.outcome in ("success", "partial")
    return replace(made, categories=Categories(("identity",))) if moved and "categories" not in fields else made
