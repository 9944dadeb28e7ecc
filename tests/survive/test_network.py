"""A network that is cut in one direction or in both loses nothing of what was acknowledged, and doubles nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.demo.network import Network
from gateway.registry.run.authority import Authority
from tests.gateway.running import LOOPBACK, Running
from tests.survive.load import NODES, Load, account, network, settled
from tests.survive.relay import Cut, Relay
from tests.survive.report import Recoveries, form, report
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TIMES = form(1, 10)
CUTS = (Cut(there=True), Cut(back=True), Cut(there=True, back=True))
PATIENCE = "\n[limits]\npeer_timeout_seconds = 2\n"


def test_network_that_is_cut_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    relays: list[Relay] = []

    def between(built: Network) -> None:
        """The registry lists a relay for each node."""
        for name in NODES:
            relays.append(Relay(built.parties[name].peers))
            config = built.parties[name].config
            text = config.read_text("utf-8").replace("lease_seconds = 3", "lease_seconds = 3\nattempt_seconds = 2")
            config.write_text(text + PATIENCE, "utf-8")
        ports = {built.parties[name].node: relay.port for name, relay in zip(NODES, relays, strict=True)}
        authority = Authority(built.folder / "authority", built.passphrase.encode())
        content = authority.content()
        listed = tuple(
            replace(node, address=f"https://{LOOPBACK}:{ports[node.id]}") if node.id in ports else node
            for node in content.nodes
        )
        authority.publish(replace(content, nodes=listed), datetime.now(UTC))

    try:
        with network(tmp_path, prepare=between) as nodes:
            asyncio.run(_cutting(nodes, relays))
    finally:
        for relay in relays:
            relay.close()


async def _cutting(nodes: Running, relays: list[Relay]) -> None:
    load, recoveries = Load(nodes), Recoveries()
    async with load.at_work():
        for _ in range(TIMES):
            for cut in CUTS:
                await load.more(10)
                orders, swallowed = len(load.told.handovers), sum(relay.swallowed for relay in relays)
                for relay in relays:
                    relay.cut = cut
                # Orders are taken, and what leaves for the others is lost on the way.
                await load.more_handovers(orders + 5)
                await until(
                    lambda: sum(relay.swallowed for relay in relays),
                    lambda seen, before=swallowed: seen >= before + 10,
                    alive=load.alive,
                )
                for relay in relays:
                    relay.heal()
                answers = len(load.told.answers)
                with recoveries.timed():
                    await until(
                        lambda: len(load.told.answers),
                        lambda seen, before=answers: seen > before,
                        alive=load.alive,
                    )
    await settled(nodes, load.told)
    report("network", await account(nodes, load.told), recoveries)
