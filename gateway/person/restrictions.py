"""What came about a person under the condition that it is not disclosed onward, and by which exchange."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, insert, select

from audit.log.entries import micros
from audit.log.statements import Counted, Fixed
from audit.questions.subjects import Subjects
from gateway.storage.tables import restrictions


@dataclass(frozen=True, slots=True)
class Restriction:
    """From whom it came, by which message, and by which basis each category."""

    message: str
    sender: str
    bases: Mapping[str, str]


def keep(connection: Connection, subjects: Sequence[str], restriction: Restriction, now: datetime) -> None:
    """Keep a restriction under each subject that its person is found under."""
    rows = [
        {
            "message": restriction.message,
            "subject": subject,
            "category": category,
            "sender": restriction.sender,
            "basis": basis,
            "at": micros(now),
        }
        for subject in dict.fromkeys(subjects)
        for category, basis in restriction.bases.items()
    ]
    if rows:
        connection.execute(insert(restrictions), rows)


def of(
    connection: Connection, subjects: Subjects, named: Sequence[tuple[str, str]], reached: Collection[str]
) -> frozenset[str]:
    """The categories that may not go on of whom these identifiers name, whoever has named them to us.

    A peer's message makes nobody known here, but the condition under which it brought something holds all the same.
    """
    if _ANY.row(connection) is None:
        return frozenset()
    met = {subject.id for system, value in named for subject in subjects.all_of(connection, system, value)}
    ids = sorted({*met, *reached})
    return frozenset(category for (category,) in _CATEGORIES.rows(connection, ids)) if ids else frozenset()


_ANY: Final = Fixed(select(restrictions.c.subject).limit(1))
_CATEGORIES: Final = Counted(
    lambda ids: select(restrictions.c.category).where(restrictions.c.subject.in_(ids)).distinct()
)
