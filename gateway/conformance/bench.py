"""What a test works with: the target's faces, fresh persons, and ways to say what was expected.

Waiting watches progress: what is waited for is looked at until it is there, and given up only when nothing about it
has changed for as long as the profile's patience.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from gateway.conformance.message import uuid7
from gateway.conformance.persons import Person
from gateway.conformance.profile import ClientFace, Handing, Member, PeerFace, Profile, Question
from gateway.conformance.verdicts import Failed
from gateway.conformance.wire import Answer, Headers, Request, Stranger, Wire, client_context

_Found = TypeVar("_Found")
_LOOK_SECONDS = 0.05
PROBLEM = "application/problem+json"


class Shown(Enum):
    """What a caller shows in the TLS handshake."""

    CERTIFICATE = "the registered certificate"
    NOTHING = "no certificate"
    STRANGE = "a certificate of an unknown authority"


@dataclass(frozen=True, slots=True)
class Desk:
    """A client face and the information system that the kit plays at it."""

    face: ClientFace
    wire: Wire
    stranger: Stranger

    def send(self, request: Request, shown: Shown = Shown.CERTIFICATE) -> Answer:
        identity = {
            Shown.CERTIFICATE: self.face.identity,
            Shown.NOTHING: None,
            Shown.STRANGE: self.stranger.identity,
        }[shown]
        return self.wire.send(self.face.url, client_context(self.face.authority, identity), request)

    def get(self, path: str, **parameters: str | int) -> Answer:
        """Read something."""
        return self.send(Request("GET", f"{path}?{urlencode(parameters)}" if parameters else path))

    def post(self, path: str, document: Any, *headers: tuple[str, str]) -> Answer:
        """Send a JSON document."""
        return self.send(as_json("POST", path, document, *headers))


def as_json(method: str, path: str, document: Any, *headers: tuple[str, str]) -> Request:
    """A request with a JSON document."""
    body = json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return Request(method, path, (("Content-Type", "application/json"), *headers), body)


class Bench:
    """The target as one test sees it."""

    def __init__(self, profile: Profile, stranger: Stranger) -> None:
        self.profile = profile
        self.wire = Wire(profile.patience)
        self.stranger = stranger

    # -- what the profile gives; a test that needs it is not run without ----------------------------------------------

    @cached_property
    def sending(self) -> Desk:
        """The system that hands over and records consents."""
        return Desk(_there(self.profile.sending), self.wire, self.stranger)

    @cached_property
    def receiving(self) -> Desk:
        """The system that receives."""
        return Desk(_there(self.profile.receiving), self.wire, self.stranger)

    @property
    def handing(self) -> Handing:
        """What is handed over."""
        return _there(self.profile.handover)

    @property
    def question(self) -> Question:
        """What may be asked."""
        return _there(self.profile.query)

    @property
    def node(self) -> PeerFace:
        """The face towards other nodes that is tested."""
        return _there(self.profile.node)

    @property
    def inbox(self) -> PeerFace:
        """The face to which handovers are brought."""
        return _there(self.profile.inbox)

    @property
    def other(self) -> Member:
        """A second member whom the kit may play."""
        return _there(self.profile.other_member)

    # -- consents and handovers --------------------------------------------------------------------------------------

    def consent(self, person: Person, status: str = "active", **changes: Any) -> Answer:
        """Record a consent, or a refusal, of the category that only a consent carries.

        It ends by itself after the next day, so that nothing is left to be withdrawn.
        """
        tomorrow = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 86_400))
        document: dict[str, Any] = {
            "subject": person.subject,
            "status": status,
            "given_by": {"kind": "self"},
            "purposes": list(self.handing.purposes),
            "recipients": [self.handing.role],
            "categories": [self.handing.category],
            "language": "en",
            "ends": tomorrow,
        }
        return self.sending.post("/v1/consents", document | changes)

    def hand_over(self, *records: Mapping[str, Any], key: str = "", not_before: str = "") -> Answer:
        """Hand over persons' records."""
        target = f"/v1/handovers?flow={self.handing.flow}&adapter=canonical"
        if not_before:
            target += f"&not_before={quote(not_before)}"
        headers: Headers = (("Content-Type", "application/fhir+json"),)
        if key:
            headers = (*headers, ("Idempotency-Key", key))
        body = json.dumps(records[0] if len(records) == 1 else records).encode()
        return self.sending.send(Request("POST", target, headers, body))

    def planned(self, person: Person, **order: str) -> Mapping[str, Any]:
        """Hand a person over and give the plan."""
        answer = self.hand_over(person.bundle(self.handing.municipality), **order)
        expect(answer, 201)
        return plan_of(answer)

    def delivery_of(self, plan: Mapping[str, Any]) -> Mapping[str, Any]:
        """The delivery of a plan to the role that receives, as it is now."""
        answer = self.sending.get(f"/v1/handovers/{plan['id']}")
        expect(answer, 200)
        return part_of(answer.document, self.handing.role)

    def delivered(self, plan: Mapping[str, Any]) -> Mapping[str, Any]:
        """Wait until the delivery has come to its end at the recipient's node."""

        def look() -> tuple[Mapping[str, Any] | None, object]:
            part = self.delivery_of(plan)
            if part.get("state") == "stopped":
                raise Failed("a delivery that reaches its recipient", f"stopped: {part.get('problem')}")
            return part if part.get("state") in {"delivered", "accepted"} else None, part.get("state")

        return self.until(look, "the delivery to arrive")

    def arrivals(self, plan: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """What has arrived of a handover: every item of the receiving system's inbox that belongs to it."""
        found: list[Mapping[str, Any]] = []
        seen: set[str] = set()
        after: str | int = ""
        while True:
            answer = self.receiving.get("/v1/inbox", limit=1000, **({"after": after} if after else {}))
            expect(answer, 200)
            items = answer.document.get("items") or []
            found += [item for item in items if item.get("handover") == plan["id"]]
            # A cursor that leads nowhere new would go round for ever.
            if seen >= {str(item.get("id")) for item in items}:
                return found
            seen |= {str(item.get("id")) for item in items}
            after = answer.document.get("next") or items[-1]["id"]

    def until(self, look: Callable[[], tuple[_Found | None, object]], what: str) -> _Found:
        """Look until it is there. `look` gives it, or None, and a marker that changes while there is progress."""
        marker: object = None
        since = time.monotonic()
        while True:
            found, now = look()
            if found is not None:
                return found
            if now != marker:
                marker, since = now, time.monotonic()
            if time.monotonic() - since > self.profile.patience:
                raise Failed(what, f"nothing new for {self.profile.patience:.0f} seconds ({marker})")
            time.sleep(_LOOK_SECONDS)


# -- what is expected ------------------------------------------------------------------------------------------------


def expect(answer: Answer, *statuses: int) -> None:
    """The answer has one of these statuses. Raises Failed."""
    if answer.status not in statuses:
        raise Failed(" or ".join(str(status) for status in statuses), answer.told())


def expect_refusal(answer: Answer, *statuses: int, code: str = "") -> None:
    """The answer is a problem with one of these statuses, and with this code if one is given. Raises Failed."""
    wanted = f"{' or '.join(str(status) for status in statuses)} {code}".strip()
    if answer.status not in statuses or (code and answer.code != code):
        raise Failed(wanted, answer.told())
    if answer.header("content-type").partition(";")[0] != PROBLEM:
        raise Failed(f"{wanted} as {PROBLEM}", f"{answer.told()} as {answer.header('content-type') or 'nothing'}")


def expect_equal(what: str, expected: object, got: object) -> None:
    """Two values are the same. Raises Failed."""
    if expected != got:
        raise Failed(f"{what} {expected!r}", repr(got))


def expect_silence(answer: Answer, *secrets: str) -> None:
    """Nothing in the answer holds one of these texts. Raises Failed."""
    whole = answer.body.decode("utf-8", "replace") + repr(answer.headers)
    if any(secret in whole for secret in secrets):
        raise Failed("an answer that repeats nothing of the person", "the person's identifier stands in the answer")


def plan_of(answer: Answer) -> Mapping[str, Any]:
    """The one handover of an order's answer. Raises Failed."""
    found = answer.document.get("handovers") or []
    if len(found) != 1 or not isinstance(found[0], dict) or not found[0].get("id"):
        raise Failed("one handover with its id", f"{len(found)} of them")
    return dict(found[0])


def part_of(plan: Mapping[str, Any], role: str) -> Mapping[str, Any]:
    """The delivery of a plan to a role. Raises Failed."""
    for part in plan.get("deliveries") or []:
        if part.get("role") == role:
            return dict(part)
    raise Failed(f"a delivery to the {role}", "none in the plan")


def permitted(part: Mapping[str, Any]) -> set[str]:
    """The categories that a planned delivery may carry."""
    return {str(entry.get("category")) for entry in part.get("permitted") or []}


def new_key() -> str:
    """A key that was never used."""
    return f"conformance-{uuid7()}"


def _there(value: _Found | None) -> _Found:
    if value is None:
        raise LookupError("the test did not say that it needs this table of the profile")
    return value
