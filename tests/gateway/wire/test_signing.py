"""Signed messages: what is signed comes back, and each way to be wrong is refused under its own name."""

from __future__ import annotations

import hashlib
import hmac
import json
import string
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from joserfc import jws as joserfc_jws
from joserfc.jwk import ECKey, OKPKey

from gateway.wire.decided import DecisionSummary, body_digest
from gateway.wire.identifiers import MemberId, ServiceId, SubsystemId
from gateway.wire.message import Checkpoint, RequestClaims, ResponseClaims
from gateway.wire.problems import ProblemError
from gateway.wire.signing import (
    CLOCK_TOLERANCE,
    LIFETIME_LIMIT,
    MESSAGE_LIMIT,
    REQUEST_TYPE,
    RESPONSE_TYPE,
    Algorithm,
    Sent,
    SigningKey,
    Verifier,
    check_body,
    open_request,
    request_digest,
    sign_request,
    sign_response,
    verify_response,
)
from gateway.wire.strict import b64url, b64url_decode
from tests.gateway.wire.conftest import (
    ALGORITHMS,
    BODY,
    CONSUMER,
    NOW,
    REFUSALS,
    SERVICE,
    Sender,
    forge,
    header,
    lookup,
    request_claims,
    response_claims,
    sender,
    verify_request,
)
from tests.properties import examples

ASKER = sender(CONSUMER.member, "ES256")
ED_ASKER = sender(CONSUMER.member, "EdDSA")
PROVIDER = sender(SERVICE.member, "ES256")
STRANGER = sender(MemberId("FI-DEMO", "GOV", "9999999-2"), "ES256")
KEYS = lookup(ASKER, ED_ASKER, PROVIDER, sender(SERVICE.member, "EdDSA"))
SECOND = timedelta(seconds=1)
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def accept(jws: str, body: bytes = BODY, **changes: Any) -> RequestClaims:
    options: dict[str, Any] = {
        "audience": lambda service: service == SERVICE,
        "tls_members": frozenset({CONSUMER.member}),
    }
    verifier, further = verifier_of(changes)
    return verify_request(jws, body, verifier, **(options | further))


def verifier_of(changes: dict[str, Any]) -> tuple[Verifier, dict[str, Any]]:
    """What messages are verified with here, but for the changes that concern it; and the other changes."""
    known = {"keys": KEYS.get, "now": NOW}
    given = known | {name: value for name, value in changes.items() if name in {"keys", "now", "limit"}}
    return Verifier(**given), {name: value for name, value in changes.items() if name not in given}


def accept_answer(jws: str, request_jws: str, body: bytes = BODY, **changes: Any) -> ResponseClaims:
    verifier, further = verifier_of(changes)
    sent = {"service": SERVICE, "consumer": CONSUMER} | further
    return verify_response(jws, body, verifier, Sent(request_jws, **sent))


def refused(code: str, call: Callable[[], object]) -> ProblemError:
    with pytest.raises(ProblemError) as refusal:
        call()
    assert refusal.value.code == code
    return refusal.value


def claims_json(**changes: Any) -> dict[str, Any]:
    """The claims of a good request as JSON; a change to `...` leaves the claim out."""
    values = json.loads(request_claims().to_json()) | changes
    return {name: value for name, value in values.items() if value is not ...}


# --- Round trips ------------------------------------------------------------------------------------------------------

id_parts = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u200b\ufeff/\\%;"), min_size=1, max_size=12
).filter(lambda part: part not in {".", ".."})
members = st.builds(MemberId, id_parts, id_parts, id_parts)
subsystems = st.builds(SubsystemId, members, id_parts)
services = st.builds(ServiceId, subsystems, id_parts)
codes = st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,8})?(/[a-z0-9]{1,8})?", fullmatch=True)
printable = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
moments = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
references = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=128)
checkpoints = st.builds(
    Checkpoint,
    st.text(string.ascii_letters + string.digits + "./-", min_size=1, max_size=40),
    st.integers(0, 10**15 - 1),
    st.binary(min_size=32, max_size=32),
)
digests = st.binary(max_size=8).map(body_digest)
message_ids = st.from_regex(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", fullmatch=True)
media_types = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=255)


@st.composite
def requests(draw: st.DrawFn) -> tuple[RequestClaims, bytes]:
    body, issued = draw(st.binary(max_size=200)), draw(moments)
    claims = RequestClaims(
        issuer=draw(subsystems),
        audience=draw(services),
        message_id=draw(message_ids),
        issued_at=issued,
        expires_at=issued + timedelta(seconds=draw(st.integers(1, 60))),
        method=draw(st.text(string.ascii_uppercase, min_size=1, max_size=16)),
        target="/" + draw(st.text(printable, max_size=200)),
        content_type=draw(media_types),
        digest=body_digest(body),
        purpose=draw(codes),
        categories=draw(st.frozensets(codes, max_size=20)),
        rulebook=draw(st.text(printable, min_size=1, max_size=128)),
        checkpoint=draw(checkpoints),
        case=draw(st.none() | references),
        user=draw(st.none() | st.text(printable, min_size=1, max_size=128)),
    )
    return claims, body


