"""Records that their register takes back: said as that, and never handed over or passed over in silence."""

from __future__ import annotations

import pytest

from adapters.sdk import Change, ChangeKind, Mapped
from schemas.identifiers import MIGRI_CUSTOMER
from tests.adapters.reading import codes, convert, refusals
from tests.adapters.test_hl7_escapes import message
from tests.adapters.test_layouts import PATIENT, adapter, csv, run


def _statused(value: str) -> list[Mapped]:
    rest = "status: {from: TILA, current: [VOIMASSA], withdrawn: [POISTETTU]}\n" + PATIENT
    return run(adapter(csv(), rest), f"NRO;SUKU;TILA\nA1;Oja;{value}\n".encode())


@pytest.mark.parametrize("value", ["POISTETTU", " poistettu "])
def test_a_record_that_its_register_takes_back_is_a_change_and_nothing_to_hand_over(value: str) -> None:
    (item,) = _statused(value)

    assert item.bundle is None
    assert item.change == Change(ChangeKind.WITHDRAWN, ((MIGRI_CUSTOMER, "A1"),), "A1")
    assert codes([item]) == ["client-withdrawn"]


@pytest.mark.parametrize("value", ["VOIMASSA", "", "  "])
def test_a_record_that_stands_is_mapped(value: str) -> None:
    (item,) = _statused(value)

    assert item.bundle is not None
    assert item.change is None


@pytest.mark.parametrize("value", ["POIST", "?", "VOIMASSA/POISTETTU"])
def test_a_status_that_nobody_knows_stops_the_record(value: str) -> None:
    (item,) = _statused(value)

    assert (item.bundle, item.change) == (None, None)
    assert [found.code for found in refusals([item])] == ["code-unknown"]


def test_a_record_that_is_taken_back_and_stands_in_one_file_is_held_back() -> None:
    rest = "status: {from: TILA, current: [VOIMASSA], withdrawn: [POISTETTU]}\n" + PATIENT

    found = run(adapter(csv(), rest), b"NRO;SUKU;TILA\nA1;Oja;POISTETTU\nA1;Oja;VOIMASSA\n")

    assert [(item.bundle, item.change) for item in found] == [(None, None)] * 2
    assert {found.code for found in refusals(found)} == {"duplicate-key"}


def test_a_record_of_nobody_cannot_be_taken_back() -> None:
    rest = "status: {from: TILA, current: [VOIMASSA], withdrawn: [POISTETTU]}\n" + PATIENT

    (item,) = run(adapter(csv(), rest), b"NRO;SUKU;TILA\n;Oja;POISTETTU\n")

    assert (item.bundle, item.change) == (None, None)
    assert "field-missing" in {found.code for found in refusals([item])}


@pytest.mark.parametrize("event", ["A23", "A29"])
def test_a_message_that_deletes_a_person_is_a_change(event: str) -> None:
    (item,) = convert("county-hl7", message().replace(b"REF^I12^REF_I12", b"ADT^" + event.encode()))

    assert item.bundle is None
    assert item.change is not None
    assert item.change.identifiers == ((MIGRI_CUSTOMER, "A-77"),)
