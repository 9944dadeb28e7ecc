"""The questions that a data protection officer asks of the log.

`search` takes filters and gives pages, newest or oldest first. A page ends with a cursor, the place of its last entry;
since entries never change and new ones only come at the end, paging by cursor is stable and costs the same on every
page. Each search is driven by one index, that of its most telling filter: a person before a case, a case before a
member, a member before a time window. The named questions below are searches with their filters filled in.
"""

from __future__ import annotations

import base64
import binascii
import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from typing import Any, Final, Literal, Protocol

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, or_, select

from audit.log.entries import REFUSED, ZONE, Entry, EntryType, micros
from audit.log.tables import FACETS, entries, facets
from audit.questions.sides import SIDES, TURNED, on_side, without_index
from audit.questions.words import MEANINGS, NOT_RELEASED, Meaning, Word, moving

MAX_PAGE: Final = 1_000
_ASKED_AT_ONCE: Final = 500
_LARGEST: Final = 2**63 - 1
CLOCKS_DIFFER: Final = timedelta(hours=1)
"""By so much the clocks of those who write one log may differ, at the very most."""
Order = Literal["newest", "oldest"]


class QueryError(ValueError):
    """A filter or cursor that makes no sense."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What to search for; everything given must hold. Empty finds all.

    `subjects` are pseudonyms (all that belong to one person), `types` and `outcomes` alternatives. `start` is
    inclusive, `end` exclusive. `member` is `INSTANCE/CLASS/MEMBER` on either side, `recipient` and `source` are whole
    subsystem ids; `former_cases` are alternatives to `case`. `carries` leaves out what names no category of data that
    moved, `withholds` what succeeded or was planned with nothing held back.
    """

    start: datetime | None = None
    end: datetime | None = None
    subjects: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    id: str | None = None
    message_id: str | None = None
    previous: str | None = None
    case: str | None = None
    former_cases: tuple[str, ...] = ()
    user: str | None = None
    recipient: str | None = None
    source: str | None = None
    member: str | None = None
    client: str | None = None
    service: str | None = None
    purpose: str | None = None
    rulebook: str | None = None
    reason: str | None = None
    basis: str | None = None
    permitted: str | None = None
    withheld: str | None = None
    consent: str | None = None
    carries: bool = False
    withholds: bool = False

    def to_codes(self) -> dict[str, str | int | bool]:
        """What was searched for, fit for the `detail` of the entry that records the search: names of filters only."""
        used = [item.name for item in fields(self) if getattr(self, item.name) not in (None, (), False)]
        return {"filters": " ".join(used)}


