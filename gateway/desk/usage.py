"""A person's own view: the usage protocol of the Estonian Data Tracker, version 2, as an X-Road REST service.

`findUsage` tells who has used a person's data, `usagePeriod` since when that can be told, `heartbeat` whether it can be
told just now. The tracker that asks on behalf of the person is a client with the action `audit`. The protocol names the
person in the address; this node writes addresses into no log. Each look-up is an entry.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from audit.questions.data_tracker import MAX_USAGES, UsageError
from gateway.desk.officer import Officer
from gateway.desk.questions import Reader
from gateway.exchange.context import Exchange
from gateway.sources.backends import impossible
from gateway.web.authentication import Caller, Callers
from gateway.web.problems import language_of
from gateway.wire.identifiers import IdentifierError, SubsystemId
from gateway.wire.problems import ProblemError
from schemas.identifiers import HETU, SubjectIdentifierError, canonical

USER_HEADER = "X-Road-UserId"
PATH = "/r1/{instance}/{member_class}/{member}/{subsystem}/findUsage/v2"


def router(exchange: Exchange, officer: Officer, callers: Callers) -> APIRouter:
    """The three endpoints of the service findUsage."""
    routes = APIRouter(tags=["usage"])

    def caller(request: Request, *parts: str) -> Caller:
        found = callers.identify(request)
        found.may("audit")
        try:
            asked = SubsystemId.parse("/".join(parts))
        except IdentifierError as error:
            raise ProblemError("invalid-identifier", detail=str(error)) from None
        if asked not in exchange.subsystems:
            raise ProblemError("service-unknown", detail="this node does not speak for that subsystem")
        return found

    @routes.get(f"{PATH}/findUsage", summary="Who has used this person's data, newest first")
    async def find_usage(request: Request, instance: str, member_class: str, member: str, subsystem: str) -> Response:
        system = caller(request, instance, member_class, member, subsystem)
        user = request.headers.get(USER_HEADER)
        if not user:
            raise ProblemError(
                "invalid-request", detail=f"the header {USER_HEADER} is missing", remedy="say on whose behalf it is"
            )
        code = request.query_params.get("userCode", "")
        if not 0 < len(code) <= 64:
            raise ProblemError("invalid-request", pointer="/userCode", detail="userCode is missing")
        try:
            person = canonical(HETU, code)
        except SubjectIdentifierError as error:
            raise impossible(error, "/userCode") from None
        start, end = _time(request, "periodStart"), _time(request, "periodEnd")
        offset, limit = _number(request, "offset", 0), _number(request, "limit", MAX_USAGES)
        reader = Reader(system.name, exchange.user_pseudonym(system.subsystem, user))
        try:
            told = await asyncio.to_thread(
                officer.usages,
                reader,
                person,
                start=start,
                end=end,
                offset=offset,
                limit=limit,
                language=language_of(request),
            )
        except UsageError as error:
            raise ProblemError("invalid-request", detail=str(error)) from None
        return _json(told.to_json())

    @routes.get(f"{PATH}/usagePeriod", summary="The time that can be told about")
    async def usage_period(request: Request, instance: str, member_class: str, member: str, subsystem: str) -> Response:
        caller(request, instance, member_class, member, subsystem)
        return _json((await asyncio.to_thread(officer.usage_period)).to_json())

    @routes.get(f"{PATH}/heartbeat", summary="Whether it can be told just now")
    async def heartbeat(request: Request, instance: str, member_class: str, member: str, subsystem: str) -> Response:
        caller(request, instance, member_class, member, subsystem)
        return _json((await asyncio.to_thread(officer.heartbeat)).to_json())

    return routes


def _json(document: Any) -> Response:
    return Response(orjson.dumps(document), 200, {"Cache-Control": "no-store"}, "application/json")


def _time(request: Request, name: str) -> datetime | None:
    value = request.query_params.get(name)
    if value is None:
        return None
    try:
        # A plus sign that was not encoded arrives as a blank.
        at = datetime.fromisoformat(value.replace(" ", "+"))
        if at.tzinfo is None:
            raise ValueError("no zone")
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ProblemError(
            "invalid-request", pointer=f"/{name}", detail=f"{name} is to be a time of RFC 3339 with its zone"
        ) from None


def _number(request: Request, name: str, default: int) -> int:
    value = request.query_params.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdecimal() and len(value) <= 9):
        raise ProblemError("invalid-request", pointer=f"/{name}", detail=f"{name} is to be a whole number")
    return int(value)
