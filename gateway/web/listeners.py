"""Serve an ASGI application on one listener, and keep out what no caller may send to any face.

uvicorn does not pass the client's certificate on. The protocol class here reads it once for each connection, when the
TLS handshake is over, and puts its DER bytes into every request's scope under CERTIFICATE.

A request that two HTTP parsers could read differently never reaches the application: Content-Length beside
Transfer-Encoding, any other transfer coding than `chunked`, no Host or two of them, an upgrade, folded headers. So does
one whose target or headers are too large or come too slowly; a body that comes too slowly ends its request. The refusal
is answered, the connection is closed, and `refused` is told, so that it can be put on record.
Source: RFC 9112 sections 3.2, 5.2, 6.1 and 6.3 (message framing); RFC 9110 section 15.5.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.web.languages import language_in
from gateway.web.slots import STRANGER, Admission, Admitted, Head, Slot, SlotLimits, Slots
from gateway.wire.problems import ProblemError, to_problem_json

CERTIFICATE = "yhdyspinta.certificate"
ADMITTED = "yhdyspinta.admitted"
TIMED_OUT = "yhdyspinta.timed-out"
HEADER_LIMIT = 64 * 1024
HEADER_COUNT = 256
#: Open connections for each request that may be answered at once.
CONNECTIONS_FOR_EACH = 8
TARGET_LIMIT = 8 * 1024
#: What strangers may send comes in one piece with its head, or nearly.
STRANGERS_BODY_SECONDS = 5.0

Refused = Callable[[ProblemError, bytes | None], None]
"""Told of a request that was refused before the application saw it, with the client's certificate if it showed one."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a caller may take for the head of a request, and for its body: seconds."""

    head_seconds: float = 10.0
    body_seconds: float = 60.0


class FaceProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which tells the application who is at the other end, and refuses what is not plain."""

    patience = Patience()
    limits = SlotLimits()
    slots = Slots(SlotLimits())
    admission: Admission | None = None
    refused: Refused | None = None
    certificate: bytes | None = None
    _slots_taken: Sequence[Slot] = ()
    _header_bytes = 0
    _deadline: asyncio.TimerHandle | None = None
    _problem: ProblemError | None = None

    def connection_made(self, transport: Any) -> None:
        """Read the certificate of the connection, if it is a TLS connection with one, and start to wait."""
        super().connection_made(transport)
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        self.certificate = tls.getpeercert(True) if tls is not None else None
        most = CONNECTIONS_FOR_EACH * self.limits.in_flight
        if len(self.connections) > (most if self.certificate is not None or self.admission is None else most // 2):
            # Those who show no certificate may open half of the connections, so that others can still come.
            transport.close()
            return
        self._expect(self.patience.head_seconds, self._head_too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more, and keep no slot for a request that was never begun."""
        self._arrived()
        for slot in self._slots_taken:
            if not slot.is_begun:
                slot.free()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes. Those of a new request on an open connection start the wait for its head."""
        if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            self._expect(self.patience.head_seconds, self._head_too_slow)
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Start a request; its scope carries the certificate from the beginning."""
        super().on_message_begin()
        self._header_bytes = 0
        self.scope[CERTIFICATE] = self.certificate  # type: ignore[literal-required]

    def on_url(self, url: bytes) -> None:
        """Collect the target; a target over the limit ends the connection."""
        super().on_url(url)
        if len(self.url) > TARGET_LIMIT:
            self._refuse("target-too-long", f"a target has at most {TARGET_LIMIT} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect one header; headers over the limit end the connection."""
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > HEADER_LIMIT:
            self._refuse("headers-too-large", f"headers have at most {HEADER_LIMIT} bytes in all")
        if len(self.headers) >= HEADER_COUNT:
            self._refuse("headers-too-large", f"a request has at most {HEADER_COUNT} headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there: refuse it if others could read it differently, else let the application begin."""
        self._check_head()
        who = self._admitted()
        stranger = who.caller == STRANGER
        self._expect(STRANGERS_BODY_SECONDS if stranger else self.patience.body_seconds, self._body_too_slow)
        # What counts is what is being answered: an open connection on which nothing is asked costs next to nothing.
        slot = self.slots.take(who.caller)
        self.app = _busy if slot is None else slot.around(self.config.loaded_app)
        # Requests that are sent ahead wait for one another, and may never be begun.
        waiting = [before for before in self._slots_taken if not before.is_begun]
        self._slots_taken = waiting if slot is None else [*waiting, slot]
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is there."""
        self._arrived()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is no HTTP, or that was refused above, and close the connection."""
        problem = self._problem or ProblemError("invalid-request", detail="this is not an HTTP/1.1 request")
        self._answer(problem)
        if self.refused is not None:
            self.refused(problem, self.certificate)

    def _admitted(self) -> Admitted:
        """Who calls, before anything of the body is kept; who may not come in is answered here."""
        if self.admission is None:
            return Admitted("anybody")
        path = self.url.partition(b"?")[0]
        head = Head(self.parser.get_method(), path, tuple(self.headers), self.certificate)
        try:
            who = self.admission(head)
        except ProblemError as problem:
            self._problem = problem
            raise ValueError(problem.code) from None
        self.scope[ADMITTED] = who.known  # type: ignore[literal-required]
        return who

    def _check_head(self) -> None:
        coding = [value for name, value in self.headers if name == b"transfer-encoding"]
        if coding and ([value.strip().lower() for value in coding] != [b"chunked"] or self._old()):
            self._refuse("invalid-header", "the one transfer coding that is understood is chunked")
        if coding and any(name == b"content-length" for name, _ in self.headers):
            self._refuse("invalid-header", "a request has a Content-Length or a Transfer-Encoding, not both")
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and not self._old()):
            self._refuse("invalid-header", "a request has one Host")
        if any(name == b"upgrade" for name, _ in self.headers):
            self._refuse("invalid-header", "no other protocol is spoken here; leave Upgrade out")
        if not self.url.startswith(b"/"):
            self._refuse("invalid-target", "a target is a path and perhaps a query")

    def _old(self) -> bool:
        return bool(self.parser.get_http_version() == "1.0")

    def _refuse(self, code: str, detail: str) -> None:
        self._problem = ProblemError(code, detail=detail)
        # The parser stops at an exception, and uvicorn then calls `send_400_response`.
        raise ValueError(code)

    def _head_too_slow(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        if self._header_bytes or self.__dict__.get("url"):
            self._problem = ProblemError("request-timeout", detail="the head of the request did not come in time")
            self.send_400_response("")
        else:
            # Nothing was begun, so there is nothing to answer.
            self.transport.close()

    def _body_too_slow(self) -> None:
        self._deadline = None
        if self.transport.is_closing() or self.cycle.response_complete:
            return
        self.cycle.scope[TIMED_OUT] = True  # type: ignore[literal-required]
        if not self.cycle.response_started:
            self._answer(ProblemError("request-timeout", detail="the body of the request did not come in time"))
        else:
            self.transport.close()
        # The application that waits for the rest is told that none will come, and puts that on record.
        self.cycle.disconnected = True
        self.cycle.message_event.set()

    def _answer(self, problem: ProblemError) -> None:
        accepted = next((value for name, value in self.headers if name == b"accept-language"), b"")
        body = to_problem_json(problem, language_in(accepted.decode("latin-1")))
        lines = [
            f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}",
            "content-type: application/problem+json",
            f"content-length: {len(body)}",
            "connection: close",
        ]
        if problem.status == HTTPStatus.UNAUTHORIZED:
            lines.append("www-authenticate: Bearer")
        if problem.retry_after is not None:
            lines.append(f"retry-after: {problem.retry_after}")
        head = "\r\n".join([*lines, "\r\n"])
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()

    def _expect(self, seconds: float, otherwise: Callable[[], None]) -> None:
        self._arrived()
        self._deadline = self.loop.call_later(seconds, otherwise)

    def _arrived(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


async def _busy(_scope: Any, _receive: Any, send: Any) -> None:
    """The answer to one request too many. It costs little, and nothing is recorded: there may be thousands of them."""
    problem = ProblemError("busy", detail="the node answers as many requests as it can", retry_after=1)
    body = to_problem_json(problem)
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode("ascii")),
        (b"retry-after", b"1"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Listener(uvicorn.Server):
    """One address on which a node answers. Signals are the node's business, not the listener's."""

    def __init__(
        self,
        app: Any,
        bound: socket.socket,
        *,
        tls: ssl.SSLContext | None = None,
        limits: SlotLimits | None = None,
        patience: Patience | None = None,
        admission: Admission | None = None,
        refused: Refused | None = None,
    ) -> None:
        """Without `admission` whoever connects is served."""
        limits = limits or SlotLimits()
        self.bound = bound
        self._opened = asyncio.Event()
        protocol = type(
            "Protocol",
            (FaceProtocol,),
            {
                "patience": patience or Patience(),
                "limits": limits,
                "slots": Slots(limits),
                "admission": staticmethod(admission) if admission is not None else None,
                "refused": staticmethod(refused) if refused is not None else None,
            },
        )
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=10,
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
