"""Receive what another organisation brings: a handover, an acceptance of one, or a notice of withdrawal.

The sender decided before it sent; the receiver decides too, by its own copy of the rulebook, and takes in nothing
that no legal basis gives it. A delivery that arrives twice is received once and acknowledged each time with the same
receipt.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
from sqlalchemy import Connection, Row, Select, bindparam, func, insert, select, update

from audit.log.entries import Entry, EntryType, Outcome
from audit.log.log import Written
from audit.questions.subjects import Subject
from consent.consents import ConsentError, ConsentRecord, newest
from gateway.exchange.context import Exchange
from gateway.exchange.deciding import Case, decide_between, facts_of
from gateway.exchange.handover import carrying
from gateway.exchange.handover.contact import contact_of, sealed_contact
from gateway.exchange.handover.states import (
    SETTLED,
    ArrivalKind,
    ArrivalState,
    DeliveryKind,
    DeliveryState,
    HandoverState,
)
from gateway.exchange.opening import Answer, Incoming, check_purpose
from gateway.exchange.releasing import keep_bodies, keep_message, provider_entry, sign_answer
from gateway.sources.backends import Locator
from gateway.storage.sealing import seal
from gateway.storage.tables import deliveries, handovers, inbox
from gateway.wire.identifiers import SubsystemId
from gateway.wire.message import DecisionSummary, body_digest
from gateway.wire.problems import ProblemError
from schemas.catalogue import catalogue
from schemas.facts import check_single_subject, identifiers
from schemas.projection import categories_in

#: How many messages or categories a notice may name, and how many consents a handover.
MOST_NAMED = 128
#: What an id of a peer's may be: the columns that keep it are no wider, and no text of a database holds NUL.
_TOKEN = re.compile(r"[\x21-\x7e]{1,64}")
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_HIGHEST_VERSION = 2**31 - 1
Received = tuple[dict[str, Any], Entry, Subject | None]


class Reception:
    """The door for what peers bring."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def receive(self, incoming: Incoming) -> Answer:
        """Receive a message of the service's kind and answer with a signed receipt. Raises ProblemError."""
        check_purpose(incoming)
        document = _document(incoming.body)
        match incoming.service.kind:
            case "inbox":
                act = self._handover(incoming, document)
            case "acceptance":
                act = self._acceptance(incoming, document)
            case "notice":
                act = self._notice(incoming, document)
            case _:
                raise ProblemError("service-unknown", detail="the service is not one that receives messages")
        if _NUL.search(incoming.body):
            # One database would take it and the other not; no reader has a use for it.
            raise ProblemError("invalid-request", detail="a text holds the character NUL", remedy="leave it out")
        return await self._recorded(incoming, act)

    async def _recorded(self, incoming: Incoming, act: Callable[[Connection], Received]) -> Answer:
        def record(connection: Connection) -> Written[Answer]:
            self._exchange.replays.take(connection, incoming.claims.message_id, incoming.claims.expires_at)
            receipt, entry, subject = act(connection)
            body = orjson.dumps(receipt)
            answer = sign_answer(self._exchange, incoming, 200, "application/json", body, None)
            entry = replace(entry, response_digest=body_digest(body))
            noticed = keep_message(self._exchange, connection, incoming, answer, entry)
            if incoming.service.keep_bodies:
                keep_bodies(connection, incoming.claims.message_id, subject, request=incoming.body, response=body)
            return Written(answer, (entry, *noticed))

        return (await self._exchange.log.commit(record)).value

    def _handover(self, incoming: Incoming, document: dict[str, Any]) -> Callable[[Connection], Received]:
        bundle = _member(document, "bundle", dict)
        delivery, handover = (_token(document, name) for name in ("delivery", "handover"))
        flow = _flow(incoming, document)
        findings = catalogue().validate_bundle(bundle) or check_single_subject(bundle)
        if findings:
            raise ProblemError(
                "invalid-request",
                pointer=f"/bundle{findings[0].pointer}",
                detail="the bundle breaks the schema: " + ", ".join(sorted({finding.code for finding in findings})),
                remedy="send a bundle that the published schemas accept",
            )
        categories = categories_in(bundle)
        stated = carrying.read(document, incoming.now) if "wrd" in document else None
        case = Case(
            provider=incoming.claims.issuer,
            requester=incoming.service.id.subsystem,
            purpose=incoming.claims.purpose,
            categories=categories,
            facts=facts_of(bundle, incoming.registry, incoming.now),
            # The person's consents are recorded with the sender, who states those that carry this delivery.
            consents=_asserted(incoming, document) if stated is None else carrying.as_words(stated, incoming),
            at=incoming.now,
            # What was withheld may be what a condition asks about, so a fact that is not there may still hold.
            is_complete=False,
            mode="handover",
        )
        decision = decide_between(incoming.registry, incoming.rulebook, case)
        carrying.check_sections(decision, incoming.rulebook, stated or ())
        carried = frozenset(given.category for given in decision.permitted if carrying.is_carried(given))
        beyond = {category for category in categories if not incoming.rulebook.covers(carried, category)}
        if beyond:
            raise ProblemError(
                "not-permitted",
                pointer="/bundle",
                detail="the bundle holds categories that no legal basis gives to this recipient",
                remedy="send only: " + ", ".join(sorted(carried)),
                decision=DecisionSummary.of(decision),
            )
        named = [(one.system, one.value) for one in identifiers(bundle)]
        digest = body_digest(incoming.body)
        at = _micros(incoming)

        def act(connection: Connection) -> Received:
            # What a peer names together joins nobody: the arrival is found under each identifier, and that is all.
            subjects = self._exchange.subjects_of(incoming.service.id.subsystem)
            held = _held(connection, incoming, delivery)
            known = subjects.by_id(connection, held.subject) if held is not None else None
            subject = known or subjects.claim(connection, named, incoming.now)
            entry = provider_entry(
                self._exchange,
                incoming,
                type_=EntryType.RECEIPT,
                outcome=Outcome.SUCCESS,
                subject=subject.pseudonym,
                decision=decision,
                kept=categories,
                detail={"handover": handover, "delivery": delivery, "flow": flow, "again": held is not None},
            )
            if held is None:
                identifier = incoming.claims.message_id
                connection.execute(
                    insert(inbox),
                    {
                        "id": identifier,
                        "delivery": delivery,
                        "handover": handover,
                        "sender": str(incoming.claims.issuer),
                        "recipient": str(incoming.service.id.subsystem),
                        "kind": ArrivalKind.HANDOVER.value,
                        "flow": flow,
                        "purpose": incoming.claims.purpose,
                        "categories": " ".join(sorted(categories)),
                        "subject": subject.id,
                        "state": ArrivalState.RECEIVED.value,
                        "digest": digest,
                        "received": at,
                        "changed": at,
                        "entry": entry.id,
                        "case_reference": entry.case,
                        "sealed": seal(subject.key, f"inbox/{identifier}", orjson.dumps(bundle)),
                    },
                )
                carrying.keep(connection, identifier, stated or ())
                return _receipt(identifier, delivery, at, digest), entry, subject
            return _receipt(held.id, delivery, held.received, held.digest), entry, subject

        return act

    def _acceptance(self, incoming: Incoming, document: dict[str, Any]) -> Callable[[Connection], Received]:
        delivery = _token(document, "delivery")
        contact = contact_of(document)
        at = _micros(incoming)

        def act(connection: Connection) -> Received:
            row = _sent(connection, incoming, delivery)
            subject = self._exchange.subjects.by_id(connection, row.subject)
            entry = replace(
                provider_entry(
                    self._exchange,
                    incoming,
                    type_=EntryType.ACCEPTANCE,
                    outcome=Outcome.SUCCESS,
                    subject=subject.pseudonym if subject else None,
                    detail={
                        "handover": row.handover,
                        "delivery": delivery,
                        "again": row.state == DeliveryState.ACCEPTED.value,
                    },
                ),
                previous=row.entry,
                case=row.case,
            )
            if row.state != DeliveryState.ACCEPTED.value:
                connection.execute(
                    update(deliveries)
                    .where(deliveries.c.id == delivery, deliveries.c.state == DeliveryState.DELIVERED.value)
                    .values(
                        state=DeliveryState.ACCEPTED.value,
                        contact_sealed=sealed_contact(self._exchange.subjects, connection, "deliveries", row, contact),
                        changed=at,
                        entry=entry.id,
                        sealed=None,
                    )
                )
                complete(connection, row.handover, at)
            return {"delivery": delivery, "accepted": at}, entry, subject

        return act

    def _notice(self, incoming: Incoming, document: dict[str, Any]) -> Callable[[Connection], Received]:
        notice, consent = (_token(document, name) for name in ("notice", "consent"))
        categories = _tokens("categories", _member(document, "categories", list))
        named = [(one.system, one.value) for one in Locator.several(document.get("subject"), "/subject")]
        messages = _tokens("messages", document.get("messages", []))
        digests = _tokens("words", document.get("words", []))
        at = _micros(incoming)

        def act(connection: Connection) -> Received:
            subjects = self._exchange.subjects_of(incoming.service.id.subsystem)
            held = _held(connection, incoming, notice)
            known = subjects.by_id(connection, held.subject) if held is not None else None
            by_word = carrying.arrivals_by(connection, digests, str(incoming.claims.issuer))
            about = self._about(connection, incoming, [*messages, *by_word])
            subject = known or subjects.claim(connection, named, incoming.now, about)
            entry = provider_entry(
                self._exchange,
                incoming,
                type_=EntryType.CONSENT,
                outcome=Outcome.SUCCESS,
                subject=subject.pseudonym,
                detail={"notice": notice, "consent": consent, "again": held is not None},
            )
            if held is None:
                identifier = incoming.claims.message_id
                connection.execute(
                    insert(inbox),
                    {
                        "id": identifier,
                        "delivery": notice,
                        "handover": consent,
                        "sender": str(incoming.claims.issuer),
                        "recipient": str(incoming.service.id.subsystem),
                        "kind": ArrivalKind.NOTICE.value,
                        "flow": "F14",
                        "purpose": incoming.claims.purpose,
                        "categories": " ".join(sorted(categories)),
                        "subject": subject.id,
                        "state": ArrivalState.RECEIVED.value,
                        "digest": body_digest(incoming.body),
                        "received": at,
                        "changed": at,
                        "entry": entry.id,
                        "sealed": seal(subject.key, f"inbox/{identifier}", incoming.body),
                    },
                )
                return _receipt(identifier, notice, at, body_digest(incoming.body)), entry, subject
            return _receipt(held.id, notice, held.received, held.digest), entry, subject

        return act

    def _about(self, connection: Connection, incoming: Incoming, messages: list[str]) -> tuple[str, ...]:
        """Under whom the arrivals are filed that a notice is about; only those that came from the same sender."""
        if not messages:
            return ()
        found = connection.scalars(
            select(inbox.c.subject).where(inbox.c.id.in_(messages), inbox.c.sender == str(incoming.claims.issuer))
        )
        return tuple(sorted(set(found)))


