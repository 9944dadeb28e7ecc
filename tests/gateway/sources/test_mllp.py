"""The listener for HL7 messages on a real socket: whoever is slow, silent, endless or no sender harms itself alone."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from adapters.sdk import Adapter, Limits, load
from gateway.sources import mllp
from gateway.sources.frames import BEGIN, framed
from gateway.sources.messages import Messages
from gateway.sources.mllp import MllpListener, MllpPolicy, Senders
from gateway.sources.progress import Progress
from gateway.sources.taking import Door, Taking
from gateway.sources.window import Window
from gateway.web.listeners import bind
from gateway.wire.problems import ProblemError
from tests.gateway.sources.conftest import Sink, clock
from tests.gateway.sources.hl7 import codes, message, said, sender
from tests.waiting import until


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'node.db'}"


@dataclass
class Gate:
    """A door that lets nobody through until it is opened."""

    sink: Sink = field(default_factory=Sink)
    is_open: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0
    #: How many are let through at this moment, and were at most.
    inside: int = 0
    most_inside: int = 0

    async def hand_over(self, bundle: dict[str, Any], key: str) -> bool:
        self.waiting += 1
        await self.is_open.wait()
        self.inside += 1
        for _ in range(20):  # whoever could come in beside it does
            await asyncio.to_thread(lambda: None)
        self.most_inside = max(self.most_inside, self.inside)
        self.inside -= 1
        return await self.sink(bundle, key)


@dataclass
class Post:
    """A listener that serves, its port and what came through."""

    listener: MllpListener
    port: int
    gate: Gate
    shut_out: set[str] = field(default_factory=set)


POLICY = MllpPolicy(message_bytes=64 * 1024, message_seconds=20.0, idle_seconds=600.0, connections=2)


@asynccontextmanager
async def serving(
    books: Progress, engine: Engine, folder: Path, policy: MllpPolicy = POLICY, buffer: int = 0
) -> AsyncIterator[Post]:
    gate = Gate()
    gate.is_open.set()
    window = Window("county", engine, books._log, lambda *parts: (repr(parts)[-64:],), 3600.0)
    taking = Taking("county", Door(gate.hand_over, gate.sink.take_change))
    messages = Messages(taking, window, folder / "reports", Limits(), clock)
    shut_out: set[str] = set()

    def name(_certificate: bytes | None) -> str:
        if "loopback" in shut_out:
            raise ProblemError("client-revoked")
        return "loopback"

    def adapter(_sender: str) -> Adapter:
        return load("county-hl7")

    bound = bind("127.0.0.1", 0)
    if buffer:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    listener = MllpListener("county", bound, Senders(None, name, adapter), messages, policy)
    try:
        await listener.start()
        yield Post(listener, bound.getsockname()[1], gate, shut_out)
    finally:
        gate.is_open.set()
        await listener.stop()
        bound.close()


@pytest.fixture
async def post(books: Progress, engine: Engine, tmp_path: Path) -> AsyncIterator[Post]:
    async with serving(books, engine, tmp_path) as post:
        yield post


async def test_messages_are_answered_in_their_order_on_one_connection(post: Post) -> None:
    async with sender(post.port) as county:
        county.writer.write(framed(message("M1")) + framed(message("M2", "C-2"))[:40])
        first = await county.answer()
        second = await county.send(framed(message("M2", "C-2"))[40:])

    assert [*said(first), *said(second)] == ["AA M1", "AA M2"]
    assert post.gate.sink.people == ["C-1", "C-2"]


async def test_messages_of_one_sender_are_taken_one_after_another_on_whichever_connection(post: Post) -> None:
    async with sender(post.port) as county, sender(post.port) as same:
        for number in range(3):
            first, second = message(f"A{number}", f"C-{number}"), message(f"B{number}", f"D-{number}")
            answers = await asyncio.gather(county.say(first), same.say(second))
            assert [said(answer) for answer in answers] == [[f"AA A{number}"], [f"AA B{number}"]]

    assert (post.gate.waiting, post.gate.most_inside) == (6, 1)


async def test_nothing_is_answered_before_the_record_is_taken(post: Post) -> None:
    post.gate.is_open.clear()
    async with sender(post.port) as county:
        answer = asyncio.create_task(county.say(message("M1")))
        await until(lambda: post.gate.waiting)
        assert not answer.done()

        post.gate.is_open.set()

        assert said(await answer) == ["AA M1"]


async def test_a_message_whose_sender_has_gone_is_taken_and_known_when_it_comes_again(post: Post) -> None:
    post.gate.is_open.clear()
    async with sender(post.port) as county:
        county.writer.write(framed(message("M1")))
        await until(lambda: post.gate.waiting)
    post.gate.is_open.set()

    async with sender(post.port) as county:
        assert said(await county.say(message("M1"))) == ["AA M1"]

    assert (post.gate.waiting, post.gate.sink.people) == (1, ["C-1"])


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (b"GET /v1/inbox HTTP/1.1\r\nHost: node\r\n\r\n", "frame-missing"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "frame-missing"),
        (BEGIN + message("M1") + framed(message("M2", "C-2")), "frame-broken"),
        (BEGIN + message("M1") + b"\x1c\x0b", "frame-broken"),
        (BEGIN + b"MSH|^~\\&|" + b"x" * 70_000, "message-too-long"),
    ],
)
async def test_what_is_not_framed_loses_its_connection_and_harms_nobody(post: Post, stream: bytes, code: str) -> None:
    async with sender(post.port) as good, sender(post.port) as bad:
        answer = await bad.send(stream)
        assert (said(answer), codes(answer)) == (["AE"], [code])
        assert await bad.is_ended()

        assert said(await good.say(message("M3", "C-3"))) == ["AA M3"]

    assert post.gate.sink.people == ["C-3"]


async def test_a_message_that_does_not_come_to_its_end_in_time_is_told_so(
    books: Progress, engine: Engine, tmp_path: Path
) -> None:
    async with (
        serving(books, engine, tmp_path, replace(POLICY, message_seconds=0.2)) as post,
        sender(post.port) as slow,
        sender(post.port) as good,
    ):
        answer = await slow.send(framed(message("M1"))[:-2])

        assert codes(answer) == ["message-slow"]
        assert await slow.is_ended()
        assert said(await good.say(message("M2"))) == ["AA M2"]


async def test_a_message_that_trickles_in_is_not_waited_for_longer(
    books: Progress, engine: Engine, tmp_path: Path
) -> None:
    policy = replace(POLICY, message_bytes=400, message_seconds=0.2)
    async with serving(books, engine, tmp_path, policy) as post, sender(post.port) as slow:
        slow.writer.write(BEGIN + message("M1")[:20])
        answer = asyncio.create_task(slow.answer())
        # Were each byte waited for anew, it would be refused for its length, after four seconds at the soonest.
        while not answer.done():
            with suppress(ConnectionError):
                slow.writer.write(b"x")
                await slow.writer.drain()
            await asyncio.sleep(0.01)

        assert codes(answer.result()) == ["message-slow"]


async def test_a_connection_that_is_silent_for_too_long_is_closed(
    books: Progress, engine: Engine, tmp_path: Path
) -> None:
    async with serving(books, engine, tmp_path, replace(POLICY, idle_seconds=0.2)) as post, sender(post.port) as silent:
        assert await silent.is_ended()


async def test_a_sender_has_so_many_connections_and_those_that_end_are_free_again(post: Post) -> None:
    async with AsyncExitStack() as stack:
        held = [await stack.enter_async_context(sender(post.port)) for _ in range(POLICY.connections)]
        for number, county in enumerate(held):
            assert said(await county.say(message(f"M{number}"))) == [f"AA M{number}"]
        async with sender(post.port) as further:
            assert await further.is_ended()

    async def is_heard() -> bool:
        async with sender(post.port) as county:
            return said(await county.say(message("M9"))) == ["AA M9"]

    assert await until(is_heard)


async def test_a_listener_without_a_descriptor_left_listens_on(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, failed = asyncio.get_running_loop(), list[str]()
    accept = loop.sock_accept

    async def failing(bound: socket.socket) -> Any:
        if not failed:
            failed.append("EMFILE")
            raise OSError(errno.EMFILE, "Too many open files")
        return await accept(bound)

    monkeypatch.setattr(loop, "sock_accept", failing)
    async with sender(post.port) as waiting:  # the one that is accepted already
        assert said(await waiting.say(message("M1"))) == ["AA M1"]
    await until(lambda: failed)
    async with sender(post.port) as county:
        assert said(await county.say(message("M2", "C-2"))) == ["AA M2"]


async def test_an_end_that_has_vanished_is_found_out_by_the_system(post: Post) -> None:
    async with sender(post.port) as county:
        assert said(await county.say(message("M1"))) == ["AA M1"]
        lines = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
        ours = [line for line in lines if line[1].endswith(f":{post.port:04X}") and line[3] == "01"]

    is_kept_alive = "02"
    assert [line[5].partition(":")[0] for line in ours] == [is_kept_alive]


async def test_a_sender_that_is_shut_out_is_heard_no_more_on_an_open_connection(post: Post) -> None:
    async with sender(post.port) as county:
        assert said(await county.say(message("M1"))) == ["AA M1"]
        post.shut_out.add("loopback")

        assert await county.say(message("M2", "C-2")) == ""

    assert post.gate.sink.people == ["C-1"]


async def test_a_message_that_is_being_taken_is_answered_when_the_node_stops_and_nothing_else_is_waited_for(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mllp, "STOP_SECONDS", 3600.0)
    post.gate.is_open.clear()
    async with sender(post.port) as county, sender(post.port) as idle:
        answer = asyncio.create_task(county.say(message("M1")))
        await until(lambda: post.gate.waiting)
        stopping = asyncio.create_task(post.listener.stop())
        assert await idle.is_ended()

        post.gate.is_open.set()
        await stopping

        assert said(await answer) == ["AA M1"]


async def test_an_end_that_never_reads_its_answers_is_left(
    books: Progress, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mllp, "CLOSE_SECONDS", 0.2)
    async with serving(books, engine, tmp_path, replace(POLICY, message_seconds=0.5), buffer=2048) as post:
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.connect(("127.0.0.1", post.port))
        sent = threading.Thread(target=_shout, args=(deaf,), daemon=True)
        sent.start()
        await until(lambda: not sent.is_alive())

        async with sender(post.port) as good:
            assert said(await good.say(message("M2"))) == ["AA M2"]
        deaf.close()
    # Beyond what the system holds, its answers are waited for and not gathered: 64 KiB of them would be 400.
    assert post.gate.sink.calls < 200


def _shout(deaf: socket.socket) -> None:
    """Send messages until the other end gives up."""
    with suppress(OSError):
        for number in count():
            deaf.sendall(b"".join(framed(message(f"S{number}-{each}", f"C-{each}")) for each in range(50)))
