"""TLS between nodes, with real handshakes on a loopback connection."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.exchange.transport import PinnedContext, pinned
from gateway.keys import certificates
from gateway.keys.certificates import PrivateKey
from gateway.keys.errors import TrustError
from gateway.keys.keystore import write_private_key
from gateway.keys.tls import TlsKey, client_context, client_face_context, peer_pin, server_context
from gateway.registry.read.entries import Content, Member, Node
from gateway.registry.read.registry import Registry
from gateway.wire.identifiers import MemberId
from tests.gateway.registry.conftest import KOTKA, RECEPTION, Authority, named

# Real connections are judged by the real clock.
NOW = datetime.now(UTC)
AUTHORITY = Authority.make(NOW)
OTHERS = Authority.make(NOW)
ANCHORS = [AUTHORITY.certificate]
PASSPHRASE = b"salasana"


@dataclass(frozen=True)
class Keys:
    """TLS keys in files: one node's, another's, a stranger's from another authority, and one that has expired."""

    folder: Path

    def make(self, name: str, member: MemberId, authority: Authority = AUTHORITY, **changes: datetime) -> TlsKey:
        key: PrivateKey = certificates.new_private_key("EdDSA" if name.startswith("ed") else "ES256")
        certificate = authority.tls(member, name, key, **changes)
        files = TlsKey(self.folder / f"{name}.pem", self.folder / f"{name}.key", PASSPHRASE)
        files.certificate.write_bytes(certificates.to_pem(certificate))
        write_private_key(files.key, key, PASSPHRASE)
        return files


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def der(key: TlsKey) -> bytes:
    return certificates.to_der(key.certificate.read_bytes())


@dataclass(frozen=True)
class Meeting:
    """How a connection ended: what each end saw, or why it broke off."""

    server: tuple[str | None, bytes | None] | Exception
    client: tuple[str | None, bytes | None, bytes] | Exception

    @property
    def succeeded(self) -> bool:
        return not isinstance(self.server, Exception) and not isinstance(self.client, Exception)


def meet(server: ssl.SSLContext, client: ssl.SSLContext, name: str = "kotka-1") -> Meeting:
    """One connection over the loopback, in which the server greets with two bytes."""

    def serve(listener: socket.socket) -> tuple[str | None, bytes | None]:
        raw, _ = listener.accept()
        with raw, server.wrap_socket(raw, server_side=True) as connection:
            connection.sendall(b"ok")
            seen = connection.version(), connection.getpeercert(binary_form=True)
            connection.recv(1)
            return seen

    def call(port: int) -> tuple[str | None, bytes | None, bytes]:
        with (
            socket.create_connection(("127.0.0.1", port)) as raw,
            client.wrap_socket(raw, server_hostname=name) as connection,
        ):
            return connection.version(), connection.getpeercert(binary_form=True), connection.recv(2)

    def outcome(run: Callable[[], object]) -> object:
        try:
            return run()
        except (OSError, ssl.SSLError) as error:
            return error

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        served = pool.submit(outcome, lambda: serve(listener))
        called = outcome(lambda: call(listener.getsockname()[1]))
        return Meeting(served.result(), called)  # type: ignore[arg-type]


