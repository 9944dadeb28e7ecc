"""Consent records in SQL. Nothing is overwritten: a change adds a version and steps the person's epoch.

The functions run inside the caller's transaction and end none. `epoch` is what a release is held against: it differs
as soon as anything about this person's consents has changed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from consent.consents import ConsentRecord, Ending, WordKind, WordStatus
from consent.tables import consents, epochs

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


def withdraw(connection: Connection, id: str, at: datetime, by: str) -> ConsentRecord:  # noqa: A002
    """Withdraw a consent: stores its next version and returns it. Raises UnknownConsentError."""
    return end(connection, id, WordStatus.WITHDRAWN, at, by)


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
    return None if row is None else _record(row.document, row.kind)


@dataclass(frozen=True, slots=True)
class SubjectKeys:
    """The opaque ids whose words belong together for one question; only `gateway.person` knows which those are."""

    ids: tuple[str, ...]


def words_of(connection: Connection, keys: SubjectKeys) -> tuple[ConsentRecord, ...]:
    """The newest versions of all records of these subjects, oldest record first."""
    rows = _of(
        connection,
        "SELECT document, kind FROM consents WHERE current = 1 AND subject IN ({}) ORDER BY recorded_at, id",
        keys,
    )
    return tuple(_record(document, kind) for document, kind in rows)


def epochs_of(connection: Connection, keys: SubjectKeys) -> tuple[tuple[str, int], ...]:
    """How often the words of each of these subjects have changed; those that never had any are left out."""
    rows = _of(connection, "SELECT subject, epoch FROM consent_epochs WHERE subject IN ({})", keys)
    return tuple(sorted((str(subject), int(epoch)) for subject, epoch in rows))


def _of(connection: Connection, statement: str, keys: SubjectKeys) -> Sequence[Any]:
    """Run a statement that every exchange runs, handed to the driver as it is written."""
    place = "%s" if connection.dialect.name == "postgresql" else "?"
    return connection.exec_driver_sql(statement.format(", ".join([place] * len(keys.ids))), keys.ids).all()


def history(connection: Connection, id: str) -> tuple[ConsentRecord, ...]:  # noqa: A002
    """All versions of a record, oldest first; empty if there is none."""
    rows = connection.execute(_HISTORY, {"of": id})
    return tuple(_record(row.document, row.kind) for row in rows)


def versions(connection: Connection, named: Sequence[tuple[str, int]]) -> tuple[ConsentRecord, ...]:
    """The records of these ids and versions, in this order. Raises UnknownConsentError."""
    found = []
    for id_, version in named:
        row = connection.execute(_VERSION, {"of": id_, "as": version}).first()
        if row is None:
            raise UnknownConsentError(f"{id_} version {version}")
        found.append(_record(row.document, row.kind))
    return tuple(found)


def open_reports(connection: Connection) -> tuple[ConsentRecord, ...]:
    """The reports that nobody has confirmed or let lapse, oldest first, of all persons."""
    return tuple(_record(row.document, row.kind) for row in connection.execute(_REPORTS))


def _record(document: str, kind: str) -> ConsentRecord:
    """A version as it was stored. Former versions wrote no kind: the column tells it, of what has ended as well."""
    return ConsentRecord.from_dict({"kind": kind, **json.loads(document)})
