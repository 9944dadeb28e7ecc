"""The client side of the wire: sign a message, send it, verify its answer, and keep both as evidence.

A query, a delivery, a notice and a witness's request go the same way. Each attempt is a message of its own.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from sqlalchemy import Connection

from audit.log.entries import Entry, new_id
from gateway.exchange.context import Exchange
from gateway.exchange.holding import Answered, Signed, keep_signed
from gateway.exchange.releasing import PROBLEM_TYPE
from gateway.exchange.transport import Reply
from gateway.registry.read.entries import ServiceDescriptor
from gateway.registry.read.registry import Registry
from gateway.registry.read.standing import Standing
from gateway.wire.decided import DecisionSummary, body_digest
from gateway.wire.identifiers import ServiceId, SubsystemId
from gateway.wire.message import Checkpoint, RequestClaims
from gateway.wire.problem_table import PROBLEMS
from gateway.wire.problems import ProblemError, UnsentError
from gateway.wire.signing import Sent, Verifier, sign_request, verify_response

MESSAGE_TYPE = "application/json"


MESSAGE_LIFETIME = timedelta(seconds=60)
_LONGEST_WAIT = 86_400


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A signed message on its way to another node."""

    claims: RequestClaims
    text: str
    body: bytes
    service: ServiceDescriptor
    standing: Standing


def resolve(registry: Registry, service: ServiceId) -> ServiceDescriptor:
    """The descriptor of a service. Raises ProblemError `member-unknown` or `service-unknown`."""
    descriptor = registry.service(service)
    if descriptor is None:
        if registry.member(service.subsystem.member) is None:
            raise ProblemError("member-unknown", detail="the registry lists no such member")
        raise ProblemError("service-unknown", detail="the registry lists no such service of this member")
    return descriptor


def keeps(exchange: Exchange, service: ServiceDescriptor) -> bool:
    """Whether the side that asks holds the bodies. Of a service of our own, the side that answers does."""
    return service.keep_bodies and service.id.subsystem not in exchange.subsystems


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is to be said to a service, before it is signed. `case` and `user` are keyed hashes."""

    consumer: SubsystemId
    service: ServiceDescriptor
    purpose: str
    categories: frozenset[str]
    body: bytes
    case: str | None = None
    user: str | None = None


def prepare(exchange: Exchange, standing: Standing, message: Message, now: datetime) -> Outgoing:
    """Sign a message. Each attempt is a message of its own, with an id of its own."""
    latest = exchange.log.latest()
    claims = RequestClaims(
        issuer=message.consumer,
        audience=message.service.id,
        message_id=new_id(now),
        issued_at=now,
        expires_at=_deadline(exchange, now),
        method="POST",
        target="/",
        content_type=MESSAGE_TYPE,
        digest=body_digest(message.body),
        purpose=message.purpose,
        categories=message.categories,
        rulebook=standing.rulebook.digest,
        checkpoint=Checkpoint(latest.origin, latest.size, latest.root),
        case=message.case,
        user=message.user,
    )
    return Outgoing(
        claims, sign_request(claims, exchange.signer(message.consumer.member)), message.body, message.service, standing
    )


def _deadline(exchange: Exchange, now: datetime) -> datetime:
    """Until when we wait for the answer. It is signed, so that the other side releases nothing in vain."""
    begun = now.replace(microsecond=0)
    seconds = timedelta(seconds=math.ceil((now - begun).total_seconds() + exchange.limits.peer_timeout_seconds))
    return begun + min(MESSAGE_LIFETIME, seconds)


async def send(exchange: Exchange, outgoing: Outgoing, trace: Mapping[str, str]) -> Reply:
    """Send the message to the first node of the member that answers, and wait until it expires. Raises ProblemError."""
    left = (outgoing.claims.expires_at - exchange.clock()).total_seconds()
    if left <= 0:
        raise UnsentError("busy", detail="the message waited here until it had expired; it was not sent", retry_after=1)
    try:
        async with asyncio.timeout(left):
            return await _send(exchange, outgoing, trace)
    except TimeoutError:
        raise ProblemError("peer-timeout", detail="the other node did not answer before the message expired") from None


async def _send(exchange: Exchange, outgoing: Outgoing, trace: Mapping[str, str]) -> Reply:
    failure: ProblemError | None = None
    for node in outgoing.standing.registry.nodes_of(outgoing.service.id.subsystem.member):
        try:
            with exchange.telemetry.stage("send"):
                return await exchange.transport.send(
                    node, outgoing.text, outgoing.body, outgoing.claims.content_type, trace
                )
        except ProblemError as problem:
            # A node that was reached may have acted on the message: only one that was not is passed over for the next.
            if problem.code != "peer-unreachable":
                raise
            # Once it may have reached one of them, that another was not reached makes nothing certain.
            if failure is None or isinstance(failure, UnsentError):
                failure = problem
    raise failure or UnsentError("member-unknown", detail="the registry lists no node that serves this member")


def verified(exchange: Exchange, outgoing: Outgoing, reply: Reply) -> Answered:
    """Verify the answer against the message that it answers. Raises ProblemError."""
    if reply.message is None:
        if reply.content_type.startswith(PROBLEM_TYPE):
            raise refused_by_peer(reply.body, None)
        raise ProblemError("peer-answer-invalid", detail=f"the other node answered {reply.status} without a signature")
    now = exchange.clock()
    # The registry may have changed while the message was under way: what counts is what it says now.
    registry = exchange.standing(now).registry
    claims = verify_response(
        reply.message,
        reply.body,
        Verifier(registry.signing_key, now),
        Sent(outgoing.text, outgoing.service.id, outgoing.claims.issuer),
    )
    return Answered(reply.message, reply.body, claims, registry.version)


def refused_by_peer(body: bytes, decision: DecisionSummary | None) -> ProblemError:
    """The problem that the other node answered with. Its words are kept only where they are codes of the table."""
    try:
        document = orjson.loads(body)
        code, pointer, remedy = document.get("code"), document.get("pointer"), document.get("remedy")
        after = document.get("retry_after")
    except (orjson.JSONDecodeError, AttributeError):
        code, pointer, remedy, after = None, None, None, None
    if code not in PROBLEMS:
        return ProblemError("peer-refused", detail="the other node refused without a code that we know")
    return ProblemError(
        code,
        pointer=pointer if isinstance(pointer, str) else None,
        detail="the other organisation's node answered so",
        remedy=remedy if isinstance(remedy, str) else "",
        retry_after=after if type(after) is int and 0 < after <= _LONGEST_WAIT else None,
        decision=decision,
    )


def keep_request(connection: Connection, outgoing: Outgoing, entry: Entry) -> None:
    """Hold our signed text as evidence, in the transaction that records that it will leave."""
    signed = Signed(
        message_id=outgoing.claims.message_id,
        direction="sent",
        peer=str(outgoing.service.id.subsystem),
        service=str(outgoing.service.id),
        request=outgoing.text,
        response=None,
        registry=outgoing.standing.registry.version,
    )
    keep_signed(connection, signed, entry, outgoing.claims.issued_at)
