"""Finnish working days: what is counted, around holidays, eves and changes of clocks."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.words.workdays import after_working_days, is_working_day
from tests.properties import examples

FIFTH: list[tuple[str, str, str]] = [
    ("an ordinary Monday", "2026-03-02", "2026-03-09"),
    ("a Friday", "2026-03-06", "2026-03-13"),
    ("a Saturday", "2026-03-07", "2026-03-13"),
    ("over Easter", "2026-04-01", "2026-04-10"),
    ("over May Day", "2026-04-27", "2026-05-05"),
    ("over Ascension Day", "2026-05-11", "2026-05-19"),
    ("over Midsummer", "2026-06-15", "2026-06-23"),
    ("over Christmas and New Year", "2026-12-22", "2026-12-31"),
    ("over Epiphany", "2026-12-31", "2027-01-11"),
    ("as summer time begins", "2026-03-26", "2026-04-02"),
    ("as summer time ends", "2026-10-23", "2026-10-30"),
]


@pytest.mark.parametrize(("day", "fifth"), [row[1:] for row in FIFTH], ids=[row[0] for row in FIFTH])
def test_fifth_working_day(day: str, fifth: str) -> None:
    assert after_working_days(date.fromisoformat(day), 5) == date.fromisoformat(fifth)


@pytest.mark.parametrize(("year", "good_friday"), [(2024, (3, 29)), (2026, (4, 3)), (2038, (4, 23)), (2285, (3, 20))])
def test_holidays_move_with_easter(year: int, good_friday: tuple[int, int]) -> None:
    friday = date(year, *good_friday)

    assert not is_working_day(friday)
    assert not is_working_day(friday + timedelta(days=3))
    assert not is_working_day(friday + timedelta(days=41))
    assert is_working_day(friday - timedelta(days=1))


@examples(200)
@given(st.dates(date(2011, 9, 1), date(2100, 1, 1)), st.integers(1, 10))
def test_so_many_working_days_lie_between(day: date, count: int) -> None:
    last = after_working_days(day, count)

    days = [day + timedelta(days=n) for n in range(1, (last - day).days + 1)]
    assert sum(is_working_day(between) for between in days) == count
    assert is_working_day(last)