def bare_client(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """A client without a certificate of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificates.to_pem(AUTHORITY.certificate).decode())
    if version is not None:
        context.maximum_version = version
    return context


@pytest.mark.parametrize("prefix", ["", "ed-"])
def test_two_nodes_meet_over_tls_1_3_and_each_sees_the_others_certificate(keys: Keys, prefix: str) -> None:
    ours, theirs = keys.make(f"{prefix}vastaanotto-1", RECEPTION.member), keys.make(f"{prefix}kotka-1", KOTKA.member)
    meeting = meet(server_context(theirs, ANCHORS), client_context(ours, ANCHORS), f"{prefix}kotka-1")
    assert meeting.server == ("TLSv1.3", der(ours))
    assert meeting.client == ("TLSv1.3", der(theirs), b"ok")


def test_tls_1_2_is_refused_at_both_ends_of_the_peer_face(keys: Keys) -> None:
    ours, theirs = keys.make("vastaanotto-1", RECEPTION.member), keys.make("kotka-1", KOTKA.member)
    old_client = bare_client(ssl.TLSVersion.TLSv1_2)
    old_client.load_cert_chain(ours.certificate, ours.key, PASSPHRASE)
    meeting = meet(server_context(theirs, ANCHORS), old_client)
    assert isinstance(meeting.server, ssl.SSLError)
    assert isinstance(meeting.client, ssl.SSLError)
    old_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old_server.maximum_version = ssl.TLSVersion.TLSv1_2
    old_server.load_cert_chain(theirs.certificate, theirs.key, PASSPHRASE)
    meeting = meet(old_server, client_context(ours, ANCHORS))
    assert isinstance(meeting.client, ssl.SSLError)


def test_a_client_without_a_certificate_is_refused(keys: Keys) -> None:
    meeting = meet(server_context(keys.make("kotka-1", KOTKA.member), ANCHORS), bare_client())
    assert isinstance(meeting.server, ssl.SSLError)
    assert "CERTIFICATE" in str(meeting.server)
    assert isinstance(meeting.client, OSError)


@pytest.mark.parametrize(
    ("authority", "changes"),
    [
        (OTHERS, {}),
        (AUTHORITY, {"not_after": NOW - timedelta(hours=1)}),
        (AUTHORITY, {"not_before": NOW + timedelta(hours=1)}),
    ],
    ids=["of another authority", "expired", "not yet valid"],
)
def test_a_certificate_that_is_not_in_force_here_is_refused_at_either_end(
    keys: Keys, authority: Authority, changes: dict[str, datetime]
) -> None:
    good, bad = keys.make("kotka-1", KOTKA.member), keys.make("turku-1", KOTKA.member, authority, **changes)
    meeting = meet(server_context(good, ANCHORS), client_context(bad, ANCHORS))
    assert isinstance(meeting.server, ssl.SSLCertVerificationError)
    meeting = meet(server_context(bad, ANCHORS), client_context(good, ANCHORS), "turku-1")
    assert isinstance(meeting.client, ssl.SSLCertVerificationError)


def test_a_server_with_the_certificate_of_another_node_is_refused(keys: Keys) -> None:
    ours, theirs = keys.make("vastaanotto-1", RECEPTION.member), keys.make("kotka-1", KOTKA.member)
    meeting = meet(server_context(theirs, ANCHORS), client_context(ours, ANCHORS), "kotka-2")
    assert isinstance(meeting.client, ssl.SSLCertVerificationError)


def test_a_signing_certificate_opens_no_connection(keys: Keys) -> None:
    key = certificates.new_private_key("ES256")
    files = TlsKey(keys.folder / "signing.pem", keys.folder / "signing.key", PASSPHRASE)
    files.certificate.write_bytes(certificates.to_pem(AUTHORITY.signing(KOTKA.member, key)))
    write_private_key(files.key, key, PASSPHRASE)
    ours = keys.make("vastaanotto-1", RECEPTION.member)
    assert isinstance(meet(server_context(files, ANCHORS), client_context(ours, ANCHORS)).client, ssl.SSLError)


def registry_of(pins: dict[str, frozenset[str]]) -> Registry:
    """A registry in which nodes of those names have those pins."""
    content = Content(
        "FI-DEMO",
        named("Testiverkko"),
        (AUTHORITY.certificate,),
        (Member(KOTKA.member, named("Kotka")),),
        tuple(Node(name, KOTKA.member, f"https://{name}", pin, frozenset()) for name, pin in pins.items()),
    )
    return Registry(content, version=1, expires=NOW + timedelta(days=1))


def test_a_peer_whose_certificate_the_registry_does_not_pin_is_nobody(keys: Keys) -> None:
    listed, unlisted = keys.make("vastaanotto-1", RECEPTION.member), keys.make("vastaanotto-2", RECEPTION.member)
    server = server_context(keys.make("kotka-1", KOTKA.member), ANCHORS)
    registry = registry_of({"vastaanotto-1": frozenset({peer_pin(der(listed))})})
    found = []
    for key in (listed, unlisted):
        meeting = meet(server, client_context(key, ANCHORS))
        assert not isinstance(meeting.server, Exception)
        certificate = meeting.server[1]
        assert certificate is not None
        found.append(registry.node_by_pin(peer_pin(certificate)))
    assert [node.id if node is not None else None for node in found] == ["vastaanotto-1", None]


async def test_a_server_whose_certificate_is_not_the_pinned_one_gets_no_byte(keys: Keys) -> None:
    """Same authority, same node id, another certificate: the handshake ends before anything is sent."""
    ours, theirs = keys.make("vastaanotto-1", RECEPTION.member), keys.make("kotka-1", KOTKA.member)
    received: list[bytes] = []
    greeted = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if data := await reader.read(5):
            received.append(data)
            greeted.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context(theirs, ANCHORS))
    port = server.sockets[0].getsockname()[1]

    async def call(pin: str) -> None:
        registry = registry_of({"kotka-1": frozenset({pin})})

        def accepts(name: str, certificate: bytes) -> bool:
            node = registry.node_by_pin(peer_pin(certificate))
            return node is not None and node.id == name

        context = pinned(client_context(ours, ANCHORS, kind=PinnedContext), accepts)
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="kotka-1")
        writer.write(b"hello")
        await writer.drain()
        writer.close()

    async with server:
        with pytest.raises(ssl.SSLCertVerificationError):
            await call(peer_pin(der(ours)))
        await call(peer_pin(der(theirs)))
        await greeted.wait()
    assert received == [b"hello"]


def test_no_session_is_resumed_so_that_every_handshake_shows_its_certificate(keys: Keys) -> None:
    server = server_context(keys.make("kotka-1", KOTKA.member), ANCHORS)
    client = client_context(keys.make("vastaanotto-1", RECEPTION.member), ANCHORS)
    meet(server, client)
    meet(server, client)
    assert server.session_stats()["hits"] == 0
    assert server.num_tickets == 0


def test_the_client_face_takes_tls_1_2_and_clients_without_a_certificate_only_where_told(keys: Keys) -> None:
    key, system = keys.make("kotka-1", KOTKA.member), keys.make("jarjestelma", KOTKA.member)
    demanding, asking = client_face_context(key, ANCHORS), client_face_context(key, ANCHORS, demand=False)
    older = bare_client(ssl.TLSVersion.TLSv1_2)
    meeting = meet(asking, older)
    assert meeting.server == ("TLSv1.2", None)
    assert not meet(demanding, older).succeeded
    older.load_cert_chain(system.certificate, system.key, PASSPHRASE)
    for context in (demanding, asking):
        assert meet(context, older).server == ("TLSv1.2", der(system))
    ancient = bare_client(ssl.TLSVersion.TLSv1_2)
    ancient.set_ciphers("AES256-SHA:AES128-GCM-SHA256:@SECLEVEL=0")
    assert not meet(asking, ancient).succeeded


def test_a_key_that_cannot_be_used_is_told_at_start(keys: Keys) -> None:
    good, other = keys.make("kotka-1", KOTKA.member), keys.make("kotka-2", KOTKA.member)
    for bad in (
        TlsKey(good.certificate, good.key, b"wrong"),
        TlsKey(good.certificate, good.key, None),
        TlsKey(good.certificate, other.key, PASSPHRASE),
        TlsKey(good.key, good.key, PASSPHRASE),
        TlsKey(keys.folder / "none.pem", good.key, PASSPHRASE),
    ):
        with pytest.raises(TrustError) as refusal:
            server_context(bad, ANCHORS)
        assert refusal.value.code == "key-unreadable"
    with pytest.raises(TrustError) as refusal:
        server_context(good, [])
    assert refusal.value.code == "certificate-chain"


def test_a_pin_is_the_sha_256_of_the_certificate_in_base64url() -> None:
    assert peer_pin(b"") == "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
