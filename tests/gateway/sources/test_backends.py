"""A query's source over HTTP, against real sockets that close connections when they like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson
import pytest

from adapters.sdk import Limits, load
from gateway.sources.backends import HttpBackend, Locator
from gateway.sources.endpoint import Endpoint
from gateway.wire.problems import ProblemError
from schemas.identifiers import MIGRI_CUSTOMER
from tests.gateway.endless import endless

ANSWER = orjson.dumps([{"asiakasnumero": "A1", "sukunimi": "Enkö", "etunimet": "Salim", "syntymaaika": "1990-02-05"}])


@dataclass
class Source:
    """Answers so many questions on each connection; then it hangs up when the next one has come, without an answer."""

    answers: int
    connections: list[int] = field(default_factory=list)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.connections)
        self.connections.append(0)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
                )
                await reader.readexactly(length)
                self.connections[number] += 1
                if self.connections[number] > self.answers:
                    return
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)
                    + ANSWER
                )
                await writer.drain()
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()


@asynccontextmanager
async def asking(source: Source) -> AsyncIterator[HttpBackend]:
    server = await asyncio.start_server(source.connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    backend = HttpBackend(
        Endpoint(f"http://127.0.0.1:{port}/", timeout_seconds=10, body_limit=100_000),
        load("municipality-json"),
        limits=Limits(),
    )
    try:
        yield backend
    finally:
        await backend.close()
        server.close()
        await server.wait_closed()


async def test_a_kept_connection_that_the_source_has_closed_costs_nobody_an_answer() -> None:
    source = Source(answers=1)
    async with asking(source) as backend:
        for _ in range(3):
            assert (await backend.fetch(Locator(MIGRI_CUSTOMER, "A1"))).bundle["resourceType"] == "Bundle"
    assert source.connections == [2, 2, 1]


async def test_a_source_that_never_answers_is_asked_twice_and_then_said_to_be_away() -> None:
    source = Source(answers=0)
    async with asking(source) as backend:
        with pytest.raises(ProblemError) as caught:
            await backend.fetch(Locator(MIGRI_CUSTOMER, "A1"))
    assert caught.value.code == "source-unreachable"
    assert source.connections == [1, 1]


async def test_answer_that_never_ends_is_left_at_the_limit() -> None:
    async with endless() as source:
        endpoint = Endpoint(f"{source.address}/", timeout_seconds=600, body_limit=300_000)
        backend = HttpBackend(endpoint, load("municipality-json"), limits=Limits())
        with pytest.raises(ProblemError, match="over 300000 bytes") as caught:
            await backend.fetch(Locator(MIGRI_CUSTOMER, "A1"))
        await backend.close()

    assert caught.value.code == "source-failed"


async def test_a_source_that_takes_the_question_and_says_nothing_is_given_up_on() -> None:
    gone = asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    backend = HttpBackend(
        Endpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", timeout_seconds=0.1, body_limit=100_000),
        load("municipality-json"),
        limits=Limits(),
    )
    try:
        with pytest.raises(ProblemError) as caught:
            await backend.fetch(Locator(MIGRI_CUSTOMER, "A1"))
    finally:
        gone.set()
        await backend.close()
        server.close()
        await server.wait_closed()
    assert (caught.value.code, caught.value.status) == ("source-timeout", 504)