@st.composite
def responses(draw: st.DrawFn) -> tuple[ResponseClaims, bytes]:
    body = draw(st.binary(max_size=200))
    decision = st.builds(
        DecisionSummary,
        st.text(printable, min_size=1, max_size=64),
        digests,
        st.frozensets(codes, max_size=15),
        st.dictionaries(codes, codes, max_size=15).map(lambda withheld: tuple(sorted(withheld.items()))),
    )
    claims = ResponseClaims(
        issuer=draw(services),
        audience=draw(subsystems),
        issued_at=draw(moments),
        request=draw(digests),
        status=draw(st.integers(100, 599)),
        content_type=draw(media_types),
        digest=body_digest(body),
        checkpoint=draw(checkpoints),
        decision=draw(st.none() | decision),
    )
    return claims, body


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(message=requests())
@example(message=(request_claims(case='[{"[{"[{"[{ \\ " {{{{{{'), BODY))
@examples(60)
def test_a_signed_request_comes_back_as_it_was_sent(algorithm: Algorithm, message: tuple[RequestClaims, bytes]) -> None:
    claims, body = message
    who = sender(CONSUMER.member, algorithm)
    key = replace(
        who.key,
        member=claims.issuer.member,
        not_before=datetime.min.replace(tzinfo=UTC),
        not_after=datetime.max.replace(tzinfo=UTC),
    )
    accepted = accept(
        sign_request(claims, who.signer),
        body,
        keys={who.thumbprint: key}.get,
        audience=lambda service: service == claims.audience,
        tls_members=frozenset({claims.issuer.member}),
        now=claims.issued_at,
    )
    assert accepted == claims


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(message=responses())
@examples(60)
def test_a_signed_answer_comes_back_as_it_was_sent(algorithm: Algorithm, message: tuple[ResponseClaims, bytes]) -> None:
    claims, body = message
    request = sign_request(request_claims(), ASKER.signer)
    claims = replace(claims, request=request_digest(request))
    who = sender(SERVICE.member, algorithm)
    key = replace(
        who.key,
        member=claims.issuer.member,
        not_before=datetime.min.replace(tzinfo=UTC),
        not_after=datetime.max.replace(tzinfo=UTC),
    )
    accepted = accept_answer(
        sign_response(claims, who.signer),
        request,
        body,
        keys={who.thumbprint: key}.get,
        service=claims.issuer,
        consumer=claims.audience,
        now=claims.issued_at,
    )
    assert accepted == claims


