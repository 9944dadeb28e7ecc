"""Consents, refusals and withdrawals, and what a decision would be. HTTP in, HTTP out; no rules."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from consent.consents import ConsentError, ConsentRecord, WordStatus
from consent.fhir import form_of, to_fhir
from consent.forms import Row, column_of, read_csv, read_json
from gateway.exchange.advising import Case, advise
from gateway.exchange.consents.record import Consents, Recorded, Recorder, is_prohibition
from gateway.exchange.consents.reports import Reports
from gateway.exchange.context import Exchange
from gateway.exchange.handover.deliver import Deliveries
from gateway.sources.backends import Locator
from gateway.web.authentication import Callers
from gateway.web.bodies import read_body
from gateway.web.bodies import read_json as read_document
from gateway.wire.problems import ProblemError

FHIR = "application/fhir+json"
_FORM = {
    "subject": {"system": "urn:oid:1.2.246.21", "value": "010190-900P"},
    "status": "active",
    "given_by": {"kind": "self"},
    "purposes": ["service-need-lookup"],
    "recipients": ["municipality"],
    "categories": ["health-needs"],
    "ends": "2027-12-31",
    "language": "ar",
    "evidence": {"form": "SUOSTUMUS-3", "digest": "sha-256:…"},
}
_CASE = {
    "flow": "F1",
    "facts": {
        "permit_ground": "asylum-granted",
        "permit_granted": True,
        "municipality": "285",
        "county": "kymenlaakso",
    },
    "consents": [],
    "at": "2026-03-01T12:00:00Z",
}


def _takes(example: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def router(
    exchange: Exchange, consents: Consents, reports: Reports, deliveries: Deliveries, callers: Callers
) -> APIRouter:
    """What people have permitted, forbidden and withdrawn, and what would be decided for a case."""
    routes = APIRouter(tags=["consents"])

    @routes.post(
        "/v1/consents",
        status_code=201,
        summary="Record a consent or a refusal, as JSON or as FHIR R4 Consent",
        openapi_extra=_takes(_FORM),
    )
    async def record(request: Request) -> Response:
        caller = callers.identify(request)
        caller.may("consent")
        document = await read_document(request, exchange.limits.body_bytes)
        fhir = _is_fhir(request.headers.get("content-type", ""))
        form = _form_of(document) if fhir else document
        try:
            locator = Locator.of(form.get("subject"), "/patient/identifier" if fhir else "/subject")
        except ProblemError as problem:
            if not is_prohibition(form):
                raise
            # What was forbidden is not turned away: it waits until a human says whom it is about.
            waits = await reports.put_aside(Recorder(caller.name, caller.subsystem), form)
            return _json(
                {"id": waits, "status": "not-placed", "pointer": problem.pointer, "detail": problem.detail}, 202
            )
        recorded = await consents.record(caller.name, caller.subsystem, locator, form)
        deliveries.wake()
        if fhir:
            shown = to_fhir(recorded.record, (locator.system, locator.value))
            return Response(orjson.dumps(shown), 201, media_type=FHIR)
        return _json({**_record(recorded.record), "notices": recorded.notices}, 201)

    @routes.post(
        "/v1/consents/import", status_code=201, summary="Record many consents from a form's CSV file or JSON list"
    )
    async def bring(request: Request) -> Response:
        caller = callers.identify(request)
        caller.may("consent")
        body = await read_body(request, exchange.limits.body_bytes)
        rows = await asyncio.to_thread(_rows, request.headers.get("content-type", ""), body)

        async def taken(row: Row) -> Recorded | Unplaced | ProblemError:
            if row.form is None:
                error = row.error or ConsentError("", "the row cannot be read")
                return ProblemError("consent-invalid", pointer=error.pointer, detail=error.reason)
            try:
                locator = Locator.of(row.form.get("subject"))
            except ProblemError as problem:
                if not is_prohibition(row.form):
                    return problem
                return Unplaced(await reports.put_aside(Recorder(caller.name, caller.subsystem), row.form), problem)
            try:
                return await consents.record(caller.name, caller.subsystem, locator, row.form, once=True)
            except ProblemError as problem:
                if problem.status >= 500:
                    raise
                return problem

        outcomes = await asyncio.gather(*(taken(row) for row in rows))
        deliveries.wake()
        answer = _imported(rows, outcomes)
        return _json(answer, 201 if answer["recorded"] or not rows else 422 if answer["rejected"] else 200)

    @routes.post("/v1/consents/search", summary="The consents and refusals of a person that stand")
    async def search(request: Request) -> Response:
        caller = callers.identify(request)
        caller.may("consent")
        document = await read_document(request, exchange.limits.body_bytes)
        locator = Locator.of(document.get("subject"))
        found = await consents.of(caller.name, caller.subsystem, locator)
        if _is_fhir(request.headers.get("accept", "")):
            return _bundle([to_fhir(item, (locator.system, locator.value)) for item in found], "searchset")
        return _json({"consents": [_record(item) for item in found]})

    @routes.get("/v1/consents/{identifier}", summary="All versions of one consent")
    async def history(request: Request, identifier: str) -> Response:
        caller = callers.identify(request)
        caller.may("consent")
        versions = await consents.history(caller.name, caller.subsystem, identifier)
        if _is_fhir(request.headers.get("accept", "")):
            return _bundle([to_fhir(version) for version in versions], "collection")
        return _json({"versions": [_record(version) for version in versions]})

    @routes.post(
        "/v1/consents/{identifier}/withdrawal", status_code=201, summary="Withdraw, and tell those who hold data"
    )
    async def withdraw(request: Request, identifier: str) -> Response:
        caller = callers.identify(request)
        caller.may("consent")
        ended = await consents.withdraw(caller.name, caller.subsystem, identifier)
        deliveries.wake()
        return _json({**_record(ended.record), "notices": ended.notices}, 201)

    @routes.post(
        "/v1/consents/{identifier}/error",
        status_code=201,
        summary="Say that a record was entered in error; tell holders",
    )
    async def error(request: Request, identifier: str) -> Response:
        caller = callers.identify(request)
        caller.may("consent")
        ended = await consents.withdraw(caller.name, caller.subsystem, identifier, WordStatus.ENTERED_IN_ERROR)
        deliveries.wake()
        return _json({**_record(ended.record), "notices": ended.notices}, 201)

    @routes.post(
        "/v1/decisions",
        summary="What would be decided for a case, real or supposed, and why; nothing moves and nothing is stored",
        openapi_extra=_takes(_CASE),
    )
    async def decision(request: Request) -> Response:
        caller = callers.identify(request)
        caller.may("decision")
        document = await read_document(request, exchange.limits.body_bytes)
        now = exchange.clock()
        standing = exchange.standing(now)
        held: tuple[ConsentRecord, ...] = ()
        if "subject" in document:
            caller.may("consent")
            held = await consents.of(caller.name, caller.subsystem, Locator.of(document["subject"]))
        found = await asyncio.to_thread(advise, standing, Case(document, _moment(document.get("at"), now), held))
        return _json(
            {
                "rulebook": {
                    "name": standing.rulebook.name,
                    "version": standing.rulebook.version,
                    "status": standing.rulebook.status,
                    "digest": standing.rulebook.digest,
                },
                "decisions": [{"decision": item.decision.to_dict(), "explanation": item.explanation} for item in found],
            }
        )

    return routes


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A prohibition that is tied to nobody: the id under which it waits, and why."""

    id: str
    problem: ProblemError


