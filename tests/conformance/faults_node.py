"""For each test of the peers' faces one way of breaking the target that this test, and no other, must find."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gateway.conformance.message import RESPONSE_TYPE, Opened, Signer, b64url, compose, digest, take_apart
from tests.conformance.faults import INBOX, NODE, SENDING, Change, When, accepts, at, holds, passes, proper, stumbles
from tests.conformance.proxy import Fault, Notes, Reply, Sent


def unguarded(code: str, when: When = lambda _sent: True, face: str = NODE) -> Fault:
    """A target without the guard that refuses with this code: it answers instead."""

    def answer(sent: Sent, reply: Reply, _notes: Notes) -> Reply:
        return Reply(200) if reply.code == code and when(sent) else reply

    return Fault(answer=answer, faces=(face,))


def _with_header(*names: str) -> When:
    def when(sent: Sent) -> bool:
        return sent.message is not None and all(name in sent.message.header for name in names)

    return when


def _under(algorithm: str) -> When:
    return lambda sent: sent.message is not None and sent.message.header.get("alg") == algorithm


def _claim(name: str, holds_: Callable[[Any], bool]) -> When:
    def when(sent: Sent) -> bool:
        return sent.message is not None and holds_(sent.message.claims.get(name))

    return when


def _seen_before(sent: Sent, reply: Reply, notes: Notes, *, text: bool) -> Reply:
    seen = notes.setdefault("seen", set())
    known = sent.header("message") in seen
    seen.add(sent.header("message"))
    return Reply(200) if reply.code == "message-replayed" and known is text else reply


def _signed(change: Change, signer: Signer, header: Change = lambda _header: None, least: int = 200) -> Fault:
    """The answers' claims or header are others, under a signature that holds."""

    def answer(_sent: Sent, reply: Reply, _notes: Notes) -> Reply:
        if not reply.message or not least <= reply.status < least + 100:
            return reply
        opened = take_apart(reply.message)
        claims, members = dict(opened.claims), signer.header(RESPONSE_TYPE)
        change(claims)
        header(members)
        return replace(reply, message=compose(signer, members, claims))

    return Fault(answer=answer, faces=(NODE,))


def _bit(opened: Opened) -> str:
    turned = opened.signature[:9] + bytes([opened.signature[9] ^ 1]) + opened.signature[10:]
    return f"{opened.signed.decode()}.{b64url(turned)}"


def _turned(_sent: Sent, reply: Reply, _notes: Notes) -> Reply:
    if not reply.message or reply.status >= 300:
        return reply
    return replace(reply, message=_bit(take_apart(reply.message)))


def _body(change: Change, signers: dict[str, Signer], when: Callable[[Sent, Reply], bool], face: str = NODE) -> Fault:
    """The body of a signed answer is another, signed as it is."""

    def answer(sent: Sent, reply: Reply, _notes: Notes) -> Reply:
        if not reply.message or not when(sent, reply):
            return reply
        document = reply.document
        change(document)
        changed = reply.saying(document)
        claims = dict(take_apart(reply.message).claims) | {"dig": digest(changed.body)}
        signer = signers[face]
        return replace(changed, message=compose(signer, signer.header(RESPONSE_TYPE), claims))

    return Fault(answer=answer, faces=(face,))


def _every_second(_sent: Sent, reply: Reply, notes: Notes) -> Reply:
    """One unknown person is answered otherwise than the next."""
    if reply.code != "not-available":
        return reply
    notes["answered"] = notes.get("answered", 0) + 1
    return reply.saying(reply.document | {"hint": "seen before"}) if notes["answered"] % 2 else reply


def _unsigned(_sent: Sent, reply: Reply, _notes: Notes) -> Reply:
    return replace(reply, message="") if reply.code == "purpose-not-declared" else reply


def _ours(sent: Sent) -> bool:
    return str(sent.document.get("delivery", "")).startswith("conformance-")


def _named(sent: Sent) -> list[Any]:
    return (
        list(sent.document.get("subject", [])) if isinstance(sent.document, dict) and "notice" in sent.document else []
    )


def _nobody(sent: Sent) -> bool:
    named = _named(sent)
    notice = isinstance(sent.document, dict) and "notice" in sent.document
    return notice and not (named and all(isinstance(entry, dict) and "value" in entry for entry in named))


def _linking(sent: Sent, reply: Reply, notes: Notes) -> Reply:
    """Whom a notice names together are one person from then on."""
    if sent.face == NODE:
        named = [entry["value"] for entry in _named(sent) if isinstance(entry, dict) and "value" in entry]
        notes["linked"] = set(named) if len(named) > 1 else notes.get("linked", set())
        return reply
    value = sent.document["subject"]["value"] if at("/v1/consents/search")(sent) else ""
    if value in notes.get("linked", set()):
        return reply.saying({"consents": [{"id": "of the other"}]})
    return reply


