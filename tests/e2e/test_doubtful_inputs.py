"""Doubtful inputs through a running network with debug logging: nobody is mixed, lost or exposed at a recipient, and
nothing that the nodes write or answer names anybody.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.demo.story import session
from tests.adapters.judging import DEMANDS, Outcome, Told, adapter_of, faults, file_of
from tests.adapters.test_exports import BESIDE, OUTCOMES
from tests.e2e.conftest import Stage, network
from tests.e2e.installing import install
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

#: Those in which persons could be mixed, lost or exposed.
INPUTS = [name for name, demand in DEMANDS.items() if demand["node"]]
#: What a recipient can be held to: it gets what it may have, which is less than what was made.
NEVER = ("not_taken", "not_unprotected", "never_says_no", "never_in", "never_text")
#: What a node tells whoever sent an input.
TELLS = ("findings", "no_codes")
RECIPIENTS = ("kotka", "kymenlaakso")
BATCHES = ("idempotency-first.csv", "idempotency-second.csv")
#: How persons are called in these inputs: their codes, names, streets.
PERSONAL = re.compile(
    rb"[0-9]{6}[-+A-FU-Y]9[0-9]{2}[0-9A-Y]|Suku([a-z]{3}|[0-9])\b|Salai[ns][a-z]+|(Villi|Hiekka)tie [0-9]+|Lokivuoto"
    rb"|(Kentta|Lainaus|Turva|Suostumus)[0-9]+|Viamsok|Kashir|Haenk|Laadeel|Azimi|Uldra|ULDRA|\bHIV\b"
    rb"|050 ?555 ?[0-9]{4}"
)


@dataclass
class Seen:
    """What became of all inputs: the node's answers by input, the content of each arrival by its handover."""

    answers: dict[str, dict[str, Any]]
    batches: list[tuple[int, dict[str, Any]]]
    arrived: dict[str, list[dict[str, Any]]]
    folder: Path


def certified(stage: Stage, party: str) -> ssl.SSLContext:
    """With the certificate of a party's own system."""
    place = stage.network.parties[party]
    context = ssl.create_default_context(cafile=str(place.folder / "clients-authority.pem"))
    context.load_cert_chain(place.folder / "client.pem", place.folder / "client.key", stage.network.passphrase)
    return context


@asynccontextmanager
async def calling(stage: Stage, party: str) -> AsyncIterator[Any]:
    """A party's own system, which asks its node."""
    place, context = stage.network.parties[party], certified(stage, party)
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


async def under_one_key(stage: Stage, name: str) -> tuple[int, dict[str, Any]]:
    """Hand a batch over under the key that all of them have; gives the node's status and answer."""
    context = certified(stage, "centre")
    url = f"{stage.network.parties['centre'].address}/v1/handovers?flow=F1&adapter={adapter_of(name)[0]}"
    headers = {"Idempotency-Key": "export-2026-11-24"}
    async with (
        session() as http,
        http.post(url, data=file_of(name).read_bytes(), headers=headers, ssl=context) as answer,
    ):
        return answer.status, await answer.json()


async def run(stage: Stage) -> Seen:
    answers = {}
    for name in INPUTS:
        try:
            answers[name] = await stage.hand_over(adapter_of(name)[0], file_of(name).read_bytes())
        except aiohttp.ClientError as error:
            raise AssertionError(name) from error
    batches = [await under_one_key(stage, name) for name in BATCHES]
    await until(lambda: settled(stage))
    arrived: dict[str, list[dict[str, Any]]] = {}
    for party in RECIPIENTS:
        async with calling(stage, party) as get:
            for item in (await get("/v1/inbox?limit=1000"))["items"]:
                content = (await get(f"/v1/inbox/{item['id']}"))["content"]
                arrived.setdefault(item["handover"], []).append(content)
    return Seen(answers, batches, arrived, stage.network.folder)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    site = tmp_path_factory.mktemp("site")
    for name in INPUTS:
        adapter, mapping = adapter_of(name)
        if mapping is not None:
            install(site, adapter, mapping)
    environment = {"YHDYSPINTA_TELEMETRY__LOG_LEVEL": "debug", "PYTHONPATH": str(site)}
    with network(tmp_path_factory.mktemp("doubtful"), environment=environment) as stage:
        yield asyncio.run(run(stage))


@pytest.mark.parametrize("name", INPUTS)
def test_no_recipient_gets_what_no_careful_reader_would_have_made(seen: Seen, name: str) -> None:
    answer, demand = seen.answers[name], DEMANDS[name]
    bundles = [bundle for plan in answer["handovers"] for bundle in seen.arrived.get(plan["id"], ())]

    assert answer["read"] == answer["handed_over"] + answer["changed"] + answer["rejected"]
    assert answer["handed_over"] or answer["changed"] or answer["findings"]
    asked = {member: demand[member] for member in (*NEVER, *TELLS) if member in demand}
    told = [Told(finding["row"], finding["code"]) for finding in answer["findings"]]
    assert faults(asked, Outcome(bundles, told, frozenset())) == []


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_file_from_the_field_becomes_at_the_node_what_its_reader_made_of_it(seen: Seen, name: str) -> None:
    answer, outcome = seen.answers[name], OUTCOMES[name]

    # A record whose code says another birth or sex than its other cells waits at the node: it may be two persons'.
    held = ["subject-ambiguous" for key, *codes in outcome if not key.startswith("!") and BESIDE in codes]
    made = [key for key, *codes in outcome if not key.startswith("!") and BESIDE not in codes]
    assert (answer["read"], answer["handed_over"]) == (len(outcome), len(made))
    told = [code for _, *codes in outcome for code in codes]
    assert Counter(finding["code"] for finding in answer["findings"]) == Counter([*told, *held])
    arrived = [seen.arrived.get(plan["id"], []) for plan in answer["handovers"]]
    for key, bundles in zip(made, arrived, strict=True):
        # The HL7 messages say no municipality to which they could go.
        assert len(bundles) == (0 if name.endswith(".hl7") else len(RECIPIENTS))
        outcome_of_record = Outcome(bundles, (), frozenset())
        assert outcome_of_record.of(key) == bundles
        assert outcome_of_record.keys() & {key for key, *_ in outcome} <= {key}


def test_other_persons_under_a_key_are_not_taken_by_their_places(seen: Seen) -> None:
    (first, taken), (second, refused) = seen.batches

    assert (first, taken["handed_over"]) == (201, 1)
    assert (second, refused["code"]) == (409, "idempotency-conflict")


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