@pytest.mark.parametrize("who", [ASKER, ED_ASKER], ids=ALGORITHMS)
def test_a_request_holds_the_claims_of_the_protocol_and_no_others(who: Sender) -> None:
    first, second, third = sign_request(request_claims(), who.signer).split(".")
    assert json.loads(b64url_decode(first)) == {
        "alg": who.key.algorithm,
        "typ": "yhdyspinta-request+jwt",
        "x5t#S256": who.thumbprint,
    }
    assert json.loads(b64url_decode(second)) == {
        "iss": str(CONSUMER),
        "aud": str(SERVICE),
        "jti": "0195570a-5c00-7000-8000-000000000001",
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 60,
        "mth": "POST",
        "tgt": "/v1/search?after=1",
        "cty": "application/json",
        "dig": body_digest(BODY),
        "pur": "service-need-lookup",
        "cat": ["contact/address", "identity"],
        "cas": "asia 12/2026",
        "usr": "u-4f1c",
        "rul": "sha256-0123456789abcdef",
        "log": {"origin": "kotka.example/log", "size": 7, "root": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="},
    }
    assert len(b64url_decode(third)) == 64


def test_the_digest_of_a_body_has_the_form_of_rfc_9530() -> None:
    # RFC 9530 appendix D, the SHA-256 of {"hello": "world"} and a line feed.
    assert body_digest(b'{"hello": "world"}\n') == "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
    assert body_digest(b"") == "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"


def test_a_request_without_case_and_user_is_accepted() -> None:
    claims = request_claims(case=None, user=None)
    assert accept(sign_request(claims, ASKER.signer)) == claims


def test_an_answer_without_a_decision_is_accepted() -> None:
    request = sign_request(request_claims(), ASKER.signer)
    claims = response_claims(request, decision=None, status=503)
    assert accept_answer(sign_response(claims, PROVIDER.signer), request) == claims


# --- Others can check what we sign ------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_pyjwt_verifies_our_signature(algorithm: Algorithm) -> None:
    who = sender(CONSUMER.member, algorithm)
    jws = sign_request(request_claims(), who.signer)
    read = jwt.decode(
        jws,
        who.key.public_key,  # type: ignore[arg-type]
        algorithms=[algorithm],
        audience=str(SERVICE),
        issuer=str(CONSUMER),
        options={"verify_exp": False, "verify_iat": False},
    )
    assert read == json.loads(request_claims().to_json())
    assert jwt.get_unverified_header(jws)["typ"] == REQUEST_TYPE


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_joserfc_verifies_our_signature_and_not_an_altered_one(algorithm: Algorithm) -> None:
    who = sender(SERVICE.member, algorithm)
    request = sign_request(request_claims(), ASKER.signer)
    jws = sign_response(response_claims(request), who.signer)
    public: Any = who.key.public_key
    key = ECKey(public, public) if algorithm == "ES256" else OKPKey(public, public)
    registry = joserfc_jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    read = joserfc_jws.deserialize_compact(jws, key, registry=registry)
    assert read.payload == response_claims(request).to_json()
    first, _, third = jws.split(".")
    altered = f"{first}.{b64url(response_claims(request, status=201).to_json())}.{third}"
    with pytest.raises(Exception, match="bad_signature"):
        joserfc_jws.deserialize_compact(altered, key, registry=registry)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_pyjwt_signs_to_our_profile_is_accepted(algorithm: Algorithm) -> None:
    who = sender(CONSUMER.member, algorithm)
    jws = jwt.encode(
        json.loads(request_claims().to_json()),
        who.private,
        algorithm=algorithm,
        headers={"typ": REQUEST_TYPE, "x5t#S256": who.thumbprint},
    )
    assert accept(jws) == request_claims()


# --- The header -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", REFUSALS, ids=repr)
def test_any_algorithm_but_the_two_is_refused(algorithm: object) -> None:
    refused("algorithm-refused", lambda: accept(forge(ASKER, claims_json(), header(ASKER, alg=algorithm))))


def test_none_without_a_signature_is_refused() -> None:
    signed = forge(ASKER, claims_json(), header(ASKER, alg="none")).rpartition(".")[0]
    refused("message-not-compact", lambda: accept(signed + "."))
    refused("algorithm-refused", lambda: accept(signed + ".AA"))


def test_a_mac_keyed_with_our_public_certificate_is_refused() -> None:
    first, second = (b64url(json.dumps(part).encode()) for part in (header(ASKER, alg="HS256"), claims_json()))
    mac = hmac.digest(ASKER.signer.certificate, f"{first}.{second}".encode(), hashlib.sha256)
    refused("algorithm-refused", lambda: accept(f"{first}.{second}.{b64url(mac)}"))


def test_the_registry_and_not_the_message_says_which_algorithm_a_key_uses() -> None:
    refused("algorithm-mismatch", lambda: accept(forge(ASKER, claims_json(), header(ASKER, alg="EdDSA"))))
    refused("algorithm-mismatch", lambda: accept(forge(ED_ASKER, claims_json(), header(ED_ASKER, alg="ES256"))))


@pytest.mark.parametrize(
    "extra",
    [
        {"crit": ["b64"], "b64": False},
        {"crit": []},
        {"kid": "1"},
        {"jwk": {"kty": "EC"}},
        {"x5c": ["MIIB"]},
        {"x5u": "https://attacker.example/key"},
        {"jku": "https://attacker.example/keys"},
        {"cty": "JWT"},
        {"zip": "DEF"},
        {"": 1},
        {"e" * 60: 1},
    ],
    ids=lambda extra: next(iter(extra))[:8] or "empty",
)
def test_any_other_header_member_is_refused(extra: dict[str, object]) -> None:
    refused("header-member-refused", lambda: accept(forge(ASKER, claims_json(), header(ASKER) | extra)))


@pytest.mark.parametrize("name", ["alg", "typ", "x5t#S256"])
def test_a_missing_header_member_is_named(name: str) -> None:
    head = {one: value for one, value in header(ASKER).items() if one != name}
    problem = refused("header-member-missing", lambda: accept(forge(ASKER, claims_json(), head)))
    assert problem.pointer == f"/{name}"


@pytest.mark.parametrize("value", ["", "A" * 42, "A" * 44, 43, None, ["A"] * 43])
def test_what_is_no_thumbprint_is_refused(value: object) -> None:
    head = header(ASKER) | {"x5t#S256": value}
    refused("header-member-invalid", lambda: accept(forge(ASKER, claims_json(), head)))


@pytest.mark.parametrize(
    "kind", ["JWT", RESPONSE_TYPE, REQUEST_TYPE.upper(), f"application/{REQUEST_TYPE}", "", None, 1]
)
def test_another_type_of_message_is_refused(kind: object) -> None:
    refused("message-type-mismatch", lambda: accept(forge(ASKER, claims_json(), header(ASKER, typ=kind))))


def test_a_request_is_never_taken_for_an_answer() -> None:
    request = sign_request(request_claims(), ASKER.signer)
    keys = {ASKER.thumbprint: replace(ASKER.key, member=SERVICE.member)}
    forged = forge(ASKER, response_claims(request).to_json())
    refused("message-type-mismatch", lambda: accept_answer(forged, request, keys=keys.get))


# --- The certificate and the signature --------------------------------------------------------------------------------


def test_a_certificate_that_the_registry_does_not_list_is_refused() -> None:
    refused("certificate-unknown", lambda: accept(sign_request(request_claims(), STRANGER.signer)))


def test_the_certificate_of_another_member_is_refused() -> None:
    keys = KEYS | lookup(STRANGER)
    jws = sign_request(request_claims(), STRANGER.signer)
    refused("certificate-of-another", lambda: accept(jws, keys=keys.get))


def test_a_certificate_counts_from_its_first_to_its_last_instant() -> None:
    jws = sign_request(request_claims(), ASKER.signer)

    def within(begins: datetime, ends: datetime) -> Callable[[str], SigningKey | None]:
        return {ASKER.thumbprint: replace(ASKER.key, not_before=begins, not_after=ends)}.get

    assert accept(jws, keys=within(NOW, NOW)) == request_claims()
    refused("certificate-not-yet-valid", lambda: accept(jws, keys=within(NOW + SECOND, NOW + SECOND)))
    refused("certificate-expired", lambda: accept(jws, keys=within(NOW - SECOND, NOW - SECOND)))


@pytest.mark.parametrize("who", [ASKER, ED_ASKER], ids=ALGORITHMS)
@given(place=st.integers(0, 63), bit=st.integers(0, 7))
@examples(40)
def test_a_signature_with_one_bit_turned_is_refused(who: Sender, place: int, bit: int) -> None:
    signed, _, last = sign_request(request_claims(), who.signer).rpartition(".")
    signature = bytearray(b64url_decode(last))
    signature[place] ^= 1 << bit
    with pytest.raises(ProblemError) as refusal:
        accept(f"{signed}.{b64url(bytes(signature))}")
    assert refusal.value.code in {"signature-invalid", "signature-malformed"}


@pytest.mark.parametrize("who", [ASKER, ED_ASKER], ids=ALGORITHMS)
def test_claims_that_were_not_the_signed_ones_are_refused(who: Sender) -> None:
    first, _, third = sign_request(request_claims(), who.signer).split(".")
    other = b64url(request_claims(purpose="withdrawal-notice").to_json())
    refused("signature-invalid", lambda: accept(f"{first}.{other}.{third}"))


@pytest.mark.parametrize(
    "signature",
    [
        bytes(64),
        bytes(63),
        bytes(65),
        b"\x01" * 32 + bytes(32),
        bytes(32) + b"\x01" * 32,
        P256_ORDER.to_bytes(32, "big") + b"\x01" * 32,
        b"\x01" * 32 + P256_ORDER.to_bytes(32, "big"),
        b"\xff" * 64,
    ],
    ids=["zeros", "short", "long", "s is zero", "r is zero", "r is the order", "s is the order", "ones"],
)
def test_a_signature_outside_the_curve_is_refused(signature: bytes) -> None:
    signed = sign_request(request_claims(), ASKER.signer).rpartition(".")[0]
    refused("signature-malformed", lambda: accept(f"{signed}.{b64url(signature)}"))


def test_an_ecdsa_signature_in_der_is_refused() -> None:
    signed = sign_request(request_claims(), ASKER.signer).rpartition(".")[0]
    der = bytes.fromhex("3044022001" + "02" * 31 + "022003" + "04" * 31)
    refused("signature-malformed", lambda: accept(f"{signed}.{b64url(der)}"))


# --- Claims -----------------------------------------------------------------------------------------------------------

OPTIONAL = {"cas", "usr"}


@pytest.mark.parametrize("name", sorted(claims_json().keys() - OPTIONAL))
def test_a_missing_claim_is_named(name: str) -> None:
    problem = refused("claim-missing", lambda: accept(forge(ASKER, claims_json(**{name: ...}))))
    assert problem.pointer == f"/{name}"


@pytest.mark.parametrize("name", ["sub", "nbf", "x", "_", "ISS", "iss ", "dec"])
def test_a_claim_that_the_protocol_does_not_know_is_refused(name: str) -> None:
    refused("claim-unknown", lambda: accept(forge(ASKER, claims_json(**{name: 1}))))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("iss", str(SERVICE)),
        ("iss", 1),
        ("iss", [str(CONSUMER)]),
        ("iss", str(CONSUMER).replace("kotoutuminen", "%6Botoutuminen")),
        ("iss", str(CONSUMER) + "/.."),
        ("aud", str(CONSUMER)),
        ("aud", [str(SERVICE)]),
        ("aud", str(SERVICE).lower() + "%2f"),
        ("jti", "0195570a-5c00-4000-8000-000000000001"),
        ("jti", "0195570A-5C00-7000-8000-000000000001"),
        ("jti", ""),
        ("iat", "1772452800"),
        ("iat", True),
        ("iat", None),
        ("iat", 253_402_300_800),
        ("exp", []),
        ("mth", "post"),
        ("mth", "GET /"),
        ("mth", ""),
        ("tgt", "v1"),
        ("tgt", "/a b"),
        ("tgt", "/ä"),
        ("tgt", "/" + "a" * 4096),
        ("cty", "text/\u00e4"),
        ("cty", None),
        ("cty", "a" * 256),
        ("dig", body_digest(BODY).replace("sha-256", "md5")),
        ("dig", body_digest(BODY)[:-2]),
        ("dig", [body_digest(BODY)]),
        ("pur", "Service-Need"),
        ("pur", "a/b/c"),
        ("pur", ""),
        ("cat", "identity"),
        ("cat", ["identity", "identity"]),
        ("cat", ["identity", 1]),
        ("cat", ["Identity"]),
        ("cat", [f"c{number}" for number in range(129)]),
        ("cat", {"identity": 1}),
        ("rul", ""),
        ("rul", "a b"),
        ("rul", "a" * 129),
        ("cas", ""),
        ("cas", "a" * 129),
        ("cas", None),
        ("cas", "\u0085"),
        ("usr", "Matti Meik\u00e4l\u00e4inen"),
        ("usr", None),
        ("log", None),
        ("log", []),
        ("log", {}),
        ("log", {"origin": "a", "size": 1}),
        ("log", {"origin": "a", "size": 1, "root": "AA=="}),
        ("log", {"origin": "a b", "size": 1, "root": "A" * 43 + "="}),
        ("log", {"origin": "a+b", "size": 1, "root": "A" * 43 + "="}),
        ("log", {"origin": "a", "size": True, "root": "A" * 43 + "="}),
        ("log", {"origin": "a", "size": 1, "root": "A" * 42 + "B="}),
        ("log", {"origin": "a", "size": 1, "root": "_" * 43 + "="}),
        ("log", {"origin": "a", "size": 1, "root": "A" * 43 + "=", "more": 1}),
    ],
)
def test_a_claim_that_is_not_exactly_of_its_form_is_refused_and_named(name: str, value: object) -> None:
    problem = refused("claim-invalid", lambda: accept(forge(ASKER, claims_json(**{name: value}))))
    assert problem.pointer is not None
    assert problem.pointer.split("/")[1] == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sts", 99),
        ("sts", 600),
        ("sts", "200"),
        ("req", "sha-256=:AA=:"),
        ("dec", None),
        ("dec", {"id": "1", "dig": body_digest(b""), "per": []}),
        ("dec", {"id": "1", "dig": body_digest(b""), "per": [], "wit": []}),
        ("dec", {"id": "1", "dig": body_digest(b""), "per": [], "wit": {"identity": 1}}),
        ("dec", {"id": "1", "dig": body_digest(b""), "per": [], "wit": {"Identity": "a"}}),
        ("dec", {"id": "1", "dig": body_digest(b""), "per": ["a", "a"], "wit": {}}),
        ("dec", {"id": "1", "dig": "", "per": [], "wit": {}}),
        ("dec", {"id": "", "dig": body_digest(b""), "per": [], "wit": {}}),
    ],
)
def test_a_claim_of_an_answer_that_is_not_of_its_form_is_refused(name: str, value: object) -> None:
    request = sign_request(request_claims(), ASKER.signer)
    claims = json.loads(response_claims(request).to_json()) | {name: value}
    jws = forge(PROVIDER, claims, header(PROVIDER, typ=RESPONSE_TYPE))
    problem = refused("claim-invalid", lambda: accept_answer(jws, request))
    assert problem.pointer is not None
    assert problem.pointer.split("/")[1] == name


