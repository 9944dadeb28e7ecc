"""Two members with keys of both kinds, a request and its answer, and a way to sign what no honest sender would."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from gateway.keys.certificates import Issuer, PrivateKey, Term, issue_authority, issue_signing, new_private_key
from gateway.keys.keystore import FileKeyStore
from gateway.wire.decided import DecisionSummary, body_digest
from gateway.wire.identifiers import MemberId, ServiceId, SubsystemId
from gateway.wire.message import Checkpoint, RequestClaims, ResponseClaims
from gateway.wire.signing import (
    REQUEST_TYPE,
    Algorithm,
    SigningKey,
    Verifier,
    check_body,
    open_request,
    request_digest,
    thumbprint,
)
from gateway.wire.strict import b64url

NOW = datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC)
CONSUMER = SubsystemId.parse("FI-DEMO/MUN/0000001-9/kotoutuminen")
SERVICE = ServiceId.parse("FI-DEMO/GOV/0000000-0/vastaanotto/palvelutarve")
BODY = b'{"hello":"world"}'
ALGORITHMS: tuple[Algorithm, ...] = ("ES256", "EdDSA")
REFUSALS = ("none", "None", "HS256", "RS256", "ES384", "es256", "Ed25519", "", None, 7, ["ES256"], {"alg": "ES256"})


@dataclass(frozen=True)
class Sender:
    """A member's signing key, and what the registry says of it."""

    private: PrivateKey
    signer: FileKeyStore
    key: SigningKey

    @property
    def thumbprint(self) -> str:
        """The name of its certificate."""
        return thumbprint(self.signer.certificate)


@cache
def sender(member: MemberId, algorithm: Algorithm) -> Sender:
    """The key of that kind of a member: one for the whole run."""
    begins, ends = NOW - timedelta(days=1), NOW + timedelta(days=1)
    root = new_private_key("ES256")
    authority = issue_authority(root, "test anchor", not_before=begins, not_after=ends, serial=1)
    private = new_private_key(algorithm)
    certificate = issue_signing(Issuer(authority, root), private.public_key(), member, Term(begins, ends, 2))
    return Sender(
        private, FileKeyStore(private, certificate), SigningKey(member, algorithm, private.public_key(), begins, ends)
    )


def lookup(*senders: Sender) -> Mapping[str, SigningKey]:
    """The keys that a registry would list."""
    return {one.thumbprint: one.key for one in senders}


def request_claims(**changes: Any) -> RequestClaims:
    """A request that is good at NOW, but for the changes."""
    values: dict[str, Any] = {
        "issuer": CONSUMER,
        "audience": SERVICE,
        "message_id": "0195570a-5c00-7000-8000-000000000001",
        "issued_at": NOW,
        "expires_at": NOW + timedelta(seconds=60),
        "method": "POST",
        "target": "/v1/search?after=1",
        "content_type": "application/json",
        "digest": body_digest(BODY),
        "purpose": "service-need-lookup",
        "categories": frozenset({"identity", "contact/address"}),
        "rulebook": "sha256-0123456789abcdef",
        "checkpoint": Checkpoint("kotka.example/log", 7, bytes(range(32))),
        "case": "asia 12/2026",
        "user": "u-4f1c",
    }
    return RequestClaims(**(values | changes))


def response_claims(request_jws: str, **changes: Any) -> ResponseClaims:
    """The answer to a request, good at NOW, but for the changes."""
    values: dict[str, Any] = {
        "issuer": SERVICE,
        "audience": CONSUMER,
        "issued_at": NOW,
        "request": request_digest(request_jws),
        "status": 200,
        "content_type": "application/json",
        "digest": body_digest(BODY),
        "checkpoint": Checkpoint("vastaanotto.example/log", 0, bytes(32)),
        "decision": DecisionSummary(
            "0195570a-5c00-7000-8000-0000000000aa",
            body_digest(b"decision"),
            frozenset({"identity"}),
            (("contact/address", "consent-missing"), ("health-needs", "purpose-excludes")),
        ),
    }
    return ResponseClaims(**(values | changes))


def header(who: Sender, **changes: Any) -> dict[str, Any]:
    """A request's protected header, with changes; a change to `...` leaves the member out."""
    values = {"alg": who.key.algorithm, "typ": REQUEST_TYPE, "x5t#S256": who.thumbprint} | changes
    return {name: value for name, value in values.items() if value is not ...}


def forge(who: Sender, claims: bytes | Mapping[str, Any], head: bytes | Mapping[str, Any] | None = None) -> str:
    """A message with any header and any claims, and a signature that holds."""
    head = header(who) if head is None else head
    first, second = (
        b64url(part if isinstance(part, bytes) else json.dumps(part, ensure_ascii=False).encode("utf-8"))
        for part in (head, claims)
    )
    return f"{first}.{second}.{b64url(who.signer.sign(f'{first}.{second}'.encode('ascii')))}"


def verify_request(jws: str, body: bytes, verifier: Verifier, **whom: Any) -> RequestClaims:
    """A request and its body, verified in all but replay."""
    claims = open_request(jws, verifier, **whom)
    check_body(claims, body)
    return claims
