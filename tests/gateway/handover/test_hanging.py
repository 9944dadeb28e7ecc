"""A recipient that hangs, refuses or answers nonsense harms only itself, and costs the log next to nothing."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from audit.log.entries import micros, new_id
from gateway.demo.organisations import DEMO, Organisation
from gateway.exchange.context import DeliveryPolicy, Limits
from gateway.exchange.opening import PeerCall
from gateway.exchange.transport import PeerTransport, Reply
from gateway.handover.deliver import Deliveries
from gateway.handover.leases import Delivery
from gateway.handover.recipients import Recipients
from gateway.handover.states import DeliveryKind
from gateway.keys.certificates import to_der
from gateway.registry.read.entries import Node
from gateway.registry.read.standing import Standing
from gateway.storage.engine import writer
from gateway.storage.tables import deliveries, inbox
from tests.gateway.exchange.inprocess import Bundle, InProcess, Place, node
from tests.gateway.handover.test_deliveries import Clock, order, rows
from tests.waiting import until
from texts import Text

HEALTHY = ("kotka", "kouvola", "kymenlaakso")
HANGS, REFUSES, BABBLES = "hamina", "helsinki", "tampere"
CODES = {"kotka": "285", "kouvola": "286", HANGS: "075", REFUSES: "091", BABBLES: "837"}
ATTEMPTS_AT_MOST = 2
POLICY = DeliveryPolicy(6, 0.02, 0.02, 0.2, 300.0, 3600.0, recipient_workers=ATTEMPTS_AT_MOST, attempt_seconds=300.0)


def _city(name: str, number: int, *roles: str) -> Organisation:
    roles = ("municipality", *roles)
    title = Text(name, name, name)
    return Organisation(name, title, f"MUN/{number}", "kotoutuminen", roles, f"{name}.demo", (CODES[name],))


def build(folder: Path) -> Place:
    """A network with three more municipalities than the demo's, and a second county."""
    more = (
        _city("kouvola", 9000006),
        _city(HANGS, 9000007),
        _city(REFUSES, 9000008, "county"),
        replace(_city(BABBLES, 9000009, "county"), county="pirkanmaa"),
    )
    return Place.build(folder, organisations=(*DEMO, *more))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return build(tmp_path_factory.mktemp("hanging"))


def moved_to(name: str) -> Any:
    def move(bundle: Bundle) -> None:
        resource = bundle["entry"][0]["resource"]
        resource["extension"][3]["extension"][0]["valueCoding"]["code"] = CODES[name]

    return move


async def order_to(here: InProcess, name: str, person: str) -> None:
    here.register.changed[person] = moved_to(name)
    await order(here, person)


class Listener:
    """Really listens, with a node's own certificate; reads what it is sent and answers with these bytes, or never."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0

    @asynccontextmanager
    async def listening(self, place: Place, name: str) -> AsyncIterator[Listener]:
        folder = place.network.parties[name].folder
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "tls.pem", folder / "tls.key", place.network.passphrase)
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self.hang_up()
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while await reader.readline() not in {b"\r\n", b""}:
                pass
            if self._answer is not None:
                writer.write(self._answer)
                await writer.drain()
                writer.close()
            while await reader.read(65_536):
                pass
        except OSError:
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    @property
    def at_once(self) -> int:
        return len(self._open)

    def hang_up(self) -> None:
        for connection in list(self._open):
            connection.transport.abort()


class Network:
    """Carries messages to nodes in this process, or really, to the ports of those who do not answer as they should."""

    def __init__(self, sender: InProcess, receivers: dict[str, InProcess], transport: PeerTransport) -> None:
        self._certificate = to_der((sender.party.folder / "tls.pem").read_bytes())
        self._receivers = {receiver.party.node: receiver for receiver in receivers.values()}
        self._transport = transport
        self.ports: dict[str, int] = {}
        self.brought: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()
        self.most_at_once: Counter[str] = Counter()

    async def send(self, node: Node, message: str, body: bytes, content_type: str, trace: dict[str, str]) -> Reply:
        to = node.id
        self.brought[to] += 1
        if to in self.ports:
            with self._attempt(to):
                return await self._transport.send(self._really(node), message, body, content_type, trace)
        call = PeerCall(message, body, content_type, self._certificate, "0" * 32, trace)
        answer = await self._receivers[to].provider.answer(call)
        return Reply(answer.status, answer.message, answer.content_type, answer.body)

    def _really(self, node: Node) -> Node:
        return replace(node, address=f"https://127.0.0.1:{self.ports[node.id]}")

    async def call(self, node: Node, method: str, path: str) -> Reply:
        to = node.id
        if to in self.ports:
            with self._attempt(to):
                return await self._transport.call(self._really(node), method, path)
        return Reply(200, None, "text/plain", b"")

    @contextmanager
    def _attempt(self, to: str) -> Iterator[None]:
        self._under_way[to] += 1
        self.most_at_once[to] = max(self.most_at_once[to], self._under_way[to])
        try:
            yield
        finally:
            self._under_way[to] -= 1


async def patient(stack: AsyncExitStack, here: InProcess) -> PeerTransport:
    """The node's transport, but for how long it waits: an hour, so that it ends no attempt before others do."""
    transport = PeerTransport(here.exchange.transport._context, timeout_seconds=3_600.0, body_limit=1 << 20)
    await transport.open()
    stack.push_async_callback(transport.close)
    return transport


