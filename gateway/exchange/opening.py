"""Open a message from a peer: the stages that every message passes before anyone looks at what it wants.

What fails here fails before the sender is known, so the answer is a plain problem, unsigned, and the refusal is on
record under the sender's TLS identity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from consent.rules.law import Rulebook
from consent.rules.request import Emergency
from gateway.exchange.context import Exchange
from gateway.keys.tls import peer_pin
from gateway.registry.read.entries import Node, ServiceDescriptor
from gateway.registry.read.registry import Registry
from gateway.wire.message import RequestClaims
from gateway.wire.problems import ProblemError
from gateway.wire.signing import Verifier, check_body, open_request


@dataclass(frozen=True, slots=True)
class PeerCall:
    """What a peer's HTTP request brought, before anything of it is believed."""

    message: str
    body: bytes
    content_type: str
    certificate: bytes
    trace_id: str
    trace: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that is what it claims to be, about a service of ours, at one moment."""

    call: PeerCall
    now: datetime
    registry: Registry
    rulebook: Rulebook
    claims: RequestClaims
    service: ServiceDescriptor
    emergency: Emergency | None = None

    @property
    def body(self) -> bytes:
        """The inner body, as its digest was signed."""
        return self.call.body

    def with_emergency(self, justification: str | None) -> Incoming:
        """The same message, asked in an emergency if there is a justification."""
        return replace(self, emergency=Emergency(justification)) if justification is not None else self


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: HTTP status, the signed answer, and the body that its digest covers.

    One that is held back leaves at a fixed step after the message came, so that its time tells nothing.
    """

    status: int
    message: str | None
    content_type: str
    body: bytes
    is_held_back: bool = False


def open_message(exchange: Exchange, call: PeerCall) -> Incoming:
    """Verify a message, refuse replays, resolve its service. Raises ProblemError, each refusal with its own code."""
    now = exchange.clock()
    standing = exchange.standing(now)
    registry = standing.registry
    claims = _authenticate(exchange, call, registry, now)
    exchange.replays.refuse_seen(claims.message_id)
    check_body(claims, call.body)
    if call.content_type != claims.content_type:
        raise ProblemError(
            "content-type-mismatch",
            detail="the Content-Type of the request is not the one that was signed",
            remedy="send the body with the Content-Type that the message's cty names",
        )
    service = registry.service(claims.audience)
    if service is None:
        raise ProblemError("service-unknown", detail="the registry lists no such service of this member")
    return Incoming(call, now, registry, standing.rulebook, claims, service)


def check_in_time(exchange: Exchange, incoming: Incoming, wait: float = 0.0) -> None:
    """Does anybody still wait for the answer, `wait` seconds from now? Raises ProblemError `busy`.

    `exp` is the asker's own deadline. What was released after it would be a disclosure on record that nobody got. No
    tolerance for clocks here: an asker that asks again loses a second, and a release cannot be taken back.
    """
    left = (incoming.claims.expires_at - exchange.clock()).total_seconds()
    if left <= wait:
        raise ProblemError(
            "busy",
            detail="the answer would not be ready before the message expires, so nothing was released",
            remedy="ask again after Retry-After",
            retry_after=max(1, math.ceil(wait)),
        )


def check_still_vouched(exchange: Exchange, incoming: Incoming) -> None:
    """Does the registry, as it is now, still vouch for the sender and list the service? Raises ProblemError.

    Asked before data leaves: a source may take its time, and whoever was revoked meanwhile gets nothing.
    """
    registry = exchange.standing(exchange.clock()).registry
    if registry.content is incoming.registry.content:
        return
    _authenticate(exchange, incoming.call, registry, incoming.now)
    if registry.service(incoming.claims.audience) is None:
        raise ProblemError("service-unknown", detail="the registry lists no such service of this member any more")


def calling_node(registry: Registry, certificate: bytes, now: datetime) -> Node:
    """The node at the other end, by its TLS certificate (DER). Raises ProblemError.

    The handshake has checked the chain and the times; the pin says whose it is, and the profile is checked here. A
    connection may outlast its certificate, so the time is looked at with every message.
    """
    node = registry.node_by_pin(peer_pin(certificate)) if certificate else None
    if node is None:
        raise ProblemError("tls-certificate-unknown", detail="the registry lists no node with this TLS certificate")
    checked = registry.tls_certificate(node, certificate)
    if checked is None:
        raise ProblemError(
            "tls-certificate-unfit", detail="the certificate is not of the profile of a node's certificate"
        )
    if not checked.not_before <= now <= checked.not_after:
        raise ProblemError("tls-certificate-not-in-force", detail="the certificate or its anchor is not in force")
    return node


def _authenticate(exchange: Exchange, call: PeerCall, registry: Registry, now: datetime) -> RequestClaims:
    """Who sent the message, by the connection and by the signature. Raises ProblemError."""
    node = calling_node(registry, call.certificate, now)
    return open_request(
        call.message,
        Verifier(registry.signing_key, now, exchange.limits.message_bytes),
        audience=lambda service: service.subsystem in exchange.subsystems,
        tls_members=node.serves | {node.owner},
    )


def check_purpose(incoming: Incoming) -> None:
    """Is the purpose one that the service is declared for, and are the categories? Raises ProblemError."""
    if incoming.claims.purpose not in incoming.service.purposes:
        raise ProblemError(
            "purpose-not-declared",
            detail="the service is not declared for this purpose of use",
            remedy="ask for one of: " + ", ".join(sorted(incoming.service.purposes)),
        )
    unknown = frozenset(incoming.claims.categories) - incoming.rulebook.categories.keys()
    if unknown or not incoming.claims.categories:
        raise ProblemError(
            "category-unknown",
            detail="the request names a data category that the rulebook does not have, or none at all",
            remedy="ask for categories of the rulebook",
        )
