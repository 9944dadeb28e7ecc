"""`POST /oauth/token`: a registered system proves itself with its key and gets a short access token. HTTP in, HTTP out.

Only the client credentials grant with `private_key_jwt` is served. Answers are those of OAuth 2.0, with the problem's
code of our own table beside.
Source: RFC 6749 sections 4.4 and 5.2, RFC 7523 section 2.2.
"""

from __future__ import annotations

import logging
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from fastapi.responses import Response
from orjson import dumps

from gateway.exchange.context import Exchange
from gateway.telemetry import event
from gateway.web.bodies import read_body
from gateway.web.listeners import CERTIFICATE
from gateway.web.tokens import ASSERTION_TYPE, Tokens
from gateway.wire.problems import ProblemError
from gateway.wire.signing import thumbprint

LOGGER = logging.getLogger("yhdyspinta.clients")
FORM_LIMIT = 16 * 1024
_FORM = "application/x-www-form-urlencoded"
_NEVER_KEPT = {"Cache-Control": "no-store", "Pragma": "no-cache"}


def router(exchange: Exchange, tokens: Tokens) -> APIRouter:
    """The token endpoint."""
    routes = APIRouter(tags=["authentication"])

    @routes.post("/oauth/token", summary="Exchange a signed assertion for an access token")
    async def token(request: Request) -> Response:
        certificate: bytes | None = request.scope.get(CERTIFICATE)
        try:
            assertion = _assertion(await _form(request), request.headers.get("authorization"))
            granted = await tokens.grant(
                assertion, thumbprint(certificate) if certificate is not None else None, exchange.clock()
            )
        except ProblemError as problem:
            event(LOGGER, logging.WARNING, "token-refused", reason=problem.code)
            return _refusal(problem)
        answer = {"access_token": granted.text, "token_type": "Bearer", "expires_in": granted.expires_in}
        return Response(dumps(answer), 200, _NEVER_KEPT, "application/json")

    return routes


async def _form(request: Request) -> dict[str, str]:
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != _FORM:
        raise ProblemError(
            "unsupported-media-type", detail="the request is to be a form", remedy=f"send Content-Type: {_FORM}"
        )
    body = await read_body(request, FORM_LIMIT)
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=16, errors="strict")
    except ValueError:
        raise ProblemError("invalid-request", detail="the form cannot be read") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise ProblemError("invalid-request", detail="a parameter stands twice in the form")
    return form


def _assertion(form: dict[str, str], authorization: str | None) -> str:
    if authorization is not None or "client_secret" in form:
        raise ProblemError(
            "assertion-refused",
            detail="clients have no passwords here",
            remedy="sign a client_assertion with the client's own key",
        )
    if form.get("grant_type") != "client_credentials":
        raise ProblemError(
            "invalid-request",
            pointer="/grant_type",
            detail="this is not the one grant that is served",
            remedy="send grant_type=client_credentials",
        )
    if form.get("client_assertion_type") != ASSERTION_TYPE or not form.get("client_assertion"):
        raise ProblemError(
            "invalid-request",
            pointer="/client_assertion",
            detail="the request holds no signed assertion",
            remedy=f"send client_assertion, and client_assertion_type={ASSERTION_TYPE}",
        )
    return form["client_assertion"]


def _refusal(problem: ProblemError) -> Response:
    error = "invalid_client" if problem.status == 401 else "invalid_request"
    if problem.pointer == "/grant_type":
        error = "unsupported_grant_type"
    answer = {"error": error, "error_description": problem.detail, "code": problem.code}
    if problem.remedy:
        answer["remedy"] = problem.remedy
    return Response(dumps(answer), problem.status, _NEVER_KEPT, "application/json")
