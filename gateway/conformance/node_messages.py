"""Messages that must be refused: each spoilt in one way, and refused with exactly the code that the page gives."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from dataclasses import replace

from gateway.conformance.bench import Bench, expect, expect_refusal
from gateway.conformance.case import case
from gateway.conformance.message import RESPONSE_TYPE, b64url, in_der, uuid7, with_a_bit_turned, with_mac
from gateway.conformance.peers import JSON, Draft, Peer, expect_unbelieved

Spoil = Callable[[Peer, Draft], str]
"""One way of spoiling a message."""


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


_BAD: dict[str, tuple[int, str, Spoil]] = {
    "NODE-20": (400, "algorithm-refused", _unsigned),
    "NODE-21": (
        400,
        "algorithm-refused",
        lambda peer, draft: with_mac(peer.signer, peer.signer.header() | {"alg": "HS256"}, peer.claims(draft)),
    ),
    "NODE-22": (
        400,
        "message-type-mismatch",
        lambda peer, draft: peer.compose(peer.signer.header(RESPONSE_TYPE), peer.claims(draft)),
    ),
    "NODE-23": (400, "header-member-refused", lambda peer, draft: _header(peer, draft, crit=["exp"], exp=1)),
    "NODE-24": (
        400,
        "header-member-refused",
        lambda peer, draft: _header(peer, draft, jwk={"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}),
    ),
    "NODE-25": (400, "signature-malformed", lambda peer, draft: in_der(peer.message(draft))),
    "NODE-26": (401, "signature-invalid", lambda peer, draft: with_a_bit_turned(peer.message(draft))),
    "NODE-27": (401, "certificate-unknown", lambda peer, draft: _header(peer, draft, x5t__S256="A" * 43)),
    "NODE-28": (
        401,
        "certificate-of-another",
        lambda peer, draft: _changed(peer, draft, iss=draft.service.rpartition("/")[0]),
    ),
    "NODE-29": (
        403,
        "audience-mismatch",
        lambda peer, draft: _changed(peer, draft, aud=f"{peer.member.subsystem}/palvelutarve"),
    ),
    "NODE-30": (
        400,
        "message-from-future",
        lambda peer, draft: _changed(peer, draft, iat=_now() + 600, exp=_now() + 660),
    ),
    "NODE-31": (400, "message-expired", lambda peer, draft: _changed(peer, draft, iat=_now() - 70, exp=_now() - 20)),
    "NODE-32": (
        400,
        "message-lifetime-refused",
        lambda peer, draft: _changed(peer, draft, iat=_now(), exp=_now() + 61),
    ),
    "NODE-33": (
        400,
        "digest-mismatch",
        lambda peer, draft: _changed(peer, draft, dig=peer.claims(replace(draft, document={}))["dig"]),
    ),
    "NODE-34": (400, "content-type-mismatch", lambda peer, draft: _changed(peer, draft, cty="text/plain")),
    "NODE-35": (
        400,
        "message-member-repeated",
        lambda peer, draft: _written(peer, draft, '"pur":', '"pur":"other","pur":'),
    ),
    "NODE-36": (
        400,
        "message-text-refused",
        lambda peer, draft: _written(peer, draft, '"rul":"none"', '"rul":"a\\u0000"'),
    ),
    "NODE-37": (
        400,
        "message-text-refused",
        lambda peer, draft: _written(peer, draft, '"rul":"none"', '"rul":"\\udfff"'),
    ),
    "NODE-38": (
        400,
        "message-too-deep",
        lambda peer, draft: _written(peer, draft, '"rul":', f'"deep":{"[" * 1000}{"]" * 1000},"rul":'),
    ),
    "NODE-39": (
        400,
        "message-number-refused",
        lambda peer, draft: _written(peer, draft, '"rul":', '"big":1e400,"rul":'),
    ),
    "NODE-40": (400, "message-not-utf8", lambda peer, _draft: peer.compose(peer.signer.header(), b'{"iss":"\xff"}')),
    "NODE-41": (400, "message-not-json", lambda peer, _draft: peer.compose(peer.signer.header(), b"iss")),
    "NODE-42": (400, "message-not-base64url", lambda peer, draft: f"{peer.message(draft)}="),
    "NODE-43": (400, "message-not-compact", lambda peer, draft: peer.message(draft).rpartition(".")[0]),
    "NODE-44": (400, "claim-unknown", lambda peer, draft: _changed(peer, draft, sub="x")),
    "NODE-45": (400, "claim-missing", lambda peer, draft: _changed(peer, draft, exp=...)),
    "NODE-46": (400, "claim-invalid", lambda peer, draft: _changed(peer, draft, jti=f"{uuid7()[:-1]}f".upper())),
    "NODE-47": (400, "claim-invalid", lambda peer, draft: _changed(peer, draft, aud=_escaped(draft.service))),
    "NODE-48": (431, "message-too-large", lambda peer, draft: _header(peer, draft, typ="x" * 600)),
}


def _check(status: int, code: str, spoil: Spoil) -> Callable[[Bench], None]:
    def check(bench: Bench) -> None:
        peer = Peer.at(bench, bench.node)
        draft = peer.known()
        expect_unbelieved(peer.post(draft.body, spoil(peer, draft)), status, code)

    return check


for _id, _row in _BAD.items():
    case(_id)(_check(*_row))


@case("NODE-49")
def replayed(bench: Bench) -> None:
    """Sends one and the same message twice."""
    peer = Peer.at(bench, bench.node)
    draft = peer.known()
    message = peer.message(draft)
    expect(peer.post(draft.body, message), 200)
    expect_unbelieved(peer.post(draft.body, message), 409, "message-replayed")


@case("NODE-50")
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


@case("NODE-51")
def two_messages(bench: Bench) -> None:
    """Sends two good messages in one request."""
    peer = Peer.at(bench, bench.node)
    draft = peer.known()
    answer = peer.post(draft.body, peer.message(draft), peer.message(draft))
    expect_unbelieved(answer, 400, "message-repeated")


@case("NODE-52")
def no_message(bench: Bench) -> None:
    """Sends a body without a message."""
    peer = Peer.at(bench, bench.node)
    expect_unbelieved(peer.post(peer.known().body), 400, "message-missing")


@case("NODE-53")
def compressed(bench: Bench) -> None:
    """Sends a good message with its body compressed."""
    peer = Peer.at(bench, bench.node)
    draft = peer.known()
    headers = (("Content-Type", JSON), ("Content-Encoding", "gzip"))
    answer = peer.post(gzip.compress(draft.body), peer.message(draft), headers=headers)
    expect_unbelieved(answer, 415, "unsupported-content-encoding")


@case("NODE-54")
def too_many_headers(bench: Bench) -> None:
    """Sends a good message among 300 other headers."""
    peer = Peer.at(bench, bench.node)
    draft = peer.known()
    headers = (("Content-Type", JSON), *((f"X-{number}", "x") for number in range(300)))
    expect_refusal(peer.post(draft.body, peer.message(draft), headers=headers), 431)
