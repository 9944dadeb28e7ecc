"""Signed messages between nodes, written and read from `docs/protocol.md` alone.

What is composed here may be wrong in any way that a test wants. What is read is held to the page: three segments of
canonical base64url, JSON objects without repeated names, ES256 or EdDSA.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from gateway.conformance.profile import Identity

REQUEST_TYPE = "yhdyspinta-request+jwt"
RESPONSE_TYPE = "yhdyspinta-response+jwt"
#: The Merkle root of a log without entries: the hash of nothing.
EMPTY_ROOT = base64.b64encode(hashlib.sha256(b"").digest()).decode()

_DEPTH = 4
_DIGITS = 15
_REFUSED_TEXT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")

Part = Mapping[str, Any] | bytes


class MessageError(ValueError):
    """A text that is no message of the protocol; says what is wrong with it."""


def b64url(data: bytes) -> str:
    """Unpadded base64url."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def digest(data: bytes) -> str:
    """The digest of a body as the claims write it (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


def thumbprint(certificate: bytes) -> str:
    """SHA-256 of a certificate's DER, in unpadded base64url."""
    return b64url(hashlib.sha256(certificate).digest())


def uuid7() -> str:
    """A new id of a message."""
    value = int(time.time() * 1000) << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=value))


def certificate_of(path: Path) -> bytes:
    """The DER of a certificate in a PEM file."""
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(serialization.Encoding.DER)


@dataclass(frozen=True, slots=True)
class Signer:
    """The signing key of a member, with its certificate."""

    certificate: bytes
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

    @classmethod
    def open(cls, identity: Identity) -> Signer:
        """Read both from their files."""
        key = serialization.load_pem_private_key(identity.key.read_bytes(), identity.passphrase)
        if not isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
            raise MessageError(f"{identity.key} is neither a P-256 nor an Ed25519 key")
        return cls(certificate_of(identity.certificate), key)

    @property
    def algorithm(self) -> str:
        """ES256 or EdDSA."""
        return "ES256" if isinstance(self.key, ec.EllipticCurvePrivateKey) else "EdDSA"

    def sign(self, data: bytes) -> bytes:
        """A signature of 64 bytes (RFC 7518 section 3.4, RFC 8037)."""
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(data)
        first, second = decode_dss_signature(self.key.sign(data, ec.ECDSA(hashes.SHA256())))
        return first.to_bytes(32, "big") + second.to_bytes(32, "big")

    def header(self, kind: str = REQUEST_TYPE) -> dict[str, Any]:
        """The three members of a protected header."""
        return {"alg": self.algorithm, "typ": kind, "x5t#S256": thumbprint(self.certificate)}


def compose(signer: Signer, header: Part, claims: Part) -> str:
    """A message with a signature that holds, whatever header and claims say."""
    signed = f"{_segment(header)}.{_segment(claims)}"
    return f"{signed}.{b64url(signer.sign(signed.encode()))}"


def with_mac(signer: Signer, header: Part, claims: Part) -> str:
    """A message under HS256, keyed with the public key that everybody knows (RFC 8725 section 2.1)."""
    public = x509.load_der_x509_certificate(signer.certificate).public_key()
    secret = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signed = f"{_segment(header)}.{_segment(claims)}"
    return f"{signed}.{b64url(hmac.digest(secret, signed.encode(), 'sha256'))}"


def in_der(message: str) -> str:
    """The same message with its ECDSA signature in DER instead of r and s."""
    signed, _, signature = message.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    values = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    return f"{signed}.{b64url(encode_dss_signature(*values))}"


def with_a_bit_turned(message: str) -> str:
    """The same message with one bit of its signature turned."""
    signed, _, signature = message.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    return f"{signed}.{b64url(raw[:9] + bytes([raw[9] ^ 1]) + raw[10:])}"


def _segment(part: Part) -> str:
    return b64url(part if isinstance(part, bytes) else json.dumps(part, separators=(",", ":")).encode())


@dataclass(frozen=True, slots=True)
class Opened:
    """A message taken apart; nothing of it is believed yet."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signature: bytes
    signed: bytes

    def verifies(self, certificate: bytes) -> bool:
        """Whether the signature is that of this certificate's key, and the header names the certificate."""
        if self.header.get("x5t#S256") != thumbprint(certificate) or len(self.signature) != 64:
            return False
        key = x509.load_der_x509_certificate(certificate).public_key()
        try:
            if isinstance(key, ed25519.Ed25519PublicKey) and self.header.get("alg") == "EdDSA":
                key.verify(self.signature, self.signed)
            elif isinstance(key, ec.EllipticCurvePublicKey) and self.header.get("alg") == "ES256":
                halves = int.from_bytes(self.signature[:32], "big"), int.from_bytes(self.signature[32:], "big")
                key.verify(encode_dss_signature(*halves), self.signed, ec.ECDSA(hashes.SHA256()))
            else:
                return False
        except InvalidSignature:
            return False
        return True


def take_apart(text: str) -> Opened:
    """Read a message as strictly as the page says. Raises MessageError."""
    parts = text.split(".")
    if len(parts) != 3:
        raise MessageError("a message has three segments")
    header, claims, signature = (_unpacked(part) for part in parts)
    return Opened(_object(header), _object(claims), signature, f"{parts[0]}.{parts[1]}".encode())


def _unpacked(segment: str) -> bytes:
    try:
        data = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError:
        raise MessageError("a segment is not base64url") from None
    if not segment or b64url(data) != segment:
        raise MessageError("a segment is not canonical base64url without padding")
    return data


def _object(data: bytes) -> Mapping[str, Any]:
    try:
        text = data.decode("utf-8")
        found = json.loads(
            text, object_pairs_hook=_members, parse_int=_whole, parse_float=_no_number, parse_constant=_no_number
        )
    except MessageError:
        raise
    except (ValueError, RecursionError):
        raise MessageError("a segment is not JSON in UTF-8") from None
    if not isinstance(found, dict):
        raise MessageError("a segment is not a JSON object")
    _check_form(found, 1)
    return found


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise MessageError("a name stands twice in one object")
    return dict(pairs)


def _whole(text: str) -> int:
    if text.startswith("-") or len(text) > _DIGITS:
        raise MessageError(f"a number is negative, or has more than {_DIGITS} digits")
    return int(text)


def _no_number(_text: str) -> NoReturn:
    raise MessageError("a number is not whole")


def _check_form(value: Any, depth: int) -> None:
    """Texts without controls and unpaired surrogates, nested no deeper than four."""
    if isinstance(value, str):
        if _REFUSED_TEXT.search(value):
            raise MessageError("a text holds a control character or an unpaired surrogate")
    elif isinstance(value, dict | list):
        if depth > _DEPTH:
            raise MessageError(f"objects and arrays nest more than {_DEPTH} deep")
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        for entry in inner:
            _check_form(entry, depth + 1)
