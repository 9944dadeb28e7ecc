"""`yhdyspinta audit` as an operator meets it: exit codes, JSON for scripts, words for people."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine
from typer.testing import CliRunner

from audit.checkpoint import Checkpoint, LogSigner
from audit.entries import Agents, Entry
from audit.log import Log
from audit.proofs import export_proofs
from gateway.cli.main import app
from gateway.storage import engine as storage
from gateway.storage import schema

NODE = "kotka-1"
ORIGIN = f"yhdyspinta/{NODE}"
KEY = b"\x05" * 32
SIGNER = LogSigner(Ed25519PrivateKey.from_private_bytes(KEY), ORIGIN)
START = datetime(2026, 10, 1, 8, 0, tzinfo=UTC)
SETTINGS = """
[node]
id = "kotka-1"
subsystems = ["FI-DEMO/MUN/0000001-2/kotoutuminen"]
[database]
url = "sqlite:///node.db"
[registry]
source = "registry"
root = "root.json"
[listen]
peers = "127.0.0.1:0"
clients = "127.0.0.1:0"
local = "127.0.0.1:0"
[tls.peers]
certificate = "tls.pem"
key = "tls.key"
[signing]
certificate = "signing.pem"
key = "signing.key"
"""
Invoke = Callable[..., Result]


def entry(at: datetime, **fields: object) -> Entry:
    return Entry(
        "query",
        "success",
        at,
        agents=Agents(client="casework", user="u-1", node=NODE, recipient="FI-DEMO/MUN/0000001-2/kotoutuminen"),
        source="FI-DEMO/GOV/0000000-0/vastaanotto",
        purpose="service-need-lookup",
        bases=("basis-1",),
        **fields,  # type: ignore[arg-type]
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A node's folder: settings, keys, and a log of 600 entries with a checkpoint every two minutes."""
    (tmp_path / "node.toml").write_text(SETTINGS)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "log.key").write_bytes(base64.b64encode(KEY))
    (tmp_path / "secrets" / "wrapping.key").write_bytes(base64.b64encode(b"\x01" * 32))
    (tmp_path / "secrets" / "index.key").write_bytes(base64.b64encode(b"\x02" * 32))
    return tmp_path


@pytest.fixture
def engine(folder: Path) -> Engine:
    engine = storage.create(f"sqlite:///{folder / 'node.db'}")
    schema.bring_up_to_date(engine)
    return engine


@pytest.fixture
def given(engine: Engine) -> list[Checkpoint]:
    now = START
    log = Log(engine, SIGNER, origin=ORIGIN, clock=lambda: now)
    log.start()
    given = []
    for _ in range(6):
        now += timedelta(minutes=2)
        given.append(log.append_blocking([entry(now) for _ in range(100)]).checkpoint)
    log.close()
    return given


@pytest.fixture
def invoke(folder: Path) -> Invoke:
    def run(*arguments: str, **options: str) -> Result:
        return CliRunner().invoke(app, ["audit", *arguments], **options)  # type: ignore[arg-type]

    return run


def tamper(folder: Path, *statements: str) -> None:
    import sqlite3

    with sqlite3.connect(folder / "node.db") as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            connection.execute(statement)


def test_check_of_a_whole_log_ends_with_0(folder: Path, given: list[Checkpoint], invoke: Invoke) -> None:
    told = invoke("check", "--config", str(folder / "node.toml"), "--json")
    assert told.exit_code == 0, told.output
    document = json.loads(told.stdout)
    assert (document["sound"], document["size"], document["findings"]) == (True, 600, [])
    assert base64.b64decode(document["root"]) == given[-1].root
    assert "none altered" in invoke("check", "--config", str(folder / "node.toml")).stdout


def test_check_ends_with_1_and_names_the_first_affected_entry(
    folder: Path, given: list[Checkpoint], invoke: Invoke
) -> None:
    tamper(folder, "UPDATE audit_entries SET body = replace(body, 'u-1', 'u-2') WHERE idx IN (321, 455)")
    told = invoke("check", "--config", str(folder / "node.toml"), "--json")
    assert told.exit_code == 1
    first = json.loads(told.stdout)["findings"][0]
    assert (first["kind"], first["index"]) == ("altered", 321)
    said = invoke("check", "--config", str(folder / "node.toml"))
    assert said.exit_code == 1
    assert "first affected entry is 321 (altered)" in said.stdout


