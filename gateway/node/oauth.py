"""`POST /oauth/token`: a registered system proves itself with its key and gets a short access token. HTTP in, HTTP out.

Only the client credentials grant with `private_key_jwt` is served. Answers are those of OAuth 2.0, with the problem's
code of our own table beside.
Source: RFC 6749 sections 4.4 and 5.2, RFC 7523 section 2.2.
"""

from __future__ import annotations

import logging
from typing import Any, Literal
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from orjson import dumps
from pydantic import Field

from gateway.exchange.context import Exchange
from gateway.telemetry import event
from gateway.web.description import problems
from gateway.web.doors import Form, Reading
from gateway.web.forms import OAuthProblem, Shown
from gateway.web.listeners import CERTIFICATE
from gateway.web.tokens import ASSERTION_LIMIT, ASSERTION_TYPE, Tokens
from gateway.wire.problems import ProblemError
from gateway.wire.signing import thumbprint

LOGGER = logging.getLogger("yhdyspinta.clients")
FORM_LIMIT = 16 * 1024
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": OAuthProblem, **told}
    for status, told in problems(
        "invalid-request", "assertion-refused", "unsupported-media-type", "unsupported-content-encoding",
        "body-too-large", "request-timeout", "busy", "log-not-durable",
    ).items()
}  # fmt: skip
_NEVER_KEPT = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class TokenForm(Shown):
    """What a client sends for a token. Parameters that are not known here are passed over (RFC 6749, 3.2)."""

    grant_type: Literal["client_credentials"]
    client_assertion_type: Literal["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]
    client_assertion: str = Field(max_length=ASSERTION_LIMIT, description="a JWT that the client's own key signed")


class GrantedForm(Shown):
    """An access token."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int = Field(description="seconds")


def router(exchange: Exchange, tokens: Tokens) -> APIRouter:
    """The token endpoint."""
    routes = APIRouter(tags=["authentication"])
    sent = Depends(Form(TokenForm, FORM_LIMIT))

    @routes.post(
        "/oauth/token",
        summary="Exchange a signed assertion for an access token",
        response_model=None,
        responses={200: {"model": GrantedForm}, **_REFUSALS},
    )
    async def token(request: Request, reading: Reading = sent) -> Response:
        certificate: bytes | None = request.scope.get(CERTIFICATE)
        try:
            assertion = _assertion(_form(await reading()), request.headers.get("authorization"))
            granted = await tokens.grant(
                assertion, thumbprint(certificate) if certificate is not None else None, exchange.clock()
            )
        except ProblemError as problem:
            event(LOGGER, logging.WARNING, "token-refused", reason=problem.code)
            return _refusal(problem)
        answer = {"access_token": granted.text, "token_type": "Bearer", "expires_in": granted.expires_in}
        return Response(dumps(answer), 200, _NEVER_KEPT, "application/json")

    return routes


def _form(body: bytes) -> dict[str, str]:
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
