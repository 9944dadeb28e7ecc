"""Two running nodes are each other's witnesses: what one states, the other holds, proves, cosigns, and contradicts."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete, func, select, update

from audit.log.entries import Entry
from audit.log.tables import cosignatures, entries, facets, head, held
from audit.questions.check import check
from audit.questions.checks import Others
from audit.tree.checkpoint import LogSigner, VerifierKey, parse_checkpoint, verify_checkpoint
from audit.tree.merkle import Frontier, leaf_hash, verify_consistency
from gateway.demo.network import Network
from gateway.registry.read.distribution import RegistryClient
from tests.gateway.running import Running, running
from tests.trees import root_of, unbundle
from tests.waiting import until

SCHEDULE = """[audit]
witness_seconds = 0.3
cosign_seconds = 0.5
readers = ["{reader}"]
"""


def prepare(network: Network) -> None:
    """Short schedules; the centre's entries may be read by Kotka's node, and by no other."""
    for name, party in network.parties.items():
        reader = network.parties["kotka"].node if name == "centre" else "nobody"
        text = party.config.read_text("utf-8")
        party.config.write_text(text.replace("[audit]\ncosign_seconds = 60\n", SCHEDULE.format(reader=reader)), "utf-8")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("witnesses"), prepare=prepare) as found:
        yield found


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Running]:
    """Nodes of the test's own, which it may harm."""
    with running(tmp_path, prepare=prepare) as found:
        yield found


def log_key(nodes: Running, party: str) -> VerifierKey:
    return VerifierKey.parse(nodes.network.logs[party]["key"])


def origin(nodes: Running, party: str) -> str:
    return nodes.network.logs[party]["origin"]


async def query(nodes: Running) -> None:
    async with nodes.client("kotka") as session, session.post("/v1/queries", json=nodes.question()) as answer:
        assert answer.status == 200, await answer.text()


def holds(nodes: Running, party: str, of: str) -> list[tuple[int, str]]:
    rows = nodes.rows(party, select(held).where(held.c.origin == origin(nodes, of)).order_by(held.c.size))
    return [(row.size, row.state) for row in rows]


async def health(nodes: Running, party: str) -> dict[str, Any]:
    url = f"http://127.0.0.1:{nodes.party(party).local}/health"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        found: dict[str, Any] = (await answer.json())["witness"]
        return found


async def peer(
    nodes: Running, party: str, of: str, method: str, path: str, body: bytes | None = None
) -> tuple[int, bytes, str]:
    """A call of the node of `party` to the peer face of the node of `of`."""
    connector = aiohttp.TCPConnector(ssl=nodes.peer_context(party))
    url = f"https://127.0.0.1:{nodes.party(of).peers}{path}"
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.request(method, url, data=body) as answer,
    ):
        return answer.status, await answer.read(), answer.headers.get("Content-Type", "")


def test_each_message_makes_its_receiver_a_witness_which_proves_and_cosigns_on_schedule(nodes: Running) -> None:
    async def story() -> None:
        await query(nodes)
        for here, there in (("centre", "kotka"), ("kotka", "centre")):
            stated = nodes.rows(here, select(held.c.note).where(held.c.origin == origin(nodes, there)))
            assert stated, f"{here} holds what {there} stated, as soon as the exchange is on record"
        for here, there in (("centre", "kotka"), ("kotka", "centre")):
            await until(
                lambda here=here, there=there: any(
                    state == "proven" and size > 0 for size, state in holds(nodes, here, there)
                )
            )
            key = VerifierKey.parse(next(one.key for one in witnesses(nodes) if nodes.party(there).node in one.name))
            (row, *_) = await until(lambda here=here: nodes.rows(here, select(cosignatures)))
            checkpoint, marks = verify_checkpoint(row.note, log_key(nodes, here), [key])
            assert checkpoint.size == row.size
            assert [mark.witness for mark in marks] == [key.name]
            assert len(checkpoint.signatures[1].signature) == 8 + 2420, "ML-DSA-44, to outlive classical signatures"
        told = nodes.party("centre").node
        # Who was shown that the log only grew is told; an empty log may have been shown before.
        await until(
            lambda: health(nodes, "kotka"),
            lambda seen: any(item["node"] == told and item["size"] > 0 for item in seen["proven_to"]),
        )
        seen = await health(nodes, "kotka")
        assert seen["sound"]
        assert [one["origin"] for one in seen["watched"]] == [origin(nodes, "centre")]

    asyncio.run(story())
    for party in ("centre", "kotka"):
        keys = [VerifierKey.parse(one.key) for one in witnesses(nodes)]
        assert check(nodes._engine(party), log_key=log_key(nodes, party), others=Others(witnesses=keys)).sound
        assert not nodes.entries(party, type="anomaly")