# --- Who, when, what --------------------------------------------------------------------------------------------------


def test_a_member_for_whom_the_node_at_the_other_end_may_not_speak_is_refused() -> None:
    jws = sign_request(request_claims(), ASKER.signer)
    refused("issuer-not-peer", lambda: accept(jws, tls_members=frozenset({SERVICE.member})))
    refused("issuer-not-peer", lambda: accept(jws, tls_members=frozenset()))


def test_a_message_for_a_service_that_is_not_ours_is_refused() -> None:
    jws = sign_request(request_claims(), ASKER.signer)
    refused("audience-mismatch", lambda: accept(jws, audience=lambda _service: False))


@pytest.mark.parametrize(
    ("issued", "lifetime", "code"),
    [
        (CLOCK_TOLERANCE, 60, None),
        (CLOCK_TOLERANCE + SECOND, 60, "message-from-future"),
        (-SECOND * 64, 60, None),
        (-SECOND * 65, 60, "message-expired"),
        (-SECOND * 6, 1, "message-expired"),
        (timedelta(0), 61, "message-lifetime-refused"),
        (timedelta(0), 0, "message-lifetime-refused"),
        (timedelta(0), -1, "message-lifetime-refused"),
        (timedelta(days=-400), 400 * 86_400, "message-lifetime-refused"),
    ],
)
def test_a_message_counts_for_a_minute_and_five_seconds_of_clock(
    issued: timedelta, lifetime: int, code: str | None
) -> None:
    claims = request_claims(issued_at=NOW + issued, expires_at=NOW + issued + timedelta(seconds=lifetime))
    jws = sign_request(claims, ASKER.signer)
    if code is None:
        assert accept(jws) == claims
    else:
        refused(code, lambda: accept(jws))


