"""Over everybody: who gave what to whom, what left after a withdrawal, and the record of processing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from audit.log.entries import ZONE
from audit.log.rows import member_of
from audit.questions.query import Found, left_after_withdrawal
from audit.questions.report import processing_page, record_of_processing
from audit.questions.tallies import Count, between
from audit.questions.texts import LANGUAGES
from gateway.desk.console.figures import flow
from gateway.desk.console.office import INSPECTORS, Answer, NotHereError, Page, Shown, Visit

PERIODS: Final = (7, 30, 90, 365)
DRAWN: Final = 16
"""So many givers and receivers have a bar of their own; the smaller ones share one."""
LISTED: Final = 200
OTHERS: Final = ""


def _own(visit: Visit, found: Iterable[Count]) -> list[Count]:
    own = visit.session.identity.member
    return [item for item in found if own is None or own in (member_of(item.source), member_of(item.recipient))]


def gathered(given: Sequence[tuple[str, str, int]], most: int = DRAWN) -> list[tuple[str, str, int]]:
    """(giver, receiver, amount) with all but the largest `most` of either side taken together as OTHERS."""
    sides: list[set[str]] = []
    for side in (0, 1):
        totals: dict[str, int] = {}
        for one in given:
            name = str(one[side])
            totals[name] = totals.get(name, 0) + one[2]
        largest = sorted(totals, key=lambda name: (-totals[name], name))
        sides.append(set(largest if len(largest) <= most + 1 else largest[:most]))
    amounts: dict[tuple[str, str], int] = {}
    for giver, receiver, amount in given:
        pair = giver if giver in sides[0] else OTHERS, receiver if receiver in sides[1] else OTHERS
        amounts[pair] = amounts.get(pair, 0) + amount
    return [(*pair, amount) for pair, amount in sorted(amounts.items())]


def flows(visit: Visit) -> Answer:
    """Who gave what to whom in the last days."""
    days = next((period for period in PERIODS if str(period) == visit.query.get("days")), 30)
    since = visit.now - timedelta(days=days)
    counts = _own(visit, between(visit.connection, since, visit.now))
    given = [
        (count.source, count.recipient, count.released)
        for count in counts
        if count.released and count.source and count.recipient
    ]
    given.sort(key=lambda one: (-one[2], one[0], one[1]))
    values = {
        "picture": flow(gathered(given)),
        "rows": given[:LISTED],
        "more": max(0, len(given) - LISTED),
        "since": since.astimezone(ZONE).date(),
        "periods_": PERIODS,
        "days": days,
    }
    return Shown("flow.html", values, {"days": days})


def withdrawals(visit: Visit) -> Answer:
    """What left after a withdrawal, for everybody: it must be nothing."""
    days = next((period for period in PERIODS if str(period) == visit.query.get("days")), 90)
    since, office = visit.now - timedelta(days=days), visit.office
    pairs = left_after_withdrawal(visit.connection, start=since, limit=200, find=office.find, at=office.at)
    seen: list[tuple[Found, Found]] = [pair for pair in pairs if visit.sees(pair[1].entry)]
    return Shown("withdrawals.html", {"pairs": seen, "periods_": PERIODS, "days": days}, {"days": days})


def processing(visit: Visit) -> Answer:
    """Choose the year and language of the record of processing."""
    this = visit.now.astimezone(ZONE).year
    return Shown("processing-form.html", {"years": range(this, this - 6, -1), "report_languages": LANGUAGES})


def processing_sheet(visit: Visit) -> Answer:
    """The record of processing activities (GDPR art. 30) of one year, a page to print."""
    language, year = visit.path["of"], visit.path["year"]
    if language not in LANGUAGES or not year.isascii() or not year.isdigit() or not 2000 <= int(year) <= 9990:
        raise NotHereError
    office = visit.office
    report = record_of_processing(
        visit.connection,
        int(year),
        office.activities(language),
        controller=office.controller(language),
        language=language,
        now=visit.now,
        names=office.names,
        member=visit.session.identity.member,
    )
    html = processing_page(report, stylesheet="/static/console.css")
    body = html.split("<main>", 1)[1].rsplit("</main>", 1)[0]
    return Shown("sheet.html", {"sheet": body, "of": language}, {"report": "processing", "year": int(year)})


PAGES = (
    Page("/flow", "flow", flows, INSPECTORS, group="log", rank=20),
    Page("/withdrawals", "withdrawals", withdrawals, INSPECTORS, group="people", rank=40),
    Page("/processing", "processing", processing, INSPECTORS, group="log", rank=30),
    Page("/processing/{year}/{of}", "processing-sheet", processing_sheet, INSPECTORS),
)
