"""Handovers and the inbox, as the organisation's own systems see them. HTTP in, HTTP out; no rules."""

from __future__ import annotations

import asyncio
import io
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import parse_qsl

import orjson
from fastapi import APIRouter, Header, Request
from fastapi.responses import Response

from adapters.sdk import Adapter, AdapterError, Limits, Mapped, available, load
from audit.questions.subjects import Subjects
from consent.decision import Decision
from gateway.exchange.context import Exchange
from gateway.exchange.handover.accept import Inbox, Item
from gateway.exchange.handover.contact import contact_of
from gateway.exchange.handover.deliver import Deliveries
from gateway.exchange.handover.overview import Overview
from gateway.exchange.handover.plan import Handovers, Once, Order, Plan
from gateway.exchange.transport import TRACE_HEADER
from gateway.sources.backends import Locator
from gateway.web.authentication import Callers
from gateway.web.bodies import read_body, read_json
from gateway.web.headers import USER_HEADER
from gateway.wire.problems import ProblemError
from schemas.facts import Identifier

RECORDS_AT_ONCE = 1000

#: The caller's references travel in headers, since addresses are written down by whatever they pass.
CASE_HEADER = "Yhdyspinta-Case"

LONGEST_KEY = 255
#: Headers that say what is to be done, beside the address and the body.
MEANINGFUL = ("content-type", CASE_HEADER, USER_HEADER)


def router(
    exchange: Exchange, handovers: Handovers, deliveries: Deliveries, inbox: Inbox, overview: Overview, callers: Callers
) -> APIRouter:
    """Orders, their state, and what has arrived."""
    routes = APIRouter(tags=["handovers"])

    @routes.post(
        "/v1/handovers", status_code=201, summary="Hand over the records in the body, in the source's own format"
    )
    async def order(
        request: Request,
        flow: str = "F1",
        adapter: str = "",
        not_before: datetime | None = None,
        case: Annotated[str | None, Header(alias=CASE_HEADER, max_length=256)] = None,
        user: Annotated[str | None, Header(alias=USER_HEADER, max_length=256)] = None,
    ) -> Response:
        caller = callers.identify(request)
        caller.may("handover")
        chosen = _adapter(adapter, request.headers.get("content-type", ""))
        body = await read_body(request, exchange.limits.body_bytes)
        trace_id, _ = exchange.telemetry.trace({TRACE_HEADER: request.headers.get(TRACE_HEADER, "")})
        key = _key(request)
        once = _once(exchange.subjects, request, key, body) if key else None
        plans: list[tuple[Mapped, Plan | None, ProblemError | None]] = []
        for mapped in await asyncio.to_thread(_mapped, chosen, body, exchange.limits.adapter):
            if mapped.bundle is None:
                plans.append((mapped, None, None))
                continue
            one = Order(
                client=caller.name,
                sender=caller.subsystem,
                bundle=mapped.bundle,
                flow=flow,
                idempotency=f"{key}/{len(plans)}" if key else None,
                case=exchange.case_pseudonym(case),
                user=exchange.user_pseudonym(caller.subsystem, user),
                not_before=not_before.astimezone(UTC) if not_before else None,
                trace_id=trace_id,
                register=caller.register,
                record_key=mapped.key or None,
                once=once,
                permits=caller.may_hand_over,
            )
            try:
                plans.append((mapped, await handovers.plan(one), None))
            except ProblemError as problem:
                if problem.status >= 500 or problem.code in {
                    "flow-unknown",
                    "client-not-permitted",
                    "idempotency-conflict",
                }:
                    raise
                plans.append((mapped, None, problem))
        deliveries.wake()
        taken = sum(plan is not None for _, plan, _ in plans)
        answer = {
            "read": len(plans),
            "handed_over": taken,
            "rejected": len(plans) - taken,
            "handovers": [
                {"record": _position(mapped), **_plan(plan)} for mapped, plan, _ in plans if plan is not None
            ],
            "findings": [
                *(finding.to_dict() for mapped, _, _ in plans for finding in mapped.findings),
                *(_refused(mapped, problem) for mapped, _, problem in plans if problem is not None),
            ],
        }
        return Response(orjson.dumps(answer), 201 if taken else 422, media_type="application/json")

    @routes.get("/v1/handovers", summary="List handovers: all, or those in a state, or those overdue")
    async def listed(request: Request, state: str | None = None, after: str = "", limit: int = 100) -> dict[str, Any]:
        caller = callers.identify(request)
        caller.may("handover")
        limit = min(max(limit, 1), 1000)
        found, following = await overview.handovers(caller.subsystem, state=state, after=after, limit=limit)
        return {"handovers": found, "next": following}

    @routes.get("/v1/handovers/{identifier}", summary="One handover with its deliveries")
    async def one(request: Request, identifier: str) -> dict[str, Any]:
        caller = callers.identify(request)
        caller.may("handover")
        return await overview.handover(caller.subsystem, identifier)

    @routes.get("/v1/inbox", summary="What has arrived for the caller's organisation")
    async def arrived(request: Request, state: str | None = None, after: str = "", limit: int = 100) -> dict[str, Any]:
        caller = callers.identify(request)
        caller.may("inbox")
        limit = min(max(limit, 1), 1000)
        items, following = await inbox.list(caller.subsystem, state=state, after=after, limit=limit)
        return {"items": [_item(item) for item in items], "next": following}

    @routes.get("/v1/inbox/{identifier}", summary="One arrival with its content, in the format asked for")
    async def content(
        request: Request,
        identifier: str,
        adapter: str = "canonical",
        user: Annotated[str | None, Header(alias=USER_HEADER, max_length=256)] = None,
    ) -> Response:
        caller = callers.identify(request)
        caller.may("inbox")
        renderer = None if adapter == "canonical" else _adapter(adapter, "")
        pseudonym = exchange.user_pseudonym(caller.subsystem, user)
        item, bundle = await inbox.open(caller.subsystem, identifier, caller.name, pseudonym, permits=caller.may_open)
        if renderer is None or item.kind != "handover":
            return Response(orjson.dumps({**_item(item), "content": bundle}), media_type="application/json")
        rendered = await asyncio.to_thread(renderer.from_canonical, bundle)
        return Response(rendered.body, media_type=rendered.media_type)

    @routes.post("/v1/inbox/{identifier}/acceptance", status_code=201, summary="Accept, and name who is responsible")
    async def accept(request: Request, identifier: str) -> dict[str, Any]:
        caller = callers.identify(request)
        caller.may("inbox")
        document = await read_json(request, exchange.limits.body_bytes)
        item = await inbox.accept(
            caller.subsystem,
            identifier,
            caller.name,
            contact_of(document),
            person=_person(document),
            permits=caller.may_open,
        )
        deliveries.wake()
        return _item(item)

    return routes


