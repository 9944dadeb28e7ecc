"""A process that is born of the nursery is one like any other: what it has is its own, and it ends as it should."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.nursery import Nursery, nursery, said, started
from tests.waiting import wait

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system forks no nodes for tests")
LOOK = """
import json, os, socket, sys
open_files = [int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]
print(json.dumps([open_files, os.getcwd(), sys.argv[1:], __name__, os.getsid(0) == os.getpid(), dict(os.environ)]))
"""
SLEEP = "import time; print('here'); time.sleep(100_000)"


def test_it_has_its_own_files_folder_arguments_session_and_environment(tmp_path: Path) -> None:
    (tmp_path / "look.py").write_text(LOOK)

    files, folder, arguments, name, leads, environment = json.loads(said(["-m", "look", "a b", "--c"], tmp_path))

    assert files == [0, 1, 2], "neither the nursery's socket nor the ends of others"
    assert (folder, arguments, name, leads) == (str(tmp_path), ["a b", "--c"], "__main__", True)
    assert environment == dict(os.environ)


def test_it_ends_as_it_says_and_can_be_killed(tmp_path: Path) -> None:
    (tmp_path / "seven.py").write_text("raise SystemExit(7)")
    (tmp_path / "sleep.py").write_text(SLEEP)
    with (tmp_path / "output").open("wb") as output:
        assert started(["-m", "seven"], tmp_path, output).wait() == 7
        sleeping = started(["-m", "sleep"], tmp_path, output)
    wait((tmp_path / "output").read_text, lambda seen: seen == "here\n")

    assert sleeping.poll() is None
    sleeping.kill()
    assert (sleeping.wait(), sleeping.poll()) == (-signal.SIGKILL, -signal.SIGKILL)


def test_it_ends_with_the_nursery_and_that_with_the_tests(tmp_path: Path) -> None:
    (tmp_path / "sleep.py").write_text(SLEEP)
    own = Nursery()
    with (tmp_path / "output").open("wb") as output:
        sleeping = own.born(["-m", "sleep"], tmp_path, output.fileno(), os.environ)
    own.close()

    assert sleeping.wait() == -signal.SIGKILL
    assert own.close() == 0
    assert nursery() is nursery(), "one for all tests of this process"
