"""What a running node refuses at its doors: each refusal with its code, nothing released, and on record."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.demo.network import Network
from gateway.demo.ports import LOOPBACK
from gateway.keys import certificates
from gateway.keys.certificates import PrivateKey
from gateway.keys.tls import peer_pin
from gateway.node.node import Node
from gateway.registry.read.entries import Content
from gateway.registry.read.roles import Lifetimes
from gateway.registry.run.changes import without_certificate, without_member
from gateway.settings import load
from gateway.wire.signing import thumbprint
from tests.gateway.registry.peering import Peering, forge, hasten, stranger
from tests.gateway.running import Replica, Running, raw, ready, running
from tests.waiting import living

HOUR = timedelta(hours=1)
pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("refusals"), nodes=("centre",), prepare=hasten) as found:
        yield found


@pytest.fixture
def peering(nodes: Running) -> Peering:
    return Peering(nodes)


# --- TLS --------------------------------------------------------------------------------------------------------------


def issued(peering: Peering, *, begins: timedelta = -HOUR, ends: timedelta = HOUR) -> tuple[bytes, PrivateKey]:
    """A TLS certificate of the network's own authority, for the municipality's node."""
    now, key, party = datetime.now(UTC), certificates.new_private_key("ES256"), peering.nodes.party("kotka")
    certificate = certificates.issue_tls(
        certificates.Issuer(peering.authority().anchor, peering.anchor_key),
        key.public_key(),
        party.member,
        party.node,
        certificates.Term(now + begins, now + ends, x509.random_serial_number()),
    )
    return certificate, key


def for_servers_only(peering: Peering) -> tuple[bytes, PrivateKey]:
    """A certificate of the network's own authority whose key may be used by servers only."""
    now, key, anchor = datetime.now(UTC), certificates.new_private_key("ES256"), peering.authority().anchor
    issuer = certificates.load(anchor)
    usage = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kotka.demo")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - HOUR)
        .not_valid_after(now + HOUR)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(usage), critical=False)
        .sign(peering.anchor_key, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.DER), key


def self_signed(_peering: Peering) -> tuple[bytes, PrivateKey]:
    now, key = datetime.now(UTC), certificates.new_private_key("ES256")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kotka.demo")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(8)
        .not_valid_before(now - HOUR)
        .not_valid_after(now + HOUR)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("kotka.demo")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.DER), key


def of_a_stranger(_peering: Peering) -> tuple[bytes, PrivateKey]:
    _anchor, certificate, _authority_key, key = stranger()
    return certificate, key


CERTIFICATES: dict[str, tuple[Callable[[Peering], tuple[bytes, PrivateKey]], str]] = {
    "of another authority": (of_a_stranger, "tls-certificate-unknown"),
    "self-signed with the right name": (self_signed, "tls-certificate-unknown"),
    "expired": (
        lambda peering: issued(peering, begins=-2 * HOUR, ends=-HOUR),
        "tls-certificate-not-in-force",
    ),
    "not yet valid": (lambda peering: issued(peering, begins=HOUR, ends=2 * HOUR), "tls-certificate-not-in-force"),
    "for another use": (for_servers_only, "tls-certificate-unfit"),
}


async def knocks_in_vain(peering: Peering, face: str, reason: str, knock: Callable[[], Any]) -> None:
    """The connection ends without an answer; it is counted, and one of its kind is on record."""
    before, released = await peering.refused(face, reason), peering.released()
    with contextlib.suppress(ssl.SSLError, OSError, aiohttp.ClientError):
        assert await knock() is None
    await peering.on_record(reason, type="anomaly", outcome="refused")
    assert await peering.refused(face, reason) == before + 1
    [first, *_] = [one for one in peering.nodes.entries("centre", type="anomaly") if one.reason == reason]
    assert first.detail["count"] == 1
    assert peering.released() == released


@pytest.mark.parametrize("case", CERTIFICATES)
async def test_a_connection_with_a_certificate_that_is_not_good_is_ended(peering: Peering, case: str) -> None:
    make, reason = CERTIFICATES[case]
    context = peering.context(case.replace(" ", "-"), *make(peering))
    request = b"POST /peer/v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    await knocks_in_vain(peering, "peers", reason, lambda: raw(peering.nodes.party("centre").peers, context, request))


