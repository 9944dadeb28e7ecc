"""Find the data subject of an exchange and the consents that stand, as of now.

What is read here can change before an answer leaves. `Person.epoch` is what the release is held against: the
transaction that records a release compares it under the log's lock, and a withdrawal stored in between makes it
StaleError.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine

from audit.subjects import Subject, Subjects
from consent import store as consents
from consent.consents import ConsentRecord

Identifiers = Sequence[tuple[str, str]]


class StaleError(Exception):
    """The subject's consents, or the rulebook, changed between the decision and its record; decide again."""


@dataclass(frozen=True, slots=True)
class Person:
    """A data subject as this node knows them: None if it has never heard of them, and then no consent stands."""

    subject: Subject | None
    consents: tuple[ConsentRecord, ...]
    epoch: int


class People:
    """The data subjects of this node's database."""

    def __init__(self, engine: Engine, subjects: Subjects) -> None:
        self._engine = engine
        self._subjects = subjects
        self._readers = ThreadPoolExecutor(max_workers=4, thread_name_prefix="reader")

    async def recall(self, identifiers: Identifiers) -> Person:
        """Read who it is and which consents stand. Creates nothing."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._recall, identifiers)

    def _recall(self, identifiers: Identifiers) -> Person:
        with self._engine.connect() as connection, connection.begin():
            return self.recall_in(connection, identifiers)

    def recall_in(self, connection: Connection, identifiers: Identifiers) -> Person:
        """The same inside a transaction."""
        for system, value in identifiers:
            subject = self._subjects.find(connection, system, value)
            if subject is not None:
                return Person(
                    subject,
                    consents.for_subject(connection, subject.id),
                    consents.epoch(connection, subject.id),
                )
        return Person(None, (), 0)

    def settle(self, connection: Connection, identifiers: Identifiers, person: Person, now: datetime) -> Subject:
        """In the transaction that records a release: the subject, known from now on. Raises StaleError."""
        subject = self._subjects.resolve(connection, identifiers, now)
        if consents.epoch(connection, subject.id) != person.epoch:
            raise StaleError
        return subject

    def close(self) -> None:
        """End the reader threads."""
        self._readers.shutdown()