def refusing(stack: AsyncExitStack) -> int:
    """A port that is taken, on which nobody listens."""
    taken = stack.enter_context(socket.socket())
    taken.bind(("127.0.0.1", 0))
    port: int = taken.getsockname()[1]
    return port


def arrivals(here: InProcess) -> Counter[str]:
    with here.exchange.engine.connect() as connection:
        return Counter(connection.scalars(select(inbox.c.delivery)))


def planned(here: InProcess) -> dict[str, set[str]]:
    """The deliveries, by the member that they go to."""
    found: dict[str, set[str]] = {}
    for row in rows(here).values():
        found.setdefault(row.service.rpartition("/")[0], set()).add(row.id)
    return found


async def test_healthy_recipients_get_all_of_theirs_while_another_hangs(
    place: Place, database_url: str, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        centre = await stack.enter_async_context(node(place, database_url))
        receivers = {
            name: await stack.enter_async_context(node(place, f"sqlite:///{tmp_path / name}.db", of=name))
            for name in (*HEALTHY, HANGS, REFUSES, BABBLES)
        }
        network = Network(centre, receivers, await patient(stack, centre))
        hanging = await stack.enter_async_context(Listener(None).listening(place, HANGS))
        nonsense = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        babbling = await stack.enter_async_context(Listener(nonsense).listening(place, BABBLES))
        network.ports = {
            f"{HANGS}.demo": hanging.port,
            f"{REFUSES}.demo": refusing(stack),
            f"{BABBLES}.demo": babbling.port,
        }
        centre.exchange.transport = network  # type: ignore[assignment]
        centre.exchange.delivery = POLICY
        centre.exchange.limits = Limits(1 << 20, 16 * 1024, 300.0)
        counts = {HANGS: POLICY.workers + 2, REFUSES: 2, BABBLES: 2, "kotka": 4, "kouvola": 4}
        for name, count in counts.items():
            for number in range(count):
                await order_to(centre, name, f"{name[:3]}{number}")
        expected = planned(centre)
        workers = Deliveries(centre.exchange)
        workers.start()
        try:

            def of(name: str) -> set[str]:
                return expected[str(receivers[name].party.subsystem)]

            await until(lambda: hanging.at_once >= ATTEMPTS_AT_MOST)

            def bounded() -> None:
                assert network.most_at_once[f"{HANGS}.demo"] <= ATTEMPTS_AT_MOST

            for name in HEALTHY:
                await until(
                    lambda here=receivers[name]: set(arrivals(here)),
                    lambda seen, name=name: seen == of(name),
                    alive=bounded,
                )
            assert arrivals(receivers[HANGS]) == Counter()
            assert network.most_at_once[f"{HANGS}.demo"] == ATTEMPTS_AT_MOST

            network.ports.clear()
            hanging.hang_up()
            await until(
                lambda: Counter(row.state for row in rows(centre).values()), lambda seen: set(seen) == {"delivered"}
            )
        finally:
            await workers.stop()

        for name, receiver in receivers.items():
            assert arrivals(receiver) == Counter(of(name)), name
        told = Counter(entry.detail["delivery"] for entry in centre.entries() if entry.outcome == "success")
        assert told == Counter(rows(centre).keys())


async def test_attempts_to_an_absent_recipient_are_on_record_once_for_each_reason_and_once_a_day(
    place: Place, database_url: str, tmp_path: Path
) -> None:
    clock = Clock()
    async with AsyncExitStack() as stack:
        centre = await stack.enter_async_context(node(place, database_url, clock=clock, retry_seconds=1.0))
        network = Network(centre, {}, centre.exchange.transport)
        hanging = await stack.enter_async_context(Listener(None).listening(place, REFUSES))
        port = refusing(stack)
        network.ports = {f"{REFUSES}.demo": port}
        centre.exchange.transport = network  # type: ignore[assignment]
        centre.exchange.delivery = replace(centre.exchange.delivery, recipient_failures=1_000)
        await order_to(centre, REFUSES, "A1")
        identifier = next(row.id for row in rows(centre).values() if row.role == "municipality")

        async def attempt(count: int) -> list[tuple[str, str | None, Any]]:
            """What is on record about the delivery after so many more attempts."""
            for _ in range(count):
                clock.passed += timedelta(seconds=10)
                workers = Deliveries(centre.exchange)  # as after a restart: it remembers nothing
                for claimed in await workers._claim():
                    await workers._attempt(claimed)
            mine = [
                entry
                for entry in centre.entries()
                if (entry.detail or {}).get("attempt") and entry.detail["delivery"] == identifier
            ]
            return [(entry.outcome, entry.reason, entry.detail["attempt"]) for entry in mine]

        first = [("requested", None, 1), ("failed", "peer-unreachable", 1)]
        assert await attempt(5) == first
        assert network.brought[f"{REFUSES}.demo"] == 2, "the message of each of the two deliveries left once"

        network.ports = {f"{REFUSES}.demo": hanging.port}
        centre.exchange.delivery = replace(centre.exchange.delivery, attempt_seconds=0.2)
        changed = [*first, ("failed", "peer-timeout", 6)]
        assert await attempt(3) == changed

        with writer(centre.exchange.engine).begin() as connection:
            old = new_id(clock() - timedelta(hours=25))
            connection.execute(update(deliveries).where(deliveries.c.id == identifier).values(entry=old))
        assert await attempt(3) == [*changed, ("failed", "peer-timeout", 9)]
        assert rows(centre)[identifier].attempts == 11


async def test_times_that_a_wrong_clock_has_written_are_put_right(place: Place, database_url: str) -> None:
    async with node(place, database_url, retry_seconds=40.0) as here:
        now = here.exchange.clock()
        far = micros(now + timedelta(days=300))
        await order_to(here, "kotka", "W1")
        await order(here, "W2", not_before=now + timedelta(days=300))
        waits, leased = (row.id for row in rows(here).values() if row.due < far)
        with writer(here.exchange.engine).begin() as connection:
            for identifier, values in ((waits, {"due": far, "problem": "peer-timeout"}), (leased, {"lease": far})):
                connection.execute(update(deliveries).where(deliveries.c.id == identifier).values(**values))

        claimed = await Deliveries(here.exchange)._claim()

        assert [delivery.id for delivery in claimed] == [leased]
        assert rows(here)[waits].due <= micros(here.exchange.clock() + timedelta(seconds=50))
        assert sum(row.due >= far for row in rows(here).values()) == 2, "what was ordered for that day waits for it"


async def test_orders_of_a_clock_that_was_ahead_go_when_it_is_put_right(place: Place, database_url: str) -> None:
    clock = Clock()
    async with node(place, database_url, clock=clock) as here:
        workers = Deliveries(here.exchange)
        clock.passed = timedelta(hours=1)
        assert await workers._claim() == []
        await order_to(here, "kotka", "W3")
        later = clock() + timedelta(minutes=1)
        await order(here, "W4", not_before=later)
        at_once = {row.id for row in rows(here).values() if row.due < micros(later)}

        clock.passed = timedelta()
        claimed = await workers._claim()

        assert {delivery.id for delivery in claimed} == at_once
        assert len(at_once) == len(rows(here)) // 2, "what was ordered for a time waits for it"


async def test_attempt_ends_though_the_wall_clock_was_set_back(place: Place, database_url: str) -> None:
    clock = Clock()

    def set_back(standing: Standing) -> Standing:
        clock.passed = -timedelta(hours=1)  # after the moment at which the message is signed was read
        return standing

    async with AsyncExitStack() as stack:
        centre = await stack.enter_async_context(node(place, database_url, clock=clock))
        hanging = await stack.enter_async_context(Listener(None).listening(place, REFUSES))
        network = Network(centre, {}, await patient(stack, centre))
        network.ports = {f"{REFUSES}.demo": hanging.port}
        centre.exchange.transport = network  # type: ignore[assignment]
        centre.exchange.delivery = replace(centre.exchange.delivery, attempt_seconds=0.2)
        await order_to(centre, REFUSES, "D1")
        workers = Deliveries(centre.exchange)
        claimed = await workers._claim()
        standing = centre.exchange.standing
        centre.exchange.standing = lambda at: set_back(standing(at))

        await workers._attempt(claimed[0])

        assert rows(centre)[claimed[0].id].problem == "peer-timeout"
        failed = [entry for entry in centre.entries() if entry.outcome == "failed"]
        assert [entry.reason for entry in failed] == ["peer-timeout"]


def _delivery(service: str) -> Delivery:
    none = frozenset[str]()
    return Delivery("d", None, DeliveryKind.NOTICE, service, "", "", "", none, "", 0, None, "", None, "", 1, 1)


def test_breaker_opens_lets_one_try_and_closes_with_the_first_answer() -> None:
    at = [0.0]
    known = Recipients(
        replace(POLICY, recipient_failures=3, retry_seconds=10.0, retry_limit_seconds=30.0), lambda: at[0]
    )
    member, delivery = "I/MUN/1", _delivery("I/MUN/1/a/inbox")

    def free() -> int:
        room = known.room()
        return room.free.get(member, room.each)

    known.take(delivery)
    known.take(delivery)
    assert (free(), known.room().most, known.room().full) == (0, 4, {delivery.service})
    known.done(delivery)
    known.done(delivery)

    for _ in range(2):
        known.failed(member)
    assert free() == ATTEMPTS_AT_MOST
    known.failed(member)
    assert (free(), known.is_doubtful(member)) == (0, True)
    for pause in (10.0, 20.0, 30.0, 30.0):
        at[0] += pause - 1
        assert free() == 0
        at[0] += 1
        assert free() == 1
        known.take(delivery)
        assert free() == 0
        known.done(delivery)
        known.failed(member)
        known.failed(member)  # a straggler of before says nothing new
    known.answered(member)
    assert (free(), known.is_doubtful(member)) == (ATTEMPTS_AT_MOST, False)
