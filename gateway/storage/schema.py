"""Bring a database to the shape that this version of the node expects.

One Alembic history for all tables of a node, whichever package they belong to. Several replicas may start at once: on
PostgreSQL an advisory lock lets one migrate while the others wait, on SQLite the write lock does.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, text

import audit.log.tables
import consent.tables
import gateway.storage.console_tables
from gateway.storage import tables
from gateway.storage.engine import writer

METADATA: tuple[MetaData, ...] = (
    audit.log.tables.metadata,
    gateway.storage.console_tables.metadata,
    consent.tables.metadata,
    tables.metadata,
)
_ADVISORY_LOCK = 0x79686479  # "yhdy"


def bring_up_to_date(engine: Engine) -> None:
    """Apply the migrations that the database has not seen yet."""
    with writer(engine).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADVISORY_LOCK})
        command.upgrade(_config(connection), "head")


def revision(engine: Engine) -> tuple[str | None, str | None]:
    """The database's revision and the newest one that this version knows."""
    with engine.connect() as connection:
        held = MigrationContext.configure(connection).get_current_revision()
    return held, ScriptDirectory.from_config(_config(None)).get_current_head()


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
