"""Turn what went wrong into an answer: RFC 9457 problems, in the caller's language, without anything personal.

An exception that nobody foresaw is logged by its type and place and answered as `internal-error`; its text goes
nowhere.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from audit.log.log import LogError, LogOverloadedError
from gateway.telemetry import event
from gateway.web.languages import language_in
from gateway.web.validation import problem_of
from gateway.wire.problems import ProblemError, to_problem_json

LOGGER = logging.getLogger("yhdyspinta.web")
PROBLEM_TYPE = "application/problem+json"

Recorder = Callable[[Request, ProblemError], Awaitable[None]]
"""Puts a refusal on record."""

#: The database is away, full or read-only, or all connections to it are taken: nothing of the request can be done now,
#: and nothing is wrong with it. Its other errors are faults of ours.
UNAVAILABLE = (OperationalError, InterfaceError, PoolTimeoutError)

_BY_STATUS = {404: "not-found", 405: "method-not-allowed", 415: "unsupported-media-type"}


def problem_response(problem: ProblemError, language: str = "en") -> Response:
    """The HTTP answer for a problem."""
    headers = {}
    if problem.retry_after is not None:
        headers["Retry-After"] = str(problem.retry_after)
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(to_problem_json(problem, language), problem.status, headers, PROBLEM_TYPE)


def language_of(request: Request) -> str:
    """fi, sv or en: the first of them that the caller accepts; English if none is."""
    return language_in(request.headers.get("accept-language", ""))


def known(error: BaseException) -> ProblemError | None:
    """The problem that an exception stands for, or None for one that nobody foresaw."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, LogOverloadedError):
        return ProblemError(
            "busy", detail="more is waiting to be recorded than can be", retry_after=max(1, round(error.retry_after))
        )
    if isinstance(error, (LogError, *UNAVAILABLE)):
        return ProblemError(
            "log-not-durable",
            detail="the audit log could not record this, so nothing was released",
            remedy="see the node's health; try again when it is ready",
            retry_after=5,
        )
    return None


def answering(refused: Recorder | None = None) -> Callable[[Request, Exception], Awaitable[Response]]:
    """What answers an exception of a route: `refused` is told of a problem before it is given."""

    async def answer(request: Request, error: Exception) -> Response:
        problem = known(error)
        if problem is None:
            event(LOGGER, logging.ERROR, "unforeseen", reason=type(error).__name__)
            LOGGER.debug("unforeseen", exc_info=error)
            problem = ProblemError("internal-error")
        elif refused is not None:
            await refused(request, problem)
        return problem_response(problem, language_of(request))

    return answer


def install(app: FastAPI, refused: Recorder | None = None) -> None:
    """Give `app` its answers to everything that can be raised; `refused` is told of each before it is given."""
    answer = answering(refused)
    for kind in (ProblemError, LogError, *UNAVAILABLE, Exception):
        app.add_exception_handler(kind, answer)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        return await answer(request, ProblemError(_BY_STATUS.get(error.status_code, "invalid-request")))

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        # The first part of a place says that it is of a query, a path or a header; to the caller the name says enough.
        first = next(iter(error.errors()))
        problem = problem_of([{**first, "loc": first["loc"][1:]}])
        return await answer(request, problem)
