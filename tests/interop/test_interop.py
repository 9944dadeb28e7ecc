"""A second implementation, in JavaScript and from the page alone, exchanges messages with ours both ways over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import select

from gateway.demo.leash import leashed
from gateway.demo.network import Network
from gateway.demo.organisations import DEMO, Organisation
from gateway.demo.ports import LOOPBACK
from gateway.storage.tables import deliveries, inbox
from schemas.identifiers import HETU
from tests import parts
from tests.gateway.running import Running, of_the_former_version, running, sign_with_ed25519
from tests.waiting import living, until
from texts import Text

pytestmark = pytest.mark.xdist_group("interop")
HERE = Path(__file__).parent
VECTORS = HERE.parent / "vectors" / "protocol"
PROGRAM = ("protocol.mjs", "node.mjs", "vectors.mjs", "package.json", "package-lock.json")
SECOND_CENTRE = Organisation(
    "second",
    Text("Toinen vastaanottokeskus", "Andra förläggningen", "Second reception centre"),
    "GOV/9000002-0",
    "vastaanotto",
    ("reception-centre",),
    "second.demo",
)
#: What the other implementation plays: a centre and the county. Ours are a centre and a municipality.
THEIRS = ("second", "kymenlaakso")


@pytest.fixture(scope="module")
def program(pytestconfig: pytest.Config) -> Path:
    """The second implementation with its one dependency, installed once for each lock file."""
    for name in ("node", "npm"):
        parts.tool(name, "Install nodejs and npm.")
    lock = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:16]
    cache = pytestconfig.cache
    assert cache is not None
    folder = Path(cache.mkdir(f"interop-{lock}"))
    for name in PROGRAM:
        shutil.copyfile(HERE / name, folder / name)
    if not (folder / "installed").exists():
        install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        done = subprocess.run(install, check=False, cwd=folder, capture_output=True, text=True)
        parts.require("The npm package jose", done.returncode == 0, f"npm ci said: {done.stderr.strip()[-300:]}")
        (folder / "installed").touch()
    return folder


def test_the_second_implementation_agrees_with_every_published_vector(program: Path) -> None:
    command = ["node", "vectors.mjs", str(VECTORS)]
    done = subprocess.run(command, check=False, cwd=program, capture_output=True, text=True)

    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert report["differences"] == []
    assert report["ran"] == sum(
        len(case.get("steps", [None]))
        for name in ("requests", "responses", "replays", "identifiers")
        for case in json.loads((VECTORS / f"{name}.json").read_text("utf-8"))["cases"]
    )
    assert done.returncode == 0


@dataclass(frozen=True)
class Mixed:
    """Nodes of both implementations in one network."""

    ours: Running

    async def tell(self, party: str, path: str, document: Any = None) -> Any:
        """Have a node of the other implementation do something."""
        url = f"http://{LOOPBACK}:{self.ours.party(party).local}{path}"
        async with aiohttp.ClientSession() as session, session.post(url, json=document) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()


def of_another_make(network: Network) -> None:
    """The county signs with Ed25519, and takes messages of the first version only."""
    sign_with_ed25519(network, "kymenlaakso")
    of_the_former_version(network, "kymenlaakso")


@pytest.fixture(scope="module")
def mixed(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mixed]:
    """Our centre and municipality, their centre and county; the county signs with Ed25519."""
    with contextlib.ExitStack() as stack:
        nodes = stack.enter_context(
            running(
                tmp_path_factory.mktemp("interop"),
                organisations=(DEMO[0], DEMO[1], DEMO[2], SECOND_CENTRE),
                prepare=of_another_make,
            )
        )
        processes = [stack.enter_context(_other_node(nodes.network, party, program)) for party in THEIRS]
        asyncio.run(_up(nodes, living(*processes)))
        yield Mixed(nodes)


@contextlib.contextmanager
def _other_node(network: Network, name: str, program: Path) -> Iterator[subprocess.Popen[bytes]]:
    party = network.parties[name]
    config = {
        "registry": str(network.folder / "authority" / "registry"),
        "node": party.node,
        "subsystem": str(party.subsystem),
        "passphrase": network.passphrase,
        "port": party.peers,
        "control": party.local,
        **{
            use: {"certificate": str(party.folder / f"{use}.pem"), "key": str(party.folder / f"{use}.key")}
            for use in ("tls", "signing")
        },
    }
    (party.folder / "js.json").write_text(json.dumps(config))
    with (party.folder / "js.log").open("wb") as output:
        process = subprocess.Popen(
            leashed(["node", "node.mjs", str(party.folder / "js.json")]), cwd=program, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


async def _up(nodes: Running, alive: Callable[[], object]) -> None:
    async with aiohttp.ClientSession() as session:
        for party in THEIRS:
            await until(lambda party=party: _is_up(session, nodes, party), alive=alive)  # type: ignore[misc]


async def _is_up(session: aiohttp.ClientSession, nodes: Running, party: str) -> bool:
    with contextlib.suppress(aiohttp.ClientError):
        async with session.get(f"http://{LOOPBACK}:{nodes.party(party).local}/up") as answer:
            return answer.status == 200
    return False


async def test_they_ask_and_our_node_answers(mixed: Mixed) -> None:
    ours = mixed.ours
    question = {
        "service": ours.network.service("centre", "palvelutarve"),
        "purpose": "service-need-lookup",
        "categories": ["identity", "language"],
        "document": {"subject": {"system": HETU, "value": ours.people[1]}},
    }

    answer = await mixed.tell("kymenlaakso", "/send", question)

    assert answer["signed"], answer
    assert answer["status"] == 200
    assert set(answer["decision"]["per"]) <= {"identity", "language"}
    assert answer["decision"]["per"]
    patient = answer["body"]["entry"][0]["resource"]
    assert ours.people[1] in [one["value"] for one in patient["identifier"]]
    entry = ours.entries("centre", message_id=answer["message_id"])[0]
    assert (entry.outcome in {"success", "partial"}, entry.agents.recipient) == (
        True,
        str(ours.party("kymenlaakso").subsystem),
    )


async def test_our_refusal_reaches_them_signed_and_with_its_code(mixed: Mixed) -> None:
    question = {
        "service": mixed.ours.network.service("centre", "palvelutarve"),
        "purpose": "service-need-lookup",
        "categories": ["identity"],
        "document": {"subject": {"system": HETU, "value": "010190-900P"}},
    }

    answer = await mixed.tell("kymenlaakso", "/send", question)

    assert (answer["signed"], answer["status"], answer["body"]["code"]) == (True, 404, "not-available")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"exp": 2**32}, 400, "message-lifetime-refused"),
        ({"iss": "FI-DEMO/GOV/9000001-1/vastaanotto"}, 401, "certificate-of-another"),
        ({"nbf": 1}, 400, "claim-unknown"),
    ],
    ids=["lifetime", "another's name", "unknown claim"],
)
async def test_what_they_sign_wrongly_we_refuse_unsigned_and_on_record(
    mixed: Mixed, changes: dict[str, Any], status: int, code: str
) -> None:
    question = {
        "service": mixed.ours.network.service("centre", "palvelutarve"),
        "purpose": "service-need-lookup",
        "categories": ["identity"],
        "document": {"subject": {"system": HETU, "value": mixed.ours.people[1]}},
        "changes": changes,
    }

    answer = await mixed.tell("kymenlaakso", "/send", question)

    assert (answer["signed"], answer["status"], answer["body"]["code"]) == (False, status, code)
    assert mixed.ours.refusals("centre")[-1] == code


async def test_our_node_asks_theirs(mixed: Mixed) -> None:
    ours = mixed.ours
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": []}
    record = {"system": HETU, "value": "010190-900P", "bundle": bundle, "permitted": ["identity"]}
    await mixed.tell("second", "/records", [record])
    known = {"system": HETU, "value": "010190-900P"}
    question = ours.question(service=ours.network.service("second", "palvelutarve"), subject=known)

    async with ours.client("kotka") as session:
        async with session.post("/v1/queries", json=question) as answer:
            document = await answer.json()
            assert answer.status == 200, document
        unknown = question | {"subject": {"system": HETU, "value": ours.people[1]}}
        async with session.post("/v1/queries", json=unknown) as answer:
            assert (answer.status, (await answer.json())["code"]) == (404, "not-available")

    assert document["bundle"] == bundle
    assert document["decision"]["permitted"] == ["identity"]
    withheld = {one["category"]: one["code"] for one in document["decision"]["withheld"]}
    assert withheld == {"language": "no-basis", "housing": "no-basis"}
    assert ours.entries("kotka", message_id=document["message_id"])[-1].outcome == "partial"


async def test_our_handover_reaches_them_and_their_acceptance_reaches_us(mixed: Mixed) -> None:
    ours = mixed.ours
    async with ours.client("centre") as session:
        handover = await _hand_over(ours, session)
        (planned,) = [one for one in handover["deliveries"] if one["role"] == "county"]
        delivered = select(deliveries).where(deliveries.c.id == planned["id"], deliveries.c.state == "delivered")
        await until(lambda: ours.rows("centre", delivered))
        (arrived,) = [
            one for one in await mixed.tell("kymenlaakso", "/received") if one["document"]["delivery"] == planned["id"]
        ]
        assert arrived["sender"] == str(ours.party("centre").subsystem)
        assert arrived["document"]["handover"] == handover["id"]
        assert arrived["document"]["bundle"]["resourceType"] == "Bundle"
        # One version apart: it is told by which words in the form that it takes.
        assert arrived["document"]["consents"] == []
        assert "wrd" not in arrived["document"]
        (row,) = ours.rows("centre", delivered)
        assert row.receipt == arrived["receipt"]["receipt"]

        acceptance = {
            "service": ours.network.service("centre", "hyvaksynnat"),
            "purpose": arrived["purpose"],
            "categories": ["identity"],
            "document": {"delivery": planned["id"], "contact": {"name": "Sosiaalipäivystys", "phone": "05 000 0000"}},
        }
        answer = await mixed.tell("kymenlaakso", "/send", acceptance)

        assert (answer["signed"], answer["status"]) == (True, 200), answer
        assert answer["body"]["delivery"] == planned["id"]
        async with session.get(f"/v1/handovers/{handover['id']}") as shown:
            found = {one["id"]: one for one in (await shown.json())["deliveries"]}
        assert found[planned["id"]]["state"] == "accepted"


async def test_their_handover_reaches_our_inbox_once(mixed: Mixed) -> None:
    ours = mixed.ours
    async with ours.client("centre") as session:
        handover = await _hand_over(ours, session)
    mine = next(one["id"] for one in handover["deliveries"] if one["role"] == "municipality")
    await until(lambda: ours.rows("kotka", select(inbox.c.id).where(inbox.c.delivery == mine)))
    (row,) = ours.rows("kotka", select(inbox).where(inbox.c.delivery == mine))
    async with ours.client("kotka") as session, session.get(f"/v1/inbox/{row.id}") as shown:
        bundle = (await shown.json())["content"]
    order = {
        "service": ours.network.service("kotka", "saapuvat"),
        "purpose": row.purpose,
        "categories": row.categories.split(),
        "document": {"handover": "h-1", "delivery": "d-1", "flow": "F1", "consents": [], "bundle": bundle},
    }

    first = await mixed.tell("second", "/send", order)
    again = await mixed.tell("second", "/send", order)

    assert (first["signed"], first["status"]) == (True, 200), first
    assert again["body"] == first["body"], "the same receipt"
    arrived = ours.rows("kotka", select(inbox).where(inbox.c.delivery == "d-1"))
    assert [one.id for one in arrived] == [first["body"]["receipt"]]
    async with ours.client("kotka") as session:
        contact = {"contact": {"name": "Kotoutumispalvelut"}}
        async with session.post(f"/v1/inbox/{arrived[0].id}/acceptance", json=contact) as accepted:
            assert accepted.status == 201
    told = [one for one in await until_told(mixed) if one["document"]["delivery"] == "d-1"]
    assert told[0]["document"]["contact"] == {"name": "Kotoutumispalvelut"}
    settled = select(deliveries.c.id).where(deliveries.c.kind == "acceptance", deliveries.c.state == "accepted")
    await until(lambda: ours.rows("kotka", settled))


async def until_told(mixed: Mixed) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await until(lambda: mixed.tell("second", "/received"))
    return found


async def _hand_over(nodes: Running, session: aiohttp.ClientSession) -> dict[str, Any]:
    export = nodes.export.read_bytes().split(b"\r\n")
    body = b"\r\n".join([export[0], export[2], b""])
    headers = {"Content-Type": "text/csv", "Idempotency-Key": f"interop-{time.monotonic_ns()}"}
    address = "/v1/handovers?flow=F1&adapter=reception-centre-csv"
    async with session.post(address, data=body, headers=headers) as answer:
        document = await answer.json()
        assert answer.status == 201, document
    found: dict[str, Any] = document["handovers"][0]
    return found
