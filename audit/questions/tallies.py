"""How much went from whom to whom, and for which purpose: counts, for the flow picture and the record of processing.

Days that are over (of Finnish time) are counted once and kept: `audit_flows` per day, `audit_processing` per year and
purpose. A question adds up what is kept and counts only what is not from the entries. So a month of a busy node is
thousands of rows rather than hundreds of thousands. Counts repeat what the entries say; they prove nothing, can be
emptied and made again while the entries are there, and remain when a month's entries have left the database.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from sqlalchemy import Connection, Engine, and_, case, func, insert, or_, select, text

from audit.log.entries import REFUSED, ZONE, micros, moment
from audit.log.rows import member_of
from audit.log.tables import entries, flows, processing
from audit.questions.sides import is_turned, without_index
from audit.questions.words import FRUITLESS, MOVES, RELEASED, RELEASES, carrying

_SETTLED: Final = timedelta(hours=1)  # a day is counted once its last units are surely committed

_ADD_TO_YEAR: Final = text(
    f"INSERT INTO {processing.name} (year, purpose, source, recipient, released, refused, fruitless) "  # noqa: S608
    "VALUES (:year, :purpose, :source, :recipient, :released, :refused, :fruitless) "
    "ON CONFLICT (year, purpose, source, recipient) DO UPDATE SET "
    f"released = {processing.name}.released + excluded.released, "
    f"refused = {processing.name}.refused + excluded.refused, "
    f"fruitless = {processing.name}.fruitless + excluded.fruitless"
)


@dataclass(frozen=True, slots=True)
class Count:
    """How often data was released from a source to a recipient, refused, or sought in vain (not found, failed).

    Subsystem ids, or None where the entries name none. `purpose` is None where the count is over all purposes. What is
    counted are queries, handovers, deliveries, arrivals and emergency accesses, once it is known how they ended.
    """

    source: str | None
    recipient: str | None
    purpose: str | None
    released: int
    refused: int
    fruitless: int

    def to_dict(self) -> dict[str, str | int | None]:
        """The count over all purposes as JSON tells it."""
        return {
            "source": self.source,
            "recipient": self.recipient,
            "released": self.released,
            "refused": self.refused,
            "fruitless": self.fruitless,
        }

    def concerns(self, member: str | None) -> bool:
        """Whether a member is on either side; None is everybody."""
        return member is None or member in (member_of(self.source), member_of(self.recipient))

    @property
    def entries(self) -> int:
        """All of them."""
        return self.released + self.refused + self.fruitless


@dataclass(frozen=True, slots=True)
class Counted:
    """One day that is over, counted: for `keep`."""

    day: date
    counts: tuple[Count, ...]


_Key = tuple[str, str, str]
_Sums = dict[_Key, list[int]]


def _begin(day: date) -> int:
    """When a Finnish day begins."""
    return micros(datetime.combine(day, time(), ZONE).astimezone(UTC))


def _day(at: int) -> date:
    return moment(at).astimezone(ZONE).date()


def _number(day: date) -> int:
    return day.toordinal()


def kept_until(connection: Connection) -> date | None:
    """The day after the last one that is kept; None if none is."""
    number = connection.scalar(select(func.max(flows.c.day)))
    return None if number is None else date.fromordinal(int(number) + 1)


def _settled(now: datetime) -> date:
    """The first day that is not surely over."""
    return _day(micros(now - _SETTLED))


def next_day(connection: Connection, now: datetime) -> Counted | None:
    """The oldest day that is over, has something to count and is not kept yet, counted; None if there is none."""
    end, until = _begin(_settled(now)), kept_until(connection)
    since = 0 if until is None else _begin(until)
    while True:
        first = connection.scalar(
            select(entries.c.recorded)
            .where(entries.c.recorded >= since, entries.c.recorded < end)
            .order_by(entries.c.recorded, entries.c.idx)
            .limit(1)
        )
        if first is None:
            return None
        day = _day(first)
        since = _begin(day + timedelta(days=1))
        sums: _Sums = {}
        _count(connection, sums, _begin(day), since)
        if sums:
            return Counted(day, _counts(sums))


def keep(connection: Connection, counted: Counted) -> bool:
    """Keep a day's counts; gives False if somebody else has kept it meanwhile. Call it in a unit."""
    until = kept_until(connection)
    if until is not None and counted.day < until:
        return False
    pairs: _Sums = {}
    for count in counted.counts:
        _add(pairs, (count.source or "", count.recipient or "", ""), count.released, count.refused, count.fruitless)
    connection.execute(
        insert(flows),
        [
            {
                "day": _number(counted.day),
                "source": source,
                "recipient": recipient,
                "released": sums[0],
                "refused": sums[1],
                "fruitless": sums[2],
            }
            for (source, recipient, _), sums in pairs.items()
        ],
    )
    connection.execute(
        _ADD_TO_YEAR,
        [
            {
                "year": counted.day.year,
                "purpose": count.purpose or "",
                "source": count.source or "",
                "recipient": count.recipient or "",
                "released": count.released,
                "refused": count.refused,
                "fruitless": count.fruitless,
            }
            for count in counted.counts
        ],
    )
    return True


