"""Build a demo network in a folder: keys, certificates, a published registry and the settings of four nodes.

The organisations carry real place names and invented business ids, and the instance is called FI-DEMO: none of it is
anyone's. What is built is what an operator would build by hand: the same files, the same settings, nothing that only
the demo knows.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.tree.checkpoint import LogSigner, WitnessSigner
from consent.rulebook import load, reference_rulebook
from gateway.demo.asking import asked_by
from gateway.demo.files import client_face, settings, system
from gateway.demo.listing import counties, municipalities, services, services_of
from gateway.demo.organisations import DEMO, INSTANCE, Organisation, Party
from gateway.demo.ports import LOOPBACK, Ports
from gateway.keys import certificates
from gateway.keys.keystore import write_private_key, write_secret
from gateway.keys.tls import peer_pin
from gateway.registry.read.entries import (
    Content,
    Member,
    Node,
    RoleTerm,
    Subsystem,
    log_origin,
    witness_name,
)
from gateway.registry.run.authority import Authority
from gateway.wire.identifiers import MemberId, ServiceId, SubsystemId
from gateway.wire.message import MESSAGE_VERSIONS
from texts import Text


@dataclass(frozen=True, slots=True)
class Network:
    """The demo network as it was built."""

    folder: Path
    passphrase: str
    parties: Mapping[str, Party]
    logs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # Held, not read: the parties' ports are nobody else's for as long as the network is referred to.
    ports: Ports | None = field(default=None, repr=False, compare=False)

    def service(self, party: str, code: str) -> str:
        """The id of a service of one of the parties."""
        return str(ServiceId(self.parties[party].subsystem, code))

    def state(self) -> dict[str, Any]:
        """All that a script needs in order to talk to the network: addresses, identifiers, credentials, log keys."""
        return {
            "instance": INSTANCE,
            "registry": str(self.folder / "authority" / "registry"),
            "root": str(self.folder / "root.json"),
            "parties": {
                name: {
                    "title": {"fi": party.title.fi, "sv": party.title.sv, "en": party.title.en},
                    "member": str(party.member),
                    "subsystem": str(party.subsystem),
                    "roles": list(party.roles),
                    "node": party.node,
                    "config": str(party.config),
                    "database": f"sqlite:///{party.folder / 'node.db'}",
                    "client_api": party.address,
                    "peer_address": f"https://{LOOPBACK}:{party.peers}",
                    "local_address": f"http://{LOOPBACK}:{party.local}",
                    "system_address": f"http://{LOOPBACK}:{party.system}",
                    "console_address": party.console_address,
                    "client": self._client(party),
                    "keys": self._keys(party),
                    "log": self.logs[name],
                    "services": {code: self.service(name, code) for code in services_of(party.roles)},
                }
                for name, party in self.parties.items()
            },
        }

    def _client(self, party: Party) -> dict[str, str]:
        files = {"certificate": "client.pem", "key": "client.key", "authority": "clients-authority.pem"}
        found = {use: str(party.folder / file) for use, file in files.items()}
        found |= {"name": f"{party.name}-system", "passphrase": self.passphrase}
        if (party.folder / "client-token.key").exists():
            found["token_key"] = str(party.folder / "client-token.key")
        return found | {"passphrase_file": str(self.folder / "passphrase")}

    def _keys(self, party: Party) -> dict[str, str]:
        files = {f"{use}_{part}": f"{use}.{end}" for use in ("signing", "tls") for part, end in _PARTS}
        found = {use: str(party.folder / file) for use, file in files.items()}
        anchors = str(self.folder / "authority" / "authority.pem")
        return found | {"passphrase_file": str(self.folder / "passphrase"), "anchors": anchors}


_PARTS = (("certificate", "pem"), ("key", "key"))


@dataclass(frozen=True, slots=True)
class Terms:
    """On what a network is built, where it is not as the demo is.

    `database` may hold `{name}`: the address of each node's database, instead of an SQLite file in its folder.
    """

    rulebook: bytes = field(default_factory=reference_rulebook, repr=False)
    database: str | None = None


def build(
    folder: Path,
    now: datetime,
    export: Path,
    *,
    organisations: Sequence[Organisation] = DEMO,
    terms: Terms | None = None,
) -> Network:
    """Build the network in an empty folder, with `export` as the centre's register; returns once all is written."""
    terms = terms or Terms()
    rulebook = load(terms.rulebook, source="the network's rulebook")
    passphrase = secrets.token_urlsafe(24)
    folder.mkdir(parents=True, exist_ok=True)
    secret = folder / "passphrase"
    write_secret(secret, passphrase.encode())
    reserved = Ports(5 * len(organisations))
    ports = iter(reserved)
    parties = {organisation.name: _party(organisation, folder, ports) for organisation in organisations}
    authority = Authority(folder / "authority", passphrase.encode())
    authority.create(Content(INSTANCE, Text("Demoverkko", "Demonätverk", "Demo network"), rulebook=terms.rulebook), now)
    listed = [_enrolled(party, authority, passphrase, now) for party in parties.values()]
    authority.publish(
        replace(
            authority.content(),
            members=tuple(member for member, _node in listed),
            nodes=tuple(node for _member, node in listed),
            services=services(parties, rulebook),
            municipalities=municipalities(organisations, parties, now.date()),
            counties=counties(organisations, parties),
            standing_requests=asked_by(parties.values(), rulebook, passphrase),
        ),
        now,
    )
    (folder / "root.json").write_bytes(authority.publisher.root())
    for party in parties.values():
        party.config.write_text(settings(party, folder, secret, terms.database), encoding="utf-8")
        # It holds the passphrase of the system's key.
        write_secret(party.folder / "system.json", system(party, passphrase, export).encode())
    logs = {
        name: {"origin": node.log_origin or "", "key": node.log_key or ""}
        for name, (_member, node) in zip(parties, listed, strict=True)
    }
    return Network(folder, passphrase, parties, logs, reserved)