def _person(document: dict[str, Any]) -> Identifier | None:
    """Who the arrival is about in the caller's own register, if it says so."""
    if "person" not in document:
        return None
    locator = Locator.of(document["person"], "/person")
    return Identifier(locator.system, locator.value)


def _key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        raise ProblemError(
            "invalid-request",
            detail=f"the Idempotency-Key is empty, or over {LONGEST_KEY} characters, or not in printable ASCII",
            remedy="give each request a key of its own, such as a UUID",
        )
    return key


def _once(subjects: Subjects, request: Request, key: str, body: bytes) -> Once:
    """What is to be done once under this key: all of the request that says what is to be done."""
    parameters = sorted(parse_qsl(request.url.query, keep_blank_values=True))
    headers = [(name, request.headers.get(name)) for name in MEANINGFUL]
    said = orjson.dumps([request.method, request.url.path, parameters, headers])
    return Once(subjects.fingerprint("idempotency-key", key.encode()), subjects.fingerprint("request", said, body))


def _adapter(name: str, content_type: str) -> Adapter:
    if not name:
        kind = content_type.split(";", maxsplit=1)[0].strip().lower()
        fitting = [one.name for one in available() if kind in {media.split(";")[0] for media in one.media_types}]
        if len(fitting) != 1:
            raise ProblemError(
                "adapter-unknown",
                detail="the Content-Type does not say which adapter is meant",
                remedy="name it with ?adapter=, one of: " + ", ".join(sorted(one.name for one in available())),
            )
        name = fitting[0]
    try:
        return load(name)
    except AdapterError:
        raise ProblemError(
            "adapter-unknown",
            detail="there is no adapter of that name here",
            remedy="use one of: " + ", ".join(sorted(one.name for one in available())),
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


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "id": plan.id,
        "state": plan.state,
        "existing": plan.existing,
        "deliveries": [
            {
                "id": delivery.id,
                "role": delivery.role,
                "recipient": str(delivery.service.id.subsystem) if delivery.service else None,
                "purpose": delivery.purpose,
                "state": delivery.state,
                "problem": delivery.problem,
                **(_decided(delivery.decision) if delivery.decision is not None else {}),
            }
            for delivery in plan.deliveries
        ],
    }


def _decided(decision: Decision) -> dict[str, Any]:
    """What may go and on which basis, what may not and what would have made it permitted."""
    return {
        "permitted": [
            {"category": permitted.category, "basis": permitted.basis, "consent": permitted.consent_id}
            for permitted in decision.permitted
        ],
        "withheld": [
            {
                "category": withheld.category,
                "code": withheld.code,
                "nearest_basis": withheld.nearest_basis,
                "unmet": withheld.unmet,
            }
            for withheld in decision.withheld
        ],
        "obligations": list(decision.obligations),
    }


def _position(mapped: Mapped) -> dict[str, Any]:
    position = mapped.position
    return {"file": position.file, "row": position.row}


def _refused(mapped: Mapped, problem: ProblemError) -> dict[str, Any]:
    return {
        "severity": "error",
        "code": problem.code,
        **_position(mapped),
        "column": None,
        "target": problem.pointer,
        "message": {"en": problem.detail},
        "hint": {"en": problem.remedy},
    }


def _item(item: Item) -> dict[str, Any]:
    return {
        "id": item.id,
        "kind": item.kind,
        "handover": item.handover,
        "sender": item.sender,
        "flow": item.flow,
        "purpose": item.purpose,
        "categories": list(item.categories),
        "state": item.state,
        "received": item.received.isoformat(),
        "contact": item.contact,
    }
