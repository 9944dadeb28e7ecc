"""Load on a running network, what its clients were told, and whether all of that is so in the end.

What a client was told is a promise: a handover that was acknowledged arrives, once; an answer that was given is in the
logs of both nodes. `Load` makes handovers and questions as own systems do, again and again with the same key until
their node has them, and keeps what was acknowledged. `account` holds that against the databases and logs afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy import select

from audit.log.entries import Entry, EntryType, Outcome
from audit.log.tables import entries
from audit.questions.check import check
from audit.questions.damage import Damaged
from audit.tree.checkpoint import VerifierKey
from gateway.demo.network import Network
from gateway.storage.tables import deliveries, handovers
from tests.gateway.running import LOOPBACK, Running, running
from tests.survive.report import Figures
from tests.waiting import until

NODES = ("centre", "kotka", "kymenlaakso")
RECIPIENTS = ("kotka", "kymenlaakso")
#: A caller that is told to come again, or is told nothing, waits so long before it does.
AGAIN_SECONDS = 0.1
PATIENT = aiohttp.ClientTimeout(total=None, sock_connect=None)
#: For runs that ask all the time as one client; how much one may ask is another promise's business.
UNLIMITED = """
[rates]
user_per_minute = 0
caller_per_minute = 0
user_in_vain_per_hour = 0
caller_in_vain_per_hour = 0
"""


def without_rates(network: Network) -> None:
    """Let everybody ask as much as they like."""
    for party in network.parties.values():
        with party.config.open("a", encoding="utf-8") as settings:
            settings.write(UNLIMITED)


@dataclass
class Told:
    """What clients were told: by key of a handover its deliveries that were to go, and the questions answered."""

    handovers: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)
    refused: Counter[tuple[int, str]] = field(default_factory=Counter)

    @property
    def exchanges(self) -> int:
        """How many there were of both kinds."""
        return len(self.handovers) + len(self.answers)

    def deliveries(self) -> set[str]:
        """The ids of the deliveries of what was acknowledged, that had somebody to go to."""
        return {
            part["id"]
            for plan in self.handovers.values()
            for part in plan["deliveries"]
            if part["state"] != "stopped" and part["recipient"]
        }


class Load:
    """Clients at work, each with a pause after what it did, in seconds.

    `doors` are addresses of replicas of the centre's node; whichever answers is used.
    """

    def __init__(self, nodes: Running, doors: Sequence[str] = (), *, pause: float = 0.05) -> None:
        self.told = Told()
        self._pause = pause
        self._nodes = nodes
        self._doors = list(doors) or [nodes.party("centre").address]
        self._ending = asyncio.Event()
        self._number = count()
        self._bodies = _records(nodes)
        self._tasks: list[asyncio.Task[None]] = []

    async def hand_over(self, session: aiohttp.ClientSession) -> None:
        """Hand one person over: until it is acknowledged, whatever happens meanwhile."""
        number = next(self._number)
        key = f"order-{number}"
        headers = {"Idempotency-Key": key, "Content-Type": "text/csv; charset=windows-1252"}
        parameters = {"flow": "F1", "adapter": "reception-centre-csv"}
        for attempt in count():
            door = self._doors[(number + attempt) % len(self._doors)]
            with contextlib.suppress(aiohttp.ClientError, OSError, asyncio.IncompleteReadError):
                body = self._bodies[number % len(self._bodies)]
                async with session.post(
                    f"{door}/v1/handovers", params=parameters, data=body, headers=headers
                ) as answer:
                    document = await answer.json(content_type=None)
                    if answer.status in {200, 201}:
                        assert document["handed_over"] == 1, document
                        [self.told.handovers[key]] = document["handovers"]
                        return
                    self.told.refused[answer.status, document["code"]] += 1
                    assert answer.status in {429, 503}, document
            await asyncio.sleep(AGAIN_SECONDS)

    async def ask(self, session: aiohttp.ClientSession) -> None:
        """Ask once about somebody. An answer counts, anything else may happen while nodes die."""
        person = next(self._number) % 3
        with contextlib.suppress(aiohttp.ClientError, OSError, asyncio.IncompleteReadError):
            async with session.post("/v1/queries", json=self._nodes.question(person)) as answer:
                document = await answer.json(content_type=None)
                if answer.status == 200:
                    self.told.answers.append(document["message_id"])
                    return
                self.told.refused[answer.status, document["code"]] += 1
                assert answer.status != 500, document
        await asyncio.sleep(AGAIN_SECONDS)

    @asynccontextmanager
    async def at_work(self, handing: int = 2, asking: int = 1) -> AsyncIterator[Load]:
        """So many clients of each kind work, until the end of the block and what they have begun is acknowledged."""
        async with self._session("centre") as centre, self._session("kotka") as kotka:
            acts = [(self.hand_over, centre)] * handing + [(self.ask, kotka)] * asking
            self._tasks = [asyncio.create_task(self._again_and_again(*act)) for act in acts]
            try:
                yield self
            finally:
                self._ending.set()
                await asyncio.gather(*self._tasks)

    def alive(self) -> None:
        """Raises as soon as a process has died of itself, or a client was told what it should not be."""
        self._nodes.processes.check()
        for task in self._tasks:
            if task.done():
                task.result()

    async def more(self, exchanges: int) -> None:
        """Wait until clients were told of so many more."""
        enough = self.told.exchanges + exchanges
        await until(lambda: self.told.exchanges, lambda seen: seen >= enough, alive=self.alive)

    async def more_handovers(self, enough: int) -> None:
        """Wait until so many were acknowledged in all."""
        await until(lambda: len(self.told.handovers), lambda seen: seen >= enough, alive=self.alive)

    async def _again_and_again(self, act: Callable[[aiohttp.ClientSession], Any], session: Any) -> None:
        while not self._ending.is_set():
            await act(session)
            # The machine is left some room for what the run is about.
            await asyncio.sleep(self._pause)

    @asynccontextmanager
    async def _session(self, party: str) -> AsyncIterator[aiohttp.ClientSession]:
        connector = aiohttp.TCPConnector(ssl=self._nodes.client_context(party))
        address = self._nodes.party(party).address
        async with aiohttp.ClientSession(address, connector=connector, timeout=PATIENT) as session:
            yield session


def _records(nodes: Running) -> list[bytes]:
    """Records of the register that can be handed over, each as a file of its own."""
    lines = nodes.export.read_bytes().split(b"\r\n")
    return [b"\r\n".join([lines[0], line, b""]) for line in lines[1:21]]


@contextmanager
def network(folder: Path, **changes: Any) -> Iterator[Running]:
    """The centre and its two recipients, nodes and systems, running; all may ask as much as they like."""
    prepare = changes.pop("prepare", lambda _network: None)

    def prepared(built: Network) -> None:
        without_rates(built)
        prepare(built)

    with running(folder, nodes=NODES, prepare=prepared, **changes) as nodes:
        for party in RECIPIENTS:
            nodes.processes.start_system(party)
        asyncio.run(nodes.processes.ready())
        yield nodes


async def settled(nodes: Running, told: Told) -> None:
    """Wait until each delivery of what was acknowledged is accepted, and both systems have all that was."""

    def states() -> Counter[str]:
        wanted = told.deliveries()
        rows = nodes.rows("centre", select(deliveries.c.id, deliveries.c.state))
        return Counter(row.state for row in rows if row.id in wanted)

    await until(states, lambda seen: set(seen) <= {"accepted", "stopped"}, alive=nodes.processes.check)


async def held(nodes: Running) -> list[str]:
    """The handovers that the recipients' systems hold, with the one that holds each."""
    found: list[str] = []
    async with aiohttp.ClientSession(timeout=PATIENT) as session:
        for party in RECIPIENTS:
            async with session.get(f"http://{LOOPBACK}:{nodes.party(party).system}/held") as answer:
                arrived = [item for item in await answer.json() if item["kind"] == "handover"]
                found += [f"{party} {item['handover']}" for item in arrived]
    return found


