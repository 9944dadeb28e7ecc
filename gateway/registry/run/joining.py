"""A member's side of joining a network, on the member's own machine: make keys, ask, and take the answer in.

`ask` makes the keys and the request; what is secret stays in the folder, readable by its owner only, or in a PKCS#11
token. `take_in` puts the certificates of the answer beside the keys, after seeing that they belong together, and writes
settings with which the node runs. To change a key, `ask_again` makes the next one beside the one in use, and `take_in`
puts it in its place; a running node picks it up by itself.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from audit.tree.checkpoint import KeyType, LogSigner, NoteError, VerifierKey, WitnessSigner
from gateway.keys import certificates, durable, log_keys, ring, token
from gateway.keys.certificates import PrivateKey
from gateway.keys.errors import TrustError
from gateway.keys.keystore import FileKeyStore, read_private_key, write_private_key, write_secret
from gateway.keys.tls import TlsKey, client_context
from gateway.keys.token import Pkcs11KeyStore
from gateway.registry.read.entries import Asked, log_origin, witness_name
from gateway.registry.run.enrolment import SIGNING, TLS, TreeKeys, Welcome, write_request
from gateway.wire.signing import Algorithm, Signer, thumbprint

AUTHORITY_DAYS = 3650
NEXT = ".next"


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """Where in a PKCS#11 token a signing key lies. `pin` is the file with the PIN."""

    module: Path
    token: str
    label: str
    pin: Path

    def secret(self) -> str:
        """The PIN. Raises TrustError `key-unreadable`."""
        try:
            return self.pin.read_text("utf-8").strip()
        except OSError as error:
            raise TrustError("key-unreadable", f"{self.pin} cannot be read: {error.strerror}") from None


@dataclass(frozen=True, slots=True)
class Making:
    """How a signing key is made: for which algorithm, and in which token if not in a file."""

    algorithm: Algorithm = "ES256"
    place: TokenPlace | None = None


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """Where a key lies in files: its certificate, the key itself, and the passphrase that opens it."""

    certificate: Path
    key: Path
    passphrase: bytes

    @property
    def next(self) -> Path:
        """Where the key that is to follow waits for its certificate."""
        return _next(self.key)


def key_files(folder: Path) -> dict[str, KeyFiles]:
    """Where `ask` makes keys in a folder. The passphrase is made up if there is none."""
    phrase = _passphrase(folder)
    return {kind: KeyFiles(folder / f"{kind}.pem", folder / f"{kind}.key", phrase) for kind in (SIGNING, TLS)}


@dataclass(frozen=True, slots=True)
class Listens:
    """Where the node listens: addresses `HOST:PORT` of its three faces."""

    peers: str
    clients: str
    local: str


@dataclass(frozen=True, slots=True)
class First:
    """What a node that is new is told besides its welcome, for its settings: its subsystems, and where it listens.

    Without `client_authorities` an authority of the organisation's own is made for its information systems.
    """

    subsystems: tuple[str, ...]
    listens: Listens
    client_authorities: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """Where keys lie, if not where `ask` makes them: a token, files by SIGNING and TLS, the key as a witness."""

    place: TokenPlace | None = None
    files: Mapping[str, KeyFiles] | None = None
    witness: Path | None = None


@dataclass(frozen=True, slots=True)
class TreeFiles:
    """Where keys lie that are to be followed by others: as a witness, with the type of the next one, and the log's."""

    witness: tuple[Path, KeyType] | None = None
    log: Path | None = None


class _Raw:
    """Signs with a private key that has no certificate yet, as messages are signed: 64 raw bytes."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key

    def sign(self, data: bytes) -> bytes:
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(data)
        r, s = decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def ask(
    folder: Path,
    asked: Asked,
    making: Making = Making(),
) -> bytes:
    """Make all keys of a new node in `folder`, and return the request. Raises TrustError; never overwrites a key."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = key_files(folder)
    for file in files.values():
        if file.key.exists():
            raise TrustError(
                "request-refused", f"{file.key} is there already", "choose another folder, or ask to renew the key"
            )
    signing = _make(files[SIGNING].key, making, files[SIGNING].passphrase)
    # P-256 whatever the other: every TLS library knows it.
    tls = _make(files[TLS].key, Making(), files[TLS].passphrase)
    member, node = asked.member, asked.node
    log = _log(folder, node.id)
    witness = _witness(witness_file(folder), node.id, KeyType.COSIGNATURE_ML_DSA_44)
    try:
        return write_request(
            replace(asked, node=replace(node, log_origin=log[0], log_key=log[1])),
            {
                SIGNING: certificates.request_signing(signing, member.id),
                TLS: certificates.request_tls(tls, member.id, node.id),
            },
            new=_Raw(signing),
            present=None,
            trees=TreeKeys(witness),
        )
    finally:
        _close(signing)


