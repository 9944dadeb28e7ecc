"""Who may take a prohibition back: who may give the permission that it frees, and nobody whom it keeps out."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from consent.consents import ConsentError, Giver
from consent.givers import Person, check_lifts
from consent.targets import Target

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
