"""Consents, refusals and withdrawals, and what a decision would be. HTTP in, HTTP out; no rules."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from consent.consents import ConsentRecord
from gateway.exchange.context import Exchange
from gateway.exchange.delivery import Deliveries
from gateway.exchange.withdrawal import Consents
from gateway.services.backends import Locator
from gateway.web.authentication import Callers
from gateway.web.bodies import read_json


def router(exchange: Exchange, consents: Consents, deliveries: Deliveries, callers: Callers) -> APIRouter:
    """What people have consented to, refused and withdrawn."""
    routes = APIRouter(tags=["consents"])

    @routes.post("/v1/consents", status_code=201, summary="Record a consent or a refusal")
    async def record(request: Request) -> dict[str, Any]:
        caller = callers.identify(request)
        caller.may("consent")
        document = await read_json(request, exchange.limits.body_bytes)
        locator = Locator.of(document.pop("subject", None))
        return _record(await consents.record(caller.name, caller.subsystem, locator, document))

    @routes.post("/v1/consents/search", summary="The consents and refusals of a person that stand")
    async def search(request: Request) -> dict[str, Any]:
        caller = callers.identify(request)
        caller.may("consent")
        document = await read_json(request, exchange.limits.body_bytes)
        found = await consents.of(Locator.of(document.get("subject")))
        return {"consents": [_record(one) for one in found]}

    @routes.get("/v1/consents/{identifier}", summary="All versions of one consent")
    async def history(request: Request, identifier: str) -> dict[str, Any]:
        callers.identify(request).may("consent")
        return {"versions": [_record(one) for one in await consents.history(identifier)]}

    @routes.post(
        "/v1/consents/{identifier}/withdrawal", status_code=201, summary="Withdraw, and tell those who hold data"
    )
    async def withdraw(request: Request, identifier: str) -> dict[str, Any]:
        caller = callers.identify(request)
        caller.may("consent")
        withdrawn = await consents.withdraw(caller.name, caller.subsystem, identifier)
        deliveries.wake()
        return {**_record(withdrawn.record), "notices": withdrawn.notices}

    return routes


def _record(record: ConsentRecord) -> dict[str, Any]:
    document = record.to_dict()
    document.pop("subject", None)  # an opaque id of this node's, of no use to anyone else
    return document
