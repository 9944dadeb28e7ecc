"""Rows of the source's own database, by a query that the organisation writes.

The query gives one row for each person. Two of its columns say how far it has been read: `changed`, which grows with
every change of a row, and `key`, which is different in every row. Rows are taken in that order, a page at a time, so
that many changes in one moment are neither lost nor read twice. `overlap_seconds` reads a little again each time, for
databases whose transactions become visible later than their time stamps say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import ColumnClause, Engine, and_, column, literal_column, or_, select, text
from sqlalchemy.exc import SQLAlchemyError

from adapters.sdk import Adapter, Position, Record
from gateway.sources.batches import Batch, RowsBatch, SourceError, identity


class Database:
    """The rows of a query, each time those that have changed since."""

    def __init__(
        self,
        engine: Engine,
        query: str,
        adapter: Adapter,
        *,
        changed: str,
        key: str,
        title: str = "query",
        page: int = 500,
        overlap_seconds: float = 0.0,
    ) -> None:
        self._engine = engine
        self._query = query
        self._adapter = adapter
        self._changed = changed
        self._key = key
        self._title = title
        self._page = page
        self._overlap = timedelta(seconds=overlap_seconds)
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
            return list(result.keys()), [dict(row) for row in result.mappings()]

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
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == datetime.min.time() else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    return value


def _written(position: tuple[Any, Any]) -> str:
    return orjson.dumps([_tagged(one) for one in position]).decode()


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
