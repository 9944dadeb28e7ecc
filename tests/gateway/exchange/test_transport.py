"""What a node says of another node that does not answer."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from gateway.exchange.transport import PeerTransport
from gateway.registry.read.entries import Node
from gateway.wire.identifiers import MemberId
from gateway.wire.problems import ProblemError


async def test_a_peer_that_takes_the_connection_and_says_nothing_is_given_up_on() -> None:
    gone = asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    owner = MemberId.parse("FI-DEMO/MUN/1")
    node = Node("second.demo", owner, f"https://127.0.0.1:{port}", frozenset(), frozenset({owner}))
    transport = PeerTransport(ssl.create_default_context(), timeout_seconds=0.1, body_limit=1000)
    await transport.open()
    try:
        with pytest.raises(ProblemError) as caught:
            await transport.send(node, "a.b.c", b"{}", "application/json", {})
    finally:
        gone.set()
        await transport.close()
        server.close()
        await server.wait_closed()
    assert (caught.value.code, caught.value.status) == ("peer-timeout", 504)
    assert "second.demo" in caught.value.detail