async def test_a_connection_without_a_certificate_is_ended(peering: Peering) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(peering.nodes.network.folder / "authority" / "authority.pem")
    request = b"POST /peer/v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    await knocks_in_vain(
        peering, "peers", "tls-certificate-missing", lambda: raw(peering.nodes.party("centre").peers, context, request)
    )


async def test_plain_http_to_a_tls_port_is_ended(peering: Peering) -> None:
    await knocks_in_vain(
        peering,
        "peers",
        "tls-required",
        lambda: raw(peering.nodes.party("centre").peers, None, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    )


async def test_tls_1_2_on_the_peer_face_is_ended(peering: Peering) -> None:
    context = peering.nodes.peer_context("kotka")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    await knocks_in_vain(
        peering, "peers", "tls-version-refused", lambda: raw(peering.nodes.party("centre").peers, context, request)
    )


async def test_a_handshake_that_is_none_is_ended(peering: Peering) -> None:
    hello = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"
    await knocks_in_vain(
        peering, "peers", "tls-handshake-failed", lambda: raw(peering.nodes.party("centre").peers, None, hello)
    )


async def test_refusals_of_one_kind_are_counted_each_and_recorded_once_in_a_while(peering: Peering) -> None:
    port, reason = peering.nodes.party("centre").peers, "tls-required"
    before = await peering.refused("peers", reason)
    for _ in range(20):
        assert await raw(port, None, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") is None
    assert await peering.refused("peers", reason) == before + 20
    recorded = [one for one in peering.nodes.entries("centre", type="anomaly") if one.reason == reason]
    # Once for a few minutes; a slow machine may be in the next few by now.
    assert 1 <= len(recorded) <= 2


async def test_a_certificate_of_the_network_that_the_registry_does_not_list_is_refused(peering: Peering) -> None:
    body, released = peering.body(), peering.released()
    answer = await peering.send(peering.message(body), body, context=peering.context("unlisted", *issued(peering)))
    assert (answer.status, answer.code, answer.signed) == (401, "tls-certificate-unknown", False)
    await peering.on_record("tls-certificate-unknown", type="query", outcome="refused")
    assert peering.released() == released


def with_another_name(peering: Peering) -> tuple[bytes, PrivateKey]:
    """A certificate for the municipality's node and for a second name, which OpenSSL has nothing against."""
    certificate, key = issued(peering)
    loaded, anchor = certificates.load(certificate), certificates.load(peering.authority().anchor)
    builder = x509.CertificateBuilder(
        anchor.subject, loaded.subject, loaded.public_key(), 11, loaded.not_valid_before_utc, loaded.not_valid_after_utc
    )
    for extension in loaded.extensions:
        value = extension.value
        if isinstance(value, x509.SubjectAlternativeName):
            value = x509.SubjectAlternativeName([*value, x509.DNSName("centre.demo")])
        builder = builder.add_extension(value, extension.critical)
    return builder.sign(peering.anchor_key, hashes.SHA256()).public_bytes(Encoding.DER), key


async def test_certificate_that_the_registry_lists_and_that_is_not_of_the_profile_is_refused(peering: Peering) -> None:
    before, (certificate, key) = peering.authority().content(), with_another_name(peering)
    nodes = tuple(
        replace(node, pins=node.pins | {peer_pin(certificate)})
        if node.id == peering.nodes.party("kotka").node
        else node
        for node in before.nodes
    )
    await peering.goes_by(peering.publish(lambda content: replace(content, nodes=nodes)).version)
    body, released = peering.body(), peering.released()

    answer = await peering.send(peering.message(body), body, context=peering.context("another-name", certificate, key))

    assert (answer.status, answer.code, answer.signed) == (401, "tls-certificate-unfit", False)
    await peering.on_record("tls-certificate-unfit", type="query", outcome="refused")
    assert peering.released() == released
    await peering.goes_by(peering.publish(lambda _content: before).version)


async def test_the_right_certificate_with_another_members_message_is_refused(peering: Peering) -> None:
    body, released = peering.body(), peering.released()
    context = peering.nodes.peer_context("kymenlaakso")
    answer = await peering.send(peering.message(body), body, context=context)
    assert (answer.status, answer.code, answer.signed) == (403, "issuer-not-peer", False)
    await peering.on_record("issuer-not-peer", type="query", outcome="refused")
    assert peering.released() == released


async def test_a_tls_certificate_is_of_no_use_from_one_refresh_after_it_was_revoked(peering: Peering) -> None:
    body, before = peering.body(), peering.authority().content()
    pin = peer_pin(certificates.to_der((peering.nodes.party("kotka").folder / "tls.pem").read_bytes()))
    connector = aiohttp.TCPConnector(ssl=peering.nodes.peer_context("kotka"))
    # The connection is open before and stays open: it is the certificate that is refused, not the handshake.
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask() -> tuple[int, Any]:
            async with session.post(
                f"https://{LOOPBACK}:{peering.nodes.party('centre').peers}/peer/v1/messages",
                data=body,
                headers={"Message": peering.message(body), "Content-Type": "application/json"},
            ) as answer:
                return answer.status, (await answer.json(content_type=None)).get("code")

        assert await ask() == (200, None)
        await peering.goes_by(peering.publish(lambda content: without_certificate(content, pin)).version)
        released = peering.released()
        assert await ask() == (401, "tls-certificate-unknown")
    assert peering.released() == released
    await peering.goes_by(peering.publish(lambda _content: before).version)
    assert (await peering.ask()).status == 200


async def test_a_signing_certificate_is_of_no_use_from_one_refresh_after_it_was_revoked(peering: Peering) -> None:
    before = peering.authority().content()
    name = thumbprint(certificates.to_der((peering.nodes.party("kotka").folder / "signing.pem").read_bytes()))
    await peering.goes_by(peering.publish(lambda content: without_certificate(content, name)).version)
    released, answer = peering.released(), await peering.ask()
    assert (answer.status, answer.code, answer.signed) == (401, "certificate-unknown", False)
    await peering.on_record("certificate-unknown", type="query", outcome="refused")
    assert peering.released() == released
    await peering.goes_by(peering.publish(lambda _content: before).version)


# --- Replay -----------------------------------------------------------------------------------------------------------


async def replayed(peering: Peering, message: str, body: bytes, port: int | None = None) -> None:
    released = peering.released()
    answer = await peering.send(message, body, port=port)
    assert (answer.status, answer.code) == (409, "message-replayed")
    await peering.on_record("message-replayed", outcome="refused")
    assert peering.released() == released


async def test_a_message_is_taken_once_on_all_replicas(peering: Peering, tmp_path: Path) -> None:
    async with replica(peering, tmp_path) as port:
        for first, second in ((None, port), (port, None)):
            body = peering.body()
            message = peering.message(body)
            taken = await peering.send(message, body, port=first)
            assert (taken.status, taken.signed) == (200, True)
            await replayed(peering, message, body, first)
            await replayed(peering, message, body, second)


@contextlib.asynccontextmanager
async def replica(peering: Peering, folder: Path) -> AsyncIterator[int]:
    """A second node process on the centre's database; gives its port."""
    second = Replica.of(peering.nodes.party("centre"), folder / "cache")
    process = second.start()
    try:
        await ready(second.ports["local"], living(process))
        yield second.ports["peers"]
    finally:
        process.terminate()
        process.wait()


@contextlib.asynccontextmanager
async def node_here(network: Network, clock: Callable[[], datetime]) -> AsyncIterator[Node]:
    """The centre's node in this process, by this clock."""
    node = Node(load(network.parties["centre"].config), clock)
    task = asyncio.create_task(node.run())
    try:
        await ready(network.parties["centre"].local, lambda: task.result() if task.done() else None)
        yield node
    finally:
        node.stop()
        await task


@pytest.fixture(scope="module")
def without_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A network of which the centre's source system runs, and no node yet."""
    with running(tmp_path_factory.mktemp("clocks"), nodes=(), prepare=hasten) as found:
        yield found


class Clock:
    """A clock that stands still unless it is set: how long a test takes decides nothing."""

    def __init__(self) -> None:
        self.begun = self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def message(self, peering: Peering, body: bytes, *, seconds: int = 0) -> str:
        """A message of the moment at which the clock began, or of so many seconds after it."""
        issued = self.begun + timedelta(seconds=seconds)
        return peering.message(body, issued_at=issued, expires_at=issued + timedelta(seconds=60))


async def test_a_message_is_taken_once_after_a_restart_too(without_node: Running) -> None:
    peering, clock = Peering(without_node), Clock()
    body = peering.body()
    message = clock.message(peering, body)
    async with node_here(without_node.network, clock):
        assert (await peering.send(message, body)).status == 200
    async with node_here(without_node.network, clock):
        await replayed(peering, message, body)


async def test_a_message_counts_to_the_edge_of_its_lifetime_and_is_taken_once_there_too(without_node: Running) -> None:
    peering, clock = Peering(without_node), Clock()
    body = peering.body()
    async with node_here(without_node.network, clock):
        message = clock.message(peering, body, seconds=-55)
        assert (await peering.send(message, body)).status == 200
        await replayed(peering, message, body)
        # Past, and within the tolerance for clocks: the message is sound, and nobody waits for its answer any more.
        answer = await peering.send(clock.message(peering, body, seconds=-64), body)
        assert (answer.status, answer.code) == (503, "busy")
        answer = await peering.send(clock.message(peering, body, seconds=-66), body)
        assert (answer.status, answer.code) == (400, "message-expired")
        await peering.on_record("message-expired", outcome="refused")


async def test_a_clock_that_is_set_back_opens_no_door_for_what_was_taken(without_node: Running) -> None:
    peering, clock = Peering(without_node), Clock()
    body = peering.body()
    message = clock.message(peering, body)
    async with node_here(without_node.network, clock):
        assert (await peering.send(message, body)).status == 200
        clock.now = clock.begun - timedelta(seconds=3)
        await replayed(peering, message, body)
        clock.now = clock.begun - timedelta(minutes=1)
        answer = await peering.send(message, body)
        assert (answer.status, answer.code) == (400, "message-from-future")
    # A restart forgets what was in memory; by a clock that is behind the message is timely, and was taken.
    clock.now = clock.begun - timedelta(seconds=3)
    async with node_here(without_node.network, clock):
        await replayed(peering, message, body)


# --- Registry ---------------------------------------------------------------------------------------------------------


async def kept_the_last(peering: Peering, code: str, version: int) -> None:
    """The node says what is wrong with what is served, has it on record, and goes by the last that was good."""
    condition = await peering.wait(lambda one: str(one["registry"]["problem"] or "").startswith(code))
    assert condition["registry"]["version"] == version
    assert condition["ready"]
    await peering.on_record(code, type="registry", outcome="refused")
    assert (await peering.ask()).status == 200


@pytest.fixture
async def published(peering: Peering) -> AsyncIterator[Path]:
    """The publication's folder; afterwards it is published well again, and the node goes by it."""
    folder = peering.nodes.network.folder / "authority" / "registry"
    kept = folder.with_name("kept")
    shutil.copytree(folder, kept)
    yield folder
    shutil.rmtree(folder)
    kept.rename(folder)
    # Twice, so that it is newer than whatever was served meanwhile.
    peering.publish(renew=True)
    await peering.goes_by(peering.publish(renew=True).version)
    await peering.wait(lambda condition: condition["registry"]["problem"] is None)


def version_of(peering: Peering) -> int:
    version: int = peering.authority().publisher.expiries()["snapshot"][0]
    return version


async def test_an_older_registry_that_is_served_again_is_refused(peering: Peering) -> None:
    folder = peering.nodes.network.folder / "authority" / "registry"
    older, newer = folder.with_name("older"), folder.with_name("newer")
    shutil.copytree(folder, older)
    peering.publish(lambda content: replace(content, nodes=tuple(replace(one, witness=()) for one in content.nodes)))
    version = peering.publish(renew=True).version
    await peering.goes_by(version)
    folder.rename(newer)
    older.rename(folder)
    await kept_the_last(peering, "registry-rolled-back", version)
    shutil.rmtree(folder)
    newer.rename(folder)
    await peering.wait(lambda condition: condition["registry"]["problem"] is None)


async def test_a_root_with_too_few_signatures_is_refused(peering: Peering, published: Path) -> None:
    version, number = version_of(peering), peering.authority().publisher.expiries()["root"][0]
    root = json.loads((published / "metadata" / f"{number}.root.json").read_bytes())
    root["signed"]["version"] = number + 1
    root["signatures"] = root["signatures"][:1]
    (published / "metadata" / f"{number + 1}.root.json").write_text(json.dumps(root))
    await kept_the_last(peering, "registry-unsigned", version)


async def test_a_file_that_was_altered_is_refused(peering: Peering, published: Path) -> None:
    version = version_of(peering)
    before = {path.name for path in (published / "targets").iterdir()}
    # Written at once by the publisher, altered before the timestamp that names it can be read.
    hidden = published.with_name("hidden")
    published.rename(hidden)
    authority = peering.authority()
    authority.publisher.folder = hidden
    authority.publish(renamed(authority.content()), datetime.now(UTC))
    [path] = [path for path in (hidden / "targets").iterdir() if path.name not in before]
    path.write_bytes(path.read_bytes().replace(b"Uusi", b"Vale"))
    hidden.rename(published)
    await kept_the_last(peering, "registry-altered", version)


def renamed(content: Content) -> Content:
    [first, *others] = content.members
    return replace(content, members=(replace(first, name=replace(first.name, fi="Uusi nimi")), *others))


async def test_two_members_that_claim_one_certificate_are_not_believed(peering: Peering, published: Path) -> None:
    version = version_of(peering)
    members = json.loads(peering.authority().publisher.files()["members.json"])
    members["members"][2]["signing"] = members["members"][1]["signing"]
    forge(published, peering.authority().ring(), "members", {"members.json": json.dumps(members).encode()})
    await kept_the_last(peering, "certificate-claimed-twice", version)


async def test_a_target_whose_name_leads_elsewhere_is_written_nowhere(peering: Peering, published: Path) -> None:
    names = ("../../evil.json", "/tmp/evil.json", "evil/../../../evil.json", "..%2f..%2fevil.json")
    ring = peering.authority().ring()
    await peering.goes_by(forge(published, ring, "targets", dict.fromkeys(names, b"{}")))
    assert (await peering.ask()).status == 200
    found = [*peering.nodes.network.folder.parent.rglob("*evil*"), *Path("/tmp").glob("*evil*")]
    assert {path.parent for path in found} <= {published / "targets"}


@pytest.fixture
def without_source(tmp_path: Path) -> Iterator[Running]:
    """A network of which the centre's node runs, without its source system."""
    with running(tmp_path, nodes=("centre",), prepare=hasten, source=False) as found:
        yield found


async def test_a_member_removed_while_its_request_is_in_flight_gets_nothing(without_source: Running) -> None:
    peering, asked, may_answer = Peering(without_source), asyncio.Event(), asyncio.Event()
    export = next((without_source.network.folder.parent / "samples").glob("*.csv")).read_bytes()

    async def slow(_request: web.Request) -> web.Response:
        asked.set()
        await may_answer.wait()
        rows = b"\r\n".join(export.split(b"\r\n")[:2]) + b"\r\n"
        return web.Response(body=rows, content_type="text/csv", charset="windows-1252")

    app = web.Application()
    app.add_routes([web.post("/records", slow)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, without_source.party("centre").system).start()
    try:
        body = peering.body(0)
        sending = asyncio.create_task(peering.send(peering.message(body), body))
        await asked.wait()
        member = without_source.party("kotka").member
        await peering.goes_by(peering.publish(lambda content: without_member(content, member)).version)
        may_answer.set()
        refusal = await sending
        assert (refusal.status, refusal.code) == (401, "tls-certificate-unknown")
        await peering.on_record("tls-certificate-unknown", type="query", outcome="refused")
        assert peering.released() == 0
    finally:
        await runner.cleanup()


async def test_behind_a_frozen_mirror_no_data_moves_once_its_timestamp_has_expired(peering: Peering) -> None:
    brief = peering.authority(Lifetimes(timestamp=timedelta(seconds=4)))
    brief.publish(brief.content(), datetime.now(UTC))
    await peering.wait(lambda condition: not condition["registry"]["in_force"])
    released, answer = peering.released(), await peering.ask()
    assert (answer.status, answer.code, answer.signed) == (503, "registry-expired", False)
    await peering.on_record("registry-expired", type="registry", outcome="refused")
    await peering.on_record("registry-expired", type="query", outcome="refused")
    assert peering.released() == released
    async with peering.nodes.client("centre") as session:
        question = peering.nodes.question()
        async with session.post("/v1/queries", json=question) as refusal:
            assert (refusal.status, (await refusal.json(content_type=None))["code"]) == (503, "registry-expired")
    peering.publish()
    await peering.wait(lambda condition: condition["ready"])
    assert (await peering.ask()).status == 200
