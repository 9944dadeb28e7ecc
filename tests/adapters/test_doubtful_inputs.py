"""Inputs by somebody who has not seen the readers: nobody is mixed, lost or exposed, and each doubt is told."""

from __future__ import annotations

import pytest

from tests.adapters.judging import DEMANDS, FOLDER, Outcome, Told, adapter_of, faults, file_of
from tests.adapters.reading import convert
from tests.adapters.test_layouts import Made, run


def test_every_input_has_its_demand() -> None:
    inputs = {*(FOLDER / "inputs").iterdir(), *(FOLDER.parent / "exports").iterdir()}

    assert {file_of(name) for name in DEMANDS} == inputs


@pytest.mark.parametrize("name", DEMANDS)
def test_a_doubtful_input_becomes_nothing_that_it_may_not(name: str) -> None:
    data, (adapter, own) = file_of(name).read_bytes(), adapter_of(name)

    found = run(Made(own), data) if own is not None else convert(adapter, data)

    outcome = Outcome(
        [item.bundle for item in found if item.bundle is not None],
        [Told(told.position.row, told.code) for item in found for told in item.findings],
        frozenset(item.position.row for item in found if item.bundle is not None or item.findings),
    )
    assert faults(DEMANDS[name], outcome) == []
