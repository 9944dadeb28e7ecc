"""`yhdyspinta client`: add a system, list the systems, shut one out while the node runs."""

from __future__ import annotations

import json
import signal
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.demo.network import Network
from gateway.keys import certificates
from gateway.keys.certificates import to_der
from gateway.keys.keystore import write_private_key
from gateway.node.upkeep import REVOCATIONS_SECONDS
from gateway.wire.signing import thumbprint
from tests.gateway.running import Running, running
from tests.waiting import until

pytestmark = pytest.mark.e2e
RUNNER = CliRunner()


def prepare(network: Network) -> None:
    """The client authority's key, beside its certificate, as `registry join` makes them."""
    folder, now = network.parties["kotka"].folder, datetime.now(UTC)
    key = certificates.new_private_key("ES256")
    anchor = certificates.issue_authority(
        key, "kotka systems", not_before=now - timedelta(hours=1), not_after=now + timedelta(days=30), serial=5
    )
    (folder / "passphrase").write_text(network.passphrase)
    write_private_key(folder / "clients-authority.key", key, network.passphrase.encode())
    config = network.parties["kotka"].config
    text = config.read_text("utf-8")
    (folder / "former-authority.pem").write_bytes((folder / "clients-authority.pem").read_bytes())
    (folder / "clients-authority.pem").write_bytes(certificates.to_pem(anchor))
    config.write_text(text.replace('["clients-authority.pem"]', '["clients-authority.pem", "former-authority.pem"]'))


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("clients"), nodes=("kotka",), prepare=prepare, source=False) as found:
        yield found


def invoke(nodes: Running, *arguments: str, code: int = 0) -> Any:
    config = str(nodes.party("kotka").config)
    result = RUNNER.invoke(app, ["client", *arguments, "--config", config, "--json"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def connector(nodes: Running, name: str) -> aiohttp.TCPConnector:
    folder = nodes.party("kotka").folder
    context = ssl.create_default_context(cafile=str(folder / "former-authority.pem"))
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key", password=nodes.network.passphrase)
    return aiohttp.TCPConnector(ssl=context)


async def answers(session: aiohttp.ClientSession) -> tuple[int, str | None]:
    async with session.get("/v1/inbox") as answer:
        found = await answer.json(content_type=None)
        return answer.status, found.get("code")


async def becomes(nodes: Running, session: aiohttp.ClientSession, wanted: tuple[int, str | None]) -> None:
    """Wait until the client face answers so."""
    await until(lambda: answers(session), lambda seen: seen == wanted, alive=nodes.processes.check)


async def test_a_client_is_added_listed_and_shut_out_within_a_minute_by_one_command(nodes: Running) -> None:
    added = invoke(nodes, "add", "caseworkers", "--yes")
    name = thumbprint(to_der(Path(added["certificate"]).read_bytes()))
    assert Path(added["key"]).stat().st_mode & 0o077 == 0
    async with aiohttp.ClientSession(
        nodes.party("kotka").address, connector=connector(nodes, "clients/caseworkers")
    ) as session:
        assert await answers(session) == (401, "client-unknown")
        nodes.processes.process("kotka-node").send_signal(signal.SIGHUP)
        await becomes(nodes, session, (200, None))
        [listed] = [one for one in invoke(nodes, "list")["clients"] if one["client"] == "caseworkers"]
        assert (listed["certificate"], listed["revoked"]) == (name, False)

        # The connection stays open: it is the certificate that is of no use any more.
        done = invoke(nodes, "revoke", added["certificate"], "--yes")
        assert done == {"kind": "certificate", "revoked": name, "client": "caseworkers", "new": True}
        await becomes(nodes, session, (401, "client-revoked"))

    # How often a node looks is what the minute rests on; how long a look takes, the machine decides.
    assert REVOCATIONS_SECONDS <= 60
    [listed] = [one for one in invoke(nodes, "list")["clients"] if one["client"] == "caseworkers"]
    assert listed["revoked"]
    [entry] = nodes.entries("kotka", type="key", reason="client-revoked")
    assert (entry.detail, entry.agents.client) == ({"certificate": name}, "caseworkers")
    [attempt, *_] = await until(lambda: nodes.entries("kotka", type="anomaly", reason="client-revoked"))
    assert attempt.detail["certificate"] == name
    assert invoke(nodes, "revoke", name, "--yes")["new"] is False
    assert len(nodes.entries("kotka", type="key", reason="client-revoked")) == 1
    # The log that two processes have written is one log still.
    checked = RUNNER.invoke(app, ["audit", "check", "--config", str(nodes.party("kotka").config), "--json"])
    assert checked.exit_code == 0, checked.output


async def test_a_client_that_is_shut_out_by_its_name_stays_out_after_a_restart(nodes: Running) -> None:
    address = nodes.party("kotka").address
    async with aiohttp.ClientSession(address, connector=connector(nodes, "client")) as session:
        assert await answers(session) == (200, None)
    invoke(nodes, "revoke", "kotka-system", "--yes")
    await nodes.restart("kotka")
    async with aiohttp.ClientSession(address, connector=connector(nodes, "client")) as session:
        assert await answers(session) == (401, "client-revoked")


def test_a_fingerprint_as_openssl_prints_it_is_understood(nodes: Running) -> None:
    digits = "AB" * 32
    colons = ":".join(digits[index : index + 2] for index in range(0, 64, 2))
    assert invoke(nodes, "revoke", colons, "--yes")["revoked"] == "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s"


def test_what_is_no_client_is_told(nodes: Running) -> None:
    assert "client list" in invoke(nodes, "revoke", "nobody", "--yes", code=1)["remedy"]


def test_nothing_is_revoked_without_a_yes(nodes: Running) -> None:
    assert "--yes" in invoke(nodes, "revoke", "kotka-system", code=2)["remedy"]


@pytest.mark.parametrize("arguments", [["kotka-system"], ["../evil"], ["new", "--subsystem", "FI-DEMO/MUN/1/x"]])
def test_a_client_that_cannot_be_is_not_added(nodes: Running, arguments: list[str]) -> None:
    assert invoke(nodes, "add", *arguments, "--yes", code=2)["error"]
