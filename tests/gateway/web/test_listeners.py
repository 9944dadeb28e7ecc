"""A listener under more than it can take: it says so at once, and goes on with what it has accepted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.web.listeners import CONNECTIONS_FOR_EACH, FaceProtocol, Listener, bind
from tests.gateway.running import LOOPBACK, Raw, answer_of

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@asynccontextmanager
async def listening(app: Any, in_flight: int) -> AsyncIterator[int]:
    """The port of a listener that answers with this application."""
    bound = bind(LOOPBACK, 0)
    listener = Listener(app, bound, in_flight=in_flight)
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

    async with listening(slow, in_flight=2) as port:
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
    async with listening(plain, in_flight=2) as port:
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
    async with listening(plain, in_flight=1) as port:
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
        listener = Listener(plain, bound, in_flight=3)
        assert listener.config.http is not FaceProtocol
        assert FaceProtocol.in_flight == 512
    finally:
        bound.close()