@pytest.mark.parametrize(
    ("issued", "code"),
    [
        (CLOCK_TOLERANCE, None),
        (CLOCK_TOLERANCE + SECOND, "message-from-future"),
        (-LIFETIME_LIMIT - CLOCK_TOLERANCE + SECOND, None),
        (-LIFETIME_LIMIT - CLOCK_TOLERANCE, "message-expired"),
    ],
)
def test_an_answer_counts_as_long_as_a_request(issued: timedelta, code: str | None) -> None:
    request = sign_request(request_claims(), ASKER.signer)
    claims = response_claims(request, issued_at=NOW + issued)
    jws = sign_response(claims, PROVIDER.signer)
    if code is None:
        assert accept_answer(jws, request) == claims
    else:
        refused(code, lambda: accept_answer(jws, request))


def test_a_message_from_the_last_second_of_the_calendar_is_refused_like_any_other() -> None:
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    request = sign_request(request_claims(issued_at=last - 60 * SECOND, expires_at=last), ASKER.signer)
    refused("message-from-future", lambda: accept(request))
    answer = sign_response(response_claims(request, issued_at=last), PROVIDER.signer)
    refused("message-from-future", lambda: accept_answer(answer, request))


def test_a_body_that_is_not_the_signed_one_is_refused() -> None:
    jws = sign_request(request_claims(), ASKER.signer)
    for body in (b"", BODY + b"\n", BODY[:-1], BODY.replace(b"world", b"WORLD")):
        refused("digest-mismatch", lambda body=body: accept(jws, body))  # type: ignore[misc]


