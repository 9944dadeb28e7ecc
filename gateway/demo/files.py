"""The files of one organisation's node in a demo network: settings, certificates for its systems, its system's own."""

from __future__ import annotations

import json
import secrets
from datetime import datetime, timedelta
from pathlib import Path

from gateway.demo.organisations import Party
from gateway.demo.ports import LOOPBACK
from gateway.keys import certificates
from gateway.keys.keystore import write_private_key
from gateway.wire.identifiers import ServiceId

_NODE = """\
[node]
id = "{party.node}"
subsystems = ["{party.subsystem}"]

[database]
url = "{url}"

[registry]
source = {source}
root = {root}
refresh_seconds = 2

[listen]
peers = "{host}:{party.peers}"
clients = "{host}:{party.clients}"
local = "{host}:{party.local}"
console = "{host}:{party.console}"

[signing]
certificate = "signing.pem"
key = "signing.key"
passphrase = {secret}

[tls]
client_authorities = ["clients-authority.pem"]

[tls.peers]
certificate = "tls.pem"
key = "tls.key"
passphrase = {secret}

[tls.clients]
certificate = "clients-tls.pem"
key = "clients-tls.key"
passphrase = {secret}

[delivery]
retry_seconds = 0.25
retry_limit_seconds = 5
lease_seconds = 3

[audit]
cosign_seconds = 60

[[clients]]
name = "{party.name}-system"
subsystem = "{party.subsystem}"
certificates = ["client.pem"]
identity = "authoritative"
"""
_SERVICE = """
[[services]]
service = "{service}"
adapter = "reception-centre-csv"
identity = "authoritative"
url = "http://{host}:{party.system}/records"
"""


def settings(party: Party, folder: Path, passphrase: Path, database: str | None) -> str:
    """The node's settings, as an operator would write them."""
    text = _NODE.format(
        party=party,
        host=LOOPBACK,
        url=database.format(name=party.name) if database else "sqlite:///node.db",
        source=json.dumps(str(folder / "authority" / "registry")),
        root=json.dumps(str(folder / "root.json")),
        secret=json.dumps(str(passphrase)),
    )
    if not party.holds_records:
        return text
    return text + _SERVICE.format(service=ServiceId(party.subsystem, "palvelutarve"), host=LOOPBACK, party=party)


def system(party: Party, passphrase: str, export: Path) -> str:
    """What the organisation's own system is told: its port, its certificate, and the node that it calls."""
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


def client_face(party: Party, passphrase: str, now: datetime) -> None:
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
            certificates.Issuer(anchor, key),
            own.public_key(),
            party.member,
            name,
            certificates.Term(now - timedelta(minutes=5), now + timedelta(days=365), secrets.randbits(120)),
        )
        write_private_key(party.folder / f"{file}.key", own, passphrase.encode())
        (party.folder / f"{file}.pem").write_bytes(certificates.to_pem(issued))
