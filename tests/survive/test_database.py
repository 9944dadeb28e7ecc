"""A PostgreSQL server that crashes and comes back under load takes nothing with it that was acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import Cluster
from tests.gateway.running import Running
from tests.survive.load import NODES, Load, account, network, settled
from tests.survive.report import Recoveries, form, report

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CRASHES = form(2, 10)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A server that this test alone uses, for it crashes."""
    found = Cluster()
    try:
        yield found
    finally:
        found.end()


def test_database_that_crashes_under_load_loses_nothing_and_doubles_nothing(tmp_path: Path, cluster: Cluster) -> None:
    for party in NODES:
        url = cluster.create(party)
    with network(tmp_path, database=url.replace(f"/{party}?", "/{name}?")) as nodes:
        asyncio.run(_crashing(nodes, cluster))


async def _crashing(nodes: Running, cluster: Cluster) -> None:
    load, recoveries = Load(nodes), Recoveries()
    async with load.at_work():
        await load.more(10)
        for _ in range(CRASHES):
            await asyncio.to_thread(cluster.crash)
            with recoveries.timed():
                await asyncio.to_thread(cluster.start)
                await load.more(1)
            await nodes.processes.ready()
            await load.more(10)
    await settled(nodes, load.told)
    figures = report("database", await account(nodes, load.told), recoveries)
    assert figures.recoveries
