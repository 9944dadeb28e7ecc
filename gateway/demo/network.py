"""Build a demo network in a folder: keys, certificates, a published registry and the settings of four nodes.

The organisations carry real place names and invented business ids, and the instance is called FI-DEMO: none of it is
anyone's. What is built is what an operator would build by hand: the same files, the same settings, nothing that only
the demo knows.
"""

from __future__ import annotations

import base64
import json
import secrets
import socket
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.tree.checkpoint import LogSigner, WitnessSigner
from consent.rulebook import load, reference_rulebook
from gateway.keys import certificates
from gateway.keys.keystore import write_private_key, write_secret
from gateway.keys.tls import peer_pin
from gateway.registry.read.entries import (
    Content,
    County,
    Member,
    Municipality,
    Node,
    RoleTerm,
    ServiceDescriptor,
    Subsystem,
    log_origin,
    witness_name,
)
from gateway.registry.run.authority import Authority
from gateway.wire.identifiers import MemberId, ServiceId, SubsystemId
from gateway.wire.message import MESSAGE_VERSIONS
from gateway.wire.text import Text
from schemas.facts import HETU, MIGRI_CUSTOMER

INSTANCE = "FI-DEMO"
LOOPBACK = "127.0.0.1"
_PORTS = range(12_000, 32_000)


@dataclass(frozen=True, slots=True)
class Organisation:
    """An organisation of the demo: its member and subsystem (`CLASS/MEMBER`, subsystem), its roles, its node.

    `municipalities` are the codes that a municipality answers for, `county` the county that a county is.
    """

    name: str
    title: Text
    member: str
    subsystem: str
    roles: tuple[str, ...]
    node: str
    municipalities: tuple[str, ...] = ()
    county: str | None = None


@dataclass(frozen=True, slots=True)
class Party:
    """One organisation of the demo as it was built: its identifiers, its node and where that listens."""

    name: str
    title: Text
    member: MemberId
    subsystem: SubsystemId
    roles: tuple[str, ...]
    node: str
    folder: Path
    peers: int
    clients: int
    local: int
    system: int
    console: int

    @property
    def holds_records(self) -> bool:
        """Whether it is the one whose register the demo reads."""
        return "reception-centre" in self.roles

    @property
    def config(self) -> Path:
        """The node's settings."""
        return self.folder / "node.toml"

    @property
    def address(self) -> str:
        """Where the organisation's own systems call their node."""
        return f"https://localhost:{self.clients}"

    @property
    def console_address(self) -> str:
        """Where the organisation's data protection officer signs in."""
        return f"http://localhost:{self.console}"


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
                    "services": {code: self.service(name, code) for code in _services_of(party.roles)},
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

#: The four organisations of `make demo`.
DEMO: tuple[Organisation, ...] = (
    Organisation(
        "centre",
        Text("Esimerkin vastaanottokeskus", "Exempelförläggningen", "Example reception centre"),
        "GOV/9000001-1",
        "vastaanotto",
        ("reception-centre",),
        "centre.demo",
    ),
    Organisation(
        "kotka",
        Text("Kotkan kaupunki (demo)", "Kotka stad (demo)", "City of Kotka (demo)"),
        "MUN/9000003-8",
        "kotoutuminen",
        ("municipality",),
        "kotka.demo",
        municipalities=("285",),
    ),
    Organisation(
        "kymenlaakso",
        Text("Kymenlaakson hyvinvointialue (demo)", "Kymmenedalens välfärdsområde (demo)", "Kymenlaakso county (demo)"),
        "WSC/9000004-6",
        "sosiaali",
        ("county",),
        "kymenlaakso.demo",
        county="kymenlaakso",
    ),
    Organisation(
        "placement",
        Text("Elinvoimakeskus (demo)", "Livskraftscentralen (demo)", "Placement authority (demo)"),
        "GOV/9000005-4",
        "kuntapaikat",
        ("placement-authority",),
        "placement.demo",
    ),
)


