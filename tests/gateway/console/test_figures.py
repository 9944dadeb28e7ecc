"""The geometry of the console's pictures, and the words and numbers of its pages."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.log.entries import OUTCOMES, TYPES
from gateway.console.figures import BAR, CELL, LEVELS, calendar, flow
from gateway.console.wording import TEXTS, Words
from tests.properties import examples
from texts import LANGUAGES, Catalogue

ROOT = Path(str(files("audit"))).parent
SHEETS = Catalogue("audit")
TEMPLATES = sorted((ROOT / "gateway" / "console" / "templates").glob("*.html"))


@given(
    year=st.integers(1990, 2090),
    counts=st.dictionaries(st.dates(date(1990, 1, 1), date(2090, 12, 31)), st.integers(1, 10_000), max_size=40),
)
@examples(40)
def test_a_calendar_has_each_day_once_in_its_place(year: int, counts: dict[date, int]) -> None:
    drawn = calendar(year, counts)

    assert len(drawn.cells) == (date(year, 12, 31) - date(year, 1, 1)).days + 1
    assert len({(cell.x, cell.y) for cell in drawn.cells}) == len(drawn.cells)
    assert [month for month, _ in drawn.months] == list(range(1, 13))
    assert drawn.total == sum(count for day, count in counts.items() if day.year == year)
    for cell in drawn.cells:
        assert cell.y // (CELL + 3) == cell.day.weekday()
        assert cell.x + CELL <= drawn.width
        assert (cell.level == 0) == (cell.count == 0)
        assert 0 <= cell.level <= LEVELS


@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from("wxyz"), st.integers(1, 1_000_000)), min_size=1, max_size=16
    )
)
@examples(60)
def test_the_flow_picture_gives_every_amount_its_ribbon_and_nothing_overlaps(
    amounts: list[tuple[str, str, int]],
) -> None:
    drawn = flow(amounts)

    assert sum(ribbon.count for ribbon in drawn.ribbons) == sum(amount for *_, amount in amounts)
    assert {(ribbon.source, ribbon.target) for ribbon in drawn.ribbons} == {(a, b) for a, b, _ in amounts}
    for bars in (drawn.givers, drawn.receivers):
        assert [bar.total for bar in bars] == sorted((bar.total for bar in bars), reverse=True)
        for upper, lower in pairwise(bars):
            assert upper.y + upper.height < lower.y
        assert all(bar.height > 0 and bar.y + bar.height <= drawn.height + 1 for bar in bars)
    assert all(bar.x == drawn.width - BAR for bar in drawn.receivers)


def test_no_flow_is_an_empty_picture() -> None:
    assert flow([]).ribbons == ()


def test_every_text_that_a_template_asks_for_exists() -> None:
    asked = {
        key: template.name
        for template in TEMPLATES
        for key in re.findall(r"""\bt\((?:"|')([a-z][\w.-]*)(?:"|')[,)]""", template.read_text("utf-8"))
    }

    assert len(asked) > 150
    assert {key: name for key, name in asked.items() if key not in TEXTS} == {}


@pytest.mark.parametrize(
    ("key", "count", "said"),
    [
        ("person.times", 1, ("kerran", "en gång", "once")),
        ("person.times", 2, ("2 kertaa", "2 gånger", "2 times")),
        ("person.times", 21, ("21 kertaa", "21 gånger", "21 times")),
        ("period.days", "1", ("1 päivä", "1 dag", "1 day")),
        ("period.days", "30", ("30 päivää", "30 dagar", "30 days")),
    ],
)
def test_one_is_said_as_one(key: str, count: object, said: tuple[str, str, str]) -> None:
    assert tuple(Words(language)(key, count=count) for language in LANGUAGES) == said


def test_a_pattern_that_was_seen_once_is_said_to_have_been() -> None:
    said = [SHEETS("anomaly.own-data", language, count=1, threshold=1) for language in LANGUAGES]

    assert ["kerran" in said[0], "en gång" in said[1], "once" in said[2]] == [True, True, True]


def test_every_outcome_has_a_name_on_the_sheets() -> None:
    for language in LANGUAGES:
        assert all(SHEETS(f"outcome.{code}", language) for code in OUTCOMES)


def test_every_kind_of_entry_and_outcome_has_a_name() -> None:
    for language in LANGUAGES:
        words = Words(language)
        assert all(words.has(f"type.{code}") for code in TYPES)
        assert all(words.has(f"outcome.{code}") for code in OUTCOMES)


@pytest.mark.parametrize(
    ("language", "value", "written"),
    [
        ("fi", 48_213, "48\N{NO-BREAK SPACE}213."),
        ("sv", 48_213, "48\N{NO-BREAK SPACE}213:e"),
        ("sv", 1, "1:a"),
        ("sv", 12, "12:e"),
        ("sv", 122, "122:a"),
        ("en", 1, "1st"),
        ("en", 2, "2nd"),
        ("en", 13, "13th"),
        ("en", 48_213, "48\N{NO-BREAK SPACE}213th"),
        ("en", 111, "111th"),
    ],
)
def test_ordinals_are_written_as_people_write_them(language: str, value: int, written: str) -> None:
    assert Words(language).nth(value) == written


@pytest.mark.parametrize(
    ("language", "written"),
    [("fi", "1.7.2026 klo 0.30"), ("sv", "1.7.2026 kl. 00:30"), ("en", "1 July 2026, 00:30")],
)
def test_times_are_finnish_times(language: str, written: str) -> None:
    moment = datetime(2026, 6, 30, 21, 30, tzinfo=UTC)

    assert Words(language).when(moment) == written
