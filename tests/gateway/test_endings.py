"""What ends is told thirty, fourteen and three days before: in the node's health, its metrics, its log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from gateway.demo.network import Network
from gateway.keys import certificates
from gateway.keys.expiry import Ending
from gateway.keys.keystore import read_private_key
from gateway.registry.run.authority import Authority
from tests.gateway.running import LOOPBACK, Running, running
from tests.waiting import until

NOW = datetime(2026, 11, 27, tzinfo=UTC)


@pytest.mark.parametrize(
    ("left", "within"),
    [
        (timedelta(days=31), None),
        (timedelta(days=30), None),
        (timedelta(days=30) - timedelta(seconds=1), 30),
        (timedelta(days=14), 30),
        (timedelta(days=14) - timedelta(seconds=1), 14),
        (timedelta(days=3), 14),
        (timedelta(days=3) - timedelta(seconds=1), 3),
        (timedelta(0), 3),
        (timedelta(days=-40), 3),
    ],
    ids=str,
)
def test_end_is_told_in_three_steps(left: timedelta, within: int | None) -> None:
    found = Ending.of("keys.signing", NOW + left, NOW)

    assert (found.within if found is not None else None) == within


def shorten(network: Network) -> None:
    """Give one node a certificate for signing that ends in ten days."""
    now, party = datetime.now(UTC), network.parties["kotka"]
    authority = Authority(network.folder / "authority", network.passphrase.encode())
    key = read_private_key(party.folder / "signing.key", network.passphrase.encode())
    certified = authority.certify_signing(key.public_key(), party.member, now, days=10)
    (party.folder / "signing.pem").write_bytes(certificates.to_pem(certified.certificate))
    content = authority.content()
    members = tuple(
        replace(member, signing=(certified,)) if member.id == party.member else member for member in content.members
    )
    authority.publish(replace(content, members=members), now)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("endings"), nodes=("kotka",), prepare=shorten, source=False) as found:
        yield found


@pytest.mark.e2e
async def test_certificate_that_ends_in_ten_days_is_told_once(nodes: Running) -> None:
    entries = await until(lambda: nodes.entries("kotka", reason="certificate-ends"))
    async with aiohttp.ClientSession(f"http://{LOOPBACK}:{nodes.party('kotka').local}") as session:
        health = await (await session.get("/health")).json()
        metrics = await (await session.get("/metrics")).text()

    assert [entry.detail for entry in entries] == [{"what": "keys.signing", "days": 9}]
    assert [(ending["what"], ending["days"], ending["within"]) for ending in health["endings"]] == [
        ("keys.signing", 9, 14)
    ]
    lines = [line for line in metrics.splitlines() if line.startswith("yhdyspinta_endings")]
    assert {line.split('days="')[1].split('"')[0]: float(line.split()[-1]) for line in lines} == {
        "30": 1.0, "14": 1.0, "3": 0.0,
    }  # fmt: skip
    assert health["ready"]


@pytest.mark.e2e
async def test_files_that_hold_consents_contacts_or_logs_are_for_their_owner_only(nodes: Running) -> None:
    folder: Path = nodes.party("kotka").folder
    await until((folder / "node.db-wal").exists)
    await until((folder / "secrets" / "log.checkpoint").exists)

    files = [path for path in folder.rglob("*") if path.is_file() and path.name.startswith(("node.db", "node.log"))]
    files += list((folder / "secrets").iterdir())

    assert {"node.db", "node.db-wal", "node.log", "log.checkpoint"} <= {path.name for path in files}
    assert [path.name for path in files if path.stat().st_mode & 0o077] == []


@pytest.mark.e2e
async def test_token_key_that_is_another_is_noticed(nodes: Running) -> None:
    assert nodes.entries("kotka", type="secret") == []
    nodes.processes.kill("kotka-node")
    (nodes.party("kotka").folder / "secrets" / "token.key").unlink()

    nodes.processes.start_node("kotka")
    await nodes.processes.ready()

    (entry,) = nodes.entries("kotka", type="secret")
    assert entry.detail == {"secret": "token_key", "change": "another"}
    await nodes.restart("kotka")
    assert len(nodes.entries("kotka", type="secret")) == 1
