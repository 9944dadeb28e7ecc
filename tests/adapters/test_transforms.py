"""Transforms: what each documents is what it does, there is a way back, and what must be refused is."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.samples import hetu as make_hetu
from adapters.texts import CODES
from adapters.transforms import TRANSFORMS, Transform, TransformError, short_date

#: They take one half of a field, which nobody can write without the other.
HALVES = {
    "postal-code-of",
    "town-of",
    "family-before-comma",
    "given-after-comma",
    "family-at-end",
    "given-before-family",
}
DAYS = st.dates(date(1900, 1, 1), date(2099, 12, 31))


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS.keys())
def test_the_documented_example_holds_and_its_type_is_the_one_that_is_declared(transform: Transform) -> None:
    raw, value = transform.example
    types = {"string": str, "boolean": bool, "integer": int, "array": list}

    assert transform.forward(raw) == value
    assert type(transform.forward(raw)) is types[transform.gives]
    assert transform.does.endswith(".")


@pytest.mark.parametrize("name", sorted(TRANSFORMS.keys() - HALVES))
def test_what_goes_forward_comes_back_as_the_same_value(name: str) -> None:
    transform = TRANSFORMS[name]
    value = transform.forward(transform.example[0])

    assert transform.backward is not None
    assert transform.forward(transform.backward(value)) == value


INVERSES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1),
    "words": st.lists(st.text("abcåäöÅ-'", min_size=1), min_size=1),
    "fi-date": DAYS.map(date.isoformat),
    "iso-date": DAYS.map(date.isoformat),
    "day-first": DAYS.map(date.isoformat),
    "named-month": DAYS.map(date.isoformat),
    "day-of": DAYS.map(date.isoformat),
    "yes-no": st.booleans(),
    "boolean": st.booleans(),
    "number": st.integers(-999_999_999, 999_999_999),
    "phone": st.from_regex(r"(\+4|0[1-9])[0-9]{5,12}", fullmatch=True),
    "email": st.from_regex(r"[a-z]{1,9}@[a-z]{1,9}\.fi", fullmatch=True),
    "postal-code": st.from_regex(r"[0-9]{5}", fullmatch=True),
    "hetu": st.builds(make_hetu, DAYS, st.integers(900, 999)),
}


@pytest.mark.parametrize("name", INVERSES)
def test_every_value_survives_the_way_back_and_forth(name: str) -> None:
    transform = TRANSFORMS[name]

    @given(INVERSES[name])
    def holds(value: Any) -> None:
        assert transform.backward is not None
        assert transform.forward(transform.backward(value)) == value

    holds()


@given(st.sampled_from(sorted(TRANSFORMS)), st.one_of(st.text(), st.integers(), st.booleans(), st.floats()))
def test_a_transform_gives_a_value_or_says_by_a_known_code_why_not(name: str, raw: Any) -> None:
    try:
        outcome = TRANSFORMS[name].forward(raw)
    except TransformError as error:
        outcome = error

    assert outcome is not None
    assert not isinstance(outcome, TransformError) or (outcome.code in CODES and str(outcome) == outcome.code)


@pytest.mark.parametrize(
    ("name", "raw", "code"),
    [
        ("hetu", "131052-900V", "hetu-check"),
        ("hetu", "310290-901X", "hetu-form"),
        ("hetu", "290223A900X", "hetu-form"),
        ("hetu", "131052 900W", "hetu-form"),
        ("hetu", "13105²-308T", "hetu-form"),
        ("fi-date", "31.2.1990", "date-form"),
        ("fi-date", "29.2.2023", "date-form"),
        ("fi-date", "1.1.90", "date-form"),
        ("fi-date", "5/2/1990", "date-form"),
        ("fi-date", "1990-13-01", "date-form"),
        ("iso-date", "19900205T00", "date-form"),
        ("iso-date", "1985-W01-1", "date-form"),
        ("fi-date", "1985-W01-1", "date-form"),
        ("fi-date", "19900205", "date-form"),
        ("fi-date", "1990-05-04T22:00:00Z", "date-form"),
        ("fi-date", "1990-05-04 12:00", "date-form"),
        ("day-first", "1990/02/05", "date-form"),
        ("ddmmyyyy", "05020990", "date-form"),
        ("ddmmyyyy", "5", "date-form"),
        ("family-before-comma", "Azimi Salim", "name-form"),
        ("family-before-comma", "Azimi, Salim, Tov", "name-form"),
        ("given-after-comma", "Azimi,", "name-form"),
        ("family-at-end", "Azimi", "name-form"),
        ("given-before-family", "von Tessel", "name-form"),
        ("town-of", "48100", "postal-code-form"),
        ("postal-code-of", "481 KOTKA", "postal-code-form"),
        ("day-first", "05/02/90", "date-form"),
        ("named-month", "5 Fab 1990", "date-form"),
        ("day-of", "tomorrow", "date-form"),
        ("hl7-date", "1990", "date-form"),
        ("phone", "401234567", "phone-form"),
        ("phone", "4.01234567E8", "phone-form"),
        ("yes-no", "ehkä", "not-yes-no"),
        ("number", "1e3", "not-a-number"),
        ("number", "٣", "not-a-number"),
        ("number", True, "not-a-number"),
        ("phone", "ei ole", "phone-form"),
        ("email", "nimi(at)example.fi", "email-form"),
        ("postal-code", "4810", "postal-code-form"),
        ("country", "Ruotsi", "country-form"),
        ("country", "QQQ", "country-form"),
        ("language", "klingon", "language-unknown"),
    ],
)
def test_what_no_transform_may_take_is_refused_by_its_code(name: str, raw: Any, code: str) -> None:
    with pytest.raises(TransformError) as caught:
        TRANSFORMS[name].forward(raw)

    assert caught.value.code == code


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("+358 (0)40 123 4567", "+358401234567"),
        ("+358 (0) 40 123 4567", "+358401234567"),
        ("00358 (0)40-1234567", "+358401234567"),
        ("+358 040 123 4567", "+358401234567"),
        ("(040) 123 4567", "0401234567"),
        ("+46 (0)70-123 45 67", "+46701234567"),
    ],
)
def test_a_number_with_the_zero_that_nobody_dials_is_one_that_can_be_dialled(written: str, number: str) -> None:
    assert TRANSFORMS["phone"].forward(written) == number


@pytest.mark.parametrize("written", ["5.2.1990 0:00:00", "1990-02-05T00:00:00", "1990-02-05 00:00:00.000"])
def test_a_day_written_with_its_midnight_is_that_day(written: str) -> None:
    assert TRANSFORMS["fi-date"].forward(written) == "1990-02-05"


@pytest.mark.parametrize(
    "written", ["19900101000000.0000+0200", "199001010000", "19900101"], ids=["fraction", "minutes", "day"]
)
def test_an_hl7_time_gives_its_day(written: str) -> None:
    assert TRANSFORMS["hl7-date"].forward(written) == "1990-01-01"


@pytest.mark.parametrize("day", [date(1990, 2, 5), date(2004, 2, 29), date(2026, 12, 31)])
def test_a_finnish_day_may_have_its_zeros_or_not(day: date) -> None:
    transform = TRANSFORMS["fi-date"]

    assert transform.forward(f"{day.day}.{day.month}.{day.year}") == day.isoformat()
    assert transform.forward(f"{day:%d.%m.%Y}") == day.isoformat()
    assert transform.forward(day.isoformat()) == day.isoformat()


@given(DAYS, st.integers(900, 998))
def test_one_digit_wrong_in_an_identity_code_is_always_noticed(born: date, number: int) -> None:
    right = make_hetu(born, number)
    wrong = make_hetu(born, number + 1)

    assert TRANSFORMS["hetu"].forward(right) == right
    with pytest.raises(TransformError):
        TRANSFORMS["hetu"].forward(wrong[:10] + right[10])
    assert born + timedelta(0) == born


@pytest.mark.parametrize(
    ("raw", "code"),
    [("uk", "uk"), ("UKR", "uk"), ("ukr", "uk"), ("prs", "prs"), ("ckb", "ckb"), ("fra", "fr"), ("SWE", "sv")],
)
def test_a_language_by_either_standard_gets_its_one_code(raw: str, code: str) -> None:
    assert TRANSFORMS["language"].forward(raw) == code


@pytest.mark.parametrize(("raw", "code"), [("ua", "UKR"), ("UKR", "UKR"), ("af", "AFG"), ("ERI", "ERI")])
def test_a_country_by_two_or_three_letters_gets_its_three(raw: str, code: str) -> None:
    assert TRANSFORMS["country"].forward(raw) == code


@pytest.mark.parametrize(
    ("first", "written", "day"),
    [
        (1930, "5.2.29", "2029-02-05"),
        (1930, "5.2.30", "1930-02-05"),
        (2000, "23.12.26", "2026-12-23"),
        (2000, "23/12/00", "2000-12-23"),
    ],
)
def test_a_year_of_two_digits_is_in_the_hundred_years_that_the_mapping_says(first: int, written: str, day: str) -> None:
    transform = short_date(first)

    assert transform.forward(written) == day
    assert transform.backward is not None
    assert transform.forward(transform.backward(day)) == day


@pytest.mark.parametrize("written", ["31.2.26", "23.12.2026", "23.12.6", "231226", ""])
def test_what_is_no_day_with_a_year_of_two_digits_is_refused(written: str) -> None:
    with pytest.raises(TransformError, match="date-form"):
        short_date(2000).forward(written)


def test_a_day_of_another_hundred_years_has_no_way_back() -> None:
    backward = short_date(2000).backward

    assert backward is not None
    with pytest.raises(TransformError):
        backward("1999-12-31")


@pytest.mark.parametrize(
    ("written", "family", "given"),
    [
        ("Anna von Tessel", "von Tessel", ["Anna"]),
        ("Anna Maria van den Berg", "van den Berg", ["Anna", "Maria"]),
        ("Šada Al-Khoud", "Al-Khoud", ["Šada"]),
        ("Van Nguyen", "Nguyen", ["Van"]),
        ("ANNA VAN OJA", "OJA", ["ANNA", "VAN"]),
    ],
)
def test_a_family_name_at_the_end_keeps_its_small_words(written: str, family: str, given: list[str]) -> None:
    assert TRANSFORMS["family-at-end"].forward(written) == family
    assert TRANSFORMS["given-before-family"].forward(written) == given
