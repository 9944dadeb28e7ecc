"""Two replicas on one PostgreSQL, of which one is killed again and again, lose nothing and double nothing."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
from pathlib import Path

import pytest

from tests.gateway.running import Replica, Running, ready
from tests.survive.load import NODES, Load, account, network, settled
from tests.survive.report import Recoveries, form, report
from tests.survive.test_database import cluster
from tests.waiting import living

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

KILLS = form(3, 30)


def test_replica_killed_while_both_are_ready_loses_nothing_and_doubles_nothing(tmp_path: Path, cluster) -> None:  # type: ignore[no-untyped-def]
    for party in NODES:
        url = cluster.create(party)
    with network(tmp_path, database=url.replace(f"/{party}?", "/{name}?")) as nodes:
        asyncio.run(_killing(nodes, Replica.of(nodes.party("centre"), tmp_path / "cache")))


async def _killing(nodes: Running, second: Replica) -> None:
    draw, recoveries = random.Random(30), Recoveries()
    first = nodes.party("centre")
    process = second.start()
    load = Load(nodes, [first.address, f"https://localhost:{second.ports['clients']}"])
    try:
        async with load.at_work():
            for _ in range(KILLS):
                await nodes.processes.ready()
                await ready(second.ports["local"], living(process))
                await load.more(5)
                with recoveries.timed():
                    process = await _killed(nodes, second, process, is_first=draw.random() < 0.5)
                    await load.more(1)
            await nodes.processes.ready()
            await ready(second.ports["local"], living(process))
        await settled(nodes, load.told)
    finally:
        process.terminate()
        process.wait()
    report("replicas", await account(nodes, load.told), recoveries)


async def _killed(
    nodes: Running, second: Replica, process: subprocess.Popen[bytes], *, is_first: bool
) -> subprocess.Popen[bytes]:
    """Kill one of the two and start it again; gives the second's process."""
    if is_first:
        nodes.processes.kill("centre-node")
        nodes.processes.start_node("centre")
        return process
    process.send_signal(signal.SIGKILL)
    process.wait()
    return second.start()


__all__ = ["cluster"]
