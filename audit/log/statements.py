"""Statements that every exchange runs: compiled from SQLAlchemy Core once, then handed to the driver as they are.

SQLAlchemy's layers take longer over a small statement than the database does: of the CPU that recording an exchange
took, they were more than half. So the few statements that run for each exchange are `Fixed`, and the transactions of
the threads that run them are `Owned`: both speak to the driver. Everything else goes through SQLAlchemy, in the same
transactions. What the driver raises comes out as SQLAlchemy's own errors, as from any other statement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, bindparam, insert, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import CompilerElement

#: The execution option of a connection whose transactions SQLAlchemy neither begins nor ends.
OWNED: Final = "owned"

# In both styles the values of a statement are a plain sequence, in the order in which its text names them.
_STYLES: Final = {"sqlite": ("sqlite://", "qmark"), "postgresql": ("postgresql+psycopg://", "format")}


class Fixed:
    """One statement. `names` are its parameters, in the order in which callers give their values.

    It needs a transaction that has begun. `otherwise` is put after an insert: what to do on a conflict, which Core
    words apart for each database though both read the same.
    """

    __slots__ = ("_compiled", "_names", "_otherwise", "_statement")

    def __init__(self, statement: CompilerElement, *names: str, otherwise: str = "") -> None:
        self._statement = statement
        self._names = names
        self._otherwise = otherwise
        self._compiled: dict[str, tuple[str, Callable[[Sequence[object]], Sequence[object]]]] = {}

    @classmethod
    def insert(cls, table: Table, *columns: str, otherwise: str = "") -> Fixed:
        """An insert of these columns, in this order."""
        return cls(insert(table).values({name: bindparam(name) for name in columns}), *columns, otherwise=otherwise)

    def rows(self, connection: Connection, *values: object) -> list[tuple[Any, ...]]:
        """All rows that it finds."""
        found: list[tuple[Any, ...]] = self._run(connection, values).fetchall()
        return found

    def row(self, connection: Connection, *values: object) -> tuple[Any, ...] | None:
        """The first row that it finds."""
        row: tuple[Any, ...] | None = self._run(connection, values).fetchone()
        return row

    def run(self, connection: Connection, *values: object) -> int:
        """Run it; gives how many rows it changed."""
        return int(self._run(connection, values).rowcount)

    def many(self, connection: Connection, values: Sequence[Sequence[object]]) -> None:
        """Run it once for each of these."""
        words, ordered = self._words(connection.dialect.name)
        try:
            _driver(connection).cursor().executemany(words, [ordered(row) for row in values])
        except connection.dialect.loaded_dbapi.Error as error:
            raise _translated(connection, words, error) from error

    def _run(self, connection: Connection, values: Sequence[object]) -> Any:
        words, ordered = self._words(connection.dialect.name)
        try:
            return _driver(connection).execute(words, ordered(values))
        except connection.dialect.loaded_dbapi.Error as error:
            raise _translated(connection, words, error) from error

    def _words(self, dialect: str) -> tuple[str, Callable[[Sequence[object]], Sequence[object]]]:
        found = self._compiled.get(dialect)
        if found is None:
            url, style = _STYLES[dialect]
            made: Any = make_url(url).get_dialect()
            compiled: Any = self._statement.compile(dialect=made(paramstyle=style))
            words = f"{compiled} {self._otherwise}".rstrip()
            found = self._compiled[dialect] = (words, _order(compiled.positiontup or (), compiled.params, self._names))
        return found


_MOST_PLACES: Final = 16_384


class Counted:
    """A statement that looks for any of the values it is given. It is made for each power of two of them, not for each
    number: made statements stay in memory, here and in each connection. The last value fills up what is over.
    """

    __slots__ = ("_fixed", "_made")

    def __init__(self, made: Callable[[list[Any]], CompilerElement]) -> None:
        self._made = made
        self._fixed: dict[int, Fixed] = {}

    def rows(self, connection: Connection, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """All rows that it finds. Which value is asked for twice makes no difference to it."""
        if not values:
            return []
        # SQLite takes no more than 32 766 values in one statement.
        places = min(1 << (len(values) - 1).bit_length(), max(_MOST_PLACES, len(values)))
        fixed = self._fixed.get(places)
        if fixed is None:
            names = [f"value_{number}" for number in range(places)]
            fixed = self._fixed[places] = Fixed(self._made([bindparam(name) for name in names]), *names)
        return fixed.rows(connection, *values, *[values[-1]] * (places - len(values)))


def _order(
    positions: Sequence[str], constants: dict[str, object], names: Sequence[str]
) -> Callable[[Sequence[object]], Sequence[object]]:
    """How values in the callers' order become those of the text, with what the statement itself fixes."""
    if tuple(positions) == tuple(names):
        return lambda values: values
    places = [names.index(name) if name in names else None for name in positions]
    fixed = [constants[name] for name in positions]
    return lambda values: [
        constant if place is None else values[place] for place, constant in zip(places, fixed, strict=True)
    ]


class Owned:
    """A connection of one thread, which begins and ends its transactions by the driver.

    `connection` is for the statements inside, `Fixed` and others alike. On SQLite a transaction that `writes` takes the
    write lock as it begins; on PostgreSQL the driver itself begins one with the first statement.
    """

    def __init__(self, engine: Engine, *, writes: bool) -> None:
        self.connection = engine.connect().execution_options(**{OWNED: True})
        is_sqlite = engine.dialect.name == "sqlite"
        self._begin = ("BEGIN IMMEDIATE" if writes else "BEGIN") if is_sqlite else None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction: committed at the end, rolled back if anything is raised inside."""
        if self._begin is not None:
            self.command(self._begin)
        try:
            yield self.connection
        except BaseException:
            self.roll_back()
            raise
        self._end("commit")

    def command(self, words: str) -> None:
        """Run a command that has no values, such as one about a savepoint."""
        try:
            _driver(self.connection).execute(words)
        except self.connection.dialect.loaded_dbapi.Error as error:
            raise _translated(self.connection, words, error) from error

    def roll_back(self) -> None:
        """Undo what the transaction has done. Of a connection that is lost there is nothing to undo."""
        if not self.connection.invalidated:
            self._end("rollback")

    def _end(self, how: str) -> None:
        try:
            getattr(_driver(self.connection), how)()
        except self.connection.dialect.loaded_dbapi.Error as error:
            raise _translated(self.connection, how, error) from error

    def close(self) -> None:
        """Give the connection back."""
        self.connection.close()

    def discard(self) -> None:
        """Close the connection for good: whatever state it is in, nobody gets it again."""
        self.connection.invalidate()
        self.connection.close()


def _driver(connection: Connection) -> Any:
    """The driver's connection: `sqlite3.Connection` or `psycopg.Connection`."""
    return connection.connection.dbapi_connection


def _translated(connection: Connection, words: str, error: Any) -> BaseException:
    """A driver's error as SQLAlchemy would have raised it."""
    dialect = connection.dialect
    translated: BaseException = DBAPIError.instance(
        words,
        None,
        error,
        dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=dialect.is_disconnect(error, connection.connection, None),
        dialect=dialect,
    )
    return translated
