"""The processes of the demo: a node and an information system for each organisation, started, watched and stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from aiohttp import ClientError, ClientSession, ClientTimeout

from gateway.demo.leash import leashed
from gateway.demo.network import Network
from gateway.demo.organisations import Party
from gateway.demo.patience import Patience
from gateway.demo.ports import LOOPBACK

READY = 200
T = TypeVar("T")


class ProcessError(Exception):
    """A process of the demo did not start or ended by itself; names its log file."""


class Processes:
    """All processes of a demo network. Each writes what it has to say into a log file in its organisation's folder."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start_node(self, name: str) -> None:
        """Start the node of an organisation."""
        party = self.network.parties[name]
        self._start(f"{name}-node", party, ["-m", "gateway", "node", "run", "--config", str(party.config)], "node.log")

    def start_system(self, name: str) -> None:
        """Start the information system of an organisation."""
        party = self.network.parties[name]
        self._start(
            f"{name}-system", party, ["-m", "gateway.demo.systems", str(party.folder / "system.json")], "system.log"
        )

    def start(self) -> None:
        """Start everything."""
        for name in self.network.parties:
            self.start_node(name)
            self.start_system(name)

    def process(self, name: str) -> subprocess.Popen[bytes]:
        """A running process, `NAME-node` or `NAME-system`."""
        return self._running[name]

    def kill(self, process: str) -> None:
        """End a process as a power cut would."""
        running = self._running.pop(process)
        running.send_signal(signal.SIGKILL)
        running.wait()

    def stop(self) -> None:
        """Ask all to stop, systems before nodes, and see that they do."""
        for process in sorted(self._running, reverse=True):
            self._running[process].terminate()
        until = time.monotonic() + 15
        for running in self._running.values():
            try:
                running.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
        self._running.clear()

    def check(self) -> None:
        """Raises ProcessError if a process has ended by itself."""
        for name, running in self._running.items():
            if running.poll() is not None:
                party = self.network.parties[name.rsplit("-", 1)[0]]
                log = party.folder / f"{name.rsplit('-', 1)[1]}.log"
                raise ProcessError(f"{name} ended with {running.returncode}: {_tail(log)} (all of it: {log})")

    async def ready(self, names: Collection[str] | None = None) -> None:
        """Wait until the running nodes can move data and the running systems are up, or only those named.

        Raises ProcessError if one ends by itself, or if nothing has changed about any of them for minutes.
        """
        waiting = {name: self._place(name) for name in self._running if names is None or name in names}
        patience = Patience()
        async with ClientSession(timeout=ClientTimeout(total=30)) as session:
            while True:
                self.check()
                answers = {name: await _answer(session, url) for name, url in waiting.items()}
                if all(status == READY for status in answers.values()):
                    return
                if patience.is_over(answers):
                    missing = ", ".join(waiting[name] for name, status in answers.items() if status != READY)
                    raise ProcessError(f"not ready, unchanged for {patience.stalled_seconds:.0f} seconds: {missing}")
                await asyncio.sleep(0.05)

    async def while_alive(self, work: Awaitable[T]) -> T:
        """Do something that needs all processes. Raises ProcessError as soon as one of them has ended by itself."""
        doing = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({doing}, timeout=0.2))[0]:
                self.check()
        finally:
            doing.cancel()
        return doing.result()

    def _place(self, name: str) -> str:
        """Where a process tells whether it is ready."""
        organisation, kind = name.rsplit("-", 1)
        party = self.network.parties[organisation]
        return f"http://{LOOPBACK}:{party.local}/ready" if kind == "node" else f"http://{LOOPBACK}:{party.system}/up"

    def _start(self, name: str, party: Party, arguments: list[str], log: str) -> None:
        with os.fdopen(os.open(party.folder / log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
            self._running[name] = self._launch(arguments, party.folder, output)

    def _launch(self, arguments: list[str], folder: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            leashed([sys.executable, *arguments]),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )


@contextmanager
def running(network: Network, processes: Processes | None = None) -> Iterator[Processes]:
    """All processes of a network, stopped at the end whatever happens."""
    processes = processes or Processes(network)
    try:
        processes.start()
        yield processes
    finally:
        processes.stop()


async def _answer(session: ClientSession, url: str) -> int | None:
    """The status of an answer; None if there was none."""
    try:
        async with session.get(url) as answer:
            return answer.status
    except (ClientError, OSError, TimeoutError):
        return None


def _tail(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").strip().splitlines() if log.exists() else []
    return lines[-1][:300] if lines else "it wrote nothing"
