"""Who may take a prohibition back: who may give the permission that it frees, and nobody whom it keeps out."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from consent.deciding.said import Asked, Said
from consent.rules.law import Rulebook
from consent.words.consents import ConsentRecord, Stamp, WordStatus
from consent.words.givers import Giver, Person, check_lifts
from consent.words.reading import ConsentError
from consent.words.targets import Target

DAY = date(2026, 11, 27)
SELF: dict[str, Any] = {"kind": "self"}
ABLE = SELF | {"able_to_decide": True}
GUARDIAN: dict[str, Any] = {"kind": "guardian"}
COURT = GUARDIAN | {"mandate_until": "2030-01-01", "personal_matters": True, "able_to_decide": False}
REPRESENTATIVE: dict[str, Any] = {"kind": "representative", "mandate_until": "2030-01-01"}
NOBODY_HEARS = {"kind": "guardian", "sector": "health"}


@pytest.mark.parametrize(
    ("giver", "forbade", "age", "target", "pointer"),
    [
        pytest.param(SELF, SELF, 40, None, None, id="an adult"),
        pytest.param(SELF, SELF, None, None, "/subject_age", id="of whom nobody says how old they are"),
        pytest.param({"kind": "other"}, SELF, 40, None, "/given_by/kind", id="somebody else"),
        pytest.param(GUARDIAN, SELF, 40, None, "/given_by/mandate_until", id="an adult's guardian"),
        pytest.param(COURT, SELF, 40, None, None, id="an adult's guardian whom a court has let decide"),
        pytest.param(
            COURT | {"mandate_until": "2026-11-26"}, SELF, 40, None, "/given_by/mandate_until", id="until yesterday"
        ),
        pytest.param(SELF | {"able_to_decide": False}, SELF, 40, None, "/given_by", id="who does not understand it"),
        pytest.param(ABLE, ABLE, 15, None, None, id="a minor who is able to decide"),
        pytest.param(SELF, ABLE, 15, None, "/given_by", id="a minor who was not found able"),
        pytest.param(
            GUARDIAN | {"minor_opinion": "agrees"}, ABLE, 15, None, "/given_by/kind", id="the guardian of an able minor"
        ),
        pytest.param(
            GUARDIAN | {"able_to_decide": False}, ABLE, 15, None, "/given_by/kind", id="found unable by whom it stops"
        ),
        pytest.param(GUARDIAN, GUARDIAN, 9, None, None, id="a child's guardian, of the guardian's own word"),
        pytest.param(GUARDIAN, SELF, 9, None, "/given_by/minor_opinion", id="of the child's own word"),
        pytest.param(GUARDIAN | {"minor_opinion": "agrees"}, SELF, 9, None, None, id="with the child"),
        pytest.param(
            GUARDIAN | {"minor_opinion": "disagrees"}, GUARDIAN, 9, None, "/given_by/minor_opinion", id="against it"
        ),
        pytest.param(COURT, SELF, 40, NOBODY_HEARS, "/given_by/kind", id="whom it keeps from hearing"),
        pytest.param(REPRESENTATIVE, GUARDIAN, 9, None, None, id="a child's representative"),
    ],
)
def test_a_prohibition_is_taken_back_by_who_may_permit(
    giver: dict[str, Any], forbade: dict[str, Any], age: int | None, target: dict[str, str] | None, pointer: str | None
) -> None:
    person = Person(age, is_unaccompanied=False, day=DAY)

    def check() -> None:
        check_lifts(Giver.read(giver), Giver.read(forbade), Target.read(target), person)

    if pointer is None:
        check()
        return
    with pytest.raises(ConsentError) as refused:
        check()
    assert refused.value.pointer == pointer


def prohibits(
    rulebook: Rulebook,
    giver: dict[str, Any] | None,
    age: int | tuple[int, ...] | None,
    *,
    on: date = DAY,
    unaccompanied: bool | None = None,
    target: dict[str, str] | None = None,
) -> bool:
    """Whether the person's own prohibition, which this giver took back, keeps data in on a day, at this age."""
    at = datetime(2026, 11, 27, 10, tzinfo=UTC)
    form = {"kind": "prohibition", "language": "ti", "given_by": SELF, "target": target}
    word = ConsentRecord.from_form(form, Stamp("p-1", "s", "FI-DEMO/GOV/1/centre", at))
    ended = word.ended(WordStatus.WITHDRAWN, at, word.recorded_by).taken_back_by(Giver.read(giver) if giver else None)
    ages = age if isinstance(age, tuple) else () if age is None else (age,)
    asked = Asked("FI-DEMO/GOV/1", "county", "FI-DEMO/WSC/4", "reception-to-county", on, ages, unaccompanied)
    return Said([ended], asked, rulebook).prohibition_of("health-needs") is not None


WITH_THE_CHILD = GUARDIAN | {"minor_opinion": "agrees"}


@pytest.mark.parametrize(
    ("giver", "age", "unaccompanied", "does_stand"),
    [
        pytest.param(SELF, 40, None, False, id="an adult, as was said"),
        pytest.param(SELF, (17, 18), None, True, id="of 17 or 18, of whom was said that they are of age"),
        pytest.param(SELF, (18, 19), None, False, id="of 18 or 19, of whom was said that they are of age"),
        pytest.param(SELF, 9, None, True, id="a child, of whom was said that they are of age"),
        pytest.param(ABLE, 15, None, False, id="a minor found able to decide"),
        pytest.param(WITH_THE_CHILD, 9, None, False, id="a child's guardian"),
        pytest.param(
            WITH_THE_CHILD, 40, None, True, id="the guardian of an adult of whom was said that they are a child"
        ),
        pytest.param(WITH_THE_CHILD, 9, True, True, id="the guardian of a child who came alone"),
        pytest.param(SELF, None, None, False, id="nothing is known now either"),
        pytest.param(None, 9, None, False, id="ended before it was told by whom"),
    ],
)
def test_a_prohibition_stands_again_where_who_took_it_back_could_not(
    rulebook: Rulebook,
    giver: dict[str, Any] | None,
    age: int | tuple[int, int] | None,
    unaccompanied: bool | None,
    does_stand: bool,
) -> None:
    assert prohibits(rulebook, giver, age, unaccompanied=unaccompanied) is does_stand


def test_what_ended_rightly_has_ended_however_old_the_person_becomes(rulebook: Rulebook) -> None:
    for year, age in ((2027, 17), (2027, 18), (2028, 18), (2036, 27)):
        # Aged 17 when it was taken back; the birthday may lie before or after the day in the year.
        assert not prohibits(rulebook, WITH_THE_CHILD, age, on=date(year, 11, 27)), (year, age)
    assert prohibits(rulebook, WITH_THE_CHILD, 40, on=date(2030, 1, 1))


def test_a_prohibition_that_stands_again_is_aimed_as_it_was(rulebook: Rulebook) -> None:
    aimed = {"kind": "document", "code": "12"}

    assert prohibits(rulebook, SELF, 9, target=aimed)
