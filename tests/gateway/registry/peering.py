"""A stranger's side of the peer face: sign a message with a member's key, connect with any certificate, see what comes.

And the network's authority at work: publish a change, and wait until a running node goes by it.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from tuf.api.metadata import (  # type: ignore[attr-defined]
    Metadata,
    MetaFile,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from audit.log.entries import new_id
from gateway.demo.network import Network
from gateway.demo.organisations import INSTANCE
from gateway.demo.ports import LOOPBACK
from gateway.keys import certificates
from gateway.keys.keystore import FileKeyStore, read_private_key, write_private_key
from gateway.registry.read.entries import Content
from gateway.registry.read.roles import Lifetimes, Published
from gateway.registry.run.authority import Authority
from gateway.wire.decided import body_digest
from gateway.wire.identifiers import MemberId
from gateway.wire.message import Checkpoint, RequestClaims
from gateway.wire.signing import sign_request
from tests.gateway.running import Running
from tests.waiting import until

REFRESH_SECONDS = 0.5


def hasten(network: Network) -> None:
    """Let every node look at the registry twice a second."""
    for party in network.parties.values():
        text = party.config.read_text("utf-8")
        party.config.write_text(text.replace("refresh_seconds = 2", f"refresh_seconds = {REFRESH_SECONDS}"), "utf-8")


@dataclass(frozen=True)
class Answered:
    """What the peer face answered: HTTP status, the signed answer if there is one, and the body's problem code."""

    status: int
    signed: bool
    body: Any

    @property
    def code(self) -> str | None:
        """The problem code, if the body is a problem."""
        return self.body.get("code") if isinstance(self.body, dict) else None


@dataclass
class Peering:
    """What the tests do to the network's running nodes from outside."""

    nodes: Running
    lifetimes: Lifetimes = field(default_factory=Lifetimes)

    @property
    def phrase(self) -> bytes:
        """The passphrase of all keys of the network."""
        return self.nodes.network.passphrase.encode()

    def authority(self, lifetimes: Lifetimes | None = None) -> Authority:
        """The network's authority."""
        return Authority(self.nodes.network.folder / "authority", self.phrase, lifetimes=lifetimes or self.lifetimes)

    @property
    def anchor_key(self) -> certificates.PrivateKey:
        """The key with which the network's certificates are issued."""
        return read_private_key(self.nodes.network.folder / "authority" / "keys" / "authority.pem", self.phrase)

    def publish(self, change: Callable[[Content], Content] = lambda content: content, **options: Any) -> Published:
        """Publish what `change` makes of the registry."""
        ours = self.authority()
        return ours.publish(change(ours.content()), datetime.now(UTC), **options)

    def claims(self, body: bytes, **changes: Any) -> RequestClaims:
        """A message from the municipality to the centre, as its node would make one now."""
        now = datetime.now(UTC)
        made: dict[str, Any] = {
            "issuer": self.nodes.party("kotka").subsystem,
            "audience": self.nodes.service("centre", "palvelutarve"),
            "message_id": new_id(now),
            "issued_at": now,
            "expires_at": now + timedelta(seconds=60),
            "method": "POST",
            "target": "/",
            "content_type": "application/json",
            "digest": body_digest(body),
            "purpose": "service-need-lookup",
            "categories": frozenset({"identity", "language", "housing"}),
            "rulebook": "sha-256:x",
            "checkpoint": Checkpoint(f"yhdyspinta/{self.nodes.party('kotka').node}", 0, bytes(32)),
        } | changes
        return RequestClaims(**made)

    def body(self, person: int = 1) -> bytes:
        """A question about one person of the centre's register."""
        return json.dumps({"subject": self.nodes.question(person)["subject"]}).encode()

    def message(self, body: bytes, *, party: str = "kotka", **changes: Any) -> str:
        """The signed text of a message, by the signing key of `party`."""
        folder = self.nodes.party(party).folder
        signer = FileKeyStore.open(folder / "signing.key", folder / "signing.pem", self.phrase)
        return sign_request(self.claims(body, **changes), signer)

    async def send(
        self, message: str, body: bytes, *, context: ssl.SSLContext | None = None, port: int | None = None
    ) -> Answered:
        """Post a message to the centre's peer face over a connection of its own."""
        connector = aiohttp.TCPConnector(ssl=context or self.nodes.peer_context("kotka"))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post(
                f"https://{LOOPBACK}:{port or self.nodes.party('centre').peers}/peer/v1/messages",
                data=body,
                headers={"Message": message, "Content-Type": "application/json"},
            ) as response,
        ):
            content = await response.read()
            return Answered(response.status, "Message" in response.headers, json.loads(content))

    async def ask(self, person: int = 1) -> Answered:
        """A whole new question from the municipality's keys."""
        body = self.body(person)
        return await self.send(self.message(body), body)

    def files(self, name: str, certificate: bytes, key: certificates.PrivateKey) -> tuple[Path, Path]:
        """A certificate (DER) and its key as files."""
        folder = self.nodes.network.folder / "strangers"
        paths = folder / f"{name}.pem", folder / f"{name}.key"
        if not paths[0].exists():
            folder.mkdir(exist_ok=True)
            paths[0].write_bytes(certificates.to_pem(certificate))
            write_private_key(paths[1], key, self.phrase)
        return paths

    def context(self, name: str, certificate: bytes, key: certificates.PrivateKey) -> ssl.SSLContext:
        """How somebody with this certificate connects to a peer face."""
        context = self.nodes.peer_context("kotka")
        pem, secret = self.files(name, certificate, key)
        context.load_cert_chain(pem, secret, password=self.nodes.network.passphrase)
        return context

    async def health(self, party: str = "centre") -> dict[str, Any]:
        """The condition of a node."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{LOOPBACK}:{self.nodes.party(party).local}/health") as answer,
        ):
            found: dict[str, Any] = await answer.json()
            return found

    async def wait(self, holds: Callable[[dict[str, Any]], bool], party: str = "centre") -> dict[str, Any]:
        """Wait until a node's condition is such."""
        condition: dict[str, Any] = await until(lambda: self.health(party), holds, alive=self.nodes.processes.check)
        return condition

    async def goes_by(self, version: int, *parties: str) -> None:
        """Wait until the nodes go by this version of the registry."""
        for party in parties or ("centre",):
            await self.wait(lambda condition: condition["registry"]["version"] == version, party)

    async def refused(self, face: str, reason: str, party: str = "centre") -> float:
        """How many connections the node says it has refused for a reason."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{LOOPBACK}:{self.nodes.party(party).local}/metrics") as answer,
        ):
            lines = (await answer.text()).splitlines()
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith("yhdyspinta_refused_connections_total{")
            and f'face="{face}"' in line
            and re.search(rf'reason="{reason}"', line)
        )

    async def on_record(self, reason: str, **wanted: str) -> None:
        """Wait until a refusal with this code is in the centre's log."""
        await until(lambda: [one for one in self.nodes.entries("centre", **wanted) if one.reason == reason])

    def released(self) -> int:
        """How often the centre's node has let anything go."""
        return sum(one.outcome in {"success", "partial"} for one in self.nodes.entries("centre", type="query"))


