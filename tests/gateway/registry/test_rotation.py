"""Keys and secrets change while data moves, and no exchange is lost, also where the change was killed in its middle."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from gateway.keys import certificates
from gateway.keys.keystore import FileKeyStore
from gateway.node.rotation import Secret
from gateway.registry.read.distribution import RegistryClient
from gateway.registry.read.entries import Asked, Content
from gateway.registry.run.changes import without_certificate
from gateway.registry.run.enrolment import SIGNING, TLS, read_request, signed_by_member
from gateway.registry.run.joining import Kept, KeyFiles, ask_again, take_in
from gateway.wire.signing import thumbprint
from tests.gateway.registry.peering import Peering, hasten
from tests.gateway.running import Running, running
from tests.nursery import started
from tests.waiting import living, until

pytestmark = pytest.mark.e2e
PARTIES = ("centre", "kotka")
AT_ONCE = 3


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("rotation"), prepare=hasten) as found:
        yield found


@pytest.fixture
def peering(nodes: Running) -> Peering:
    return Peering(nodes)


class Load:
    """Questions of the municipality's system through both nodes, one after the other and a few at once."""

    def __init__(self) -> None:
        self.answered = 0
        self.lost: list[object] = []

    async def more(self, count: int = 5) -> None:
        """Wait until so many more questions were answered: what was changed before them has been used."""
        enough = self.answered + count + AT_ONCE
        await until(lambda: self.answered, lambda answered: answered >= enough or self.lost)


@asynccontextmanager
async def under_load(peering: Peering) -> AsyncIterator[Load]:
    load, ending = Load(), asyncio.Event()

    async def keep_asking() -> None:
        async with peering.nodes.client("kotka") as session:
            while not ending.is_set():
                async with session.post("/v1/queries", json=peering.nodes.question()) as answer:
                    if answer.status == 200:
                        load.answered += 1
                    else:
                        load.lost.append(await answer.json(content_type=None))
                # Some are under way most of the time; the machine is left some room for the rotation itself.
                await asyncio.sleep(0.06)

    tasks = [asyncio.create_task(keep_asking()) for _ in range(AT_ONCE)]
    try:
        await load.more()
        yield load
        await load.more()
    finally:
        ending.set()
        await asyncio.gather(*tasks)
    assert load.lost == []
    assert load.answered > 2 * AT_ONCE


def files_of(peering: Peering, party: str) -> dict[str, KeyFiles]:
    folder = peering.nodes.party(party).folder
    return {kind: KeyFiles(folder / f"{kind}.pem", folder / f"{kind}.key", peering.phrase) for kind in (SIGNING, TLS)}


def certificate_of(files: KeyFiles) -> str:
    return thumbprint(certificates.to_der(files.certificate.read_bytes()))


async def changed(peering: Peering, party: str, kind: str) -> str:
    """Change one key of a member as its operator and the authority do; returns the former certificate's thumbprint."""
    files = files_of(peering, party)
    former, now, authority = certificate_of(files[kind]), datetime.now(UTC), peering.authority()
    folder = peering.nodes.party(party).folder
    registry = RegistryClient(
        authority.publisher.folder,
        folder / "cache-of-the-command",
        (peering.nodes.network.folder / "root.json").read_bytes(),
    ).refresh(now)
    member, node = registry.member(peering.nodes.party(party).member), registry.node(peering.nodes.party(party).node)
    assert member is not None
    assert node is not None
    signer = FileKeyStore.open(files[SIGNING].key, files[SIGNING].certificate, peering.phrase)
    request = read_request(ask_again({kind: files[kind]}, Asked(member, node), signer))
    assert signed_by_member(request, registry, now)
    admitted = authority.admit(authority.content(), request, now)
    published = authority.publish(admitted.content, now)
    take_in(folder, authority.welcome(request, admitted, "unused"), now, kept=Kept(files=files))
    coming = certificate_of(files[kind])
    assert coming != former
    place = "signing" if kind == SIGNING else "peers"
    await peering.wait(lambda condition: condition["keys"][place]["certificate"] == coming, party)
    await peering.goes_by(published.version, *PARTIES)
    return former


async def revoked(peering: Peering, *names: str) -> None:
    def without(content: Content) -> Content:
        for name in names:
            content = without_certificate(content, name)
        return content

    await peering.goes_by(peering.publish(without).version, *PARTIES)


@pytest.mark.parametrize("kind", [SIGNING, TLS])
async def test_a_key_that_is_rotated_under_load_loses_no_exchange(peering: Peering, kind: str) -> None:
    async with under_load(peering) as load:
        for party in PARTIES:
            former = await changed(peering, party, kind)
            await load.more()
            # The former is revoked, and nobody needs it any more.
            await revoked(peering, former)
            await load.more()
    for party in PARTIES:
        place = "signing" if kind == SIGNING else "peers"
        assert [one.detail["key"] for one in peering.nodes.entries(party, type="key")][-1] == place


