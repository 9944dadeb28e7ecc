"""For each test of the client faces one way of breaking the target that this test, and no other, must find."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

from gateway.conformance.profile import BODY_LIMIT
from tests.conformance.proxy import Fault, Notes, Reply, Sent

SENDING, RECEIVING, NODE, INBOX = "sending", "receiving", "node", "inbox"
PROBLEM = "application/problem+json"
_CHECKS = "0123456789ABCDEFHJKLMNPRSTUVWXY"
_KNOWN_LANGUAGES = {"uk", "ru", "ar", "prs", "ps", "so", "ckb", "ti", "fr", "sw", "en", "fi", "sv"}

When = Callable[[Sent], bool]
Change = Callable[[dict[str, Any]], None]


def passes(when: When, status: int = 200, document: Any = None, face: str = SENDING) -> Fault:
    """What should be refused is done instead, or seems to be."""

    def answer(sent: Sent, reply: Reply, _notes: Notes) -> Reply:
        return Reply(status).saying(document or {}) if reply.status >= 400 and when(sent) else reply

    return Fault(answer=answer, faces=(face,))


def stumbles(when: When, face: str = SENDING) -> Fault:
    """What should be refused by name is answered with an internal error."""

    def answer(sent: Sent, reply: Reply, _notes: Notes) -> Reply:
        return Reply(500, b'{"code": "internal-error"}', PROBLEM) if when(sent) else reply

    return Fault(answer=answer, faces=(face,))


def rewrites(when: When, change: Change, face: str = SENDING, below: int = 600, above: int = 100) -> Fault:
    """The document of an answer is changed on its way."""

    def answer(sent: Sent, reply: Reply, _notes: Notes) -> Reply:
        document = reply.document
        if not (above <= reply.status < below and when(sent) and document):
            return reply
        change(document)
        return reply.saying(document)

    return Fault(answer=answer, faces=(face,))


def at(path: str, method: str = "POST") -> When:
    return lambda sent: sent.method == method and sent.path == path


def holds(data: bytes) -> When:
    return lambda sent: data in sent.body


def accepts(sent: Sent) -> bool:
    return isinstance(sent.document, dict) and "contact" in sent.document


def proper(sent: Sent) -> bool:
    contact = sent.document["contact"] if accepts(sent) else {}
    name = contact.get("name")
    return isinstance(name, str) and len(name) < 1000 and "note" not in contact


# -- who calls ---------------------------------------------------------------------------------------------------------


def _decoded(segment: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))


def _assertion(sent: Sent) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of the assertion in a form; empty ones of another request."""
    parts = sent.form.get("client_assertion", "").split(".") if sent.path == "/oauth/token" else []
    return (_decoded(parts[0]), _decoded(parts[1])) if len(parts) == 3 else ({}, {})


def _bearer(sent: Sent) -> dict[str, Any]:
    parts = sent.header("authorization").partition(" ")[2].split(".")
    return dict(_decoded(parts[1])) if len(parts) == 3 else {}


def _granted(when: Callable[[dict[str, Any], dict[str, Any]], bool]) -> Fault:
    """A token for an assertion that should be refused."""
    return passes(lambda sent: bool(sent.form) and when(*_assertion(sent)), 200, {"access_token": "a.b.c"})


def _no_tokens(sent: Sent, reply: Reply, _notes: Notes) -> Reply:
    if reply.status == 200 and sent.certificate is None and sent.header("authorization"):
        return Reply(401, b'{"code": "token-refused"}', PROBLEM)
    return reply


def _remembers_tokens(sent: Sent, notes: Notes) -> Sent | Reply:
    return notes.get(sent.form.get("client_assertion", ""), sent)


def _keeps_tokens(sent: Sent, reply: Reply, notes: Notes) -> Reply:
    if reply.status == 200 and "client_assertion" in sent.form:
        notes[sent.form["client_assertion"]] = reply
    return reply


# -- consents, handovers, inbox ----------------------------------------------------------------------------------------


def _late_withdrawal(sent: Sent, notes: Notes) -> Sent | Reply:
    """A withdrawal is answered at once and done when somebody looks."""
    held = notes.setdefault("held", [])
    if sent.path.endswith("/withdrawal"):
        held.append(sent)
        return Reply(201, b'{"status": "withdrawn", "notices": 0}')
    if sent.method == "GET" and sent.path.startswith("/v1/consents/"):
        for request in held:
            notes["proxy"](request)
        held.clear()
    return sent


def _without_category(document: dict[str, Any]) -> None:
    for item in document.get("items", []):
        item["categories"] = [category for category in item["categories"] if category != "health-needs"]


def _more_permitted(document: dict[str, Any]) -> None:
    for plan in document.get("handovers", []):
        for part in plan["deliveries"]:
            part.setdefault("permitted", []).append({"category": "health-needs"})