def forge(folder: Path, ring: Any, role: str, extra: dict[str, bytes]) -> int:
    """Sign the next version of a role as its authority never would, and publish it in `folder`; returns its version.

    `extra` replaces files of the role or adds to them. Names that lead elsewhere are listed and not written.
    """
    place = folder / "metadata"

    def sign(metadata: Any, name: str, by: str) -> bytes:
        metadata.signatures.clear()
        for signer in ring[by]:
            metadata.sign(signer, append=True)
        data: bytes = metadata.to_bytes()
        (place / name).write_bytes(data)
        return data

    timestamp = Metadata[Timestamp].from_file(str(place / "timestamp.json"))
    snapshot = Metadata[Snapshot].from_file(str(place / f"{timestamp.signed.snapshot_meta.version}.snapshot.json"))
    held = snapshot.signed.meta[f"{role}.json"].version
    changed = Metadata[Targets].from_file(str(place / f"{held}.{role}.json"))
    changed.signed.version = held + 1
    for name, data in extra.items():
        changed.signed.targets[name] = TargetFile.from_data(name, data, ["sha256"])
        if "/" not in name:
            (folder / "targets" / f"{changed.signed.targets[name].hashes['sha256']}.{name}").write_bytes(data)
    data = sign(changed, f"{held + 1}.{role}.json", role)
    snapshot.signed.meta[f"{role}.json"] = MetaFile.from_data(held + 1, data, ["sha256"])
    snapshot.signed.version += 1
    data = sign(snapshot, f"{snapshot.signed.version}.snapshot.json", "snapshot")
    timestamp.signed.snapshot_meta = MetaFile.from_data(snapshot.signed.version, data, ["sha256"])
    timestamp.signed.version += 1
    sign(timestamp, "timestamp.json", "timestamp")
    return snapshot.signed.version


def stranger(name: str = "kotka.demo") -> tuple[bytes, bytes, certificates.PrivateKey, certificates.PrivateKey]:
    """An authority outside the network, and what it issues for a node of that name: (anchor, certificate, keys)."""
    now = datetime.now(UTC)
    key, own = certificates.new_private_key("ES256"), certificates.new_private_key("ES256")
    term = {"not_before": now - timedelta(days=1), "not_after": now + timedelta(days=30)}
    anchor = certificates.issue_authority(key, f"{INSTANCE} registry", serial=1, **term)
    member = MemberId.parse(f"{INSTANCE}/MUN/9000003-8")
    issued = certificates.issue_tls(
        certificates.Issuer(anchor, key), own.public_key(), member, name, certificates.Term(**term, serial=2)
    )
    return anchor, issued, key, own
