"""Bring a database to the shape that this version of the node expects.

One Alembic history for all tables of a node, whichever package they belong to. Several replicas may start at once: on
PostgreSQL an advisory lock lets one migrate while the others wait, on SQLite the write lock does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, MetaData, inspect, text

import audit.log.tables
import consent.words.tables
import gateway.storage.console_tables
from gateway.storage import tables
from gateway.storage.engine import writer

if TYPE_CHECKING:
    from alembic.config import Config

METADATA: tuple[MetaData, ...] = (
    audit.log.tables.metadata,
    gateway.storage.console_tables.metadata,
    consent.words.tables.metadata,
    tables.metadata,
)
_MIGRATIONS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x79686479  # "yhdy"


def bring_up_to_date(engine: Engine) -> None:
    """Apply the migrations that the database has not seen yet."""
    with writer(engine).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
        # Asked under the lock. Alembic costs a third of a second to load, at nearly every start for nothing.
        if _revision(connection) != newest():
            from alembic import command

            command.upgrade(_config(connection), "head")


def revision(engine: Engine) -> tuple[str | None, str | None]:
    """The database's revision and the newest one that this version knows."""
    with engine.connect() as connection:
        return _revision(connection), newest()


def newest() -> str:
    """The newest revision: the files of migrations are named by their revisions, in order."""
    return max(file.name.partition("_")[0] for file in (_MIGRATIONS / "versions").glob("[0-9]*.py"))


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    held = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    return str(held[0]) if len(held) == 1 else None


def _config(connection: Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
