"""Nodes that are killed under load, as in a power cut, lose nothing of what they acknowledged and double nothing."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.gateway.running import Running
from tests.survive.load import NODES, Load, account, network, settled
from tests.survive.report import Recoveries, form, report

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

KILLS = form(6, 200)
#: How often a killed node is waited for before the next is: else nodes are killed while they start, too.
WAITS = 0.5


def test_nodes_killed_under_load_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    with network(tmp_path) as nodes:
        asyncio.run(_killing(nodes))


async def _killing(nodes: Running) -> None:
    draw, recoveries = random.Random(50), Recoveries()
    load = Load(nodes)
    async with load.at_work():
        await load.more(5)
        for _ in range(KILLS):
            await asyncio.sleep(draw.uniform(0.0, 0.4))
            name = draw.choice(NODES)
            nodes.processes.kill(f"{name}-node")
            with recoveries.timed():
                nodes.processes.start_node(name)
                if is_waited_for := draw.random() < WAITS:
                    await nodes.processes.ready()
            if not is_waited_for:
                recoveries.seconds.pop()
        await nodes.processes.ready()
        await load.more(5)
    await settled(nodes, load.told)
    report("killed", await account(nodes, load.told), recoveries)
