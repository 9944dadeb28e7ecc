"""`yhdyspinta task` and `yhdyspinta request`: a registrar sees to tasks and asks once for all, at the command line."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from consent.rulebook import reference_rulebook
from gateway.cli.main import app
from gateway.demo.network import Network
from tests.gateway.obligations.test_obligations import today
from tests.gateway.running import Running, running
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("registrar")]
RUNNER = CliRunner()
ACTIONS = ["query", "handover", "inbox", "consent", "decision", "task", "standing-request"]
REQUEST = {
    "id": "kotka-86-1", "role": "municipality", "providers": ["reception-centre"], "provision": "681/2023 86:1",
    "purpose": "reception-to-municipality", "categories": ["identity", "language"], "first": "2026-01-01",
}  # fmt: skip


def prepare(network: Network) -> None:
    """The municipality's system may see to tasks and ask once for all."""
    config = network.parties["kotka"].config
    text = config.read_text("utf-8")
    assert "[clients.rights]" not in text
    config.write_text(f"{text}\n[clients.rights]\nactions = {json.dumps(ACTIONS)}\n", "utf-8")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A centre and a municipality, to which somebody is handed over."""
    folder = tmp_path_factory.mktemp("tasks")
    with running(folder, prepare=prepare, source=False, rulebook=reference_rulebook()) as found:
        asyncio.run(hand_over(found))
        yield found


async def hand_over(nodes: Running) -> None:
    with nodes.export.open(encoding="windows-1252", errors="replace", newline="") as file:
        row = next(csv.DictReader(file, delimiter=";"))
    body = "\r\n".join([";".join(row), ";".join(row.values()), ""]).encode("windows-1252")
    path = "/v1/handovers?flow=F1&adapter=reception-centre-csv"
    async with (
        nodes.client("centre") as session,
        session.post(path, data=body, headers={"Content-Type": "text/csv; charset=windows-1252"}) as answer,
    ):
        assert answer.status == 201, await answer.text()


def invoke(nodes: Running, *arguments: str, code: int = 0, as_json: bool = True) -> Any:
    party, network = nodes.party("kotka"), nodes.network
    credentials = [
        "--node", party.address, "--certificate", str(party.folder / "client.pem"),
        "--key", str(party.folder / "client.key"), "--authority", str(party.folder / "clients-authority.pem"),
        "--passphrase", str(network.folder / "passphrase"), *(["--json"] if as_json else []),
    ]  # fmt: skip
    result = RUNNER.invoke(app, [*arguments, *credentials])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout) if as_json else result.output


def the_task(nodes: Running) -> dict[str, Any]:
    """The task to tell the person, once the delivery has arrived."""

    async def found() -> list[dict[str, Any]]:
        async with nodes.client("kotka") as session, session.get("/v1/tasks?everything=true") as answer:
            tasks: list[dict[str, Any]] = (await answer.json())["tasks"]
            return [task for task in tasks if task["kind"] == "notify-subject"]

    return asyncio.run(until(found, bool))[0]


def test_task_is_listed_opened_and_ended(nodes: Running) -> None:
    task = the_task(nodes)["id"]

    listed = invoke(nodes, "task", "list")
    assert task in [item["id"] for item in listed["tasks"]]
    assert invoke(nodes, "task", "list", "--overdue", code=1)["tasks"] == []
    assert "nothing is overdue" in invoke(nodes, "task", "list", "--overdue", code=1, as_json=False)

    in_finnish = invoke(nodes, "task", "open", task, as_json=False)
    assert "Tämä organisaatio on saanut sinusta tietoja" in in_finnish
    in_somali = invoke(nodes, "task", "open", task, "--language", "so", as_json=False)
    assert "Tämä organisaatio on saanut" in in_somali, "a draft is never alone"
    assert "DRAFT, not proof-read" in in_somali
    in_burmese = invoke(nodes, "task", "open", task, "--language", "my", as_json=False)
    assert "There is no text in my" in in_burmese

    said = ["--outcome", "told", "--day", today(), "--language", "so"]
    wrong = invoke(nodes, "task", "end", task, *said, "--safe", code=2)
    assert "how the person was told" in str(wrong)
    ended = invoke(nodes, "task", "end", task, *said, "--safe", "--channel", "interpreted-meeting")
    assert (ended["state"], ended["outcome"], ended["proof"]["language"]) == ("done", "told", "so")
    assert "ended as told" in invoke(nodes, "task", "open", task, as_json=False)
    everything = invoke(nodes, "task", "list", "--everything")["tasks"]
    assert [item["outcome"] for item in everything if item["id"] == task] == ["told"]
    assert invoke(nodes, "task", "open", "nobody", code=1)


def test_standing_request_is_made_shown_and_ended(nodes: Running, tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps(REQUEST), "utf-8")

    found = invoke(nodes, "request", "rights")["rights"]
    assert "681/2023 86:1" in [right["provision"] for right in found]
    made = invoke(nodes, "request", "make", str(file))
    assert made["request"]["id"] == REQUEST["id"]
    assert made["request"]["signature"]
    assert REQUEST["id"] in [item["request"]["id"] for item in invoke(nodes, "request", "list")["ours"]]
    assert invoke(nodes, "request", "signed", "kotka-86-1") == made["request"]
    ended = invoke(nodes, "request", "end", "kotka-86-1", "--last", "2030-12-31")
    assert ended["state"] == "removed", "the authority had not published it yet"
    assert "681/2023 86:1" in invoke(nodes, "request", "list", as_json=False).replace("\n", "")

    file.write_text("[]", "utf-8")
    assert "no JSON object" in str(invoke(nodes, "request", "make", str(file), code=2))
    assert "cannot be used" in str(invoke(nodes, "request", "make", str(tmp_path / "none.json"), code=2))
    assert invoke(nodes, "request", "signed", "nobody", code=1)
