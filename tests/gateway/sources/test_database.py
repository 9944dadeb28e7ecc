"""A query on the source's own database: every row, in order, each change once."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Column, DateTime, Integer, MetaData, String, Table, create_engine, insert, update

from adapters.sdk import load
from gateway.sources.batches import RowsBatch, SourceError
from gateway.sources.database import Database, Query
from gateway.sources.progress import Progress
from gateway.storage import engine as storage
from tests.gateway.sources.conftest import Sink, columns, drain, feed_of, row

METADATA = MetaData()
CLIENTS = Table(
    "clients",
    METADATA,
    Column("number", String(20), primary_key=True),
    Column("born", String(20)),
    Column("touched", DateTime, nullable=False),
    Column("version", Integer, nullable=False),
)
START = datetime(2026, 11, 1, 8, 0)  # noqa: DTZ001 - as such databases hold them


def query() -> str:
    """What the organisation writes: all columns that the mapping knows, most of them empty."""
    known = {"ASIAKASNUMERO": "number", "SYNTYMAAIKA": "born"}
    fixed = row("x")
    chosen = [f'{known.get(one, repr(fixed.get(one, "")))} AS "{one}"' for one in columns()]
    return f"SELECT {', '.join(chosen)}, touched, version, number FROM clients WHERE born <> ''"


@pytest.fixture(params=["sqlite", "postgresql"])
def register_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The database of the source system: not the node's."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'register.db'}"
    url: str = request.getfixturevalue("postgresql_url")
    return str(storage.make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False))


@pytest.fixture
def books_on_sqlite(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'node.db'}"


@pytest.fixture
def database_url(books_on_sqlite: str) -> str:
    return books_on_sqlite


def source(url: str, **how: object) -> Database:
    settings: dict[str, object] = {"changed": "touched", "key": "number", "page": 3} | how
    return Database(create_engine(url), Query(query(), **settings), load("reception-centre-csv"))  # type: ignore[arg-type]


async def test_every_row_is_taken_once_although_many_changed_in_one_moment(
    register_url: str, books: Progress, tmp_path: Path
) -> None:
    engine, sink = create_engine(register_url), Sink()
    METADATA.create_all(engine)
    with engine.begin() as connection:
        for number in range(10):
            connection.execute(
                insert(CLIENTS), {"number": f"A{number}", "born": "5.2.1990", "touched": START, "version": 1}
            )
    feed = feed_of(source(register_url), sink, books, tmp_path / "reports")

    await drain(feed)
    with engine.begin() as connection:
        connection.execute(
            update(CLIENTS).where(CLIENTS.c.number == "A4").values(born="6.2.1990", touched=START + timedelta(hours=1))
        )
    await feed.stop()
    later = feed_of(source(register_url), sink, books, tmp_path / "reports")
    await drain(later)

    assert sink.people == [*(f"A{number}" for number in range(10)), "A4"]
    assert sink.calls == 11, "after a restart only what has changed is read"
    await later.stop()
    engine.dispose()


async def test_what_a_person_has_several_of_comes_by_a_query_of_its_own(register_url: str) -> None:
    engine = create_engine(register_url)
    METADATA.create_all(engine)
    needs = Table(
        "needs", MetaData(), Column("number", String(20)), Column("code", String(20)), Column("since", DateTime)
    )
    needs.create(engine)
    with engine.begin() as connection:
        for number in ("A1", "A2"):
            row = {"number": number, "born": "5.2.1990", "touched": START, "version": 1}
            connection.execute(insert(CLIENTS), row)
        for number, code in (("A2", "housing"), ("A2", "social-work"), ("A9", "housing")):
            connection.execute(insert(needs), {"number": number, "code": code, "since": START})

    batch = await source(register_url, children={"TARPEET": "SELECT number, code, since FROM needs"}).poll(None)

    assert isinstance(batch, RowsBatch)
    held = {record.key: record.fields["TARPEET"] for record in batch.records}
    assert held["A1"] == []
    assert sorted(need["code"] for need in held["A2"]) == ["housing", "social-work"]
    assert set(held["A2"][0]) == {"code", "since"}
    engine.dispose()


async def test_rows_that_became_visible_late_are_found_by_the_overlap(
    register_url: str, books: Progress, tmp_path: Path
) -> None:
    engine, sink = create_engine(register_url), Sink()
    METADATA.create_all(engine)

    def add(number: str, minute: int) -> None:
        with engine.begin() as connection:
            touched = START + timedelta(minutes=minute)
            connection.execute(
                insert(CLIENTS), {"number": number, "born": "5.2.1990", "touched": touched, "version": 1}
            )

    feed = feed_of(source(register_url, overlap_seconds=600), sink, books, tmp_path / "reports")
    add("A1", 1)
    add("A3", 3)
    await drain(feed)
    add("A2", 2)  # its transaction ended after that of A3
    await drain(feed)

    assert sink.people == ["A1", "A3", "A2"]
    await feed.stop()
    engine.dispose()


async def test_a_query_without_the_columns_of_the_mapping_says_which(
    register_url: str, books: Progress, tmp_path: Path
) -> None:
    engine = create_engine(register_url)
    METADATA.create_all(engine)
    bare = Database(
        create_engine(register_url),
        Query('SELECT number AS "ASIAKASNUMERO", number, touched FROM clients', changed="touched", key="number"),
        load("reception-centre-csv"),
    )

    with pytest.raises(SourceError, match=r"lacks these columns of the mapping: .*SUKUNIMI"):
        await bare.poll(None)

    await bare.close()
    engine.dispose()


async def test_a_query_that_fails_shows_neither_address_nor_rows(tmp_path: Path) -> None:
    broken = Database(
        create_engine(f"sqlite:///{tmp_path / 'none.db'}"),
        Query("SELECT secret FROM nowhere", changed="touched", key="number"),
        load("reception-centre-csv"),
    )

    with pytest.raises(SourceError) as caught:
        await broken.poll(None)

    assert caught.value.code == "source-unreachable"
    assert "nowhere" not in str(caught.value)
    await broken.close()
