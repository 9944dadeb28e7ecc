"""Write the published test vectors of the protocol: `python tests/vectors/protocol/generate.py`.

Everything is derived from names and a fixed instant: keys from hashes of their names, certificates by an Ed25519
anchor, Ed25519 signatures by RFC 8032, ECDSA signatures by RFC 6979. So the files come out the same each time, and a
change of theirs is a change of the protocol. None of the keys is used anywhere else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.keys.certificates import Issuer, PrivateKey, Term, issue_authority, issue_signing
from gateway.wire.decided import body_digest
from gateway.wire.identifiers import MemberId
from gateway.wire.problem_table import PROBLEMS
from gateway.wire.signing import REQUEST_TYPE, RESPONSE_TYPE, request_digest, thumbprint
from gateway.wire.strict import b64url

FOLDER = Path(__file__).parent
NOW = datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC)
T = int(NOW.timestamp())
CONSUMER = "FI-DEMO/MUN/0000001-9/kotoutuminen"
SERVICE = "FI-DEMO/GOV/0000000-0/vastaanotto/palvelutarve"
UNICODE = "FI-DEMO/MUN/0000001-9/j%C3%A4rjestelm%C3%A4%20%C3%A5"
CONSUMER_MEMBER, PROVIDER_MEMBER, STRANGER_MEMBER = (
    "FI-DEMO/MUN/0000001-9", "FI-DEMO/GOV/0000000-0", "FI-DEMO/GOV/9999999-2",
)  # fmt: skip
BODY = b'{"subject":{"system":"urn:oid:1.2.246.21","value":"010190-900P"}}'
ANSWER = b'{"resourceType":"Bundle","type":"collection","entry":[]}'
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Key:
    """A member's signing key of the vectors."""

    name: str
    member: str
    algorithm: str
    private: PrivateKey
    certificate: bytes
    begins: datetime
    ends: datetime

    def sign(self, data: bytes) -> bytes:
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(data)
        signed = self.private.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        r, s = decode_dss_signature(signed)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def der(self, data: bytes) -> bytes:
        assert isinstance(self.private, ec.EllipticCurvePrivateKey)
        return self.private.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))

    @property
    def thumbprint(self) -> str:
        return thumbprint(self.certificate)

    def public(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def jwk(self) -> dict[str, str]:
        """The private key as a JWK (RFC 7518, RFC 8037)."""
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            x, d = self.private.public_key().public_bytes_raw(), self.private.private_bytes_raw()
            return {"kty": "OKP", "crv": "Ed25519", "x": b64url(x), "d": b64url(d)}
        numbers = self.private.private_numbers()
        names = {"x": numbers.public_numbers.x, "y": numbers.public_numbers.y, "d": numbers.private_value}
        return {
            "kty": "EC", "crv": "P-256", **{name: b64url(value.to_bytes(32, "big")) for name, value in names.items()},
        }  # fmt: skip


def _seed(name: str) -> bytes:
    return hashlib.sha256(f"yhdyspinta test vectors: {name}".encode()).digest()


def _private(name: str, algorithm: str) -> PrivateKey:
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.from_private_bytes(_seed(name))
    return ec.derive_private_key(int.from_bytes(_seed(name), "big") % (ORDER - 1) + 1, ec.SECP256R1())


ANCHOR_KEY = _private("anchor", "EdDSA")
ANCHOR = issue_authority(ANCHOR_KEY, "Test vectors", not_before=NOW - 30 * DAY, not_after=NOW + 3650 * DAY, serial=1)


def _key(name: str, member: str, algorithm: str, begins: datetime, ends: datetime) -> Key:
    private = _private(name, algorithm)
    serial = int.from_bytes(_seed(f"serial {name}")[:15], "big")
    certificate = issue_signing(
        Issuer(ANCHOR, ANCHOR_KEY), private.public_key(), MemberId.parse(member), Term(begins, ends, serial),
    )  # fmt: skip
    return Key(name, member, algorithm, private, certificate, begins, ends)


ASKER = _key("consumer-es256", CONSUMER_MEMBER, "ES256", NOW - DAY, NOW + 365 * DAY)
ED_ASKER = _key("consumer-eddsa", CONSUMER_MEMBER, "EdDSA", NOW - DAY, NOW + 365 * DAY)
PROVIDER = _key("provider-es256", PROVIDER_MEMBER, "ES256", NOW - DAY, NOW + 365 * DAY)
ED_PROVIDER = _key("provider-eddsa", PROVIDER_MEMBER, "EdDSA", NOW - DAY, NOW + 365 * DAY)
EXPIRED = _key("consumer-expired", CONSUMER_MEMBER, "ES256", NOW - 20 * DAY, NOW - DAY)
FUTURE = _key("consumer-future", CONSUMER_MEMBER, "EdDSA", NOW + DAY, NOW + 365 * DAY)
UNLISTED = _key("unlisted", CONSUMER_MEMBER, "ES256", NOW - DAY, NOW + 365 * DAY)
STRANGER = _key("stranger-es256", STRANGER_MEMBER, "ES256", NOW - DAY, NOW + 365 * DAY)
LISTED = (ASKER, ED_ASKER, PROVIDER, ED_PROVIDER, EXPIRED, FUTURE, STRANGER)


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a good request; a change to `...` leaves the claim out."""
    values: dict[str, Any] = {
        "iss": CONSUMER, "aud": SERVICE, "jti": "0195570a-5c00-7000-8000-000000000001", "iat": T, "exp": T + 60,
        "mth": "POST", "tgt": "/", "cty": "application/json", "dig": body_digest(BODY), "pur": "service-need-lookup",
        "cat": ["contact/address", "identity"], "rul": "sha256-0123456789abcdef",
        "log": {"origin": "yhdyspinta/kotka-1", "size": 7, "root": base64.b64encode(bytes(range(32))).decode()},
        "cas": "asia 12/2026", "usr": "4f1c0d",
    }  # fmt: skip
    return {name: value for name, value in (values | changes).items() if value is not ...}


def answer(request: str, **changes: Any) -> dict[str, Any]:
    """The claims of a good response."""
    values: dict[str, Any] = {
        "iss": SERVICE, "aud": CONSUMER, "iat": T + 1, "req": request_digest(request), "sts": 200,
        "cty": "application/fhir+json", "dig": body_digest(ANSWER),
        "log": {"origin": "yhdyspinta/vastaanotto-1", "size": 0, "root": base64.b64encode(bytes(32)).decode()},
        "dec": {
            "id": "d-0195570a", "dig": body_digest(b"decision"), "per": ["identity"],
            "wit": {"contact/address": "consent-missing"},
        },
    }  # fmt: skip
    return {name: value for name, value in (values | changes).items() if value is not ...}


def text(value: bytes | Mapping[str, Any]) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def header(key: Key, kind: str = REQUEST_TYPE, **changes: Any) -> dict[str, Any]:
    values = {"alg": key.algorithm, "typ": kind, "x5t#S256": key.thumbprint} | changes
    return {name: value for name, value in values.items() if value is not ...}


def signed(key: Key, body: bytes | Mapping[str, Any], head: bytes | Mapping[str, Any] | None = None) -> str:
    first, second = b64url(text(header(key) if head is None else head)), b64url(text(body))
    return f"{first}.{second}.{b64url(key.sign(f'{first}.{second}'.encode()))}"


def with_signature(key: Key, signature: bytes) -> str:
    return f"{signed(key, claims()).rpartition('.')[0]}.{b64url(signature)}"


def raw(change: str, at: str) -> bytes:
    """The text of good claims with `at` written otherwise: what no JSON library would print."""
    found = text(claims()).decode()
    assert at in found
    return found.replace(at, change, 1).encode()


GOOD = signed(ASKER, claims())


def _mac() -> str:
    first = b64url(text(header(ASKER, alg="HS256")))
    data = f"{first}.{b64url(text(claims()))}"
    return f"{data}.{b64url(hmac.digest(ASKER.public(), data.encode(), 'sha256'))}"


def _none() -> str:
    return f"{b64url(text(header(ASKER, alg='none')))}.{b64url(text(claims()))}."


def _other_spelling(jws: str) -> str:
    """The same bytes of the signature, with bits left over in the last character."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return jws[:-1] + letters[letters.index(jws[-1]) + 1]


def _deep() -> bytes:
    return raw('"log":' + "[" * 5 + "]" * 5, '"log":' + text(claims()["log"]).decode())


def request_cases() -> list[dict[str, Any]]:
    """Requests: each with what a receiver does with it."""
    no_dec = signed(ASKER, claims(cas=..., usr=...))
    good = [
        case("ES256", GOOD),
        case("EdDSA", signed(ED_ASKER, claims())),
        case("without case and user", no_dec),
        case("an issuer whose code is not ASCII", signed(ASKER, claims(iss=UNICODE))),
        case("an empty body", signed(ASKER, claims(dig=body_digest(b""))), body=b""),
        case("issued five seconds ahead of our clock", signed(ASKER, claims(iat=T + 5, exp=T + 65))),
        case("four seconds past exp", signed(ASKER, claims(iat=T - 64, exp=T - 4))),
        case("other order of members and blanks in JSON", signed(
            ASKER, json.dumps(dict(reversed(claims().items())), indent=1, ensure_ascii=False).encode())),
        case("a header in another order", signed(ASKER, claims(), dict(reversed(header(ASKER).items())))),
    ]  # fmt: skip
    size = [
        case("more than 16384 characters", GOOD + "A" * (16385 - len(GOOD)), "message-too-large"),
        case("a header of more than 512 characters", signed(ASKER, claims(), header(ASKER, typ="x" * 500)),
             "message-too-large"),
        case("1 MB", "A" * (1 << 20), "message-too-large", stored=False),
    ]  # fmt: skip
    parse = [
        case("two segments", GOOD.rpartition(".")[0], "message-not-compact"),
        case("four segments", f"{GOOD}.AAAA", "message-not-compact"),
        case("truncated to nothing", "", "message-not-compact"),
        case("padding", GOOD + "=", "message-not-base64url"),
        case("alphabet of plain base64", GOOD[:-86] + GOOD[-86:].replace("-", "+").replace("_", "/") + "",
             "message-not-base64url"),
        case("a blank in the signature", GOOD[:-4] + " " + GOOD[-3:], "message-not-base64url"),
        case("bits left over", _other_spelling(GOOD), "message-not-base64url"),
        case("not UTF-8", signed(ASKER, b'{"iss":"\xff\xfe"}'), "message-not-utf8"),
        case("an unpaired surrogate in UTF-8", signed(ASKER, b'{"iss":"\xed\xa0\x80"}'), "message-not-utf8"),
        case("a byte order mark", signed(ASKER, b"\xef\xbb\xbf" + text(claims())), "message-not-json"),
        case("not JSON", signed(ASKER, b"{'iss':1}"), "message-not-json"),
        case("an array", signed(ASKER, b"[]"), "message-not-json"),
        case("text after the object", signed(ASKER, text(claims()) + b" x"), "message-not-json"),
        case("a claim twice", signed(ASKER, raw(f'"iss":"{CONSUMER}","iss":', '"iss":')), "message-member-repeated"),
        case("a claim twice, once by an escape", signed(ASKER, raw('"\\u0069ss":"x","iss":', '"iss":')),
             "message-member-repeated"),
        case("a header member twice", signed(ASKER, claims(), b'{"alg":"none",' + text(header(ASKER))[1:]),
             "message-member-repeated"),
        case("deep nesting", signed(ASKER, _deep()), "message-too-deep"),
        case("1e400", signed(ASKER, raw('"iat":1e400', f'"iat":{T}')), "message-number-refused"),
        case("a fraction", signed(ASKER, raw(f'"iat":{T}.0', f'"iat":{T}')), "message-number-refused"),
        case("NaN", signed(ASKER, raw('"iat":NaN', f'"iat":{T}')), "message-number-refused"),
        case("a negative number", signed(ASKER, raw('"iat":-1', f'"iat":{T}')), "message-number-refused"),
        case("NUL in a text", signed(ASKER, raw('"cas":"a\\u0000b"', '"cas":"asia 12/2026"')), "message-text-refused"),
        case("an unpaired surrogate by an escape", signed(ASKER, raw('"cas":"\\ud800"', '"cas":"asia 12/2026"')),
             "message-text-refused"),
    ]  # fmt: skip
    head = [
        case("alg none with an empty signature", _none(), "message-not-compact"),
        case("alg none", signed(ASKER, claims(), header(ASKER, alg="none")), "algorithm-refused"),
        case("HS256 keyed with the public key", _mac(), "algorithm-refused"),
        case("RS256", signed(ASKER, claims(), header(ASKER, alg="RS256")), "algorithm-refused"),
        case("ES384", signed(ASKER, claims(), header(ASKER, alg="ES384")), "algorithm-refused"),
        case("alg in small letters", signed(ASKER, claims(), header(ASKER, alg="es256")), "algorithm-refused"),
        case("the other algorithm than the registry fixes", signed(ASKER, claims(), header(ASKER, alg="EdDSA")),
             "algorithm-mismatch"),
        case("crit", signed(ASKER, claims(), header(ASKER, crit=["exp"])), "header-member-refused"),
        case("b64 false", signed(ASKER, claims(), header(ASKER, b64=False, crit=["b64"])), "header-member-refused"),
        case("an embedded jwk", signed(STRANGER, claims(), header(STRANGER, jwk=_public(STRANGER))),
             "header-member-refused"),
        case("jku", signed(ASKER, claims(), header(ASKER, jku="https://example.org/k")), "header-member-refused"),
        case("x5u", signed(ASKER, claims(), header(ASKER, x5u="https://example.org/c")), "header-member-refused"),
        case("x5c", signed(ASKER, claims(), header(ASKER, x5c=["AA"])), "header-member-refused"),
        case("kid", signed(ASKER, claims(), header(ASKER, kid="1")), "header-member-refused"),
        case("no typ", signed(ASKER, claims(), header(ASKER, typ=...)), "header-member-missing"),
        case("no thumbprint", signed(ASKER, claims(), header(ASKER, **{"x5t#S256": ...})), "header-member-missing"),
        case("a short thumbprint", signed(ASKER, claims(), header(ASKER, **{"x5t#S256": "abc"})),
             "header-member-invalid"),
    ]  # fmt: skip
    certificate = [
        case("a certificate that the registry does not list", signed(UNLISTED, claims()), "certificate-unknown"),
        case("a certificate of the past", signed(EXPIRED, claims()), "certificate-expired"),
        case("a certificate of the future", signed(FUTURE, claims()), "certificate-not-yet-valid"),
        case("the certificate of another member", signed(STRANGER, claims()), "certificate-of-another"),
    ]
    half = bytes(31) + b"\x01"
    signature = [
        case("truncated", GOOD[:-10], "signature-malformed"),
        case("another key's signature", with_signature(ASKER, STRANGER.sign(b"x")), "signature-invalid"),
        case("claims that were not signed", ".".join((GOOD.split(".")[0], b64url(text(claims(pur="placement"))),
             GOOD.split(".")[2])), "signature-invalid"),
        case("ECDSA in DER", with_signature(ASKER, ASKER.der(GOOD.rpartition(".")[0].encode())),
             "signature-malformed"),
        case("r and s zero", with_signature(ASKER, bytes(64)), "signature-malformed"),
        case("r zero", with_signature(ASKER, bytes(32) + half), "signature-malformed"),
        case("s zero", with_signature(ASKER, half + bytes(32)), "signature-malformed"),
        case("r is the order", with_signature(ASKER, ORDER.to_bytes(32, "big") + half), "signature-malformed"),
        case("s is the order", with_signature(ASKER, half + ORDER.to_bytes(32, "big")), "signature-malformed"),
        case("Ed25519 of other bytes", with_signature(ED_ASKER, ED_ASKER.sign(b"x")), "signature-invalid"),
    ]  # fmt: skip
    kind = [
        case("a response used as a request", signed(ASKER, claims(), header(ASKER, RESPONSE_TYPE)),
             "message-type-mismatch"),
        case("typ JWT", signed(ASKER, claims(), header(ASKER, "JWT")), "message-type-mismatch"),
    ]  # fmt: skip
    form = [
        *(case(f"no {name}", signed(ASKER, claims(**{name: ...})), "claim-missing")
          for name in ("aud", "jti", "iat", "exp", "mth", "tgt", "cty", "dig", "pur", "cat", "rul", "log")),
        case("an unknown claim", signed(ASKER, claims(nbf=T)), "claim-unknown"),
        *(case(f"{what}", signed(ASKER, claims(**{name: value})), "claim-invalid")
          for what, name, value in _FORMS),
    ]  # fmt: skip
    peer = [
        case("the TLS peer may not speak for iss", GOOD, "issuer-not-peer", peer_members=[STRANGER_MEMBER]),
        case("another member's service", signed(ASKER, claims(aud="FI-DEMO/GOV/9999999-2/x/palvelutarve")),
             "audience-mismatch"),
    ]  # fmt: skip
    times = [
        case("issued six seconds ahead", signed(ASKER, claims(iat=T + 6, exp=T + 66)), "message-from-future"),
        case("past exp and tolerance", signed(ASKER, claims(iat=T - 65, exp=T - 5)), "message-expired"),
        case("a lifetime of 61 seconds", signed(ASKER, claims(exp=T + 61)), "message-lifetime-refused"),
        case("exp at iat", signed(ASKER, claims(exp=T)), "message-lifetime-refused"),
        case("exp before iat", signed(ASKER, claims(exp=T - 1)), "message-lifetime-refused"),
    ]  # fmt: skip
    body = [
        case("another body", GOOD, "digest-mismatch", body=ANSWER),
        case("a body with one more byte", GOOD, "digest-mismatch", body=BODY + b"\n"),
        case("no body", GOOD, "digest-mismatch", body=b""),
    ]
    return _stepped(
        ("good", good), ("size", size), ("parse", parse), ("header", head), ("certificate", certificate),
        ("signature", signature), ("type", kind), ("claims", form), ("peer", peer), ("times", times), ("body", body),
    )  # fmt: skip


_FORMS: tuple[tuple[str, str, Any], ...] = (
    ("iss is a member, not a subsystem", "iss", CONSUMER_MEMBER),
    ("iss climbs", "iss", "FI-DEMO/MUN/0000001-9/.."),
    ("iss in another spelling", "iss", "FI-DEMO/MUN/0000001-9/%6Botoutuminen"),
    ("aud is no service", "aud", CONSUMER),
    ("jti of version 4", "jti", "0195570a-5c00-4000-8000-000000000001"),
    ("jti in capitals", "jti", "0195570A-5C00-7000-8000-000000000001"),
    ("iat as a text", "iat", str(T)),
    ("iat true", "iat", True),
    ("exp after the end of time", "exp", 999999999999999),
    ("mth in small letters", "mth", "post"),
    ("tgt without a slash", "tgt", "v1"),
    ("tgt with a line feed by an escape", "tgt", "/a b"),
    ("dig of another algorithm", "dig", "sha-512=:AAAA:"),
    ("pur is no code", "pur", "Service Need"),
    ("cat is a text", "cat", "identity"),
    ("cat with a category twice", "cat", ["identity", "identity"]),
    ("log without root", "log", {"origin": "a", "size": 1}),
    ("log with a short root", "log", {"origin": "a", "size": 1, "root": "AAAA"}),
    ("cas null", "cas", None),
    ("usr empty", "usr", ""),
)


def response_cases() -> list[dict[str, Any]]:
    """Responses to one request: each with what the asker does with it."""
    kind = RESPONSE_TYPE

    def said(key: Key = PROVIDER, head: Mapping[str, Any] | None = None, **changes: Any) -> str:
        return signed(key, answer(GOOD, **changes), header(key, kind) if head is None else head)

    good = [
        reply("ES256", said()),
        reply("EdDSA", said(ED_PROVIDER)),
        reply("without a decision", said(dec=...)),
        reply("a refusal", said(sts=403, cty="application/problem+json", dec={
            "id": "d-1", "dig": body_digest(b"decision"), "per": [], "wit": {"identity": "not-permitted"}})),
        reply("64 seconds old", said(iat=T - 64)),
    ]  # fmt: skip
    bad = [
        reply("a request used as a response", said(head=header(PROVIDER, REQUEST_TYPE)), "message-type-mismatch"),
        reply("our own request as the response", GOOD, "message-type-mismatch"),
        reply("signed by the asker", signed(ASKER, answer(GOOD), header(ASKER, kind)), "certificate-of-another"),
        reply("signed by a stranger", signed(STRANGER, answer(GOOD), header(STRANGER, kind)), "certificate-of-another"),
        reply("from another service of the member", said(iss=SERVICE.replace("palvelutarve", "muu")),
              "issuer-mismatch"),
        reply("for another subsystem", said(aud="FI-DEMO/MUN/0000001-9/muu"), "audience-mismatch"),
        reply("to another request", said(req=request_digest("other")), "response-to-another"),
        reply("to the same claims signed by another key",
              said(req=request_digest(signed(ED_ASKER, claims()))), "response-to-another"),
        reply("of the future", said(iat=T + 6), "message-from-future"),
        reply("of the past", said(iat=T - 65), "message-expired"),
        reply("status 99", said(sts=99), "claim-invalid"),
        reply("no req", said(req=...), "claim-missing"),
        reply("a claim of requests", said(jti="0195570a-5c00-7000-8000-000000000001"), "claim-unknown"),
        reply("a decision without its digest", said(dec={"id": "d-1", "per": [], "wit": {}}), "claim-invalid"),
        reply("another body", said(), "digest-mismatch", body=BODY),
        reply("crit", said(head=header(PROVIDER, kind, crit=["iat"])), "header-member-refused"),
        reply("alg none", said(head=header(PROVIDER, kind, alg="none")), "algorithm-refused"),
    ]  # fmt: skip
    return _stepped(("good", good), ("bad", bad))


def replay_cases() -> list[dict[str, Any]]:
    """Messages that come one after the other; ids that were taken are remembered in between, whatever else happens."""
    second = signed(ASKER, claims(jti="0195570a-5c00-7000-8000-000000000002"))
    again = signed(ED_ASKER, claims())
    late = signed(ASKER, claims(iat=T + 10, exp=T + 70))

    def step(message: str, at: int, result: str = "accepted") -> dict[str, Any]:
        return {"message": message, "body": base64.b64encode(BODY).decode(), "now": at, **_result(result)}

    return [
        {"name": "the same message again", "steps": [step(GOOD, T), step(GOOD, T + 1, "message-replayed")]},
        {"name": "another message", "steps": [step(GOOD, T), step(second, T)]},
        {"name": "the same id signed anew", "steps": [step(GOOD, T), step(again, T + 1, "message-replayed")]},
        {"name": "in the last second of its lifetime",
         "steps": [step(GOOD, T), step(GOOD, T + 64, "message-replayed"), step(GOOD, T + 65, "message-expired")]},
        {"name": "after the clock was set back",
         "steps": [step(late, T + 60), step(late, T + 6, "message-replayed")]},
    ]  # fmt: skip


def identifier_cases() -> list[dict[str, Any]]:
    """Texts that are, or are not, identifiers of services."""
    good = {
        SERVICE: ["FI-DEMO", "GOV", "0000000-0", "vastaanotto", "palvelutarve"],
        "FI/a/b/%C3%A4%2B/x%20y": ["FI", "a", "b", "ä+", "x y"],
        "FI/a/b/%F0%9F%8F%A0/~": ["FI", "a", "b", "🏠", "~"],
    }
    bad = [
        "", "a", "a/b/c/d", "a/b/c/d/e/f", "a//c/d/e", "a/b/c/d/", "a/b/c/./e", "a/b/c/../e", "a/b/c/%2E%2E/e",
        "a/b/c/x%2Fy/e", "a/b/c/x%5Cy/e", "a/b/c/x%25y/e", "a/b/c/x%3By/e", "a/b/c/x%00y/e", "a/b/c/x%0Ay/e",
        "a/b/c/x%/e", "a/b/c/x%zz/e", "a/b/c/%FF/e", "a/b/c/%ED%A0%80/e", "a/b/c/%E2%80%8B/e", "a/b/c/%C2%85/e",
        "a/b/c/d/" + "x" * 256,
    ]  # fmt: skip
    return [
        *({"text": text, "parts": parts} for text, parts in good.items()),
        *({"text": text, "parts": None} for text in bad),
    ]


def _public(key: Key) -> dict[str, str]:
    return {name: value for name, value in key.jwk().items() if name != "d"}


def _result(code: str) -> dict[str, Any]:
    return {"result": code} | ({} if code == "accepted" else {"status": PROBLEMS[code].status})


def case(
    name: str,
    message: str,
    result: str = "accepted",
    *,
    body: bytes = BODY,
    peer_members: list[str] | None = None,
    stored: bool = True,
) -> dict[str, Any]:
    """One request. A long message is described and not written out."""
    shown = {"message": message} if stored else {"repeat": [message[0], len(message)]}
    return {
        "name": name,
        **shown,
        "body": base64.b64encode(body).decode(),
        "peer_members": peer_members if peer_members is not None else [CONSUMER_MEMBER],
        "now": T,
        **_result(result),
    }


def reply(name: str, message: str, result: str = "accepted", *, body: bytes = ANSWER) -> dict[str, Any]:
    """One response to the good request."""
    return {
        "name": name, "message": message, "body": base64.b64encode(body).decode(), "request": GOOD,
        "service": SERVICE, "consumer": CONSUMER, "now": T, **_result(result),
    }  # fmt: skip


def _stepped(*steps: tuple[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [{"step": step, **one} for step, cases in steps for one in cases]


def keys() -> dict[str, Any]:
    """The keys, as a registry would list them, with their private halves."""
    return {
        "anchor": base64.b64encode(ANCHOR).decode(),
        "listed": [_described(key) for key in LISTED],
        "unlisted": [_described(UNLISTED)],
    }


def _described(key: Key) -> dict[str, Any]:
    return {
        "name": key.name, "member": key.member, "algorithm": key.algorithm, "thumbprint": key.thumbprint,
        "not_before": int(key.begins.timestamp()), "not_after": int(key.ends.timestamp()),
        "certificate": base64.b64encode(key.certificate).decode(), "private_jwk": key.jwk(),
    }  # fmt: skip


def files() -> dict[str, str]:
    """The vector files by name."""
    documents: dict[str, Any] = {
        "keys.json": keys(),
        "requests.json": {"offered": [SERVICE], "cases": request_cases()},
        "responses.json": {"cases": response_cases()},
        "replays.json": {"offered": [SERVICE], "peer_members": [CONSUMER_MEMBER], "cases": replay_cases()},
        "identifiers.json": {"cases": identifier_cases()},
    }
    return {name: json.dumps(one, indent=1, ensure_ascii=False) + "\n" for name, one in documents.items()}


if __name__ == "__main__":
    for name, content in files().items():
        (FOLDER / name).write_text(content, encoding="utf-8")
