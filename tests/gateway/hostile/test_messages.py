"""Signed messages that must be refused, at the peer face of a running node: code, status, nothing left, on record."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from audit.log.entries import Entry
from gateway.wire.decided import body_digest
from gateway.wire.signing import RESPONSE_TYPE, request_digest, thumbprint
from gateway.wire.strict import b64url
from tests.gateway.hostile.conftest import Open, fake_peer
from tests.gateway.running import Raw
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("hostile")
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ONE = bytes(31) + b"\x01"


def resigned(message: str, change: Callable[[bytes], bytes]) -> str:
    import base64

    signed, _, signature = message.rpartition(".")
    return f"{signed}.{b64url(change(base64.urlsafe_b64decode(signature + '==')))}"


def der(raw: bytes) -> bytes:
    return encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))


def now() -> int:
    return int(time.time())


Make = Callable[[Open], str]
BAD: dict[str, tuple[Make, int, str]] = {
    "alg none": (lambda gate: gate.message(alg="none"), 400, "algorithm-refused"),
    "alg none without signature": (
        lambda gate: gate.message(alg="none").rpartition(".")[0] + ".", 400, "message-not-compact",
    ),
    "HS256 with the public key": (lambda gate: gate.mac(), 400, "algorithm-refused"),
    "RS256": (lambda gate: gate.message(alg="RS256"), 400, "algorithm-refused"),
    "lower-case alg": (lambda gate: gate.message(alg="es256"), 400, "algorithm-refused"),
    "another algorithm than the key's": (lambda gate: gate.message(alg="EdDSA"), 401, "algorithm-mismatch"),
    "crit": (lambda gate: gate.message(crit=["exp"]), 400, "header-member-refused"),
    "b64 false": (lambda gate: gate.message(b64=False, crit=["b64"]), 400, "header-member-refused"),
    "embedded jwk": (lambda gate: gate.message(jwk={"kty": "EC"}), 400, "header-member-refused"),
    "jku": (lambda gate: gate.message(jku=f"http://127.0.0.1:{port(gate)}/k"), 400, "header-member-refused"),
    "x5u": (lambda gate: gate.message(x5u=f"http://127.0.0.1:{port(gate)}/c"), 400, "header-member-refused"),
    "x5c": (lambda gate: gate.message(x5c=["AA=="]), 400, "header-member-refused"),
    "kid": (lambda gate: gate.message(kid="1"), 400, "header-member-refused"),
    "wrong typ": (lambda gate: gate.message(typ="JWT"), 400, "message-type-mismatch"),
    "a response used as a request": (lambda gate: gate.message(typ=RESPONSE_TYPE), 400, "message-type-mismatch"),
    "a header member twice": (
        lambda gate: gate.message(head=b'{"alg":"none","alg":"ES256","typ":"yhdyspinta-request+jwt","x5t#S256":"x"}'),
        400, "message-member-repeated",
    ),
    "a claim twice": (
        lambda gate: gate.message(gate.text('"iss":', '"iss":"FI-DEMO/GOV/1/x","iss":')), 400,
        "message-member-repeated",
    ),
    "padding": (lambda gate: gate.message() + "=", 400, "message-not-base64url"),
    "illegal characters in base64url": (lambda gate: "*" + gate.message()[1:], 400, "message-not-base64url"),
    "ECDSA signature in DER": (lambda gate: resigned(gate.message(), der), 400, "signature-malformed"),
    "r zero": (lambda gate: resigned(gate.message(), lambda _: bytes(32) + ONE), 400, "signature-malformed"),
    "s zero": (lambda gate: resigned(gate.message(), lambda _: ONE + bytes(32)), 400, "signature-malformed"),
    "r at the order": (
        lambda gate: resigned(gate.message(), lambda _: ORDER.to_bytes(32, "big") + ONE), 400, "signature-malformed",
    ),
    "s at the order": (
        lambda gate: resigned(gate.message(), lambda _: ONE + ORDER.to_bytes(32, "big")), 400, "signature-malformed",
    ),
    "one bit turned": (
        lambda gate: resigned(gate.message(), lambda one: one[:9] + bytes([one[9] ^ 1]) + one[10:]), 401,
        "signature-invalid",
    ),
    "truncated": (lambda gate: resigned(gate.message(), lambda one: one[:60]), 400, "signature-malformed"),
    "two segments": (lambda gate: gate.message().rpartition(".")[0], 400, "message-not-compact"),
    "deep nesting": (
        lambda gate: gate.message(gate.text('"log":', f'"deep":{"[" * 1000}{"]" * 1000},"log":')), 400,
        "message-too-deep",
    ),
    "1e400": (lambda gate: gate.message(gate.text('"exp":', '"big":1e400,"exp":')), 400, "message-number-refused"),
    "NUL in a text": (lambda gate: gate.message(gate.text('"rul":"none"', '"rul":"a\\u0000"')), 400,
                      "message-text-refused"),
    "an unpaired surrogate": (lambda gate: gate.message(gate.text('"rul":"none"', '"rul":"\\udfff"')), 400,
                              "message-text-refused"),
    "not UTF-8": (lambda gate: gate.message(b'{"iss":"\xff"}'), 400, "message-not-utf8"),
    "not JSON": (lambda gate: gate.message(b"iss"), 400, "message-not-json"),
    "iat in the future": (lambda gate: gate.message(gate.claims(iat=now() + 30, exp=now() + 60)), 400,
                          "message-from-future"),
    "past exp": (lambda gate: gate.message(gate.claims(iat=now() - 80, exp=now() - 20)), 400, "message-expired"),
    "exp missing": (lambda gate: gate.message(gate.claims(exp=...)), 400, "claim-missing"),
    "a lifetime of 61 seconds": (lambda gate: gate.message(gate.claims(iat=now(), exp=now() + 61)), 400,
                                 "message-lifetime-refused"),
    "unknown claim": (lambda gate: gate.message(gate.claims(sub="x")), 400, "claim-unknown"),
    "other aud": (
        lambda gate: gate.message(gate.claims(aud=str(gate.nodes.service("second", "palvelutarve")))), 403,
        "audience-mismatch",
    ),
    "unknown certificate": (lambda gate: gate.message(x5t__S256="A" * 43), 401, "certificate-unknown"),
    "another member's name": (
        lambda gate: gate.message(gate.claims(iss=str(gate.nodes.party("second").subsystem))), 401,
        "certificate-of-another",
    ),
    "a member for whom the TLS peer may not speak": (
        lambda gate: gate.message(
            gate.claims(iss=str(gate.nodes.party("kymenlaakso").subsystem)), party="kymenlaakso"), 403,
        "issuer-not-peer",
    ),
    "17 KB": (lambda gate: gate.message(gate.claims(tgt="/" + "x" * 13000)), 431, "message-too-large"),
}  # fmt: skip


def port(gate: Open) -> int:
    return int(gate.trap.server.server_address[1])


async def refused(gate: Open, answer: Raw | None, status: int, code: str, before: int) -> None:
    """The refusal is exact, holds no data, and is on record; the source was not asked."""
    assert answer is not None
    assert (answer.status, answer.code) == (status, code)
    assert "message" not in answer.headers, "nothing was believed, so nothing is signed"
    assert answer.headers["content-type"] == "application/problem+json"
    assert gate.nodes.people[1].encode() not in answer.body
    assert gate.source.asked == gate.trap.asked == []

    # What the node does of itself meanwhile, such as trying a delivery again, is no answer to this message, nor is what
    # becomes of a connection that an earlier test has left.
    def told() -> list[Entry]:
        found = [entry for entry in gate.nodes.entries("centre")[before:] if entry.type == "query"]
        assert {entry.outcome for entry in found} <= {"refused"}, "something was released"
        return [entry for entry in found if entry.reason == code]

    entries = await until(told)
    assert len(entries) == 1
    assert entries[0].detail.get("pin"), "under the TLS identity that brought it"


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_message_is_refused_and_on_record(gate: Open, name: str) -> None:
    make, status, code = BAD[name]
    before = len(gate.nodes.entries("centre"))

    answer = await gate.send(make(gate))

    await refused(gate, answer, status, code, before)


async def test_a_good_message_of_the_same_make_is_answered(gate: Open) -> None:
    answer = await gate.send(gate.message())

    assert answer is not None
    assert (answer.status, answer.headers["content-type"]) == (200, "application/fhir+json")
    assert answer.headers["message"].count(".") == 2
    assert len(gate.source.asked) == 1


async def test_two_message_headers_are_refused(gate: Open) -> None:
    before = len(gate.nodes.entries("centre"))

    answer = await gate.send(gate.message(), gate.message())

    await refused(gate, answer, 400, "message-repeated", before)


async def test_no_message_header_is_refused(gate: Open) -> None:
    before = len(gate.nodes.entries("centre"))

    await refused(gate, await gate.send(), 400, "message-missing", before)


async def test_a_header_of_a_megabyte_is_refused(gate: Open) -> None:
    before = len(gate.nodes.entries("centre"))

    answer = await gate.send("A" * (1 << 20))

    await refused(gate, answer, 431, "headers-too-large", before)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"subject":{"system":"urn:oid:1.2.246.21","value":"010190-900P"}}'])
async def test_a_swapped_body_is_refused(gate: Open, body: bytes) -> None:
    before = len(gate.nodes.entries("centre"))

    await refused(gate, await gate.send(gate.message(), body=body), 400, "digest-mismatch", before)


async def test_a_body_longer_than_its_content_length_is_cut_and_refused(gate: Open) -> None:
    before = len(gate.nodes.entries("centre"))

    answer = await gate.send(gate.message(), length=len(gate.body()) - 1)

    await refused(gate, answer, 400, "digest-mismatch", before)


async def test_a_content_type_that_was_not_signed_is_refused(gate: Open) -> None:
    before = len(gate.nodes.entries("centre"))

    answer = await gate.send(gate.message(), headers=("Content-Type: text/html",))

    await refused(gate, answer, 400, "content-type-mismatch", before)


async def test_a_message_is_answered_once(gate: Open) -> None:
    message = gate.message()
    assert (first := await gate.send(message)) is not None
    assert first.status == 200
    gate.source.asked.clear()
    before = len(gate.nodes.entries("centre"))

    await refused(gate, await gate.send(message), 409, "message-replayed", before)


# --- What comes back from a peer that lies ----------------------------------------------------------------------------


def response_of(gate: Open, request: bytes, body: bytes = b"{}", *, party: str = "second", **changes: Any) -> bytes:
    """An HTTP answer with a signed message that would be good, but for the changes."""
    message = sent(request)
    claims = {
        "iss": str(gate.nodes.service("second", "palvelutarve")), "aud": str(gate.nodes.party("kotka").subsystem),
        "iat": now(), "req": request_digest(message), "sts": 200, "cty": "application/fhir+json",
        "dig": body_digest(body), "log": {"origin": "yhdyspinta/second.demo", "size": 0, "root": "A" * 43 + "="},
    } | changes  # fmt: skip
    return http(body, signed(gate, claims, party))


def signed(gate: Open, claims: dict[str, Any], party: str = "second", kind: str = RESPONSE_TYPE) -> str:
    signer = gate.signer(party)
    head = {"alg": signer.algorithm, "typ": kind, "x5t#S256": thumbprint(signer.certificate)}
    first, second = b64url(json.dumps(head).encode()), b64url(json.dumps(claims).encode())
    return f"{first}.{second}.{b64url(signer.sign(f'{first}.{second}'.encode()))}"


def sent(request: bytes) -> str:
    head = request.partition(b"\r\n\r\n")[0].split(b"\r\n")
    return next(line.partition(b":")[2].strip() for line in head if line.lower().startswith(b"message:")).decode()


def http(body: bytes, *messages: str, status: str = "200 OK", headers: tuple[str, ...] = ()) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: application/fhir+json", *headers]
    lines += [f"Message: {one}" for one in messages]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


Lie = Callable[[Open, bytes], bytes]
LIES: dict[str, tuple[Lie, int, str]] = {
    "our request as its response": (lambda _gate, request: http(b"{}", sent(request)), 400, "message-type-mismatch"),
    "the response to another request": (
        lambda gate, request: response_of(gate, request, req=request_digest("other")), 502, "response-to-another",
    ),
    "another body": (
        lambda gate, request: response_of(gate, request).replace(b"\r\n\r\n{}", b"\r\n\r\n[]"), 400,
        "digest-mismatch",
    ),
    "from another service": (
        lambda gate, request: response_of(gate, request, iss=str(gate.nodes.service("second", "ilmoitukset"))), 403,
        "issuer-mismatch",
    ),
    "for another asker": (
        lambda gate, request: response_of(gate, request, aud=str(gate.nodes.party("centre").subsystem)), 403,
        "audience-mismatch",
    ),
    "signed by another member": (
        lambda gate, request: response_of(gate, request, party="centre"), 401, "certificate-of-another",
    ),
    "of yesterday": (lambda gate, request: response_of(gate, request, iat=now() - 86400), 400, "message-expired"),
    "signed, and no JSON": (lambda gate, request: response_of(gate, request, b"no"), 502, "peer-answer-invalid"),
    "signed, and an array": (lambda gate, request: response_of(gate, request, b"[]"), 502, "peer-answer-invalid"),
    "no signature": (lambda _gate, _request: http(b'{"entry":[]}'), 502, "peer-answer-invalid"),
    "two messages": (
        lambda gate, request: http(b"{}", "a.b.c", sent(request)), 502, "peer-answer-invalid",
    ),
    "a redirect inwards": (
        lambda gate, _request: http(b"", status="307 Temporary Redirect", headers=(
            f"Location: http://127.0.0.1:{port(gate)}/inwards",)), 502, "peer-answer-invalid",
    ),
    "a refusal with a code that the table does not have": (
        lambda gate, request: response_of(gate, request, b'{"code":"no-such-code"}', sts=409), 502, "peer-refused",
    ),
    "an answer without end": (
        lambda _gate, _request: http(b"x" * 300_000), 502, "peer-answer-too-large",
    ),
    "a compressed bomb": (
        lambda gate, request: response_of(gate, request, zipped()).replace(
            b"\r\nMessage", b"\r\nContent-Encoding: gzip\r\nMessage"), 502, "peer-answer-invalid",
    ),
    "half an answer": (lambda _gate, _request: http(b"abc")[:-1], 502, "peer-unreachable"),
    "garbage": (lambda _gate, _request: b"\x16\x03\x01 no HTTP at all\r\n\r\n", 502, "peer-unreachable"),
    "a header that injects another": (
        lambda gate, request: response_of(gate, request).replace(
            b"\r\nMessage", b"\r\nX-A: b\rSet-Cookie: c\r\nMessage"),
        502, "peer-unreachable",
    ),
}  # fmt: skip


def zipped() -> bytes:
    import gzip

    return gzip.compress(bytes(50_000_000), 9)


@pytest.mark.parametrize("name", LIES)
async def test_an_answer_that_lies_reaches_no_client_and_is_on_record(gate: Open, name: str) -> None:
    lie, status, code = LIES[name]
    question = gate.nodes.question(service=str(gate.nodes.service("second", "palvelutarve")))

    async with fake_peer(gate, "second", lambda request: lie(gate, request)) as peer:  # noqa: SIM117
        async with gate.nodes.client("kotka") as session, session.post("/v1/queries", json=question) as answer:
            document = await answer.json()

    assert len(peer.received) == 1
    assert (answer.status, document["code"]) == (status, code), document
    assert "bundle" not in document
    assert gate.trap.asked == [], "no redirect is followed"
    assert "Set-Cookie" not in answer.headers
    entry = gate.nodes.entries("kotka")[-1]
    assert entry.outcome in {"refused", "failed"}
    assert entry.reason == code


async def test_a_peer_with_another_nodes_certificate_is_sent_nothing(gate: Open) -> None:
    """Whatever a service's address leads to: before a byte of the message is sent, the pin decides."""
    question = gate.nodes.question(service=str(gate.nodes.service("second", "palvelutarve")))

    async with fake_peer(gate, "second", lambda request: http(b"{}"), tls="kymenlaakso") as peer:  # noqa: SIM117
        async with gate.nodes.client("kotka") as session, session.post("/v1/queries", json=question) as answer:
            document = await answer.json()

    assert (answer.status, document["code"]) == (502, "peer-unreachable")
    assert peer.received == []
