"""The faces of a node in the test's own process, and a judge that holds each answer against the face's description."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from jsonschema import Draft202012Validator

from gateway.desk.context import DeskContext
from gateway.desk.desk import Desk
from gateway.exchange.context import Exchange
from gateway.handover.deliver import Deliveries
from gateway.keys.certificates import to_der
from gateway.node.faces import Beside, client_face, peer_face
from gateway.web.authentication import Caller, Callers, Registered
from gateway.web.listeners import CERTIFICATE
from gateway.web.tokens import Tokens
from gateway.wire.signing import thumbprint
from tests.gateway.exchange.inprocess import InProcess

EVERY_ACTION = frozenset(
    {"query", "handover", "inbox", "consent", "decision", "identity", "audit", "standing-request", "task"}
)
#: Routes that do not declare forms of their own: what they take and give is only known to answer.
UNDECLARED = ("/r1",)

#: Refusals that another protocol than ours gives a form: RFC 6749, and C2SP's of witnesses, which tells a size.
OTHER_PROTOCOLS = frozenset({("/oauth/token", "application/json"), ("/peer/v1/checkpoints", "text/x.tlog.size")})


@dataclass
class Face:
    """One face: its application, and what the listener would say of the connection."""

    app: FastAPI
    certificate: bytes
    #: (method, path of the route, status) of every answer.
    seen: set[tuple[str, str, int]] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)

    @property
    def document(self) -> dict[str, Any]:
        return self.app.openapi()

    async def call(self, method: str, path: str, *, certificate: bytes | None = None, **sent: Any) -> httpx.Response:
        shown = self.certificate if certificate is None else certificate

        async def connected(scope: Any, receive: Any, send: Any) -> None:
            await self.app({**scope, CERTIFICATE: shown or None}, receive, send)

        transport = httpx.ASGITransport(app=connected, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="https://node") as client:
            answer = await client.request(method, path, **sent)
        self.judge(method, answer)
        return answer

    def judge(self, method: str, answer: httpx.Response) -> None:
        """Is this answer one that the description tells of?"""
        route = self._route(method, answer.url.path)
        if route is None:
            return
        self.seen.add((method, route, answer.status_code))
        if route.startswith(UNDECLARED):
            return
        wrong = self._wrong(route, self.document["paths"][route][method.lower()], answer)
        if wrong:
            self.errors.append(f"{method} {route} {answer.status_code}: {wrong}: {answer.text[:300]}")

    def _route(self, method: str, path: str) -> str | None:
        told = [path for path, methods in self.document["paths"].items() if method.lower() in methods]
        # As the application does, the first that fits: a fixed path stands before one with a variable.
        found = (each for each in told if re.fullmatch(re.sub(r"\{\w+(:path)?\}", "[^/]+", each), path))
        return next(found, None)

    def _wrong(self, route: str, operation: dict[str, Any], answer: httpx.Response) -> str | None:
        responses = operation["responses"]
        told = responses.get(str(answer.status_code)) or responses.get("default")
        if told is None:
            return "a status that the description does not tell"
        if answer.status_code == 204 and not answer.content:
            return None
        kind = answer.headers.get("content-type", "").split(";")[0]
        content = told.get("content", {})
        if kind not in content and "*/*" not in content:
            return f"a media type that the description does not tell ({kind})"
        if answer.status_code >= 400 and (route, kind) not in OTHER_PROTOCOLS:
            if kind != "application/problem+json":
                return f"a refusal that is no problem ({kind})"
            code = answer.json()["code"]
            if f"`{code}`" not in told["description"]:
                return f"a code that the description does not tell ({code})"
        schema = content.get(kind, {}).get("schema")
        if not schema or not kind.endswith(("/json", "+json")):
            return None
        whole = {**schema, "components": self.document["components"]}
        fault = next(Draft202012Validator(whole).iter_errors(json.loads(answer.content)), None)
        return f"not of the described form at {list(fault.path)}: {fault.message[:200]}" if fault else None


@dataclass
class Faces:
    """Both faces of a node that exchange messages, and the clients that may call the first."""

    here: InProcess
    clients: Face
    peers: Face


def desk_of(exchange: Exchange) -> Desk:
    """The officer's desk of a node that exchanges messages in this process."""
    return Desk(
        DeskContext(
            node=exchange.node,
            engine=exchange.engine,
            log=exchange.log,
            subjects=exchange.subjects,
            clock=exchange.clock,
            standing=lambda: exchange.standing(exchange.clock()),
            subsystems=exchange.subsystems,
            signer=exchange.signer,
        )
    )


@asynccontextmanager
async def faces(here: InProcess) -> AsyncIterator[Faces]:
    """The faces of a node. The client whose certificate is `system` may do everything."""
    exchange = here.exchange
    everything = frozenset({"*"})
    system = Caller(
        "system", here.party.subsystem, EVERY_ACTION, everything, everything, everything, None, frozenset(), True
    )
    tokens = Tokens(
        exchange.node,
        Ed25519PrivateKey.from_private_bytes(b"\x09" * 32),
        (),
        log=exchange.log,
        replays=exchange.replays,
    )
    registered = [Registered(system, frozenset({thumbprint(b"system")}))]
    callers = Callers(registered, tokens=tokens.client_of, clock=exchange.clock)
    desk = desk_of(exchange)
    try:
        clients = client_face(exchange, Deliveries(exchange), callers, Beside(tokens, desk))
        peers = peer_face(exchange, exchange.witnessing, readers=("kotka.demo",), verified=lambda _text: False)
        peer = to_der((here.place.network.parties["kotka"].folder / "tls.pem").read_bytes())
        yield Faces(here, Face(clients, b"system"), Face(peers, peer))
    finally:
        desk.close()
