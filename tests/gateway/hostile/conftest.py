"""A centre's node in the open, between a source system and a peer that the tests play themselves."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import ssl
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.demo.network import Network
from gateway.demo.organisations import DEMO, Organisation
from gateway.demo.ports import LOOPBACK
from gateway.keys.certificates import load
from gateway.keys.keystore import FileKeyStore
from gateway.wire.decided import body_digest
from gateway.wire.identifiers import ServiceId
from gateway.wire.signing import REQUEST_TYPE, Signer, thumbprint
from gateway.wire.strict import b64url
from tests.gateway.running import Raw, Running, answer_of, raw, running
from texts import Text

SECOND = Organisation(
    "second",
    Text("Toinen vastaanottokeskus", "Andra förläggningen", "Second reception centre"),
    "GOV/9000002-0",
    "vastaanotto",
    ("reception-centre",),
    "second.demo",
)
HEAD_SECONDS, BODY_SECONDS = 3.0, 4.0


@dataclass
class Source:
    """The system behind the centre's service, played by the test: it counts what it is asked."""

    server: ThreadingHTTPServer
    answer: Callable[[bytes], tuple[int, dict[str, str], bytes]]
    asked: list[str] = field(default_factory=list)


@dataclass
class Open:
    """The centre's and the municipality's nodes, and the source behind the centre's."""

    nodes: Running
    source: Source
    trap: Source

    @property
    def service(self) -> ServiceId:
        return self.nodes.service("centre", "palvelutarve")

    def signer(self, party: str) -> FileKeyStore:
        folder = self.nodes.party(party).folder
        passphrase = self.nodes.network.passphrase.encode()
        return FileKeyStore.open(folder / "signing.key", folder / "signing.pem", passphrase)

    def body(self) -> bytes:
        return json.dumps({"subject": {"system": "urn:oid:1.2.246.21", "value": self.nodes.people[1]}}).encode()

    def claims(self, **changes: Any) -> dict[str, Any]:
        """The claims of a message that would be answered; a change to `...` leaves the claim out."""
        now = int(time.time())
        values: dict[str, Any] = {
            "iss": str(self.nodes.party("kotka").subsystem), "aud": str(self.service), "jti": uuid7(), "iat": now,
            "exp": now + 60, "mth": "POST", "tgt": "/", "cty": "application/json", "dig": body_digest(self.body()),
            "pur": "service-need-lookup", "cat": ["identity"], "rul": "none",
            "log": {"origin": "yhdyspinta/kotka.demo", "size": 0, "root": "A" * 43 + "="},
        } | changes  # fmt: skip
        return {name: value for name, value in values.items() if value is not ...}

    def text(self, old: str, new: str) -> bytes:
        """Good claims with one spot written as no JSON library would."""
        found = json.dumps(self.claims(), separators=(",", ":"))
        assert old in found
        return found.replace(old, new, 1).encode()

    def message(
        self, claims: bytes | dict[str, Any] | None = None, party: str = "kotka", head: Any = None, **changes: Any
    ) -> str:
        """A message with a signature that holds, whatever it says."""
        signer = self.signer(party)
        header = head if head is not None else header_of(signer, **changes)
        first, second = (
            b64url(part if isinstance(part, bytes) else json.dumps(part).encode())
            for part in (header, self.claims() if claims is None else claims)
        )
        return f"{first}.{second}.{b64url(signer.sign(f'{first}.{second}'.encode()))}"

    def mac(self) -> str:
        """HS256, keyed with the public key that everybody knows."""
        signer = self.signer("kotka")
        public = load(signer.certificate).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        data = ".".join(b64url(json.dumps(part).encode()) for part in (header_of(signer, alg="HS256"), self.claims()))
        return f"{data}.{b64url(hmac.digest(public, data.encode(), hashlib.sha256))}"

    async def send(
        self, *messages: str, body: bytes | None = None, headers: tuple[str, ...] = (), length: int | None = None
    ) -> Raw | None:
        """Send to the centre's peer face over the municipality's TLS identity."""
        body = self.body() if body is None else body
        lines = ["POST /peer/v1/messages HTTP/1.1", "Host: centre.demo", "Connection: close"]
        lines += [f"Content-Length: {len(body) if length is None else length}"]
        if not any(one.lower().startswith("content-type") for one in headers):
            lines.append("Content-Type: application/json")
        lines += [*headers, *(f"Message: {one}" for one in messages)]
        return await self.raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def raw(self, data: bytes) -> Raw | None:
        """Send bytes to the centre's peer face."""
        return await raw(self.nodes.party("centre").peers, self.nodes.peer_context("kotka"), data)