def ask_again(
    files: Mapping[str, KeyFiles],
    asked: Asked,
    present: Signer,
    making: Making = Making(),
    *,
    trees: TreeFiles = TreeFiles(),
) -> bytes:
    """Make the next key beside each of `files` (by SIGNING and TLS), and a request that the present key vouches for.

    `trees` asks for other keys of trees too. A node that runs signs its log by both keys from then on.
    """
    member, node = asked.member, asked.node
    requests: dict[str, bytes] = {}
    signing: PrivateKey | None = None
    for kind, place in sorted(files.items()):
        # A former request that was never answered: its key has no certificate and is of no use to anyone.
        place.next.unlink(missing_ok=True)
        if kind == SIGNING:
            signing = _make(place.next, making, place.passphrase)
            requests[kind] = certificates.request_signing(signing, member.id)
        else:
            key = _make(place.next, Making(), place.passphrase)
            requests[kind] = certificates.request_tls(key, member.id, node.id)
    new = _Raw(signing) if signing is not None else None
    cosigner = None
    if trees.witness is not None:
        coming = _next(trees.witness[0])
        coming.unlink(missing_ok=True)
        cosigner = _witness(coming, node.id, trees.witness[1])
    vouches = (thumbprint(present.certificate), present)
    handed = None
    if trees.log is not None:
        handed = _handed_on(trees.log, node.id)
        asked = replace(asked, node=replace(node, log_origin=handed.name, log_key=str(handed.coming)))
    try:
        return write_request(asked, requests, new=new, present=vouches, trees=TreeKeys(cosigner, handed))
    finally:
        _close(signing)


def take_in(
    folder: Path, welcome: Welcome, now: datetime, *, first: First | None = None, kept: Kept = Kept()
) -> list[Path]:
    """Put what a welcome brings into place; returns the files that were written. Raises TrustError if it does not fit.

    The first time it writes the registry's root and the settings too.
    """
    files = kept.files if kept.files is not None else key_files(folder)
    given = {SIGNING: welcome.signing, TLS: welcome.tls}
    moves: list[tuple[Path, Path]] = []
    for kind, pem in given.items():
        if pem is not None:
            moves += _fitting(files[kind], kind, pem, kept.place if kind == SIGNING else None)
    if welcome.witness is not None:
        moves += _witnessing(kept.witness or witness_file(folder), welcome.node, welcome.witness)
    for source, target in moves:
        source.replace(target)
    written = [target for _, target in moves]
    if not (folder / "root.json").exists():
        written.append(_write(folder / "root.json", welcome.root))
    if not (folder / "node.toml").exists():
        if first is None or not first.subsystems:
            raise TrustError("request-malformed", "a new node needs its subsystems and where it listens")
        authorities = first.client_authorities or (_client_authority(folder, welcome, now),)
        text = settings_text(welcome, replace(first, client_authorities=authorities), kept.place)
        written.append(_write(folder / "node.toml", text.encode("utf-8")))
    return written


def settings_text(welcome: Welcome, first: First, place: TokenPlace | None) -> str:
    """The settings of a node that has just joined, as TOML."""

    def quoted(value: object) -> str:
        return json.dumps(str(value), ensure_ascii=False)

    signing = {"certificate": "signing.pem"}
    if place is None:
        signing |= {"key": "signing.key", "passphrase": "passphrase"}
    else:
        signing |= {
            "pkcs11_module": str(place.module),
            "pkcs11_token": place.token,
            "pkcs11_label": place.label,
            "pkcs11_pin": str(place.pin),
        }
    sections: Mapping[str, Mapping[str, str]] = {
        "node": {
            "id": quoted(welcome.node),
            "subsystems": f"[{', '.join(quoted(subsystem) for subsystem in first.subsystems)}]",
        },
        "registry": {"source": quoted(welcome.source), "root": quoted("root.json")},
        "listen": {name: quoted(getattr(first.listens, name)) for name in ("peers", "clients", "local")},
        "signing": {name: quoted(value) for name, value in signing.items()},
        "tls": {"client_authorities": f"[{', '.join(quoted(authority) for authority in first.client_authorities)}]"},
        "tls.peers": {"certificate": quoted("tls.pem"), "key": quoted("tls.key"), "passphrase": quoted("passphrase")},
    }
    return "\n".join(
        f"[{section}]\n" + "".join(f"{name} = {value}\n" for name, value in values.items())
        for section, values in sections.items()
    )


def certify_client(folder: Path, name: str, now: datetime) -> tuple[Path, Path]:
    """A year's certificate and its key for an information system, from the organisation's own authority in `folder`.

    Returns the files of certificate and key. Raises TrustError without such an authority, or if they are there already.
    """
    authority = folder / "clients-authority.pem"
    passphrase = _passphrase(folder)
    key = read_private_key(folder / "clients-authority.key", passphrase)
    certificate, own = folder / "clients" / f"{name}.pem", folder / "clients" / f"{name}.key"
    if certificate.exists() or own.exists():
        raise TrustError("request-refused", f"{certificate} is there already", "choose another name")
    fresh = certificates.new_private_key("ES256")
    issued = certificates.issue_client(
        certificates.Issuer(certificates.to_der(authority.read_bytes()), key),
        fresh.public_key(),
        name,
        certificates.Term(now - timedelta(minutes=5), now + timedelta(days=365), secrets.randbits(120)),
    )
    write_private_key(own, fresh, passphrase)
    _write(certificate, certificates.to_pem(issued))
    return certificate, own


