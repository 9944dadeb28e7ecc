"""At ten times its load a node sheds, and releases nothing to who has gone away."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import select

from audit.log.entries import EntryType, Outcome
from gateway.demo.network import Network
from gateway.storage.tables import messages
from tests.gateway.running import Running, running
from tests.survive.load import without_rates
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

AT_ONCE = 8
TIMES = 10


def narrow(network: Network) -> None:
    """The centre answers a few at once; the municipality waits two seconds for it."""
    without_rates(network)
    limits = {"centre": f"in_flight = {2 * AT_ONCE}\nin_flight_each = {AT_ONCE}", "kotka": "peer_timeout_seconds = 2"}
    for name, text in limits.items():
        with network.parties[name].config.open("a", encoding="utf-8") as settings:
            settings.write(f"\n[limits]\n{text}\n")


def test_at_ten_times_its_load_a_node_sheds_and_releases_nothing_to_who_has_gone_away(tmp_path: Path) -> None:
    with running(tmp_path, prepare=narrow) as nodes:
        asyncio.run(_overloading(nodes))


async def _overloading(nodes: Running) -> None:
    source = nodes.processes.process("centre-system")
    async with nodes.client("kotka") as session:
        assert (await _ask(nodes, session))[0] == 200
        before = len(_released(nodes))

        source.send_signal(signal.SIGSTOP)  # whoever is let in waits, and goes away in the end
        try:
            told = await asyncio.gather(*(_ask(nodes, session) for _ in range(TIMES * AT_ONCE)))
        finally:
            late = _expiry(nodes)
            await until(lambda: datetime.now(UTC).timestamp() > late)
            source.send_signal(signal.SIGCONT)

        counted = Counter((status, body["code"]) for status, body, _ in told)
        assert set(counted) <= {(503, "busy"), (504, "peer-timeout")}, counted
        assert counted[503, "busy"] > 0, "nothing was shed"
        assert all(retry is not None for status, _, retry in told if status == 503)
        # Those that were let in end at the provider too, and are released to nobody; then it answers as before.
        again = await until(lambda: _ask(nodes, session), lambda seen: seen[0] == 200, alive=nodes.processes.check)
        await until(lambda: _open(nodes), lambda seen: seen == 0, alive=nodes.processes.check)
    gone = _expiries(nodes)
    assert all(entry.recorded.timestamp() <= gone[entry.message_id] for entry in _released(nodes))
    released = [entry.message_id for entry in _released(nodes)]
    assert released[before:] == [again[1]["message_id"]]


async def _ask(nodes: Running, session: aiohttp.ClientSession) -> tuple[int, Any, str | None]:
    async with session.post("/v1/queries", json=nodes.question()) as answer:
        return answer.status, await answer.json(content_type=None), answer.headers.get("Retry-After")


def _released(nodes: Running) -> list[Any]:
    given = {Outcome.SUCCESS, Outcome.PARTIAL}
    return [entry for entry in nodes.entries("centre", type=EntryType.QUERY) if entry.outcome in given]


def _expiries(nodes: Running) -> dict[str, float]:
    """When each message that the municipality signed expires."""
    found = {}
    for row in nodes.rows("kotka", select(messages.c.message_id, messages.c.request)):
        payload = row.request.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        found[row.message_id] = float(claims["exp"])
    return found


def _expiry(nodes: Running) -> float:
    return max(_expiries(nodes).values())


def _open(nodes: Running) -> int:
    """Questions that came to the centre, of which its log does not yet say what became of them."""
    known = {entry.message_id for entry in nodes.entries("centre", type=EntryType.QUERY)}
    came = {row.message_id for row in nodes.rows("centre", select(messages.c.message_id))}
    return len(came - known)
