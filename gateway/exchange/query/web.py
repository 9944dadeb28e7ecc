"""`POST /v1/queries`: an information system asks another organisation about a person. HTTP in, HTTP out; no rules."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from orjson import dumps

from consent.decision import Emergency
from gateway.exchange.context import Exchange
from gateway.exchange.query.ask import Consumer, Question, Reading
from gateway.exchange.transport import TRACE_HEADER
from gateway.sources.backends import Locator
from gateway.web.authentication import Callers
from gateway.web.bodies import read_json
from gateway.wire.identifiers import IdentifierError, ServiceId
from gateway.wire.message import DecisionSummary
from gateway.wire.problems import ProblemError

_EXAMPLE = {
    "service": "FI-DEMO/GOV/0000000-0/vastaanotto/palvelutarve",
    "subject": {"system": "urn:oid:1.2.246.21", "value": "010190-900P"},
    "purpose": "service-need-lookup",
    "categories": ["identity", "language", "housing"],
    "case": "KOTKA-2026-17",
    "user": "caseworker-12",
}
_SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["service", "subject"],
                    "properties": {
                        "service": {"type": "string", "description": "INSTANCE/CLASS/MEMBER/SUBSYSTEM/SERVICE"},
                        "subject": {
                            "type": "object",
                            "required": ["system", "value"],
                            "properties": {"system": {"type": "string"}, "value": {"type": "string"}},
                        },
                        "purpose": {"type": "string", "description": "purpose of use, a code of the rulebook"},
                        "categories": {"type": "array", "items": {"type": "string"}},
                        "case": {"type": "string", "description": "your case reference; stored as a keyed hash"},
                        "user": {"type": "string", "description": "your end user's id; stored as a keyed hash"},
                        "emergency": {"type": "object", "properties": {"justification": {"type": "string"}}},
                    },
                },
                "example": _EXAMPLE,
            }
        },
    }
}


def router(exchange: Exchange, consumer: Consumer, callers: Callers) -> APIRouter:
    """Questions of the organisation's own systems."""
    routes = APIRouter(tags=["queries"])

    @routes.post("/v1/queries", summary="Ask another organisation about a person", openapi_extra=_SCHEMA)
    async def ask(request: Request) -> Response:
        begun = time.perf_counter()
        caller = callers.identify(request)
        caller.may("query")
        document = await read_json(request, exchange.limits.body_bytes)
        trace_id, trace = exchange.telemetry.trace({TRACE_HEADER: request.headers.get(TRACE_HEADER, "")})
        service = _service(document)
        purpose = _text(document, "purpose") or caller.default_purpose
        categories = _categories(document) or caller.default_categories
        if not purpose or not categories:
            raise ProblemError(
                "invalid-request",
                pointer="/purpose" if not purpose else "/categories",
                detail="the request says not what for, or not what, and the client has no default for it",
                remedy="send purpose (a code) and categories (a list of codes)",
            )
        caller.may_ask(service, purpose, categories)
        question = Question(
            client=caller.name,
            consumer=caller.subsystem,
            service=service,
            locator=Locator.of(document.get("subject")),
            purpose=purpose,
            categories=categories,
            case=exchange.case_pseudonym(_text(document, "case")),
            user=exchange.user_pseudonym(caller.subsystem, _text(document, "user")),
            emergency=_emergency(document),
            trace_id=trace_id,
            trace=trace,
        )
        try:
            reading = await consumer.ask(question)
        except ProblemError as problem:
            exchange.telemetry.exchanges.add(1, {"side": "consumer", "outcome": problem.code})
            raise
        exchange.telemetry.exchanges.add(1, {"side": "consumer", "outcome": "200"})
        exchange.telemetry.seconds.record(time.perf_counter() - begun, {"side": "consumer"})
        return Response(dumps(_answer(reading)), 200, media_type="application/json")

    return routes


def _answer(reading: Reading) -> dict[str, Any]:
    return {
        "message_id": reading.message_id,
        "decision": decision_document(reading.claims.decision),
        "bundle": reading.bundle,
    }


def decision_document(decision: DecisionSummary | None) -> dict[str, Any] | None:
    """A decision as clients see it: its id, what may move, and what not with the reason's code."""
    if decision is None:
        return None
    return {
        "id": decision.id,
        "permitted": sorted(decision.permitted),
        "withheld": [{"category": category, "code": code} for category, code in decision.withheld],
    }


def _service(document: dict[str, Any]) -> ServiceId:
    try:
        return ServiceId.parse(str(document.get("service", "")))
    except IdentifierError as error:
        raise ProblemError(
            "invalid-identifier",
            pointer="/service",
            detail=str(error),
            remedy="write it as INSTANCE/CLASS/MEMBER/SUBSYSTEM/SERVICE",
        ) from None


def _text(document: dict[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is None or (isinstance(value, str) and 0 < len(value) <= 256):
        return value
    raise ProblemError(
        "invalid-request", pointer=f"/{name}", detail=f"{name} is to be a text of 256 characters at most"
    )


def _categories(document: dict[str, Any]) -> frozenset[str]:
    value = document.get("categories", [])
    if not isinstance(value, list) or len(value) > 128 or not all(isinstance(one, str) for one in value):
        raise ProblemError(
            "invalid-request", pointer="/categories", detail="categories is to be a list of codes of the rulebook"
        )
    return frozenset(value)


def _emergency(document: dict[str, Any]) -> Emergency | None:
    value = document.get("emergency")
    if value is None:
        return None
    justification = value.get("justification") if isinstance(value, dict) else None
    if not isinstance(justification, str) or not justification.strip():
        raise ProblemError(
            "justification-missing",
            pointer="/emergency/justification",
            detail="an emergency needs a justification",
            remedy="say in a sentence why it cannot wait; the data protection officer will read it",
        )
    return Emergency(justification)
