"""Rows of the source's own database, by a query that the organisation writes.

The query gives one row for each person; what each has several of (needs, family) comes by queries of its own. Two of
its columns say how far it has been read: `changed`, which grows with every change of a row, and `key`, which is
different in every row. Rows are taken in that order, a page at a time, so that many changes in one moment are neither
lost nor read twice. `overlap_seconds` reads a little again each time, for databases whose transactions become visible
later than their time stamps say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import ColumnClause, Connection, Engine, and_, column, literal_column, or_, select, text
from sqlalchemy.exc import SQLAlchemyError

from adapters.sdk import Adapter, Position, Record
from gateway.sources.batches import Batch, RowsBatch, SourceError, identity


@dataclass(frozen=True, slots=True)
class Query:
    """What is read: the query of the persons, its two columns, and how it is called and paged.

    `children` are queries of what each person has several of, by the field that it becomes: their rows have the
    column `key` too, and come as a list of objects. A change of such a row must show in `changed`.
    """

    text: str
    changed: str
    key: str
    title: str = "query"
    page: int = 500
    overlap_seconds: float = 0.0
    children: Mapping[str, str] = field(default_factory=dict)


class Database:
    """The rows of a query, each time those that have changed since."""

    def __init__(self, engine: Engine, query: Query, adapter: Adapter) -> None:
        self._engine = engine
        self._query = query.text
        self._adapter = adapter
        self._changed = query.changed
        self._key = query.key
        self._title = query.title
        self._page = query.page
        self._children = query.children
        self._overlap = timedelta(seconds=query.overlap_seconds)
        self._reading: tuple[Any, Any] | None = None

    async def poll(self, position: str | None) -> Batch | None:
        """See Source."""
        stored = _read(position)
        after = self._reading or self._rewound(stored)
        try:
            columns, rows = await asyncio.to_thread(self._rows, after)
        except SQLAlchemyError as error:
            raise SourceError(
                "source-unreachable",
                f"the query failed ({type(error).__name__})",
                "try the query with the database's own client, with the rights that the node has",
            ) from None
        self._check(columns)
        if not rows:
            self._reading = None
            return None
        last = (rows[-1][self._changed], rows[-1][self._key])
        if last[0] is None or last[1] is None:
            raise SourceError(
                "source-invalid", "a row has no `changed` or no `key`", "leave such rows out of the query"
            )
        self._reading = last
        records = [self._record(row, number) for number, row in enumerate(rows, 1)]
        content = orjson.dumps([dict(record.fields) for record in records], default=str)
        further = last if stored is None or last > stored else stored
        return RowsBatch(identity(content), self._title, records, _written(further))

    async def finished(self, batch: Batch) -> None:
        """See Source."""

    async def close(self) -> None:
        """See Source."""
        self._engine.dispose()

    def _rows(self, after: tuple[Any, Any] | None) -> tuple[Sequence[str], list[Mapping[str, Any]]]:
        changed: ColumnClause[Any] = column(self._changed)
        key: ColumnClause[Any] = column(self._key)
        source = text(self._query).columns(changed, key).subquery("source")
        first, second = source.c[self._changed], source.c[self._key]
        everything: ColumnClause[Any] = literal_column("source.*")
        statement = select(everything).select_from(source).order_by(first, second).limit(self._page)
        if after is not None:
            statement = statement.where(or_(first > after[0], and_(first == after[0], second > after[1])))
        with self._engine.connect() as connection:
            result = connection.execute(statement)
            columns = list(result.keys())
            rows: list[Mapping[str, Any]] = [dict(row) for row in result.mappings()]
            for name, child in self._children.items():
                held = self._held(connection, child, [row[self._key] for row in rows])
                columns.append(name)
                rows = [{**row, name: held.get(row[self._key], [])} for row in rows]
            return columns, rows

    def _held(self, connection: Connection, child: str, keys: Sequence[Any]) -> Mapping[Any, list[dict[str, Any]]]:
        """The rows of a query by the person whom they belong to. They are read in the same transaction as the persons:
        between two of them somebody could have lost a prohibition that stands in such a row.
        """
        own: ColumnClause[Any] = column(self._key)
        source = text(child).columns(own).subquery("child")
        everything: ColumnClause[Any] = literal_column("child.*")
        statement = select(everything).select_from(source).where(source.c[self._key].in_(keys))
        found: dict[Any, list[dict[str, Any]]] = {}
        for row in connection.execute(statement).mappings():
            rest = {name: _plain(value) for name, value in row.items() if name != self._key}
            found.setdefault(row[self._key], []).append(rest)
        return found

    def _rewound(self, stored: tuple[Any, Any] | None) -> tuple[Any, Any] | None:
        if stored is None or not self._overlap:
            return stored
        changed, key = stored
        if isinstance(changed, datetime):
            return changed - self._overlap, key
        try:  # a database without a type for moments (SQLite) holds them as text
            earlier = datetime.fromisoformat(changed) - self._overlap
        except (TypeError, ValueError):
            raise SourceError(
                "source-invalid", "`changed` is no moment, so there is no overlap", "leave overlap_seconds out"
            ) from None
        return earlier.isoformat(changed[10:11] or "T", "microseconds" if "." in changed else "seconds"), key

    def _check(self, columns: Sequence[str]) -> None:
        mapping = getattr(self._adapter, "mapping", None)
        if mapping is None or not columns:
            return
        missing = sorted(mapping.fields - mapping.optional - set(columns))
        if missing:
            raise SourceError(
                "source-invalid",
                f"the query lacks these columns of the mapping: {', '.join(missing)}",
                "select them AS the names that the mapping uses",
            )

    def _record(self, row: Mapping[str, Any], number: int) -> Record:
        fields = {name: _plain(value) for name, value in row.items()}
        return Record(str(fields[self._key]), fields, Position(self._title, number))


def _plain(value: Any) -> Any:
    """A value of a database as a file would hold it."""
    if value is None:
        return ""
    if isinstance(value, list):
        return value
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == datetime.min.time() else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    return value


def _written(position: tuple[Any, Any]) -> str:
    return orjson.dumps([_tagged(part) for part in position]).decode()


def _tagged(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"datetime": value.isoformat()}
    if isinstance(value, date):
        return {"date": value.isoformat()}
    return {"number": str(value)} if isinstance(value, Decimal) else value


def _read(position: str | None) -> tuple[Any, Any] | None:
    if position is None:
        return None
    first, second = (_untagged(load) for load in orjson.loads(position))
    return first, second


def _untagged(value: Any) -> Any:
    match value:
        case {"datetime": written}:
            return datetime.fromisoformat(written)
        case {"date": written}:
            return date.fromisoformat(written)
        case {"number": written}:
            return Decimal(written)
    return value
