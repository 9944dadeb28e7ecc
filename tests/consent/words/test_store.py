"""Consent records in a real database of each kind: every version stays, and every change steps the person's epoch."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, Engine, func, select

from consent.words import store
from consent.words.consents import ConsentRecord, Stamp, WordStatus
from consent.words.tables import consents, metadata
from tests.consent.words.test_consents import FORM

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def form(id_: str = "c1", subject: str = "s-1", status: str = "active") -> ConsentRecord:
    return ConsentRecord.from_form({**FORM, "status": status}, Stamp(id_, subject, "FI/MUN/1/x", AT))


@pytest.fixture
def database(engine: Engine) -> Engine:
    metadata.create_all(engine)
    return engine


def words(connection: Connection, *subjects: str) -> tuple[ConsentRecord, ...]:
    return tuple(store.read_version(document, kind) for document, kind in connection.execute(store.words(subjects)))


def changes(connection: Connection, *subjects: str) -> tuple[tuple[str, int], ...]:
    return tuple((subject, epoch) for subject, epoch in connection.execute(store.changes(subjects)))


def test_change_adds_a_version_and_overwrites_none(database: Engine) -> None:
    with database.begin() as connection:
        store.add(connection, form())
        store.end(connection, "c1", WordStatus.WITHDRAWN, AT, "FI/MUN/1/x")

    with database.connect() as connection:
        versions = store.history(connection, "c1")
        assert [(one.version, one.status) for one in versions] == [(1, "active"), (2, "withdrawn")]
        assert store.current(connection, "c1") == versions[1]
        assert words(connection, "s-1") == (versions[1],)
        assert store.versions(connection, [("c1", 2), ("c1", 1)]) == (versions[1], versions[0])
        assert connection.execute(select(func.count()).select_from(consents)).scalar_one() == 2


def test_epoch_steps_with_every_change_of_this_person_and_of_no_other(database: Engine) -> None:
    with database.begin() as connection:
        assert changes(connection, "s-1") == ()
        store.add(connection, form())
        store.add(connection, form("c2", status="refused"))
        store.add(connection, form("c3", "s-2"))
        store.end(connection, "c1", "entered-in-error", AT, "x")

        assert changes(connection, "s-1") == (("s-1", 3),)
        assert changes(connection, "s-2") == (("s-2", 1),)


def test_undone_transaction_leaves_nothing(database: Engine) -> None:
    with database.connect() as connection:
        store.add(connection, form())
        connection.rollback()

    with database.connect() as connection:
        assert store.current(connection, "c1") is None
        assert changes(connection, "s-1") == ()


def test_what_is_not_there_is_said(database: Engine) -> None:
    with database.begin() as connection:
        with pytest.raises(store.UnknownConsentError):
            store.end(connection, "nothing", WordStatus.WITHDRAWN, AT, "x")
        store.add(connection, form())
        with pytest.raises(store.UnknownConsentError):
            store.versions(connection, [("c1", 7)])
        assert store.history(connection, "nothing") == ()


def test_same_version_cannot_be_stored_twice(database: Engine) -> None:
    from sqlalchemy.exc import IntegrityError

    with database.begin() as connection:
        store.add(connection, form())

    with pytest.raises(IntegrityError), database.begin() as connection:
        store.add(connection, replace(form(), categories=frozenset({"finances"})))

    with database.connect() as connection:
        assert store.current(connection, "c1") == form()
