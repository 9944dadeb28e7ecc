"""Hold what was exchanged as evidence, in the transaction that records what was done.

The signed texts of both sides always; the bodies where the service says so, sealed under the person's key; and who
received data under which consent, so that its withdrawal reaches them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import orjson
from sqlalchemy import Connection, bindparam, or_, select, update

from audit.log.entries import Entry, Outcome, micros
from audit.log.statements import Fixed
from audit.log.tables import FACETS, entries, facets
from audit.questions.subjects import Subject, Subjects
from audit.questions.words import RELEASED, RELEASES
from consent.deciding.verdicts import Decision
from consent.rules.law import Rulebook
from consent.rules.request import Emergency
from gateway.exchange.context import Exchange
from gateway.exchange.opening import Answer, Incoming
from gateway.person.values import Named
from gateway.storage.sealing import seal, unseal
from gateway.storage.tables import bodies, disclosures, messages
from gateway.wire.message import ResponseClaims

#: In the detail of an entry that says how a release ended: not a byte of it was sent.
UNSENT: Final = "unsent"
#: The part of an exchange's bodies that says why an emergency could not wait.
REASON: Final = "reason"


@dataclass(frozen=True, slots=True)
class Signed:
    """The signed texts of one exchange, and the version of the registry that vouched for them."""

    message_id: str
    direction: Literal["sent", "received"]  # seen from this node
    peer: str
    service: str
    request: str
    response: str | None
    registry: int


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer that was verified: its signed text, body and claims, and the registry's version that vouched for it."""

    text: str
    body: bytes
    claims: ResponseClaims
    registry: int


@dataclass(frozen=True, slots=True)
class Disclosure:
    """Who gives data to whom, about a person who is named so, and when."""

    sender: str
    recipient: str
    named: Named
    at: datetime


def keep_signed(connection: Connection, signed: Signed, entry: Entry, at: datetime) -> None:
    """Hold signed texts as evidence for the entry that speaks of them."""
    _KEEP_MESSAGE.run(
        connection,
        signed.message_id,
        signed.direction,
        signed.peer,
        signed.service,
        signed.request,
        signed.response,
        signed.registry,
        None if signed.response is None else signed.registry,
        entry.id,
        micros(at),
    )


def keep_message(
    exchange: Exchange, connection: Connection, incoming: Incoming, answer: Answer, entry: Entry
) -> tuple[Entry, ...]:
    """Hold a peer's message and our answer, and the checkpoint of the sender's log. Gives further entries to record."""
    claims = incoming.claims
    signed = Signed(
        message_id=claims.message_id,
        direction="received",
        peer=str(claims.issuer),
        service=str(claims.audience),
        request=incoming.call.message,
        response=answer.message,
        registry=incoming.registry.version,
    )
    keep_signed(connection, signed, entry, incoming.now)
    return exchange.witnessing.take(connection, claims.checkpoint, incoming.call.message, claims.issuer.member)


def keep_response(
    exchange: Exchange, connection: Connection, message_id: str, answered: Answered, entry: Entry
) -> tuple[Entry, ...]:
    """Hold the answer beside the message that we sent, and the checkpoint of the answering log. Gives further entries
    to record with it.
    """
    _KEEP_RESPONSE.run(connection, message_id, answered.text, entry.id, answered.registry)
    claims = answered.claims
    return exchange.witnessing.take(connection, claims.checkpoint, answered.text, claims.issuer.subsystem.member)


def keep_bodies(
    connection: Connection,
    message_id: str,
    subject: Subject | None,
    *,
    request: bytes | None = None,
    response: bytes | None = None,
) -> None:
    """Hold the bodies of an exchange as evidence; nothing is held of a person whose key was destroyed."""
    if subject is None:
        return
    for part, body in (("request", request), ("response", response)):
        if body is not None:
            keep_body(connection, message_id, part, subject, body)


def keep_body(connection: Connection, message_id: str, part: str, subject: Subject, body: bytes) -> None:
    """Hold a body, sealed under the data subject's key."""
    _KEEP_BODY.run(connection, message_id, part, subject.id, seal(subject.key, f"bodies/{message_id}/{part}", body))


def keep_reason(connection: Connection, message_id: str, subject: Subject, emergency: Emergency) -> None:
    """Hold why an emergency could not wait: a free text, sealed for whoever reviews it, and never in the log."""
    keep_body(connection, message_id, REASON, subject, emergency.justification.encode())


