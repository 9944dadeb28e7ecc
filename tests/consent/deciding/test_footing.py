"""What has a footing in a section of an act moves by that section; what has none does not move.

Each row: who asks whom about whom for what on which day, which category, and by which act and section it may move, or
that nothing gives it. What is expected is taken from the texts of the acts, whose sections stand beside the rows.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consent.deciding.verdicts import Decision
from consent.rules.law import Rulebook

Decide = Callable[..., Decision]

NONE = None
KOTO, OLD, CLIENT, REGISTER = "681/2023", "1386/2010", "703/2023", "615/2020"
BY_PERMISSION = (CLIENT, "54 § 1 mom.")
BEFORE_2024 = ("785/1992", "13 § 3 mom.")

Row = tuple[str, str, str, str, str, str, tuple[str, str] | None]

# case, requester, provider, purpose, day, category, act and section (or that nothing gives it)
TABLE: list[Row] = [
    # Contact with the new municipality: 1386/2010 87 §:1 to the end of 2024, then by consent and with a plan (85 §).
    ("p10-moves-on", "tampere", "kotka", "onward-move", "2024-12-31", "housing", (OLD, "87 § 1 mom.")),
    ("p10-moves-on", "tampere", "kotka", "onward-move", "2025-01-01", "housing", NONE),
    ("p10-moves-on", "tampere", "kotka", "onward-move", "2026-06-01", "identity", NONE),
    ("p10-consents-to-contact", "tampere", "kotka", "onward-move", "2026-06-01", "housing", (KOTO, "85 §")),
    ("p10-consents-to-contact", "tampere", "kotka", "onward-move", "2026-06-01", "education", NONE),
    ("p10-consents-without-plan", "tampere", "kotka", "onward-move", "2026-06-01", "housing", NONE),
    # The new municipality asks in order to revise the plan, if there is one: 86 §:4.
    ("p10-moves-on", "tampere", "kotka", "plan-revision", "2025-01-01", "education", (KOTO, "86 § 4 mom.")),
    ("p10-moves-on", "tampere", "kotka", "plan-revision", "2024-12-31", "education", NONE),
    ("p10-moves-on", "kouvola", "kotka", "plan-revision", "2026-06-01", "education", NONE),
    ("p10-moves-on", "tampere", "kotka", "plan-revision", "2026-06-01", "health-needs", NONE),
    ("p10-consents-without-plan", "tampere", "kotka", "plan-revision", "2026-06-01", "education", NONE),
    # A patient's data to a county: by permission (703/2023 54 §:1; 785/1992 13 § before it), whatever the flow.
    *(
        (case, county, provider, purpose, day, "health-needs", NONE)
        for case, county, provider, purpose in (
            ("p01-asylum-adult", "kymenlaakso", "centre", "reception-to-county"),
            ("p02-quota-family", "kymenlaakso", "placement", "reception-to-county"),
            ("p02-quota-family", "kymenlaakso", "immigration", "reception-to-county"),
            ("p03-ukrainian-mother", "kymenlaakso", "centre", "reception-to-county"),
            ("p06-torture-survivor", "kymenlaakso", "centre", "reception-to-county"),
            ("p09-withdrawn-consent", "kymenlaakso", "centre", "reception-to-county"),
            ("p01-asylum-adult", "kymenlaakso", "centre", "service-need-lookup"),
            ("p05-independent-mover", "helsinki-services", "centre", "service-need-lookup"),
            ("p10-moves-on", "pirkanmaa", "kymenlaakso", "onward-move"),
        )
        for day in ("2023-06-01", "2024-06-01", "2026-06-01")
    ),
    ("p09-consent-to-county", "kymenlaakso", "centre", "reception-to-county", "2023-06-01", "health-needs",
     BEFORE_2024),
    ("p09-consent-to-county", "kymenlaakso", "centre", "reception-to-county", "2024-01-01", "health-needs",
     BY_PERMISSION),
    ("p09-consent-to-county", "kymenlaakso", "centre", "service-need-lookup", "2026-03-01", "health-needs",
     BY_PERMISSION),
    ("p10-consents-to-move", "pirkanmaa", "kymenlaakso", "onward-move", "2026-03-01", "health-needs",
     BY_PERMISSION),
    ("p09-consent-to-county", "kymenlaakso", "placement", "reception-to-county", "2026-03-01", "health-needs",
     ("621/1999", "26 § 1 mom. 2 kohta")),
    ("p09-consent-given", "kymenlaakso", "centre", "reception-to-county", "2026-03-01", "health-needs", NONE),
    ("p01-asylum-adult", "kymenlaakso", "centre", "reception-to-county", "2026-03-01", "social-needs",
     (KOTO, "83 § 2 mom.")),
    ("p01-asylum-adult", "kymenlaakso", "centre", "service-need-lookup", "2026-03-01", "social-needs",
     (CLIENT, "64 § 1 mom.")),
    # A child without a guardian: the county's own right, from the centre and the Immigration Service.
    ("p04-unaccompanied-minor", "kymenlaakso", "centre", "reception-to-county", "2026-03-01", "health-needs",
     (KOTO, "87 § 1 mom.")),
    ("p04-unaccompanied-minor", "kymenlaakso", "immigration", "reception-to-county", "2026-03-01", "health-needs",
     (KOTO, "87 § 1 mom.")),
    ("p04-unaccompanied-minor", "kymenlaakso", "placement", "reception-to-county", "2026-03-01", "health-needs", NONE),
    ("p04-unaccompanied-minor", "kymenlaakso", "placement", "reception-to-county", "2024-06-01", "health-needs",
     (OLD, "87 c § 1 mom.")),
    # Without a home municipality temporary protection is none of this: 681/2023 2 §:6(4), 1386/2010 27 §.
    *(
        ("p04-minor-in-reception", "kymenlaakso", "centre", purpose, day, category, NONE)
        for purpose in ("reception-to-county", "service-need-lookup")
        for day in ("2023-06-01", "2026-03-01")
        for category in ("identity", "child-protection", "health-needs")
    ),
    # Costs of 2022 (1386/2010 87 e §; from 3.10.2023 of 2021 too), and of special support from 2025 (90 §:6).
    ("p01-asylum-adult", "kotka", "kymenlaakso", "compensation", "2023-10-02", "identity", (OLD, "87 e §")),
    ("p01-asylum-adult", "kotka", "kymenlaakso", "compensation", "2024-12-31", "identity", (OLD, "87 e §")),
    ("p01-asylum-adult", "kotka", "kymenlaakso", "compensation", "2025-01-01", "identity", (KOTO, "90 § 6 mom.")),
    ("p03-ukrainian-mother", "kouvola", "kymenlaakso", "compensation", "2023-06-01", "identity", NONE),
    ("p03-ukrainian-mother", "kouvola", "kymenlaakso", "compensation", "2024-06-01", "identity", NONE),
    # The KEHA centre: from the county by 87 f §:3, from the municipality by 87 §:1, by no section from 2025.
    ("p01-asylum-adult", "development", "kymenlaakso", "compensation", "2024-12-31", "identity",
     (OLD, "87 f § 3 mom.")),
    ("p01-asylum-adult", "development", "kotka", "compensation", "2024-12-31", "identity", (OLD, "87 § 1 mom.")),
    ("p01-asylum-adult", "development", "kymenlaakso", "compensation", "2025-01-01", "identity", NONE),
    ("p01-asylum-adult", "development", "kotka", "compensation", "2025-01-01", "identity", NONE),
    # 1386/2010 came into force on 1.9.2011 (89 §).
    *(
        ("p01-asylum-adult", "kotka", "centre", "reception-to-municipality", "2011-08-31", category, NONE)
        for category in ("identity", "health-needs", "child-protection")
    ),
    ("p01-asylum-adult", "kotka", "centre", "reception-to-municipality", "2011-09-01", "identity",
     (OLD, "87 § 1 mom.")),
    # Direction to a municipality: 615/2020 11 §:1(7), to the county 11 §:1(9), which began on 1.1.2025 (683/2023).
    ("p01-asylum-adult", "placement", "centre", "municipal-placement", "2024-06-01", "identity",
     (REGISTER, "11 § 1 mom. 7 kohta")),
    ("p02-quota-family", "kymenlaakso", "placement", "municipal-placement", "2024-12-31", "identity", NONE),
    ("p02-quota-family", "kymenlaakso", "placement", "municipal-placement", "2025-01-01", "identity",
     (REGISTER, "11 § 1 mom. 9 kohta")),
    ("p02-quota-family", "kotka", "placement", "municipal-placement", "2024-12-31", "identity", (OLD, "87 § 1 mom.")),
    # The representative: 1386/2010 87 §:3, then 681/2023 93 §.
    ("p04-unaccompanied-minor", "edustaja", "centre", "representation", "2024-12-31", "identity", (OLD, "87 § 3 mom.")),
    ("p04-unaccompanied-minor", "edustaja", "centre", "representation", "2025-01-01", "identity", (KOTO, "93 §")),
    # The county's answer in an assessment in which it takes part: 86 §:2.
    ("p01-asylum-adult", "kotka", "kymenlaakso", "assessment-participation", "2026-03-01", "social-needs/early-support",
     (KOTO, "86 § 2 mom.")),
]  # fmt: skip


@pytest.mark.parametrize("row", TABLE, ids=[" ".join(row[:6]) for row in TABLE])
def test_category_moves_by_the_section_that_gives_it_or_not_at_all(
    rulebook: Rulebook, decide_for: Decide, row: Row
) -> None:
    case, requester, provider, purpose, on, category, expected = row

    decision = decide_for(case, requester, purpose, provider=provider, on=on, categories=frozenset({category}))

    assert cited(rulebook, decision) == ({expected} if expected is not None else set())


def cited(rulebook: Rulebook, decision: Decision) -> set[tuple[str, str | None]]:
    """The acts and sections by which something moves."""
    named = [rulebook.basis(one.basis) for one in decision.permitted]
    return {(basis.statute.number, basis.statute.section) for basis in named if basis and basis.statute}


def test_no_purpose_flow_basis_or_reason_speaks_of_a_shared_plan(rulebook: Rulebook) -> None:
    # 681/2023 15, 17 and 21 § were repealed by 1100/2024 on the day on which they would have come into force.
    named = {
        *rulebook.purposes,
        *rulebook.flows,
        *(basis.id for basis in rulebook.bases),
        *(gap.id for gap in rulebook.gaps),
    }
    words = [*rulebook.purposes.values(), *(flow.title for flow in rulebook.flows.values())]

    assert "F8" not in named
    assert not any("shared-plan" in one for one in named)
    assert not any("monialai" in one["fi"] or "sektorsövergripande" in one["sv"] for one in words)


@pytest.mark.parametrize("purpose", ["reception-to-county", "service-need-lookup", "onward-move"])
def test_no_basis_gives_health_needs_to_a_county_without_the_persons_word(rulebook: Rulebook, purpose: str) -> None:
    giving = [
        basis
        for basis in rulebook.bases
        if "county" in basis.requesters and purpose in basis.purposes and "health-needs" in basis.categories
    ]

    assert giving
    for basis in giving:
        alone = "unaccompanied" in basis.conditions and "subject-is-minor" in basis.conditions
        assert basis.needs_word or basis.emergency or alone, basis.id


def test_refusal_stops_health_needs_to_the_county_even_beside_a_permission(rulebook: Rulebook) -> None:
    from dataclasses import replace
    from datetime import date

    from consent.deciding.examples import decide_case

    case = rulebook.cases["p09-consent-to-county"]
    refused = replace(
        case, consents=(*case.consents, {"status": "refused", "recipients": ["county"], "categories": ["health-needs"]})
    )

    decision = decide_case(
        rulebook,
        refused,
        provider="centre",
        requester="kymenlaakso",
        purpose="reception-to-county",
        on=date(2026, 3, 1),
    )

    assert ("health-needs", "refused") in {(one.category, one.code) for one in decision.withheld}


@pytest.mark.parametrize("on", ["2023-06-01", "2026-03-01"])
def test_unconscious_asylum_seeker_is_helped_as_anybody_is(rulebook: Rulebook, decide_for: Decide, on: str) -> None:
    # 703/2023 54 §:2 asks for no permit; nothing but the basis for emergencies passes the rule on permits.
    decision = decide_for("p08-pending-permit", "kymenlaakso", "service-need-lookup", emergency=True, on=on)

    assert decision.emergency
    assert {"identity", "health-needs", "child-protection"} <= decision.permitted_categories
    assert all(rulebook.basis(one.basis).emergency for one in decision.permitted)  # type: ignore[union-attr]
    assert {one.code for one in decision.withheld if one.category in {"housing", "finances"}} == {"prohibited"}


def test_without_an_emergency_a_pending_permit_still_stops_everything(decide_for: Decide) -> None:
    decision = decide_for("p08-pending-permit", "kymenlaakso", "service-need-lookup")

    assert not decision.permitted


def test_emergency_does_not_open_an_address_under_a_safety_prohibition(decide_for: Decide) -> None:
    decision = decide_for("p07-safety-prohibition", "pirkanmaa", "service-need-lookup", emergency=True)

    assert "contact/telecom" in decision.permitted_categories
    assert not {"contact", "contact/address"} & decision.permitted_categories