def test_a_replay_can_be_refused_before_its_body_is_looked_at() -> None:
    jws = sign_request(request_claims(), ASKER.signer)
    claims = open_request(
        jws,
        Verifier(KEYS.get, NOW),
        audience=lambda service: service == SERVICE,
        tls_members=frozenset({CONSUMER.member}),
    )
    assert claims.message_id == request_claims().message_id
    refused("digest-mismatch", lambda: check_body(claims, b"other"))


def test_a_changed_content_type_breaks_the_signature_and_the_signed_one_is_handed_on() -> None:
    first, _, third = sign_request(request_claims(), ASKER.signer).split(".")
    html = b64url(request_claims(content_type="text/html").to_json())
    refused("signature-invalid", lambda: accept(f"{first}.{html}.{third}"))
    assert accept(sign_request(request_claims(content_type="text/html"), ASKER.signer)).content_type == "text/html"


# --- Answers ----------------------------------------------------------------------------------------------------------


def test_the_answer_to_another_request_is_refused() -> None:
    ours = sign_request(request_claims(), ASKER.signer)
    another = sign_request(request_claims(message_id="0195570a-5c00-7000-8000-000000000002"), ASKER.signer)
    answer = sign_response(response_claims(another), PROVIDER.signer)
    assert accept_answer(answer, another).request == request_digest(another)
    refused("response-to-another", lambda: accept_answer(answer, ours))


def test_an_answer_to_the_same_claims_signed_again_is_refused() -> None:
    once, again = (sign_request(request_claims(), ASKER.signer) for _ in range(2))
    assert once != again  # ECDSA signatures are never twice the same.
    refused(
        "response-to-another",
        lambda: accept_answer(sign_response(response_claims(once), PROVIDER.signer), again),
    )


