"""Sign messages, and believe only what verifies.

A message is one JWS in compact form whose protected header holds exactly `alg`, `typ` and `x5t#S256`. The signing
certificate is looked up by its thumbprint and never taken from the message. Verification stops at the first failure,
in this order: size, strict parse, header, certificate (known, in force, of the sender, for this algorithm), signature,
type and claims, the other end of the connection, audience, times; then, once the caller has refused replays, the
digest of the body. Each failure is a ProblemError with a code of its own.
Nothing remembers that a signature was good: every message is verified anew.
Source: RFC 7515 (JWS), RFC 7518 section 3.4 (ES256), RFC 8037 (EdDSA), RFC 8725 (best practices).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from gateway.wire.decided import body_digest
from gateway.wire.identifiers import MemberId, ServiceId, SubsystemId
from gateway.wire.message import RequestClaims, ResponseClaims
from gateway.wire.problems import ProblemError
from gateway.wire.strict import Segments, b64url, split

Algorithm = Literal["ES256", "EdDSA"]
PublicKey = EllipticCurvePublicKey | Ed25519PublicKey

REQUEST_TYPE = "yhdyspinta-request+jwt"
RESPONSE_TYPE = "yhdyspinta-response+jwt"
MESSAGE_LIMIT = 16 * 1024
LIFETIME_LIMIT = timedelta(seconds=60)
CLOCK_TOLERANCE = timedelta(seconds=5)

_HEADER_MEMBERS = {"alg", "typ", "x5t#S256"}
_ECDSA = ECDSA(hashes.SHA256())
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Signer(Protocol):
    """A private key in use: `certificate` is its certificate in DER, `sign` gives a raw JOSE signature (64 bytes)."""

    @property
    def algorithm(self) -> Algorithm:
        """The one algorithm of this key."""
        ...

    @property
    def certificate(self) -> bytes:
        """The certificate in DER."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Sign `data`: r and s of 32 bytes each for ES256, the 64 bytes of RFC 8032 for EdDSA."""
        ...


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A signing certificate as the registry vouches for it: whose it is, for which algorithm, and when (UTC)."""

    member: MemberId
    algorithm: Algorithm
    public_key: PublicKey
    not_before: datetime
    not_after: datetime


KeyLookup = Callable[[str], SigningKey | None]
"""Finds a signing key by the thumbprint of its certificate."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """What a message is verified with: the keys that the registry lists, the clock, and a JWS's size in characters."""

    keys: KeyLookup
    now: datetime
    limit: int = MESSAGE_LIMIT


@dataclass(frozen=True, slots=True)
class Sent:
    """A request of ours that an answer must be to: its JWS, the service it went to, and the subsystem that sent it."""

    message: str
    service: ServiceId
    consumer: SubsystemId


@lru_cache(maxsize=4096)
def thumbprint(certificate: bytes) -> str:
    """SHA-256 of a certificate's DER in unpadded base64url, as in `x5t#S256` (RFC 7515 section 4.1.8)."""
    return b64url(hashlib.sha256(certificate).digest())


def request_digest(jws: str) -> str:
    """What a response's `req` holds: the `sha-256=:…:` of the text of the request's JWS."""
    # A header's bytes are read as Latin-1: what is no JWS has a digest too, so that its refusal can be put on record.
    return body_digest(jws.encode("latin-1"))


def sign_request(claims: RequestClaims, signer: Signer) -> str:
    """The compact JWS of a request."""
    return _sign(REQUEST_TYPE, claims.to_json(), signer)


def sign_response(claims: ResponseClaims, signer: Signer) -> str:
    """The compact JWS of a response."""
    return _sign(RESPONSE_TYPE, claims.to_json(), signer)


