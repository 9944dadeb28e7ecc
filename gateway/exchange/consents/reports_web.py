"""Prohibitions that wait for a human, over HTTP: what waits, where it belongs, and what the person answered."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from consent.consents import ConsentError, ConsentRecord
from consent.givers import Giver
from consent.reading import language_of
from gateway.exchange.consents.record import Recorded, Recorder, invalid
from gateway.exchange.consents.reports import Answer, Reports, overdue
from gateway.exchange.context import Exchange
from gateway.exchange.handover.deliver import Deliveries
from gateway.person.figures import overdue_from
from gateway.person.held import HeldRecord
from gateway.sources.backends import Locator
from gateway.web.authentication import Callers
from gateway.web.bodies import read_json


class Unplaced(BaseModel):
    """A prohibition that is tied to nobody, and protects nobody until somebody places it."""

    id: str
    since: str
    overdue: bool = Field(description="has waited for more than one working day")


class Report(BaseModel):
    """A prohibition that somebody told who may not speak for the person."""

    id: str
    version: int
    since: str
    holds_until: str | None = Field(description="the last day on which it holds, unless the person confirms it")
    last_day: bool
    categories: list[str]
    language: str


class Waiting(BaseModel):
    """What waits, the most pressing first."""

    model_config = ConfigDict(title="WaitingProhibitions")

    unplaced: list[Unplaced]
    reports: list[Report]


class Said(BaseModel):
    """What came of an answer or a placement."""

    model_config = ConfigDict(title="RecordedProhibition")

    id: str
    version: int
    kind: str
    status: str
    notices: int


def router(exchange: Exchange, reports: Reports, deliveries: Deliveries, callers: Callers) -> APIRouter:
    """What people are to be asked about. Everything needs the right `consent`."""
    routes = APIRouter(tags=["consents"])

    def recorder(request: Request) -> Recorder:
        caller = callers.identify(request)
        caller.may("consent")
        return Recorder(caller.name, caller.subsystem)

    @routes.get("/v1/reports", summary="Prohibitions that wait for a human: to be placed, or to be asked about")
    async def waiting(request: Request) -> Waiting:
        found = await reports.waiting(recorder(request).subsystem)
        now = exchange.clock()
        return Waiting(
            unplaced=[_unplaced(item, overdue=overdue_from(item.created) <= now) for item in found.unplaced],
            reports=[_report(report, last_day=overdue(report, now)) for report in found.reports],
        )

    @routes.post("/v1/reports/{identifier}/answer", status_code=201, summary="What the person answered when asked")
    async def answer(request: Request, identifier: str) -> Said:
        who = recorder(request)
        document = await read_json(request, exchange.limits.body_bytes)
        said = _answer(document)
        recorded = await reports.answer(who, identifier, said, Locator.of(document.get("subject")))
        deliveries.wake()
        return _said(recorded)

    @routes.post("/v1/reports/{identifier}/placement", status_code=201, summary="Whom a prohibition is about")
    async def place(request: Request, identifier: str) -> Said:
        who = recorder(request)
        document = await read_json(request, exchange.limits.body_bytes)
        recorded = await reports.place(who, identifier, Locator.of(document.get("subject")))
        deliveries.wake()
        return _said(recorded)

    return routes


def _answer(document: dict[str, Any]) -> Answer:
    forbids = document.get("forbids")
    try:
        if not isinstance(forbids, bool):
            raise ConsentError("/forbids", "say true if the person forbids it, false if they do not")
        language = language_of(document.get("language", "fi"), "/language")
        return Answer(forbids, Giver.read(document.get("given_by")), language)
    except ConsentError as error:
        raise invalid(error) from None


def _unplaced(item: HeldRecord, *, overdue: bool) -> Unplaced:
    return Unplaced(id=item.id, since=item.created.isoformat(), overdue=overdue)


def _report(report: ConsentRecord, *, last_day: bool) -> Report:
    return Report(
        id=report.id,
        version=report.version,
        since=report.recorded_at.isoformat(),
        holds_until=report.ends.isoformat() if report.ends is not None else None,
        last_day=last_day,
        categories=sorted(report.categories),
        language=report.language,
    )


def _said(recorded: Recorded) -> Said:
    record = recorded.record
    return Said(id=record.id, version=record.version, kind=record.kind, status=record.status, notices=recorded.notices)
