"""Standing requests over HTTP: by which rights they can be made; made, ended, shown, and handed to the authority."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from fastapi import APIRouter, Depends
from sqlalchemy import Connection

from audit.log.entries import Entry
from audit.log.waiting import Written
from gateway.asking.forms import (
    EXAMPLE,
    EndForm,
    ListedForm,
    RequestForm,
    RequestsForm,
    RightsForm,
    StandingForm,
)
from gateway.asking.requests import Act, Listed, StandingRequests
from gateway.exchange.context import Exchange
from gateway.storage.engine import read
from gateway.web.authentication import Caller, Callers
from gateway.web.description import problems
from gateway.web.doors import Body, Door
from gateway.web.forms import PathKey, User, user_needed
from gateway.wire.problems import ProblemError

T = TypeVar("T")


def router(exchange: Exchange, callers: Callers) -> APIRouter:
    """What the organisation asks once for all. Everything needs the right `standing-request`; making and ending also
    the person who decides.
    """
    routes = APIRouter(tags=["standing requests"])
    requests, door = requests_of(exchange), Door(callers, "standing-request")
    routes.include_router(_reading(exchange, requests, door))
    routes.include_router(_signing(exchange, requests, door))
    return routes


def _reading(exchange: Exchange, requests: StandingRequests, door: Door) -> APIRouter:
    routes = APIRouter()
    let_in = Depends(door)

    @routes.get("/v1/standing-requests", summary="What the organisation asks once for all, and what is asked of it")
    async def listed(caller: Caller = let_in) -> RequestsForm:
        now, member = exchange.clock(), caller.subsystem.member
        ours = await read(exchange.engine, lambda connection: requests.ours(connection, member, now))
        return RequestsForm(
            ours=[ListedForm.of(item) for item in ours],
            of_us=[ListedForm.of(item) for item in requests.of_us(member, now)],
        )

    @routes.get("/v1/standing-requests/rights", summary="The rights by which a standing request can be made")
    async def rights(caller: Caller = let_in) -> RightsForm:
        return RightsForm.of(requests.rights(caller.subsystem.member, exchange.clock()))

    @routes.get(
        "/v1/standing-requests/{identifier}",
        summary="One standing request as it was signed last: the file that the authority publishes",
        responses=problems("not-found"),
    )
    async def signed(identifier: PathKey, caller: Caller = let_in) -> RequestForm:
        now, member = exchange.clock(), caller.subsystem.member
        found = await read(exchange.engine, lambda connection: requests.one(connection, member, identifier, now))
        if found is None:
            raise ProblemError("not-found", detail="there is no standing request of that id")
        return RequestForm.of(found.request)

    return routes


def _signing(exchange: Exchange, requests: StandingRequests, door: Door) -> APIRouter:
    routes = APIRouter()
    let_in = Depends(door)
    asked = Depends(Body(StandingForm, exchange.limits.body_bytes, example=EXAMPLE))
    ended = Depends(Body(EndForm, exchange.limits.body_bytes, example={"last": "2026-12-31"}))

    async def write(act: Callable[[Connection], tuple[Listed, Entry]]) -> ListedForm:
        def writing(connection: Connection) -> Written[Listed]:
            listed, entry = act(connection)
            return Written(listed, (entry,))

        return ListedForm.of((await exchange.log.commit(writing)).value)

    @routes.post("/v1/standing-requests", status_code=201, summary="Make and sign a standing request")
    async def make(caller: Caller = let_in, user: User = None, form: StandingForm = asked) -> ListedForm:
        act, request = _act(exchange, caller, user), form.request(str(caller.subsystem.member))
        return await write(lambda connection: requests.make(connection, act, request, exchange.clock()))

    @routes.post(
        "/v1/standing-requests/{identifier}/end",
        status_code=201,
        summary="Sign that a standing request ends with a day",
        responses=problems("not-found"),
    )
    async def end(identifier: PathKey, caller: Caller = let_in, user: User = None, form: EndForm = ended) -> ListedForm:
        act = _act(exchange, caller, user)
        return await write(lambda connection: requests.end(connection, act, identifier, form.last, exchange.clock()))

    return routes


def requests_of(exchange: Exchange) -> StandingRequests:
    """The standing requests of a node's members. Nothing is released by them here, so a hold does not stop them."""
    return StandingRequests(exchange.node, exchange.standing_though_held, exchange.signer)


def _act(exchange: Exchange, caller: Caller, user: str | None) -> Act:
    pseudonym = exchange.user_pseudonym(caller.subsystem, user)
    if pseudonym is None:
        raise user_needed("what the organisation signs needs the person who decides")
    return Act(caller.name, pseudonym, caller.subsystem)