def header_of(signer: Signer, **changes: Any) -> dict[str, Any]:
    values = {"alg": signer.algorithm, "typ": REQUEST_TYPE, "x5t#S256": thumbprint(signer.certificate)} | changes
    return {name.replace("__", "#"): value for name, value in values.items() if value is not ...}


def uuid7() -> str:
    value = (int(time.time() * 1000) << 80 | uuid.uuid4().int & (1 << 80) - 1) & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62))


def _serve(port: int) -> Source:
    def nothing(_body: bytes) -> tuple[int, dict[str, str], bytes]:
        return 404, {}, b""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found.asked.append(self.path)
            status, headers, content = found.answer(body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    found = Source(ThreadingHTTPServer((LOOPBACK, port), Handler), nothing)
    threading.Thread(target=found.server.serve_forever, daemon=True).start()
    return found


@pytest.fixture(scope="package")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """The nodes of a centre and a municipality; everything else is played by the tests."""

    def prepare(network: Network) -> None:
        for name, party in network.parties.items():
            # Whoever is slow is ended by the municipality's node. At the centre's, which judges all else, a test that a
            # busy machine keeps from sending on is not.
            hurry = f"head_seconds = {HEAD_SECONDS}\nbody_seconds = {BODY_SECONDS}\n" if name == "kotka" else ""
            with party.config.open("a") as file:
                file.write(f"\n[limits]\n{hurry}body_bytes = 262144\npeer_timeout_seconds = 15\n")

    organisations = (DEMO[0], DEMO[1], DEMO[2], SECOND)
    folder = tmp_path_factory.mktemp("hostile")
    with running(folder, organisations=organisations, prepare=prepare, source=False) as nodes:
        source, trap = _serve(nodes.party("centre").system), _serve(0)
        yield Open(nodes, source, trap)
        for one in (source, trap):
            one.server.shutdown()
            one.server.server_close()


@pytest.fixture(autouse=True)
def _calm(gate: Open) -> None:
    """Before each test the source knows the first people of the register, and nobody has asked it yet."""
    rows = gate.nodes.export.read_bytes().split(b"\r\n")

    def answer(body: bytes) -> tuple[int, dict[str, str], bytes]:
        wanted = json.loads(body)["subject"]["value"].encode()
        found = [row for row in rows[1:] if wanted in row.split(b";")]
        content = b"\r\n".join([rows[0], *found, b""])
        return (200, {"Content-Type": "text/csv; charset=windows-1252"}, content) if found else (404, {}, b"")

    gate.source.answer = answer
    gate.source.asked.clear()
    gate.trap.asked.clear()


@dataclass
class FakePeer:
    """A node in a party's name, with its keys, that answers as the test says. It keeps what it was sent."""

    received: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def fake_peer(gate: Open, party: str, answer: Callable[[bytes], bytes], tls: str = "") -> AsyncIterator[FakePeer]:
    """Listen at the party's address; `answer` makes the bytes of an HTTP response from those of the request."""
    peer = FakePeer()
    keys = gate.nodes.party(tls or party).folder
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys / "tls.pem", keys / "tls.key", password=gate.nodes.network.passphrase)
    context.load_verify_locations(gate.nodes.network.folder / "authority" / "authority.pem")
    context.verify_mode = ssl.CERT_REQUIRED

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
            )
            request = head + await reader.readexactly(length)
            peer.received.append(request)
            writer.write(answer(request))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, LOOPBACK, gate.nodes.party(party).peers, ssl=context)
    try:
        yield peer
    finally:
        server.close()


__all__ = ["FakePeer", "Open", "answer_of", "fake_peer", "gate"]
