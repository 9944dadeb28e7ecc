"""The registrar's acts: what waits because it names two people, and joins that are doubted, made or undone."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request

from gateway.exchange.context import Exchange
from gateway.exchange.handover.deliver import Deliveries
from gateway.exchange.identity.acts import Actor, Done, Identity, IdentityAct
from gateway.person.figures import overdue_from
from gateway.person.held import HeldKind, HeldRecord
from gateway.sources.backends import Locator
from gateway.web.authentication import Callers
from gateway.web.bodies import read_json
from gateway.web.headers import USER_HEADER
from gateway.wire.problems import ProblemError
from schemas.facts import Identifier

User = Annotated[str | None, Header(alias=USER_HEADER, max_length=256)]


def router(exchange: Exchange, identity: Identity, deliveries: Deliveries, callers: Callers) -> APIRouter:
    """Who is who. Every act needs the right `identity` and names the person behind it."""
    routes = APIRouter(tags=["identity"])

    def actor(request: Request, user: str | None) -> Actor:
        caller = callers.identify(request)
        caller.may("identity")
        # One person however they are spelt: the two who are needed may not be one who writes the name in two ways.
        name = unicodedata.normalize("NFKC", user).strip().casefold() if user else None
        pseudonym = exchange.user_pseudonym(caller.subsystem, name)
        if pseudonym is None:
            raise ProblemError(
                "invalid-request",
                pointer=f"/{USER_HEADER}",
                detail="a decision about who a person is needs the person who decides",
                remedy=f"send the user's id in the header {USER_HEADER}",
            )
        assert user is not None
        person = exchange.subjects.user(str(caller.subsystem.member), user)
        return Actor(caller.name, caller.subsystem, pseudonym, person)

    @routes.get("/v1/identity/held", summary="Records and proposals that wait for a decision about who is who")
    async def held(request: Request, user: User = None) -> dict[str, Any]:
        return {"held": [_record(record, exchange.clock()) for record in await identity.waiting(actor(request, user))]}

    @routes.get("/v1/identity/unconfirmed", summary="Joins that nobody has confirmed")
    async def unconfirmed(request: Request, user: User = None) -> dict[str, Any]:
        found = await identity.doubtful(actor(request, user))
        return {
            "unconfirmed": [
                {"joined": join.joined.isoformat(), "register": join.register, "subjects": [join.first, join.second]}
                for join in found
            ]
        }

    @routes.post("/v1/identity/held/{identifier}/owner", summary="Answer for a held record from now on")
    async def take(request: Request, identifier: str, user: User = None) -> dict[str, Any]:
        who = actor(request, user)
        await identity.take(who, identifier)
        return {"id": identifier, "owner": who.name}

    @routes.post("/v1/identity/held/{identifier}/same", summary="A held record is about one person: it goes on")
    async def same(request: Request, identifier: str, user: User = None) -> dict[str, Any]:
        done = await identity.same(actor(request, user), identifier)
        deliveries.wake()
        return _done(done)

    @routes.post("/v1/identity/held/{identifier}/apart", summary="A held record mixes two people: it is dropped")
    async def apart(request: Request, identifier: str, user: User = None) -> dict[str, Any]:
        return _done(await identity.apart(actor(request, user), identifier))

    @routes.post("/v1/identity/{act}", summary="Join two identifiers, undo a join, or place words")
    async def propose(request: Request, act: IdentityAct, user: User = None) -> dict[str, Any]:
        who = actor(request, user)
        first, second = _two(await read_json(request, exchange.limits.body_bytes))
        outcome = await identity.propose(who, act, first, second)
        return {"proposal": outcome} if isinstance(outcome, str) else _done(outcome)

    @routes.post("/v1/identity/proposals/{identifier}/approval", summary="Carry out what another person has proposed")
    async def approve(request: Request, identifier: str, user: User = None) -> dict[str, Any]:
        return _done(await identity.approve(actor(request, user), identifier))

    return routes


def _two(document: dict[str, Any]) -> tuple[Identifier, Identifier]:
    given = document.get("identifiers")
    if not isinstance(given, list) or len(given) != 2:
        raise ProblemError(
            "invalid-request",
            pointer="/identifiers",
            detail="an act about who is who names two identifiers",
            remedy='send {"identifiers": [{"system": "…", "value": "…"}, {"system": "…", "value": "…"}]}',
        )
    first, second = (Locator.of(item, f"/identifiers/{number}") for number, item in enumerate(given))
    return Identifier(first.system, first.value), Identifier(second.system, second.value)


def _record(record: HeldRecord, now: datetime) -> dict[str, Any]:
    return {
        "id": record.id,
        "kind": record.kind.value,
        "register": record.register,
        "reason": record.reason,
        "since": record.created.isoformat(),
        "overdue": record.kind is not HeldKind.PROPOSAL and overdue_from(record.created) <= now,
        "owner": record.owner,
    }


def _done(done: Done) -> dict[str, Any]:
    return {
        "released": [
            {
                "index": item.index,
                "recorded": item.recorded.isoformat(),
                "recipient": item.recipient,
                "categories": list(item.categories),
            }
            for item in done.released
        ],
        "handover": None if done.plan is None else done.plan.id,
    }
