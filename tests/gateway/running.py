"""Nodes as an operator runs them: a demo network in a folder, its processes, and ways to speak to their faces."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import re
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy import select

from adapters.samples import write_samples
from audit.log.entries import Entry
from audit.log.tables import entries
from gateway.demo import network as demo
from gateway.demo.ports import Ports
from gateway.demo.processes import Processes
from gateway.keys import certificates
from gateway.keys.keystore import write_private_key
from gateway.registry.run.authority import Authority
from gateway.storage import engine as storage
from gateway.wire.identifiers import ServiceId
from schemas.identifiers import HETU
from tests.databases import prepare_database
from tests.former import former_rulebook
from tests.nursery import Nursed, node_started
from tests.waiting import until

LOOPBACK = "127.0.0.1"


@dataclass
class Running:
    """Some of a demo network's nodes, running."""

    network: demo.Network
    processes: Processes
    database: str | None = None
    engines: dict[str, Any] = field(default_factory=dict)

    def party(self, name: str) -> demo.Party:
        return self.network.parties[name]

    @property
    def export(self) -> Path:
        """The centre's register."""
        return next((self.network.folder.parent / "samples").glob("*.csv"))

    @property
    def people(self) -> list[str]:
        """Identity codes of the clean people in the centre's register, in its order."""
        with self.export.open(encoding="windows-1252", errors="replace", newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";"))[:24]
        return [row["HETU"] for row in rows if row["HETU"]]

    def question(self, person: int = 1, **changes: Any) -> dict[str, Any]:
        """A question that the municipality may ask the centre."""
        return {
            "service": self.network.service("centre", "palvelutarve"),
            "subject": {"system": HETU, "value": self.people[person]},
            "purpose": "service-need-lookup",
            "categories": ["identity", "language", "housing"],
        } | changes

    def service(self, party: str, code: str) -> ServiceId:
        return ServiceId.parse(self.network.service(party, code))

    def client_context(self, party: str, *, certificate: bool = True) -> ssl.SSLContext:
        """How the party's own system connects to its node."""
        folder = self.party(party).folder
        context = ssl.create_default_context(cafile=str(folder / "clients-authority.pem"))
        if certificate:
            context.load_cert_chain(folder / "client.pem", folder / "client.key", password=self.network.passphrase)
        return context

    def peer_context(self, party: str) -> ssl.SSLContext:
        """How the party's node connects to other nodes."""
        folder = self.party(party).folder
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.load_verify_locations(self.network.folder / "authority" / "authority.pem")
        context.load_cert_chain(folder / "tls.pem", folder / "tls.key", password=self.network.passphrase)
        return context

    @asynccontextmanager
    async def client(self, party: str, *, certificate: bool = True) -> AsyncIterator[aiohttp.ClientSession]:
        """A session of the party's own system with its node."""
        connector = aiohttp.TCPConnector(ssl=self.client_context(party, certificate=certificate))
        async with aiohttp.ClientSession(self.party(party).address, connector=connector) as session:
            yield session

    def entries(self, party: str, **wanted: str) -> list[Entry]:
        """What the party's log says, oldest first: entries with these values."""
        with self._engine(party).connect() as connection:
            found = [Entry.parse(body) for body in connection.scalars(select(entries.c.body).order_by(entries.c.idx))]
        return [one for one in found if all(getattr(one, name) == value for name, value in wanted.items())]

    def refusals(self, party: str) -> list[str | None]:
        """The codes of everything that the party's node refused, oldest first."""
        return [one.reason for one in self.entries(party, outcome="refused")]

    def rows(self, party: str, statement: Any) -> list[Any]:
        """Rows of the party's database."""
        with self._engine(party).connect() as connection:
            return list(connection.execute(statement))

    async def restart(self, party: str) -> None:
        """End a node as a power cut would, start it again, and wait until it can move data."""
        self.processes.kill(f"{party}-node")
        self.processes.start_node(party)
        await self.processes.ready({f"{party}-node"})

    def database_of(self, party: str) -> str:
        """URL of the party's database."""
        return self.database.format(name=party) if self.database else f"sqlite:///{self.party(party).folder}/node.db"

    def _engine(self, party: str) -> Any:
        if party not in self.engines:
            self.engines[party] = storage.create(self.database_of(party))
        return self.engines[party]


