"""A node keeps no secret in a file that others can read: `node check` and the start say which, a running one tells."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import aiohttp
import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from adapters.samples import write_samples
from gateway.cli.node import app
from gateway.demo.network import LOOPBACK, Network, build
from gateway.node.secret_files import refuse_exposed
from gateway.node.wiring import NodeError
from gateway.settings import Settings, load
from gateway.settings.exposed import exposed
from gateway.settings.values import IsSecret
from tests.gateway.running import Running, running
from tests.waiting import until

#: The settings that name a file for anybody's eyes: all others name a secret.
OPEN = {
    "certificate",
    "certificates",
    "certificate_authority",
    "client_authorities",
    "authorities",
    "jwks",
    "known_hosts",
    "root",
    "cache",
    "reports",
    "folder",
    "pkcs11_module",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """A demo network on disk, nothing of it running."""
    folder = tmp_path_factory.mktemp("exposed")
    write_samples(folder / "register", count=40)
    return build(folder / "network", datetime.now(UTC), folder / "register" / "reception-centre.csv")


@contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    before = path.stat().st_mode
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before)


def test_each_setting_that_names_a_file_says_whether_it_is_a_secret() -> None:
    found: dict[str, bool] = {}

    def look(annotation: Any) -> None:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            for name, field in annotation.model_fields.items():
                kinds = {field.annotation, *get_args(field.annotation)}
                if Path in kinds:
                    found[name] = any(isinstance(mark, IsSecret) for mark in field.metadata)
                look(field.annotation)
        for argument in get_args(annotation):
            look(argument)

    look(Settings)

    assert {name for name, is_secret in found.items() if not is_secret} <= OPEN
    assert {name for name, is_secret in found.items() if is_secret} >= {"key", "passphrase", "pkcs11_pin", "log_key"}


FILES = ["signing.key", "tls.key", "../passphrase"]


@pytest.mark.parametrize("bits", [0o644, 0o640, 0o604, 0o660, 0o601])
@pytest.mark.parametrize("name", FILES)
def test_secret_file_that_others_can_read_is_named_with_what_mends_it(built: Network, name: str, bits: int) -> None:
    config = built.parties["kotka"].config
    path = config.parent / name
    good = CliRunner().invoke(app, ["check", "--config", str(config), "--json"])

    with mode(path, bits):
        (found,) = exposed(load(config))
        plain = CliRunner().invoke(app, ["check", "--config", str(config)])
        done = CliRunner().invoke(app, ["check", "--config", str(config), "--json"])
        with pytest.raises(NodeError, match=path.name) as refused:
            refuse_exposed(load(config))

    assert (good.exit_code, done.exit_code, plain.exit_code) == (0, 2, 2)
    (problem,) = json.loads(done.output)["problems"]
    assert problem["key"] == found.key
    assert f"mode {bits:04o}" in problem["message"]
    assert f"chmod 600 {found.path}" in problem["message"]
    assert f"chmod 600 {found.path}" in refused.value.remedy
    assert found.key in plain.output
    assert "usable" not in plain.output


def test_node_that_others_can_read_the_keys_of_does_not_start(built: Network) -> None:
    party = built.parties["kotka"]
    # Without the guard the start would end at the port: the test does not hang on a node that runs.
    with socket.create_server((LOOPBACK, party.clients)), mode(party.folder / "signing.key", 0o644):
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "node", "run", "--config", str(party.config)],
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 3, done.stderr
    assert "signing.key may be read or written by others (mode 0644)" in done.stderr
    assert "chmod 600" in done.stderr
    assert not (party.folder / "node.db").exists(), "before anything is opened"


@pytest.mark.parametrize(("bits", "is_open"), [(0o440, False), (0o640, False), (0o444, True), (0o660, True)])
def test_file_of_another_owner_may_reach_the_node_by_its_group(
    built: Network, monkeypatch: pytest.MonkeyPatch, bits: int, is_open: bool
) -> None:
    config = built.parties["kotka"].config
    own = os.geteuid()
    with mode(config.parent / "signing.key", bits):
        # As another user than the one whose the files are: only root could give a file away.
        monkeypatch.setattr(os, "geteuid", lambda: own + 1)
        found = [file.key for file in exposed(load(config))]

    assert found == (["signing.key"] if is_open else [])


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("exposing"), nodes=("kotka",), source=False) as found:
        yield found


@pytest.mark.e2e
async def test_node_that_runs_tells_and_goes_on(nodes: Running) -> None:
    party = nodes.party("kotka")

    async def told() -> dict[str, Any]:
        async with aiohttp.ClientSession() as session, session.get(f"http://{LOOPBACK}:{party.local}/health") as answer:
            return dict(await answer.json())

    assert (await told())["secrets"] == {"exposed": []}
    with mode(party.folder / "secrets" / "index.key", 0o644):
        found = await until(told, lambda seen: seen["secrets"]["exposed"])
    await until(told, lambda seen: not seen["secrets"]["exposed"])

    assert found["secrets"] == {"exposed": ["secrets.index_key"]}
    assert found["ready"]
