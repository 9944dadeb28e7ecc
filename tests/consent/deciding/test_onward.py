"""What came on the condition that it goes no further goes no further; which bases stand above that, and which not."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from consent.deciding.decision import decide
from consent.deciding.examples import decide_case
from consent.deciding.verdicts import Decision
from consent.rules.request import Way
from tests.consent.second_form import reference

BOOK = reference()
TO_MUNICIPALITY = ("centre", "kotka", "reception-to-municipality")
SENT: dict[str, Any] = {"way": Way.HANDOVER, "asked": True}


def decided(case: str, sides: tuple[str, str, str], restricted: Collection[str], **how: Any) -> Decision:
    """A case of the rulebook, decided where this much came to the provider on that condition."""
    provider, requester, purpose = sides
    open_ = decide_case(
        BOOK, BOOK.cases[case], provider=provider, requester=requester, purpose=purpose, on=date(2026, 3, 1), **how
    )
    return decide(replace(open_.request, restricted=frozenset(restricted)), BOOK, [], open_.at)


@pytest.mark.parametrize(
    ("restricted", "held"),
    [
        ({"contact"}, {"contact"}),
        ({"contact/address"}, {"contact"}),
        ({"vulnerability"}, {"vulnerability/fact"}),
        ({"health-needs"}, set()),
    ],
    ids=["whole", "part of what was asked", "whole of which a part is given", "what does not go anyway"],
)
def test_right_to_get_carries_nothing_that_may_not_go_on(restricted: set[str], held: set[str]) -> None:
    free = decided("p01-asylum-adult", TO_MUNICIPALITY, (), **SENT).permitted_categories
    kept = decided("p01-asylum-adult", TO_MUNICIPALITY, restricted, **SENT)

    assert held <= free
    assert free - kept.permitted_categories == held


def test_reason_is_one_of_its_own() -> None:
    kept = decided("p01-asylum-adult", TO_MUNICIPALITY, {"contact"}, **SENT)

    assert {item.code for item in kept.withheld if item.category == "contact"} == {"no-onward-disclosure"}


def test_duty_to_give_stands_above_the_condition() -> None:
    sides = ("immigration", "kotka", "reception-to-municipality")

    kept = decided("p01-asylum-adult", sides, {"identity", "contact"}, way=Way.HANDOVER)

    assert {"identity", "contact"} <= kept.permitted_categories


@pytest.mark.parametrize("is_emergency", [True, False])
def test_emergency_stands_above_the_condition_and_only_one_that_is_claimed(is_emergency: bool) -> None:
    sides = ("centre", "kymenlaakso", "service-need-lookup")

    kept = decided("p13-unconscious", sides, {"health-needs", "identity"}, emergency=is_emergency)

    assert ({"health-needs", "identity"} <= kept.permitted_categories) is is_emergency