def open_request(
    jws: str,
    verifier: Verifier,
    *,
    audience: Callable[[ServiceId], bool],
    tls_members: frozenset[MemberId],
) -> RequestClaims:
    """Verify everything about a request but replay and body, which `check_body` looks at. Raises ProblemError.

    `audience` says whether a service is ours; `tls_members` are the members for whom the node at the other end of the
    connection may speak.
    """
    segments = split(jws, verifier.limit)
    key = _signed_by(segments, _claimed_member(segments, service=False), verifier.keys, verifier.now)
    _verify(segments, key)
    _typed(segments, REQUEST_TYPE)
    claims = RequestClaims.from_claims(segments.claims)
    if claims.issuer.member not in tls_members:
        raise ProblemError(
            "issuer-not-peer",
            pointer="/iss",
            detail="the registry does not let the node at the other end speak for the member that signed",
            remedy="send the message through a node that the registry lists for the member",
        )
    if not audience(claims.audience):
        raise ProblemError("audience-mismatch", pointer="/aud", detail="this node does not offer the service")
    _timely(claims.issued_at, claims.expires_at, verifier.now)
    return claims


def author(jws: str, verifier: Verifier) -> MemberId:
    """Whose message this is, whatever it says and however old it is. Raises ProblemError unless it is signed."""
    segments = split(jws, verifier.limit)
    key = _signed_by(segments, None, verifier.keys, verifier.now)
    _verify(segments, key)
    return key.member


def sign_statement(kind: str, said: bytes, signer: Signer) -> str:
    """The compact JWS of something that a member says once for all; `kind` keeps it apart from messages."""
    return _sign(kind, said, signer)


def open_statement(kind: str, jws: str, verifier: Verifier) -> tuple[MemberId, Mapping[str, object]]:
    """Who has said something once for all, and what. Raises ProblemError unless a key that counts now has signed it."""
    segments = split(jws, verifier.limit)
    key = _signed_by(segments, None, verifier.keys, verifier.now)
    _verify(segments, key)
    _typed(segments, kind)
    return key.member, segments.claims


def verify_response(jws: str, body: bytes, verifier: Verifier, sent: Sent) -> ResponseClaims:
    """Verify the answer to a request of ours. Raises ProblemError."""
    claims = open_response(jws, verifier, sent)
    check_body(claims, body)
    return claims


def open_response(jws: str, verifier: Verifier, sent: Sent) -> ResponseClaims:
    """Verify everything about a response but its body. Raises ProblemError."""
    segments = split(jws, verifier.limit)
    key = _signed_by(segments, _claimed_member(segments, service=True), verifier.keys, verifier.now)
    _verify(segments, key)
    _typed(segments, RESPONSE_TYPE)
    claims = ResponseClaims.from_claims(segments.claims)
    if claims.issuer != sent.service:
        raise ProblemError("issuer-mismatch", pointer="/iss", detail="the answer is from another service than asked")
    if claims.audience != sent.consumer:
        raise ProblemError("audience-mismatch", pointer="/aud", detail="the answer is for another subsystem")
    _timely(claims.issued_at, None, verifier.now)
    if claims.request != request_digest(sent.message):
        raise ProblemError("response-to-another", pointer="/req", detail="the answer names another request than ours")
    return claims


def check_body(claims: RequestClaims | ResponseClaims, body: bytes) -> None:
    """Hold a body against the signed digest. Raises ProblemError `digest-mismatch`."""
    if body_digest(body) != claims.digest:
        raise ProblemError(
            "digest-mismatch",
            pointer="/dig",
            detail=f"the {len(body)} bytes that came are not those that were signed",
            remedy="send the body exactly as it was signed",
        )


def _sign(kind: str, claims: bytes, signer: Signer) -> str:
    signed = f"{_protected(kind, signer.algorithm, signer.certificate)}.{b64url(claims)}"
    return f"{signed}.{b64url(signer.sign(signed.encode('ascii')))}"


@lru_cache(maxsize=256)
def _protected(kind: str, algorithm: Algorithm, certificate: bytes) -> str:
    header = f'{{"alg":"{algorithm}","typ":"{kind}","x5t#S256":"{thumbprint(certificate)}"}}'
    return b64url(header.encode("ascii"))


def _claimed_member(segments: Segments, *, service: bool) -> MemberId | None:
    """Whose message it claims to be; None if that cannot be read (the check of the claims will say why, later)."""
    try:
        issuer = segments.claims["iss"]
        return ServiceId.parse(issuer).member if service else SubsystemId.parse(issuer).member
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


