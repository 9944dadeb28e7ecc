"""What the demo's registry lists stands in the tables of territories."""

from __future__ import annotations

from datetime import date

from gateway.demo.listing import counties, municipalities


def test_municipalities_and_counties_have_their_official_names_and_belong_where_they_do_on_the_day() -> None:
    listed = {found.code: found for found in municipalities((), {}, date(2026, 3, 1))}

    assert (listed["285"].county, listed["837"].county, listed["091"].county) == ("kymenlaakso", "pirkanmaa", None)
    assert listed["075"].name.sv == "Fredrikshamn"
    assert [(county.name.fi, county.name.sv, county.name.en) for county in counties((), {})] == [
        ("Kymenlaakson hyvinvointialue", "Kymmenedalens välfärdsområde", "Kymenlaakso wellbeing services county"),
        ("Pirkanmaan hyvinvointialue", "Birkalands välfärdsområde", "Pirkanmaa wellbeing services county"),
    ]
