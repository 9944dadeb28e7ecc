"""Each certificate and secret that changes on a live network is renewed under load, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.node.rotation import Secret
from gateway.registry.run.enrolment import SIGNING, TLS
from tests.gateway.registry.peering import Peering, hasten
from tests.gateway.registry.test_rotation import PARTIES, changed, revoked
from tests.gateway.running import Running
from tests.survive.load import Load, account, network, settled
from tests.survive.report import IS_LONG, Recoveries, form, report

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TIMES = form(1, 5)
RENEWED = PARTIES if IS_LONG else PARTIES[:1]


def test_each_certificate_and_secret_renewed_under_load_loses_nothing(tmp_path: Path) -> None:
    with network(tmp_path, prepare=hasten) as nodes:
        asyncio.run(_renewing(nodes))


async def _renewing(nodes: Running) -> None:
    load, recoveries, peering = Load(nodes), Recoveries(), Peering(nodes)
    async with load.at_work():
        for _ in range(TIMES):
            for party in RENEWED:
                for kind in (SIGNING, TLS):
                    await load.more(3)
                    former = await changed(peering, party, kind)
                    await load.more(3)
                    await revoked(peering, former)
                for secret in Secret:
                    await load.more(3)
                    with recoveries.timed():
                        await asyncio.to_thread(_rotate, nodes, party, secret)
        await load.more(5)
    for party in RENEWED:
        renewed = [entry.detail["change"] for entry in nodes.entries(party, type="secret")]
        assert renewed.count("current") >= TIMES * len(Secret), renewed
    await settled(nodes, load.told)
    report("renewal", await account(nodes, load.told), recoveries)


def _rotate(nodes: Running, party: str, secret: Secret) -> None:
    command = [sys.executable, "-m", "gateway", "node", "rotate", secret, "--yes"]
    done = subprocess.run(
        [*command, "--config", str(nodes.party(party).config)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
