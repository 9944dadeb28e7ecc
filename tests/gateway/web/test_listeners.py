"""A listener under more than it can take: it says so at once, and goes on with what it has accepted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.web import listeners
from gateway.web.listeners import CONNECTIONS_FOR_EACH, FaceProtocol, Listener, bind
from gateway.web.slots import STRANGER, Admission, Admitted, Head, SlotLimits
from gateway.wire.problems import ProblemError
from tests.gateway.running import LOOPBACK, Raw, answer_of

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@asynccontextmanager
async def listening(app: Any, limits: SlotLimits, admission: Admission | None = None) -> AsyncIterator[int]:
    """The port of a listener that answers with this application."""
    bound = bind(LOOPBACK, 0)
    listener = Listener(app, bound, limits=limits, admission=admission)
    serving = asyncio.create_task(listener.run_until_stopped())
    await listener.opened()
    try:
        yield bound.getsockname()[1]
    finally:
        listener.should_exit = True
        await serving


async def ask(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(GET)
    return reader, writer


async def read(reader: asyncio.StreamReader) -> Raw | None:
    return await answer_of(reader)


async def plain(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def test_one_request_too_many_is_told_to_come_again_and_the_others_are_answered() -> None:
    begun, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        begun.release()
        await go_on.wait()
        await plain(scope, receive, send)

    async with listening(slow, SlotLimits(2)) as port:
        accepted = [await ask(port) for _ in range(2)]
        for _ in accepted:
            await begun.acquire()
        too_many = await ask(port)

        refusal = await read(too_many[0])
        go_on.set()
        answers = [await read(reader) for reader, _ in accepted]

        assert refusal is not None
        assert (refusal.status, refusal.code) == (503, "busy")
        assert refusal.headers["retry-after"] == "1"
        assert [answer.status if answer else None for answer in answers] == [200, 200]
        again = await ask(port)
        answer = await read(again[0])
        assert answer is not None
        assert answer.status == 200
        for _, writer in (*accepted, too_many, again):
            writer.close()


async def test_open_connections_on_which_nothing_is_asked_keep_nobody_out() -> None:
    async with listening(plain, SlotLimits(2)) as port:
        idle = [await ask(port) for _ in range(6)]
        for reader, _ in idle:
            assert (await read(reader)) is not None

        _, writer = fresh = await ask(port)
        answer = await read(fresh[0])

        assert answer is not None
        assert answer.status == 200
        for _, one in idle:
            one.close()
        writer.close()


async def test_there_is_an_end_to_open_connections() -> None:
    async with listening(plain, SlotLimits(1)) as port:
        held = [await ask(port) for _ in range(CONNECTIONS_FOR_EACH)]
        for reader, _ in held:
            assert (await read(reader)) is not None

        reader, writer = await ask(port)
        with contextlib.suppress(ConnectionError):
            assert await read(reader) is None, "one connection too many is closed"

        for _, one in (*held, (reader, writer)):
            one.close()


def test_what_every_face_promises_is_set_for_each_listener_and_not_for_all() -> None:
    bound = bind(LOOPBACK, 0)
    try:
        listener = Listener(plain, bound, limits=SlotLimits(3))
        assert listener.config.http is not FaceProtocol
        assert FaceProtocol.limits.in_flight == 512
    finally:
        bound.close()


# -- identity before body -----------------------------------------------------------------------------------------


def admit(head: Head) -> Admitted:
    """Callers say their names in a header; strangers may come in at one address."""
    name = head.header(b"x-name")
    if not name and head.path != b"/open":
        raise ProblemError("not-authenticated", detail="who are you?")
    return Admitted(name or STRANGER)


@dataclass
class Reading:
    """An application that reads bodies to their ends; it tells when it has begun to."""

    begun: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.begun.release()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            more = message.get("more_body", False)
        await plain(scope, receive, send)


def head_of(path: str = "/", name: str = "", length: int = 0) -> bytes:
    known = f"X-Name: {name}\r\n" if name else ""
    return f"POST {path} HTTP/1.1\r\nHost: a\r\n{known}Content-Length: {length}\r\n\r\n".encode()


async def say(port: int, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(data)
    return reader, writer


async def answered(port: int, data: bytes) -> Raw | None:
    reader, writer = await say(port, data)
    try:
        return await read(reader)
    finally:
        writer.close()


async def test_a_stranger_is_sent_away_at_the_head_before_any_of_its_body() -> None:
    app = Reading()
    async with listening(app, SlotLimits(4), admit) as port:
        reader, writer = await say(port, head_of(length=1_000_000))

        answer = await read(reader)

        assert answer is not None
        assert (answer.status, answer.code) == (401, "not-authenticated")
        assert (answer.headers["connection"], answer.headers["www-authenticate"]) == ("close", "Bearer")
        assert await reader.read() == b"", "the connection is closed"
        assert app.begun.locked(), "the application never saw it"
        writer.close()


async def test_strangers_who_never_end_their_bodies_keep_no_known_caller_out() -> None:
    app = Reading()
    async with listening(app, SlotLimits(in_flight=2, strangers=2), admit) as port:
        slow = [await say(port, head_of("/open", length=100) + b"x") for _ in range(2)]
        for _ in slow:
            await app.begun.acquire()

        late = await answered(port, head_of("/open"))
        known = await answered(port, head_of("/open", name="system"))
        other = await answered(port, head_of("/", name="system"))

        assert late is not None
        assert (late.status, late.code) == (503, "busy")
        assert known is not None
        assert other is not None
        assert (known.status, other.status) == (200, 200)
        for _, writer in slow:
            writer.close()


async def test_one_caller_has_its_share_of_the_slots_and_no_more() -> None:
    app = Reading()
    async with listening(app, SlotLimits(in_flight=3, each=2), admit) as port:
        slow = [await say(port, head_of(name="greedy", length=100) + b"x") for _ in range(2)]
        for _ in slow:
            await app.begun.acquire()

        greedy, modest = await answered(port, head_of(name="greedy")), await answered(port, head_of(name="modest"))

        assert greedy is not None
        assert modest is not None
        assert (greedy.status, modest.status) == (503, 200)
        slow[0][1].write(b"x" * 99)
        assert (await read(slow[0][0])) is not None
        again = await answered(port, head_of(name="greedy"))
        assert again is not None
        assert again.status == 200, "a slot that was given back can be taken again"
        for _, writer in slow:
            writer.close()


async def test_slot_of_a_request_that_was_sent_ahead_and_never_begun_is_given_back() -> None:
    begun, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        if (b"x-name", b"slow") in scope["headers"]:
            begun.release()
            await go_on.wait()
        await plain(scope, receive, send)

    async with listening(waiting, SlotLimits(in_flight=2), admit) as port:
        # What is no HTTP ends the connection while the first request is being answered and the second waits for it.
        reader, writer = await say(port, head_of(name="slow") * 2 + b"no HTTP\r\n\r\n")
        await begun.acquire()
        await reader.read()

        other = await answered(port, head_of(name="b"))

        assert other is not None
        assert other.status == 200, "one slot is held by the request that was begun, and the other one is free"
        go_on.set()
        writer.close()


async def test_body_of_a_stranger_is_not_waited_for_as_long_as_that_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "STRANGERS_BODY_SECONDS", 0.05)
    async with listening(Reading(), SlotLimits(2), admit) as port:
        slow = await answered(port, head_of("/open", length=100) + b"x")

        assert slow is not None
        assert (slow.status, slow.code) == (408, "request-timeout")
