"""Standing requests and the provisions that they name."""

from __future__ import annotations

from datetime import date

import pytest

from consent.rules.provisions import Provision, ProvisionError, article
from consent.rules.standing import StandingRequest, StandingRequestError

ASKED = {
    "id": "sr-1",
    "member": "FI/MUN/kotka",
    "role": "municipality",
    "providers": ["reception-centre"],
    "provision": "681/2023 86:1",
    "purpose": "assessment",
    "categories": ["identity", "language"],
    "conditions": [],
    "first": "2025-01-01",
    "last": "2026-12-31",
}


def test_standing_request_reads_what_it_writes() -> None:
    asked = StandingRequest.from_dict(ASKED)

    assert asked.to_dict() == ASKED
    assert asked.provision == Provision("681/2023", "86", 1)


@pytest.mark.parametrize(
    ("day", "stands"), [("2024-12-31", False), ("2025-01-01", True), ("2026-12-31", True), ("2027-01-01", False)]
)
def test_standing_request_stands_from_its_first_day_to_its_last(day: str, stands: bool) -> None:
    assert StandingRequest.from_dict(ASKED).stands(date.fromisoformat(day)) is stands


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("provision", "86 §"),
        ("provision", None),
        ("categories", []),
        ("providers", "centre"),
        ("first", "1.1.2025"),
        ("last", "2024-12-31"),
        ("conditions", [1]),
        ("more", "x"),
        ("member", ""),
    ],
)
def test_standing_request_that_cannot_be_read_names_its_member(name: str, value: object) -> None:
    with pytest.raises(StandingRequestError) as told:
        StandingRequest.from_dict({**ASKED, name: value})

    assert told.value.pointer == f"/{name}"


@pytest.mark.parametrize(
    ("text", "fi", "sentence", "sv", "en"),
    [
        ("681/2023 86:2", "86 § 2 mom.", "86 §:n 2 momentti", "86 § 2 mom.", "section 86(2)"),
        ("681/2023 93", "93 §", "93 §", "93 §", "section 93"),
        ("1386/2010 87 a:1", "87 a § 1 mom.", "87 a §:n 1 momentti", "87 a § 1 mom.", "section 87 a(1)"),
        (
            "615/2020 11:1(9)",
            "11 § 1 mom. 9 kohta",
            "11 §:n 1 momentin 9 kohta",
            "11 § 1 mom. 9 punkten",
            "section 11(1), point 9",
        ),
    ],
)
def test_provision_is_cited_in_the_readers_manner(text: str, fi: str, sentence: str, sv: str, en: str) -> None:
    provision = Provision.parse(text)

    assert str(provision) == text
    assert provision.said("fi") == fi
    assert provision.said("fi", inflected=True) == sentence
    assert provision.said("sv") == sv
    assert provision.said("en") == en


def test_article_is_cited_in_the_readers_manner() -> None:
    assert article("9(2)(a)", "fi") == "9 artiklan 2 kohdan a alakohta"
    assert article("9(2)(a)", "sv") == "artikel 9.2 a"
    assert article("9(2)(a)", "en") == "Article 9(2)(a)"
    assert article("7(3)", "fi") == "7 artiklan 3 kohta"


@pytest.mark.parametrize("text", ["86 §", "681/2023", "681/2023 86:", "681/2023 86:x", " 681/2023 86", "681/2023 86\n"])
def test_text_that_names_no_provision_is_refused(text: str) -> None:
    with pytest.raises(ProvisionError):
        Provision.parse(text)


def test_section_covers_its_moments_and_a_moment_its_points_only() -> None:
    section, moment = Provision.parse("615/2020 11"), Provision.parse("615/2020 11:1")

    assert section.covers(moment)
    assert moment.covers(Provision.parse("615/2020 11:1(9)"))
    assert not moment.covers(section)
    assert not moment.covers(Provision.parse("615/2020 11:2"))