def keep_all(engine: Engine, now: datetime) -> date:
    """Count and keep every day that is over; gives the first day that is not. For a log that nobody appends to."""
    while True:
        with engine.connect() as connection:
            counted = next_day(connection, now)
        if counted is None:
            return _settled(now)
        with engine.execution_options(writes=True).begin() as connection:
            keep(connection, counted)


def between(connection: Connection, start: datetime, end: datetime) -> tuple[Count, ...]:
    """What went from whom to whom in this window, over all purposes; most first."""
    first, last = micros(start), micros(end)
    sums: _Sums = {}
    until = kept_until(connection)
    day = _day(first)
    if _begin(day) < first:
        day += timedelta(days=1)
    to = day if until is None else max(day, min(until, _day(last)))
    if day < to:
        rows = connection.execute(
            select(
                flows.c.source,
                flows.c.recipient,
                func.sum(flows.c.released),
                func.sum(flows.c.refused),
                func.sum(flows.c.fruitless),
            )
            .where(flows.c.day >= _number(day), flows.c.day < _number(to))
            .group_by(flows.c.source, flows.c.recipient)
        )
        for source, recipient, *numbers in rows:
            _add(sums, (source, recipient, ""), *map(int, numbers))
        _count(connection, sums, first, min(_begin(day), last), purposes=False)
        _count(connection, sums, max(_begin(to), first), last, purposes=False)
    else:
        _count(connection, sums, first, last, purposes=False)
    return tuple(sorted(_counts(sums), key=lambda one: (-one.entries, one.source or "", one.recipient or "")))


def of_year(connection: Connection, year: int) -> tuple[Count, ...]:
    """What went from whom to whom for which purpose in a year of Finnish time; in no order."""
    begin, after = date(year, 1, 1), date(year + 1, 1, 1)
    rows = connection.execute(
        select(
            processing.c.source,
            processing.c.recipient,
            processing.c.purpose,
            processing.c.released,
            processing.c.refused,
            processing.c.fruitless,
        ).where(processing.c.year == year)
    ).all()
    sums: _Sums = {(row[0], row[1], row[2]): [row[3], row[4], row[5]] for row in rows}
    since = max(kept_until(connection) or begin, begin)
    _count(connection, sums, _begin(since), _begin(after))
    return _counts(sums)


def _count(connection: Connection, sums: _Sums, low: int, high: int, *, purposes: bool = True) -> None:
    """Add what the entries of a window say."""
    if low >= high:
        return
    source, recipient = entries.c.source, entries.c.recipient
    moved = (
        select(
            entries.c.outcome,
            case((is_turned(), recipient), else_=source).label("giver"),
            case((is_turned(), source), else_=recipient).label("taker"),
            entries.c.purpose,
        )
        .where(
            entries.c.recorded >= low,
            entries.c.recorded < high,
            without_index(entries.c.type.in_(MOVES)),
            # What names no category that moved is a notice or an acceptance, and counts as nothing.
            or_(
                and_(entries.c.outcome.not_in(RELEASED), entries.c.type.in_(RELEASES)),
                and_(entries.c.outcome.in_(RELEASED), carrying()),
            ),
        )
        .subquery()
    )
    columns = (moved.c.outcome, moved.c.giver, moved.c.taker, moved.c.purpose)
    rows = connection.execute(select(*columns, func.count()).group_by(*columns))
    for outcome, giver, taker, purpose, number in rows:
        place = next((place for place, of in enumerate((RELEASED, REFUSED, FRUITLESS)) if outcome in of), None)
        if place is not None:
            counted = [0, 0, 0]
            counted[place] = number
            _add(sums, (giver or "", taker or "", (purpose or "") if purposes else ""), *counted)


def _add(sums: _Sums, key: _Key, released: int, refused: int, fruitless: int) -> None:
    cell = sums.setdefault(key, [0, 0, 0])
    cell[0] += released
    cell[1] += refused
    cell[2] += fruitless


def _counts(sums: _Sums) -> tuple[Count, ...]:
    return tuple(
        Count(source or None, recipient or None, purpose or None, *cell)
        for (source, recipient, purpose), cell in sums.items()
    )
