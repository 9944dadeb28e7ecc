"""A node whose disk is full acknowledges and releases nothing, says that it is not ready, and recovers by itself."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import aiohttp
import pytest

from gateway.demo.network import Network
from tests.gateway.running import LOOPBACK, Running
from tests.survive.load import Load, account, network, settled
from tests.survive.report import Recoveries, form, report
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TIMES = form(2, 10)
REFUSED = form(5, 50)
SIZE = 64 * 1024 * 1024


class Disk(Protocol):
    """What the centre's node writes to."""

    def fill(self, nodes: Running) -> None:
        """Leave no room."""

    def free(self, nodes: Running) -> None:
        """Leave room again."""


class FileSystem:
    """A file system of its own, in memory; for who may mount one."""

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def fill(self, nodes: Running) -> None:
        with self._ballast.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass

    def free(self, nodes: Running) -> None:
        self._ballast.unlink()


class Quota:
    """A limit on the size of the process's files, which anybody may set on what is one's own."""

    def fill(self, nodes: Running) -> None:
        self._limit(nodes, 1)

    def free(self, nodes: Running) -> None:
        self._limit(nodes, resource.RLIM_INFINITY)

    def _limit(self, nodes: Running, most: int) -> None:
        process = nodes.processes.process("centre-node").pid
        resource.prlimit(process, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """A small file system of its own at this folder."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("no file system can be mounted here; the run with a quota shows the same")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("kind", ["quota", "file-system"])
def test_full_disk_acknowledges_and_releases_nothing_and_recovers_by_itself(tmp_path: Path, kind: str) -> None:
    if kind == "quota":
        with network(tmp_path) as nodes:
            asyncio.run(_filling(nodes, Quota(), kind))
        return
    with mounted(tmp_path / "disk") as folder:

        def move(built: Network) -> None:
            config = built.parties["centre"].config
            text = config.read_text("utf-8").replace("sqlite:///node.db", f"sqlite:///{folder / 'node.db'}")
            config.write_text(text, "utf-8")
            os.symlink(folder / "node.db", config.parent / "node.db")

        with network(tmp_path, prepare=move) as nodes:
            asyncio.run(_filling(nodes, FileSystem(folder), kind))


async def _filling(nodes: Running, disk: Disk, kind: str) -> None:
    load, recoveries = Load(nodes), Recoveries()
    async with load.at_work():
        await load.more(10)
        for _ in range(TIMES):
            disk.fill(nodes)
            refused = load.told.refused.total()
            # Nobody is served by a face that can record nothing.
            await until(lambda: _ready(nodes), lambda status: status == 503, alive=load.alive)
            await until(
                load.told.refused.total,
                lambda seen, refused=refused: seen >= refused + REFUSED,
                alive=load.alive,
            )
            acknowledged = load.told.exchanges
            await until(
                load.told.refused.total,
                lambda seen, refused=refused: seen >= refused + 2 * REFUSED,
                alive=load.alive,
            )
            assert load.told.exchanges == acknowledged, "something was acknowledged that could not be recorded"
            disk.free(nodes)
            with recoveries.timed():
                await until(lambda: _ready(nodes), lambda status: status == 200, alive=load.alive)
            await load.more(10)
    assert any(status == 503 for status, _ in load.told.refused)
    await settled(nodes, load.told)
    report(f"disk-{kind}", await account(nodes, load.told), recoveries)


async def _ready(nodes: Running) -> int:
    url = f"http://{LOOPBACK}:{nodes.party('centre').local}/ready"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status
