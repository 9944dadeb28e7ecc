"""A server whose answers never come to their end by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

#: Far beyond every limit; an end all the same, for whoever reads on.
_MOST = 64 * 1024 * 1024


@dataclass
class Endless:
    """Where it listens, and how many bytes of an answer were taken from it."""

    address: str
    sent: int = 0


@asynccontextmanager
async def endless() -> AsyncIterator[Endless]:
    """The server, for as long as it is asked."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[")
            while served.sent < _MOST:
                writer.write(b" " * 65_536)
                await writer.drain()
                served.sent += 65_536
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # whoever asked has read enough
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    served = Endless(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        yield served
    finally:
        server.close()
        await server.wait_closed()
