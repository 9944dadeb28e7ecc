"""Consent records in SQL. Nothing is overwritten: a change adds a version and steps the person's epoch.

The functions run inside the caller's transaction and end none. `epoch` is what a release is held against: it differs
as soon as anything about this person's consents has changed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, bindparam, insert, select, update

from consent.words.consents import ConsentRecord, Ending, WordKind, WordStatus
from consent.words.tables import consents, epochs

_CURRENT = select(consents.c.document, consents.c.kind).where(consents.c.id == bindparam("of"), consents.c.current == 1)
_HISTORY = (
    select(consents.c.document, consents.c.kind).where(consents.c.id == bindparam("of")).order_by(consents.c.version)
)
_VERSION = select(consents.c.document, consents.c.kind).where(
    consents.c.id == bindparam("of"), consents.c.version == bindparam("as")
)
_REPORTS = (
    select(consents.c.document, consents.c.kind)
    .where(consents.c.kind == WordKind.REPORT.value, consents.c.status == WordStatus.REFUSED.value)
    .where(consents.c.current == 1)
    .order_by(consents.c.recorded_at, consents.c.id)
)
_STEP = update(epochs).where(epochs.c.subject == bindparam("of_subject")).values(epoch=epochs.c.epoch + 1)
_FORMER = update(consents).where(consents.c.id == bindparam("of_id"), consents.c.current == 1).values(current=0)


class UnknownConsentError(LookupError):
    """There is no consent record of that id."""


def add(connection: Connection, record: ConsentRecord) -> None:
    """Store a version of a record; it becomes the current one."""
    connection.execute(_FORMER, {"of_id": record.id})
    connection.execute(
        insert(consents),
        {
            "id": record.id,
            "version": record.version,
            "subject": record.subject,
            "status": record.status.value,
            "kind": record.kind.value,
            "target": None if record.target is None else str(record.target),
            "recorded_at": int(record.recorded_at.timestamp() * 1_000_000),
            "current": 1,
            "document": json.dumps(record.to_dict(), sort_keys=True, ensure_ascii=False),
        },
    )
    if connection.execute(_STEP, {"of_subject": record.subject}).rowcount == 0:
        connection.execute(insert(epochs), {"subject": record.subject, "epoch": 1})


def end(
    connection: Connection,
    id: str,  # noqa: A002
    status: Ending,
    at: datetime,
    by: str,
) -> ConsentRecord:
    """End a consent or refusal: stores its next version and returns it. Raises UnknownConsentError."""
    held = current(connection, id)
    if held is None:
        raise UnknownConsentError(id)
    record = held.ended(status, at, by)
    add(connection, record)
    return record


def current(connection: Connection, id: str) -> ConsentRecord | None:  # noqa: A002
    """The newest version of a record."""
    row = connection.execute(_CURRENT, {"of": id}).first()
    return None if row is None else read_version(row.document, row.kind)


def words(subjects: Sequence[Any]) -> Select[Any]:
    """The statement that finds the newest versions of all records of these subjects, oldest record first.

    It runs for every exchange, so whoever runs it hands it to the driver; `subjects` are values or parameters.
    """
    table = consents.c
    return (
        select(table.document, table.kind)
        .where(table.current == 1, table.subject.in_(subjects))
        .order_by(table.recorded_at, table.id)
    )


def changes(subjects: Sequence[Any]) -> Select[Any]:
    """The same for how often the words of each of these subjects have changed; who never had any is left out."""
    return select(epochs.c.subject, epochs.c.epoch).where(epochs.c.subject.in_(subjects))


def history(connection: Connection, id: str) -> tuple[ConsentRecord, ...]:  # noqa: A002
    """All versions of a record, oldest first; empty if there is none."""
    rows = connection.execute(_HISTORY, {"of": id})
    return tuple(read_version(row.document, row.kind) for row in rows)


def versions(connection: Connection, named: Sequence[tuple[str, int]]) -> tuple[ConsentRecord, ...]:
    """The records of these ids and versions, in this order. Raises UnknownConsentError."""
    found = []
    for id_, version in named:
        row = connection.execute(_VERSION, {"of": id_, "as": version}).first()
        if row is None:
            raise UnknownConsentError(f"{id_} version {version}")
        found.append(read_version(row.document, row.kind))
    return tuple(found)


def open_reports(connection: Connection) -> tuple[ConsentRecord, ...]:
    """The reports that nobody has confirmed or let lapse, oldest first, of all persons."""
    return tuple(read_version(row.document, row.kind) for row in connection.execute(_REPORTS))


def read_version(document: str, kind: str) -> ConsentRecord:
    """A version as it was stored. Former versions wrote no kind: the column tells it, of what has ended as well."""
    return ConsentRecord.from_dict({"kind": kind, **json.loads(document)})
