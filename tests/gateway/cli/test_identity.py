"""`yhdyspinta identity`: a registrar decides at the command line, and another person approves."""

from __future__ import annotations

import asyncio
import csv
import getpass
import json
import re
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.demo.network import Network
from gateway.web.headers import USER_HEADER
from schemas.identifiers import HETU, LOCAL
from tests.gateway.running import Running, running
from tests.waiting import until
from texts import LANGUAGES

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("registrar")]
RUNNER = CliRunner()
ACTIONS = ["query", "handover", "inbox", "consent", "decision", "identity"]


def prepare(network: Network) -> None:
    """The organisations' systems may decide who is who; at the municipality one person will do."""
    for name, more in (("centre", ""), ("kotka", "\n[identity]\ntwo_people = false\n")):
        config = network.parties[name].config
        text = config.read_text()
        rights = f'identity = "authoritative"\n\n[clients.rights]\nactions = {json.dumps(ACTIONS)}\n'
        config.write_text(text.replace('identity = "authoritative"\n', rights, 1) + more)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A centre and a municipality."""
    with running(tmp_path_factory.mktemp("registrar"), prepare=prepare, source=False) as found:
        yield found


def invoke(
    nodes: Running, *arguments: str, code: int = 0, given: str = "", as_json: bool = True, at: str = "centre"
) -> Any:
    party, network = nodes.party(at), nodes.network
    credentials = [
        "--node", party.address, "--certificate", str(party.folder / "client.pem"),
        "--key", str(party.folder / "client.key"), "--authority", str(party.folder / "clients-authority.pem"),
        "--passphrase", str(network.folder / "passphrase"), *(["--json"] if as_json else []),
    ]  # fmt: skip
    result = RUNNER.invoke(app, ["identity", *arguments, *credentials], input=given)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout) if as_json else result.output


def people(nodes: Running) -> list[dict[str, str]]:
    """Two people of the register with both numbers, as their rows."""
    with nodes.export.open(encoding="windows-1252", errors="replace", newline="") as file:
        found = list(csv.DictReader(file, delimiter=";"))[:12]
    return [row for row in found if row.get("HETU") and row.get("ASIAKASNUMERO")][:2]


async def hand_over(nodes: Running, row: dict[str, str]) -> dict[str, Any]:
    body = "\r\n".join([";".join(row), ";".join(row.values()), ""]).encode("windows-1252")
    path = "/v1/handovers?flow=F1&adapter=reception-centre-csv"
    async with (
        nodes.client("centre") as session,
        session.post(path, data=body, headers={"Content-Type": "text/csv; charset=windows-1252"}) as answer,
    ):
        document: dict[str, Any] = await answer.json()
        return document


async def approve(nodes: Running, proposal: str, person: str) -> int:
    """Somebody approves by a system of theirs; gives the status."""
    path = f"/v1/identity/proposals/{proposal}/approval"
    async with nodes.client("centre") as session, session.post(path, headers={USER_HEADER: person}) as answer:
        return answer.status


def test_a_registrar_decides_what_waits_at_the_command_line(nodes: Running) -> None:
    assert invoke(nodes, "held", code=1) == {"held": []}
    first, second = people(nodes)
    for row in (first, second):
        assert asyncio.run(hand_over(nodes, row))["handed_over"] == 1
    mixed = {**second, "ASIAKASNUMERO": first["ASIAKASNUMERO"]}
    (finding,) = asyncio.run(hand_over(nodes, mixed))["findings"]
    assert finding["code"] == "subject-ambiguous"

    (waiting,) = invoke(nodes, "held")["held"]
    assert set(finding["message"]) == set(finding["hint"]) == set(LANGUAGES)
    assert all(waiting["id"] in words for words in finding["message"].values())
    assert (waiting["owner"], waiting["overdue"]) == (None, False)
    invoke(nodes, "take", waiting["id"])
    shown = invoke(nodes, "held", as_json=False)
    assert "nobody" not in shown
    assert "0 d 0 h" in shown
    for secret in (first["HETU"], first["ASIAKASNUMERO"]):
        assert secret not in shown
    shown = invoke(nodes, "open", waiting["id"], as_json=False)
    for named in (second["HETU"], first["ASIAKASNUMERO"], waiting["reason"], "known to be two people"):
        assert named in shown
    invoke(nodes, "apart", waiting["id"])
    refused = invoke(nodes, "apart", waiting["id"], code=1)
    assert refused["error"].startswith("not-found")
    assert invoke(nodes, "unconfirmed", code=1) == {"unconfirmed": []}


def test_the_person_logged_in_proposes_and_another_approves(nodes: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    person = people(nodes)[0]
    asyncio.run(hand_over(nodes, person))
    given = f"migri {person['ASIAKASNUMERO']}\n{HETU} {person['HETU'].lower()}\n"

    proposal = invoke(nodes, "undo", given=given)["proposal"]
    # Another name in the environment makes nobody another person.
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "somebody-else")
    assert getpass.getuser() == "somebody-else"
    alone = invoke(nodes, "approve", proposal, code=1)
    assert alone["error"].startswith("client-not-permitted")
    assert asyncio.run(approve(nodes, proposal, "rekisteri-2")) == 200

    told = invoke(nodes, "place", given=given, as_json=False)
    assert "identity approve" in told
    assert person["HETU"] not in told
    (placement,) = invoke(nodes, "held")["held"]
    assert placement["reason"] == "place"
    opened = invoke(nodes, "open", placement["id"])
    assert [item["value"] for item in opened["identifiers"]] == [person["ASIAKASNUMERO"], person["HETU"]]
    assert "dropped" in invoke(nodes, "drop", placement["id"], as_json=False)
    assert invoke(nodes, "held", code=1) == {"held": []}


async def consent(nodes: Running, system: str, value: str) -> None:
    document = {
        "subject": {"system": system, "value": value}, "status": "refused", "given_by": {"kind": "self"},
        "purposes": [], "recipients": [], "categories": ["housing"],
    }  # fmt: skip
    async with nodes.client("kotka") as session, session.post("/v1/consents", json=document) as answer:
        assert answer.status == 201, await answer.text()


def test_where_the_settings_say_so_one_person_will_do(nodes: Running) -> None:
    for system, value in ((HETU, "010190-900P"), (LOCAL, "K-1")):
        asyncio.run(consent(nodes, system, value))

    done = invoke(nodes, "join", given="hetu 010190-900P\nlocal k-1\n", at="kotka")

    assert done == {"released": [], "handover": None}


@pytest.mark.parametrize(
    "given",
    ["", "hetu 010190-900P\n", "hetu 010190-900A\nmigri 7000001\n", "010190-900P\nmigri 7000001\n"],
    ids=["nothing", "one", "check character", "no kind"],
)
def test_what_is_not_two_identifiers_is_refused_before_the_node_is_asked(nodes: Running, given: str) -> None:
    told = invoke(nodes, "join", given=given, code=2)

    assert told["remedy"]
    assert "010190" not in json.dumps(told)


def test_a_node_that_cannot_be_reached_is_told_apart(nodes: Running) -> None:
    party = nodes.party("kymenlaakso")  # of this network, and not running
    folder = nodes.party("centre").folder
    arguments = ["--node", party.address, "--certificate", f"{folder}/client.pem", "--key", f"{folder}/client.key"]
    arguments += [
        "--authority",
        f"{folder}/clients-authority.pem",
        "--passphrase",
        f"{nodes.network.folder}/passphrase",
    ]

    assert RUNNER.invoke(app, ["identity", "held", *arguments]).exit_code == 3


async def test_health_tells_what_waits(nodes: Running) -> None:
    address = f"http://127.0.0.1:{nodes.party('centre').local}"
    async with aiohttp.ClientSession(address) as session:

        async def counted() -> Any:
            async with session.get("/health") as answer:
                return (await answer.json())["identity"]["counted"]

        await until(counted, alive=nodes.processes.check)
        async with session.get("/health") as answer:
            told = (await answer.json())["identity"]
        async with session.get("/metrics") as answer:
            shown = await answer.text()

    assert set(told) == {"held", "overdue", "oldest_seconds", "proposals", "unconfirmed", "counted"}
    assert re.search(r'^yhdyspinta_identity_waiting\{.*what="held".*\} \d', shown, re.M)