def _fitting(files: KeyFiles, kind: str, pem: bytes, place: TokenPlace | None) -> list[tuple[Path, Path]]:
    """Write a certificate beside its key and see that they fit; returns what to rename, key before certificate."""
    coming = _write(files.certificate.with_name(f"{files.certificate.name}{NEXT}"), pem)
    if place is not None:
        Pkcs11KeyStore(place.module, place.token, place.label, place.secret(), pem).close()
        return [(coming, files.certificate)]
    fresh = files.next.exists()
    own = files.next if fresh else files.key
    if kind == SIGNING:
        FileKeyStore.open(own, coming, files.passphrase)
    else:
        client_context(TlsKey(coming, own, files.passphrase), (pem,))
    return [*([(own, files.key)] if fresh else []), (coming, files.certificate)]


def _witnessing(path: Path, node: str, listed: str) -> list[tuple[Path, Path]]:
    """See that the key as a witness that was listed is the one that lies here; returns what to rename."""
    try:
        type_ = VerifierKey.parse(listed).type
    except NoteError as error:
        raise TrustError("request-malformed", f"the witness's key cannot be read: {error}") from None
    coming = _next(path)
    for here in (coming, path):
        if here.exists() and str(_cosigner(here, node, type_).verifier) == listed:
            return [(coming, path)] if here == coming else []
    raise TrustError(
        "key-mismatch", f"the witness's key that was listed is neither in {path} nor in {coming}", "ask again"
    )


def _make(path: Path, making: Making, passphrase: bytes) -> PrivateKey:
    place = making.place
    if place is not None:
        return token.generate(place.module, place.token, place.label, place.secret(), making.algorithm)
    key = certificates.new_private_key(making.algorithm)
    write_private_key(path, key, passphrase)
    return key


def _close(key: PrivateKey | None) -> None:
    """End the session with the token that a key lies in, if it lies in one."""
    if isinstance(key, token.TokenEcKey | token.TokenEdKey):
        key.close()


def _passphrase(folder: Path) -> bytes:
    """The passphrase of the folder's keys; made up when there is none."""
    path = folder / "passphrase"
    if not path.exists():
        write_secret(path, secrets.token_urlsafe(32).encode() + b"\n")
    return path.read_bytes().strip()


def _log(folder: Path, node: str) -> tuple[str, str]:
    """Name and public key of the node's audit log; its secret key is made if it is not there."""
    path = folder / "secrets" / "log.key"
    if not path.exists():
        write_secret(path, base64.b64encode(secrets.token_bytes(32)) + b"\n")
    key = ed25519.Ed25519PrivateKey.from_private_bytes(base64.b64decode(path.read_bytes()))
    origin = log_origin(node)
    return origin, str(LogSigner(key, origin).verifier)


def _handed_on(path: Path, node: str) -> LogSigner:
    """The log's keys, with one that is to follow; it is made if it is not there."""
    try:
        keys = ring.read(path)
        if len(keys) == 1:
            ring.replace(path, (*keys, ring.new()))
        return log_keys.signer(path, log_origin(node))
    except (ring.RingError, OSError) as error:
        raise TrustError("key-unreadable", str(error), "restore the file from your backup") from None


def witness_file(folder: Path) -> Path:
    """Where `ask` makes the key with which the node cosigns the logs of others."""
    return folder / "secrets" / "witness.key"


def _witness(path: Path, node: str, type_: KeyType) -> WitnessSigner:
    """The node's key as a witness; made if it is not there."""
    if not path.exists():
        write_secret(path, base64.b64encode(secrets.token_bytes(32)) + b"\n")
    return _cosigner(path, node, type_)


def _cosigner(path: Path, node: str, type_: KeyType) -> WitnessSigner:
    try:
        return WitnessSigner.from_seed(base64.b64decode(path.read_bytes()), witness_name(node), type_)
    except ValueError:
        raise TrustError("key-unreadable", f"{path} does not hold 32 bytes in base64") from None


def _next(path: Path) -> Path:
    """Where the key that is to follow waits until it is listed."""
    return path.with_name(f"{path.name}{NEXT}")


def _client_authority(folder: Path, welcome: Welcome, now: datetime) -> Path:
    path, key_path = folder / "clients-authority.pem", folder / "clients-authority.key"
    if not path.exists():
        key = certificates.new_private_key("ES256")
        write_private_key(key_path, key, _passphrase(folder))
        _write(
            path,
            certificates.to_pem(
                certificates.issue_authority(
                    key,
                    f"{welcome.node} client systems",
                    not_before=now - timedelta(hours=1),
                    not_after=now + timedelta(days=AUTHORITY_DAYS),
                    serial=secrets.randbits(120),
                )
            ),
        )
    return Path(path.name)


def _write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.put(path, data)
    return path
