"""Code systems: three languages for every code, dates that hold, and what the rest of the product relies on."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import date
from importlib.resources import files

import pytest

from schemas.categories import known
from schemas.codes import code_system, code_systems

SYSTEMS = code_systems()


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_code_is_there_once_with_its_names_and_a_sound_period(name: str) -> None:
    text = (files("schemas") / "fhir-like" / "codes" / f"{name}.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))

    assert rows
    assert [code for code, count in Counter(row["code"] for row in rows).items() if count > 1] == []
    for coding in code_system(name).codes.values():
        assert all((coding.code, coding.fi, coding.sv, coding.en)), coding.code
        assert coding.code == coding.code.strip()
        assert coding.category is None or known(coding.category), coding.code
        if coding.valid_from and coding.valid_to:
            assert coding.valid_from <= coding.valid_to, coding.code


@pytest.mark.parametrize("name", SYSTEMS)
def test_no_other_name_of_a_code_means_two_codes(name: str) -> None:
    codes = code_system(name).codes.values()
    seen: dict[str, str] = {}
    for coding in codes:
        for alias in coding.aliases:
            assert seen.setdefault(alias.lower(), coding.code) == coding.code
    for coding in codes:
        assert code_system(name).find(coding.code.upper()) is not None


def test_a_code_is_in_use_from_its_first_day_to_its_last() -> None:
    grounds = code_system("permit-ground")

    home = "temporary-protection-with-home-municipality"
    assert grounds.lookup(home, date(2023, 2, 28)) is None
    assert grounds.lookup(home, date(2023, 3, 1)) is not None
    assert grounds.lookup(home) is not None
    assert grounds.lookup("no-such-code") is None


def test_a_code_has_its_name_in_the_language_that_is_asked_for_and_else_in_english() -> None:
    turku = code_system("municipality").codes["853"]

    assert [turku.label(language) for language in ("fi", "sv", "en", "uk")] == ["Turku", "Åbo", "Turku", "Turku"]


def test_a_system_that_is_not_shipped_has_no_codes() -> None:
    with pytest.raises(KeyError):
        code_system("shoe-size")


@pytest.mark.parametrize("code", ["uk", "ru", "ar", "prs", "ps", "so", "ckb", "ti", "fr", "sw", "en", "fi", "sv"])
def test_the_languages_of_the_people_concerned_are_there_by_either_standard(code: str) -> None:
    languages = code_system("language")
    coding = languages.codes[code]

    assert all(languages.find(alias) == coding for alias in coding.aliases)
    assert any(len(alias) == 3 for alias in coding.aliases)


@pytest.mark.parametrize(
    ("code", "on", "current"),
    [
        ("588", "2024-12-31", "588"),
        ("588", "2025-01-01", "507"),
        ("911", "2020-01-01", "541"),
        ("285", "2026-03-01", "285"),
        ("999", "2026-03-01", "999"),
    ],
)
def test_merged_municipality_is_its_successor_from_the_day_of_the_merger(code: str, on: str, current: str) -> None:
    assert code_system("municipality").current(code, date.fromisoformat(on)) == current


def test_every_municipality_that_ended_has_a_successor_in_use() -> None:
    codes = code_system("municipality").codes
    ended = [coding for coding in codes.values() if coding.valid_to is not None]

    assert len(ended) == 12
    assert len(codes) - len(ended) == 308
    for coding in ended:
        assert coding.successor is not None
        assert codes[coding.successor].valid_to is None
    assert not any(coding.successor for coding in codes.values() if coding.valid_to is None)
