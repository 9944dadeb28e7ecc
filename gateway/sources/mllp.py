"""Listen for HL7 v2 messages over MLLP: TLS with the certificate of a registered client, or plain on loopback.

A sender that is slow, silent, endless or not an MLLP sender at all loses its own connection and nothing else: strangers
have places of their own until their handshake is over, a sender has some connections and is answered one message at a
time, in its own reader process. The port is bound before anything is started, and served when the node can decide.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

from adapters.sdk import Adapter
from gateway.sources.frames import FrameError, Frames
from gateway.sources.messages import Messages
from gateway.telemetry import event
from gateway.wire.problems import ProblemError

LOGGER = logging.getLogger("yhdyspinta.sources")
HANDSHAKE_SECONDS: Final = 10.0
#: Connections that have not shown yet whose they are: in all, and from one address.
HANDSHAKES: Final = 64
HANDSHAKES_EACH: Final = 8
#: How long a message that is being taken is waited for when the node stops.
STOP_SECONDS: Final = 10.0
#: How long an end is waited for that is to close its side.
CLOSE_SECONDS: Final = 10.0
_PIECE: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class MllpPolicy:
    """What a sender may do: bytes of a message, seconds for one, seconds of silence, connections open at once."""

    message_bytes: int = 1024 * 1024
    message_seconds: float = 30.0
    idle_seconds: float = 3600.0
    connections: int = 8


@dataclass(frozen=True, slots=True)
class Senders:
    """Who may send: the TLS context that asks for their certificates (None: plain, on loopback), the name of whoever
    shows a certificate (raises ProblemError), and the adapter that reads for each of them.
    """

    context: ssl.SSLContext | None
    name: Callable[[bytes | None], str]
    adapter: Callable[[str], Adapter]


class MllpListener:
    """The listener of one source. Belongs to its event loop."""

    def __init__(
        self, name: str, bound: socket.socket, senders: Senders, messages: Messages, policy: MllpPolicy
    ) -> None:
        self._name = name
        self._bound = bound
        self._senders = senders
        self._messages = messages
        self._policy = policy
        self._accepting: asyncio.Task[None] | None = None
        self._strangers: Counter[str] = Counter()
        self._open: Counter[str] = Counter()
        self._turns: dict[str, asyncio.Lock] = {}
        self._waiting: set[asyncio.Task[None]] = set()
        self._working: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    async def start(self) -> None:
        """Accept connections from now on."""
        self._bound.listen(HANDSHAKES)
        self._accepting = asyncio.create_task(self._accept(), name=f"source {self._name}")

    async def stop(self) -> None:
        """Accept nothing more; a message that is being taken is taken and answered."""
        self._is_stopping = True
        if self._accepting is not None:
            self._accepting.cancel()
        for task in self._waiting:
            task.cancel()
        if self._working:
            await asyncio.wait(self._working, timeout=STOP_SECONDS)
        left = [*self._waiting, *self._working, *((self._accepting,) if self._accepting else ())]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(self._bound)
            except OSError as error:  # no descriptor is left: connections that are open end in their time
                event(LOGGER, logging.ERROR, "connection-failed", source=self._name, reason=type(error).__name__)
                await asyncio.sleep(1.0)
                continue
            host = str(address[0])
            if self._strangers.total() >= HANDSHAKES or self._strangers[host] >= HANDSHAKES_EACH:
                connection.close()
                continue
            self._strangers[host] += 1
            task = asyncio.create_task(self._serve(connection, host))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    async def _serve(self, connection: socket.socket, host: str) -> None:
        writer: asyncio.StreamWriter | None = None
        try:
            try:
                reader, writer = await self._opened(connection)
                sender = self._who(writer)
            finally:
                self._strangers[host] -= 1
                self._strangers += Counter()  # forget the addresses of nobody
            if sender is not None:
                with self._place(sender) as has_place:
                    if has_place:
                        await self._talk(sender, reader, writer)
        except (TimeoutError, OSError):
            pass  # the other end is gone, or as good as gone; what was not answered it sends again
        except Exception as error:
            event(LOGGER, logging.ERROR, "connection-failed", source=self._name, reason=type(error).__name__)
        finally:
            if writer is not None:
                writer.close()
                # An end that does not read would keep its connection open for as long as it likes.
                asyncio.get_running_loop().call_later(CLOSE_SECONDS, writer.transport.abort)
            else:
                connection.close()

    async def _opened(self, connection: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection whose handshake is over, if it has one. TLS begins with the first byte."""
        loop, context = asyncio.get_running_loop(), self._senders.context
        _keep_alive(connection)
        reader = asyncio.StreamReader(_PIECE, loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol,
            connection,
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if context is not None else None,
        )
        transport.set_write_buffer_limits(high=0)  # an answer that nobody reads is waited for, not gathered
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    def _who(self, writer: asyncio.StreamWriter) -> str | None:
        tls: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
        try:
            return self._senders.name(tls.getpeercert(True) if tls is not None else None)
        except ProblemError as problem:
            event(LOGGER, logging.WARNING, "sender-refused", source=self._name, reason=problem.code)
            return None

    @contextmanager
    def _place(self, sender: str) -> Iterator[bool]:
        has_place = self._open[sender] < self._policy.connections
        if not has_place:
            event(LOGGER, logging.WARNING, "sender-refused", source=self._name, sender=sender, reason="connections")
        self._open[sender] += has_place
        try:
            yield has_place
        finally:
            self._open[sender] -= has_place

    async def _talk(self, sender: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = Frames(self._policy.message_bytes)
        adapter = self._senders.adapter(sender)
        try:
            async for body in self._frames(frames, reader):
                # Whoever has been shut out meanwhile is heard no more, on open connections too.
                if self._who(writer) != sender:
                    return
                async with self._at_work(), self._turns.setdefault(sender, asyncio.Lock()):
                    await self._say(writer, await self._messages.answer(sender, body, adapter))
                if self._is_stopping:
                    return
        except FrameError as error:
            await self._say(writer, self._messages.refused(sender, error.code))

    async def _frames(self, frames: Frames, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
        """Frame after frame, until the other end closes. Raises FrameError; TimeoutError for silence."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._policy.idle_seconds
        while True:
            was_begun = frames.is_begun
            try:
                async with asyncio.timeout_at(ends):
                    piece = await reader.read(_PIECE)
            except TimeoutError:
                if frames.is_begun:
                    raise FrameError("message-slow") from None
                raise
            if not piece:
                return
            count = 0
            for body in frames.feed(piece):
                count += 1
                yield body
            if count or (frames.is_begun and not was_begun):
                # Of a message the whole is waited for, and not each of its bytes.
                begun = self._policy.message_seconds if frames.is_begun else self._policy.idle_seconds
                ends = loop.time() + begun

    @asynccontextmanager
    async def _at_work(self) -> AsyncIterator[None]:
        """A message is being taken: the node does not stop in the middle of it."""
        task = asyncio.current_task()
        assert task is not None
        self._waiting.discard(task)
        self._working.add(task)
        try:
            yield
        finally:
            self._working.discard(task)
            self._waiting.add(task)

    async def _say(self, writer: asyncio.StreamWriter, answer: bytes) -> None:
        writer.write(answer)
        async with asyncio.timeout(self._policy.message_seconds):
            await writer.drain()


def _keep_alive(connection: socket.socket) -> None:
    """Let the system find out that the other end is gone, which sends nothing for hours when it is well."""
    with contextlib.suppress(OSError, AttributeError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 20)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
