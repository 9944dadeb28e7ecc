"""`POST /v1/queries`: an information system asks another organisation about a person. HTTP in, HTTP out; no rules."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from orjson import dumps

from consent.rules.request import Emergency
from gateway.exchange.context import Exchange
from gateway.exchange.rates import IN_VAIN, Asker
from gateway.exchange.transport import TRACE_HEADER
from gateway.query.ask import Consumer, Question
from gateway.query.forms import AskForm, ReadingForm, decision_document
from gateway.web.authentication import Caller, Callers
from gateway.web.description import problems
from gateway.web.doors import Body, Door
from gateway.wire.identifiers import ServiceId
from gateway.wire.problems import ProblemError

_EXAMPLE = {
    "service": "FI-DEMO/GOV/0000000-0/vastaanotto/palvelutarve",
    "subject": {"system": "urn:oid:1.2.246.21", "value": "010190-900P"},
    "purpose": "service-need-lookup",
    "categories": ["identity", "language", "housing"],
    "case": "KOTKA-2026-17",
    "user": "caseworker-12",
}
_PROBLEMS = problems(
    "invalid-identifier", "subject-system-unknown", "subject-form", "subject-check", "justification-missing",
    "rate-limited", "purpose-unknown", "category-unknown", "member-unknown", "service-unknown", "not-permitted",
    "not-available",
    "subject-not-found", "subject-ambiguous", "purpose-not-declared", "service-disabled", "peer-unreachable",
    "peer-refused", "peer-answer-too-large", "peer-answer-invalid", "peer-timeout", "response-to-another",
    "digest-mismatch", "source-unreachable", "source-failed", "source-invalid", "source-timeout",
)  # fmt: skip


def router(exchange: Exchange, consumer: Consumer, callers: Callers) -> APIRouter:
    """Questions of the organisation's own systems."""
    routes = APIRouter(tags=["queries"])
    asker = Depends(Door(callers, "query"))
    asked = Depends(Body(AskForm, exchange.limits.body_bytes, example=_EXAMPLE))

    @routes.post(
        "/v1/queries",
        summary="Ask another organisation about a person",
        response_model=None,
        responses={200: {"model": ReadingForm}, **_PROBLEMS},
    )
    async def ask(request: Request, caller: Caller = asker, form: AskForm = asked) -> Response:
        begun = time.perf_counter()
        trace_id, trace = exchange.telemetry.trace({TRACE_HEADER: request.headers.get(TRACE_HEADER, "")})
        question = _question(exchange, caller, form, trace_id, trace)
        asker = Asker(caller.name, question.user, question.purpose)
        exchange.rates.spend(asker, is_emergency=question.emergency is not None)
        try:
            reading = await consumer.ask(question)
        except ProblemError as problem:
            if problem.code in IN_VAIN:
                exchange.rates.in_vain(asker, exchange.reference(question.locator))
            exchange.telemetry.exchanges.add(1, {"side": "consumer", "outcome": problem.code})
            raise
        exchange.telemetry.exchanges.add(1, {"side": "consumer", "outcome": "200"})
        exchange.telemetry.seconds.record(time.perf_counter() - begun, {"side": "consumer"})
        answer = {
            "message_id": reading.message_id,
            "decision": decision_document(reading.claims.decision),
            "bundle": reading.bundle,
        }
        return Response(dumps(answer), 200, media_type="application/json")

    return routes


def _question(exchange: Exchange, caller: Caller, form: AskForm, trace_id: str, trace: Any) -> Question:
    """What the client asks, with its defaults, if it has the right to all of it. Raises ProblemError."""
    service = ServiceId.parse(form.service)
    purpose = form.purpose or caller.default_purpose
    categories = frozenset(form.categories or ()) or caller.default_categories
    if not purpose or not categories:
        raise ProblemError(
            "invalid-request",
            pointer="/purpose" if not purpose else "/categories",
            detail="the request says not what for, or not what, and the client has no default for it",
            remedy="send purpose (a code) and categories (a list of codes)",
        )
    caller.may_ask(service, purpose, categories)
    user = exchange.user_pseudonym(caller.subsystem, form.user)
    if form.emergency is not None and user is None:
        # Whoever reviews it afterwards has to find whom to ask.
        raise ProblemError(
            "invalid-request",
            pointer="/user",
            detail="an emergency is asked by somebody, and the request does not say by whom",
            remedy="send user, your own id of the person at the keyboard; only a keyed hash of it is kept",
        )
    return Question(
        client=caller.name,
        consumer=caller.subsystem,
        service=service,
        locator=form.subject.locator,
        purpose=purpose,
        categories=categories,
        case=exchange.case_pseudonym(form.case),
        user=user,
        emergency=Emergency(form.emergency.justification) if form.emergency is not None else None,
        trace_id=trace_id,
        trace=trace,
    )