def _imported(rows: list[Row], outcomes: list[Recorded | Unplaced | ProblemError]) -> dict[str, Any]:
    said = list(zip(rows, outcomes, strict=True))
    stood = [(row, outcome) for row, outcome in said if isinstance(outcome, Recorded)]
    unplaced = [(row, outcome) for row, outcome in said if isinstance(outcome, Unplaced)]
    wrong = [(row, outcome) for row, outcome in said if isinstance(outcome, ProblemError)]
    found = [*wrong, *((row, outcome.problem) for row, outcome in unplaced)]
    return {
        "read": len(rows),
        "recorded": sum(not recorded.known for _, recorded in stood),
        "known": sum(recorded.known for _, recorded in stood),
        "rejected": len(wrong),
        "consents": [{"row": row.number, "id": recorded.record.id, "known": recorded.known} for row, recorded in stood],
        "not_placed": [{"row": row.number, "id": outcome.id} for row, outcome in unplaced],
        "findings": [
            {
                "row": row.number,
                "code": problem.code,
                "pointer": problem.pointer,
                "column": column_of(problem.pointer or ""),
                "message": problem.detail,
            }
            for row, problem in sorted(found, key=lambda pair: pair[0].number)
        ],
    }


def _rows(content_type: str, body: bytes) -> list[Row]:
    kind = content_type.split(";", maxsplit=1)[0].strip().lower()
    if kind not in {"text/csv", "application/json"}:
        raise ProblemError(
            "unsupported-media-type",
            detail="consents are brought as CSV or JSON",
            remedy="send Content-Type: text/csv or application/json",
        )
    try:
        return list(read_csv(body) if kind == "text/csv" else read_json(body))
    except ConsentError as error:
        raise ProblemError(
            "consent-invalid", pointer=error.pointer, detail=error.reason, remedy="mend the file and send it again"
        ) from None


def _form_of(document: dict[str, Any]) -> dict[str, Any]:
    try:
        return form_of(document)
    except ConsentError as error:
        raise ProblemError(
            "consent-invalid", pointer=error.pointer, detail=error.reason, remedy="send a FHIR R4 Consent"
        ) from None


def _is_fhir(media_type: str) -> bool:
    return media_type.split(";", maxsplit=1)[0].strip().lower() == FHIR


def _moment(stated: object, now: datetime) -> datetime:
    if stated is None:
        return now
    try:
        moment = datetime.fromisoformat(str(stated))
    except ValueError:
        raise ProblemError(
            "invalid-request", pointer="/at", detail="a time is needed", remedy="write it in ISO 8601, with its zone"
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _json(document: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, media_type="application/json")


def _bundle(resources: list[dict[str, Any]], kind: str) -> Response:
    bundle: dict[str, Any] = {
        "resourceType": "Bundle",
        "type": kind,
        "entry": [{"resource": resource} for resource in resources],
    }
    if kind == "searchset":
        bundle["total"] = len(resources)
    if not resources:
        del bundle["entry"]
    return Response(orjson.dumps(bundle), media_type=FHIR)


def _record(record: ConsentRecord) -> dict[str, Any]:
    document = record.to_dict()
    document.pop("subject", None)  # an opaque id of this node's, of no use to anyone else
    return document
