"""Search the log: filters, pages that stay where they are while the log grows, and exports of what was found.

Nothing personal is ever a filter here. A person is found on a page of their own, and a case by a form that is posted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from audit.log.entries import OUTCOMES, TYPES, ZONE
from audit.questions.export import to_csv, to_fhir, to_json_lines
from audit.questions.query import Filters, Found, Order, QueryError
from gateway.desk.console.office import INSPECTORS, Answer, NotHereError, Page, Sent, Shown, Visit

LIMIT: Final = 50
EXPORT_LIMIT: Final = 100_000
_TEXT: Final = (
    "id", "message_id", "user", "recipient", "source", "member", "client", "service", "purpose", "rulebook", "reason",
    "basis", "permitted", "withheld", "consent", "case", "previous",
)  # fmt: skip
_MAIN: Final = ("member", "purpose", "basis", "reason", "user")
FORMATS: Final = {
    "csv": ("text/csv; charset=utf-8", "csv"),
    "jsonl": ("application/jsonl", "jsonl"),
    "fhir": ("application/fhir+json", "json"),
}


def filters_of(query: Mapping[str, str]) -> tuple[Filters, dict[str, str]]:
    """The filters that a query string asks for, and the fields that make no sense with the text that says why."""
    wrong: dict[str, str] = {}
    start, end = _day(query, "from", wrong), _day(query, "to", wrong)
    kind, outcome = query.get("type", ""), query.get("outcome", "")
    if kind and kind not in TYPES:
        wrong["type"] = "search.wrong-choice"
    if outcome and outcome not in OUTCOMES:
        wrong["outcome"] = "search.wrong-choice"
    given = {name: query[name].strip()[:1_300] for name in _TEXT if query.get(name, "").strip()}
    found = Filters(
        start=start,
        end=None if end is None else end + timedelta(days=1),
        types=(kind,) if kind else (),
        outcomes=(outcome,) if outcome else (),
        **given,  # type: ignore[arg-type]  # the names are those of text filters
    )
    return found, wrong


def _day(query: Mapping[str, str], name: str, wrong: dict[str, str]) -> datetime | None:
    text = query.get(name, "").strip()
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
        return datetime(day.year, day.month, day.day, tzinfo=ZONE).astimezone(UTC)
    except (ValueError, OverflowError):
        wrong[name] = "search.wrong-day"
        return None


def search(visit: Visit) -> Answer:
    """One page of results, with the filters that led to it."""
    filters, wrong = filters_of(visit.query)
    order: Order = "oldest" if visit.query.get("order") == "oldest" else "newest"
    after = visit.query.get("after") or None
    page = None
    if not wrong:
        try:
            page = visit.search(filters, order=order, after=after, limit=LIMIT)
        except QueryError:
            wrong["after"] = "search.wrong-place"
    more = [name for name in _TEXT if name not in _MAIN]
    values = {
        "found": page.found if page is not None else (),
        "next": page.next if page is not None else None,
        "wrong": wrong,
        "types": sorted(TYPES),
        "outcomes": sorted(OUTCOMES),
        "main_fields": _MAIN,
        "more_fields": more,
        "more_open": any(visit.query.get(name) for name in more),
        "formats": FORMATS,
    }
    return Shown("search.html", values, filters.to_codes(), status=400 if wrong else 200)


def export(visit: Visit) -> Answer:
    """Everything that the filters find, as a file; at most EXPORT_LIMIT entries."""
    filters, wrong = filters_of(visit.query)
    if wrong:
        raise NotHereError
    return file_of(visit, filters, visit.path["form"], "log")


def file_of(visit: Visit, filters: Filters, form: str, name: str, subject: str | None = None) -> Sent:
    """Entries as a file in one of FORMATS. Raises NotHereError for another format."""
    if form not in FORMATS:
        raise NotHereError
    media_type, ending = FORMATS[form]

    def body(connection: Connection) -> Iterator[bytes]:
        reading = replace(visit, connection=connection)
        yield from written(form, _pages(reading, filters), visit.office.log.origin)

    filename = f"{name}-{visit.now:%Y%m%d}.{ending}"
    return Sent(body, media_type, filename, {"format": form, **filters.to_codes()}, subject)


def written(form: str, found: Iterable[Found], origin: str) -> Iterator[bytes]:
    """Entries in one of FORMATS."""
    if form == "csv":
        yield "\N{BYTE ORDER MARK}".encode()  # spreadsheets take UTF-8 for UTF-8 only with it
        for line in to_csv(found):
            yield line.encode()
    elif form == "jsonl":
        yield from to_json_lines(found)
    else:
        yield from to_fhir(found, origin=origin)


def _pages(visit: Visit, filters: Filters) -> Iterator[Found]:
    after: str | None = None
    left = EXPORT_LIMIT
    while left > 0:
        page = visit.search(filters, order="oldest", after=after, limit=min(1_000, left))
        yield from page.found
        left -= len(page.found)
        after = page.next
        if after is None:
            return


PAGES = (
    Page("/search", "search", search, INSPECTORS, group="people", rank=20),
    Page("/search/export/{form}", "export", export, INSPECTORS),
)
