"""A small file that is written in the place of another: whole, its owner's alone, there before all that follows."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.tree.checkpoint import Former, LogSigner
from gateway.demo.leash import leashed
from gateway.keys import durable, log_keys, ring
from gateway.keys.keystore import write_secret
from tests.full import disk_that_is_full
from tests.waiting import wait

NAME = "yhdyspinta/centre.test"


class PowerCutError(Exception):
    """The power was cut."""


def write_former(path: Path) -> None:
    old = LogSigner(Ed25519PrivateKey.generate(), NAME)
    log_keys.keep_former(path, [Former(old.verifier, old.sign(5, b"\x01" * 32).note)])


def write_keys(path: Path) -> None:
    ring.replace(path, [ring.new(), ring.new()])


WRITERS = pytest.mark.parametrize("write", [write_former, write_keys], ids=["log.former", "log.key"])


def make_secret(path: Path) -> None:
    write_secret(path, b"secret")


@pytest.mark.parametrize("write", [write_former, write_keys, make_secret], ids=["log.former", "log.key", "a new one"])
def test_full_disk_is_named_with_the_file_and_leaves_nothing_half_written(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    path = tmp_path / "file"

    with disk_that_is_full(), pytest.raises(OSError, match="File too large") as full:
        write(path)

    assert Path(full.value.filename).name.startswith("file")
    assert not list(tmp_path.iterdir())
    write(path)
    assert path.read_bytes()


@WRITERS
@pytest.mark.parametrize("umask", [0, 0o077])
def test_content_is_on_disk_before_its_name_and_the_name_before_anything_that_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None], umask: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"former")
    path.chmod(0o644)
    settled: list[tuple[bool, int, bytes]] = []
    sync = os.fsync

    def synced(descriptor: int) -> None:
        sync(descriptor)
        state = os.fstat(descriptor)
        settled.append((stat.S_ISDIR(state.st_mode), stat.S_IMODE(state.st_mode), path.read_bytes()))

    monkeypatch.setattr(os, "fsync", synced)
    before = os.umask(umask)
    try:
        write(path)
    finally:
        os.umask(before)

    (is_folder, mode, held), (is_folder_then, _, held_then) = settled
    assert (is_folder, mode, held) == (False, 0o600, b"former")
    assert (is_folder_then, held_then) == (True, path.read_bytes())
    assert held_then != b"former"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


@WRITERS
@pytest.mark.parametrize("stop", range(5))
def test_power_that_is_cut_anywhere_leaves_the_former_content_or_all_of_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None], stop: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"former")
    steps = [0]

    def stepping(call: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*given: Any, **named: Any) -> Any:
            if steps[0] == stop:
                raise PowerCutError
            steps[0] += 1
            return call(*given, **named)

        return stepped

    with monkeypatch.context() as cut:
        for name in ("open", "fsync", "replace"):
            cut.setattr(os, name, stepping(getattr(os, name)))
        with pytest.raises(PowerCutError):
            write(path)

    # The folder is opened and settled after the new name is there.
    assert (path.read_bytes() == b"former") is (stop < 3)
    write(path)
    assert path.read_bytes() != b"former"


def test_process_that_is_killed_while_it_writes_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "log.former"
    program = (
        "import sys; from pathlib import Path; from gateway.keys import durable\n"
        "for number in range(10**9): durable.replace(Path(sys.argv[1]), b'%019d\\n' % number * 5000)"
    )
    seen = []
    for _ in range(5):
        before = path.stat().st_ino if path.exists() else None
        process = subprocess.Popen(leashed([sys.executable, "-c", program, str(path)]))
        try:
            wait(lambda before=before: path.exists() and path.stat().st_ino != before)  # type: ignore[misc]
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        lines = path.read_bytes().splitlines()
        seen.append((len(lines), len(set(lines))))

    assert set(seen) == {(5000, 1)}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    durable.replace(path, b"last")
    assert path.read_bytes() == b"last"


def test_what_somebody_has_put_in_the_way_is_not_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, elsewhere = tmp_path / "log.former", tmp_path / "elsewhere"
    elsewhere.write_bytes(b"another's")
    in_the_way = tmp_path / f"log.former.{os.getpid()}"
    in_the_way.symlink_to(elsewhere)

    durable.replace(path, b"first")
    assert (path.read_bytes(), path.is_symlink(), elsewhere.read_bytes()) == (b"first", False, b"another's")

    def raced(self: Path) -> None:
        """Put there again between looking and writing."""
        self.symlink_to(elsewhere)

    monkeypatch.setattr(Path, "unlink", raced)
    with pytest.raises(FileExistsError):
        durable.replace(path, b"second")
    assert (path.read_bytes(), elsewhere.read_bytes()) == (b"first", b"another's")