@dataclass(frozen=True)
class Replica:
    """A second process for a party's node: the same settings and database, ports and a registry's cache of its own."""

    config: Path
    ports: Mapping[str, int]
    reserved: Ports = field(repr=False)

    @classmethod
    def of(cls, party: demo.Party, cache: Path) -> Replica:
        text = party.config.read_text("utf-8").replace("[registry]\n", f'[registry]\ncache = "{cache}"\n')
        faces = re.findall(rf'^(\w+) = "{LOOPBACK}:\d+"$', text, re.MULTILINE)
        reserved = Ports(len(faces))
        ports = dict(zip(faces, reserved, strict=True))
        for face, port in ports.items():
            text = re.sub(rf'^{face} = "{LOOPBACK}:\d+"$', f'{face} = "{LOOPBACK}:{port}"', text, flags=re.MULTILINE)
        config = party.folder / "replica.toml"
        config.write_text(text, "utf-8")
        return cls(config, ports, reserved)

    def start(self) -> subprocess.Popen[bytes]:
        """Its process."""
        return node_started(self.config)


@contextmanager
def running(
    folder: Path,
    *,
    nodes: tuple[str, ...] = ("centre", "kotka"),
    organisations: Sequence[demo.Organisation] = demo.DEMO,
    prepare: Callable[[demo.Network], None] = lambda _network: None,
    source: bool = True,
    database: str | None = None,
    rulebook: bytes | None = None,
    age: timedelta = timedelta(),
) -> Iterator[Running]:
    """Build a network, change what the test needs, start the nodes and the centre's source system, stop them all.

    Without a `rulebook` it is the former one. Everything was made as long ago as its `age` says.
    """
    samples = folder / "samples"
    samples.mkdir()
    write_samples(samples, count=40)
    register = next(samples.glob("*.csv"))
    network = demo.build(
        folder / "network",
        datetime.now(UTC) - age,
        register,
        organisations=organisations,
        terms=demo.Terms(rulebook or former_rulebook(), database),
    )
    prepare(network)
    processes = Nursed(network)
    found = Running(network, processes, database)
    try:
        for name in nodes:
            prepare_database(found.database_of(name))
            processes.start_node(name)
        if source:
            processes.start_system("centre")
        asyncio.run(processes.ready())
        yield found
    finally:
        processes.stop()
        for engine in found.engines.values():
            engine.dispose()


async def ready(port: int, alive: Callable[[], object]) -> None:
    """Wait until the node whose local face is at this port can move data. `alive` raises when it never will."""
    async with aiohttp.ClientSession() as session:
        await until(lambda: _is_ready(session, port), alive=alive)


async def _is_ready(session: aiohttp.ClientSession, port: int) -> bool:
    with contextlib.suppress(aiohttp.ClientError):
        async with session.get(f"http://{LOOPBACK}:{port}/ready") as answer:
            return answer.status == 200
    return False


@dataclass(frozen=True)
class Raw:
    """An HTTP answer as it came over the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str | None:
        """The problem code of the answer."""
        with contextlib.suppress(ValueError, AttributeError):
            found: str | None = json.loads(self.body).get("code")
            return found
        return None


async def raw(port: int, context: ssl.SSLContext | None, data: bytes, *, finish: bool = False) -> Raw | None:
    """Send bytes as they are and read one answer; None if the connection was closed without one."""
    reader, writer = await asyncio.open_connection(
        LOOPBACK, port, ssl=context, server_hostname="localhost" if context else None
    )
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
            if finish and writer.can_write_eof():
                writer.write_eof()
        return await answer_of(reader)
    finally:
        # Not closed with manners: a face that keeps its half open is no reason to wait.
        writer.transport.abort()


async def answer_of(reader: asyncio.StreamReader) -> Raw | None:
    """Read one answer."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        return None
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Raw(int(first.split(" ")[1]), headers, body)


def sign_with_ed25519(network: demo.Network, name: str) -> None:
    """Let one of the parties sign its messages with Ed25519 instead."""
    now = datetime.now(UTC)
    party = network.parties[name]
    authority = Authority(network.folder / "authority", network.passphrase.encode())
    key = certificates.new_private_key("EdDSA")
    certified = authority.certify_signing(key.public_key(), party.member, now)
    for file in ("signing.key", "signing.pem"):
        (party.folder / file).unlink()
    write_private_key(party.folder / "signing.key", key, network.passphrase.encode())
    (party.folder / "signing.pem").write_bytes(certificates.to_pem(certified.certificate))
    content = authority.content()
    members = tuple(replace(one, signing=(certified,)) if one.id == party.member else one for one in content.members)
    authority.publish(replace(content, members=members), now)


def of_the_former_version(network: demo.Network, name: str) -> None:
    """Let one of the parties' nodes take messages of the first version only."""
    authority = Authority(network.folder / "authority", network.passphrase.encode())
    content, node = authority.content(), network.parties[name].node
    nodes = tuple(replace(listed, messages=(1,)) if listed.id == node else listed for listed in content.nodes)
    authority.publish(replace(content, nodes=nodes), datetime.now(UTC))