def complete(connection: Connection, handover: str, at: int) -> None:
    """Close a handover once every one of its deliveries is accepted or stopped; its payload is then let go."""
    open_ = connection.execute(
        select(func.count())
        .select_from(deliveries)
        .where(
            deliveries.c.handover == handover,
            deliveries.c.kind == DeliveryKind.HANDOVER.value,
            deliveries.c.state.not_in(SETTLED),
        )
    ).scalar_one()
    if open_ == 0:
        connection.execute(
            update(handovers)
            .where(handovers.c.id == handover)
            .values(state=HandoverState.COMPLETED.value, changed=at, sealed=None)
        )


# By the recipient too: while it waited, the delivery may have been turned to another system of this node, and that
# one has not got it yet. By the sender, since ids of deliveries are the senders' own.
_HELD: Select[Any] = select(inbox.c.id, inbox.c.received, inbox.c.digest, inbox.c.subject).where(
    inbox.c.delivery == bindparam("of"),
    inbox.c.sender == bindparam("sent_by"),
    inbox.c.recipient == bindparam("sent_to"),
)


def _held(connection: Connection, incoming: Incoming, delivery: str) -> Row[Any] | None:
    """What this sender brought to this recipient under that id before."""
    sides = {"sent_by": str(incoming.claims.issuer), "sent_to": str(incoming.service.id.subsystem)}
    return connection.execute(_HELD, {"of": delivery, **sides}).first()