def _services_of(roles: tuple[str, ...]) -> tuple[str, ...]:
    own = "palvelutarve" if "reception-centre" in roles else "saapuvat"
    return (own, "hyvaksynnat", "ilmoitukset")


def build(
    folder: Path,
    now: datetime,
    export: Path,
    *,
    organisations: Sequence[Organisation] = DEMO,
    database: str | None = None,
) -> Network:
    """Build the network in an empty folder. `export` is the reception centre's register; returns once all is written.

    `database` may hold `{name}`: the address of each node's database, instead of an SQLite file in its folder.
    """
    passphrase = secrets.token_urlsafe(24)
    folder.mkdir(parents=True, exist_ok=True)
    secret = folder / "passphrase"
    write_secret(secret, passphrase.encode())
    reserved = Ports(5 * len(organisations))
    ports = iter(reserved)
    parties = {
        organisation.name: Party(
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
        for organisation in organisations
    }
    authority = Authority(folder / "authority", passphrase.encode())
    authority.create(
        Content(INSTANCE, Text("Demoverkko", "Demonätverk", "Demo network"), rulebook=reference_rulebook()), now
    )
    content = authority.content()
    members, nodes, logs = [], [], {}
    for party in parties.values():
        party.folder.mkdir()
        signing, tls = certificates.new_private_key("ES256"), certificates.new_private_key("ES256")
        write_private_key(party.folder / "signing.key", signing, passphrase.encode())
        write_private_key(party.folder / "tls.key", tls, passphrase.encode())
        certified = authority.certify_signing(signing.public_key(), party.member, now)
        tls_certificate = authority.certify_tls(tls.public_key(), party.member, party.node, now)
        (party.folder / "signing.pem").write_bytes(certificates.to_pem(certified.certificate))
        (party.folder / "tls.pem").write_bytes(certificates.to_pem(tls_certificate))
        _client_face(party, passphrase, now)
        log_key = Ed25519PrivateKey.generate()
        raw = log_key.private_bytes(
            serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
        )
        write_secret(party.folder / "secrets" / "log.key", base64.b64encode(raw) + b"\n")
        seed = secrets.token_bytes(32)
        write_secret(party.folder / "secrets" / "witness.key", base64.b64encode(seed) + b"\n")
        cosigner = WitnessSigner.from_seed(seed, witness_name(party.node)).verifier
        origin = log_origin(party.node)
        verifier = LogSigner(log_key, origin).verifier
        logs[party.name] = {"origin": origin, "key": str(verifier)}
        members.append(
            Member(
                id=party.member,
                name=party.title,
                roles=tuple(RoleTerm(role) for role in party.roles),
                subsystems=(Subsystem(party.subsystem, party.title),),
                signing=(certified,),
            )
        )
        nodes.append(
            Node(
                id=party.node,
                owner=party.member,
                address=f"https://{LOOPBACK}:{party.peers}",
                pins=frozenset({peer_pin(tls_certificate)}),
                serves=frozenset({party.member}),
                log_origin=origin,
                log_key=str(verifier),
                witness=(str(cosigner),),
                messages=MESSAGE_VERSIONS,
            )
        )
    authority.publish(
        Content(
            instance=INSTANCE,
            name=content.name,
            anchors=content.anchors,
            members=tuple(members),
            nodes=tuple(nodes),
            services=_services(parties),
            municipalities=_municipalities(organisations, parties),
            counties=_counties(organisations, parties),
            rulebook=content.rulebook,
        ),
        now,
    )
    (folder / "root.json").write_bytes(authority.publisher.root())
    for party in parties.values():
        party.config.write_text(_settings(party, folder, secret, database), encoding="utf-8")
        (party.folder / "system.json").write_text(_system(party, passphrase, export), encoding="utf-8")
    return Network(folder, passphrase, parties, logs, reserved)


def _services(parties: Mapping[str, Party]) -> tuple[ServiceDescriptor, ...]:
    rulebook = load(reference_rulebook(), source="reference rulebook")
    every = frozenset(rulebook.purposes)
    categories = frozenset(rulebook.categories)
    handed = frozenset(part.purpose for flow in rulebook.flows.values() for part in flow.deliveries)
    found: list[ServiceDescriptor] = []
    for party in parties.values():
        if party.holds_records:
            found.append(
                ServiceDescriptor(
                    ServiceId(party.subsystem, "palvelutarve"),
                    "query",
                    Text("Palvelutarpeet", "Servicebehov", "Service needs"),
                    purposes=frozenset({"service-need-lookup", "municipal-placement"}),
                    categories=categories,
                    schema="Bundle",
                    locator=(HETU, MIGRI_CUSTOMER),
                    keep_bodies=True,
                )
            )
        else:
            found.append(
                ServiceDescriptor(
                    ServiceId(party.subsystem, "saapuvat"),
                    "inbox",
                    Text("Saapuvat", "Inkommande", "Inbox"),
                    purposes=handed,
                    categories=categories,
                    schema="Bundle",
                    keep_bodies=True,
                )
            )
        found += [
            ServiceDescriptor(
                ServiceId(party.subsystem, "hyvaksynnat"),
                "acceptance",
                Text("Hyväksynnät", "Godkännanden", "Acceptances"),
                purposes=every,
                categories=categories,
            ),
            ServiceDescriptor(
                ServiceId(party.subsystem, "ilmoitukset"),
                "notice",
                Text("Ilmoitukset", "Meddelanden", "Notices"),
                purposes=frozenset({"withdrawal-notice"}),
                categories=categories,
            ),
        ]
    return tuple(found)


def _municipalities(organisations: Sequence[Organisation], parties: Mapping[str, Party]) -> tuple[Municipality, ...]:
    members = {
        code: parties[organisation.name].subsystem
        for organisation in organisations
        for code in organisation.municipalities
    }
    return tuple(
        Municipality(code, name, county, members.get(code))
        for code, name, county in (
            ("285", Text("Kotka", "Kotka", "Kotka"), "kymenlaakso"),
            ("286", Text("Kouvola", "Kouvola", "Kouvola"), "kymenlaakso"),
            ("075", Text("Hamina", "Fredrikshamn", "Hamina"), "kymenlaakso"),
            ("091", Text("Helsinki", "Helsingfors", "Helsinki"), None),
            ("837", Text("Tampere", "Tammerfors", "Tampere"), "pirkanmaa"),
        )
    )


def _counties(organisations: Sequence[Organisation], parties: Mapping[str, Party]) -> tuple[County, ...]:
    members = {
        organisation.county: parties[organisation.name].subsystem
        for organisation in organisations
        if organisation.county is not None
    }
    return tuple(
        County(code, name, members.get(code))
        for code, name in (
            ("kymenlaakso", Text("Kymenlaakson hyvinvointialue", "Kymmenedalens välfärdsområde", "Kymenlaakso")),
            ("pirkanmaa", Text("Pirkanmaan hyvinvointialue", "Birkalands välfärdsområde", "Pirkanmaa")),
        )
    )


def _client_face(party: Party, passphrase: str, now: datetime) -> None:
    """The organisation's own small authority for its systems, its node's certificate for them, and one system's."""
    key = certificates.new_private_key("ES256")
    anchor = certificates.issue_authority(
        key,
        f"{party.name} client systems",
        not_before=now - timedelta(hours=1),
        not_after=now + timedelta(days=400),
        serial=secrets.randbits(120),
    )
    (party.folder / "clients-authority.pem").write_bytes(certificates.to_pem(anchor))
    for file, name in (("clients-tls", "localhost"), ("client", f"system.{party.name}.demo")):
        own = certificates.new_private_key("ES256")
        issued = certificates.issue_tls(
            anchor,
            key,
            own.public_key(),
            party.member,
            name,
            not_before=now - timedelta(minutes=5),
            not_after=now + timedelta(days=365),
            serial=secrets.randbits(120),
        )
        write_private_key(party.folder / f"{file}.key", own, passphrase.encode())
        (party.folder / f"{file}.pem").write_bytes(certificates.to_pem(issued))


def _settings(party: Party, folder: Path, passphrase: Path, database: str | None) -> str:
    """The node's settings, as an operator would write them."""
    secret = json.dumps(str(passphrase))
    lines = [
        "[node]",
        f'id = "{party.node}"',
        f'subsystems = ["{party.subsystem}"]',
        "",
        "[database]",
        f'url = "{database.format(name=party.name) if database else "sqlite:///node.db"}"',
        "",
        "[registry]",
        f"source = {json.dumps(str(folder / 'authority' / 'registry'))}",
        f"root = {json.dumps(str(folder / 'root.json'))}",
        "refresh_seconds = 2",
        "",
        "[listen]",
        f'peers = "{LOOPBACK}:{party.peers}"',
        f'clients = "{LOOPBACK}:{party.clients}"',
        f'local = "{LOOPBACK}:{party.local}"',
        f'console = "{LOOPBACK}:{party.console}"',
        "",
        "[signing]",
        'certificate = "signing.pem"',
        'key = "signing.key"',
        f"passphrase = {secret}",
        "",
        "[tls]",
        'client_authorities = ["clients-authority.pem"]',
        "",
        "[tls.peers]",
        'certificate = "tls.pem"',
        'key = "tls.key"',
        f"passphrase = {secret}",
        "",
        "[tls.clients]",
        'certificate = "clients-tls.pem"',
        'key = "clients-tls.key"',
        f"passphrase = {secret}",
        "",
        "[delivery]",
        "retry_seconds = 0.25",
        "retry_limit_seconds = 5",
        "lease_seconds = 3",
        "",
        "[[clients]]",
        f'name = "{party.name}-system"',
        f'subsystem = "{party.subsystem}"',
        'certificates = ["client.pem"]',
        'identity = "authoritative"',
    ]
    if party.holds_records:
        lines += [
            "",
            "[[services]]",
            f'service = "{ServiceId(party.subsystem, "palvelutarve")}"',
            'adapter = "reception-centre-csv"',
            'identity = "authoritative"',
            f'url = "http://{LOOPBACK}:{party.system}/records"',
        ]
    return "\n".join(lines) + "\n"


def _system(party: Party, passphrase: str, export: Path) -> str:
    source = party.holds_records
    return json.dumps(
        {
            "name": f"{party.name}-system",
            "kind": "source" if source else "recipient",
            "port": party.system,
            "node": party.address,
            "authority": str(party.folder / "clients-authority.pem"),
            "certificate": str(party.folder / "client.pem"),
            "key": str(party.folder / "client.key"),
            "passphrase": passphrase,
            "export": str(export) if source else None,
            "adapter": "municipality-json" if "municipality" in party.roles else "canonical",
            "contact": {"name": f"{party.title.fi}: vastaanottotiimi", "phone": "05 000 0000"},
        },
        indent=1,
        ensure_ascii=False,
    )


class Ports:
    """Ports of loopback that are this process's to give away, for as long as the object is referred to.

    Each is bound and never listened on. A listener that sets SO_REUSEADDR, as every server here does, may bind it
    beside that, also again after it was killed; nobody else is given it, neither another reservation nor whoever asks
    the system for any free port. Only Linux shares a port so: elsewhere they are let go as soon as all are found.
    """

    def __init__(self, count: int) -> None:
        held: list[socket.socket] = []
        while len(held) < count:
            place = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                place.bind((LOOPBACK, secrets.choice(_PORTS)))
            except OSError:
                place.close()
                continue
            # Set after binding: the bind itself must fail where anybody has the port, reserved or listened on.
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.append(place)
        self._numbers = tuple(int(place.getsockname()[1]) for place in held)
        let_go = weakref.finalize(self, _close, held)
        if sys.platform != "linux":
            let_go()

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)


def _close(held: Sequence[socket.socket]) -> None:
    for place in held:
        place.close()
