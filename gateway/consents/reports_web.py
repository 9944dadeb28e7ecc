"""Prohibitions that wait for a human, over HTTP: what waits, where it belongs, and what the person answered."""

from __future__ import annotations

from datetime import date, datetime

from fastapi import APIRouter, Depends
from pydantic import Field

from consent.words.consents import ConsentRecord
from consent.words.reading import ConsentError, language_of
from gateway.consents.endings import invalid
from gateway.consents.forms import CODES, Age, GiverForm, giver_of
from gateway.consents.record import Recorded, Recorder
from gateway.consents.reports import Answer, Reports, is_last_day
from gateway.exchange.context import Exchange
from gateway.handover.deliver import Deliveries
from gateway.person.figures import overdue_from
from gateway.person.held import HeldRecord
from gateway.web.authentication import Caller, Callers
from gateway.web.description import problems
from gateway.web.doors import Body, Door
from gateway.web.forms import PathKey, Shape, Shown, Subject

_NOBODY = ("subject-system-unknown", "subject-form", "subject-check")


class AnswerForm(Shape):
    """What the person said when they were asked, or who may speak for them by law."""

    subject: Subject
    forbids: bool
    given_by: GiverForm = Field(description="who said it: the person, or who speaks for them by law")
    subject_age: Age | None = Field(None, description="if no identity code tells it")
    subject_unaccompanied: bool | None = None
    language: str = Field("fi", min_length=1, max_length=35, description="in which they were asked, BCP 47")


class PlacementForm(Shape):
    """Whom a prohibition is about."""

    subject: Subject


class AstrayForm(Shown):
    """A prohibition that is tied to nobody, and protects nobody until somebody places it."""

    id: str
    since: datetime
    overdue: bool = Field(description="it has waited for more than one working day")


class ReportForm(Shown):
    """A prohibition that somebody told who may not speak for the person."""

    id: str
    version: int
    since: datetime
    holds_until: date | None = Field(description="the last day on which it holds, unless the person confirms it")
    last_day: bool
    categories: list[str]
    language: str


class WaitingForm(Shown):
    """What waits, the most pressing first."""

    unplaced: list[AstrayForm]
    reports: list[ReportForm]


class SaidForm(Shown):
    """What came of an answer or a placement."""

    id: str
    version: int
    kind: str
    status: str
    notices: int


def router(exchange: Exchange, deliveries: Deliveries, callers: Callers) -> APIRouter:
    """What people are to be asked about. Everything needs the right `consent`."""
    routes = APIRouter(tags=["consents"])
    reports = Reports(exchange)
    let_in = Depends(Door(callers, "consent"))
    answered = Depends(Body(AnswerForm, exchange.limits.body_bytes, codes=CODES))
    placed = Depends(Body(PlacementForm, exchange.limits.body_bytes))

    @routes.get("/v1/reports", summary="Prohibitions that wait for a human: to be placed, or to be asked about")
    async def waiting(caller: Caller = let_in) -> WaitingForm:
        found = await reports.waiting(caller.subsystem)
        now = exchange.clock()
        return WaitingForm(
            unplaced=[_astray(item, now) for item in found.unplaced],
            reports=[_report(report, now) for report in found.reports],
        )

    @routes.post(
        "/v1/reports/{identifier}/answer",
        status_code=201,
        summary="What the person answered when asked",
        responses=problems("consent-unknown", "consent-withdrawn", "consent-invalid", *_NOBODY),
    )
    async def answer(identifier: PathKey, caller: Caller = let_in, form: AnswerForm = answered) -> SaidForm:
        recorded = await reports.answer(_who(caller), identifier, _answer(form), form.subject.locator)
        deliveries.wake()
        return _said(recorded)

    @routes.post(
        "/v1/reports/{identifier}/placement",
        status_code=201,
        summary="Whom a prohibition is about",
        responses=problems("not-found", "consent-invalid", *_NOBODY),
    )
    async def place(identifier: PathKey, caller: Caller = let_in, form: PlacementForm = placed) -> SaidForm:
        recorded = await reports.place(_who(caller), identifier, form.subject.locator)
        deliveries.wake()
        return _said(recorded)

    return routes


def _who(caller: Caller) -> Recorder:
    return Recorder(caller.name, caller.subsystem)


def _answer(form: AnswerForm) -> Answer:
    giver = giver_of(form.given_by)
    try:
        language = language_of(form.language, "/language")
    except ConsentError as error:
        raise invalid(error) from None
    return Answer(form.forbids, giver, language, form.subject_age, form.subject_unaccompanied is True)


def _astray(item: HeldRecord, now: datetime) -> AstrayForm:
    return AstrayForm(id=item.id, since=item.created, overdue=overdue_from(item.created) <= now)


def _report(report: ConsentRecord, now: datetime) -> ReportForm:
    return ReportForm(
        id=report.id,
        version=report.version,
        since=report.recorded_at,
        holds_until=report.ends,
        last_day=is_last_day(report, now),
        categories=sorted(report.categories),
        language=report.language,
    )


def _said(recorded: Recorded) -> SaidForm:
    record = recorded.record
    return SaidForm(
        id=record.id, version=record.version, kind=record.kind, status=record.status, notices=recorded.notices
    )
