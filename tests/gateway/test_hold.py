"""A database that was restored to an earlier state is noticed before anything is released from it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine

from audit.log.entries import Entry
from audit.log.log import Log
from audit.tree.checkpoint import Checkpoint, LogSigner, parse_checkpoint
from gateway.keys.certificates import to_der
from gateway.node.faces import PeerAdmission
from gateway.node.hold import Hold, HoldKind, Kept, read, write
from gateway.node.wiring import ed25519_key, log_of
from gateway.registry.read.entries import log_origin
from gateway.registry.read.standing import Standing
from gateway.settings import load
from gateway.storage import engine as storage
from gateway.web.slots import Head
from gateway.wire.problems import ProblemError
from tests.databases import migrate
from tests.gateway.exchange.inprocess import Place, node
from tests.gateway.running import LOOPBACK, Running, running
from tests.waiting import until

ORIGIN = "yhdyspinta/node.example"
SIGNER = LogSigner(Ed25519PrivateKey.from_private_bytes(b"\x03" * 32), ORIGIN)


def grown(engine: Engine, entries: int) -> Log:
    """A log that has come so far."""
    migrate(engine)
    log = Log(engine, SIGNER, origin=ORIGIN, clock=lambda: datetime.now(UTC))
    log.start()
    for _ in range(entries):
        log.append_blocking((Entry(type="registry", outcome="success", recorded=datetime.now(UTC)),))
    return log


def held(hold: Hold) -> bool:
    """Whether the gate is shut."""
    gate = hold.gate(lambda _now: None)  # type: ignore[arg-type, return-value]
    if not hold.is_held:
        gate(datetime.now(UTC))
        return False
    with pytest.raises(ProblemError) as refused:
        gate(datetime.now(UTC))
    assert refused.value.code == "node-held"
    assert refused.value.retry_after
    return True


def test_database_that_the_file_beside_the_secrets_bears_out_is_not_held(engine: Engine, tmp_path: Path) -> None:
    log = grown(engine, 3)
    kept = tmp_path / "secrets" / "log.checkpoint"
    kept.parent.mkdir()
    first = Hold(kept, engine, log)
    first.look()
    first.keep()
    log.append_blocking((Entry(type="registry", outcome="success", recorded=datetime.now(UTC)),))

    hold = Hold(kept, engine, log)
    hold.look()

    assert not held(hold)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    hold.keep()
    found = read(kept)
    assert found is not None
    assert "\n4\n" in found.note
    log.close()


NEWER = SIGNER.sign(9, b"\x01" * 32)
OTHERS = SIGNER.sign(2, b"\x01" * 32)
FOREIGN = LogSigner(Ed25519PrivateKey.from_private_bytes(b"\x04" * 32), ORIGIN).sign(2, b"\x01" * 32)


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"checkpoint": NEWER.note}).encode(),
        json.dumps({"checkpoint": OTHERS.note}).encode(),
        json.dumps({"checkpoint": FOREIGN.note}).encode(),
        b"{",
        b"[]",
        b"",
    ],
    ids=["a longer log", "another history", "another key", "no JSON", "no checkpoint", "empty"],
)
def test_file_that_contradicts_the_database_holds_the_node(engine: Engine, tmp_path: Path, content: bytes) -> None:
    log = grown(engine, 3)
    kept = tmp_path / "log.checkpoint"
    kept.write_bytes(content)

    hold = Hold(kept, engine, log)
    hold.look()

    assert held(hold)
    condition = hold.condition()
    assert condition["reason"]
    assert condition["remedy"]
    assert condition["kind"] in set(HoldKind) - {HoldKind.ASKING}
    # From when on to ask people and other nodes, where that can be known.
    assert (condition["since"] is not None) == (condition["kind"] == HoldKind.OLDER) == (condition["lacking"] == 6)
    hold.keep()
    assert kept.read_bytes() == content, "what shows the loss is not written over"
    log.close()


@pytest.mark.parametrize("known", [NEWER, OTHERS], ids=["a longer log", "another history"])
def test_node_that_knows_better_holds_the_node_until_the_loss_is_answered_for(
    engine: Engine, tmp_path: Path, known: Checkpoint
) -> None:
    log = grown(engine, 3)
    kept = tmp_path / "log.checkpoint"
    hold = Hold(kept, engine, log)
    hold.look()

    hold.hear("peer.example", known)
    assert held(hold)
    write(kept, Kept(log.latest().note, known.size))
    hold.look()

    assert not held(hold)
    hold.hear("other.example", known)
    assert not held(hold), "it is known of"
    hold.hear("other.example", SIGNER.sign(20, b"\x02" * 32))
    assert held(hold), "and this is not"
    log.close()


def test_what_is_lacking_stays_when_the_held_node_goes_on_writing(engine: Engine, tmp_path: Path) -> None:
    log = grown(engine, 3)
    kept = tmp_path / "log.checkpoint"
    write(kept, Kept(NEWER.note))
    hold = Hold(kept, engine, log)
    hold.look()
    found = hold.condition()

    log.append_blocking((Entry(type="consent", outcome="success", recorded=datetime.now(UTC)),))
    hold.hear("peer.example", SIGNER.sign(11, b"\x01" * 32))

    assert (found["lacking"], found["size"]) == (6, 9)
    assert (hold.condition()["lacking"], hold.condition()["size"]) == (8, 11), "the word just written is none of them"
    assert hold.condition()["since"] == found["since"]
    log.close()


async def test_node_is_held_until_as_many_have_answered_as_the_settings_ask_for(engine: Engine, tmp_path: Path) -> None:
    log = grown(engine, 1)
    hold = Hold(tmp_path / "log.checkpoint", engine, log)
    hold.look()
    answers: list[Mapping[str, Checkpoint | None]] = [{}, {"a": None}, {"b": None}]
    turns: asyncio.Queue[Mapping[str, Checkpoint | None]] = asyncio.Queue()

    async def others(_but: set[str]) -> Mapping[str, Checkpoint | None]:
        return await turns.get()

    from gateway.node import hold as module

    module_seconds, module.AGAIN_SECONDS = module.AGAIN_SECONDS, 0.0  # type: ignore[misc]
    try:
        asking = asyncio.create_task(hold.ask(others, 2))
        for answer in answers[:2]:
            turns.put_nowait(answer)
        await until(lambda: hold.condition()["answers_wanted"] == 1)
        assert held(hold)
        turns.put_nowait(answers[2])
        await asking
    finally:
        module.AGAIN_SECONDS = module_seconds  # type: ignore[misc]
    assert not held(hold)
    log.close()


async def test_peers_come_in_to_a_node_that_is_held(tmp_path: Path) -> None:
    """They witness its log and read it; what releases data refuses them by itself."""
    place = Place.build(tmp_path)
    kotka = place.network.parties["kotka"]

    def shut(_now: datetime) -> Standing:
        raise ProblemError("node-held")

    async with node(place, f"sqlite:///{tmp_path / 'node.db'}") as here:
        admit = PeerAdmission(replace(here.exchange, standing=shut, standing_ungated=here.exchange.standing))
        certificate = to_der((kotka.folder / "tls.pem").read_bytes())

        assert admit(Head(b"GET", b"/peer/v1/log/checkpoint", (), certificate)).caller == kotka.node
        with pytest.raises(ProblemError) as refused:
            admit(Head(b"GET", b"/peer/v1/log/checkpoint", (), None))
        assert refused.value.code == "tls-certificate-unknown"


# -- a node ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("hold")) as found:
        yield found


async def asked(nodes: Running) -> tuple[int, Any]:
    async with nodes.client("kotka") as session, session.post("/v1/queries", json=nodes.question()) as answer:
        return answer.status, await answer.json(content_type=None)


async def refuse(nodes: Running) -> None:
    subject = nodes.question()["subject"]
    refusal = {"subject": subject, "status": "refused", "categories": ["housing"]}
    async with nodes.client("centre") as session, session.post("/v1/consents", json=refusal) as answer:
        assert answer.status == 201, await answer.text()


def condition(nodes: Running, path: str = "ready") -> Callable[[], Awaitable[tuple[int, Any] | None]]:
    async def look() -> tuple[int, Any] | None:
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://{LOOPBACK}:{nodes.party('centre').local}/{path}") as answer,
            ):
                return answer.status, await answer.json()
        except aiohttp.ClientError:
            return None

    return look


async def started(nodes: Running) -> tuple[int, Any]:
    nodes.processes.start_node("centre")
    found = await until(condition(nodes), alive=nodes.processes.check)
    assert found is not None
    return found


def stopped(nodes: Running) -> None:
    for engine in nodes.engines.values():
        engine.dispose()
    nodes.engines.clear()
    nodes.processes.kill("centre-node")


def copied(source: Path, target: Path) -> None:
    for path in target.parent.glob(f"{target.name}*"):
        path.unlink()
    with sqlite3.connect(source) as before, sqlite3.connect(target) as after:
        before.backup(after)


def kept_size(path: Path) -> int:
    found = read(path)
    return parse_checkpoint(found.note).size if found is not None else 0


def signer_of(nodes: Running) -> LogSigner:
    """What the centre signs its log with."""
    centre = nodes.party("centre")
    return LogSigner(ed25519_key(centre.folder / "secrets" / "log.key"), log_origin(centre.node))


def end_hold(nodes: Running, size: int) -> subprocess.CompletedProcess[str]:
    config = str(nodes.party("centre").config)
    return subprocess.run(
        [sys.executable, "-m", "gateway", "node", "end-hold", "--size", str(size), "--yes", "--config", config],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.e2e
async def test_node_whose_database_file_is_taken_away_is_not_ready_and_takes_no_word(
    nodes: Running, tmp_path: Path
) -> None:
    folder, size = nodes.party("centre").folder, len(nodes.entries("centre"))
    for engine in nodes.engines.values():
        engine.dispose()
    nodes.engines.clear()
    files = list(folder.glob("node.db*"))

    for path in files:
        path.rename(tmp_path / path.name)
    refusal = {"subject": nodes.question()["subject"], "status": "refused", "categories": ["housing"]}
    async with nodes.client("centre") as session, session.post("/v1/consents", json=refusal) as answer:
        taken = answer.status, (await answer.json())["code"]
    await until(lambda: _is_unready(nodes))
    found = await condition(nodes)()

    assert taken == (503, "log-not-durable")
    assert found is not None
    assert "log" in found[1]["faces"]["clients"]["missing"]
    assert "gone" in found[1]["log"]["fault"]
    assert not list(folder.glob("node.db*")), "and no empty one was made in its place"

    for path in files:
        (tmp_path / path.name).rename(path)
    await until(lambda: _is_ready(nodes))
    assert len(nodes.entries("centre", type="refusal")) == 0
    assert len(nodes.entries("centre")) >= size


async def _is_unready(nodes: Running) -> bool:
    found = await condition(nodes)()
    return found is not None and found[0] == 503


@pytest.mark.e2e
async def test_restored_database_releases_nothing_until_the_loss_is_answered_for(
    nodes: Running, tmp_path: Path
) -> None:
    folder = nodes.party("centre").folder
    database, kept = folder / "node.db", folder / "secrets" / "log.checkpoint"
    assert (await asked(nodes))[0] == 200
    copied(database, tmp_path / "backup.db")
    await refuse(nodes)
    status, given = await asked(nodes)
    assert status == 200
    assert "housing" in json.dumps(given["decision"]["withheld"])
    size = len(nodes.entries("centre"))
    # The log may grow by itself meanwhile: what is kept is at least so far.
    await until(lambda: kept_size(kept) >= size)

    # The database comes back as it was before the refusal, its secrets as they are.
    stopped(nodes)
    size = kept_size(kept)
    copied(tmp_path / "backup.db", database)
    code, ready = await started(nodes)

    assert (code, ready["hold"]["held"], ready["hold"]["size"]) == (503, True, size)
    status, answer = await asked(nodes)
    assert (status, answer["code"]) == (503, "node-held"), answer
    assert "bundle" not in answer

    # The whole machine comes back, secrets and all: now only the other node knows, which was answered since.
    stopped(nodes)
    copied(tmp_path / "backup.db", database)
    kept.unlink()
    code, ready = await started(nodes)

    assert (code, ready["hold"]["held"]) == (503, True)
    assert ready["hold"]["known_to"] == nodes.party("kotka").node
    assert (await asked(nodes))[0] == 503

    # What is lost is entered again while the node is held, and a human answers for the rest.
    await refuse(nodes)
    known = ready["hold"]["size"]
    assert end_hold(nodes, known).returncode == 0
    await until(lambda: _is_ready(nodes))
    status, given = await asked(nodes)
    assert status == 200
    assert "housing" in json.dumps(given["decision"]["withheld"])
    restored = nodes.entries("centre", type="restore")
    assert [entry.detail["known_size"] for entry in restored] == [known]


async def _is_ready(nodes: Running) -> bool:
    found = await condition(nodes)()
    return found is not None and found[0] == 200


@pytest.mark.e2e
async def test_newest_database_put_back_after_a_held_one_wrote_goes_on_by_the_size_that_is_shown(
    nodes: Running,
) -> None:
    """The held one's checkpoints are known to others: the newest is *another* to them, and lacks nothing of its own."""
    folder = nodes.party("centre").folder
    database, kept = folder / "node.db", folder / "secrets" / "log.checkpoint"
    await until(lambda: _is_ready(nodes))
    stopped(nodes)
    engine = storage.create(f"sqlite:///{database}")
    log = log_of(load(nodes.party("centre").config), engine)
    log.start()
    for _ in range(9):
        log.append_blocking((Entry(type="registry", outcome="success", recorded=datetime.now(UTC)),))
    hold = Hold(kept, engine, log)
    hold.look()
    hold.keep()
    size = log.latest().size
    hold.hear("peer.example", signer_of(nodes).sign(size - 2, b"\x01" * 32))
    shown = hold.condition()
    log.close()
    engine.dispose()

    assert (shown["kind"], shown["size"], shown["lacking"]) == ("another", size - 2, 0)
    done = end_hold(nodes, shown["size"])

    assert done.returncode == 0, done.stdout + done.stderr
    assert "the hold is ended" not in done.stdout, "others may know of more than was answered for"
    assert f"answered for up to entry {shown['size']}" in " ".join(done.stdout.split())
    kept_after = read(kept)
    assert kept_after is not None
    assert kept_after.settled >= shown["size"]
    await started(nodes)
    await until(lambda: _is_ready(nodes))


@pytest.mark.e2e
async def test_hold_is_not_ended_by_whoever_does_not_know_how_much_is_lost(nodes: Running) -> None:
    kept = nodes.party("centre").folder / "secrets" / "log.checkpoint"
    await until(kept.exists)
    before = len(nodes.entries("centre", type="restore"))
    stopped(nodes)
    write(kept, Kept(signer_of(nodes).sign(kept_size(kept) + 100, b"\x01" * 32).note))

    done = end_hold(nodes, 1)

    assert done.returncode == 2, done.stdout + done.stderr
    assert "and not only 1" in " ".join((done.stdout + done.stderr).split())
    assert len(nodes.entries("centre", type="restore")) == before