async def account(nodes: Running, told: Told, *, has_other_clock: str | None = None) -> Figures:
    """Hold what was told against what is so. Raises AssertionError where a log does not verify.

    Of a party whose clock was wrong its log rightly says that it went back; nothing else may be wrong with it.
    """
    logs = {party: _log(nodes, party, may_go_back=party == has_other_clock) for party in NODES}
    wanted = told.deliveries()
    arrived = Counter(
        entry.detail["delivery"]
        for party in RECIPIENTS
        for entry in logs[party]
        if entry.type == EntryType.RECEIPT and (entry.detail or {}).get("again") is False
    )
    settled_once = Counter(
        entry.detail["delivery"]
        for entry in logs["centre"]
        if entry.type == EntryType.DELIVERY and entry.outcome == Outcome.SUCCESS
    )
    rows = nodes.rows("centre", select(deliveries.c.id, deliveries.c.state, deliveries.c.handover))
    accepted = {row.id for row in rows if row.state == "accepted"}
    systems = Counter(await held(nodes))
    orders = len(nodes.rows("centre", select(handovers.c.id)))
    ids = {plan["id"] for plan in told.handovers.values()}
    assert len(wanted) >= len(ids), "each of these handovers has two recipients"
    missing = {key for key in wanted if arrived[key] < 1 or settled_once[key] < 1 or key not in accepted}
    twice = [key for counted in (arrived, settled_once, systems) for key, times in counted.items() if times > 1]
    asked, gave = (
        {entry.message_id for entry in logs[party] if entry.type == EntryType.QUERY and entry.outcome in _GIVEN}
        for party in ("kotka", "centre")
    )
    unrecorded = [answer for answer in told.answers if answer not in asked or answer not in gave]
    return Figures(
        acknowledged=len(ids) + len(told.answers),
        lost=len(missing) + len(unrecorded) + max(0, len(wanted) - systems.total()),
        doubled=len(twice) + (orders - len(ids)) + (len(told.handovers) - len(ids)),
    )


_GIVEN = {Outcome.SUCCESS, Outcome.PARTIAL}


def _log(nodes: Running, party: str, *, may_go_back: bool) -> list[Entry]:
    engine = nodes._engine(party)
    report = check(engine, log_key=VerifierKey.parse(nodes.network.logs[party]["key"]))
    found = [finding for finding in report.findings if not (may_go_back and finding.kind is Damaged.BACK_DATED)]
    assert found == [], (party, found[:3])
    with engine.connect() as connection:
        return [Entry.parse(body) for body in connection.scalars(select(entries.c.body).order_by(entries.c.idx))]