@dataclass(frozen=True, slots=True)
class Found:
    """An entry and its index in the log."""

    index: int
    entry: Entry

    @property
    def record(self) -> int:
        """Its number for people: they count from 1."""
        return self.index + 1

    def to_dict(self) -> dict[str, Any]:
        """Its place and what it says, as JSON tells it."""
        return {"index": self.index, "entry": self.entry.to_dict()}


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a search, and the cursor after which the next begins (None at the end)."""

    found: tuple[Found, ...]
    next: str | None

    def to_dict(self) -> dict[str, Any]:
        """The page as JSON tells it."""
        return {"found": [item.to_dict() for item in self.found], "next": self.next}


_COLUMNS: Final = {
    "id": entries.c.id,
    "message_id": entries.c.message_id,
    "previous": entries.c.previous,
    "case": entries.c.case_key,
    "user": entries.c.user_id,
    "client": entries.c.client,
    "service": entries.c.service,
    "purpose": entries.c.purpose,
    "rulebook": entries.c.rulebook,
    "reason": entries.c.reason,
}
_FACET_FILTERS: Final = ("consent", "member", "basis", "withheld", "permitted")
_REFUSED_TO: Final = "refused"
"""Drives a search for what was refused to a member; no filter of this name, but an index of its own."""
# The most telling filter first; those that no index serves (client, service) are never first.
_DRIVERS: Final = (
    "id",
    "message_id",
    "previous",
    "subjects",
    "case",
    "user",
    "consent",
    "reason",
    "recipient",
    "member",
    "source",
    "outcomes",
    "types",
    "basis",
    "purpose",
    "withheld",
    "rulebook",
    "permitted",
)


def _cursor(recorded: int, index: int) -> str:
    return base64.urlsafe_b64encode(f"{recorded}.{index}".encode()).decode().rstrip("=")


def _place(cursor: str) -> tuple[int, int]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        recorded, index = (int(number) for number in text.split("."))
    except (ValueError, binascii.Error) as error:
        raise QueryError("the cursor is not one that a page ended with") from error
    if abs(recorded) > _LARGEST or not 0 <= index <= _LARGEST:
        raise QueryError("the cursor is not one that a page ended with")  # and no database could compare it
    return recorded, index


def _alternatives(filters: Filters) -> list[tuple[str, Filters]]:
    """A search for each alternative of the driving filter, with the name of what drives it."""
    for name in _DRIVERS:
        value = getattr(filters, name)
        if not value:
            continue
        if name == "case":
            cases = dict.fromkeys((filters.case, *filters.former_cases))
            return [(name, replace(filters, case=item, former_cases=())) for item in cases]
        if name in ("subjects", "outcomes", "types"):
            alternatives: list[dict[str, Any]] = [{name: (item,)} for item in dict.fromkeys(value)]
            return [(name, replace(filters, **alternative)) for alternative in alternatives]
        if name == "member" and filters.outcomes and set(filters.outcomes) <= set(REFUSED):
            return [(_REFUSED_TO, filters)]
        return [(name, filters), (TURNED + name, filters)] if name in SIDES else [(name, filters)]
    return [("", filters)]


def _holding(condition: ColumnElement[bool], *, drives: bool) -> ColumnElement[bool]:
    return condition if drives else without_index(condition)


def _statement(
    filters: Filters, driver: str, place: tuple[int, int] | None, order: Order, limit: int
) -> Select[int, int, str]:
    by_facet = driver in _FACET_FILTERS or driver == _REFUSED_TO
    recorded = facets.c.recorded if by_facet else entries.c.recorded
    index = facets.c.idx if by_facet else entries.c.idx
    conditions: list[ColumnElement[bool]] = []
    for name, column in _COLUMNS.items():
        value = getattr(filters, name)
        if value is not None:
            is_it = column.in_((value, *filters.former_cases)) if name == "case" else column == value
            conditions.append(_holding(is_it, drives=name == driver))
    sides = [(name, getattr(filters, name)) for name in SIDES]
    conditions += [on_side(name, value, driver) for name, value in sides if value is not None]
    for name, values, column in (
        ("subjects", filters.subjects, entries.c.subject),
        ("types", filters.types, entries.c.type),
        ("outcomes", filters.outcomes, entries.c.outcome),
    ):
        if values:
            holds = column == values[0] if len(values) == 1 else column.in_(values)
            conditions.append(_holding(holds, drives=name == driver))
    for name in _FACET_FILTERS:
        value = getattr(filters, name)
        if value is None:
            continue
        if name == driver or (name == "member" and driver == _REFUSED_TO):
            conditions += [facets.c.kind == FACETS[driver], facets.c.value == value]
        else:
            other = facets.alias(f"facet_{name}")
            conditions.append(
                exists().where(
                    other.c.kind == FACETS[name],
                    other.c.value == value,
                    other.c.recorded == recorded,
                    other.c.idx == index,
                )
            )
    if filters.carries:
        conditions.append(without_index(moving()))
    if filters.start is not None:
        conditions.append(recorded >= micros(filters.start))
    if filters.end is not None:
        conditions.append(recorded < micros(filters.end))
    if place is not None:
        at, after = place
        # Written out, so that the time alone narrows the index and the index breaks ties.
        if order == "newest":
            conditions.append(recorded <= at)
            conditions.append(or_(recorded < at, and_(recorded == at, index < after)))
        else:
            conditions.append(recorded >= at)
            conditions.append(or_(recorded > at, and_(recorded == at, index > after)))
    statement = select(entries.c.recorded, entries.c.idx, entries.c.body)
    if by_facet:
        statement = statement.select_from(facets.join(entries, entries.c.idx == facets.c.idx))
    ordering = (recorded.desc(), index.desc()) if order == "newest" else (recorded.asc(), index.asc())
    return statement.where(*conditions).order_by(*ordering).limit(limit)


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where entries are looked for, and what gives the entry for an index and the text that is stored there: it is that
    text, or it lives elsewhere (in an archive).
    """

    connection: Connection
    read: Callable[[int, str], Entry] = lambda _index, text: Entry.parse(text)


