"""A TCP relay before a node, which cuts the network in one direction or in both."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Cut:
    """What does not come through: bytes to the node, bytes from it."""

    there: bool = False
    back: bool = False


@dataclass
class Relay:
    """Listens on a port of its own and passes on to another, in a thread of its own."""

    target: int
    cut: Cut = field(default_factory=Cut)

    def __post_init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._broken: set[asyncio.StreamWriter] = set()
        self.swallowed = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def heal(self) -> None:
        """Let everything through again. Connections of which something was lost can never go on: they are ended."""
        self.cut = Cut()
        self._loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        for writer in self._broken:
            writer.transport.abort()
        self._broken.clear()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        async def serve() -> None:
            await asyncio.start_server(self._serve, sock=self._socket)

        self._loop.create_task(serve())
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, back)
        await asyncio.gather(
            self._pass(reader, back, pair, lambda: self.cut.there),
            self._pass(onward, writer, pair, lambda: self.cut.back),
        )

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        is_cut: Callable[[], bool],
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if is_cut():
                    self.swallowed += 1
                    self._broken.update(pair)
                    continue
                writer.write(data)
                await writer.drain()
        if not is_cut():
            writer.close()
