"""Working days in Finland: by what day something must be done that the law or a promise counts in them.

Whole days are counted, so neither the hour nor a change of clocks has a say. Not counted: Saturdays, Sundays, church
holidays, May Day, Independence Day, and the eves of Christmas and Midsummer.
Source: Act 150/1930, section 5; Act 388/1937.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from typing import Final

_SATURDAY: Final = 5
_FRIDAY: Final = 4
#: New Year, Epiphany, May Day, Independence Day, Christmas Eve, Christmas Day and the day after, as month and day.
_FIXED: Final = ((1, 1), (1, 6), (5, 1), (12, 6), (12, 24), (12, 25), (12, 26))


def is_working_day(day: date) -> bool:
    """Whether a day counts."""
    return day.weekday() < _SATURDAY and day not in _holidays(day.year)


def after_working_days(day: date, count: int) -> date:
    """The last of so many working days after a day, which does not count itself."""
    while count > 0:
        day += timedelta(days=1)
        count -= is_working_day(day)
    return day


@cache
def _holidays(year: int) -> frozenset[date]:
    easter = _easter(year)
    midsummer_eve = next(day for day in (date(year, 6, 19) + timedelta(days=n) for n in range(7)) if _is_friday(day))
    # Good Friday, Easter Monday and Ascension Day; the others that move fall on a Saturday or Sunday.
    moving = (easter - timedelta(days=2), easter + timedelta(days=1), easter + timedelta(days=39), midsummer_eve)
    return frozenset({*moving, *(date(year, month, day) for month, day in _FIXED)})


def _is_friday(day: date) -> bool:
    return day.weekday() == _FRIDAY


def _easter(year: int) -> date:
    """Easter Sunday of the Gregorian calendar, by the anonymous algorithm (Meeus/Jones/Butcher)."""
    century, rest = divmod(year, 100)
    golden = year % 19
    epact = (19 * golden + century - century // 4 - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    sunday = (32 + 2 * (century % 4) + 2 * (rest // 4) - epact - rest % 4) % 7
    late = (golden + 11 * epact + 22 * sunday) // 451
    month, day = divmod(epact + sunday - 7 * late + 114, 31)
    return date(year, month, day + 1)
