"""Carry a signed message to another node and bring its answer back.

One pooled HTTP client a process. The connection is TLS 1.3 with our node's certificate; before a byte of the message is
sent, the other end's certificate has been held against the pins that the registry lists for that node.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp

from gateway.registry.read.entries import Node
from gateway.wire.problems import ProblemError, UnsentError

MESSAGE_HEADER = "Message"
TRACE_HEADER = "traceparent"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: HTTP status, the signed answer if there is one, and the body."""

    status: int
    message: str | None
    content_type: str
    body: bytes


class PinnedContext(ssl.SSLContext):
    """A client TLS context which holds the server's certificate against the registry as the handshake ends."""

    accepts: Callable[[str, bytes], bool]


class _PinnedObject(ssl.SSLObject):
    def do_handshake(self) -> None:
        super().do_handshake()
        context = self.context
        certificate = self.getpeercert(True)
        if (
            not isinstance(context, PinnedContext)
            or certificate is None
            or not context.accepts(self.server_hostname or "", certificate)
        ):
            raise ssl.SSLCertVerificationError("the registry does not list this certificate for the node")


def pinned(context: PinnedContext, accepts: Callable[[str, bytes], bool]) -> PinnedContext:
    """Make `context` refuse servers whose certificate `accepts(node id, DER)` does not accept."""
    context.accepts = accepts
    context.sslobject_class = _PinnedObject
    return context


class PeerTransport:
    """The node's one client towards other nodes."""

    def __init__(self, context: ssl.SSLContext, *, timeout_seconds: float, body_limit: int) -> None:
        self._context = context
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=min(5.0, timeout_seconds))
        self._body_limit = body_limit
        self._session: aiohttp.ClientSession | None = None
        self._retiring: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Start the connection pool. Must be called on the loop that will send."""
        connector = aiohttp.TCPConnector(limit=0, limit_per_host=128, ssl=self._context, keepalive_timeout=60)
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers={"User-Agent", "Accept-Encoding", "Accept"},
        )

    async def close(self) -> None:
        """End all connections."""
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def renew(self, context: ssl.SSLContext) -> None:
        """Make the next messages use new connections, opened with this context; requests under way end undisturbed.

        A connection is held against the registry when it is opened. So this is also what makes a certificate that the
        registry no longer lists of no use to whoever is at the other end of an open one.
        """
        former = self._session
        self._context = context
        await self.open()
        if former is not None:
            task = asyncio.create_task(self._retire(former))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def _retire(self, former: aiohttp.ClientSession) -> None:
        try:
            await asyncio.sleep(self._timeout.total or 0)
        finally:
            await former.close()

    async def send(self, node: Node, message: str, body: bytes, content_type: str, trace: Mapping[str, str]) -> Reply:
        """Send one message to another node. Raises ProblemError `peer-unreachable`, `peer-timeout`."""
        headers = {MESSAGE_HEADER: message, "Content-Type": content_type, **trace}
        return await self._request(node.id, "POST", f"{node.address}/peer/v1/messages", body, headers)

    async def call(
        self, node: Node, method: str, path: str, body: bytes | None = None, content_type: str = ""
    ) -> Reply:
        """Call another of the node's peer addresses. Raises ProblemError `peer-unreachable`, `peer-timeout`."""
        headers = {"Content-Type": content_type} if content_type else {}
        return await self._request(node.id, method, f"{node.address}{path}", body, headers)

    async def _request(self, node: str, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        if self._session is None:
            raise RuntimeError("the transport was not opened")
        try:
            async with self._session.request(
                method,
                url,
                data=body,
                headers=headers,
                server_hostname=node,
                allow_redirects=False,
            ) as response:
                received = await response.content.read(self._body_limit + 1)
                while len(received) <= self._body_limit and not response.content.at_eof():
                    received += await response.content.read(self._body_limit + 1 - len(received))
                if len(received) > self._body_limit:
                    raise ProblemError("peer-answer-too-large", detail="the other node's answer is over the limit")
                signed = response.headers.getall(MESSAGE_HEADER, [])
                return Reply(
                    response.status,
                    signed[0] if len(signed) == 1 else None,
                    response.headers.get("Content-Type", ""),
                    received,
                )
        except TimeoutError:
            raise ProblemError("peer-timeout", detail=f"node {node} did not answer in time") from None
        except aiohttp.ClientConnectorError as error:
            # No connection came about, or the other end is not the node: the message is written after that only.
            raise UnsentError(
                "peer-unreachable", detail=f"node {node} could not be reached ({type(error).__name__})"
            ) from None
        except (aiohttp.ClientError, ssl.SSLError, OSError) as error:
            raise ProblemError(
                "peer-unreachable", detail=f"node {node} could not be reached ({type(error).__name__})"
            ) from None
