"""Inputs by somebody who has not seen the readers: nobody is mixed, lost or exposed, and each doubt is told."""

from __future__ import annotations

import pytest

from tests.adapters.judging import DEMANDS, FOLDER, Outcome, Told, faults
from tests.adapters.reading import convert
from tests.adapters.test_layouts import Made, run


def test_every_input_has_its_demand() -> None:
    assert {file.name for file in (FOLDER / "inputs").iterdir()} == set(DEMANDS)


@pytest.mark.parametrize("name", DEMANDS)
def test_a_doubtful_input_becomes_nothing_that_it_may_not(name: str) -> None:
    data, adapter = (FOLDER / "inputs" / name).read_bytes(), DEMANDS[name]["adapter"]
    own = FOLDER / f"{adapter}.yaml"

    found = run(Made(own.read_text("utf-8")), data) if own.exists() else convert(adapter, data)

    outcome = Outcome(
        [item.bundle for item in found if item.bundle is not None],
        [Told(told.position.row, told.code) for item in found for told in item.findings],
        frozenset(item.position.row for item in found if item.bundle is not None or item.findings),
    )
    assert faults(DEMANDS[name], outcome) == []
