"""What the records of our registers named before: by it a register that names another value corrects itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from audit.log.entries import micros
from audit.log.statements import Fixed
from audit.questions.subjects import Known, Subjects
from gateway.person.values import Named
from gateway.storage.tables import register_records

_FORMER = Fixed(
    select(register_records.c.system, register_records.c.subject)
    .where(register_records.c.register == bindparam("name"), register_records.c.record == bindparam("key"))
    .order_by(register_records.c.at),
    "name",
    "key",
)
_REMEMBER = Fixed.insert(
    register_records, "register", "record", "system", "subject", "at",
    otherwise="ON CONFLICT (register, record, system, subject) DO UPDATE SET at = excluded.at",
)  # fmt: skip


def named_before(connection: Connection, subjects: Subjects, named: Named) -> dict[str, str]:
    """The subject of each system that the register's record of this key named last."""
    if named.register is None or named.key is None:
        return {}
    for record in subjects.records(named.register.name, named.key):
        rows = _FORMER.rows(connection, named.register.name, record)
        if rows:
            return dict(rows)  # of several the last one
    return {}


def remember(connection: Connection, subjects: Subjects, named: Named, met: Sequence[Known], now: datetime) -> None:
    """Keep what the record of this key names now."""
    if named.register is None or named.key is None:
        return
    # A register's own key is often an identifier of a person: it is kept as a keyed hash only.
    record = subjects.records(named.register.name, named.key)[0]
    for item in met:
        for subject in item.subjects[:1]:
            _REMEMBER.run(connection, named.register.name, record, item.system, subject.id, micros(now))
