"""The face towards other nodes: parse the HTTP of a message, hand it to the provider, send what it answers."""

from __future__ import annotations

import logging
import time
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response

from audit.log.log import LogError
from gateway.exchange.context import Exchange
from gateway.exchange.opening import PeerCall
from gateway.exchange.releasing import record_unopened
from gateway.exchange.transport import MESSAGE_HEADER, TRACE_HEADER
from gateway.node.peer_forms import MESSAGES
from gateway.query.answer import Provider
from gateway.telemetry import event
from gateway.web.description import problems
from gateway.web.doors import Messages, Reading
from gateway.web.listeners import CERTIFICATE
from gateway.web.problems import PROBLEM_TYPE, problem_response
from gateway.wire.problems import ProblemError

#: Why a message is refused before its sender is known: these answers are not signed.
_UNSIGNED = (
    "tls-certificate-unknown", "tls-certificate-unfit", "tls-certificate-not-in-force", "message-missing",
    "message-repeated", "message-too-large", "message-not-compact",
    "message-not-base64url", "message-not-utf8", "message-not-json", "message-too-deep", "message-member-repeated",
    "message-number-refused", "message-text-refused", "header-member-refused", "header-member-missing",
    "header-member-invalid", "algorithm-refused", "certificate-unknown", "certificate-not-yet-valid",
    "certificate-expired", "certificate-of-another", "algorithm-mismatch", "signature-malformed", "signature-invalid",
    "message-type-mismatch", "claim-unknown", "claim-missing", "claim-invalid", "issuer-not-peer", "audience-mismatch",
    "message-lifetime-refused", "message-from-future", "message-expired", "message-replayed", "digest-mismatch",
    "content-type-mismatch", "service-unknown",
)  # fmt: skip
MessageHeader = Annotated[str | None, Header(alias=MESSAGE_HEADER, description="a compact JWS, exactly one")]

LOGGER = logging.getLogger("yhdyspinta.peers")


def router(exchange: Exchange, provider: Provider) -> APIRouter:
    """The one address that other nodes send messages to."""
    routes = APIRouter(tags=["messages"])
    read = Depends(Messages(MESSAGES, exchange.limits.body_bytes))

    @routes.post(
        "/peer/v1/messages",
        summary="A signed message; what it means follows from the kind of the service that it is for",
        response_model=None,
        responses={
            200: {"description": "the signed answer", "content": {"*/*": {}}},
            **problems(*_UNSIGNED),
            "default": {"description": "a signed problem", "content": {PROBLEM_TYPE: {}}},
        },
    )
    async def receive(request: Request, reading: Reading = read, _message: MessageHeader = None) -> Response:
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
                body=await reading(),
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
