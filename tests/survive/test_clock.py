"""A node whose clock jumps under load, an hour ahead or a quarter back, loses nothing and doubles nothing."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path

import pytest

from tests import parts
from tests.gateway.running import Running
from tests.survive.load import Load, account, network, settled
from tests.survive.report import Recoveries, form, report

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TIMES = form(1, 10)
JUMPS = (timedelta(hours=1), timedelta(), -timedelta(minutes=15), timedelta())
MACHINES = ("x86_64-linux-gnu", "aarch64-linux-gnu")
LIBRARIES = tuple(f"/usr/lib/{machine}/faketime/libfaketimeMT.so.1" for machine in MACHINES)


class Clock:
    """The wall clock of a process, which a file tells how far it is off. What is monotonic goes on as it is."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(timedelta())

    def set(self, off: timedelta) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{off.total_seconds():+.0f}\n")
        fresh.rename(self._file)

    def environment(self) -> dict[str, str]:
        library = parts.file("libfaketime", LIBRARIES, "Install it (Debian: apt-get install faketime).")
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }


@pytest.mark.parametrize("party", ["centre", "kotka"])
def test_clock_that_jumps_under_load_loses_nothing_and_doubles_nothing(
    tmp_path: Path, party: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(tmp_path / "clock")
    environment = clock.environment()
    with network(tmp_path, age=timedelta(hours=1)) as nodes:
        nodes.processes.kill(f"{party}-node")
        with monkeypatch.context() as context:
            for name, value in environment.items():
                context.setenv(name, value)
            nodes.processes.start_node(party)
        assert "LD_PRELOAD" not in os.environ
        asyncio.run(_jumping(nodes, clock, party))


async def _jumping(nodes: Running, clock: Clock, party: str) -> None:
    load, recoveries = Load(nodes), Recoveries()
    await nodes.processes.ready()
    async with load.at_work():
        for _ in range(TIMES):
            for off in JUMPS:
                await load.more(10)
                clock.set(off)
                if off == timedelta():
                    continue
                # Orders are taken as before; what comes of messages meanwhile is not said here.
                orders = len(load.told.handovers)
                await load.more_handovers(orders + 10)
        with recoveries.timed():
            await load.more(10)
    await settled(nodes, load.told)
    report(f"clock-{party}", await account(nodes, load.told, has_other_clock=party), recoveries)
