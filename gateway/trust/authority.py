"""The registry's authority: its keys, the certificates it issues, and what it publishes, in one folder.

    keys/        the private keys of the registry's roles and of its certificate authority, encrypted PKCS#8
    authority.pem   the certificate of that authority, an anchor of the network
    registry/    what is published: `metadata/` and `targets/`, to be served by any web server or shared folder

The root keys are best carried away after `create` and brought back for a rotation; publishing needs the others only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner, Signer, SSlibKey  # type: ignore[attr-defined]

from gateway.protocol.identifiers import MemberId
from gateway.protocol.signing import PublicKey
from gateway.trust import certificates, targets
from gateway.trust.entries import Content, SigningCertificate
from gateway.trust.errors import TrustError
from gateway.trust.keystore import read_private_key, write_private_key
from gateway.trust.publishing import ROLES, ROOT, Lifetimes, Published, Publisher

#: How many keys each role has, and how many of them must sign.
KEYS: Mapping[str, int] = {ROOT: 3}
THRESHOLDS: Mapping[str, int] = {ROOT: 2}
AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 365


class Authority:
    """The authority of one registry."""

    def __init__(self, folder: Path, passphrase: bytes, lifetimes: Lifetimes | None = None) -> None:
        self.folder = folder
        self.publisher = Publisher(folder / "registry", lifetimes)
        self._passphrase = passphrase
        self._keys = folder / "keys"

    @property
    def anchor(self) -> bytes:
        """The certificate (DER) that issues the network's certificates."""
        return certificates.to_der((self.folder / "authority.pem").read_bytes())

    def create(self, content: Content, now: datetime) -> Published:
        """Make all keys and publish the first registry. Raises TrustError if there is one already."""
        if (self.folder / "authority.pem").exists():
            raise TrustError(
                "request-refused", f"{self.folder} holds a registry's keys already", "choose another folder"
            )
        self._keys.mkdir(parents=True, exist_ok=True, mode=0o700)
        for role in ROLES:
            for number in range(1, KEYS.get(role, 1) + 1):
                write_private_key(self._keys / f"{role}-{number}.pem", Ed25519PrivateKey.generate(), self._passphrase)
        key = certificates.new_private_key("ES256")
        write_private_key(self._keys / "authority.pem", key, self._passphrase)
        anchor = certificates.issue_authority(
            key,
            f"{content.instance} registry",
            not_before=now - timedelta(hours=1),
            not_after=now + timedelta(days=AUTHORITY_DAYS),
            serial=_serial(),
        )
        (self.folder / "authority.pem").write_bytes(certificates.to_pem(anchor))
        files = targets.write(replace(content, anchors=(anchor, *content.anchors)))
        return self.publisher.create(files, self.ring(), THRESHOLDS, now)

    def content(self) -> Content:
        """What is published now."""
        return targets.read(self.publisher.files())

    def publish(self, content: Content, now: datetime, *, renew: bool = False) -> Published:
        """Sign and publish what changed."""
        return self.publisher.publish(targets.write(content), self.ring(), now, renew=renew)

    def ring(self) -> dict[str, Sequence[Signer]]:
        """The signers of every role whose keys are here."""
        ring: dict[str, Sequence[Signer]] = {}
        for role in ROLES:
            found = sorted(self._keys.glob(f"{role}-*.pem"))
            ring[role] = [self._signer(path) for path in found]
        return ring

    def _signer(self, path: Path) -> Signer:
        key = read_private_key(path, self._passphrase)
        return CryptoSigner(key, SSlibKey.from_crypto(key.public_key()))

    def certify_signing(
        self, public_key: PublicKey, member: MemberId, now: datetime, *, days: int = CERTIFICATE_DAYS
    ) -> SigningCertificate:
        """Issue a signing certificate, as it will stand in the registry."""
        not_before, not_after = now - timedelta(minutes=5), now + timedelta(days=days)
        issued = certificates.issue_signing(
            self.anchor,
            read_private_key(self._keys / "authority.pem", self._passphrase),
            public_key,
            member,
            not_before=not_before,
            not_after=not_after,
            serial=_serial(),
        )
        return SigningCertificate(
            member,
            issued,
            certificates.key_algorithm(public_key),
            not_before.replace(microsecond=0),
            not_after.replace(microsecond=0),
        )

    def certify_tls(
        self, public_key: PublicKey, member: MemberId, node: str, now: datetime, *, days: int = CERTIFICATE_DAYS
    ) -> bytes:
        """Issue a TLS certificate (DER) for a node."""
        return certificates.issue_tls(
            self.anchor,
            read_private_key(self._keys / "authority.pem", self._passphrase),
            public_key,
            member,
            node,
            not_before=now - timedelta(minutes=5),
            not_after=now + timedelta(days=days),
            serial=_serial(),
        )


def _serial() -> int:
    """159 random bits."""
    return x509.random_serial_number()
