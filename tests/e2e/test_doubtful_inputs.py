"""Doubtful inputs through a running network with debug logging: nobody is mixed, lost or exposed at a recipient, and
nothing that the nodes write or answer names anybody.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.demo.story import session
from tests.adapters.judging import DEMANDS, FOLDER, Outcome, faults
from tests.e2e.conftest import Stage, network
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

#: Those in which persons could be mixed, lost or exposed.
INPUTS = [name for name, demand in DEMANDS.items() if demand["node"] and "/" not in demand["adapter"]]
#: What a recipient can be held to: it gets what it may have, which is less than what was made.
NEVER = ("not_taken", "not_unprotected", "never_says_no", "never_in", "never_text")
RECIPIENTS = ("kotka", "kymenlaakso")
#: How persons are called in these inputs: their codes, names, streets.
PERSONAL = re.compile(rb"[0-9]{6}[-+A-FU-Y]9[0-9]{2}[0-9A-Y]|Suku[a-z]{3}\b|Salai[ns][a-z]+|Villitie [0-9]+")


@dataclass
class Seen:
    """What became of all inputs: the node's answers by input, the content of each arrival by its handover."""

    answers: dict[str, dict[str, Any]]
    arrived: dict[str, list[dict[str, Any]]]
    folder: Path


@asynccontextmanager
async def calling(stage: Stage, party: str) -> AsyncIterator[Any]:
    """A party's own system, which asks its node."""
    place = stage.network.parties[party]
    context = ssl.create_default_context(cafile=str(place.folder / "clients-authority.pem"))
    context.load_cert_chain(place.folder / "client.pem", place.folder / "client.key", stage.network.passphrase)
    async with session() as http:

        async def get(path: str) -> Any:
            async with http.get(f"{place.address}{path}", ssl=context) as answer:
                assert answer.status == 200, (path, answer.status)
                return await answer.json()

        yield get


async def settled(stage: Stage) -> bool:
    """Whether nothing waits to be sent."""
    async with calling(stage, "centre") as get:
        found = await get("/v1/handovers?limit=1000")
    waiting = [part for plan in found["handovers"] for part in plan["deliveries"] if part["state"] == "due"]
    return all(part["problem"] == "recipient-unknown" for part in waiting)


async def run(stage: Stage) -> Seen:
    answers = {}
    for name in INPUTS:
        try:
            answers[name] = await stage.hand_over(DEMANDS[name]["adapter"], (FOLDER / "inputs" / name).read_bytes())
        except aiohttp.ClientError as error:
            raise AssertionError(name) from error
    await until(lambda: settled(stage))
    arrived: dict[str, list[dict[str, Any]]] = {}
    for party in RECIPIENTS:
        async with calling(stage, party) as get:
            for item in (await get("/v1/inbox?limit=1000"))["items"]:
                content = (await get(f"/v1/inbox/{item['id']}"))["content"]
                arrived.setdefault(item["handover"], []).append(content)
    return Seen(answers, arrived, stage.network.folder)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    environment = {"YHDYSPINTA_TELEMETRY__LOG_LEVEL": "debug"}
    with network(tmp_path_factory.mktemp("doubtful"), environment=environment) as stage:
        yield asyncio.run(run(stage))


@pytest.mark.parametrize("name", INPUTS)
def test_no_recipient_gets_what_no_careful_reader_would_have_made(seen: Seen, name: str) -> None:
    answer, demand = seen.answers[name], DEMANDS[name]
    bundles = [bundle for plan in answer["handovers"] for bundle in seen.arrived.get(plan["id"], ())]

    assert answer["read"] == answer["handed_over"] + answer["changed"] + answer["rejected"]
    assert answer["handed_over"] or answer["changed"] or answer["findings"]
    asked = {member: demand[member] for member in NEVER if member in demand}
    assert faults(asked, Outcome(bundles, (), frozenset())) == []


def test_recipients_did_get_records(seen: Seen) -> None:
    assert sum(map(len, seen.arrived.values())) > len(INPUTS) / 2


def test_nothing_that_the_nodes_wrote_or_answered_names_anybody(seen: Seen) -> None:
    logs = [path for path in seen.folder.rglob("*.log") if path.is_file()]
    written = {str(path.name): set(PERSONAL.findall(path.read_bytes())) for path in logs}

    assert sum(path.stat().st_size for path in logs if path.name == "node.log") > 2000
    assert {name: found for name, found in written.items() if found} == {}
    assert {
        name: found for name, answer in seen.answers.items() if (found := PERSONAL.findall(str(answer).encode()))
    } == {}