def _misspelt(sent: Sent) -> bool:
    document = sent.document if sent.path == "/v1/consents" else None
    value = str((document or {}).get("subject", {}).get("value", "")) if isinstance(document, dict) else ""
    digits = f"{value[:6]}{value[7:10]}"
    return len(value) == 11 and digits.isdigit() and _CHECKS[int(digits) % 31] != value[10]


def _language(sent: Sent) -> str:
    document = sent.document if sent.path == "/v1/consents" else None
    return str(document.get("language", "en")) if isinstance(document, dict) else "en"


def _few_languages(sent: Sent, reply: Reply, _notes: Notes) -> Reply:
    if _language(sent) in _KNOWN_LANGUAGES:
        return reply
    return Reply(422, b'{"code": "consent-invalid"}', PROBLEM)


def _repeats(sent: Sent, document: dict[str, Any]) -> dict[str, Any]:
    return document | {"subject": sent.document.get("subject")}


def _repeating(when: When, face: str, enough: Callable[[Reply], bool]) -> Fault:
    """The person that was asked about stands in the answer."""

    def answer(sent: Sent, reply: Reply, _notes: Notes) -> Reply:
        return reply.saying(_repeats(sent, reply.document)) if when(sent) and enough(reply) else reply

    return Fault(answer=answer, faces=(face,))


def _first_answer_again(sent: Sent, reply: Reply, notes: Notes) -> Reply:
    """A key with another person's record is answered as done."""
    key = sent.header("idempotency-key")
    if sent.path != "/v1/handovers" or not key or reply.status not in {201, 409}:
        return reply
    first, body = notes.setdefault(key, (reply, sent.body))
    return first if reply.status == 409 and sent.body != body else reply


def _query_forgotten(sent: Sent, reply: Reply, notes: Notes) -> Reply:
    """A key with another query is answered as done."""
    key = sent.header("idempotency-key")
    if sent.path != "/v1/handovers" or not key or reply.status not in {201, 409}:
        return reply
    first, body = notes.setdefault(key, (reply, sent.body))
    return first if reply.status == 409 and sent.body == body else reply


def _new_key(sent: Sent, _notes: Notes) -> Sent:
    if sent.method == "POST" and sent.path == "/v1/handovers" and not sent.header("idempotency-key"):
        return sent.having("Idempotency-Key", uuid.uuid4().hex)
    return sent


def _without_what_permits(document: dict[str, Any]) -> None:
    document["consents"] = [found for found in document["consents"] if found["status"] != "active"]


def _never_existing(document: dict[str, Any]) -> None:
    for plan in document.get("handovers", []):
        plan["existing"] = False


def _item_of_the_cursor(sent: Sent, reply: Reply, _notes: Notes) -> Reply:
    after = sent.parameters.get("after", "")
    if sent.path != "/v1/inbox" or after.count("-") != 4:
        return reply
    return reply.saying(reply.document | {"items": [{"id": after}, *reply.document.get("items", [])]})


def _last_contact(sent: Sent, reply: Reply, _notes: Notes) -> Reply:
    if not sent.path.endswith("/acceptance") or reply.status >= 400:
        return reply
    return reply.saying(reply.document | {"contact": sent.document["contact"]})


def _nobody_named(sent: Sent) -> bool:
    if not sent.path.endswith("/acceptance") or "019aaaaa" in sent.path:
        return False
    name = (sent.document.get("contact") or {}).get("name")
    return not isinstance(name, str) or not name.strip()


def _ended_by_a_bystander(sent: Sent) -> bool:
    return sent.path.endswith("/withdrawal") and (sent.document.get("given_by") or {}).get("kind") == "other"


def _too_much_named(sent: Sent) -> bool:
    return sent.path.endswith("/acceptance") and not _nobody_named(sent) and not proper(sent)


def _used_up(sent: Sent, reply: Reply, notes: Notes) -> Reply:
    """A key is used up by whatever came under it first, refusals included."""
    key = sent.header("idempotency-key")
    if sent.path != "/v1/handovers" or not key:
        return reply
    if notes.setdefault(key, reply.status) == 422 and reply.status == 201:
        return Reply(409, b'{"code": "idempotency-conflict"}', PROBLEM)
    return reply


def _drop(name: str) -> Change:
    return lambda document: document.pop(name, None)


def _twice(document: dict[str, Any]) -> None:
    document["items"] = [item for item in document.get("items", []) for _ in range(2)]