def _sent(connection: Connection, incoming: Incoming, delivery: str) -> Row[Any]:
    """The delivery that an acceptance is about, if it reached the issuer and is its to accept. Raises ProblemError."""
    row = connection.execute(
        select(deliveries, func.coalesce(deliveries.c.case_reference, handovers.c.case_reference).label("case"))
        .outerjoin(handovers, handovers.c.id == deliveries.c.handover)
        .where(deliveries.c.id == delivery)
    ).first()
    # Only the one to whom it was sent may take over, and only from the one that sent it: the audience of the message.
    if (
        row is None
        or row.kind != DeliveryKind.HANDOVER.value
        or row.service.rpartition("/")[0] != str(incoming.claims.issuer)
        or row.consumer != str(incoming.service.id.subsystem)
        or row.purpose != incoming.claims.purpose
    ):
        raise ProblemError(
            "delivery-unknown",
            pointer="/delivery",
            detail="no delivery of that id was sent to this organisation for this purpose",
        )
    # What is due has not been sent, or its receipt is not here yet: accepted now, it would never be sent again.
    if row.state not in (DeliveryState.DELIVERED, DeliveryState.ACCEPTED):
        raise ProblemError(
            "delivery-state",
            pointer="/delivery",
            detail=f"the delivery is {row.state}: there is no receipt of it that could be followed by an acceptance",
            remedy="accept it again once it has been delivered",
        )
    return row


