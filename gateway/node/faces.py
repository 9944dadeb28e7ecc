"""The faces of a node as applications: which routes stand on each. For the node, and for tests without sockets."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from fastapi import FastAPI

from gateway.desk import usage as usage_web
from gateway.desk import web as audit_web
from gateway.desk.officer import Officer
from gateway.exchange.consents import web as consents_web
from gateway.exchange.consents.record import Consents
from gateway.exchange.context import Exchange
from gateway.exchange.handover import web as handovers_web
from gateway.exchange.handover.accept import Inbox
from gateway.exchange.handover.deliver import Deliveries
from gateway.exchange.handover.overview import Overview
from gateway.exchange.handover.plan import Handovers
from gateway.exchange.handover.receive import Reception
from gateway.exchange.identity import web as identity_web
from gateway.exchange.identity.acts import Identity
from gateway.exchange.query import web as queries
from gateway.exchange.query.answer import Provider
from gateway.exchange.query.ask import Consumer
from gateway.exchange.witnessing import Witnessing
from gateway.node import log as log_web
from gateway.node import oauth, peers
from gateway.node.refusals import client_recorder, peer_recorder
from gateway.web.application import application
from gateway.web.authentication import Callers
from gateway.web.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Beside:
    """What stands on the face towards clients beside the exchange: tokens, and the officer's desk.

    `two_people`: whether a decision about who a person is takes two.
    """

    tokens: Tokens
    desk: Officer
    two_people: bool = True


def client_face(exchange: Exchange, deliveries: Deliveries, callers: Callers, beside: Beside) -> FastAPI:
    """The face towards the organisation's own systems."""
    handovers = Handovers(exchange)
    return application(
        "yhdyspinta",
        queries.router(exchange, Consumer(exchange), callers),
        handovers_web.router(exchange, handovers, deliveries, Inbox(exchange), Overview(exchange), callers),
        consents_web.router(exchange, Consents(exchange), deliveries, callers),
        identity_web.router(exchange, Identity(exchange, handovers, two_people=beside.two_people), deliveries, callers),
        oauth.router(exchange, beside.tokens),
        audit_web.router(exchange, beside.desk, callers),
        usage_web.router(exchange, beside.desk, callers),
        documented=True,
        refused=client_recorder(exchange),
    )


def peer_face(
    exchange: Exchange, witnessing: Witnessing, *, readers: Collection[str] = (), verified: Callable[[str], bool]
) -> FastAPI:
    """The face towards other nodes. `readers` are ids of nodes that may read entries; `verified` says whether a signed
    message is one of ours.
    """
    return application(
        "yhdyspinta peers",
        peers.router(exchange, Provider(exchange, Reception(exchange))),
        log_web.router(exchange, witnessing, readers=readers, verified=verified),
        documented=True,
        refused=peer_recorder(exchange),
    )
