"""The registrar's acts: what waits because it names two people, and joins that are doubted, made or undone."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends

from gateway.exchange.context import Exchange
from gateway.handover.deliver import Deliveries
from gateway.identity.acts import Actor, Done, Identity, Proposed
from gateway.identity.forms import DoneForm, HeldList, OpenedForm, OwnedForm, ProposedForm, TwoForm, UnconfirmedList
from gateway.person.registrar import IdentityAct
from gateway.web.authentication import Caller, Callers
from gateway.web.description import problems
from gateway.web.doors import Body, Door
from gateway.web.forms import PathKey, User, user_needed
from schemas.facts import Identifier

_EXAMPLE = {
    "identifiers": [
        {"system": "urn:yhdyspinta:id:migri-customer", "value": "DEMO-17"},
        {"system": "urn:oid:1.2.246.21", "value": "010190-900P"},
    ]
}
_GONE = problems("not-found")
_ACTS = problems(
    "not-found", "subject-system-unknown", "subject-form", "subject-check", "subject-ambiguous", "flow-unknown",
    "record-invalid", "recipient-unknown",
)  # fmt: skip


def router(exchange: Exchange, identity: Identity, deliveries: Deliveries, callers: Callers) -> APIRouter:
    """Who is who. Every act needs the right `identity` and names the person behind it."""
    routes = APIRouter(tags=["identity"])
    door = Door(callers, "identity")

    async def who(caller: Caller = Depends(door), user: User = None) -> Actor:
        return _actor(exchange, caller, user)

    actor = Depends(who)
    routes.include_router(_looking(exchange, identity, actor))
    two = Depends(Body(TwoForm, exchange.limits.body_bytes, example=_EXAMPLE))

    @routes.post(
        "/v1/identity/held/{identifier}/owner", summary="Answer for a held record from now on", responses=_GONE
    )
    async def take(identifier: PathKey, actor: Actor = actor) -> OwnedForm:
        await identity.take(actor, identifier)
        return OwnedForm(id=identifier, owner=actor.name)

    @routes.post(
        "/v1/identity/held/{identifier}/same",
        summary="A held record is about one person: it goes on when two say so",
        responses=_ACTS,
    )
    async def same(identifier: PathKey, actor: Actor = actor) -> DoneForm | ProposedForm:
        return _shown(deliveries, await identity.same(actor, identifier))

    @routes.post(
        "/v1/identity/held/{identifier}/apart",
        summary="A held record mixes two people: it is dropped",
        responses=_ACTS,
    )
    async def apart(identifier: PathKey, actor: Actor = actor) -> DoneForm:
        return DoneForm.of(await identity.apart(actor, identifier))

    @routes.post("/v1/identity/{act}", summary="Join two identifiers, undo a join, or place words", responses=_ACTS)
    async def propose(act: IdentityAct, actor: Actor = actor, form: TwoForm = two) -> DoneForm | ProposedForm:
        first, second = (Identifier(named.system, named.value) for named in form.identifiers)
        return _shown(deliveries, await identity.propose(actor, act, first, second))

    @routes.post(
        "/v1/identity/proposals/{identifier}/approval",
        summary="Carry out what another person has proposed",
        responses=_ACTS,
    )
    async def approve(identifier: PathKey, actor: Actor = actor) -> DoneForm:
        return _done(deliveries, await identity.approve(actor, identifier))

    @routes.post(
        "/v1/identity/proposals/{identifier}/drop",
        summary="Take back what was proposed, whoever proposed it",
        responses=_GONE,
    )
    async def drop(identifier: PathKey, actor: Actor = actor) -> DoneForm:
        return DoneForm.of(await identity.drop(actor, identifier))

    return routes


def _looking(exchange: Exchange, identity: Identity, actor: Any) -> APIRouter:
    """What waits: lists that name nobody, and one item with whom it names."""
    routes = APIRouter()

    @routes.get("/v1/identity/held", summary="Records and proposals that wait for a decision about who is who")
    async def held(actor: Actor = actor) -> HeldList:
        return HeldList.of(await identity.waiting(actor), exchange.clock())

    @routes.get("/v1/identity/unconfirmed", summary="Joins that nobody has confirmed")
    async def unconfirmed(actor: Actor = actor) -> UnconfirmedList:
        return UnconfirmedList.of(await identity.doubtful(actor))

    @routes.post(
        "/v1/identity/held/{identifier}/opening",
        summary="What waits, with whom it names; the reading is on record",
        responses=_GONE,
    )
    async def opened(identifier: PathKey, actor: Actor = actor) -> OpenedForm:
        return OpenedForm.opened(await identity.open(actor, identifier), exchange.clock())

    return routes


def _done(deliveries: Deliveries, outcome: Done) -> DoneForm:
    if outcome.plan is not None:
        deliveries.wake()
    return DoneForm.of(outcome)


def _shown(deliveries: Deliveries, outcome: Proposed | Done) -> DoneForm | ProposedForm:
    return ProposedForm.of(outcome) if isinstance(outcome, Proposed) else _done(deliveries, outcome)


def _actor(exchange: Exchange, caller: Caller, user: str | None) -> Actor:
    pseudonym = exchange.user_pseudonym(caller.subsystem, user)
    if user is None or pseudonym is None:
        raise user_needed("a decision about who a person is needs the person who decides")
    person, *formerly = exchange.subjects.users(str(caller.subsystem.member), user)
    return Actor(caller.name, caller.subsystem, pseudonym, person, tuple(formerly))