def _asserted(incoming: Incoming, document: dict[str, Any]) -> tuple[ConsentRecord, ...]:
    """The consents that the sender says carry its handover. Raises ProblemError."""
    stated = document.get("consents", [])
    if not isinstance(stated, list) or len(stated) > MOST_NAMED:
        raise _unread(f"consents is no list of at most {MOST_NAMED} consents")
    try:
        words = tuple(ConsentRecord.from_dict(word) for word in stated)
        # A sender speaks for what its own organisation holds: another's word is not its to state.
        is_own = all(SubsystemId.parse(word.recorded_by).member == incoming.claims.issuer.member for word in words)
    except (ConsentError, TypeError, AttributeError, ValueError):
        raise _unread("the consents that are to carry the delivery cannot be read") from None
    if not all(_TOKEN.fullmatch(word.id) and 0 < word.version <= _HIGHEST_VERSION for word in words):
        raise _unread("a consent has an id of at most 64 visible ASCII characters, and a version from 1")
    if not is_own:
        raise _unread("a consent was recorded by another organisation than the sender's")
    return newest(words)


def _unread(detail: str) -> ProblemError:
    return ProblemError(
        "invalid-request", pointer="/consents", detail=detail, remedy="send each consent as it is recorded"
    )


def _flow(incoming: Incoming, document: dict[str, Any]) -> str:
    flow: str = _member(document, "flow", str)
    if flow not in incoming.rulebook.flows:
        raise ProblemError(
            "flow-unknown",
            pointer="/flow",
            detail="the rulebook has no such flow",
            remedy="use one of: " + ", ".join(sorted(incoming.rulebook.flows)),
        )
    return flow


def _receipt(identifier: str, delivery: str, at: int, digest: str) -> dict[str, Any]:
    return {"receipt": identifier, "delivery": delivery, "received": at, "digest": digest}


def _micros(incoming: Incoming) -> int:
    return int(incoming.now.timestamp() * 1_000_000)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise ProblemError("invalid-request", detail="the body is not a JSON object", remedy="send a JSON object")
    return document


def _member(document: dict[str, Any], name: str, kind: type) -> Any:
    value = document.get(name)
    if not isinstance(value, kind):
        raise ProblemError("invalid-request", pointer=f"/{name}", detail=f"{name} is missing or of another type")
    return value


def _token(document: dict[str, Any], name: str) -> str:
    value: str = _member(document, name, str)
    if _TOKEN.fullmatch(value) is None:
        raise ProblemError(
            "invalid-request", pointer=f"/{name}", detail=f"{name} is to be 1 to 64 visible ASCII characters"
        )
    return value


def _tokens(name: str, value: object) -> list[str]:
    """A list of ids or codes, bounded before the log's one writer works on it. Raises ProblemError."""
    if isinstance(value, list) and len(value) <= MOST_NAMED:
        tokens = [item for item in value if isinstance(item, str) and _TOKEN.fullmatch(item)]
        if len(tokens) == len(value):
            return tokens
    raise ProblemError(
        "invalid-request",
        pointer=f"/{name}",
        detail=f"{name} is to be a list of at most {MOST_NAMED}, each of 1 to 64 visible ASCII characters",
    )
