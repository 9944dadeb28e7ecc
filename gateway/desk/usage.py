"""A person's own view: the usage protocol of the Estonian Data Tracker, version 2, as an X-Road REST service.

`findUsage` tells who has used a person's data, `usagePeriod` since when that can be told, `heartbeat` whether it can be
told just now. The tracker that asks on behalf of the person is a client with the action `audit`. The protocol names the
person in the address; this node writes addresses into no log. Each look-up is an entry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request, Response

from gateway.desk.desk import Desk
from gateway.desk.questions.persons import Heartbeat, UsagePeriod, Usages
from gateway.desk.web import asker_of
from gateway.exchange.context import Exchange
from gateway.web.authentication import Caller, Callers
from gateway.web.problems import language_of
from gateway.wire.identifiers import IdentifierError, SubsystemId
from gateway.wire.problems import ProblemError
from schemas.identifiers import HETU

USER_HEADER = "X-Road-UserId"
PATH = "/r1/{instance}/{member_class}/{member}/{subsystem}/findUsage/v2"
_CALLED: Final = {"/person": "/userCode", "/person/value": "/userCode", "/from": "/periodStart", "/to": "/periodEnd"}
"""What members of the form are called in the protocol."""


def router(exchange: Exchange, desk: Desk, callers: Callers) -> APIRouter:
    """The three endpoints of the service findUsage."""
    routes = APIRouter(tags=["usage"])

    def caller(request: Request, *parts: str) -> Caller:
        found = callers.identify(request)
        found.may("audit")
        try:
            asked = SubsystemId.parse("/".join(parts))
        except IdentifierError as error:
            raise ProblemError("invalid-identifier", detail=str(error)) from None
        if asked not in exchange.subsystems or asked.member != found.subsystem.member:
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
        asker = asker_of(exchange, system, user)
        try:
            question = Usages.of(**_asked(request.query_params), language=language_of(request))
        except ProblemError as error:
            pointer = _CALLED.get(error.pointer or "", error.pointer)
            raise ProblemError(error.code, pointer=pointer, detail=error.detail, remedy=error.remedy) from None
        told = await asyncio.to_thread(desk.ask, question, asker)
        return _json(told.to_json())

    @routes.get(f"{PATH}/usagePeriod", summary="The time that can be told about")
    async def usage_period(request: Request, instance: str, member_class: str, member: str, subsystem: str) -> Response:
        system = caller(request, instance, member_class, member, subsystem)
        return _json((await asyncio.to_thread(desk.ask, UsagePeriod(), asker_of(exchange, system))).to_json())

    @routes.get(f"{PATH}/heartbeat", summary="Whether it can be told just now")
    async def heartbeat(request: Request, instance: str, member_class: str, member: str, subsystem: str) -> Response:
        system = caller(request, instance, member_class, member, subsystem)
        return _json((await asyncio.to_thread(desk.ask, Heartbeat(), asker_of(exchange, system))).to_json())

    return routes


def _asked(query: Mapping[str, str]) -> dict[str, Any]:
    """The protocol's parameters as members of the form."""
    given: dict[str, Any] = {"person": {"system": HETU, "value": query.get("userCode", "")}}
    for name, called in (("start", "periodStart"), ("end", "periodEnd")):
        if called in query:
            # A plus sign that was not encoded arrives as a blank.
            given[name] = query[called].replace(" ", "+")
    for name in ("offset", "limit"):
        if name in query:
            written = query[name]
            given[name] = int(written) if written.isascii() and written.isdecimal() and len(written) <= 9 else written
    return given


def _json(document: Any) -> Response:
    return Response(orjson.dumps(document), 200, {"Cache-Control": "no-store"}, "application/json")
