"""Commands that write to a node's log beside the nodes that run, as whoever may read the node's secrets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.terminal.configuration import logged_in

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from audit.log.log import Log
    from gateway.settings import Settings


def reason_of(settings: Settings, error: Exception) -> str:
    """Why a command beside a node could not end its work, with the place: of a file, a database or the log."""
    from sqlalchemy.exc import SQLAlchemyError

    from audit.log.failure import said
    from audit.log.log import LogError
    from gateway.node.wiring import database_error

    match error:
        case LogError():
            return str(error)
        case SQLAlchemyError():
            return str(database_error(settings, error))
    return said(error)


@dataclass(frozen=True, slots=True)
class Opened:
    """The node's database and log, and the pseudonym of who is logged in at the operating system."""

    engine: Engine
    log: Log
    user: str


@contextmanager
def opened_log(settings: Settings) -> Iterator[Opened]:
    """The node's log, closed at the end. Raises NodeError, LogError, SQLAlchemyError, OSError.

    Who may is who may read the node's secrets, and these must be the database's own.
    """
    from gateway.node import secret_files
    from gateway.node.wiring import log_of, subjects_of
    from gateway.storage import engine as storage

    engine = storage.create(settings.database.url)
    log = None
    try:
        secret_files.verify(settings, engine, "log_key", "index_key", "wrapping_key")
        log = log_of(settings, engine)
        log.start()
        yield Opened(engine, log, subjects_of(settings).user("operating system", logged_in()))
    finally:
        if log is not None:
            log.close()
        engine.dispose()
