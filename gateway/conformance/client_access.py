"""Who may call: certificates and tokens at the client face."""

from __future__ import annotations

import base64
import hmac
import json
import time
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives import serialization

from gateway.conformance.bench import Bench, Desk, Shown, expect, expect_refusal
from gateway.conformance.case import case
from gateway.conformance.message import Signer, b64url
from gateway.conformance.profile import TokenKey
from gateway.conformance.verdicts import Failed
from gateway.conformance.wire import Answer, Request

_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_READ = Request("GET", "/v1/handovers?limit=1")


def _tokens(desk: Desk) -> TokenKey:
    if desk.face.tokens is None:
        raise LookupError("the test did not say that it needs tokens")
    return desk.face.tokens


def _claims(desk: Desk, **changes: Any) -> dict[str, Any]:
    tokens, now = _tokens(desk), int(time.time())
    claims = {"iss": tokens.client, "sub": tokens.client, "aud": tokens.audience, "jti": str(uuid.uuid4())}
    return claims | {"iat": now, "exp": now + 60} | changes


def _assertion(desk: Desk, claims: Mapping[str, Any], algorithm: str = "") -> str:
    """An assertion under the client's key, or under `none` or HS256 instead."""
    tokens = _tokens(desk)
    key = serialization.load_pem_private_key(tokens.key.read_bytes(), None)
    signer = Signer(b"", key)  # type: ignore[arg-type]
    header = {"alg": algorithm or signer.algorithm, "typ": "JWT"} | ({"kid": tokens.kid} if tokens.kid else {})
    signed = f"{b64url(json.dumps(header).encode())}.{b64url(json.dumps(claims).encode())}"
    if algorithm == "none":
        return f"{signed}."
    if algorithm == "HS256":
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return f"{signed}.{b64url(hmac.digest(public, signed.encode(), 'sha256'))}"
    return f"{signed}.{b64url(signer.sign(signed.encode()))}"


def _exchange(desk: Desk, assertion: str, shown: Shown = Shown.NOTHING) -> Answer:
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": _TYPE,
        "client_assertion": assertion,
    }
    headers = (("Content-Type", "application/x-www-form-urlencoded"),)
    return desk.send(Request("POST", "/oauth/token", headers, urlencode(form).encode()), shown)


def _token(desk: Desk, shown: Shown = Shown.NOTHING) -> str:
    answer = _exchange(desk, _assertion(desk, _claims(desk)), shown)
    expect(answer, 200)
    token = answer.document.get("access_token")
    if not isinstance(token, str) or not token:
        raise Failed("an access_token", "none in the answer")
    return token


def _with(token: str) -> Request:
    return Request(_READ.method, _READ.target, (("Authorization", f"Bearer {token}"),))


def _refused(answer: Answer) -> None:
    """A refusal of who calls: 401, or a handshake that fails."""
    if answer.status:
        expect_refusal(answer, 401)


def _assertion_refused(answer: Answer) -> None:
    """Answers of the token endpoint are those of OAuth 2.0."""
    expect(answer, 400, 401)
    if "access_token" in answer.document:
        raise Failed("no token", "a token beside the refusal")


@case("CLI-1")
def without_anything(bench: Bench) -> None:
    """Reads the list of handovers without a certificate and without a token."""
    _refused(bench.sending.send(_READ, Shown.NOTHING))


@case("CLI-2")
def with_a_strange_certificate(bench: Bench) -> None:
    """Reads the list of handovers with a certificate that the kit has issued to itself."""
    _refused(bench.sending.send(_READ, Shown.STRANGE))


@case("CLI-3")
def with_a_token(bench: Bench) -> None:
    """Exchanges an assertion for a token and reads the list of handovers with it."""
    expect(bench.sending.send(_with(_token(bench.sending)), Shown.NOTHING), 200)


@case("CLI-4")
def an_assertion_twice(bench: Bench) -> None:
    """Exchanges one and the same assertion for a token twice."""
    desk = bench.sending
    assertion = _assertion(desk, _claims(desk))
    expect(_exchange(desk, assertion), 200)
    _assertion_refused(_exchange(desk, assertion))


@case("CLI-5")
def for_another_audience(bench: Bench) -> None:
    """Sends an assertion that is good but for its audience."""
    desk = bench.sending
    _assertion_refused(_exchange(desk, _assertion(desk, _claims(desk, aud="urn:yhdyspinta:node:elsewhere.example"))))


@case("CLI-6")
def unsigned(bench: Bench) -> None:
    """Sends an assertion with `alg: none` and without a signature."""
    desk = bench.sending
    _assertion_refused(_exchange(desk, _assertion(desk, _claims(desk), "none")))


@case("CLI-7")
def keyed_with_the_public_key(bench: Bench) -> None:
    """Sends an assertion whose HMAC is keyed with the client's public key, which anybody may have."""
    desk = bench.sending
    _assertion_refused(_exchange(desk, _assertion(desk, _claims(desk), "HS256")))


@case("CLI-8")
def past_its_time(bench: Bench) -> None:
    """Sends an assertion that ended an hour ago."""
    desk = bench.sending
    past = int(time.time()) - 3600
    _assertion_refused(_exchange(desk, _assertion(desk, _claims(desk, iat=past - 60, exp=past))))


@case("CLI-9")
def bound_to_a_certificate(bench: Bench) -> None:
    """Gets a token over the registered certificate; uses it with that certificate, then without one."""
    desk = bench.sending
    token = _token(desk, Shown.CERTIFICATE)
    expect(desk.send(_with(token)), 200)
    _refused(desk.send(_with(token), Shown.NOTHING))


@case("CLI-10")
def a_changed_token(bench: Bench) -> None:
    """Gets a token, and sends it with an `exp` a year later under the old signature."""
    desk = bench.sending
    header, claims, signature = _token(desk).split(".")
    known = json.loads(_decoded(claims))
    later = b64url(json.dumps(known | {"exp": int(known["exp"]) + 31_536_000}).encode())
    _refused(desk.send(_with(f"{header}.{later}.{signature}"), Shown.NOTHING))


def _decoded(segment: str) -> bytes:

    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
