"""The registry's authority: its keys, the certificates it issues, and what it publishes, in one folder.

    keys/        the private keys of the registry's roles and of its certificate authority, encrypted PKCS#8
    authority.pem   the certificate of that authority, an anchor of the network
    draft/       what is to be published next, as plain files; only there while something is being prepared
    registry/    what is published: `metadata/` and `targets/`, to be served by any web server or shared folder

Keys may lie in other folders too, on sticks for example: those of root are best carried away after `create` and brought
back for a rotation; publishing needs the others only. A key that has been replaced moves to `retired/` beside it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner, Signer, SSlibKey  # type: ignore[attr-defined]

from gateway.keys import certificates
from gateway.keys.certificates import Issuer, PrivateKey, Term
from gateway.keys.errors import TrustError
from gateway.keys.keystore import read_private_key, write_private_key
from gateway.keys.tls import peer_pin
from gateway.registry.read import targets, writing
from gateway.registry.read.entries import Asked, Content, SigningCertificate
from gateway.registry.read.roles import ROLES, ROOT, Lifetimes, Part, Published
from gateway.registry.run import changes
from gateway.registry.run.enrolment import Request, Welcome
from gateway.registry.run.publishing import Publisher
from gateway.wire.identifiers import MemberId
from gateway.wire.signing import PublicKey

#: How many keys each role has, and how many of them must sign.
KEYS: Mapping[str, int] = {ROOT: 3}
THRESHOLDS: Mapping[str, int] = {ROOT: 2}
AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 365
_ANCHOR = "authority"


@dataclass(frozen=True, slots=True)
class Admitted:
    """What letting a member in gives: the content with it, and the certificates (DER) that were issued."""

    content: Content
    signing: bytes | None
    tls: bytes | None


class Authority:
    """The authority of one registry."""

    def __init__(
        self,
        folder: Path,
        *passphrases: bytes,
        lifetimes: Lifetimes | None = None,
        keys: Sequence[Path] = (),
    ) -> None:
        """`keys` are folders with keys besides the authority's own; each key opens with one of the passphrases."""
        self.folder = folder
        self.publisher = Publisher(folder / "registry", lifetimes)
        self._passphrases = passphrases
        self._keys = folder / "keys"
        self._others = tuple(keys)

    @property
    def anchor(self) -> bytes:
        """The certificate (DER) that issues the network's certificates. Raises TrustError if there is none."""
        try:
            return certificates.to_der((self.folder / "authority.pem").read_bytes())
        except OSError as error:
            raise TrustError(
                "key-unreadable",
                f"{self.folder} is not the folder of a registry's authority: {error.strerror}",
                "make one with `yhdyspinta registry init`, or name it",
            ) from None

    def create(
        self,
        content: Content,
        now: datetime,
        *,
        places: Mapping[str, Path] | None = None,
        keys: Mapping[str, int] | None = None,
        thresholds: Mapping[str, int] | None = None,
    ) -> Published:
        """Make all keys and publish the first registry. Raises TrustError if there is one already.

        `places` says in which folder the keys of a role are made, instead of the authority's own; `keys` and
        `thresholds` how many a role has and how many of them must sign.
        """
        if (self.folder / "authority.pem").exists():
            raise TrustError(
                "request-refused", f"{self.folder} holds a registry's keys already", "choose another folder"
            )
        counts, least = {**KEYS, **(keys or {})}, {**THRESHOLDS, **(thresholds or {})}
        if any(least.get(role, 1) > counts.get(role, 1) for role in ROLES):
            raise TrustError("request-refused", "a role cannot need more signatures than it has keys")
        self._keys.mkdir(parents=True, exist_ok=True, mode=0o700)
        ring: dict[str, Sequence[Signer]] = {
            role: self._make(role, counts.get(role, 1), (places or {}).get(role, self._keys)) for role in ROLES
        }
        anchor = self._make_anchor(content.instance, now)
        files = writing.write(replace(content, anchors=(anchor, *content.anchors)))
        return self.publisher.create(files, ring, least, now)

    # -- what is published, and what is to be ----------------------------------------------------------------------

    def content(self) -> Content:
        """What is published now."""
        return targets.read(self.publisher.files())

    def draft(self) -> Content:
        """What is to be published next: the draft if there is one, else what is published. Raises TrustError."""
        return targets.read(self.publisher.files() | self.drafted())

    def drafted(self) -> dict[str, bytes]:
        """The files of the draft."""
        folder = self.folder / "draft"
        return {name: (folder / name).read_bytes() for name in targets.FILES if (folder / name).is_file()}

    def stage(self, content: Content) -> None:
        """Keep a content as the draft."""
        folder = self.folder / "draft"
        folder.mkdir(exist_ok=True)
        for name, data in writing.write(content).items():
            (folder / name).write_bytes(data)

    def discard(self) -> None:
        """Let go of the draft."""
        shutil.rmtree(self.folder / "draft", ignore_errors=True)

    def publish(self, content: Content, now: datetime, *, renew: bool = False, parts: Sequence[Part] = ()) -> Published:
        """Sign and publish what changed. `parts` were signed elsewhere, by the authorities of delegated roles."""
        files = writing.write(content)
        for part in parts:
            files |= part.files
        published = self.publisher.publish(files, self.ring(), now, renew=renew, parts=parts)
        self.discard()
        return published

    def sign_part(self, role: str, files: Mapping[str, bytes], now: datetime, part: Part | None = None) -> Part:
        """Sign a delegated role's files for publication by somebody else, or add signatures to `part`."""
        return self.publisher.sign_part(role, files, self.ring().get(role, ()), now, part)

    # -- keys ------------------------------------------------------------------------------------------------------

    def ring(self) -> dict[str, Sequence[Signer]]:
        """The signers of every role whose keys are here and count in the published registry."""
        counting = self.publisher.keyids()
        ring: dict[str, Sequence[Signer]] = {}
        for role in ROLES:
            signers = [self._signer(path) for path in self._files(f"{role}-*.pem")]
            ring[role] = [signer for signer in signers if signer.public_key.keyid in counting[role][0]]
        return ring

    def rotate(self, role: str, now: datetime, *, count: int | None = None, threshold: int | None = None) -> Published:
        """Replace all keys of a role by new ones, made where the old ones are. The old ones are retired.

        Raises TrustError `key-unreadable` without keys of root (or, for a delegated role, of targets).
        """
        ring = self.ring()
        old = self._files(f"{role}-*.pem")
        folder = old[0].parent if old else self._keys
        number = count if count is not None else len(self.publisher.keyids()[role][0])
        made = self._make(role, number, folder)
        new = [path for path in self._files(f"{role}-*.pem") if path not in old]
        try:
            published = self.publisher.rotate(role, made, ring, now, threshold=threshold)
        except TrustError:
            for path in new:
                path.unlink()
            raise
        for path in old:
            _retire(path)
        return published

    def rotate_anchor(self, now: datetime) -> Published:
        """Make another certificate authority. What the former has issued stays good until it is revoked."""
        content, ring = self.content(), self.ring()
        paths = (self.folder / "authority.pem", self._keys / "authority.pem")
        kept = [_retire(path) for path in paths]
        anchor = self._make_anchor(content.instance, now)
        try:
            return self.publisher.publish(
                writing.write(replace(content, anchors=(anchor, *content.anchors))), ring, now
            )
        except TrustError:
            for path, former in zip(paths, kept, strict=True):
                former.replace(path)
            raise

    # -- members ---------------------------------------------------------------------------------------------------

    def admit(
        self, content: Content, request: Request, now: datetime, *, roles: tuple[str, ...] | None = None
    ) -> Admitted:
        """Issue the certificates that a request asks for, and write the member and its node into the content."""
        listed, tls = None, None
        if request.signing is not None:
            listed = self.certify_signing(certificates.requested_key(request.signing), request.member.id, now)
        if request.tls is not None:
            public_key = certificates.requested_key(request.tls)
            tls = self.certify_tls(public_key, request.member.id, request.node.id, now)
        changed = changes.with_member(
            content,
            Asked(request.member, request.node, request.services),
            signing=listed,
            pin=peer_pin(tls) if tls is not None else None,
            roles=roles,
        )
        return Admitted(changed, listed.certificate if listed is not None else None, tls)

    def welcome(self, request: Request, admitted: Admitted, source: str) -> Welcome:
        """What the member is given; the registry is to be published first."""
        return Welcome(
            instance=admitted.content.instance,
            member=request.member.id,
            node=request.node.id,
            source=source,
            root=self.publisher.root(),
            signing=certificates.to_pem(admitted.signing) if admitted.signing is not None else None,
            tls=certificates.to_pem(admitted.tls) if admitted.tls is not None else None,
            witness=next(iter(request.node.witness), None),
        )

    def certify_signing(
        self, public_key: PublicKey, member: MemberId, now: datetime, *, days: int = CERTIFICATE_DAYS
    ) -> SigningCertificate:
        """Issue a signing certificate, as it will stand in the registry."""
        not_before, not_after = now - timedelta(minutes=5), now + timedelta(days=days)
        issued = certificates.issue_signing(
            Issuer(self.anchor, self._anchor_key()), public_key, member, Term(not_before, not_after, _serial())
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
            Issuer(self.anchor, self._anchor_key()),
            public_key,
            member,
            node,
            Term(now - timedelta(minutes=5), now + timedelta(days=days), _serial()),
        )

    # -- files -----------------------------------------------------------------------------------------------------

    def _files(self, pattern: str) -> list[Path]:
        folders = dict.fromkeys((self._keys, *self._others))
        return [path for folder in folders for path in sorted(folder.glob(pattern))]

    def _make(self, role: str, count: int, folder: Path) -> list[Signer]:
        """New keys of a role, numbered on from those that have ever been in the folder."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        names = (path.stem.removeprefix(f"{role}-") for path in folder.rglob(f"{role}-*.pem"))
        used = [int(name.split(".")[0]) for name in names if name.split(".")[0].isdigit()]
        first = max(used, default=0) + 1
        made = []
        for number in range(first, first + count):
            path = folder / f"{role}-{number}.pem"
            write_private_key(path, Ed25519PrivateKey.generate(), self._passphrases[0])
            made.append(self._signer(path))
        if folder != self._keys and folder not in self._others:
            self._others = (*self._others, folder)
        return made

    def _make_anchor(self, instance: str, now: datetime) -> bytes:
        key = certificates.new_private_key("ES256")
        write_private_key(self._keys / "authority.pem", key, self._passphrases[0])
        anchor = certificates.issue_authority(
            key,
            f"{instance} registry",
            not_before=now - timedelta(hours=1),
            not_after=now + timedelta(days=AUTHORITY_DAYS),
            serial=_serial(),
        )
        (self.folder / "authority.pem").write_bytes(certificates.to_pem(anchor))
        return anchor

    def _anchor_key(self) -> PrivateKey:
        found = self._files(f"{_ANCHOR}.pem")
        if not found:
            raise TrustError("key-unreadable", "the key of the certificate authority is not here", "name its folder")
        return self._open(found[0])

    def _signer(self, path: Path) -> Signer:
        key = self._open(path)
        return CryptoSigner(key, SSlibKey.from_crypto(key.public_key()))

    def _open(self, path: Path) -> PrivateKey:
        for passphrase in self._passphrases[:-1]:
            try:
                return read_private_key(path, passphrase)
            except TrustError:
                continue
        return read_private_key(path, self._passphrases[-1])


def _retire(path: Path) -> Path:
    """Keep a replaced file out of the way, under a name that none had before."""
    folder = path.parent / "retired"
    folder.mkdir(exist_ok=True, mode=0o700)
    names = (path.name, *(f"{path.stem}.{again}{path.suffix}" for again in range(2, 10_000)))
    kept = next(folder / name for name in names if not (folder / name).exists())
    path.rename(kept)
    return kept


def _serial() -> int:
    """159 random bits."""
    return x509.random_serial_number()
