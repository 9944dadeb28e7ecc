"""A PostgreSQL server that dies under load and whose standby takes its place loses nothing that was acknowledged."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.databases import Cluster
from tests.gateway.running import Running
from tests.survive.load import NODES, Load, account, network, settled
from tests.survive.report import Recoveries, form, report
from tests.survive.standby import Standby
from tests.survive.test_database import cluster

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

EXCHANGES = form(15, 500)


def test_database_that_fails_over_under_load_loses_nothing_and_doubles_nothing(tmp_path: Path, cluster) -> None:  # type: ignore[no-untyped-def]
    for party in NODES:
        cluster.create(party)
    standby = Standby(cluster)
    try:
        with network(tmp_path, database=standby.url(cluster, "{name}")) as nodes:
            asyncio.run(_failing_over(nodes, cluster, standby))
    finally:
        standby.end()


async def _failing_over(nodes: Running, primary: Cluster, standby: Standby) -> None:
    load, recoveries = Load(nodes), Recoveries()
    async with load.at_work():
        await load.more(EXCHANGES)
        await asyncio.to_thread(primary.crash)
        with recoveries.timed():
            await asyncio.to_thread(standby.promote)
            await load.more(1)
        await nodes.processes.ready()
        await load.more(EXCHANGES)
    await settled(nodes, load.told)
    report("failover", await account(nodes, load.told), recoveries)


__all__ = ["cluster"]
