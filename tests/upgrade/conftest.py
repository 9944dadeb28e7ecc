"""A year of the first release, on both kinds of database."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.storage import engine as storage
from tests.databases import postgresql_server
from tests.gateway.exchange.inprocess import InProcess, Place, node
from tests.upgrade.former import Clock, Year, restore

__all__ = ["postgresql_server"]


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place.build(tmp_path_factory.mktemp("upgrade"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def year(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Year]:
    """Fresh copies of the databases, which no code of today has opened."""
    urls: dict[str, str] = {}
    if request.param == "sqlite":
        urls = {party: f"sqlite:///{tmp_path / party}.db" for party in ("centre", "kotka")}
        for party, url in urls.items():
            restore(url, party)
        yield Year("sqlite", urls)
        return
    server: str = request.getfixturevalue("postgresql_server")
    admin = storage.create(server).execution_options(isolation_level="AUTOCOMMIT")
    for party in ("centre", "kotka"):
        name = f"{party}_{uuid.uuid4().hex}"
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        urls[party] = storage.make_url(server).set(database=name).render_as_string(hide_password=False)
        restore(urls[party], party)
    yield Year("postgresql", urls)
    with admin.connect() as connection:
        for url in urls.values():
            connection.execute(text(f"DROP DATABASE IF EXISTS {storage.make_url(url).database} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
async def centre(place: Place, year: Year, clock: Clock) -> AsyncIterator[InProcess]:
    """The centre's node of today over its database of the first release."""
    async with node(place, year.urls["centre"], clock=clock) as here:
        year.register(here)
        yield here


@pytest.fixture
async def kotka(place: Place, year: Year, clock: Clock) -> AsyncIterator[InProcess]:
    """The same of the municipality."""
    async with node(place, year.urls["kotka"], clock=clock, of="kotka") as here:
        yield here