def search(
    connection: Connection,
    filters: Filters,
    *,
    order: Order = "newest",
    after: str | None = None,
    limit: int = 50,
) -> Page:
    """One page of the entries that match. Raises QueryError for a bad cursor or limit."""
    return search_in(Shelf(connection), filters, order=order, after=after, limit=limit)


def search_in(shelf: Shelf, filters: Filters, *, order: Order, after: str | None, limit: int) -> Page:
    """The same wherever the text of the entries is."""
    if not 1 <= limit <= MAX_PAGE:
        raise QueryError(f"a page has between 1 and {MAX_PAGE} entries")
    while True:
        page = _page(shelf, filters, order, after, limit)
        if not (filters.carries or filters.withholds):
            return page
        # Told only by the text of an entry: a page may be short, but it is empty only where there is nothing more.
        told = Meaning(filters.types, filters.outcomes, filters.carries, filters.withholds)
        found = tuple(item for item in page.found if told.takes_in(item.entry))
        if found or page.next is None:
            return Page(found, page.next)
        after = page.next


def _page(shelf: Shelf, filters: Filters, order: Order, after: str | None, limit: int) -> Page:
    place = None if after is None else _place(after)
    rows_of = [
        [
            (row[0], row[1], row[2])
            for row in shelf.connection.execute(_statement(alternative, driver, place, order, limit + 1))
        ]
        for driver, alternative in _alternatives(filters)
    ]
    merged = heapq.merge(*rows_of, key=lambda row: (row[0], row[1]), reverse=order == "newest")
    rows = list(itertools.islice(merged, limit + 1))
    more = len(rows) > limit
    rows = rows[:limit]
    return Page(
        tuple(Found(index, shelf.read(index, body)) for _, index, body in rows),
        _cursor(rows[-1][0], rows[-1][1]) if more else None,
    )


def merge_pages(pages: Sequence[Page], *, order: Order, limit: int) -> Page:
    """One page made of the same page of several places, an entry that stands in two of them once.

    Every place must have been searched with the same filters, order, cursor and limit.
    """
    found = {item.index: item for page in pages for item in page.found}
    ordered = sorted(
        found.values(), key=lambda item: (micros(item.entry.recorded), item.index), reverse=order == "newest"
    )
    more = len(ordered) > limit or any(page.next is not None for page in pages)
    ordered = ordered[:limit]
    if not more or not ordered:
        return Page(tuple(ordered), None)
    last = ordered[-1]
    return Page(tuple(ordered), _cursor(micros(last.entry.recorded), last.index))


class Search(Protocol):
    """Something that searches as `search` does: the database alone, or with it an archive."""

    def __call__(
        self, connection: Connection, filters: Filters, *, order: Order, after: str | None, limit: int
    ) -> Page:
        """One page of the entries that match."""
        ...


def walk(
    connection: Connection,
    filters: Filters,
    *,
    order: Order = "oldest",
    limit: int | None = None,
    find: Search = search,
) -> Iterator[Found]:
    """All entries that match, page by page, at most `limit`."""
    after: str | None = None
    left = limit
    while left is None or left > 0:
        page = find(connection, filters, order=order, after=after, limit=min(MAX_PAGE, left or MAX_PAGE))
        yield from page.found
        if page.next is None:
            return
        after = page.next
        left = None if left is None else left - len(page.found)