def test_a_log_that_stands_still_is_not_cosigned_again_and_again(nodes: Running) -> None:
    def sizes() -> list[int]:
        return [row.size for row in nodes.rows("centre", select(cosignatures))]

    def size() -> int:
        return int(nodes.rows("centre", select(head.c.size))[0].size)

    async def story() -> None:
        for _ in range(3):
            await query(nodes)
            before = size()
            await until(lambda before=before: max(sizes(), default=0) >= before)

    asyncio.run(story())
    assert len(sizes()) == len(set(sizes())), "one witness, one cosignature for each size"


def witnesses(nodes: Running) -> Any:
    folder = nodes.network.folder
    client = RegistryClient(
        str(folder / "authority" / "registry"), folder / "cache", (folder / "root.json").read_bytes()
    )
    return client.refresh(datetime.now(UTC)).witnesses


def rewrite(nodes: Running, party: str, kind: str) -> None:
    """In plain SQL, with the triggers gone, and signed anew with the log's own key."""
    folder = nodes.party(party).folder
    raw = base64.b64decode((folder / "secrets" / "log.key").read_bytes())
    signer = LogSigner(Ed25519PrivateKey.from_private_bytes(raw), origin(nodes, party))
    with sqlite3.connect(folder / "node.db") as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
    with nodes._engine(party).execution_options(writes=True).begin() as connection:
        if kind == "rollback":
            last = connection.scalar(select(func.max(entries.c.idx)))
            connection.execute(delete(entries).where(entries.c.idx > last - 3))
            connection.execute(delete(facets).where(facets.c.idx > last - 3))
        else:
            body = connection.scalar(select(entries.c.body).where(entries.c.idx == 2))
            connection.execute(update(entries).where(entries.c.idx == 2).values(body=body.replace(":", ": ", 1)))
            for index, text in connection.execute(select(entries.c.idx, entries.c.body)).all():
                leaf = leaf_hash(text.encode())
                connection.execute(update(entries).where(entries.c.idx == index).values(leaf=leaf))
        leaves = [bytes(row) for row in connection.scalars(select(entries.c.leaf).order_by(entries.c.idx))]
        frontier = Frontier().extended(leaves)
        note = signer.sign(len(leaves), frontier.root()).note
        connection.execute(update(head).values(size=len(leaves), frontier=frontier.to_bytes(), note=note))


def test_log_face_gives_checkpoints_proofs_and_tiles_to_listed_nodes(nodes: Running) -> None:
    async def story() -> None:
        await query(nodes)
        status, note, kind = await peer(nodes, "kotka", "centre", "GET", "/log/checkpoint")
        assert (status, kind) == (200, "text/plain; charset=utf-8")
        checkpoint, _ = verify_checkpoint(note.decode(), log_key(nodes, "centre"))
        size = checkpoint.size
        status, hashes, kind = await peer(nodes, "kotka", "centre", "GET", f"/log/tile/0/000.p/{size}")
        assert (status, kind, len(hashes)) == (200, "application/octet-stream", 32 * size)
        leaves = [hashes[at : at + 32] for at in range(0, len(hashes), 32)]
        assert root_of(leaves) == checkpoint.root

        status, body, _ = await peer(nodes, "kotka", "centre", "GET", f"/peer/v1/log/consistency?sizes=1,{size}")
        document = json.loads(body)
        newest = parse_checkpoint(document["checkpoint"])
        proofs = {one["size"]: [base64.b64decode(item) for item in one["proof"]] for one in document["proofs"]}
        verify_consistency(1, root_of(leaves[:1]), newest.size, newest.root, proofs[1])
        verify_consistency(size, checkpoint.root, newest.size, newest.root, proofs[size])

        status, bundle, _ = await peer(nodes, "kotka", "centre", "GET", f"/log/tile/entries/000.p/{size}")
        assert status == 200
        assert [leaf_hash(body) for body in unbundle(bundle)] == leaves
        assert Entry.parse(unbundle(bundle)[0]).type in {"query", "registry", "key"}
        (read,) = [one for one in nodes.entries("centre", type="export") if one.outcome == "success"]
        assert (read.agents.client, read.detail["question"]) == (nodes.party("kotka").node, "entries-tile")

        status, body, _ = await peer(nodes, "centre", "kotka", "GET", "/log/tile/entries/000.p/1")
        assert (status, json.loads(body)["code"]) == (403, "client-not-permitted")
        (refused,) = nodes.entries("kotka", type="export")
        assert (refused.outcome, refused.reason) == ("refused", "client-not-permitted")

    asyncio.run(story())


