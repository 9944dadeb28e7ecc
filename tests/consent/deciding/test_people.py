"""Ten people, every role, every time of the law: what the category table of the field says must come out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consent.deciding.verdicts import Decision

Decide = Callable[..., Decision]

ORDINARY = {"identity", "language", "contact", "move", "residence-permit"}

#: What a role gets for its own duty, from 2023 on. Everything else of the record is withheld from it.
MUNICIPALITY = ORDINARY | {
    "family",
    "housing",
    "education",
    "employment",
    "guardianship",
    "vulnerability/fact",
    "social-needs/early-support",
    "finances/early-support",
}
COUNTY = ORDINARY | {
    "family",
    "housing",
    "guardianship",
    "vulnerability",
    "social-needs",
    "child-protection",
    "finances",
}
# Health needs go to the county by the patient's permission (703/2023 54 §), or for a child alone (681/2023 87 §).
MINOR_IN_COUNTY = COUNTY | {"health-needs"}
PLACEMENT = ORDINARY | {"family/size-and-ages", "housing", "guardianship", "vulnerability/fact"}
BEFORE_COUNTIES = ORDINARY | {
    "family",
    "housing",
    "education",
    "employment",
    "guardianship",
    "vulnerability",
    "social-needs",
    "health-needs",
    "child-protection",
    "finances",
}
NOTICE = ORDINARY | {"family/size-and-ages"}
NOTHING: set[str] = set()
TO_M, TO_C, PLACE = "reception-to-municipality", "reception-to-county", "municipal-placement"

# person, requester, provider, purpose, day, what may move
TABLE: list[tuple[str, str, str, str, str, set[str]]] = [
    # 1 adult, asylum granted, to Kotka
    ("p01-asylum-adult", "kotka", "centre", TO_M, "2022-12-31", BEFORE_COUNTIES),
    ("p01-asylum-adult", "kotka", "centre", TO_M, "2023-01-01", MUNICIPALITY),
    ("p01-asylum-adult", "kotka", "centre", TO_M, "2024-12-31", MUNICIPALITY),
    ("p01-asylum-adult", "kotka", "centre", TO_M, "2025-01-01", MUNICIPALITY),
    ("p01-asylum-adult", "kotka", "centre", TO_M, "2026-01-01", MUNICIPALITY),
    ("p01-asylum-adult", "kouvola", "centre", TO_M, "2026-01-01", NOTHING),
    ("p01-asylum-adult", "kymenlaakso", "centre", TO_C, "2022-12-31", NOTHING),
    ("p01-asylum-adult", "kymenlaakso", "centre", TO_C, "2023-01-01", COUNTY),
    ("p01-asylum-adult", "kymenlaakso", "centre", TO_C, "2026-01-01", COUNTY),
    ("p01-asylum-adult", "pirkanmaa", "centre", TO_C, "2026-01-01", NOTHING),
    ("p01-asylum-adult", "placement", "centre", PLACE, "2026-01-01", PLACEMENT),
    ("p01-asylum-adult", "placement", "centre", PLACE, "2023-06-01", PLACEMENT),
    ("p01-asylum-adult", "placement", "centre", TO_M, "2026-01-01", NOTHING),
    ("p01-asylum-adult", "kela", "centre", TO_M, "2026-01-01", NOTHING),
    ("p01-asylum-adult", "edustaja", "centre", "representation", "2026-01-01", NOTHING),
    (
        "p01-asylum-adult",
        "development",
        "kymenlaakso",
        "compensation",
        "2024-06-01",  # 1386/2010 87 f §:3
        {"identity", "move", "residence-permit"},
    ),
    # No section from 2025: 681/2023 89 and 90 §:1 name the Immigration Service and the population register.
    ("p01-asylum-adult", "development", "kymenlaakso", "compensation", "2026-01-01", NOTHING),
    (
        "p01-asylum-adult",
        "kotka",
        "kymenlaakso",
        "compensation",
        "2024-06-01",
        {"identity", "move", "residence-permit"},
    ),
    # 2 quota refugees, one child with a disability
    ("p02-quota-family", "kotka", "placement", TO_M, "2026-01-01", MUNICIPALITY),
    ("p02-quota-family", "kotka", "immigration", TO_M, "2023-06-01", MUNICIPALITY),
    ("p02-quota-family", "kymenlaakso", "placement", TO_C, "2026-01-01", COUNTY),
    ("p02-quota-family", "kouvola", "placement", PLACE, "2026-01-01", PLACEMENT),
    ("p02-quota-family", "kouvola", "placement", PLACE, "2024-01-01", PLACEMENT),
    ("p02-quota-family", "placement", "kouvola", PLACE, "2026-01-01", {"identity", "move", "housing"}),
    # 3 mother of two under temporary protection: a home municipality is possible from 1.3.2023
    ("p03-ukrainian-mother", "kouvola", "centre", TO_M, "2022-12-31", NOTHING),
    ("p03-ukrainian-mother", "kouvola", "centre", TO_M, "2023-02-28", NOTHING),
    ("p03-ukrainian-mother", "kouvola", "centre", TO_M, "2023-03-01", MUNICIPALITY),
    ("p03-ukrainian-mother", "kouvola", "centre", TO_M, "2025-01-01", MUNICIPALITY),
    ("p03-ukrainian-mother", "kymenlaakso", "centre", TO_C, "2023-02-28", NOTHING),
    ("p03-ukrainian-mother", "kymenlaakso", "centre", TO_C, "2023-03-01", COUNTY),
    ("p03-ukrainian-mother", "kotka", "centre", TO_M, "2026-01-01", NOTHING),
    # 4 boy of 16 without a guardian
    ("p04-unaccompanied-minor", "kymenlaakso", "centre", TO_C, "2026-01-01", MINOR_IN_COUNTY),  # 681/2023 87 §:1
    ("p04-unaccompanied-minor", "kymenlaakso", "centre", TO_C, "2024-01-01", MINOR_IN_COUNTY),  # 1386/2010 87 c §:1
    ("p04-unaccompanied-minor", "kotka", "centre", TO_M, "2026-01-01", MUNICIPALITY),
    (
        "p04-unaccompanied-minor",
        "edustaja",
        "centre",
        "representation",
        "2026-01-01",
        ORDINARY | {"family", "education", "guardianship"},
    ),
    (
        "p04-unaccompanied-minor",
        "kotka",
        "kymenlaakso",
        "support-ends",
        "2026-01-01",
        ORDINARY | {"housing", "education", "employment", "social-needs/early-support"},
    ),
    # 5 moves on his own to Helsinki, which has no county
    ("p05-independent-mover", "helsinki", "centre", "independent-move-notice", "2026-01-01", NOTICE),
    ("p05-independent-mover", "helsinki", "centre", "independent-move-notice", "2023-01-01", NOTICE),
    ("p05-independent-mover", "helsinki", "centre", "independent-move-notice", "2022-12-31", NOTHING),
    ("p05-independent-mover", "helsinki-services", "centre", "independent-move-notice", "2026-01-01", NOTICE),
    ("p05-independent-mover", "kotka", "centre", "independent-move-notice", "2026-01-01", NOTHING),
    ("p05-independent-mover", "pirkanmaa", "centre", "independent-move-notice", "2026-01-01", NOTHING),
    # 6 torture survivor who refuses that the municipality hears of health: the county hears by permission only
    ("p06-torture-survivor", "kotka", "centre", TO_M, "2026-01-01", MUNICIPALITY),
    ("p06-torture-survivor", "kymenlaakso", "centre", TO_C, "2026-01-01", COUNTY),
    # 7 safety prohibition: the address goes to the one named recipient
    ("p07-safety-prohibition", "kotka", "centre", TO_M, "2026-01-01", MUNICIPALITY),
    ("p07-safety-prohibition", "kymenlaakso", "centre", TO_C, "2026-01-01", COUNTY - {"contact"} | {"contact/telecom"}),
    (
        "p07-safety-prohibition",
        "placement",
        "centre",
        PLACE,
        "2026-01-01",
        PLACEMENT - {"contact"} | {"contact/telecom"},
    ),
    # 8 no final permit: nothing moves
    *(
        ("p08-pending-permit", to, "centre", purpose, day, NOTHING)
        for to, purpose in (
            ("kotka", TO_M),
            ("kymenlaakso", TO_C),
            ("placement", PLACE),
            ("kotka", "service-need-lookup"),
        )
        for day in ("2022-06-01", "2023-06-01", "2026-06-01")
    ),
    # 9 consent given, then withdrawn
    (
        "p09-consent-given",
        "kotka",
        "centre",
        TO_M,
        "2026-01-01",
        MUNICIPALITY - {"social-needs/early-support"} | {"social-needs", "health-needs"},
    ),
    ("p09-withdrawn-consent", "kotka", "centre", TO_M, "2026-01-01", MUNICIPALITY),
    ("p09-consent-given", "kotka", "centre", "service-need-lookup", "2026-01-01", MUNICIPALITY),
    # 10 moves on from Kotka to Tampere
    ("p10-moves-on", "tampere", "kotka", "onward-move", "2026-06-01", NOTHING),  # 681/2023 85 §: by consent
    (
        "p10-consents-to-contact",
        "tampere",
        "kotka",
        "onward-move",
        "2026-06-01",
        {"identity", "language", "contact", "housing"},
    ),
    ("p10-moves-on", "tampere", "kotka", "plan-revision", "2026-06-01", ORDINARY | {"education", "employment"}),
    ("p10-moves-on", "tampere", "kotka", "onward-move", "2024-06-01", MUNICIPALITY),
    ("p10-moves-on", "pirkanmaa", "kymenlaakso", "onward-move", "2026-06-01", COUNTY),
    ("p10-moves-on", "kotka", "centre", TO_M, "2026-06-01", NOTHING),
]


@pytest.mark.parametrize(
    ("case", "requester", "provider", "purpose", "on", "expected"),
    TABLE,
    ids=[f"{row[0]} {row[2]} to {row[1]} {row[3]} {row[4]}" for row in TABLE],
)
def test_category_table(
    decide_for: Decide, case: str, requester: str, provider: str, purpose: str, on: str, expected: set[str]
) -> None:
    decision = decide_for(case, requester, purpose, provider=provider, on=on)

    assert decision.permitted_categories == expected


def test_refusal_is_shown_beside_the_statutory_basis_that_it_does_not_stop(decide_for: Decide) -> None:
    decision = decide_for("p06-refuses-all", "kotka", "service-need-lookup")

    overridden = {one.category for one in decision.permitted if one.overridden is not None}
    refused = {one.category for one in decision.withheld if one.code == "refused"}
    assert overridden == {"identity", "language", "contact"}
    assert {"housing", "education", "employment", "guardianship"} <= refused


def test_address_of_a_person_under_a_safety_prohibition_leaves_to_nobody_but_the_named_recipient(
    rulebook: object, decide_for: Decide
) -> None:
    from consent.rules.law import Rulebook

    assert isinstance(rulebook, Rulebook)
    asked = frozenset({"contact", "contact/address"})
    received = {
        party
        for provider in rulebook.parties
        for party in rulebook.parties
        for purpose in rulebook.purposes
        for emergency in (False, True)
        if "contact/address"
        in decide_for(
            "p07-safety-prohibition", party, purpose, provider=provider, categories=asked, emergency=emergency
        ).permitted_categories
    }

    assert received == {"kotka"}


def test_emergency_opens_only_what_its_basis_names_and_asks_for_a_review(decide_for: Decide) -> None:
    with_it = decide_for("p10-moves-on", "kymenlaakso", "service-need-lookup", emergency=True)
    without = decide_for("p10-moves-on", "kymenlaakso", "service-need-lookup")

    assert with_it.emergency
    assert "review" in with_it.obligations
    assert "health-needs" in with_it.permitted_categories
    assert "finances" not in with_it.permitted_categories
    assert not without.permitted
    assert {one.code for one in without.withheld if one.category == "health-needs"} == {"emergency-only"}


def test_emergency_that_was_not_needed_is_not_called_one(decide_for: Decide) -> None:
    decision = decide_for(
        "p01-asylum-adult",
        "kymenlaakso",
        "service-need-lookup",
        emergency=True,
        categories=frozenset({"identity"}),
    )

    assert not decision.emergency
    assert {one.basis for one in decision.permitted} == {"lookup-county"}
    assert {one.category for one in decision.permitted} == {"identity"}