def _party(organisation: Organisation, folder: Path, ports: Iterator[int]) -> Party:
    return Party(
        name=organisation.name,
        title=organisation.title,
        member=MemberId.parse(f"{INSTANCE}/{organisation.member}"),
        subsystem=SubsystemId.parse(f"{INSTANCE}/{organisation.member}/{organisation.subsystem}"),
        roles=organisation.roles,
        node=organisation.node,
        folder=folder / organisation.name,
        peers=next(ports),
        clients=next(ports),
        local=next(ports),
        system=next(ports),
        console=next(ports),
    )


def _enrolled(party: Party, authority: Authority, passphrase: str, now: datetime) -> tuple[Member, Node]:
    """Make a party's keys and certificates in its folder; returns what the registry is to list of it."""
    party.folder.mkdir()
    signing, tls = certificates.new_private_key("ES256"), certificates.new_private_key("ES256")
    write_private_key(party.folder / "signing.key", signing, passphrase.encode())
    write_private_key(party.folder / "tls.key", tls, passphrase.encode())
    certified = authority.certify_signing(signing.public_key(), party.member, now)
    tls_certificate = authority.certify_tls(tls.public_key(), party.member, party.node, now)
    (party.folder / "signing.pem").write_bytes(certificates.to_pem(certified.certificate))
    (party.folder / "tls.pem").write_bytes(certificates.to_pem(tls_certificate))
    client_face(party, passphrase, now)
    origin = log_origin(party.node)
    log_key = Ed25519PrivateKey.from_private_bytes(_secret(party, "log.key"))
    cosigner = WitnessSigner.from_seed(_secret(party, "witness.key"), witness_name(party.node)).verifier
    member = Member(
        id=party.member,
        name=party.title,
        roles=tuple(RoleTerm(role) for role in party.roles),
        subsystems=(Subsystem(party.subsystem, party.title),),
        signing=(certified,),
    )
    node = Node(
        id=party.node,
        owner=party.member,
        address=f"https://{LOOPBACK}:{party.peers}",
        pins=frozenset({peer_pin(tls_certificate)}),
        serves=frozenset({party.member}),
        log_origin=origin,
        log_key=str(LogSigner(log_key, origin).verifier),
        witness=(str(cosigner),),
        messages=MESSAGE_VERSIONS,
    )
    return member, node


def _secret(party: Party, name: str) -> bytes:
    """A new secret of the party's node."""
    made = secrets.token_bytes(32)
    write_secret(party.folder / "secrets" / name, base64.b64encode(made) + b"\n")
    return made