def node_faults(signers: dict[str, Signer], other: str) -> dict[str, Fault]:
    """The faults of the peers' faces; `signers` are the targets' own keys, `other` the second member."""
    signer = signers[NODE]
    unknown = lambda sent, reply: reply.code == "not-available"  # noqa: E731
    by_code = {
        "NODE-5": ("issuer-not-peer", lambda _sent: True),
        "NODE-17": ("category-unknown", lambda _sent: True),
        "NODE-18": ("service-unknown", lambda _sent: True),
        "NODE-20": ("algorithm-refused", _under("none")),
        "NODE-21": ("algorithm-refused", _under("HS256")),
        "NODE-22": ("message-type-mismatch", lambda _sent: True),
        "NODE-23": ("header-member-refused", _with_header("crit")),
        "NODE-24": ("header-member-refused", _with_header("jwk")),
        "NODE-25": ("signature-malformed", lambda _sent: True),
        "NODE-26": ("signature-invalid", lambda _sent: True),
        "NODE-27": ("certificate-unknown", lambda _sent: True),
        "NODE-28": ("certificate-of-another", lambda _sent: True),
        "NODE-29": ("audience-mismatch", lambda _sent: True),
        "NODE-30": ("message-from-future", lambda _sent: True),
        "NODE-31": ("message-expired", lambda _sent: True),
        "NODE-32": ("message-lifetime-refused", lambda _sent: True),
        "NODE-33": ("digest-mismatch", lambda _sent: True),
        "NODE-34": ("content-type-mismatch", lambda _sent: True),
        "NODE-35": ("message-member-repeated", lambda _sent: True),
        "NODE-36": ("message-text-refused", _claim("rul", lambda value: value == "a\0")),
        "NODE-37": ("message-text-refused", _claim("rul", lambda value: value == "\udfff")),
        "NODE-38": ("message-too-deep", lambda _sent: True),
        "NODE-39": ("message-number-refused", lambda _sent: True),
        "NODE-40": ("message-not-utf8", lambda _sent: True),
        "NODE-41": ("message-not-json", lambda _sent: True),
        "NODE-42": ("message-not-base64url", lambda _sent: True),
        "NODE-43": ("message-not-compact", lambda _sent: True),
        "NODE-44": ("claim-unknown", lambda _sent: True),
        "NODE-45": ("claim-missing", lambda _sent: True),
        "NODE-46": ("claim-invalid", _claim("jti", lambda value: value != str(value).lower())),
        "NODE-47": ("claim-invalid", _claim("aud", lambda value: "%" in str(value))),
        "NODE-48": ("message-too-large", lambda _sent: True),
        "NODE-51": ("message-repeated", lambda _sent: True),
        "NODE-52": ("message-missing", lambda _sent: True),
        "NODE-53": ("unsupported-content-encoding", lambda _sent: True),
        "NODE-54": ("headers-too-large", lambda _sent: True),
        "NODE-56": ("delivery-unknown", _ours),
        "NODE-57": ("delivery-unknown", _claim("iss", lambda value: value == other)),
    }
    return {
        **{name: unguarded(code, when) for name, (code, when) in by_code.items()},
        "NODE-1": Fault(tls="nobody", lets_in=lambda _sent: True, faces=(NODE,)),
        "NODE-2": Fault(tls="strangers", faces=(NODE,)),
        "NODE-3": Fault(tls="old", faces=(NODE,)),
        "NODE-4": Fault(tls="unlisted", faces=(NODE,)),
        "NODE-6": Fault(answer=_turned, faces=(NODE,)),
        "NODE-7": _signed(lambda _claims: None, signer, lambda header: header.update(kid="1")),
        "NODE-8": _signed(lambda claims: claims.update(req=digest(b"another")), signer),
        "NODE-9": _signed(lambda claims: claims.update(dig=digest(b"another")), signer),
        "NODE-10": _signed(lambda claims: claims.update(aud=other), signer),
        "NODE-11": _signed(lambda claims: claims.update(iat=claims["iat"] - 3600), signer),
        "NODE-12": _signed(lambda claims: claims["log"].pop("root"), signer),
        "NODE-13": _signed(lambda claims: claims.get("dec", {}).setdefault("per", []).append("finances"), signer),
        "NODE-14": Fault(answer=_unsigned, faces=(NODE,)),
        "NODE-15": _body(lambda document: document.update(entry=[]), signers, unknown),
        "NODE-16": Fault(answer=_every_second, faces=(NODE,)),
        "NODE-19": passes(lambda sent: sent.document == {}, face=NODE),
        "NODE-49": Fault(answer=lambda *all_: _seen_before(*all_, text=True), faces=(NODE,)),
        "NODE-50": Fault(answer=lambda *all_: _seen_before(*all_, text=False), faces=(NODE,)),
        "NODE-55": _body(
            lambda document: document.update(delivery="another"),
            signers,
            lambda sent, reply: accepts(sent) and reply.status == 200,
        ),
        "NODE-58": passes(
            lambda sent: proper(sent) and not _ours(sent) and not _claim("iss", lambda value: value == other)(sent),
            face=NODE,
        ),
        "NODE-59": passes(lambda sent: accepts(sent) and not proper(sent), face=NODE),
        "NODE-60": Fault(answer=_linking, faces=(NODE, SENDING)),
        "NODE-61": stumbles(_nobody, NODE),
        "NODE-62": _body(
            lambda document: document.update(receipt=uuid.uuid4().hex),
            signers,
            lambda _sent, reply: reply.status == 200,
            INBOX,
        ),
        "NODE-63": _body(
            lambda document: document.update(digest=digest(b"another")),
            signers,
            lambda _sent, reply: reply.status == 200,
            INBOX,
        ),
        "NODE-64": unguarded("not-permitted", face=INBOX),
        "NODE-65": passes(holds(b'"patient-2"'), face=INBOX),
    }
