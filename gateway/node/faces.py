"""The faces of a node as applications: which routes stand on each. For the node, and for tests without sockets."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from fastapi import FastAPI

from gateway.asking import web as asking_web
from gateway.consents import reports_web
from gateway.consents import web as consents_web
from gateway.consents.record import Consents
from gateway.desk import usage as usage_web
from gateway.desk import web as audit_web
from gateway.desk.desk import Desk
from gateway.exchange.context import Exchange
from gateway.exchange.opening import calling_node
from gateway.exchange.witnessing import Witnessing
from gateway.handover import web as handovers_web
from gateway.handover.deliver import Deliveries
from gateway.handover.plan import Handovers
from gateway.handover.receive import Reception
from gateway.identity import web as identity_web
from gateway.identity.acts import Identity
from gateway.node import log as log_web
from gateway.node import oauth, peers
from gateway.node.refusals import client_recorder, peer_recorder
from gateway.obligations import web as obligations_web
from gateway.query import web as queries
from gateway.query.answer import Provider
from gateway.query.ask import Consumer
from gateway.web.application import application
from gateway.web.authentication import Callers
from gateway.web.slots import STRANGER, Admission, Admitted, Head
from gateway.web.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Beside:
    """What stands on the face towards clients beside the exchange: tokens, and the officer's desk.

    `two_people`: whether a decision about who a person is takes two.
    """

    tokens: Tokens
    desk: Desk
    two_people: bool = True


def client_face(exchange: Exchange, deliveries: Deliveries, callers: Callers, beside: Beside) -> FastAPI:
    """The face towards the organisation's own systems."""
    handovers = Handovers(exchange)
    return application(
        "yhdyspinta",
        queries.router(exchange, Consumer(exchange), callers),
        handovers_web.router(exchange, handovers, deliveries, callers),
        consents_web.router(exchange, Consents(exchange), deliveries, callers),
        reports_web.router(exchange, deliveries, callers),
        identity_web.router(exchange, Identity(exchange, handovers, two_people=beside.two_people), deliveries, callers),
        asking_web.router(exchange, callers),
        obligations_web.router(exchange, callers),
        oauth.router(exchange, beside.tokens),
        audit_web.router(exchange, beside.desk, callers),
        usage_web.router(exchange, beside.desk, callers),
        documented=True,
        refused=client_recorder(exchange),
        direct=[("POST", "/v1/queries")],
    )


#: What whoever asks may have: a token for an assertion, and the description of the face.
FOR_STRANGERS = frozenset({(b"POST", b"/oauth/token"), (b"GET", b"/openapi.json")})


def client_admission(callers: Callers) -> Admission:
    """Who may come in at the face towards clients: whom the settings register, and strangers to two addresses."""

    def admit(head: Head) -> Admitted:
        authorization = head.header(b"authorization")
        if (head.method, head.path) not in FOR_STRANGERS:
            caller = callers.recognise(head.certificate, authorization)
            return Admitted(caller.name, caller)
        # Who is known has slots of its own here too, however many strangers ask for tokens.
        known = callers.known(head.certificate, authorization)
        return Admitted(STRANGER) if known is None else Admitted(known.name)

    return admit


class PeerAdmission:
    """Who may come in at the face towards peers: nodes of the registry. Knows when the last of them came."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.last_call: datetime | None = None

    def __call__(self, head: Head) -> Admitted:
        """The node that calls. Raises ProblemError."""
        now = self._exchange.clock()
        # While nothing may be released, peers still read and witness the log: what releases refuses by itself.
        registry = self._exchange.standing_though_held(now).registry
        node = calling_node(registry, head.certificate or b"", now)
        self.last_call = now
        return Admitted(node.id)


def peer_face(
    exchange: Exchange,
    witnessing: Witnessing,
    *,
    readers: Collection[str] = (),
    verified: Callable[[str], bool],
    heard: log_web.Heard = lambda _node, _checkpoint: None,
) -> FastAPI:
    """The face towards other nodes; the rest as `gateway.node.log.router` has it."""
    return application(
        "yhdyspinta peers",
        peers.router(exchange, Provider(exchange, Reception(exchange))),
        log_web.router(exchange, witnessing, readers=readers, verified=verified, heard=heard),
        documented=True,
        refused=peer_recorder(exchange),
        direct=[("POST", "/peer/v1/messages")],
    )
