"""A proxy with real TLS on both sides that stands before a real node and may have one fault.

Without a fault it passes everything on as it came, under the identity that the caller showed.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from gateway.conformance.message import Opened

LOOPBACK = "127.0.0.1"
#: Of a longer body the head alone is passed on: nobody sends one of these.
_LONGEST = 4 * 1024 * 1024


@dataclass(frozen=True)
class Reply:
    """An answer on its way back."""

    status: int
    body: bytes = b"{}"
    kind: str = "application/json"
    message: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def document(self) -> dict[str, Any]:
        found = _json(self.body)
        return found if isinstance(found, dict) else {}

    @property
    def code(self) -> str:
        return str(self.document.get("code", ""))

    def saying(self, document: Any) -> Reply:
        """The same answer with another document as its body."""
        return replace(self, body=json.dumps(document).encode())

    def written(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} Any", f"Content-Length: {len(self.body)}", "Connection: close"]
        lines += [f"Content-Type: {self.kind}"] if self.kind else []
        lines += [f"Message: {self.message}"] if self.message else []
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


@dataclass(frozen=True)
class Sent:
    """A request on its way to the node. `face` is the proxy's name, `certificate` what the caller showed (DER)."""

    face: str
    head: bytes
    body: bytes
    certificate: bytes | None

    @property
    def method(self) -> str:
        return self.head.split(b" ", 2)[0].decode("latin-1")

    @property
    def target(self) -> str:
        return self.head.split(b" ", 2)[1].decode("latin-1")

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def parameters(self) -> Mapping[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}

    def header(self, name: str) -> str:
        for line in self.head.split(b"\r\n")[1:]:
            known, _, value = line.partition(b":")
            if known.decode("latin-1").lower() == name.lower():
                return value.decode("latin-1").strip()
        return ""

    @property
    def document(self) -> Any:
        return _json(self.body)

    @property
    def form(self) -> Mapping[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode("latin-1")).items()}

    @property
    def message(self) -> Opened | None:
        """The message, read without any of the strictness that it may have to be refused by."""
        parts = self.header("message").split(".")
        if len(parts) != 3:
            return None
        header, claims = (_json(_decoded(part)) for part in parts[:2])
        if not isinstance(header, dict) or not isinstance(claims, dict):
            return None
        return Opened(header, claims, _decoded(parts[2]), f"{parts[0]}.{parts[1]}".encode())

    def without(self, name: str) -> Sent:
        """The same request without a header."""
        lines = self.head.split(b"\r\n")
        kept = [line for line in lines if not line.lower().startswith(f"{name.lower()}:".encode())]
        return replace(self, head=b"\r\n".join(kept))

    def having(self, name: str, value: str) -> Sent:
        """The same request with one header more."""
        return replace(self, head=self.head.replace(b"\r\n\r\n", f"\r\n{name}: {value}\r\n\r\n".encode()))


Notes = dict[str, Any]
"""What a fault remembers from one request to the next."""


@dataclass(frozen=True)
class Fault:
    """One fault: what becomes of requests (an answer at once, or another request), of answers, and of handshakes.

    `lets_in` says of a caller without a certificate that it is treated as the registered one. `tls` is one of
    `strangers` (their authority is trusted), `nobody` (no certificate is demanded), `old` (TLS 1.2 is spoken) and
    `unlisted` (another certificate is shown).
    """

    request: Callable[[Sent, Notes], Sent | Reply] | None = None
    answer: Callable[[Sent, Reply, Notes], Reply] | None = None
    lets_in: Callable[[Sent], bool] | None = None
    tls: str = ""
    faces: tuple[str, ...] = ()


@dataclass
class Proxy:
    """The proxy before one face. `identities` gives the upstream context for the certificate that a caller showed."""

    name: str
    port: int
    server_name: str
    downstream: Callable[[str], ssl.SSLContext]
    identities: Callable[[bytes | None], ssl.SSLContext]
    fault: Fault | None = None
    notes: Notes = field(default_factory=dict)
    _socket: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self._socket = socket.create_server((LOOPBACK, 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def own_port(self) -> int:
        return int(self._socket.getsockname()[1])

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(plain,), daemon=True).start()

    def _one(self, plain: socket.socket) -> None:
        fault = self.fault or Fault()
        with (
            plain,
            contextlib.suppress(OSError, http.client.HTTPException),
            self.downstream(fault.tls).wrap_socket(plain, server_side=True) as connection,
        ):
            sent = self._read(connection)
            if sent is not None:
                connection.sendall(self._answer(sent, fault).written())
                with contextlib.suppress(OSError):
                    connection.unwrap()

    def _read(self, connection: ssl.SSLSocket) -> Sent | None:
        data = b""
        while b"\r\n\r\n" not in data:
            part = connection.recv(65536)
            if not part:
                return None
            data += part
        head, _, body = data.partition(b"\r\n\r\n")
        sent = Sent(self.name, head + b"\r\n\r\n", body, connection.getpeercert(True))
        length = int(sent.header("content-length") or 0)
        while len(body) < length <= _LONGEST:
            part = connection.recv(65536)
            if not part:
                return None
            body += part
        return replace(sent, body=body)

    def _answer(self, sent: Sent, fault: Fault) -> Reply:
        if fault.request is not None:
            changed = fault.request(sent, self.notes)
            if isinstance(changed, Reply):
                return changed
            sent = changed
        reply = self.upstream(sent, let_in=fault.lets_in is not None and fault.lets_in(sent))
        return fault.answer(sent, reply, self.notes) if fault.answer is not None else reply

    def upstream(self, sent: Sent, *, let_in: bool = False) -> Reply:
        """Pass a request on to the node and read its answer."""
        context = self.identities(b"let in" if let_in and sent.certificate is None else sent.certificate)
        with (
            socket.create_connection((LOOPBACK, self.port)) as plain,
            context.wrap_socket(plain, server_hostname=self.server_name) as connection,
        ):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(sent.head + sent.body)
            received = http.client.HTTPResponse(connection)
            received.begin()
            kept = tuple(
                (name, value)
                for name, value in received.headers.items()
                if name.lower() in {"www-authenticate", "retry-after", "cache-control"}
            )
            kind, message = (received.headers.get(name, "") for name in ("content-type", "message"))
            return Reply(received.status, received.read(), kind, message, kept)


def server_context(certificate: Path, key: Path, passphrase: str, authorities: list[Path]) -> ssl.SSLContext:
    """A listener's context that knows these authorities of callers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key, password=passphrase)
    for authority in authorities:
        context.load_verify_locations(authority)
    return context


def _decoded(segment: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError:
        return b""


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None
