"""Nodes that die in the middle of handovers, as in a power cut, lose nothing and deliver nothing twice."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from audit.questions.check import check
from audit.tree.checkpoint import VerifierKey
from gateway.demo.network import Terms
from gateway.storage import engine as storage
from gateway.storage.tables import inbox
from tests.e2e.conftest import Stage, network
from tests.former import former_rulebook
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

KILLS = 50
PERSONS = 20
NODES = ("centre", "kotka", "kymenlaakso")
SETTLED = {"accepted", "stopped"}


def test_fifty_killed_nodes_lose_nothing_and_deliver_nothing_twice(tmp_path: Path) -> None:
    with network(tmp_path, terms=Terms(former_rulebook())) as stage:
        asyncio.run(_killing(stage))
        received = asyncio.run(_all_arrived(stage))

        # Each system has each handover once, and its node's inbox as well.
        for name, handovers in received.items():
            assert max(Counter(handovers).values()) == 1
            engine = storage.create(f"sqlite:///{stage.network.parties[name].folder / 'node.db'}")
            with engine.connect() as connection:
                rows = connection.execute(select(inbox.c.handover).where(inbox.c.kind == "handover")).scalars().all()
                twice = connection.scalar(select(func.count()).select_from(inbox).where(inbox.c.state == "received"))
            engine.dispose()
            assert sorted(rows) == sorted(handovers)
            assert twice == 0
        for name in NODES:
            engine = storage.create(f"sqlite:///{stage.network.parties[name].folder / 'node.db'}")
            report = check(engine, log_key=VerifierKey.parse(stage.network.logs[name]["key"]))
            engine.dispose()
            assert report.sound, report.findings[:3]


async def _killing(stage: Stage) -> None:
    """Hand persons over one by one while nodes are killed and started again, `KILLS` times, at random moments."""
    draw = random.Random(50)
    orders = asyncio.create_task(_order(stage))
    for _ in range(KILLS):
        await asyncio.sleep(draw.uniform(0.0, 0.4))
        name = draw.choice(NODES)
        stage.processes.kill(f"{name}-node")
        stage.processes.start_node(name)
        if draw.random() < 0.3:
            await stage.processes.ready()
    await stage.processes.ready()
    answers = await orders
    assert [answer["handed_over"] for answer in answers] == [1] * PERSONS


async def _order(stage: Stage) -> list[dict[str, Any]]:
    """The register hands its first persons over; it tries again with the same key until its node has them."""
    return [
        await stage.post("centre", "/hand-over", {"rows": [row], "flow": "F1", "key": f"row-{row}"})
        for row in range(2, 2 + PERSONS)
    ]


async def _all_arrived(stage: Stage) -> dict[str, list[str]]:
    def settled(handovers: list[dict[str, Any]]) -> bool:
        parts = [part for one in handovers for part in one["deliveries"]]
        return all(part["state"] in SETTLED for part in parts if part["problem"] != "recipient-unknown")

    handovers = await until(stage.handovers, settled)
    assert len(handovers) == PERSONS, json.dumps(handovers)[:2000]
    expected: dict[str, list[str]] = {"kotka": [], "kymenlaakso": []}
    for one in handovers:
        for part in one["deliveries"]:
            if part["state"] == "accepted":
                expected["kotka" if part["role"] == "municipality" else "kymenlaakso"].append(one["id"])
    assert sum(map(len, expected.values())) >= 30
    for name, ids in expected.items():
        held = await stage.held(name)
        assert sorted(one["handover"] for one in held if one["kind"] == "handover") == sorted(ids)
    return expected
