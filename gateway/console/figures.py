"""Pictures of numbers as geometry: a calendar of days, and who gave how much to whom. Pure; templates draw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

CELL = 13
GAP = 3
LEVELS = 4


@dataclass(frozen=True, slots=True)
class Cell:
    """One day of the calendar: where it stands, how much happened, and its shade from 0 (nothing) to LEVELS."""

    day: date
    count: int
    level: int
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Calendar:
    """One year of days in columns of weeks, Monday on top."""

    year: int
    cells: tuple[Cell, ...]
    months: tuple[tuple[int, int], ...]
    width: int
    height: int
    total: int


def calendar(year: int, counts: Mapping[date, int]) -> Calendar:
    """The calendar of a year. Shades are shares of the busiest day."""
    first, step = date(year, 1, 1), CELL + GAP
    busiest = max((count for day, count in counts.items() if day.year == year), default=0)
    offset = first.weekday()
    cells, months = [], []
    day = first
    while day.year == year:
        place = (day - first).days + offset
        x, y = place // 7 * step, place % 7 * step
        count = counts.get(day, 0)
        level = 0 if not count else max(1, -(-count * LEVELS // busiest))
        cells.append(Cell(day, count, level, x, y))
        if day.day == 1:
            months.append((day.month, x))
        day += timedelta(days=1)
    return Calendar(
        year, tuple(cells), tuple(months), cells[-1].x + CELL, 7 * step - GAP, sum(cell.count for cell in cells)
    )


@dataclass(frozen=True, slots=True)
class Bar:
    """One party of the flow picture: its name, how much passed it, and where its bar stands."""

    name: str
    total: int
    x: float
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Ribbon:
    """What one party gave another; `path` is the outline as SVG path data."""

    source: str
    target: str
    count: int
    path: str


@dataclass(frozen=True, slots=True)
class Flow:
    """Givers on the left, receivers on the right, ribbons as thick as what passed."""

    givers: tuple[Bar, ...]
    receivers: tuple[Bar, ...]
    ribbons: tuple[Ribbon, ...]
    width: int
    height: int


BAR = 14
_LEAST = 3.0


def flow(amounts: Sequence[tuple[str, str, int]], *, width: int = 560, gap: int = 22, scale_to: int = 300) -> Flow:
    """The flow picture of (giver, receiver, amount). Bars come in order of size; ribbons do not cross more than needed.

    Very small amounts are drawn thicker than they are, so that they can be seen.
    """
    given: dict[str, int] = {}
    received: dict[str, int] = {}
    for giver, receiver, amount in amounts:
        given[giver] = given.get(giver, 0) + amount
        received[receiver] = received.get(receiver, 0) + amount
    total = sum(given.values())
    if not total:
        return Flow((), (), (), width, 0)

    def thick(amount: int) -> float:
        return max(_LEAST, amount / total * scale_to)

    links = {(giver, receiver): 0 for giver, receiver, _ in amounts}
    for giver, receiver, amount in amounts:
        links[giver, receiver] += amount
    left = sorted(given, key=lambda name: (-given[name], name))
    right = sorted(received, key=lambda name: (-received[name], name))

    def stack(names: Sequence[str], totals: Mapping[str, int], side: int, x: float) -> dict[str, Bar]:
        bars, y = {}, 0.0
        for name in names:
            height = sum(thick(amount) for pair, amount in links.items() if pair[side] == name)
            bars[name] = Bar(name, totals[name], x, round(y, 1), round(height, 1))
            y += height + gap
        return bars

    givers, receivers = stack(left, given, 0, 0), stack(right, received, 1, width - BAR)
    out = {name: bar.y for name, bar in givers.items()}
    into = {name: bar.y for name, bar in receivers.items()}
    ribbons = []
    middle = width / 2
    for giver in left:
        for receiver in right:
            amount = links.get((giver, receiver), 0)
            if not amount:
                continue
            height, top, bottom = thick(amount), out[giver], into[receiver]
            path = (
                f"M{BAR} {top:.1f}C{middle:.0f} {top:.1f} {middle:.0f} {bottom:.1f} {width - BAR} {bottom:.1f}"
                f"V{bottom + height:.1f}C{middle:.0f} {bottom + height:.1f} {middle:.0f} {top + height:.1f} {BAR} "
                f"{top + height:.1f}Z"
            )
            ribbons.append(Ribbon(giver, receiver, amount, path))
            out[giver] += height
            into[receiver] += height
    bars = [*givers.values(), *receivers.values()]
    return Flow(
        tuple(givers.values()),
        tuple(receivers.values()),
        tuple(ribbons),
        width,
        round(max(bar.y + bar.height for bar in bars)),
    )
