"""Receive what another organisation brings: a handover, an acceptance of one, or a notice of withdrawal.

The sender decided before it sent; the receiver decides too, by its own copy of the rulebook, and takes in nothing
that no legal basis gives it. A delivery that arrives twice is received once and acknowledged each time with the same
receipt.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypedDict, Unpack

import orjson
from sqlalchemy import Connection, select

from audit.log.entries import Entry, EntryType, Outcome, micros
from audit.log.waiting import Written
from audit.questions.subjects import Subject
from consent.deciding.verdicts import Decision
from consent.words.consents import ConsentRecord, newest
from consent.words.reading import ConsentError
from gateway.exchange.context import Exchange
from gateway.exchange.deciding import Case, decide_between, facts_of
from gateway.exchange.holding import keep_bodies, keep_message
from gateway.exchange.opening import Answer, Incoming, check_purpose
from gateway.exchange.releasing import Act, Body, provider_entry, sign_answer
from gateway.handover import carrying, onward, store
from gateway.handover.contact import contact_of, sealed_contact
from gateway.handover.states import ArrivalKind, DeliveryKind, DeliveryState
from gateway.handover.store import Arrived, NewArrival, Sent
from gateway.obligations.receiving import Brought, kept_until, moved_by, taken_in
from gateway.sources.backends import Locator, object_in
from gateway.storage.sealing import seal
from gateway.storage.tables import inbox
from gateway.story import Detail
from gateway.wire.decided import DecisionSummary, body_digest
from gateway.wire.identifiers import SubsystemId
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
Received = tuple[dict[str, Any], tuple[Entry, ...], Subject | None]
"""The receipt, what is put on record (the message's own entry first), and whose the message is."""


class Reception:
    """The door for what peers bring."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def receive(self, incoming: Incoming) -> Answer:
        """Receive a message of the service's kind and answer with a signed receipt. Raises ProblemError."""
        check_purpose(incoming)
        document = object_in(incoming.body)
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
            receipt, (own, *arising), subject = act(connection)
            body = orjson.dumps(receipt)
            answer = sign_answer(self._exchange, incoming, Body(200, "application/json", body))
            entry = replace(own, response_digest=body_digest(body))
            noticed = keep_message(self._exchange, connection, incoming, answer, entry)
            if incoming.service.keep_bodies:
                keep_bodies(connection, incoming.claims.message_id, subject, request=incoming.body, response=body)
            return Written(answer, (entry, *noticed, *arising))

        return (await self._exchange.log.commit(record)).value

    def _handover(self, incoming: Incoming, document: dict[str, Any]) -> Callable[[Connection], Received]:
        bundle = _member(document, "bundle", dict)
        delivery, handover = (_token(document, name) for name in ("delivery", "handover"))
        flow = _flow(incoming, document)
        _check(bundle)
        categories = categories_in(bundle)
        stated = carrying.read(document, incoming.now) if "wrd" in document else None
        words = _asserted(incoming, document) if stated is None else carrying.as_words(stated, _towards(incoming))
        by_word = frozenset(carrier.category for carrier in stated or ())
        decision = _decide(incoming, bundle, words, by_word)
        carrying.check_sections(decision, incoming.rulebook, stated or ())
        _refuse_beyond(incoming, decision, categories)
        named = [(identifier.system, identifier.value) for identifier in identifiers(bundle)]

        def act(connection: Connection) -> Received:
            # What a peer names together joins nobody: the arrival is found under each identifier, and that is all.
            subjects = self._exchange.subjects_of(incoming.service.id.subsystem)
            about: Detail = {"handover": handover, "delivery": delivery, "flow": flow}
            held = _held(connection, incoming, delivery)
            if held is not None:
                return self._again(connection, incoming, held, EntryType.RECEIPT, about)
            subject = subjects.claim(connection, named, incoming.now)
            done = Act(
                type=EntryType.RECEIPT,
                outcome=Outcome.SUCCESS,
                subject=subject.pseudonym,
                decision=decision,
                kept=categories,
                detail={**about, "again": False},
            )
            entry = provider_entry(self._exchange, incoming, done)
            identifier = incoming.claims.message_id
            brought = Brought(bundle, categories, decision, is_told=document.get("tells") is True)
            moved = moved_by(self._exchange, connection, incoming, brought, subject)
            arrival = _arrival(
                incoming,
                entry,
                subject,
                delivery=delivery,
                handover=handover,
                kind=ArrivalKind.HANDOVER,
                flow=flow,
                categories=categories,
                case=entry.case,
                sealed=seal(subject.key, f"inbox/{identifier}", orjson.dumps(bundle)),
                retain_until=kept_until(moved, entry),
            )
            store.add_arrival(connection, arrival)
            carrying.keep(connection, identifier, stated or ())
            return _receipt(arrival), (entry, *taken_in(self._exchange, connection, moved, entry)), subject

        return act

    def _again(
        self, connection: Connection, incoming: Incoming, held: Arrived, kind: EntryType, about: Detail
    ) -> Received:
        """What arrived before is acknowledged with the receipt of then, and nothing of it is taken in.

        Whatever else it may hold this time, the entry names no category: nobody here has got any. The receipt's digest
        tells its sender which body is held.
        """
        subject = self._exchange.subjects.by_id(connection, held.subject)
        detail = {**about, "again": True, "differs": held.digest != body_digest(incoming.body)}
        done = Act(type=kind, outcome=Outcome.SUCCESS, subject=subject.pseudonym if subject else None, detail=detail)
        delivery = str(about.get("delivery", about.get("notice")))
        receipt = {"receipt": held.id, "delivery": delivery, "received": held.at, "digest": held.digest}
        return receipt, (provider_entry(self._exchange, incoming, done),), None

    def _acceptance(self, incoming: Incoming, document: dict[str, Any]) -> Callable[[Connection], Received]:
        delivery = _token(document, "delivery")
        contact = contact_of(document)
        at = micros(incoming.now)

        def act(connection: Connection) -> Received:
            sent = _sent(connection, incoming, delivery)
            is_again = sent.state is DeliveryState.ACCEPTED
            subject = self._exchange.subjects.by_id(connection, sent.subject)
            done = Act(
                type=EntryType.ACCEPTANCE,
                outcome=Outcome.SUCCESS,
                subject=subject.pseudonym if subject else None,
                detail={"handover": sent.handover or "", "delivery": delivery, "again": is_again},
            )
            entry = replace(provider_entry(self._exchange, incoming, done), previous=sent.entry, case=sent.case)
            if not is_again:
                key = subject.key if subject is not None else None
                store.accept(connection, delivery, sealed_contact(key, "deliveries", delivery, contact), at, entry.id)
                store.complete(connection, sent.handover or "", at)
            return {"delivery": delivery, "accepted": at}, (entry,), subject

        return act

    def _notice(self, incoming: Incoming, document: dict[str, Any]) -> Callable[[Connection], Received]:
        notice, consent = (_token(document, name) for name in ("notice", "consent"))
        categories = _tokens("categories", _member(document, "categories", list))
        named = [(given.system, given.value) for given in Locator.several(document.get("subject"), "/subject")]
        messages = _tokens("messages", document.get("messages", []))
        digests = _tokens("words", document.get("words", []))
        told = onward.Told(consent, document.get("status"), frozenset(categories), named)

        def act(connection: Connection) -> Received:
            subjects = self._exchange.subjects_of(incoming.service.id.subsystem)
            about: Detail = {"notice": notice, "consent": consent}
            held = _held(connection, incoming, notice)
            if held is not None:
                again, told_again, whose = self._again(connection, incoming, held, EntryType.CONSENT, about)
                return {**again, "onward": onward.told_on(connection, held.id)}, told_again, whose
            by_word = carrying.arrivals_by(connection, digests, str(incoming.claims.issuer))
            answered = carrying.answered_by(connection, digests, str(incoming.claims.issuer))
            filed = tuple(dict.fromkeys((*_filed(connection, incoming, [*messages, *by_word]), *answered)))
            subject = subjects.claim(connection, named, incoming.now, filed)
            going = onward.going_on(self._exchange, connection, incoming, told, subject)
            done = Act(
                type=EntryType.CONSENT,
                outcome=Outcome.SUCCESS,
                subject=subject.pseudonym,
                detail={**about, "again": False, "onward": len(going.to)},
            )
            entry = provider_entry(self._exchange, incoming, done)
            arrival = _arrival(
                incoming,
                entry,
                subject,
                delivery=notice,
                handover=consent,
                kind=ArrivalKind.NOTICE,
                flow="F14",
                categories=frozenset(categories),
                case=None,
                sealed=seal(subject.key, f"inbox/{incoming.claims.message_id}", incoming.body),
            )
            store.add_arrival(connection, arrival)
            onward.plan(connection, incoming, going, entry)
            return {**_receipt(arrival), "onward": len(going.to)}, (entry,), subject

        return act


class _Brought(TypedDict, total=False):
    """What tells one arrival from another of the same message."""

    delivery: str
    handover: str
    kind: ArrivalKind
    flow: str
    categories: frozenset[str]
    case: str | None
    sealed: bytes
    retain_until: str | None


def _arrival(incoming: Incoming, entry: Entry, subject: Subject, **brought: Unpack[_Brought]) -> NewArrival:
    claims = incoming.claims
    return NewArrival(
        id=claims.message_id,
        sender=str(claims.issuer),
        recipient=str(incoming.service.id.subsystem),
        purpose=claims.purpose,
        subject=subject.id,
        digest=body_digest(incoming.body),
        at=micros(incoming.now),
        entry=entry.id,
        **brought,
    )


def _check(bundle: dict[str, Any]) -> None:
    findings = catalogue().validate_bundle(bundle) or check_single_subject(bundle)
    if findings:
        raise ProblemError(
            "invalid-request",
            pointer=f"/bundle{findings[0].pointer}",
            detail="the bundle breaks the schema: " + ", ".join(sorted({finding.code for finding in findings})),
            remedy="send a bundle that the published schemas accept",
        )


def _towards(incoming: Incoming) -> carrying.Towards:
    return carrying.Towards(incoming.claims.purpose, incoming.service.id.member, incoming.claims.issuer)


def _decide(
    incoming: Incoming, bundle: dict[str, Any], words: tuple[ConsentRecord, ...], by_word: frozenset[str]
) -> Decision:
    """Decide anew, by the facts of the bundle and the words that the sender states."""
    case = Case(
        provider=incoming.claims.issuer,
        requester=incoming.service.id.subsystem,
        purpose=incoming.claims.purpose,
        categories=categories_in(bundle),
        facts=facts_of(bundle, incoming.registry, incoming.now),
        # The person's consents are recorded with the sender, who states those that carry this delivery.
        consents=words,
        at=incoming.now,
        # What was withheld may be what a condition asks about, so a fact that is not there may still hold.
        is_complete=False,
        by_word=by_word,
        mode="handover",
    )
    return decide_between(incoming.registry, incoming.rulebook, case)


def _refuse_beyond(incoming: Incoming, decision: Decision, categories: frozenset[str]) -> None:
    """Refuse the whole if a category is among it that no legal basis gives. Raises ProblemError `not-permitted`."""
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


def _filed(connection: Connection, incoming: Incoming, messages: list[str]) -> tuple[str, ...]:
    """Under whom the arrivals are filed that a notice is about: those of the same sender, to the same member."""
    if not messages:
        return ()
    found = connection.execute(
        select(inbox.c.subject, inbox.c.recipient).where(
            inbox.c.id.in_(messages), inbox.c.sender == str(incoming.claims.issuer)
        )
    )
    # What reached another member of this node is another register's, whoever sent both.
    own = incoming.service.id.subsystem.member
    return tuple(sorted({row.subject for row in found if SubsystemId.parse(row.recipient).member == own}))


def _held(connection: Connection, incoming: Incoming, delivery: str) -> Arrived | None:
    """What this sender brought to this recipient under that id before."""
    return store.arrived(connection, delivery, str(incoming.claims.issuer), str(incoming.service.id.subsystem))


def _sent(connection: Connection, incoming: Incoming, delivery: str) -> Sent:
    """The delivery that an acceptance is about, if it reached the issuer and is its to accept. Raises ProblemError."""
    sent = store.sent(connection, delivery)
    # Only the one to whom it was sent may take over, and only from the one that sent it: the audience of the message.
    if (
        sent is None
        or sent.kind is not DeliveryKind.HANDOVER
        or sent.service.rpartition("/")[0] != str(incoming.claims.issuer)
        or sent.consumer != str(incoming.service.id.subsystem)
        or sent.purpose != incoming.claims.purpose
    ):
        raise ProblemError(
            "delivery-unknown",
            pointer="/delivery",
            detail="no delivery of that id was sent to this organisation for this purpose",
        )
    if sent.state is DeliveryState.STOPPED:
        # For good, and so by a code for good: whoever is told of a state would try again until the end of days.
        raise ProblemError(
            "delivery-unknown", pointer="/delivery", detail="the delivery was stopped: nothing of it counts as sent"
        )
    # What is due has not been sent, or its receipt is not here yet: accepted now, it would never be sent again.
    if sent.state not in (DeliveryState.DELIVERED, DeliveryState.ACCEPTED):
        raise ProblemError(
            "delivery-state",
            pointer="/delivery",
            detail=f"the delivery is {sent.state}: there is no receipt of it that could be followed by an acceptance",
            remedy="accept it again once it has been delivered",
        )
    return sent


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


def _receipt(arrival: NewArrival) -> dict[str, Any]:
    return {
        "receipt": arrival.id,
        "delivery": arrival.delivery,
        "received": arrival.at,
        "digest": arrival.digest,
    }


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
