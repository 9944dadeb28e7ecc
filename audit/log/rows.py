"""Entries as database rows, and the statements that insert them.

Appending is the busiest write of a node: `executemany` on SQLite, one JSON document on PostgreSQL, which takes a batch
of any size in a single round trip.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

import orjson
from sqlalchemy import JSON, Connection, LargeBinary, Table, Text, bindparam, cast, column, func, insert, select

from audit.log.entries import REFUSED, Entry, micros
from audit.log.statements import Fixed
from audit.log.tables import FACETS, WITHDRAWN, entries, facets
from audit.tree.merkle import leaf_hash

EntryRow = tuple[Any, ...]
"""Values of `audit_entries` in column order; the first is the index."""
FacetRow = tuple[int, str, int, int]
"""Kind, value, recorded, index."""

_ENTRY_COLUMNS: Final = tuple(str.__str__(column.name) for column in entries.columns)
_FACET_COLUMNS: Final = ("kind", "value", "recorded", "idx")
_BASIS, _PERMITTED, _WITHHELD, _CONSENT, _MEMBER, _REFUSED, _STATUS = (
    FACETS[name] for name in ("basis", "permitted", "withheld", "consent", "member", "refused", "status")
)
_ADD_ENTRY: Final = Fixed.insert(entries, *_ENTRY_COLUMNS)
_ADD_FACET: Final = Fixed.insert(facets, *_FACET_COLUMNS)


def _from_document(table: Table, columns: Sequence[str]) -> Fixed:
    """An insert of all rows of one JSON document. JSON has no bytes: they come as hex digits."""
    kinds = {name: Text() if isinstance(table.c[name].type, LargeBinary) else table.c[name].type for name in columns}
    rows = (
        func.json_to_recordset(cast(bindparam("document", type_=Text()), JSON()))
        .table_valued(*(column(name, kind) for name, kind in kinds.items()))
        .render_derived(name="rows", with_types=True)
    )
    read = [
        func.decode(rows.c[name], "hex") if isinstance(table.c[name].type, LargeBinary) else rows.c[name]
        for name in columns
    ]
    return Fixed(insert(table).from_select(list(columns), select(*read)), "document")


_ADD_ENTRIES: Final = _from_document(entries, _ENTRY_COLUMNS)
_ADD_FACETS: Final = _from_document(facets, _FACET_COLUMNS)


def member_of(subsystem: str | None) -> str | None:
    """The member (`INSTANCE/CLASS/MEMBER`) that a subsystem or service id belongs to; None if it is no such id."""
    if subsystem is None:
        return None
    parts = subsystem.split("/", 3)
    return "/".join(parts[:3]) if len(parts) >= 3 else None


def seal(index: int, leaf: bytes) -> bytes:
    """Eight bytes that tie a leaf hash to its place."""
    return sha256(index.to_bytes(8, "big") + leaf).digest()[:8]


def entry_row(index: int, entry: Entry, body: bytes) -> EntryRow:
    """The row of an entry at this index, `body` being its canonical bytes."""
    agents, leaf = entry.agents, leaf_hash(body)
    return (
        index,
        leaf,
        seal(index, leaf),
        micros(entry.recorded),
        entry.id,
        entry.type.value,
        entry.outcome.value,
        entry.subject,
        agents.recipient,
        entry.source,
        entry.service,
        agents.client,
        agents.user,
        entry.message_id,
        entry.purpose,
        entry.rulebook,
        entry.reason,
        entry.case,
        entry.previous,
        body.decode(),
    )


def facet_rows(index: int, entry: Entry) -> list[FacetRow]:
    """The rows for what an entry may have several of: bases, categories, consents, members."""
    at = micros(entry.recorded)
    rows = {(_BASIS, value, at, index) for value in entry.bases}
    rows.update((_PERMITTED, value, at, index) for value in entry.categories.permitted)
    rows.update((_WITHHELD, value, at, index) for value in entry.categories.withheld)
    rows.update((_CONSENT, consent, at, index) for consent, _ in entry.consents)
    members = [member for member in (member_of(entry.source), member_of(entry.agents.recipient)) if member is not None]
    rows.update((_MEMBER, member, at, index) for member in members)
    if entry.outcome in REFUSED:
        rows.update((_REFUSED, member, at, index) for member in members)
    if entry.withdraws:
        rows.add((_STATUS, WITHDRAWN, at, index))
    return list(rows)


def insert_rows(connection: Connection, rows: Sequence[EntryRow], facet: Sequence[FacetRow]) -> None:
    """Insert entries and their facets, each kind in one go."""
    for by_row, by_document, columns, values in (
        (_ADD_ENTRY, _ADD_ENTRIES, _ENTRY_COLUMNS, rows),
        (_ADD_FACET, _ADD_FACETS, _FACET_COLUMNS, facet),
    ):
        if not values:
            continue
        if connection.dialect.name == "postgresql":
            by_document.run(connection, _document(columns, values))
        else:
            by_row.many(connection, values)


def _document(columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> str:
    """Rows as a JSON array of objects; bytes as hex digits."""
    return orjson.dumps(
        [
            {
                name: value.hex() if isinstance(value, bytes) else value
                for name, value in zip(columns, row, strict=True)
                if value is not None
            }
            for row in rows
        ]
    ).decode()
