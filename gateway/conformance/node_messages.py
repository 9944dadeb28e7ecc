"""Messages that must be refused: each spoilt in one way, and refused with exactly the code that the page gives."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.conformance.bench import Bench, expect, expect_refusal
from gateway.conformance.case import Group, Requirement, case
from gateway.conformance.message import RESPONSE_TYPE, b64url, in_der, uuid7, with_a_bit_turned, with_mac
from gateway.conformance.peers import JSON, Draft, Peer, expect_unbelieved

_HEADER = "docs/protocol.md#the-protected-header"
_CLAIMS = "docs/protocol.md#claims-of-a-request"
_MESSAGE = "docs/protocol.md#a-message"
_ORDER = "docs/protocol.md#what-a-receiver-checks-in-which-order"
_LIMITS = "docs/protocol.md#limits"

Spoil = Callable[[Peer, Draft], str]


@dataclass(frozen=True, slots=True)
class Bad:
    """One way of spoiling a message: what is done, what must come of it, and what the page says."""

    id: str
    group: Group
    title: str
    status: int
    code: str
    requirement: Requirement
    does: str
    spoil: Spoil


def _header(peer: Peer, draft: Draft, **changes: object) -> str:
    header = peer.signer.header() | {name.replace("__", "#"): value for name, value in changes.items()}
    return peer.compose(header, peer.claims(draft))


def _changed(peer: Peer, draft: Draft, **changes: object) -> str:
    return peer.message(replace(draft, changes=changes))


def _written(peer: Peer, draft: Draft, old: str, new: str) -> str:
    """Good claims with one spot written as no JSON library would."""
    text = json.dumps(peer.claims(draft), separators=(",", ":"))
    return peer.compose(peer.signer.header(), text.replace(old, new, 1).encode())


def _unsigned(peer: Peer, draft: Draft) -> str:
    header = peer.signer.header() | {"alg": "none"}
    parts = (json.dumps(part).encode() for part in (header, peer.claims(draft)))
    return f"{'.'.join(b64url(part) for part in parts)}.{b64url(bytes(64))}"


def _now() -> int:
    return int(time.time())


def _escaped(text: str) -> str:
    """The same identifier with a letter percent-encoded that need not be."""
    return f"{text[:-1]}%{ord(text[-1]):02X}"


_SIGNATURE = Group.SIGNATURES
_STRICT = Requirement(_MESSAGE, "Strict reading: canonical base64url, no repeated names, whole numbers, no controls.")
_THREE = Requirement(_HEADER, "Exactly `alg`, `typ` and `x5t#S256`; `crit`, `jwk` and the like are refused.")
_TIMES = Requirement(_ORDER, "Step 13: lifetime; `iat <= now + 5`; `now < exp + 5`.")
_FORMS = Requirement(
    _CLAIMS, "Every claim is required unless it says optional, has its form; unknown ones are refused."
)
_BAD = (
    Bad(
        "NODE-20", _SIGNATURE, "An unsigned message (alg none) is refused", 400, "algorithm-refused",
        Requirement(_HEADER, "`alg` is ES256 or EdDSA."), "Sends a message with `alg: none`.", _unsigned,
    ),
    Bad(
        "NODE-21", _SIGNATURE, "A message under HS256 is refused", 400, "algorithm-refused",
        Requirement(_HEADER, "`alg` is ES256 or EdDSA."),
        "Sends a message whose HMAC is keyed with the member's public key.",
        lambda peer, draft: with_mac(peer.signer, peer.signer.header() | {"alg": "HS256"}, peer.claims(draft)),
    ),
    Bad(
        "NODE-22", _SIGNATURE, "A message of another type is refused", 400, "message-type-mismatch",
        Requirement(_HEADER, "`typ` is `yhdyspinta-request+jwt` for a request."),
        "Sends a request whose type says that it is a response.",
        lambda peer, draft: peer.compose(peer.signer.header(RESPONSE_TYPE), peer.claims(draft)),
    ),
    Bad(
        "NODE-23", _SIGNATURE, "A header with crit is refused", 400, "header-member-refused", _THREE,
        "Sends a message whose header holds `crit` and the member that it names.",
        lambda peer, draft: _header(peer, draft, crit=["exp"], exp=1),
    ),
    Bad(
        "NODE-24", _SIGNATURE, "A header that brings its own key is refused", 400, "header-member-refused", _THREE,
        "Sends a message whose header holds a `jwk`.",
        lambda peer, draft: _header(peer, draft, jwk={"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}),
    ),
    Bad(
        "NODE-25", _SIGNATURE, "A signature in DER is refused", 400, "signature-malformed",
        Requirement(_MESSAGE, "ES256 signatures are the 64 bytes of r and s."),
        "Sends a message whose ECDSA signature is in DER.",
        lambda peer, draft: in_der(peer.message(draft)),
    ),
    Bad(
        "NODE-26", _SIGNATURE, "A signature that does not hold is refused", 401, "signature-invalid",
        Requirement(_ORDER, "Step 8: the signature verifies."), "Sends a message with one bit of its signature turned.",
        lambda peer, draft: with_a_bit_turned(peer.message(draft)),
    ),
    Bad(
        "NODE-27", _SIGNATURE, "A certificate that is not listed is refused", 401, "certificate-unknown",
        Requirement(_ORDER, "Step 7: the certificate is listed, in force, and of the member that `iss` names."),
        "Sends a message whose header names a certificate that nobody has.",
        lambda peer, draft: _header(peer, draft, x5t__S256="A" * 43),
    ),
    Bad(
        "NODE-28", _SIGNATURE, "Another member's name is refused", 401, "certificate-of-another",
        Requirement(_ORDER, "Step 7: the certificate is of the member that `iss` names."),
        "Sends a message in the name of the very member that is asked.",
        lambda peer, draft: _changed(peer, draft, iss=draft.service.rpartition("/")[0]),
    ),
    Bad(
        "NODE-29", _SIGNATURE, "A message for another node is refused", 403, "audience-mismatch",
        Requirement(_ORDER, "Step 12: `aud` is a service of a subsystem of this node."),
        "Sends a message whose audience is a service of the kit's own member.",
        lambda peer, draft: _changed(peer, draft, aud=f"{peer.member.subsystem}/palvelutarve"),
    ),
    Bad(
        "NODE-30", _SIGNATURE, "A message from the future is refused", 400, "message-from-future", _TIMES,
        "Sends a message that will be signed in ten minutes.",
        lambda peer, draft: _changed(peer, draft, iat=_now() + 600, exp=_now() + 660),
    ),
    Bad(
        "NODE-31", _SIGNATURE, "A message that is past its time is refused", 400, "message-expired", _TIMES,
        "Sends a message that ended 20 seconds ago.",
        lambda peer, draft: _changed(peer, draft, iat=_now() - 70, exp=_now() - 20),
    ),
    Bad(
        "NODE-32", _SIGNATURE, "A lifetime over a minute is refused", 400, "message-lifetime-refused", _TIMES,
        "Sends a message that is good for 61 seconds.",
        lambda peer, draft: _changed(peer, draft, iat=_now(), exp=_now() + 61),
    ),
    Bad(
        "NODE-33", _SIGNATURE, "Another body than the one that was signed is refused", 400, "digest-mismatch",
        Requirement(_ORDER, "Step 15: digest of the body."), "Sends a message that was signed for an empty object.",
        lambda peer, draft: _changed(peer, draft, dig=peer.claims(replace(draft, document={}))["dig"]),
    ),
    Bad(
        "NODE-34", _SIGNATURE, "Another content type than the one that was signed is refused", 400,
        "content-type-mismatch", Requirement(_ORDER, "Step 16: `Content-Type` equals `cty`."),
        "Sends JSON under a message that was signed for text.",
        lambda peer, draft: _changed(peer, draft, cty="text/plain"),
    ),
    Bad(
        "NODE-35", Group.INPUT, "A claim that stands twice is refused", 400, "message-member-repeated", _STRICT,
        "Sends a message with two `pur`.",
        lambda peer, draft: _written(peer, draft, '"pur":', '"pur":"other","pur":'),
    ),
    Bad(
        "NODE-36", Group.INPUT, "A NUL in a claim is refused", 400, "message-text-refused", _STRICT,
        "Sends a message with an escaped NUL in `rul`.",
        lambda peer, draft: _written(peer, draft, '"rul":"none"', '"rul":"a\\u0000"'),
    ),
    Bad(
        "NODE-37", Group.INPUT, "An unpaired surrogate in a claim is refused", 400, "message-text-refused", _STRICT,
        "Sends a message with half a UTF-16 pair in `rul`.",
        lambda peer, draft: _written(peer, draft, '"rul":"none"', '"rul":"\\udfff"'),
    ),
    Bad(
        "NODE-38", Group.INPUT, "Claims that nest too deep are refused", 400, "message-too-deep", _STRICT,
        "Sends a message with an array nested a thousand deep.",
        lambda peer, draft: _written(peer, draft, '"rul":', f'"deep":{"[" * 1000}{"]" * 1000},"rul":'),
    ),
    Bad(
        "NODE-39", Group.INPUT, "A number that parsers read differently is refused", 400, "message-number-refused",
        _STRICT, "Sends a message with 1e400 as a claim.",
        lambda peer, draft: _written(peer, draft, '"rul":', '"big":1e400,"rul":'),
    ),
    Bad(
        "NODE-40", Group.INPUT, "Claims that are no UTF-8 are refused", 400, "message-not-utf8", _STRICT,
        "Sends claims with a byte that UTF-8 does not have.",
        lambda peer, _draft: peer.compose(peer.signer.header(), b'{"iss":"\xff"}'),
    ),
    Bad(
        "NODE-41", Group.INPUT, "Claims that are no JSON are refused", 400, "message-not-json", _STRICT,
        "Sends a word as the claims.", lambda peer, _draft: peer.compose(peer.signer.header(), b"iss"),
    ),
    Bad(
        "NODE-42", Group.INPUT, "Padding is refused", 400, "message-not-base64url", _STRICT,
        "Sends a message with `=` at its end.", lambda peer, draft: f"{peer.message(draft)}=",
    ),
    Bad(
        "NODE-43", Group.INPUT, "Two segments are no message", 400, "message-not-compact", _STRICT,
        "Sends a message without its signature.", lambda peer, draft: peer.message(draft).rpartition(".")[0],
    ),
    Bad(
        "NODE-44", Group.INPUT, "An unknown claim is refused", 400, "claim-unknown", _FORMS,
        "Sends a message with the claim `sub`.", lambda peer, draft: _changed(peer, draft, sub="x"),
    ),
    Bad(
        "NODE-45", Group.INPUT, "A missing claim is refused", 400, "claim-missing", _FORMS,
        "Sends a message without `exp`.", lambda peer, draft: _changed(peer, draft, exp=...),
    ),
    Bad(
        "NODE-46", Group.INPUT, "An id that is no UUID of version 7 is refused", 400, "claim-invalid", _FORMS,
        "Sends a message whose `jti` is written in capitals.",
        lambda peer, draft: _changed(peer, draft, jti=f"{uuid7()[:-1]}f".upper()),
    ),
    Bad(
        "NODE-47", Group.INPUT, "An identifier in another spelling than the canonical one is refused", 400,
        "claim-invalid",
        Requirement("docs/protocol.md#identifiers", "A signed claim in any other spelling MUST be refused."),
        "Sends a message whose audience has a letter percent-encoded that need not be.",
        lambda peer, draft: _changed(peer, draft, aud=_escaped(draft.service)),
    ),
    Bad(
        "NODE-48", Group.INPUT, "A message over the limit is refused", 431, "message-too-large",
        Requirement(_LIMITS, "A JWS has 16 384 characters, its header segment 512."),
        "Sends a message whose header segment is longer than 512 characters.",
        lambda peer, draft: _header(peer, draft, typ="x" * 600),
    ),
)  # fmt: skip


def _check(bad: Bad) -> Callable[[Bench], None]:
    def check(bench: Bench) -> None:
        peer = Peer.at(bench, bench.node)
        draft = peer.known()
        expect_unbelieved(peer.post(draft.body, bad.spoil(peer, draft)), bad.status, bad.code)

    check.__doc__ = bad.does
    return check


for _entry in _BAD:
    case(_entry.id, _entry.group, _entry.title, _entry.requirement, "node", "query")(_check(_entry))


@case(
    "NODE-49", Group.SIGNATURES, "A message is answered once",
    Requirement("docs/protocol.md#replay", "A `jti` counts as taken until two hours after its `exp`; 409."),
    "node", "query",
)  # fmt: skip
def replayed(bench: Bench) -> None:
    """Sends one and the same message twice."""
    peer = Peer.at(bench, bench.node)
    draft = peer.known()
    message = peer.message(draft)
    expect(peer.post(draft.body, message), 200)
    expect_unbelieved(peer.post(draft.body, message), 409, "message-replayed")


@case(
    "NODE-50", Group.SIGNATURES, "An id is taken once, whatever is signed under it",
    Requirement("docs/protocol.md#replay", "Every attempt is a new message with a new `jti`."), "node", "query",
)  # fmt: skip
def an_id_twice(bench: Bench) -> None:
    """Sends two messages, signed for different times, under one `jti`."""
    peer = Peer.at(bench, bench.node)
    taken = uuid7()
    first, second = (
        replace(peer.known(), changes={"jti": taken, "iat": _now() - early, "exp": _now() - early + 60})
        for early in (0, 1)
    )
    expect(peer.post(first.body, peer.message(first)), 200)
    expect_unbelieved(peer.post(second.body, peer.message(second)), 409, "message-replayed")


@case(
    "NODE-51", Group.SIGNATURES, "Two Message headers are refused",
    Requirement(_MESSAGE, "`Message`: one JWS in compact serialisation, exactly once."), "node", "query",
)  # fmt: skip
def two_messages(bench: Bench) -> None:
    """Sends two good messages in one request."""
    peer = Peer.at(bench, bench.node)
    draft = peer.known()
    answer = peer.post(draft.body, peer.message(draft), peer.message(draft))
    expect_unbelieved(answer, 400, "message-repeated")


@case(
    "NODE-52", Group.SIGNATURES, "A request without a Message header is refused",
    Requirement(_MESSAGE, "`Message`: one JWS in compact serialisation, exactly once."), "node", "query",
)  # fmt: skip
def no_message(bench: Bench) -> None:
    """Sends a body without a message."""
    peer = Peer.at(bench, bench.node)
    expect_unbelieved(peer.post(peer.known().body), 400, "message-missing")


@case(
    "NODE-53", Group.INPUT, "A compressed body is refused",
    Requirement(_MESSAGE, "The body is the content of the request, uncompressed."), "node", "query",
)  # fmt: skip
def compressed(bench: Bench) -> None:
    """Sends a good message with its body compressed."""
    peer = Peer.at(bench, bench.node)
    draft = peer.known()
    headers = (("Content-Type", JSON), ("Content-Encoding", "gzip"))
    answer = peer.post(gzip.compress(draft.body), peer.message(draft), headers=headers)
    expect_unbelieved(answer, 415, "unsupported-content-encoding")


@case(
    "NODE-54", Group.INPUT, "Headers over the limit are refused",
    Requirement(_LIMITS, "All HTTP headers of a request: 64 KiB, 256 headers."), "node", "query",
)  # fmt: skip
def too_many_headers(bench: Bench) -> None:
    """Sends a good message among 300 other headers."""
    peer = Peer.at(bench, bench.node)
    draft = peer.known()
    headers = (("Content-Type", JSON), *((f"X-{number}", "x") for number in range(300)))
    expect_refusal(peer.post(draft.body, peer.message(draft), headers=headers), 431)
