"""Consents, refusals and withdrawals, and what a decision would be. HTTP in, HTTP out; no rules."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from consent.words.consents import ConsentRecord, Ending, WordStatus
from consent.words.fhir import form_of, place_of, to_fhir
from consent.words.forms import Row, read_csv, read_json
from consent.words.reading import ConsentError
from gateway.consents.endings import UNSAID
from gateway.consents.forms import (
    CODES,
    AdvisedForm,
    CaseForm,
    ConsentForm,
    EndingForm,
    FoundForm,
    HistoryForm,
    ImportedForm,
    RecordedForm,
    RecordForm,
    SearchForm,
    UnimportedForm,
    Unplaced,
    UnplacedForm,
    advised,
    imported,
)
from gateway.consents.record import Consents, Recorded, Recorder, is_prohibition
from gateway.consents.reports import Reports
from gateway.exchange.advising import Case, advise
from gateway.exchange.context import Exchange
from gateway.handover.deliver import Deliveries
from gateway.person.held import NOT_PLACED
from gateway.web.authentication import Caller, Callers
from gateway.web.bodies import check_media_type, media_type, read_body
from gateway.web.description import problems
from gateway.web.doors import JSON, Body, Bytes, Door, OptionalBody
from gateway.web.forms import PathKey
from gateway.web.validation import plain_json, read
from gateway.wire.problems import NothingTakenError, ProblemError

FHIR = "application/fhir+json"
CSV = "text/csv"
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
_ENDED = {"subject": {"system": "urn:oid:1.2.246.21", "value": "010190-900P"}, "given_by": {"kind": "self"}}
_NOBODY = ("subject-system-unknown", "subject-form", "subject-check")
_FHIR_TOO: dict[str, Any] = {"content": {FHIR: {"schema": {"type": "object"}}}}


@dataclass(frozen=True, slots=True)
class Astray:
    """A prohibition that names nobody whom it could protect, as it came, and why."""

    form: dict[str, Any]
    problem: ProblemError


class ConsentBody(Body):
    """A word as our own JSON, or as a FHIR R4 Consent."""

    def __init__(self, limit: int, clock: Callable[[], datetime]) -> None:
        super().__init__(ConsentForm, limit, codes=CODES, example=_FORM)
        self.media_types = (JSON, FHIR)
        self._clock = clock

    async def __call__(self, request: Request) -> ConsentForm | Astray:
        """The word. Raises ProblemError."""
        check_media_type(request, self.media_types)
        body = await read_body(request, self.limit)
        if not _is_fhir(request.headers.get("content-type", "")):
            return read_word(body)
        return _from_fhir(body, self._clock())


def router(exchange: Exchange, consents: Consents, deliveries: Deliveries, callers: Callers) -> APIRouter:
    """What people have consented to, refused and withdrawn, and what would be decided for a case."""
    routes = APIRouter(tags=["consents"])
    routes.include_router(_recording(exchange, consents, deliveries, Door(callers, "consent")))
    routes.include_router(_reading(exchange, consents, Door(callers, "consent")))
    routes.include_router(_ending(exchange, consents, deliveries, Door(callers, "consent")))
    routes.include_router(_deciding(exchange, consents, Door(callers, "decision")))
    return routes


def _recording(exchange: Exchange, consents: Consents, deliveries: Deliveries, door: Door) -> APIRouter:
    routes = APIRouter()
    reports = Reports(exchange)
    let_in = Depends(door)
    sent = Depends(ConsentBody(exchange.limits.body_bytes, exchange.clock))
    file = Depends(Bytes(exchange.limits.body_bytes, (CSV, JSON)))

    @routes.post(
        "/v1/consents",
        status_code=201,
        summary="Record a consent or a refusal, as JSON or as FHIR R4 Consent",
        response_model=None,
        responses={
            201: {"model": RecordedForm, **_FHIR_TOO},
            202: {"model": UnplacedForm, "description": "a prohibition that cannot be tied to a person waits"},
            **problems("consent-invalid", *_NOBODY),
        },
    )
    async def record(request: Request, caller: Caller = let_in, form: ConsentForm | Astray = sent) -> Response:
        if isinstance(form, Astray):
            waits = await reports.put_aside(Recorder(caller.name, caller.subsystem), form.form)
            told = {"pointer": form.problem.pointer, "detail": form.problem.detail}
            return _json({"id": waits, "status": NOT_PLACED, **told}, 202)
        locator = form.subject.locator
        is_fhir = _is_fhir(request.headers.get("content-type", ""))
        with _told_of_fhir() if is_fhir else nullcontext():
            recorded = await consents.record(caller.name, caller.subsystem, locator, form.said())
        deliveries.wake()
        if is_fhir:
            shown = to_fhir(recorded.record, (locator.system, locator.value))
            return Response(orjson.dumps(shown), 201, media_type=FHIR)
        return _json(RecordForm.of(recorded.record) | {"notices": recorded.notices}, 201)

    @routes.post(
        "/v1/consents/import",
        status_code=201,
        summary="Record many consents from a form's CSV file or JSON list",
        response_model=None,
        responses={
            200: {"model": ImportedForm, "description": "all were known already"},
            201: {"model": ImportedForm},
            422: {"model": UnimportedForm, "description": "consent-invalid"},
        },
    )
    async def bring(request: Request, caller: Caller = let_in, body: bytes = file) -> Response:
        rows = await asyncio.to_thread(_rows, request.headers.get("content-type", ""), body)
        outcomes = await asyncio.gather(*(_bring(consents, reports, caller, row) for row in rows))
        deliveries.wake()
        answer = imported(rows, outcomes)
        if answer["rejected"] and not answer["recorded"]:
            raise NothingTakenError(
                "consent-invalid",
                answer,
                detail=f"of the {answer['read']} rows that were read none was recorded",
                remedy="mend the rows that `findings` names and send the file again",
            )
        return _json(answer, 201 if answer["recorded"] or not rows else 200)

    return routes


def _reading(exchange: Exchange, consents: Consents, door: Door) -> APIRouter:
    routes = APIRouter()
    let_in = Depends(door)
    looked_for = Depends(Body(SearchForm, exchange.limits.body_bytes))

    @routes.post(
        "/v1/consents/search",
        summary="The consents and refusals of a person that stand",
        response_model=None,
        responses={200: {"model": FoundForm, **_FHIR_TOO}, **problems(*_NOBODY)},
    )
    async def search(request: Request, caller: Caller = let_in, form: SearchForm = looked_for) -> Response:
        locator = form.subject.locator
        found = await consents.of(caller.name, caller.subsystem, locator)
        if _is_fhir(request.headers.get("accept", "")):
            return _bundle([to_fhir(item, (locator.system, locator.value)) for item in found], "searchset")
        return _json({"consents": [RecordForm.of(item) for item in found]})

    @routes.get(
        "/v1/consents/{identifier}",
        summary="All versions of one consent",
        response_model=None,
        responses={200: {"model": HistoryForm, **_FHIR_TOO}, **problems("consent-unknown")},
    )
    async def history(request: Request, identifier: PathKey, caller: Caller = let_in) -> Response:
        versions = await consents.history(caller.name, caller.subsystem, identifier)
        if _is_fhir(request.headers.get("accept", "")):
            return _bundle([to_fhir(version) for version in versions], "collection")
        return _json({"versions": [RecordForm.of(version) for version in versions]})

    return routes


def _ending(exchange: Exchange, consents: Consents, deliveries: Deliveries, door: Door) -> APIRouter:
    routes = APIRouter()
    let_in = Depends(door)
    body = OptionalBody(EndingForm, exchange.limits.body_bytes, codes=CODES, example=_ENDED)
    said_by = Depends(body)
    answers: dict[int | str, dict[str, Any]] = {
        200: {"model": RecordedForm, "description": "it had ended so before, and nothing has changed"},
        201: {"model": RecordedForm},
        **problems("consent-unknown", "consent-withdrawn", "consent-invalid", *_NOBODY),
    }

    async def end(caller: Caller, identifier: str, ending: Ending, form: EndingForm | None) -> Response:
        said = UNSAID if form is None else form.said()
        ended = await consents.withdraw(caller.name, caller.subsystem, identifier, ending, said)
        deliveries.wake()
        return _json(RecordForm.of(ended.record) | {"notices": ended.notices}, 200 if ended.known else 201)

    @routes.post(
        "/v1/consents/{identifier}/withdrawal",
        status_code=201,
        summary="Withdraw, and tell those who hold data; of a prohibition, say who takes it back",
        response_model=None,
        responses=answers,
    )
    async def withdraw(identifier: PathKey, caller: Caller = let_in, form: EndingForm | None = said_by) -> Response:
        return await end(caller, identifier, WordStatus.WITHDRAWN, form)

    @routes.post(
        "/v1/consents/{identifier}/error",
        status_code=201,
        summary="Say that a record was entered in error; tell holders",
        response_model=None,
        responses=answers,
    )
    async def error(identifier: PathKey, caller: Caller = let_in, form: EndingForm | None = said_by) -> Response:
        return await end(caller, identifier, WordStatus.ENTERED_IN_ERROR, form)

    return routes


def _deciding(exchange: Exchange, consents: Consents, door: Door) -> APIRouter:
    routes = APIRouter()
    let_in = Depends(door)
    put = Depends(Body(CaseForm, exchange.limits.body_bytes, example=_CASE))

    @routes.post(
        "/v1/decisions",
        summary="What would be decided for a case, real or supposed, and why; nothing moves and nothing is stored",
        response_model=None,
        responses={200: {"model": AdvisedForm}, **problems("justification-missing", *_NOBODY)},
    )
    async def decision(caller: Caller = let_in, form: CaseForm = put) -> Response:
        now = exchange.clock()
        standing = exchange.standing(now)
        held: tuple[ConsentRecord, ...] = ()
        if form.subject is not None:
            caller.may("consent")
            held = await consents.of(caller.name, caller.subsystem, form.subject.locator)
        found = await asyncio.to_thread(advise, standing, Case(form.stated(), form.at or now, held))
        return _json(advised(standing, found))

    return routes


async def _bring(consents: Consents, reports: Reports, caller: Caller, row: Row) -> Recorded | Unplaced | ProblemError:
    """Record one row of a file; what is wrong with it is told and the others go on."""
    if row.form is None:
        error = row.error or ConsentError("", "the row cannot be read")
        return ProblemError("consent-invalid", pointer=error.pointer, detail=error.reason)
    try:
        form = read_word(orjson.dumps(row.form))
        if isinstance(form, Astray):
            waits = await reports.put_aside(Recorder(caller.name, caller.subsystem), form.form)
            return Unplaced(waits, form.problem)
        return await consents.record(caller.name, caller.subsystem, form.subject.locator, form.said(), once=True)
    except ProblemError as problem:
        if problem.status >= 500:
            raise
        return problem


def _rows(content_type: str, body: bytes) -> list[Row]:
    if media_type(content_type) == CSV:
        return _all_rows(read_csv, body)
    document = plain_json(body)
    if isinstance(document, Mapping) and document.keys() - {"consents"}:
        raise ProblemError(
            "invalid-request",
            pointer="",
            detail="a file of consents has the one member consents",
            remedy='send {"consents": [...]}',
        )
    return _all_rows(read_json, body)


def _all_rows(reader: Any, body: bytes) -> list[Row]:
    try:
        return list(reader(body))
    except ConsentError as error:
        raise ProblemError(
            "consent-invalid", pointer=error.pointer, detail=error.reason, remedy="mend the file and send it again"
        ) from None


def read_word(body: bytes) -> ConsentForm | Astray:
    """A word, in its declared form. Raises ProblemError, but for a prohibition of which only the person is wrong."""
    try:
        return read(ConsentForm, body, codes=CODES)
    except ProblemError as problem:
        document = plain_json(body)
        pointer = problem.pointer or ""
        is_nobody = pointer == "/subject" or pointer.startswith("/subject/")
        if is_nobody and isinstance(document, dict) and is_prohibition(document):
            # What was forbidden is not turned away: it waits until a human says whom it is about.
            return Astray(document, problem)
        raise


def _from_fhir(body: bytes, now: datetime) -> ConsentForm | Astray:
    document = plain_json(body)
    if not isinstance(document, dict):
        raise ProblemError("invalid-json", detail="the body is not a JSON object", remedy="send a FHIR R4 Consent")
    try:
        form = form_of(document, now)
        if form["status"] not in {WordStatus.ACTIVE, WordStatus.REFUSED}:
            # An ending that came in as a record would say nothing of who takes the word back.
            raise ConsentError("/status", "a word is ended by POST /v1/consents/ID/withdrawal or …/error")
    except ConsentError as error:
        raise ProblemError(
            "consent-invalid", pointer=error.pointer, detail=error.reason, remedy="send a FHIR R4 Consent"
        ) from None
    with _told_of_fhir():
        return read_word(orjson.dumps(form))


@contextmanager
def _told_of_fhir() -> Iterator[None]:
    """What is wrong with a member of the form, told by its place in the resource that was sent."""
    try:
        yield
    except ProblemError as problem:
        problem.pointer = None if problem.pointer is None else place_of(problem.pointer)
        raise


def _is_fhir(header: str) -> bool:
    return media_type(header) == FHIR


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
