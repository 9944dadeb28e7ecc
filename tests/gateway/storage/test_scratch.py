"""Folders of a process: gone with it, and what a killed one left goes with the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.demo.leash import leashed
from gateway.storage.scratch import PREFIX, Scratch

_HOLD = """
import sys
from gateway.demo.leash import leashed
from gateway.storage.scratch import Scratch
mine = Scratch()
print(mine.folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory of the test's own, here and in what it starts."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield tmp_path
    tempfile.tempdir = None


def held() -> tuple[subprocess.Popen[str], Path]:
    """Another process with a folder of its own, that stays until it is ended."""
    process = subprocess.Popen(
        leashed([sys.executable, "-c", _HOLD]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_process_left_goes_and_what_a_living_one_holds_stays() -> None:
    killed, left = held()
    living, kept = held()
    (left / "1.key").write_bytes(b"key")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert left.exists(), "nobody has looked yet"

    mine = Scratch()

    assert not left.exists()
    assert kept.exists()
    assert mine.folder.stat().st_mode & 0o777 == 0o700
    living.communicate("")
    mine.close()
    mine.close()
    assert not mine.folder.exists()


def test_nothing_behind_a_link_and_nothing_of_another_user_is_removed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lock").touch()
    (place / f"{PREFIX}link").symlink_to(elsewhere)
    foreign = place / f"{PREFIX}foreign"
    foreign.mkdir()
    (foreign / "lock").touch()
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)

    Scratch().close()
    assert foreign.exists()
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(place))

    Scratch().close()
    assert (elsewhere / "lock").exists()
    assert not foreign.exists()
