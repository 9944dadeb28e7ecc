"""Processes of nodes and systems, forked from one that has loaded what all of them load.

A node that is started from its file spends two thirds of its start on loading the same modules again. Each worker of
the tests has one process, the nursery, that loads them once, opens nothing and has a single thread; what is `born` of
it is a process of its own, with its own sockets, files, environment and folder, that then runs `python -m MODULE` as
any other. It dies with the nursery, and that with the tests. What is measured, and what looks at a start itself, is
started from its file: by `leashed`, as everything is where this system has no `pidfd_open`.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

from gateway.demo.leash import leashed
from gateway.demo.processes import Processes

_STATUS = struct.Struct("i")
#: What those that are born go on to load. None of them does anything when it is loaded.
_LOADED = (
    "gateway.cli.node",
    "gateway.node.node",
    "gateway.console.composition",
    "gateway.demo.systems",
    "alembic.command",
    "alembic.config",
    "pydantic.v1",
    "tuf.api.serialization.json",
    "uvicorn.lifespan.off",
)
_MOST_BYTES = 1 << 20


class Born(subprocess.Popen[bytes]):
    """A process that was forked from the nursery, which tells how it ended."""

    def __init__(self, pid: int, status: int, args: Sequence[str]) -> None:
        self.pid, self.args, self.returncode = pid, list(args), None  # type: ignore[assignment]
        self.stdin = self.stdout = self.stderr = None
        self._status = status

    def poll(self) -> int | None:
        """How it ended; None while it runs."""
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended. Raises TimeoutExpired."""
        found = self._look(timeout)
        if found is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return found

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            told = os.read(self._status, _STATUS.size)
            os.close(self._status)
            # A nursery that is gone tells nothing, and has taken it along.
            self.returncode = _STATUS.unpack(told)[0] if told else -signal.SIGKILL
        return self.returncode


class Nursery:
    """The process that has loaded everything, and the socket to it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        with theirs:
            # Not leashed: it may be a thread that starts it, and it ends when this socket is closed.
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def born(self, arguments: Sequence[str], folder: Path, output: int, environment: Mapping[str, str]) -> Born:
        """A process that runs `python ARGUMENTS` there: `-m`, a module and what that is given."""
        wanted = {"arguments": list(arguments), "folder": str(folder), "environment": dict(environment)}
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(wanted).encode()], [output])
            told, descriptors, _flags, _from = socket.recv_fds(self._socket, _MOST_BYTES, 1)
        assert told, "the nursery has ended"
        return Born(json.loads(told)["pid"], descriptors[0], [sys.executable, *arguments])

    def close(self) -> int:
        """End it, and with it whoever was born of it and still runs; returns how it ended."""
        self._socket.close()
        return self._process.wait()


@cache
def nursery() -> Nursery:
    """The one of this process."""
    return Nursery()


def started(
    arguments: Sequence[str], folder: Path, output: IO[bytes], environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """`python ARGUMENTS` in a folder, born of the nursery where it may be."""
    environment = os.environ if environment is None else environment
    if hasattr(os, "pidfd_open") and _of_python(environment) == _of_python(os.environ) and not _is_measured():
        return nursery().born(arguments, folder, output.fileno(), environment)
    return subprocess.Popen(
        leashed([sys.executable, *arguments]),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env={**environment, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )


def node_started(config: Path) -> subprocess.Popen[bytes]:
    """A node with these settings; what it says is kept beside them."""
    with config.with_suffix(".log").open("ab") as output:
        return started(["-m", "gateway", "node", "run", "--config", str(config)], config.parent, output)


def said(arguments: Sequence[str], folder: Path) -> str:
    """All that `python ARGUMENTS` says in a folder, on both streams. Raises AssertionError if it does not end well."""
    with tempfile.TemporaryFile() as output:
        ended = started(arguments, folder, output).wait()
        output.seek(0)
        text = output.read().decode()
    assert ended == 0, text
    return text


def _of_python(environment: Mapping[str, str]) -> dict[str, str]:
    """What the interpreter itself reads, as it starts, and nobody can make up for afterwards."""
    return {name: value for name, value in environment.items() if name.startswith("PYTHON") and name != "PYTHONPATH"}


def _is_measured() -> bool:
    return "COVERAGE_PROCESS_START" in os.environ


class Nursed(Processes):
    """The processes of a demo network, born of the nursery."""

    def _launch(self, arguments: list[str], folder: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
        return started(arguments, folder, output)


# -- the nursery's own side --------------------------------------------------------------------------------------------


def _serve(control: socket.socket) -> dict[str, Any] | None:
    """Fork whoever is asked for and tell how each ended, until nobody asks any more. In the child: what it is to be."""
    running: dict[int, tuple[int, int]] = {}
    while True:
        ready = select.select([control, *running], [], [])[0]
        for pidfd in (found for found in ready if found in running):
            pid, status = running.pop(pidfd)
            ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with contextlib.suppress(BrokenPipeError):
                os.write(status, _STATUS.pack(ended))
            os.close(status)
            os.close(pidfd)
        if control not in ready:
            continue
        asked, descriptors, _flags, _from = socket.recv_fds(control, _MOST_BYTES, 1)
        if not asked:
            return None
        readable, writable = os.pipe()
        parent, pid = os.getpid(), os.fork()
        if pid == 0:
            return _prepared(json.loads(asked), descriptors[0], parent)
        running[os.pidfd_open(pid)] = pid, writable
        socket.send_fds(control, [json.dumps({"pid": pid}).encode()], [readable])
        for descriptor in (readable, descriptors[0]):
            os.close(descriptor)


def _prepared(wanted: dict[str, Any], output: int, parent: int) -> dict[str, Any]:
    """Make this process what Popen would, of a session of its own, and leave nothing of the nursery's open."""
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    os.setsid()
    for stream in (1, 2):
        os.dup2(output, stream)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.chdir(wanted["folder"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    for text in (sys.stdout, sys.stderr):
        text.reconfigure(write_through=True)  # type: ignore[union-attr]
    return wanted


def _main() -> None:
    from importlib import import_module

    for name in _LOADED:
        import_module(name)
    # Whoever is born runs it as its program.
    del sys.modules["gateway.demo.systems"]
    assert len(os.listdir("/proc/self/task")) == 1, "a process with threads cannot be forked"
    control = socket.socket(fileno=int(sys.argv[1]))
    wanted = _serve(control)
    if wanted is None:
        return
    control.detach()
    module, *arguments = wanted["arguments"][1:]
    sys.argv[:] = [module, *arguments]
    # The folder first, then what is named, as where `python -m` starts.
    sys.path[0:1] = [wanted["folder"], *filter(None, wanted["environment"].get("PYTHONPATH", "").split(os.pathsep))]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
