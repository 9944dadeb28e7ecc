"""The migrations make the tables that the code works with, on both kinds of database, and can meet each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine, insert, inspect, select, text

from audit.log.tables import archives, flows, processing
from gateway.storage import engine as storage
from gateway.storage import schema
from gateway.storage.tables import inbox, replays


def test_migrations_make_exactly_the_tables_that_the_code_works_with(engine: Engine) -> None:
    schema.bring_up_to_date(engine)

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, list(schema.METADATA))
    assert differences == []
    held, newest = schema.revision(engine)
    assert held == newest is not None


def test_newest_revision_is_the_head_of_the_migrations(engine: Engine) -> None:
    with engine.connect() as connection:
        scripts = ScriptDirectory.from_config(schema._config(connection))

    assert schema.newest() == scripts.get_current_head()


def test_database_of_a_later_version_is_refused(engine: Engine) -> None:
    schema.bring_up_to_date(engine)
    with storage.writer(engine).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(CommandError, match="9999"):
        schema.bring_up_to_date(engine)


def test_migrating_twice_or_at_once_changes_nothing_more(engine: Engine) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: schema.bring_up_to_date(engine), range(4)))
    with engine.begin() as connection:
        connection.execute(insert(replays), {"message_id": "m-1", "expires": 1})

    schema.bring_up_to_date(engine)

    with engine.connect() as connection:
        assert connection.scalars(select(replays.c.message_id)).all() == ["m-1"]
    assert {"audit_entries", "consents", "inbox"} <= set(inspect(engine).get_table_names())


def test_rows_of_a_former_version_are_numbered_in_the_order_of_their_ids_and_new_ones_after_them(
    engine: Engine,
) -> None:
    """A replica of the former version may still insert, without the columns that it does not know."""
    held = dict.fromkeys(
        ("handover", "flow", "purpose", "categories", "subject", "state", "digest", "entry", "kind"), "x"
    ) | {"received": 1, "changed": 1}
    row = text(
        "INSERT INTO inbox (id, delivery, sender, recipient, " + ", ".join(held) + ") VALUES (:id, :id, 's', 'r', "
        + ", ".join(f":{name}" for name in held) + ")"
    )  # fmt: skip
    with storage.writer(engine).begin() as connection:
        command.upgrade(schema._config(connection), "0001")
        for identifier in ("c", "a", "b"):
            connection.execute(row, held | {"id": identifier})

    schema.bring_up_to_date(engine)

    with storage.writer(engine).begin() as connection:
        for identifier in ("0", "d"):
            connection.execute(row, held | {"id": identifier})
        found = connection.execute(select(inbox.c.id).order_by(inbox.c.number)).scalars().all()
        assert found == ["a", "b", "c", "0", "d"]
        assert connection.execute(select(inbox.c.number).order_by(inbox.c.number)).scalars().all() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("url", ["mysql://localhost/x", "oracle://localhost/x"])
def test_other_databases_are_refused_in_words(url: str) -> None:
    with pytest.raises(storage.UnsupportedDatabaseError, match="a node runs on SQLite or PostgreSQL"):
        storage.create(url)


def test_sqlite_commits_survive_a_power_cut_by_its_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    engine = storage.create(f"sqlite:///{tmp_path_factory.mktemp('db') / 'node.db'}")

    with engine.connect() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }

    engine.dispose()
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_database_that_others_could_read_is_closed_to_them_when_it_is_opened(tmp_path: Path) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    old.touch()
    old.chmod(0o644)

    for path in (old, new):
        engine = storage.create(f"sqlite:///{path}")
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE t (x)")
        modes = {item.name: item.stat().st_mode & 0o777 for item in tmp_path.glob(f"{path.name}*")}
        assert set(modes.values()) == {0o600}
        engine.dispose()


@pytest.mark.parametrize(("pruned", "left"), [(None, []), ("2024-11", [2024])], ids=["all here", "a year not all here"])
def test_what_went_from_whom_to_whom_is_counted_anew(engine: Engine, pruned: str | None, left: list[int]) -> None:
    """A former version counted notices as disclosures. A year that is not all here cannot be counted again."""
    with engine.begin() as connection:
        command.upgrade(schema._config(connection), "0008")
    sums = {"source": "a", "recipient": "b", "released": 9, "refused": 0, "fruitless": 0}
    with storage.writer(engine).begin() as connection:
        for year in (2024, 2025, 2026):
            connection.execute(insert(flows), {"day": date(year, 6, 1).toordinal(), **sums})
            connection.execute(insert(processing), {"year": year, "purpose": "", **sums})
        if pruned is not None:
            month = {"month": pruned, "folder": "f", "digest": "d", "archived": 1, "pruned": 2}
            connection.execute(insert(archives), {"first": 0, "through": 9, **month})

    schema.bring_up_to_date(engine)

    with engine.connect() as connection:
        assert [date.fromordinal(day).year for day in connection.scalars(select(flows.c.day))] == left
        assert connection.scalars(select(processing.c.year)).all() == left