# -- the questions ---------------------------------------------------------------------------------------------------


def meaning(word: Word) -> Filters:
    """The search that finds what a word counts."""
    known = MEANINGS[word]
    return Filters(types=known.types, outcomes=known.outcomes, carries=known.carries, withholds=known.withholds)


def disclosures(pseudonyms: Sequence[str], *, start: datetime | None = None, end: datetime | None = None) -> Filters:
    """Who received this person's data, which categories, when and on which basis?"""
    return replace(meaning(Word.DISCLOSED), start=start, end=end, subjects=known(pseudonyms))


def fruitless_lookups(pseudonyms: Sequence[str]) -> Filters:
    """Who looked this person up and got nothing?"""
    return Filters(subjects=known(pseudonyms), types=(EntryType.QUERY.value,), outcomes=NOT_RELEASED)


def refusals(*, reason: str | None = None, start: datetime | None = None, end: datetime | None = None) -> Filters:
    """What was refused, and why? Each entry's reason, withheld categories and digests say what was missing."""
    return Filters(start, end, outcomes=REFUSED, reason=reason)


def case(key: str) -> Filters:
    """Everything about one case; `key` is the keyed hash of its reference. Show it oldest first."""
    return Filters(case=key)


def person(pseudonyms: Sequence[str]) -> Filters:
    """Everything about one person."""
    return Filters(subjects=known(pseudonyms))


def known(pseudonyms: Sequence[str]) -> tuple[str, ...]:
    """The pseudonyms to search by."""
    # Nobody by that identifier must find nothing, not everything.
    return tuple(pseudonyms) or ("-",)


def by_id(connection: Connection, id: str, *, find: Search = search) -> Found | None:  # noqa: A002
    """The entry with this id."""
    page = find(connection, Filters(id=id), order="newest", after=None, limit=1)
    return page.found[0] if page.found else None


def by_index(connection: Connection, index: int) -> Found | None:
    """The entry at this index."""
    row = connection.execute(select(entries.c.body).where(entries.c.idx == index)).first()
    return None if row is None else Found(index, Entry.parse(row.body))


At = Callable[[Connection, int], Found | None]
"""Reads the entry at an index: from the database alone, as `by_index` does, or also from an archive."""


def chain(
    connection: Connection,
    id: str,  # noqa: A002
    *,
    limit: int = MAX_PAGE,
    find: Search = search,
) -> tuple[Found, ...]:
    """The story that an entry belongs to: handover, its deliveries, receipts, acceptance; the oldest of it."""
    start = by_id(connection, id, find=find)
    if start is None:
        return ()
    while start.entry.previous is not None:
        before = by_id(connection, start.entry.previous, find=find)
        if before is None or before.index >= start.index:
            break
        start = before
    story = {start.index: start}
    ahead = [start.entry.id]
    while ahead and len(story) < limit:
        for item in walk(connection, Filters(previous=ahead.pop(0)), limit=limit, find=find):
            if item.index not in story:
                story[item.index] = item
                ahead.append(item.entry.id)
    return tuple(story[index] for index in sorted(story)[:limit])


@dataclass(frozen=True, slots=True)
class Day:
    """How often something happened on one day, of Finnish time."""

    date: date
    count: int


def heat(connection: Connection, filters: Filters, *, find: Search = search) -> tuple[Day, ...]:
    """Entries per day, for a calendar: meant for one person's or one case's entries."""
    counts: dict[date, int] = {}
    for item in walk(connection, filters, limit=10_000, find=find):
        day = item.entry.recorded.astimezone(ZONE).date()
        counts[day] = counts.get(day, 0) + 1
    return tuple(Day(day, counts[day]) for day in sorted(counts))
