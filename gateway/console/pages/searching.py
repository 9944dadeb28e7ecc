"""Search the log: filters, pages that stay where they are while the log grows, and exports of what was found.

Nothing personal is ever a filter here. A person is found on a page of their own, and a case by a form that is posted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from audit.log.entries import OUTCOMES, TYPES, EntryType
from audit.questions.query import Page as Found
from audit.questions.query import QueryError
from gateway.console.office import Answer, Ask, NotHereError, Page, Sent, Shown, Visit
from gateway.desk.forms import LONGEST, FiltersForm, Format, Order, day_of
from gateway.desk.questions.searching import Download, Entries, Find
from gateway.wire.problems import ProblemError

LIMIT: Final = 50
_CHOICES: Final = ("type", "outcome")
_TEXT: Final = tuple(name for name in FiltersForm.model_fields if name not in {*_CHOICES, "subject"})
_MAIN: Final = ("member", "purpose", "basis", "reason", "user")
#: Words are entries of consent and of refusal; a search for these would tell that there are none.
_UNWRITTEN: Final = frozenset({EntryType.PERMISSION, EntryType.PROHIBITION})
_MORE: Final = tuple(name for name in _TEXT if name not in _MAIN)
_SAID: Final = {
    "from": "search.wrong-day",
    "to": "search.wrong-day",
    "type": "search.wrong-choice",
    "outcome": "search.wrong-choice",
    "after": "search.wrong-place",
}


def period_of(query: Mapping[str, str], wrong: dict[str, str]) -> dict[str, Any]:
    """The days that a form names, as a window of time; what is none is noted with the text that says why."""
    window: dict[str, Any] = {}
    for name, field in (("from", "start"), ("to", "end")):
        try:
            window[field] = day_of(query.get(name, ""), is_over=name == "to")
        except ValueError:
            wrong[name] = _SAID[name]
    return window


def filters_of(query: Mapping[str, str]) -> dict[str, str]:
    """The filters that an address names."""
    given = {name: query[name].strip()[:LONGEST] for name in (*_CHOICES, *_TEXT) if name in query}
    return {name: value for name, value in given.items() if value}


def search(visit: Visit) -> Answer:
    """One page of results, with the filters that led to it."""
    wrong: dict[str, str] = {}
    window = period_of(visit.query, wrong)
    after = visit.query.get("after", "")[:LONGEST] or None
    order = Order.OLDEST if visit.query.get("order") == Order.OLDEST else Order.NEWEST

    def shown(page: Found | None) -> Answer:
        values = {
            "found": page.found if page is not None else (),
            "next": page.next if page is not None else None,
            "wrong": wrong,
            "types": sorted(TYPES - _UNWRITTEN),
            "outcomes": sorted(OUTCOMES),
            "main_fields": _MAIN,
            "more_fields": _MORE,
            "more_open": any(visit.query.get(name) for name in _MORE),
            "formats": tuple(Format),
        }
        return Shown("search.html", values, {"refused": "filters"} if wrong else {}, 400 if wrong else 200)

    def misplaced(_error: Exception) -> Answer:
        wrong["after"] = _SAID["after"]
        return shown(None)

    if wrong:
        return shown(None)
    try:
        asked = Find.of(filters=filters_of(visit.query), order=order, after=after, limit=LIMIT, **window)
    except ProblemError as error:
        name = next((part for part in (error.pointer or "").split("/") if part in _SAID), "")
        wrong[name] = _SAID.get(name, "search.wrong")
        return shown(None)
    return Ask(asked, shown, (QueryError,), misplaced)


def export(visit: Visit) -> Answer:
    """Everything that the filters find, as a file; at most so many as a Download has."""
    wrong: dict[str, str] = {}
    window = period_of(visit.query, wrong)
    if wrong:
        raise NotHereError
    try:
        form = visit.path["form"]
        asked = Download.of(filters=filters_of(visit.query), form=form, **window)
    except ProblemError:
        raise NotHereError from None
    return Ask(asked, lambda made: sent(visit, made, "log"))


def sent(visit: Visit, made: Entries, name: str) -> Sent:
    """Entries as a file to keep."""
    body = made.pieces()
    if made.form is Format.CSV:
        body = with_mark(body)
    return Sent(body, made.media_type, f"{name}-{visit.now:%Y%m%d}.{made.ending}")


def with_mark(pieces: Any) -> Any:
    """The same behind a mark without which spreadsheets do not take UTF-8 for UTF-8."""
    yield "\N{BYTE ORDER MARK}".encode()
    yield from pieces


PAGES = (
    Page("/search", "search", search, Find.roles, group="people", rank=20),
    Page("/search/export/{form}", "export", export, Download.roles),
)