def test_an_answer_from_another_service_or_for_another_asker_is_refused() -> None:
    request = sign_request(request_claims(), ASKER.signer)
    neighbour = ServiceId(SERVICE.subsystem, "muu")
    other = sign_response(response_claims(request, issuer=neighbour), PROVIDER.signer)
    refused("issuer-mismatch", lambda: accept_answer(other, request))
    other = sign_response(response_claims(request, audience=SubsystemId(CONSUMER.member, "muu")), PROVIDER.signer)
    refused("audience-mismatch", lambda: accept_answer(other, request))


def test_an_answer_signed_by_the_asker_is_refused() -> None:
    request = sign_request(request_claims(), ASKER.signer)
    refused(
        "certificate-of-another",
        lambda: accept_answer(sign_response(response_claims(request), ASKER.signer), request),
    )


def test_the_body_of_an_answer_is_held_against_its_digest() -> None:
    request = sign_request(request_claims(), ASKER.signer)
    answer = sign_response(response_claims(request), PROVIDER.signer)
    refused("digest-mismatch", lambda: accept_answer(answer, request, b"other"))


# --- The text ---------------------------------------------------------------------------------------------------------


def test_a_message_beyond_the_limit_is_refused_unread() -> None:
    refused("message-too-large", lambda: accept("x" * (MESSAGE_LIMIT + 1)))
    jws = sign_request(request_claims(), ASKER.signer)
    refused("message-too-large", lambda: accept(jws, limit=len(jws) - 1))
    assert accept(jws, limit=len(jws)) == request_claims()


def test_an_oversized_header_is_refused() -> None:
    head = json.dumps(header(ASKER) | {"kid": "k" * 500}).encode()
    refused("message-too-large", lambda: accept(forge(ASKER, claims_json(), head)))


@pytest.mark.parametrize("text", ["", ".", "..", "a.b", "a.b.c.d", "a..c", ".b.c", "a.b."])
def test_what_is_not_in_three_parts_is_refused(text: str) -> None:
    refused("message-not-compact", lambda: accept(text))


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("spoil", ["=", "==", " ", "\n", "+", "/", "\u00e4", "\u0661", "*", "AAA"])
def test_a_segment_in_any_but_its_one_spelling_is_refused(place: int, spoil: str) -> None:
    # Every segment here ends in two characters over; three more leave a lone one, which means nothing.
    parts = [b64url(b"{}  "), b64url(b"{}  "), b64url(bytes(64))]
    assert all(len(part) % 4 == 2 for part in parts)
    parts[0] = sign_request(request_claims(), ASKER.signer).split(".")[0] if place else parts[0]
    parts[place] += spoil
    refused("message-not-base64url", lambda: accept(".".join(parts)))


def test_bits_left_over_in_the_last_character_are_refused() -> None:
    signed, _, last = sign_request(request_claims(), ED_ASKER.signer).rpartition(".")
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    twin = last[:-1] + alphabet[alphabet.index(last[-1]) + 1]
    refused("message-not-base64url", lambda: accept(f"{signed}.{twin}"))


GOOD = request_claims().to_json()


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        (GOOD[:-1] + b',"iss":"' + str(CONSUMER).encode() + b'"}', "message-member-repeated"),
        (GOOD[:-1] + b',"\\u0069ss":"x"}', "message-member-repeated"),
        (GOOD.replace(b'"size":7', b'"size":7,"size":8'), "message-member-repeated"),
        (GOOD.replace(b'"size":7', b'"size":7.0'), "message-number-refused"),
        (GOOD.replace(b'"size":7', b'"size":7e0'), "message-number-refused"),
        (GOOD.replace(b'"size":7', b'"size":-0'), "message-number-refused"),
        (GOOD.replace(b'"size":7', b'"size":-7'), "message-number-refused"),
        (GOOD.replace(b'"size":7', b'"size":NaN'), "message-number-refused"),
        (GOOD.replace(b'"size":7', b'"size":Infinity'), "message-number-refused"),
        (GOOD.replace(b'"size":7', b'"size":9007199254740993'), "message-number-refused"),
        (GOOD.replace(b'"size":7', b'"size":' + b"9" * 9000), "message-number-refused"),
        (GOOD.replace(b'"size":7', b'"size":07'), "message-not-json"),
        (GOOD.replace(b"asia 12", b"asia\\u0000 12"), "message-text-refused"),
        (GOOD.replace(b"asia 12", b"asia\\n12"), "message-text-refused"),
        (GOOD.replace(b"asia 12", b"asia\\ud800 12"), "message-text-refused"),
        (GOOD.replace(b"asia 12", b"asia\x7f 12"), "message-text-refused"),
        (GOOD.replace(b"asia 12", b"asia\n12"), "message-not-json"),
        (GOOD.replace(b"asia 12", b"asia\xff 12"), "message-not-utf8"),
        (GOOD.replace(b"asia 12", b"asia\xed\xa0\x80 12"), "message-not-utf8"),
        (GOOD.replace(b"asia 12", b"asia\xc0\xaf 12"), "message-not-utf8"),
        (GOOD.decode().encode("utf-16"), "message-not-utf8"),
        (b"\xef\xbb\xbf" + GOOD, "message-not-json"),
        (GOOD + b"{}", "message-not-json"),
        (GOOD[:-1], "message-not-json"),
        (GOOD[:-1] + b",}", "message-not-json"),
        (GOOD.replace(b'"', b"'"), "message-not-json"),
        (b"[]", "message-not-json"),
        (b"null", "message-not-json"),
        (b'"text"', "message-not-json"),
        (b"[" * 10_000, "message-too-deep"),
        (b'{"a":' * 5 + b"1" + b"}" * 5, "message-too-deep"),
    ],
)
def test_json_that_two_parsers_could_read_differently_is_refused(claims: bytes, code: str) -> None:
    refused(code, lambda: accept(forge(ASKER, claims)))


