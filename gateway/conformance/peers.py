"""The kit as another member's node: messages that would be answered, and any way of spoiling them."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.conformance.bench import Bench, expect_refusal
from gateway.conformance.message import (
    EMPTY_ROOT,
    MessageError,
    Opened,
    Part,
    Signer,
    certificate_of,
    compose,
    digest,
    take_apart,
    uuid7,
)
from gateway.conformance.persons import Person
from gateway.conformance.profile import Identity, Member, PeerFace
from gateway.conformance.verdicts import Failed, NotGiven
from gateway.conformance.wire import Answer, Request, peer_context

MESSAGES = "/peer/v1/messages"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Draft:
    """A message to be: what is asked of which service, with what body. `changes` are claims that say otherwise."""

    service: str
    purpose: str
    categories: tuple[str, ...]
    document: Any
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """The body that is signed and sent."""
        return json.dumps(self.document, ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Asked:
    """A message that was sent, and what came back."""

    message: str
    answer: Answer

    @property
    def opened(self) -> Opened:
        """The answer's message, taken apart. Raises Failed if there is none."""
        text = self.answer.header("message")
        if not text:
            raise Failed("a signed answer", f"{self.answer.told()}, without a Message header")
        try:
            return take_apart(text)
        except MessageError as error:
            raise Failed("a message that can be read strictly", str(error)) from None


@dataclass(frozen=True, slots=True)
class Peer:
    """A member whom the kit plays towards one node."""

    bench: Bench
    face: PeerFace
    member: Member
    signer: Signer

    @classmethod
    def at(cls, bench: Bench, face: PeerFace, member: Member | None = None) -> Peer:
        """The member of the profile, or another."""
        chosen = member or face.member
        return cls(bench, face, chosen, Signer.open(chosen.signing))

    def claims(self, draft: Draft) -> dict[str, Any]:
        """The claims of a message that would be answered; a change to `...` leaves the claim out."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.member.subsystem,
            "aud": draft.service,
            "jti": uuid7(),
            "iat": now,
            "exp": now + 60,
            "mth": "POST",
            "tgt": "/",
            "cty": JSON,
            "dig": digest(draft.body),
            "pur": draft.purpose,
            "cat": list(draft.categories),
            "rul": "none",
            "log": {"origin": f"yhdyspinta/{self.member.node}", "size": 0, "root": EMPTY_ROOT},
        }
        return {name: value for name, value in (claims | dict(draft.changes)).items() if value is not ...}

    def compose(self, header: Part, claims: Part) -> str:
        """A message under the member's key."""
        return compose(self.signer, header, claims)

    def message(self, draft: Draft) -> str:
        """A message that would be answered, but for the draft's changes."""
        return self.compose(self.signer.header(), self.claims(draft))

    def post(self, body: bytes, *messages: str, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
        """Send a body with these Message headers over the member's TLS identity."""
        kinds = () if any(name == "Content-Type" for name, _ in headers) else (("Content-Type", JSON),)
        sent = tuple(("Message", message) for message in messages)
        return self.send(Request("POST", MESSAGES, (*kinds, *headers, *sent), body), self.member.tls)

    def send(
        self, request: Request, identity: Identity | None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ) -> Answer:
        """Send a request under any TLS identity."""
        context = peer_context(self.face.anchors, identity, version)
        return self.bench.wire.send(self.face.address, context, request, self.face.id)

    def ask(self, draft: Draft) -> Asked:
        """Send a message and give what came back."""
        message = self.message(draft)
        return Asked(message, self.post(draft.body, message))

    def service(self, kind: str) -> str:
        """The target's service of a kind. Raises NotGiven if the profile has none."""
        found = self.face.services.get(kind)
        if found is None:
            raise NotGiven(f"service of the kind {kind}")
        return found

    def known(self) -> Draft:
        """The question of the profile, about the person whom the service knows."""
        question = self.bench.question
        return self.about(question.system, question.value)

    def about(self, system: str, value: str) -> Draft:
        """The question of the profile about somebody."""
        question = self.bench.question
        return Draft(
            self.service("query"),
            question.purpose,
            question.categories,
            {"subject": {"system": system, "value": value}},
        )

    def certificates(self) -> list[bytes]:
        """The certificates with which the target's answers may be signed."""
        return [certificate_of(path) for path in self.face.signing]


def stranger_question(peer: Peer) -> Draft:
    """The question about a new person, of whom no source knows."""
    subject = Person.make().subject
    return peer.about(subject["system"], subject["value"])


def expect_unbelieved(answer: Answer, status: int, code: str) -> None:
    """A refusal before anything was believed: with this status and code, and unsigned. Raises Failed."""
    expect_refusal(answer, status, code=code)
    if answer.header("message"):
        raise Failed(f"{status} {code} without a Message header", "a signed answer to what cannot be believed")


def expect_signed_refusal(asked: Asked, *statuses: int, code: str = "") -> None:
    """A refusal of a message that was believed: signed, with the same status inside. Raises Failed."""
    expect_refusal(asked.answer, *statuses, code=code)
    if asked.opened.claims.get("sts") != asked.answer.status:
        raise Failed(f"sts {asked.answer.status}", str(asked.opened.claims.get("sts")))


def is_checkpoint(value: object) -> bool:
    """Whether a claim has the form of a checkpoint: origin, size, and a root of 32 bytes in base64."""
    if not isinstance(value, dict) or value.keys() != {"origin", "size", "root"}:
        return False
    origin, size, root = value["origin"], value["size"], value["root"]
    if not isinstance(origin, str) or not 1 <= len(origin) <= 255 or any(mark in origin for mark in " +\t\n"):
        return False
    try:
        decoded = base64.b64decode(root, validate=True) if isinstance(root, str) else b""
    except ValueError:
        decoded = b""
    return type(size) is int and size >= 0 and len(decoded) == 32