def test_log_face_refuses_what_is_not_of_its_form(nodes: Running) -> None:
    signer = LogSigner(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32), "yhdyspinta/nobody")
    note = signer.sign(1, b"\x01" * 32).note
    calls = [
        ("GET", "/log/tile/0/000.p/256", None, 404, "not-found"),
        ("GET", "/log/tile/0/0", None, 404, "not-found"),
        ("GET", "/log/tile/9/999", None, 404, "not-found"),
        ("GET", "/log/tile/entries/999/../000", None, 404, "not-found"),
        ("GET", "/peer/v1/log/consistency?sizes=-1", None, 400, "invalid-request"),
        ("GET", "/peer/v1/log/consistency?sizes=" + "1," * 300, None, 400, "invalid-request"),
        ("POST", "/peer/v1/checkpoints", b"", 400, "invalid-request"),
        ("POST", "/peer/v1/checkpoints", b"old -1\n\n" + note.encode(), 400, "invalid-request"),
        ("POST", "/peer/v1/checkpoints", b"old 0\nAAAA\n\n" + note.encode(), 400, "invalid-request"),
        ("POST", "/peer/v1/checkpoints", b"old 0\n\n" + note.encode(), 403, "log-refused"),
        ("POST", "/peer/v1/checkpoints", b"\xff\xfe", 400, "invalid-request"),
        ("POST", "/peer/v1/alarms", b"[]", 400, "invalid-json"),
        (
            "POST",
            "/peer/v1/alarms",
            json.dumps({"kind": "fork", "first": note, "second": note}).encode(),
            403,
            "log-refused",
        ),
        (
            "POST",
            "/peer/v1/alarms",
            json.dumps({"kind": "fork", "first": "a.b.c", "second": note}).encode(),
            403,
            "log-refused",
        ),
    ]

    async def story() -> None:
        for method, path, body, expected, code in calls:
            status, answer, _ = await peer(nodes, "kotka", "centre", method, path, body)
            assert (status, json.loads(answer)["code"]) == (expected, code), (method, path, answer)

    asyncio.run(story())
    assert not nodes.entries("centre", type="anomaly")


@pytest.mark.parametrize("kind", ["rollback", "fork"])
def test_log_that_was_rewritten_with_its_own_key_is_told_on_both_sides_within_the_schedule(
    fresh: Running, kind: str
) -> None:
    nodes = fresh

    async def story() -> None:
        for _ in range(3):
            await query(nodes)
        await until(lambda: any(state == "proven" and size > 5 for size, state in holds(nodes, "centre", "kotka")))
        nodes.processes.kill("kotka-node")
        rewrite(nodes, "kotka", kind)
        nodes.processes.start_node("kotka")
        # Two statements of one log may both be contradicted, the second soon after the first.
        (seen, *_) = await until(lambda: nodes.entries("centre", type="anomaly"))
        assert (seen.reason, seen.outcome) == (f"log-{kind}", "failed")
        assert seen.detail["origin"] == origin(nodes, "kotka")
        (told, *_) = await until(lambda: nodes.entries("kotka", type="anomaly"))
        assert told.reason == f"log-{kind}"
        # By the centre's notice, or because the centre as its witness holds more than the log has.
        assert nodes.party("centre").node in (told.detail.get("told_by"), told.detail.get("witness"))
        for party in ("centre", "kotka"):
            await until(lambda party=party: health(nodes, party), lambda seen: not seen["sound"])

    asyncio.run(story())
    # What it proved last and what it cosigned last may be two statements; each that is contradicted is told once.
    told = [one.detail["alarm"] for one in nodes.entries("centre", type="anomaly")]
    assert len(told) == len(set(told)), "one contradiction is one entry, however often it is seen"
    assert 1 <= len(told) <= 2