def test_check_holds_the_log_against_checkpoints_of_others(
    folder: Path, given: list[Checkpoint], invoke: Invoke
) -> None:
    beyond = SIGNER.sign(700, b"\x01" * 32)
    seen = folder / "seen.txt"
    seen.write_text(given[0].note + "\n" + given[3].note + beyond.note)
    told = invoke("check", "--config", str(folder / "node.toml"), "--seen", str(seen), "--json")
    assert told.exit_code == 1
    (finding,) = json.loads(told.stdout)["findings"]
    assert (finding["kind"], finding["index"], finding["through"]) == ("truncated", 600, 699)
    listed = folder / "seen.json"
    listed.write_text(json.dumps([{"note": given[2].note}]))
    assert invoke("check", "--config", str(folder / "node.toml"), "--seen", str(listed)).exit_code == 0


def test_check_needs_the_verifier_key_once_the_key_is_lost(
    folder: Path, given: list[Checkpoint], invoke: Invoke
) -> None:
    (folder / "secrets" / "log.key").unlink()
    told = invoke("check", "--config", str(folder / "node.toml"), "--json")
    assert told.exit_code == 2
    assert "--log-key" in json.loads(told.stdout)["remedy"]
    assert not (folder / "secrets" / "log.key").exists(), "a check makes no keys"
    key = str(SIGNER.verifier)
    assert invoke("check", "--config", str(folder / "node.toml"), "--log-key", key).exit_code == 0
    (folder / "log.pub").write_text(key + "\n")
    public = str(folder / "log.pub")
    assert invoke("check", "--config", str(folder / "node.toml"), "--log-key", public).exit_code == 0


def test_check_with_another_key_says_that_the_log_did_not_sign(
    folder: Path, given: list[Checkpoint], invoke: Invoke
) -> None:
    (folder / "secrets" / "log.key").write_bytes(base64.b64encode(b"\x06" * 32))
    told = invoke("check", "--config", str(folder / "node.toml"), "--json")
    assert told.exit_code == 1
    assert json.loads(told.stdout)["findings"][0]["kind"] == "head"


def test_check_without_a_database_ends_with_3_and_makes_none(folder: Path, invoke: Invoke) -> None:
    told = invoke("check", "--config", str(folder / "node.toml"), "--json")
    assert told.exit_code == 3
    assert json.loads(told.stdout)["exit_code"] == 3
    assert not (folder / "node.db").exists()
    (folder / "node.db").write_bytes(b"this is no database, it is a text that says so, and it is long enough" * 20)
    assert invoke("check", "--config", str(folder / "node.toml")).exit_code == 3


def test_check_with_settings_that_are_wrong_ends_with_2(folder: Path, invoke: Invoke) -> None:
    (folder / "node.toml").write_text("[node]\n")
    told = invoke("check", "--config", str(folder / "node.toml"), "--json")
    assert told.exit_code == 2
    assert json.loads(told.stdout)["problems"]


def test_export_is_verified_without_node_and_database(
    folder: Path, engine: Engine, given: list[Checkpoint], invoke: Invoke
) -> None:
    with engine.connect() as connection:
        whole = export_proofs(connection, [0, 321], log_key=SIGNER.verifier, earlier=[given[0].note])
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "proof.json").write_bytes(whole)
    told = invoke("verify", str(elsewhere / "proof.json"), "--log-key", str(SIGNER.verifier), "--json")
    assert told.exit_code == 0, told.output
    document = json.loads(told.stdout)
    assert (document["sound"], document["trusted"]) == (True, True)
    assert [item["index"] for item in document["entries"]] == [0, 321]
    assert [item["size"] for item in document["earlier"]] == [100]
    said = invoke("verify", str(elsewhere / "proof.json"))
    assert said.exit_code == 0
    assert "taken from the file itself" in said.stdout.replace("\n", " ")

    (elsewhere / "proof.json").write_bytes(whole.replace(b"u-1", b"u-2", 1))
    told = invoke("verify", str(elsewhere / "proof.json"), "--json")
    assert told.exit_code == 1
    assert [item["index"] for item in json.loads(told.stdout)["problems"]] == [0]


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"format":"something else"}', b"\xff\xfe"])
def test_what_is_no_export_ends_with_2(folder: Path, invoke: Invoke, content: bytes | None) -> None:
    if content is not None:
        (folder / "proof.json").write_bytes(content)
    told = invoke("verify", str(folder / "proof.json"), "--json")
    assert told.exit_code == 2
    assert "error" in json.loads(told.stdout)


def test_key_that_is_none_ends_with_2(folder: Path, invoke: Invoke) -> None:
    (folder / "proof.json").write_bytes(b"{}")
    assert invoke("verify", str(folder / "proof.json"), "--log-key", "name+beef+AAAA").exit_code == 2
