"""The face towards other nodes: parse the HTTP of a message, hand it to the provider, send what it answers."""

from __future__ import annotations

import logging
import time

from fastapi import APIRouter, Request, Response

from audit.log.log import LogError
from gateway.exchange.context import Exchange
from gateway.exchange.opening import PeerCall
from gateway.exchange.query.answer import Provider
from gateway.exchange.releasing import record_unopened
from gateway.exchange.transport import MESSAGE_HEADER, TRACE_HEADER
from gateway.telemetry import event
from gateway.web.bodies import read_body
from gateway.web.listeners import CERTIFICATE
from gateway.web.problems import problem_response
from gateway.wire.problems import ProblemError

LOGGER = logging.getLogger("yhdyspinta.peers")


def router(exchange: Exchange, provider: Provider) -> APIRouter:
    """The one address that other nodes send messages to."""
    routes = APIRouter()

    @routes.post("/peer/v1/messages")
    async def receive(request: Request) -> Response:
        begun = time.perf_counter()
        trace_id, trace = exchange.telemetry.trace({TRACE_HEADER: request.headers.get(TRACE_HEADER, "")})
        call = PeerCall(
            message="",
            body=b"",
            content_type=request.headers.get("content-type", ""),
            certificate=request.scope.get(CERTIFICATE) or b"",
            trace_id=trace_id,
            trace=trace,
        )
        try:
            call = PeerCall(
                message=_one_message(request),
                body=await read_body(request, exchange.limits.body_bytes),
                content_type=call.content_type,
                certificate=call.certificate,
                trace_id=trace_id,
                trace=trace,
            )
            answer = await provider.answer(call)
        except ProblemError as problem:
            # Nothing that was said can be believed, so the refusal is not signed; it is on record all the same.
            await _put_on_record(exchange, call, problem)
            exchange.telemetry.exchanges.add(1, {"side": "provider", "outcome": problem.code})
            return problem_response(problem)
        exchange.telemetry.exchanges.add(1, {"side": "provider", "outcome": str(answer.status)})
        exchange.telemetry.seconds.record(time.perf_counter() - begun, {"side": "provider"})
        headers = {MESSAGE_HEADER: answer.message} if answer.message else {}
        return Response(answer.body, answer.status, headers, answer.content_type)

    return routes


def _one_message(request: Request) -> str:
    messages = request.headers.getlist(MESSAGE_HEADER)
    if not messages:
        raise ProblemError("message-missing", detail="the request carries no Message header")
    if len(messages) > 1:
        raise ProblemError("message-repeated", detail="the request carries several Message headers")
    return messages[0]


async def _put_on_record(exchange: Exchange, call: PeerCall, problem: ProblemError) -> None:
    try:
        await record_unopened(exchange, call, problem)
    except LogError as error:
        event(LOGGER, logging.ERROR, "refusal-not-recorded", reason=type(error).__name__, code=problem.code)
