"""Which face is ready, by what the process can know of itself, and that a log comes back without traffic."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine

from audit.log.entries import Entry, EntryType, Outcome
from audit.log.log import Log, LogError
from audit.log.policy import LogPolicy
from audit.log.waiting import Written
from audit.tree.checkpoint import LogSigner
from gateway.node import readiness as told
from gateway.node.readiness import Seen, probe, readiness
from tests.databases import migrate
from tests.gateway.running import LOOPBACK, Running, running
from tests.waiting import until

WELL = {
    "is_stopping": False,
    "is_log_writable": True,
    "is_registry_in_force": True,
    "is_held": False,
    "keys": {"signing": True, "peers": True, "clients": True},
}


@pytest.mark.parametrize(
    ("changes", "missing", "not_ready"),
    [
        ({}, "", set()),
        ({"is_log_writable": False}, "log", {"clients", "peers", "console"}),
        ({"is_stopping": True}, "stopping", {"clients", "peers", "console"}),
        ({"is_registry_in_force": False}, "registry", {"clients", "peers"}),
        ({"is_held": True}, "held", {"clients", "peers"}),
        ({"keys": WELL["keys"] | {"signing": False}}, "keys.signing", {"clients", "peers"}),  # type: ignore[operator]
        ({"keys": WELL["keys"] | {"clients": False}}, "keys.clients", {"clients"}),  # type: ignore[operator]
    ],
)
def test_a_face_is_ready_if_what_it_needs_is_there(changes: dict[str, Any], missing: str, not_ready: set[str]) -> None:
    found = readiness(Seen(**(WELL | changes)))

    assert {name for name, face in found["faces"].items() if not face["ready"]} == not_ready
    assert all(found["faces"][name]["missing"] == [missing] for name in not_ready)
    assert found["ready"] is not bool(not_ready & {"clients", "peers"})


async def test_a_log_that_could_not_be_written_is_tried_until_it_can(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told, "PROBE_SECONDS", 0.01)
    migrate(engine)
    signer = LogSigner(Ed25519PrivateKey.from_private_bytes(b"\x07" * 32), "yhdyspinta/node")
    heard: list[str | None] = []
    log = Log(engine, signer, origin=signer.name, clock=lambda: datetime.now(UTC), policy=LogPolicy(told=heard.append))

    def strike(connection: Connection) -> Written[None]:
        sqlite = engine.dialect.name == "sqlite"
        connection.exec_driver_sql("PRAGMA query_only=1" if sqlite else "SET TRANSACTION READ ONLY")
        return Written(None, [Entry(type=EntryType.QUERY, outcome=Outcome.SUCCESS, recorded=datetime.now(UTC))])

    log.start()
    for _ in range(2):
        with pytest.raises(LogError):
            await log.commit(strike)
    probing = asyncio.create_task(probe(log, "node", lambda: datetime.now(UTC)))
    try:
        await until(lambda: log.is_writable)
        assert log.latest().size == 1, "once, and not again while it can be written"
        assert [failure is None for failure in heard] == [False, True], "each change is told once"
        assert "nothing was recorded" in str(heard[0])
    finally:
        probing.cancel()
        log.close()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("ready"), nodes=("centre", "kotka")) as found:
        yield found


async def test_each_face_of_a_running_node_tells_whether_it_is_ready(nodes: Running) -> None:
    port = nodes.party("centre").local
    async with nodes.client("kotka") as asking, asking.post("/v1/queries", json=nodes.question()) as answer:
        assert answer.status == 200
    async with aiohttp.ClientSession(f"http://{LOOPBACK}:{port}") as session:
        for face in ("clients", "peers", "console"):
            async with session.get(f"/ready/{face}") as answer:
                assert (answer.status, await answer.json()) == (200, {"ready": True, "missing": []})
        async with session.get("/ready/nonsense") as answer:
            assert answer.status == 400
        async with session.get("/health") as answer:
            reach = (await answer.json())["reach"]

    assert reach["same_port"] is True
    assert reach["listening_port"] == nodes.party("centre").peers
    assert reach["last_call"] is not None
