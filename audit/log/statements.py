"""Statements that every exchange runs, handed to the driver as they are written.

SQLAlchemy's expression layer takes longer over a small statement than the database does. The few that run for each
exchange are therefore fixed texts with `?` for each value, the same on both databases. What the driver raises comes out
as SQLAlchemy's own errors, as from any other statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError


class Fixed:
    """One statement. It needs a transaction that has begun."""

    __slots__ = ("_postgresql", "_sqlite")

    def __init__(self, words: str) -> None:
        self._sqlite = words
        self._postgresql = words.replace("?", "%s")

    @classmethod
    def insert(cls, table: str, *columns: str, otherwise: str = "") -> Fixed:
        """An insert of these columns, in this order; `otherwise` is what to do on a conflict."""
        places = ", ".join("?" * len(columns))
        return cls(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places}) {otherwise}".rstrip())  # noqa: S608

    def rows(self, connection: Connection, *values: object) -> list[tuple[Any, ...]]:
        """All rows that it finds."""
        return list(self._run(connection, values).fetchall())

    def row(self, connection: Connection, *values: object) -> tuple[Any, ...] | None:
        """The first row that it finds."""
        row: tuple[Any, ...] | None = self._run(connection, values).fetchone()
        return row

    def run(self, connection: Connection, *values: object) -> int:
        """Run it; gives how many rows it changed."""
        return int(self._run(connection, values).rowcount)

    def _run(self, connection: Connection, values: Sequence[object]) -> Any:
        dialect = connection.dialect
        words = self._postgresql if dialect.name == "postgresql" else self._sqlite
        cursor = connection.connection.cursor()
        try:
            cursor.execute(words, values)
        except dialect.loaded_dbapi.Error as error:
            lost = dialect.is_disconnect(error, connection.connection, cursor)
            raise DBAPIError.instance(
                words,
                None,
                error,
                dialect.loaded_dbapi.Error,
                hide_parameters=True,
                connection_invalidated=lost,
                dialect=dialect,
            ) from error
        return cursor
