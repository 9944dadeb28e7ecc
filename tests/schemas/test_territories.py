"""Where each municipality belongs on a day: county, employment area and state office, with their official names."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from schemas.codes import code_system
from schemas.territories import territory

DAY = date(2026, 3, 1)


@pytest.mark.parametrize(
    ("municipality", "on", "county", "area", "office"),
    [
        ("285", "2024-12-31", "Kymmenedalens välfärdsområde", None, "NTM-centralen i Sydöstra Finland"),
        ("285", "2025-12-31", "Kymmenedalens välfärdsområde", "area", "NTM-centralen i Sydöstra Finland"),
        ("285", "2026-01-01", "Kymmenedalens välfärdsområde", "area", "Sydöstra Finlands livskraftscentral"),
        ("091", "2026-03-01", None, "area", "Nylands livskraftscentral"),
        ("478", "2025-12-31", None, "area", None),
    ],
)
def test_municipality_belongs_to_what_the_law_of_the_day_knows(
    municipality: str, on: str, county: str | None, area: str | None, office: str | None
) -> None:
    found = territory(municipality, date.fromisoformat(on))

    assert found is not None
    assert (found.county.sv if found.county else None) == county
    assert (found.employment_area is not None) is (area is not None)
    assert (found.state_office.sv if found.state_office else None) == office


def test_merged_municipality_belongs_where_its_successor_does_from_the_day_on() -> None:
    merger = date(2025, 1, 1)  # Pertunmaa became a part of Mäntyharju

    before, after = territory("588", merger - timedelta(days=1)), territory("588", merger)

    assert before is not None
    assert after is not None
    assert (before.municipality.fi, after.municipality.fi) == ("Pertunmaa", "Mäntyharju")
    assert before.county is not None
    assert before.county == after.county
    assert (before.county.fi, before.county.en) == (
        "Etelä-Savon hyvinvointialue",
        "South Savo wellbeing services county",
    )


def test_every_municipality_in_use_belongs_somewhere_and_what_it_belongs_to_is_named_in_three_languages() -> None:
    for code, municipality in code_system("municipality").codes.items():
        found = territory(code, DAY)
        assert found is not None, code
        assert (found.municipality is municipality) is municipality.in_use(DAY)
        for named in (found.county, found.employment_area, found.state_office):
            assert named is None or (named.fi and named.sv and named.en and named.in_use(DAY))
        assert found.employment_area is not None
        assert found.state_office is not None


def test_nothing_is_said_of_the_time_before_the_counties_nor_of_a_place_that_is_none() -> None:
    assert territory("285", date(2022, 12, 31)) is None
    assert territory("999", DAY) is None
