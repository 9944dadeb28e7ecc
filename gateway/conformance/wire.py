"""Send bytes over TLS, read one answer, and keep what was exchanged in a form that may be shown.

Each request has a connection of its own and may be as malformed as a test wants it: nothing is repaired on the way.
What is kept for showing holds no token, assertion or signature.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.conformance.profile import Identity
from gateway.conformance.verdicts import Failed

SHOWN = 400
_SECRET = re.compile(r"(?i)(authorization: bearer |client_assertion=|\"access_token\":\s*\")[^\s&\"]+")
_SIGNED = re.compile(r"\b([A-Za-z0-9_-]{10})[A-Za-z0-9_-]*\.[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]+")

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Status 0 is a connection that was closed without an answer; `reason` then says how."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    reason: str = ""
    certificate: bytes = b""

    def header(self, name: str) -> str:
        """The value of a header; empty if it is not there."""
        return next((value for known, value in self.headers if known.lower() == name.lower()), "")

    @property
    def document(self) -> Mapping[str, Any]:
        """The body as a JSON object; empty if it is none."""
        with contextlib.suppress(ValueError):
            found = json.loads(self.body)
            if isinstance(found, dict):
                return found
        return {}

    @property
    def code(self) -> str:
        """The code of a problem; empty if the answer is none."""
        found = self.document.get("code")
        return found if isinstance(found, str) else ""

    def told(self) -> str:
        """The answer in a few words."""
        if not self.status:
            return f"no answer ({self.reason})"
        return f"{self.status} {self.code}".strip()


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, short and without secrets."""

    request: str
    answer: str


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it is to be sent. `length` other than None is written as Content-Length whatever the body is."""

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""
    length: int | None = None

    def written(self, host: str) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1", f"Host: {host}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if not any(name.lower() == "content-length" for name, _ in self.headers):
            lines.append(f"Content-Length: {len(self.body) if self.length is None else self.length}")
        return "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + self.body


@dataclass(slots=True)
class Wire:
    """Sends requests for one test and keeps what was exchanged."""

    patience: float
    exchanges: list[Exchange] = field(default_factory=list)

    def send(self, address: str, context: ssl.SSLContext, request: Request, server: str | None = None) -> Answer:
        """Send a request and read its answer; `server` is the name to ask for, if it is not the address's host.

        Raises Failed if nobody listens or nothing comes: whoever is not there has refused nothing.
        """
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port or 443
        try:
            plain = socket.create_connection((host, port), timeout=self.patience)
        except OSError as error:
            raise Failed(f"somebody who listens at {host}:{port}", type(error).__name__) from None
        try:
            with plain:
                answer = self._over(plain, context, request.written(f"{host}:{port}"), server or host)
        except ssl.SSLError as error:
            answer = Answer(0, reason=f"TLS: {error.reason or 'the connection was closed'}")
        except TimeoutError:
            raise Failed(
                f"an answer, or an end, from {host}:{port}", f"nothing for {self.patience:g} seconds"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            answer = Answer(0, reason=type(error).__name__)
        self.exchanges.append(_shown(request, answer))
        return answer

    def _over(self, plain: socket.socket, context: ssl.SSLContext, data: bytes, server: str) -> Answer:
        with context.wrap_socket(plain, server_hostname=server) as connection:
            # Whoever refuses early may close before all was sent; the answer counts all the same.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(data)
            certificate = connection.getpeercert(binary_form=True) or b""
            received = http.client.HTTPResponse(connection)
            received.begin()
            headers = tuple(received.headers.items())
            return Answer(received.status, headers, received.read(), certificate=certificate)


def client_context(authority: Path, identity: Identity | None) -> ssl.SSLContext:
    """How an information system connects: it trusts one authority, and shows a certificate or none."""
    context = ssl.create_default_context(cafile=str(authority))
    _show(context, identity)
    return context


def peer_context(
    anchors: Path, identity: Identity | None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    """How a node connects to another: no other version of TLS than this."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = version
    context.load_verify_locations(anchors)
    _show(context, identity)
    return context


def _show(context: ssl.SSLContext, identity: Identity | None) -> None:
    if identity is not None:
        # Without a passphrase the library would ask for one on the terminal.
        context.load_cert_chain(identity.certificate, identity.key, password=identity.passphrase or b"-")


@dataclass(slots=True)
class Stranger:
    """Somebody with a certificate that no authority of the target has issued: it is its own authority."""

    folder: TemporaryDirectory[str]
    identity: Identity

    @classmethod
    def make(cls) -> Stranger:
        """A new stranger; its files go when it does."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "conformance kit: a stranger")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(key, hashes.SHA256())
        )
        folder = TemporaryDirectory(prefix="yhdyspinta-conformance-")
        identity = Identity(Path(folder.name) / "stranger.pem", Path(folder.name) / "stranger.key")
        identity.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        identity.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return cls(folder, identity)


def without_secrets(text: str) -> str:
    """A text as it may be shown: without tokens, assertions and signatures, and short."""
    text = _SECRET.sub(lambda found: f"{found[1]}…", text)
    text = _SIGNED.sub(lambda found: f"{found[1]}…", text)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"


def _shown(request: Request, answer: Answer) -> Exchange:
    sent = [f"{request.method} {request.target}"]
    sent += [without_secrets(f"{name}: {value}") for name, value in request.headers]
    if request.body:
        sent.append(without_secrets(request.body.decode("utf-8", "replace")))
    received = answer.told() if not answer.status else f"{answer.status} {answer.header('content-type')}".strip()
    body = without_secrets(answer.body.decode("utf-8", "replace"))
    # A record of a person is shown by its size only, whoever the person is.
    if "fhir" in answer.header("content-type") or b'"bundle"' in answer.body:
        body = f"({len(answer.body)} bytes)"
    return Exchange("\n".join(sent), f"{received}\n{body}".strip())