def _signed_by(segments: Segments, member: MemberId | None, keys: KeyLookup, now: datetime) -> SigningKey:
    header = segments.header
    for name in sorted(header.keys() - _HEADER_MEMBERS):
        known = name if name.isidentifier() and name.isascii() and len(name) <= 16 else "?"
        raise ProblemError(
            "header-member-refused",
            pointer=f"/{known}",
            detail="the protected header may hold alg, typ and x5t#S256 only",
            remedy="leave everything else out",
        )
    for name in sorted(_HEADER_MEMBERS - header.keys()):
        raise ProblemError("header-member-missing", pointer=f"/{name}", detail=f"the header lacks {name}")
    if header["alg"] not in ("ES256", "EdDSA"):
        raise ProblemError(
            "algorithm-refused",
            pointer="/alg",
            detail="the algorithm is not one of ES256 and EdDSA",
            remedy="use ES256",
        )
    certificate = header["x5t#S256"]
    if not isinstance(certificate, str) or len(certificate) != 43:
        raise ProblemError("header-member-invalid", pointer="/x5t#S256", detail="this is no SHA-256 thumbprint")
    key = keys(certificate)
    if key is None:
        raise ProblemError(
            "certificate-unknown",
            pointer="/x5t#S256",
            detail="the registry does not list a signing certificate with this thumbprint",
            remedy="have the certificate added to the registry, or sign with one that is",
        )
    if now < key.not_before:
        raise ProblemError("certificate-not-yet-valid", pointer="/x5t#S256", detail="its time has not begun")
    if now > key.not_after:
        raise ProblemError("certificate-expired", pointer="/x5t#S256", detail="its time is over")
    if member is not None and member != key.member:
        raise ProblemError(
            "certificate-of-another", pointer="/iss", detail="the certificate is not one of the member that iss names"
        )
    if header["alg"] != key.algorithm:
        raise ProblemError(
            "algorithm-mismatch", pointer="/alg", detail=f"the registry fixes {key.algorithm} for this certificate"
        )
    return key


def _verify(segments: Segments, key: SigningKey) -> None:
    signature = segments.signature
    if len(signature) != 64:
        raise ProblemError(
            "signature-malformed", detail="a signature has 64 bytes: r and s of 32 bytes each, or those of Ed25519"
        )
    try:
        if isinstance(key.public_key, Ed25519PublicKey):
            key.public_key.verify(signature, segments.signed)
            return
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        if not (0 < r < _P256_ORDER and 0 < s < _P256_ORDER):
            raise ProblemError("signature-malformed", detail="r and s lie between 1 and the order of the curve")
        key.public_key.verify(encode_dss_signature(r, s), segments.signed, _ECDSA)
    except InvalidSignature:
        raise ProblemError("signature-invalid", detail="the signature is not that of the certificate's key") from None


def _typed(segments: Segments, kind: str) -> None:
    if segments.header["typ"] != kind:
        raise ProblemError("message-type-mismatch", pointer="/typ", detail=f"a message of type {kind} belongs here")


def _timely(issued: datetime, expires: datetime | None, now: datetime) -> None:
    """Refuse what is not of now. An answer has no `exp`; it counts as long as any message can."""
    if expires is not None and not timedelta(0) < expires - issued <= LIFETIME_LIMIT:
        raise ProblemError(
            "message-lifetime-refused",
            pointer="/exp",
            detail="exp lies after iat, by 60 seconds at most",
            remedy="sign each attempt anew",
        )
    if issued > now + CLOCK_TOLERANCE:
        raise ProblemError(
            "message-from-future", pointer="/iat", detail="iat is later than now", remedy="set the clock"
        )
    # Only now are sums of the message's times safe: a sender may write the last second of the calendar.
    if now >= (expires if expires is not None else issued + LIFETIME_LIMIT) + CLOCK_TOLERANCE:
        pointer, detail = ("/iat", "iat is too long ago") if expires is None else ("/exp", "exp is past")
        raise ProblemError("message-expired", pointer=pointer, detail=detail, remedy="sign the message anew")