async def test_the_root_is_rotated_under_load_and_no_exchange_is_lost(peering: Peering) -> None:
    async with under_load(peering) as load:
        before = peering.authority().publisher.expiries()["root"][0]
        peering.authority().rotate("root", datetime.now(UTC))
        await peering.goes_by(peering.publish(renew=True).version, *PARTIES)
        await load.more()
        for party in PARTIES:
            assert (await peering.health(party))["registry"]["problem"] is None
        assert peering.authority().publisher.expiries()["root"][0] == before + 1


async def test_the_certificate_authority_is_rotated_under_load_and_no_exchange_is_lost(peering: Peering) -> None:
    async with under_load(peering) as load:
        old = thumbprint(peering.authority().anchor)
        await peering.goes_by(peering.authority().rotate_anchor(datetime.now(UTC)).version, *PARTIES)
        await load.more()
        former = [await changed(peering, party, kind) for party in PARTIES for kind in (SIGNING, TLS)]
        await load.more()
        # Those of the members that have not followed lose their place with the anchor.
        await revoked(peering, *former, old)
        await load.more()


def rotating(peering: Peering, party: str, *words: str) -> subprocess.Popen[bytes]:
    """The command that changes a secret, beside the node. It tells `said` what it has to say."""
    config = peering.nodes.party(party).config
    command = ["-m", "gateway", "node", "rotate", *words, "--config", str(config), "--yes", "--json"]
    with said(peering, party).open("wb") as output:
        return started(command, config.parent, output)


def said(peering: Peering, party: str) -> Path:
    """What the last of those commands wrote."""
    return peering.nodes.party(party).config.with_name("rotating.log")


def changes(peering: Peering, party: str, secret: str) -> list[object]:
    found = peering.nodes.entries(party, type="secret")
    return [entry.detail["change"] for entry in found if entry.detail["secret"] == f"{secret}_key"]


@pytest.mark.parametrize("secret", list(Secret))
async def test_a_secret_is_changed_under_load_and_killed_in_the_middle_and_no_exchange_is_lost(
    peering: Peering, secret: Secret
) -> None:
    async with under_load(peering) as load:
        for party in PARTIES:
            killed = rotating(peering, party, secret, "--settle", "3600")
            # It is on record that the nodes are to read the new key; the command waits for them, and dies.
            await until(partial(changes, peering, party, secret), alive=living(killed))
            killed.kill()
            await asyncio.to_thread(killed.wait)
            await load.more()

            again = rotating(peering, party, secret)
            assert await asyncio.to_thread(again.wait) == 0, said(peering, party).read_text("utf-8")
            await load.more()
    for party in PARTIES:
        gone = ["gone"] if secret is Secret.WRAPPING else []
        assert changes(peering, party, secret) == ["joining", "current", *gone]


async def test_files_that_do_not_fit_together_stop_nothing(peering: Peering) -> None:
    [files] = [files_of(peering, "centre")[TLS]]
    kept = files.certificate.read_bytes(), files.key.read_bytes()
    async with under_load(peering) as load:
        files.certificate.write_bytes(b"-----BEGIN CERTIFICATE-----\nhalf")
        condition = await peering.wait(lambda one: one["keys"]["peers"]["problem"] is not None)
        assert condition["ready"]
        await load.more()
        files.certificate.write_bytes(kept[0])
        await peering.wait(lambda one: one["keys"]["peers"]["problem"] is None)


async def test_the_settings_of_clients_are_read_anew_on_sighup(peering: Peering) -> None:
    config: Path = peering.nodes.party("kotka").config
    text = config.read_text("utf-8")
    assert 'name = "kotka-system"' in text
    async with peering.nodes.client("kotka") as session:

        async def ask() -> int:
            async with session.post("/v1/queries", json=peering.nodes.question()) as answer:
                return answer.status

        async def becomes(status: int) -> None:
            await until(ask, lambda seen: seen == status, alive=peering.nodes.processes.check)

        def hang_up() -> None:
            peering.nodes.processes.process("kotka-node").send_signal(signal.SIGHUP)

        assert await ask() == 200
        config.write_text(text.replace('certificates = ["client.pem"]', "certificates = []"), "utf-8")
        hang_up()
        await becomes(401)
        # Settings that cannot be read change nothing.
        config.write_text("[node", "utf-8")
        hang_up()
        config.write_text(text, "utf-8")
        hang_up()
        await becomes(200)
