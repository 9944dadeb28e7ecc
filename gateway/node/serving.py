"""The applications behind a node's faces, made of its parts."""

from __future__ import annotations

from fastapi import FastAPI

from gateway.desk import usage as usage_web
from gateway.desk import web as audit_web
from gateway.desk.officer import Officer
from gateway.exchange.consents import web as consents_web
from gateway.exchange.consents.record import Consents
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
from gateway.node import log as log_web
from gateway.node import oauth, peers
from gateway.node.parts import Parts
from gateway.node.refusals import client_recorder, peer_recorder
from gateway.web.application import application
from gateway.web.authentication import Callers
from gateway.web.tokens import Tokens


def peer_app(parts: Parts) -> FastAPI:
    """What other nodes ask."""
    exchange = parts.exchange
    return application(
        "yhdyspinta peers",
        peers.router(exchange, Provider(exchange, Reception(exchange))),
        log_web.router(exchange, exchange.witnessing, readers=parts.settings.audit.readers, verified=parts.said_by_us),
        refused=peer_recorder(exchange),
    )


def client_app(parts: Parts, deliveries: Deliveries, callers: Callers, tokens: Tokens, desk: Officer) -> FastAPI:
    """What the organisation's own systems ask."""
    exchange = parts.exchange
    return application(
        "yhdyspinta",
        queries.router(exchange, Consumer(exchange), callers),
        handovers_web.router(exchange, Handovers(exchange), deliveries, Inbox(exchange), Overview(exchange), callers),
        consents_web.router(exchange, Consents(exchange), deliveries, callers),
        identity_web.router(
            exchange,
            Identity(exchange, Handovers(exchange), two_people=parts.settings.identity.two_people),
            deliveries,
            callers,
        ),
        oauth.router(exchange, tokens),
        audit_web.router(exchange, desk, callers),
        usage_web.router(exchange, desk, callers),
        documented=True,
        refused=client_recorder(exchange),
    )