def test_a_repeated_header_member_is_refused() -> None:
    head = json.dumps(header(ASKER)).encode()
    refused(
        "message-member-repeated",
        lambda: accept(forge(ASKER, claims_json(), head[:-1] + b', "alg": "none"}')),
    )


@given(st.text(max_size=200) | st.lists(st.binary(max_size=80).map(b64url), min_size=3, max_size=3).map(".".join))
def test_no_text_makes_verification_fail_in_any_other_way(text: str) -> None:
    with pytest.raises(ProblemError):
        accept(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 10**15 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(name=st.sampled_from(sorted(claims_json())), value=json_values)
@examples(150)
def test_no_signed_claim_makes_verification_fail_in_any_other_way(name: str, value: object) -> None:
    try:
        accepted = accept(forge(ASKER, json.dumps(claims_json(**{name: value}), ensure_ascii=True).encode()))
    except ProblemError:
        return
    assert name in {"cas", "usr", "cty", "cat", "mth", "rul", "pur"}
    assert json.loads(accepted.to_json())[name] == (sorted(value) if isinstance(value, list) else value)


# --- The order --------------------------------------------------------------------------------------------------------


def test_verification_stops_at_the_first_failure_in_its_order() -> None:
    """A message that is wrong in every way is mended from the front: each mending uncovers the next refusal."""
    elsewhere = frozenset({SERVICE.member})
    late = NOW + timedelta(hours=1)
    claims = claims_json(aud=str(SERVICE) + "2", nbf=1)
    wrong: dict[str, Any] = {"tls_members": elsewhere, "now": late}

    def bad_signature(jws: str) -> str:
        return jws.rpartition(".")[0] + "." + b64url(b"\x01" * 64)

    refused("message-too-large", lambda: accept("=" * 20_000, b"", **wrong))
    twice = json.dumps(claims).encode()[:-1] + b',"nbf":2}'
    extra = header(STRANGER, kid="1", alg="none", typ="JWT")
    refused("message-member-repeated", lambda: accept(bad_signature(forge(STRANGER, twice, extra)), b"", **wrong))
    refused("header-member-refused", lambda: accept(bad_signature(forge(STRANGER, claims, extra)), b"", **wrong))
    head = header(STRANGER, alg="none", typ="JWT")
    refused("algorithm-refused", lambda: accept(bad_signature(forge(STRANGER, claims, head)), b"", **wrong))
    head = header(STRANGER, typ="JWT")
    refused("certificate-unknown", lambda: accept(bad_signature(forge(STRANGER, claims, head)), b"", **wrong))
    head = header(ASKER, typ="JWT")
    refused("signature-invalid", lambda: accept(bad_signature(forge(ASKER, claims, head)), b"", **wrong))
    refused("message-type-mismatch", lambda: accept(forge(ASKER, claims, head), b"", **wrong))
    refused("claim-unknown", lambda: accept(forge(ASKER, claims), b"", **wrong))
    claims = claims_json(aud=str(SERVICE) + "2")
    refused("issuer-not-peer", lambda: accept(forge(ASKER, claims), b"", **wrong))
    refused("audience-mismatch", lambda: accept(forge(ASKER, claims), b"", now=late))
    refused("message-expired", lambda: accept(forge(ASKER, claims_json()), b"", now=late))
    refused("digest-mismatch", lambda: accept(forge(ASKER, claims_json()), b""))
    assert accept(forge(ASKER, claims_json())) == request_claims()
