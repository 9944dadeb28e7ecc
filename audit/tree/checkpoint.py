"""Checkpoints: signed statements of how large the log is and what it contains.

A checkpoint is a signed note. Its text is three lines (origin, size, root in base64), then an empty line, then one line
for each signature. The log's own signature is Ed25519 over the text; witnesses add cosignatures, each over the
checkpoint and the time at which it was seen, with Ed25519 or ML-DSA-44. A verifier ignores lines of keys it does not
know, and takes nothing with a bad line of a key it knows.
Sources: C2SP signed-note, tlog-checkpoint, tlog-cosignature; FIPS 204 (ML-DSA).
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

MAX_SIGNATURES: Final = 64
MAX_NOTE_BYTES: Final = 512 * 1024
_ROOT_BYTES: Final = 32
_SIGNATURE_LINE: Final = re.compile(r"— ([^ +\s]+) ([A-Za-z0-9+/]+={0,2})\Z")
_SUBTREE: Final = b"subtree/v1\n\x00"
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,19}\Z")


class NoteError(ValueError):
    """A note that is malformed, that lacks a signature it needs, or that a known key did not sign."""


class KeyType(IntEnum):
    """Signature type bytes of the signed-note format."""

    ED25519 = 0x01
    COSIGNATURE_ED25519 = 0x04
    COSIGNATURE_ML_DSA_44 = 0x06


_KEY_BYTES: Final = {KeyType.ED25519: 32, KeyType.COSIGNATURE_ED25519: 32, KeyType.COSIGNATURE_ML_DSA_44: 1312}
_SIGNATURE_BYTES: Final = {
    KeyType.ED25519: 64,
    KeyType.COSIGNATURE_ED25519: 8 + 64,
    KeyType.COSIGNATURE_ML_DSA_44: 8 + 2420,
}


def _check_name(name: str) -> None:
    if not name or "+" in name or any(character.isspace() for character in name):
        raise NoteError("a key's name must not be empty nor hold spaces or a plus sign")


def key_id(name: str, type_: KeyType, public_key: bytes) -> bytes:
    """The four bytes that hint at a key in a signature line."""
    return sha256(name.encode() + b"\n" + bytes([type_]) + public_key).digest()[:4]


@dataclass(frozen=True, slots=True)
class Former:
    """A key that signed a log before, and the last checkpoint (a note) that it and its follower both signed."""

    key: VerifierKey
    note: str

    @property
    def size(self) -> int:
        """The size of the log up to which the key counts."""
        return parse_checkpoint(self.note).size


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key as notes name it: `NAME+hex(key id)+base64(type || key)`.

    `former` are the keys that the log had before it, the oldest first; whoever knows a log by its key alone knows none.
    """

    name: str
    type: KeyType
    public_key: bytes
    former: tuple[Former, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        _check_name(self.name)
        if len(self.public_key) != _KEY_BYTES[self.type]:
            raise NoteError(f"a key of type {self.type.name} has {_KEY_BYTES[self.type]} bytes")

    @property
    def key_id(self) -> bytes:
        """The four bytes that hint at this key."""
        return key_id(self.name, self.type, self.public_key)

    def __str__(self) -> str:
        key = base64.b64encode(bytes([self.type]) + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Parse `NAME+hex(key id)+base64(type || key)`. Raises NoteError."""
        try:
            name, hint, encoded = text.strip().split("+", 2)
            key = base64.b64decode(encoded, validate=True)
            parsed = cls(name, KeyType(key[0]), key[1:])
        except (ValueError, IndexError) as error:
            raise NoteError(f"not a verifier key: {error}") from error
        if parsed.key_id.hex() != hint:
            raise NoteError(f"the key id of {name!r} does not belong to its key")
        return parsed


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line of a note, verified or not."""

    name: str
    key_id: bytes
    signature: bytes

    @property
    def line(self) -> str:
        """The line as it stands in the note, without its line feed."""
        return f"— {self.name} {base64.b64encode(self.key_id + self.signature).decode()}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says it contains: `size` entries with this root. `note` is the signed text it came from."""

    origin: str
    size: int
    root: bytes
    note: str = ""

    @property
    def text(self) -> str:
        """The text that the log signs."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @property
    def signatures(self) -> tuple[Signature, ...]:
        """The signature lines of the note, unverified."""
        return split_note(self.note)[1]


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A verified cosignature: this witness saw the checkpoint at this time (seconds since the epoch, UTC)."""

    witness: str
    timestamp: int
    line: str


class LogSigner:
    """The log's own key: Ed25519, under the log's origin as its name.

    With the key that is to follow (`coming`) every checkpoint has a signature of each of the two.
    """

    def __init__(
        self,
        key: Ed25519PrivateKey,
        name: str,
        *,
        coming: Ed25519PrivateKey | None = None,
        former: tuple[Former, ...] = (),
    ) -> None:
        self.verifier = VerifierKey(name, KeyType.ED25519, key.public_key().public_bytes_raw(), former)
        self.coming: VerifierKey | None = None
        self.name = name
        self._keys = [(self.verifier.key_id, key)]
        if coming is not None:
            self.coming = VerifierKey(name, KeyType.ED25519, coming.public_key().public_bytes_raw())
            self._keys.append((self.coming.key_id, coming))
        self._prefix = f"— {name} "

    def sign(self, size: int, root: bytes) -> Checkpoint:
        if len(root) != _ROOT_BYTES:
            raise NoteError("a root hash has 32 bytes")
        text = f"{self.name}\n{size}\n{base64.b64encode(root).decode()}\n"
        signatures = (base64.b64encode(hint + key.sign(text.encode())).decode() for hint, key in self._keys)
        lines = "".join(f"{self._prefix}{signature}\n" for signature in signatures)
        return Checkpoint(self.name, size, root, f"{text}\n{lines}")

    def vouch(self, statement: Checkpoint) -> tuple[bytes, ...]:
        """Sign something that is of no log, with each key: the one in use first. `verify_vouched` checks it."""
        if statement.origin == self.name:
            raise NoteError("what the log contains is signed as a checkpoint")
        return tuple(key.sign(statement.text.encode()) for _, key in self._keys)


class WitnessSigner:
    """A witness's key: ML-DSA-44, or Ed25519 where the other side knows nothing else."""

    def __init__(self, key: MLDSA44PrivateKey | Ed25519PrivateKey, name: str) -> None:
        type_ = KeyType.COSIGNATURE_ED25519 if isinstance(key, Ed25519PrivateKey) else KeyType.COSIGNATURE_ML_DSA_44
        self.verifier = VerifierKey(name, type_, key.public_key().public_bytes_raw())
        self.name = name
        self._key = key

    @classmethod
    def from_seed(cls, seed: bytes, name: str, type_: KeyType = KeyType.COSIGNATURE_ML_DSA_44) -> WitnessSigner:
        """The signer that 32 secret bytes give."""
        if type_ == KeyType.COSIGNATURE_ED25519:
            return cls(Ed25519PrivateKey.from_private_bytes(seed), name)
        return cls(MLDSA44PrivateKey.from_seed_bytes(seed), name)

    def cosign(self, checkpoint: Checkpoint, timestamp: int) -> Signature:
        """The cosignature of a checkpoint seen at this time (seconds since the epoch). The caller has verified it."""
        message = cosigned_message(self.verifier, checkpoint, timestamp)
        signature = struct.pack(">Q", timestamp) + self._key.sign(message)
        return Signature(self.name, self.verifier.key_id, signature)


def cosigned_message(key: VerifierKey, checkpoint: Checkpoint, timestamp: int) -> bytes:
    """The bytes that a cosignature by this key signs."""
    if not 0 <= timestamp < 2**63:
        raise NoteError("a cosignature's time must fit 63 bits")
    if key.type == KeyType.COSIGNATURE_ED25519:
        return f"cosignature/v1\ntime {timestamp}\n{checkpoint.text}".encode()
    if key.type != KeyType.COSIGNATURE_ML_DSA_44:
        raise NoteError("this key signs checkpoints, it does not cosign them")
    name, origin = key.name.encode(), checkpoint.origin.encode()
    if len(name) > 255 or len(origin) > 255:
        raise NoteError("names of cosigners and origins have at most 255 bytes")
    return b"".join(
        (
            _SUBTREE,
            bytes([len(name)]),
            name,
            struct.pack(">Q", timestamp),
            bytes([len(origin)]),
            origin,
            struct.pack(">QQ", 0, checkpoint.size),
            checkpoint.root,
        )
    )


def split_note(note: str) -> tuple[str, tuple[Signature, ...]]:
    """The text of a signed note and its signature lines, unverified. Raises NoteError if it is malformed."""
    if len(note) > MAX_NOTE_BYTES:
        raise NoteError(f"a note may have at most {MAX_NOTE_BYTES} bytes")
    if any(ord(character) < 0x20 and character != "\n" for character in note):
        raise NoteError("a note holds no control characters but line feeds")
    text, separator, block = note.rpartition("\n\n")
    if not separator or not block.endswith("\n"):
        raise NoteError("a note ends with an empty line and signature lines")
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"a note may have at most {MAX_SIGNATURES} signatures")
    signatures = []
    for line in lines:
        match = _SIGNATURE_LINE.match(line)
        if match is None:
            raise NoteError("a signature line reads: em dash, space, name, space, base64")
        try:
            data = base64.b64decode(match[2], validate=True)
        except binascii.Error as error:
            raise NoteError("a signature line is not base64") from error
        if len(data) < 5:
            raise NoteError("a signature line is too short")
        signatures.append(Signature(match[1], data[:4], data[4:]))
    return text + "\n", tuple(signatures)


def parse_checkpoint(note: str) -> Checkpoint:
    """The checkpoint in a note, its signatures unverified. Raises NoteError if it is malformed."""
    text, _ = split_note(note)
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not lines[0]:
        raise NoteError("a checkpoint has three lines: origin, size, root")
    if len(lines) > 4:
        raise NoteError("this log's checkpoints have no extension lines")
    if not _SIZE.fullmatch(lines[1]) or int(lines[1]) >= 2**63:
        raise NoteError("the size of a checkpoint is a whole number without leading zeros")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteError("the root of a checkpoint is not base64") from error
    if len(root) != _ROOT_BYTES or base64.b64encode(root).decode() != lines[2]:
        raise NoteError("the root of a checkpoint is 32 bytes in base64")
    return Checkpoint(lines[0], int(lines[1]), root, note)


def _verify(key: VerifierKey, signature: bytes, message: bytes) -> None:
    try:
        if key.type == KeyType.COSIGNATURE_ML_DSA_44:
            MLDSA44PublicKey.from_public_bytes(key.public_key).verify(signature, message)
        else:
            Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise NoteError(f"the signature of {key.name!r} does not hold") from error


def verify_checkpoint(
    note: str, log_key: VerifierKey, witnesses: Collection[VerifierKey] = ()
) -> tuple[Checkpoint, tuple[Cosignature, ...]]:
    """Check a signed checkpoint of a known log, and each cosignature of a known witness.

    Lines of unknown keys are passed over. Raises NoteError if the log's signature is missing, a line of a known key is
    bad, or the origin is not the log's name.
    """
    checkpoint = parse_checkpoint(note)
    if checkpoint.origin != log_key.name:
        raise NoteError(f"the checkpoint is of {checkpoint.origin!r}, not of {log_key.name!r}")
    # A former key signs for what the log was until then: one that was stolen later says nothing of what came after.
    own = (log_key, *(former.key for former in log_key.former if checkpoint.size <= former.size))
    known: Mapping[tuple[str, bytes], VerifierKey] = {(key.name, key.key_id): key for key in (*own, *witnesses)}
    signed, seen = False, []
    for line in checkpoint.signatures:
        key = known.get((line.name, line.key_id))
        if key is None:
            continue
        if key.type != KeyType.ED25519:
            seen.append(Cosignature(key.name, verify_cosignature(key, checkpoint, line.signature), line.line))
            continue
        if len(line.signature) != _SIGNATURE_BYTES[key.type]:
            raise NoteError(f"the signature of {key.name!r} has the wrong length")
        _verify(key, line.signature, checkpoint.text.encode())
        signed = signed or key in own
    if not signed:
        raise NoteError(f"the checkpoint is not signed by {log_key.name!r}")
    return checkpoint, tuple(seen)


def succeeding(key: VerifierKey, former: Sequence[Former]) -> VerifierKey:
    """The key with those that the log had before it, the oldest first. Raises NoteError.

    Each must have handed the log on to the next, by a checkpoint that both signed: else a key could be anybody's.
    """
    followers = (*(item.key for item in former[1:]), key)
    for before, after in zip(former, followers, strict=False):
        verify_checkpoint(before.note, before.key)
        verify_checkpoint(before.note, replace(after, former=()))
    return replace(key, former=tuple(former))


def verify_vouched(key: VerifierKey, statement: Checkpoint, signature: bytes) -> None:
    """Check what a log's key signed that is of no log. Raises NoteError."""
    if key.type != KeyType.ED25519 or statement.origin == key.name:
        raise NoteError("this is no key, or no statement, by which a log vouches")
    _verify(key, signature, statement.text.encode())


def verify_cosignature(key: VerifierKey, checkpoint: Checkpoint, signature: bytes) -> int:
    """Check one cosignature (time and signature, without the key's hint) of a checkpoint; gives the time it states.

    Raises NoteError if it is not this key's, or the key is none that cosigns.
    """
    if len(signature) != _SIGNATURE_BYTES[key.type]:
        raise NoteError(f"the signature of {key.name!r} has the wrong length")
    (timestamp,) = struct.unpack(">Q", signature[:8])
    _verify(key, signature[8:], cosigned_message(key, checkpoint, timestamp))
    return int(timestamp)


def with_signatures(note: str, signatures: Collection[Signature]) -> str:
    """The note with these signature lines added, none of them twice."""
    present = {signature.line for signature in split_note(note)[1]}
    return note + "".join(f"{item.line}\n" for item in signatures if item.line not in present)
