"""Handovers and the inbox, as the organisation's own systems see them. HTTP in, HTTP out; no rules."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from urllib.parse import parse_qsl

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from adapters.sdk import Adapter, AdapterError, Limits, Mapped
from audit.questions.subjects import Subjects
from gateway.exchange.context import Exchange
from gateway.exchange.transport import TRACE_HEADER
from gateway.handover.accept import Inbox, Opener
from gateway.handover.changes import Changes, Teller
from gateway.handover.deliver import Deliveries
from gateway.handover.forms import (
    AcceptanceForm,
    AdapterName,
    After,
    ArrivalFilter,
    Became,
    HandoverFilter,
    HandoverForm,
    HandoverList,
    ItemForm,
    ItemList,
    Limit,
    OpenedForm,
    OrderedForm,
    UnorderedForm,
    Wanted,
    opened,
    ordered,
)
from gateway.handover.overview import Overview
from gateway.handover.plan import Handovers, Once, Order
from gateway.reading.readers import Adapters
from gateway.web.authentication import Caller, Callers
from gateway.web.bodies import media_type
from gateway.web.description import problems
from gateway.web.doors import Body, Bytes, Door
from gateway.web.forms import PathKey, User
from gateway.web.headers import CASE_HEADER, USER_HEADER
from gateway.wire.problems import NothingTakenError, ProblemError
from schemas.facts import Identifier

RECORDS_AT_ONCE = 1000
#: Headers that say what is to be done, beside the address and the body.
MEANINGFUL = ("content-type", CASE_HEADER, USER_HEADER)
#: What is wrong with the whole request, and not with one of its records.
_OF_THE_WHOLE = frozenset({"flow-unknown", "client-not-permitted", "idempotency-conflict"})

_ORDER_PROBLEMS = problems(
    "adapter-unknown", "flow-unknown", "nothing-handed-over", "idempotency-conflict", "subject-ambiguous"
)
_ACCEPT_PROBLEMS = problems(
    "not-found", "subject-system-unknown", "subject-form", "subject-check", "subject-ambiguous", "body-destroyed"
)


def router(exchange: Exchange, handovers: Handovers, deliveries: Deliveries, callers: Callers) -> APIRouter:
    """Orders, their state, and what has arrived."""
    routes = APIRouter()
    door = Door(callers, "handover")
    routes.include_router(_ordering(exchange, handovers, deliveries, door))
    routes.include_router(_looking(Overview(exchange), door))
    routes.include_router(_arriving(exchange, deliveries, Inbox(exchange), Door(callers, "inbox")))
    return routes


def _ordering(exchange: Exchange, handovers: Handovers, deliveries: Deliveries, door: Door) -> APIRouter:
    routes = APIRouter(tags=["handovers"])
    let_in = Depends(door)
    sent = Depends(Bytes(exchange.limits.body_bytes))
    asked = Depends(Wanted)

    @routes.post(
        "/v1/handovers",
        status_code=201,
        summary="Hand over the records in the body, in the source's own format",
        response_model=None,
        responses={
            201: {"model": OrderedForm},
            **_ORDER_PROBLEMS,
            422: {"model": UnorderedForm, **_ORDER_PROBLEMS[422]},
        },
    )
    async def order(
        request: Request,
        caller: Caller = let_in,
        body: bytes = sent,
        wanted: Wanted = asked,
    ) -> Response:
        key = wanted.key
        chosen = _adapter(exchange.adapters, wanted.adapter, request.headers.get("content-type", ""))
        trace_id, _ = exchange.telemetry.trace({TRACE_HEADER: request.headers.get(TRACE_HEADER, "")})
        template = Order(
            client=caller.name,
            sender=caller.subsystem,
            bundle={},
            flow=wanted.flow,
            idempotency=key,
            case=exchange.case_pseudonym(wanted.case),
            user=exchange.user_pseudonym(caller.subsystem, wanted.user),
            not_before=wanted.not_before,
            trace_id=trace_id,
            register=caller.register,
            once=_once(exchange.subjects, request, key, body) if key else None,
            permits=caller.may_hand_over,
        )
        records = await asyncio.to_thread(_mapped, chosen, body, exchange.limits.adapter)
        answer = ordered(await _hand_over(handovers, Changes(exchange), template, records))
        deliveries.wake()
        if not answer["handed_over"] and not answer["changed"]:
            raise NothingTakenError(
                "nothing-handed-over",
                answer,
                detail=f"of the {answer['read']} records that were read none could be handed over",
                remedy="mend what `findings` names and send the request again",
            )
        return Response(orjson.dumps(answer), 201, media_type="application/json")

    return routes


def _looking(overview: Overview, door: Door) -> APIRouter:
    routes = APIRouter(tags=["handovers"])
    let_in = Depends(door)

    @routes.get("/v1/handovers", summary="List handovers: all, or those in a state, or those overdue")
    async def listed(
        caller: Caller = let_in, state: HandoverFilter = None, after: After = "", limit: Limit = 100
    ) -> HandoverList:
        found, following = await overview.handovers(caller.subsystem, state=state, after=after, limit=limit)
        return HandoverList.model_validate({"handovers": found, "next": following})

    @routes.get(
        "/v1/handovers/{identifier}",
        summary="One handover with its deliveries",
        responses=problems("handover-unknown"),
    )
    async def single(identifier: PathKey, caller: Caller = let_in) -> HandoverForm:
        return HandoverForm.model_validate(await overview.handover(caller.subsystem, identifier))

    return routes


def _arriving(exchange: Exchange, deliveries: Deliveries, inbox: Inbox, door: Door) -> APIRouter:
    routes = APIRouter(tags=["inbox"])
    let_in = Depends(door)
    accepted = Depends(Body(AcceptanceForm, exchange.limits.body_bytes))

    @routes.get("/v1/inbox", summary="What has arrived for the caller's organisation")
    async def arrived(
        caller: Caller = let_in, state: ArrivalFilter = None, after: After = "", limit: Limit = 100
    ) -> ItemList:
        items, following = await inbox.list(caller.subsystem, state=state, after=after, limit=limit)
        return ItemList(items=[ItemForm.of(item) for item in items], next=following)

    @routes.get(
        "/v1/inbox/{identifier}",
        summary="One arrival with its content, in the format asked for",
        response_model=None,
        responses={
            200: {"model": OpenedForm, "content": {"*/*": {}}},
            **problems("not-found", "body-destroyed", "adapter-unknown"),
        },
    )
    async def content(
        identifier: PathKey, caller: Caller = let_in, adapter: AdapterName = "canonical", user: User = None
    ) -> Response:
        renderer = None if adapter == "canonical" else _adapter(exchange.adapters, adapter, "")
        pseudonym = exchange.user_pseudonym(caller.subsystem, user)
        item, bundle = await inbox.open(caller.subsystem, identifier, Opener(caller.name, caller.may_open), pseudonym)
        if renderer is None or item.kind != "handover":
            return Response(orjson.dumps(opened(item, bundle)), media_type="application/json")
        rendered = await asyncio.to_thread(renderer.from_canonical, bundle)
        return Response(rendered.body, media_type=rendered.media_type)

    @routes.post(
        "/v1/inbox/{identifier}/acceptance",
        status_code=201,
        summary="Accept, and name who is responsible",
        responses=_ACCEPT_PROBLEMS,
    )
    async def accept(identifier: PathKey, caller: Caller = let_in, form: AcceptanceForm = accepted) -> ItemForm:
        item = await inbox.accept(
            caller.subsystem,
            identifier,
            Opener(caller.name, caller.may_open),
            form.contact.contact(),
            person=Identifier(form.person.system, form.person.value) if form.person is not None else None,
        )
        deliveries.wake()
        return ItemForm.of(item)

    return routes


async def _hand_over(
    handovers: Handovers, changes: Changes, template: Order, records: list[Mapped]
) -> list[tuple[Mapped, Became]]:
    """Order a handover for each record that could be read. Raises ProblemError for what concerns all of them."""
    plans: list[tuple[Mapped, Became]] = []
    teller = Teller(template.client, template.sender, template.register, template.trace_id)
    for mapped in records:
        if mapped.change is not None:
            plans.append((mapped, await changes.take(mapped.change, teller)))
            continue
        if mapped.bundle is None:
            plans.append((mapped, None))
            continue
        key = template.idempotency
        wanted = replace(
            template,
            bundle=mapped.bundle,
            idempotency=f"{key}/{len(plans)}" if key else None,
            record_key=mapped.key or None,
            made_by=mapped.made_by,
        )
        try:
            plans.append((mapped, await handovers.plan(wanted)))
        except ProblemError as problem:
            if problem.status >= 500 or problem.code in _OF_THE_WHOLE:
                raise
            plans.append((mapped, problem))
    return plans


def _once(subjects: Subjects, request: Request, key: str, body: bytes) -> Once:
    """What is to be done once under this key: all of the request that says what is to be done."""
    parameters = sorted(parse_qsl(request.url.query, keep_blank_values=True))
    headers = [(name, request.headers.get(name)) for name in MEANINGFUL]
    said = orjson.dumps([request.method, request.url.path, parameters, headers])
    keys, asked = subjects.fingerprints("idempotency-key", key.encode()), subjects.fingerprints("request", said, body)
    return Once(keys[0], asked[0], tuple(zip(keys, asked, strict=True))[1:])


def _adapter(adapters: Adapters, name: str, content_type: str) -> Adapter:
    known = ", ".join(sorted(manifest.name for manifest in adapters.available()))
    if not name:
        kind = media_type(content_type)
        fitting = [manifest.name for manifest in adapters.available() if kind in map(media_type, manifest.media_types)]
        if len(fitting) != 1:
            raise ProblemError(
                "adapter-unknown",
                detail="the Content-Type does not say which adapter is meant",
                remedy=f"name it with ?adapter=, one of: {known}",
            )
        name = fitting[0]
    try:
        return adapters.load(name)
    except AdapterError:
        raise ProblemError(
            "adapter-unknown", detail="there is no adapter of that name here", remedy=f"use one of: {known}"
        ) from None


def _mapped(adapter: Adapter, body: bytes, limits: Limits) -> list[Mapped]:
    found: list[Mapped] = []
    for mapped in adapter.convert(io.BytesIO(body), limits):
        found.append(mapped)
        if len(found) > RECORDS_AT_ONCE:
            raise ProblemError(
                "body-too-large",
                detail=f"the body holds more than {RECORDS_AT_ONCE} records",
                remedy="send fewer records at once",
            )
    return found
