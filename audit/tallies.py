"""How much went from whom to whom: counts per day, for the flow picture and the record of processing.

Days that are over are counted once and kept (`tally`); `counts` adds them up and counts only the rest from the entries.
A tally repeats what the entries say; it proves nothing, and can be emptied and made again at any time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, insert, literal_column, select

from audit.entries import micros
from audit.tables import entries, tallies

_DAY: Final = 86_400_000_000
_SETTLED: Final = timedelta(hours=1)  # a day is counted once its last units are surely committed


@dataclass(frozen=True, slots=True)
class Count:
    """So many entries of one kind; `source` and `recipient` are subsystem ids, or None where the entry names none."""

    type: str
    outcome: str
    source: str | None
    recipient: str | None
    purpose: str | None
    entries: int


_columns = (entries.c.type, entries.c.outcome, entries.c.source, entries.c.recipient, entries.c.purpose)
_kept = (tallies.c.type, tallies.c.outcome, tallies.c.source, tallies.c.recipient, tallies.c.purpose)


def tallied_until(connection: Connection) -> int | None:
    """The first day (since the epoch) that is not counted yet; None if nothing is."""
    day = connection.scalar(select(func.max(tallies.c.day)))
    return None if day is None else int(day) + 1


def tally(connection: Connection, now: datetime) -> int:
    """Count the days that are over and not counted yet; gives how many rows were added. Call it in a unit."""
    end = micros(now - _SETTLED) // _DAY
    first = tallied_until(connection)
    if first is None:
        earliest = connection.scalar(select(entries.c.recorded).order_by(entries.c.recorded).limit(1))
        if earliest is None:
            return 0
        first = earliest // _DAY
    if first >= end:
        return 0
    # A literal, so that PostgreSQL sees the same expression in the list and in the grouping.
    day = entries.c.recorded.op("/")(literal_column(str(_DAY)))
    rows = connection.execute(
        select(day.label("day"), *_columns, func.count())
        .where(entries.c.recorded >= first * _DAY, entries.c.recorded < end * _DAY)
        .group_by(day, *_columns)
    ).all()
    values = [
        {
            "day": row[0],
            "type": row[1],
            "outcome": row[2],
            "source": row[3] or "",
            "recipient": row[4] or "",
            "purpose": row[5] or "",
            "entries": row[6],
        }
        for row in rows
    ]
    if values:
        connection.execute(insert(tallies), values)
    return len(values)


def counts(connection: Connection, start: datetime, end: datetime) -> tuple[Count, ...]:
    """Entries in this window by kind, source, recipient and purpose, most frequent first."""
    first, last = micros(start), micros(end)
    until = (tallied_until(connection) or 0) * _DAY
    from_day, to_day = -(-first // _DAY), min(last, until) // _DAY
    sums: dict[tuple[str, ...], int] = {}
    if from_day < to_day:
        kept = (
            select(*_kept, func.sum(tallies.c.entries))
            .where(tallies.c.day >= from_day, tallies.c.day < to_day)
            .group_by(*_kept)
        )
        _add(sums, (tuple(row) for row in connection.execute(kept)))
        live = [(first, from_day * _DAY), (to_day * _DAY, last)]
    else:
        live = [(first, last)]
    for low, high in live:
        if low < high:
            rest = (
                select(*_columns, func.count())
                .where(entries.c.recorded >= low, entries.c.recorded < high)
                .group_by(*_columns)
            )
            _add(sums, (tuple(row) for row in connection.execute(rest)))
    found = [
        Count(key[0], key[1], key[2] or None, key[3] or None, key[4] or None, number) for key, number in sums.items()
    ]
    return tuple(sorted(found, key=lambda item: (-item.entries, item.type, item.outcome, item.recipient or "")))


def _add(sums: dict[tuple[str, ...], int], rows: Iterable[tuple[object, ...]]) -> None:
    for *key, number in rows:
        name = tuple(str(part or "") for part in key)
        sums[name] = sums.get(name, 0) + int(str(number))