CLIENT: dict[str, Fault] = {
    "CLI-1": Fault(
        lets_in=lambda sent: not sent.header("authorization") and sent.path != "/oauth/token", faces=(SENDING,)
    ),
    "CLI-2": Fault(tls="strangers", faces=(SENDING,)),
    "CLI-3": Fault(answer=_no_tokens, faces=(SENDING,)),
    "CLI-4": Fault(request=_remembers_tokens, answer=_keeps_tokens, faces=(SENDING,)),
    "CLI-5": _granted(lambda _header, claims: "elsewhere" in claims.get("aud", "")),
    "CLI-6": _granted(lambda header, _claims: header.get("alg") == "none"),
    "CLI-7": _granted(lambda header, _claims: header.get("alg") == "HS256"),
    "CLI-8": _granted(lambda _header, claims: claims.get("exp", time.time() + 1) < time.time() - 60),
    "CLI-9": Fault(lets_in=lambda sent: "cnf" in _bearer(sent), faces=(SENDING,)),
    "CLI-10": passes(lambda sent: _bearer(sent).get("exp", 0) > time.time() + 86_400),
    "CLI-11": rewrites(at("/v1/inbox", "GET"), _without_category, RECEIVING),
    "CLI-12": Fault(request=_late_withdrawal, faces=(SENDING,)),
    "CLI-13": rewrites(at("/v1/handovers"), _more_permitted),
    "CLI-14": rewrites(
        lambda sent: sent.method == "GET" and sent.path.startswith("/v1/consents/"),
        lambda document: document.update(versions=document.get("versions", [])[:1]),
        below=300,
    ),
    "CLI-15": passes(_misspelt, 201),
    "CLI-16": Fault(answer=_few_languages, faces=(SENDING,)),
    "CLI-17": passes(lambda sent: " " in _language(sent), 201),
    "CLI-18": rewrites(at("/v1/consents/search"), _without_what_permits, below=300),
    "CLI-19": _repeating(at("/v1/consents/search"), SENDING, lambda reply: reply.document.get("consents") == []),
    "CLI-20": _repeating(at("/v1/queries"), RECEIVING, lambda reply: reply.status >= 400),
    "CLI-21": _repeating(
        lambda sent: at("/v1/consents")(sent) and sent.document.get("status") not in {"active", "refused"},
        SENDING,
        lambda reply: reply.status >= 400,
    ),
    "CLI-22": passes(lambda sent: sent.method == "GET" and "019aaaaa" in sent.path),
    "CLI-23": rewrites(
        lambda sent: at("/v1/handovers")(sent) and bool(sent.header("idempotency-key")), _never_existing, below=300
    ),
    "CLI-24": Fault(answer=_first_answer_again, faces=(SENDING,)),
    "CLI-25": Fault(request=_new_key, faces=(SENDING,)),
    "CLI-26": rewrites(at("/v1/inbox", "GET"), _twice, RECEIVING, below=300),
    "CLI-27": rewrites(at("/v1/inbox", "GET"), _drop("next"), RECEIVING),
    "CLI-28": rewrites(at("/v1/handovers", "GET"), _drop("next")),
    "CLI-29": Fault(answer=_item_of_the_cursor, faces=(RECEIVING,)),
    "CLI-30": rewrites(
        lambda sent: sent.path.endswith("/acceptance"),
        lambda document: document.update(state="received"),
        RECEIVING,
        below=300,
    ),
    "CLI-31": Fault(answer=_last_contact, faces=(RECEIVING,)),
    "CLI-32": passes(_nobody_named, 201, face=RECEIVING),
    "CLI-33": passes(lambda sent: "019aaaaa" in sent.path, 201, face=RECEIVING),
    "CLI-34": stumbles(lambda sent: sent.body == b'{"subject": {'),
    "CLI-35": passes(lambda sent: sent.body.startswith(b"[{") and sent.path == "/v1/consents/search"),
    "CLI-36": passes(lambda sent: b"\xff" in sent.body and not sent.header("content-encoding")),
    "CLI-37": passes(holds(b"\\u0000"), 201),
    "CLI-38": passes(holds(b"\\udfff")),
    "CLI-39": passes(lambda sent: sent.header("content-type") == "text/plain"),
    "CLI-40": passes(lambda sent: bool(sent.header("content-encoding"))),
    "CLI-41": passes(lambda sent: int(sent.header("content-length") or 0) > BODY_LIMIT),
    "CLI-42": stumbles(lambda sent: len(sent.header("idempotency-key")) > 128),
    "CLI-43": passes(lambda sent: sent.parameters.get("not_before") == "soon", 201),
    "CLI-44": passes(lambda sent: sent.path == "/v1/no-such-thing"),
    "CLI-45": passes(lambda sent: sent.method == "DELETE"),
    "CLI-46": Fault(request=lambda sent, _notes: sent.without("accept-language"), faces=(SENDING,)),
    "CLI-47": rewrites(at("/v1/queries"), _drop("type")),
    "CLI-48": passes(lambda sent: bool(sent.header("transfer-encoding"))),
    "CLI-49": Fault(answer=_query_forgotten, faces=(SENDING,)),
    "CLI-50": Fault(answer=_used_up, faces=(SENDING,)),
    "CLI-51": passes(_too_much_named, 201, face=RECEIVING),
    "CLI-52": passes(_ended_by_a_bystander, 201),
}