def reason_of(connection: Connection, subjects: Subjects, message_id: str | None) -> str | None:
    """Why an emergency could not wait; None of an exchange that was none, or of a person who was forgotten."""
    held = select(bodies.c.subject, bodies.c.sealed).where(bodies.c.message_id == message_id, bodies.c.part == REASON)
    row = connection.execute(held).first()
    key = None if row is None else subjects.key_of(connection, row.subject)
    if row is None or key is None:
        return None
    return unseal(key, f"bodies/{message_id}/{REASON}", bytes(row.sealed)).decode()


def basis_and_consents(decision: Decision | None) -> tuple[tuple[str, ...], tuple[tuple[str, int], ...]]:
    """The bases that carried a decision, and the consents with their versions; of no decision, none."""
    if decision is None:
        return (), ()
    bases = sorted({permitted.basis for permitted in decision.permitted})
    consents = sorted(
        {
            (permitted.consent_id, permitted.consent_version)
            for permitted in decision.permitted
            if permitted.consent_id is not None and permitted.consent_version is not None
        }
    )
    return tuple(bases), tuple(consents)


def bases_of(decision: Decision, rulebook: Rulebook, there: Iterable[str]) -> tuple[str, ...]:
    """The bases by which those categories go that were there to be given: what is permitted need not be."""
    held, covers = tuple(there), rulebook.covers
    return tuple(
        sorted(
            {
                given.basis
                for given in decision.permitted
                if any(covers(frozenset({given.category}), part) for part in held)
            }
        )
    )


def case_of(connection: Connection, consent: str, recipient: str) -> str | None:
    """The case in which a recipient last got something under a consent, as the log tells."""
    found = connection.scalars(
        select(entries.c.body)
        .join(facets, facets.c.idx == entries.c.idx)
        .where(facets.c.kind == FACETS["consent"], facets.c.value == consent)
        .where(entries.c.recipient == recipient, entries.c.type.in_(RELEASES))
        .order_by(entries.c.idx.desc())
        .limit(1)
    )
    return next((Entry.parse(body).case for body in found), None)


def has_surely_left_nothing(connection: Connection, consent: str, recipient: str, since: int) -> bool:
    """Whether all that was to leave under a consent to a recipient came to nothing before it was sent.

    `since` is when it was first put on record as leaving, in microseconds. What the log does not tell has left.
    """
    texts = connection.scalars(
        select(entries.c.body)
        .join(facets, facets.c.idx == entries.c.idx)
        .where(facets.c.kind == FACETS["consent"], facets.c.value == consent)
        .where(or_(entries.c.recipient == recipient, entries.c.recipient.is_(None)))
        .where(entries.c.type.in_(RELEASES))
        .order_by(entries.c.idx)
    )
    found = [Entry.parse(body) for body in texts]
    requested = [entry for entry in found if entry.outcome is Outcome.REQUESTED]
    # An attempt of which the end is not on record is under way, or has been cut off.
    unsent = {entry.previous for entry in found if entry.detail.get(UNSENT) is True}
    if not requested or micros(requested[0].recorded) != since:
        return False  # the first of it was put away in an archive, or it was an answer
    has_left = any(entry.outcome.value in RELEASED for entry in found)
    return not has_left and all(entry.id in unsent for entry in requested)


def keep_disclosures(connection: Connection, decision: Decision, subject: Subject, disclosure: Disclosure) -> None:
    """Remember who received data under which consent, so that its withdrawal reaches them."""
    recipient = disclosure.recipient
    for consent, _ in basis_and_consents(decision)[1]:
        if _DISCLOSED.row(connection, consent, recipient) is None:
            pairs = orjson.dumps([{"system": system, "value": value} for system, value in disclosure.named.pairs])
            sealed = seal(subject.key, f"disclosures/{consent}/{recipient}", pairs)
            _DISCLOSE.run(connection, consent, recipient, disclosure.sender, subject.id, micros(disclosure.at), sealed)


_KEEP_MESSAGE = Fixed.insert(
    messages, "message_id", "direction", "peer", "service", "request", "response", "registry_version",
    "response_registry_version", "entry", "at",
)  # fmt: skip
_KEEP_RESPONSE = Fixed(
    update(messages)
    .where(messages.c.message_id == bindparam("of"), messages.c.direction == "sent")
    .values(response=bindparam("answer"), entry=bindparam("by"), response_registry_version=bindparam("version")),
    "of",
    "answer",
    "by",
    "version",
)
_KEEP_BODY = Fixed.insert(bodies, "message_id", "part", "subject", "sealed")
_DISCLOSE = Fixed.insert(disclosures, "consent", "recipient", "sender", "subject", "at", "identifiers")
_DISCLOSED = Fixed(
    select(disclosures.c.at).where(
        disclosures.c.consent == bindparam("under"), disclosures.c.recipient == bindparam("to")
    ),
    "under",
    "to",
)
