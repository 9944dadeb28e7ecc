"""Over everybody: who gave what to whom, what left after a withdrawal, and the record of processing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from audit.log.entries import ZONE
from gateway.console.figures import flow
from gateway.console.office import STYLE, Answer, Ask, NotHereError, Page, Shown, Visit, asked, inside
from gateway.desk.questions.counting import Flowed, Flows, Processing, Years
from gateway.desk.questions.persons import AfterWithdrawal, Late
from texts import LANGUAGES

PERIODS: Final = (7, 30, 90, 365)
DRAWN: Final = 16
"""So many givers and receivers have a bar of their own; the smaller ones share one."""
LISTED: Final = 200
OTHERS: Final = ""


def gathered(given: Sequence[tuple[str, str, int]], most: int = DRAWN) -> list[tuple[str, str, int]]:
    """(giver, receiver, amount) with all but the largest `most` of either side taken together as OTHERS."""
    sides: list[set[str]] = []
    for side in (0, 1):
        totals: dict[str, int] = {}
        for row in given:
            name = str(row[side])
            totals[name] = totals.get(name, 0) + row[2]
        largest = sorted(totals, key=lambda name: (-totals[name], name))
        sides.append(set(largest if len(largest) <= most + 1 else largest[:most]))
    amounts: dict[tuple[str, str], int] = {}
    for giver, receiver, amount in given:
        pair = giver if giver in sides[0] else OTHERS, receiver if receiver in sides[1] else OTHERS
        amounts[pair] = amounts.get(pair, 0) + amount
    return [(*pair, amount) for pair, amount in sorted(amounts.items())]


def flows(visit: Visit) -> Answer:
    """Who gave what to whom in the last days."""
    days = visit.days(PERIODS, 30)
    since = visit.now - timedelta(days=days)

    def shown(told: Flowed) -> Answer:
        given = [
            (count.source, count.recipient, count.released)
            for count in told.counts
            if count.released and count.source and count.recipient
        ]
        given.sort(key=lambda row: (-row[2], row[0], row[1]))
        values = {
            "totals": told.totals,
            "picture": flow(gathered(given)),
            "rows": given[:LISTED],
            "more": max(0, len(given) - LISTED),
            "since": since.astimezone(ZONE).date(),
            "periods_": PERIODS,
            "days": days,
        }
        return Shown("flow.html", values)

    return Ask(Flows.of(start=since, end=visit.now), shown)


def withdrawals(visit: Visit) -> Answer:
    """What left after a withdrawal, for everybody: it must be nothing."""
    days = visit.days(PERIODS, 90)

    def shown(told: Late) -> Answer:
        return Shown("withdrawals.html", {"pairs": told.left, "periods_": PERIODS, "days": days})

    return Ask(AfterWithdrawal.of(start=visit.now - timedelta(days=days)), shown)


def processing(_visit: Visit) -> Answer:
    """Choose the year and language of the record of processing."""

    def shown(years: tuple[int, ...]) -> Answer:
        return Shown("processing-form.html", {"years": years, "report_languages": LANGUAGES})

    return Ask(Years(), shown)


def processing_sheet(visit: Visit) -> Answer:
    """The record of processing activities (GDPR art. 30) of one year, a page to print."""
    language, year = visit.path["of"], visit.path["year"]
    if not year.isascii() or not year.isdigit() or len(year) > 4:
        raise NotHereError
    return asked(
        lambda: Processing.of(year=int(year), language=language),
        lambda made: Shown("sheet.html", {"sheet": inside(made.page(STYLE)), "of": language}),
    )


PAGES = (
    Page("/flow", "flow", flows, Flows.roles, group="log", rank=20),
    Page("/withdrawals", "withdrawals", withdrawals, AfterWithdrawal.roles, group="people", rank=40),
    Page("/processing", "processing", processing, Years.roles, group="log", rank=30),
    Page("/processing/{year}/{of}", "processing-sheet", processing_sheet, Processing.roles),
)
