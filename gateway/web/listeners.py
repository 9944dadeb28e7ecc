"""Serve an ASGI application on one listener, with the peer's TLS certificate in its scope.

uvicorn does not pass the client's certificate on. The protocol class here reads it once for each connection, when the
TLS handshake is over, and puts its DER bytes into every request's scope under CERTIFICATE.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Generator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CERTIFICATE = "yhdyspinta.certificate"
HEADER_LIMIT = 64 * 1024


class CertificateProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which also tells the application who is at the other end of the TLS connection."""

    certificate: bytes | None = None
    _header_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """Read the certificate of the connection, if it is a TLS connection with one."""
        super().connection_made(transport)
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        self.certificate = tls.getpeercert(True) if tls is not None else None

    def on_message_begin(self) -> None:
        """Start a request; its scope carries the certificate from the beginning."""
        super().on_message_begin()
        self._header_bytes = 0
        self.scope[CERTIFICATE] = self.certificate  # type: ignore[literal-required]

    def on_url(self, url: bytes) -> None:
        """Collect the target; a target over the limit ends the connection."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect one header; headers over the limit end the connection."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > HEADER_LIMIT:
            raise ValueError("request line and headers are over the limit")


class Listener(uvicorn.Server):
    """One address on which a node answers. Signals are the node's business, not the listener's."""

    def __init__(
        self,
        app: Any,
        bound: socket.socket,
        *,
        tls: ssl.SSLContext | None = None,
        in_flight: int | None = None,
    ) -> None:
        self.bound = bound
        self._opened = asyncio.Event()
        super().__init__(
            uvicorn.Config(
                app,
                http=CertificateProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=10,
                limit_concurrency=in_flight,
                ssl_context_factory=(lambda _config, _default: tls) if tls is not None else None,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the process's signal handlers alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the listener, and say so to whoever waits in `opened`."""
        try:
            await super().startup(sockets)
        finally:
            self._opened.set()

    async def opened(self) -> None:
        """Wait until the listener takes connections, or has failed to."""
        await self._opened.wait()

    async def run_until_stopped(self) -> None:
        """Serve until `should_exit` is set."""
        try:
            await self.serve(sockets=[self.bound])
        finally:
            self._opened.set()


def bind(host: str, port: int) -> socket.socket:
    """Bind an address before anything else starts, so that a taken port is told at once. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound
