"""The whole-rulebook analysis: nothing to mend in the reference, each seeded fault found, agreement with `decide`."""

# ruff: noqa: E501 - lines of the rulebook stand here as they are

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from random import Random
from typing import Any

import pytest

from consent.checking.analysis import Check, check
from consent.checking.difference import differences
from consent.checking.report import of_check, of_differences
from consent.checking.space import carrying, covering, in_force, intervals, permits_at, triples
from consent.deciding.decision import decide
from consent.rules.law import Rulebook
from consent.rules.request import Emergency, Party, Request, SubjectFacts
from schemas.categories import CATEGORIES
from tests.former import changed, former

Entries = Mapping[str, Mapping[str, Any]]
Added = Sequence[tuple[str, Mapping[str, Any]]]


@pytest.fixture(scope="module")
def reference(rulebook: Rulebook) -> Check:
    return check(rulebook)


def test_reference_rulebook_has_nothing_to_mend(reference: Check) -> None:
    assert reference.faults == ()
    assert reference.sound


def test_every_gap_of_the_reference_has_a_reason_and_every_reason_a_gap(reference: Check) -> None:
    assert {one.gap.id for one in reference.explained} == {gap.id for gap in reference.rulebook.gaps}
    assert all(one.cells > 0 for one in reference.explained)
    assert all(set(one.gap.reason) == {"fi", "sv", "en"} for one in reference.explained)


def test_whole_space_is_looked_at_and_adds_up(reference: Check) -> None:
    rulebook = reference.rulebook
    points = sum(
        len(rulebook.roles) ** 2
        * len(rulebook.purposes)
        * len(rulebook.categories)
        * len(permits_at(rulebook, interval))
        for interval in reference.intervals
    )

    assert reference.cells == points
    assert reference.given + reference.closed + sum(one.cells for one in reference.explained) == points


def test_reference_rulebook_is_checked_in_far_less_than_a_minute(rulebook: Rulebook) -> None:
    begun = time.process_time()

    check(rulebook)

    assert time.process_time() - begun < 60


def test_progress_is_told_to_the_end(rulebook: Rulebook) -> None:
    told: list[tuple[int, int]] = []

    check(rulebook, lambda done, total: told.append((done, total)))

    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] == len(list(triples(rulebook)))
    assert len(told) > 20


def test_intervals_are_the_times_of_the_law(reference: Check) -> None:
    assert [one.first for one in reference.intervals] == [
        date.min,
        date(2011, 9, 1),  # 1386/2010 89 §
        date(2023, 1, 1),
        date(2023, 3, 1),  # temporary protection with a home municipality: 1083/2022
        date(2023, 10, 3),  # costs of 2021 as well: 952/2023
        date(2024, 1, 1),  # 703/2023
        date(2025, 1, 1),
    ]
    assert reference.intervals[-1].last == date.max


CONTRADICTION = {
    "id": "seeded",
    "title": {"fi": "x", "sv": "x", "en": "x"},
    "statute": {"name": "laki kotoutumisen edistämisestä", "number": "681/2023", "section": None},
    "reviewed": False,
    "in_force": {"from": "2025-01-01"},
    "purposes": ["onward-move"],
    "providers": ["county"],
    "requesters": ["county"],
    "subjects": {"permit": sorted(former().bases[1].permits)},
    "categories": ["social-needs"],
    "conditions": ["requester-is-county-of-residence", "permit-granted"],
    "consent": "refusable",
    "examples": [
        {"case": "p10-moves-on", "requester": "pirkanmaa", "on": "2026-06-01", "provider": "kymenlaakso",
         "permitted": ["social-needs"]},
        {"case": "p10-moves-on", "requester": "kymenlaakso", "on": "2026-06-01", "provider": "pirkanmaa",
         "withheld": ["social-needs"]},
    ],
}  # fmt: skip
AGAINST = [("bases", CONTRADICTION)]
PLACEMENT = (
    "placement-request-2023",
    "placement-request-2025",
    "placement-information-county",
    "placement-information",
)
WITHOUT_MOVE = ["identity", "language", "contact", "residence-permit", "family/size-and-ages", "housing",
                "guardianship", "vulnerability/fact"]  # fmt: skip
REPRESENTED = {"case": "p04-unaccompanied-minor", "requester": "edustaja", "on": "2026-03-01"}
ENDED = {"case": "p04-unaccompanied-minor", "requester": "kotka", "on": "2024-06-01", "provider": "kymenlaakso"}
MOVED = {"case": "p10-moves-on", "on": "2026-06-01", "provider": "kotka", "withheld": ["health-needs"]}
DIRECTORY = {"case": "p01-asylum-adult", "requester": "kotka", "on": "2026-03-01", "provider": "kymenlaakso"}

#: What is broken, how, what is added, and which fault about what must be found.
SEEDED: list[tuple[str, Entries, Added, str, str]] = [
    (
        "a hole between two acts",
        {"support-ends-2023": {"in_force": {"from": "2023-01-01", "to": "2024-11-30"}}},
        [],
        "gap",
        "municipality / support-ends / identity",
    ),
    (
        "a category that was forgotten",
        {basis: {"categories": WITHOUT_MOVE} for basis in PLACEMENT},
        [],
        "gap",
        "placement-authority / municipal-placement / move",
    ),
    (
        "a reason that was taken away",
        {"no-answer-to-te-office": {"purposes": ["plan-revision"]}},
        [],
        "gap",
        "employment-authority / assessment-participation / identity",
    ),
    (
        "a role that a flow names and no basis does",
        {"F6": {"asked": [{"from": ["reception-centre"], "to": ["representative", "benefits-agency"],
                           "purpose": "representation", "categories": ["identity"]}]}},
        [],
        "gap",
        "benefits-agency / representation / identity",
    ),
    ("two bases that ask different things", {}, AGAINST, "contradiction", "onward-move-county / seeded"),
    ("a basis that another always comes before", {}, AGAINST, "unreachable", "seeded"),
    (
        "conditions that nobody fulfils",
        {"representation": {"conditions": ["permit-granted", "unaccompanied", "subject-is-minor", "subject-is-adult"],
                            "examples": [{**REPRESENTED, "withheld": ["health-needs"]}]}},
        [],
        "unreachable",
        "representation",
    ),
    (
        "a basis for people for whom nothing may move",
        {"representation": {"conditions": ["permit-not-granted", "unaccompanied"],
                            "examples": [{**REPRESENTED, "withheld": ["health-needs"]}]}},
        [],
        "unreachable",
        "representation",
    ),
    (
        "a permit that the law does not know yet while the basis is in force",
        {"support-ends-2023": {"subjects": {"permit": ["temporary-protection-with-home-municipality"]},
                               "in_force": {"from": "2023-01-01", "to": "2023-02-27"},
                               "examples": [{**ENDED, "withheld": ["child-protection", "health-needs"]}]}},
        [],
        "unreachable",
        "support-ends-2023",
    ),
    (
        "a basis that shows nothing it carries",
        {"onward-move-municipality-by-consent": {"examples": [{**MOVED, "requester": "kouvola"},
                                                              {**MOVED, "requester": "tampere"}]}},
        [],
        "no-example",
        "onward-move-municipality-by-consent",
    ),
    (
        "a basis that shows nothing it refuses",
        {"contact-directory": {"examples": [{**DIRECTORY, "permitted": ["contact-person"]}]}},
        [],
        "no-example",
        "contact-directory",
    ),
    (
        "a reason for a gap that is none",
        {},
        [("gaps", {"id": "for-nothing", "reason": {"fi": "x", "sv": "x", "en": "x"}, "categories": ["contact-person"]})],
        "stale-gap",
        "for-nothing",
    ),
    (
        "one id for two things",
        {"safety-prohibition": {"id": "no-final-permit"}},
        [],
        "duplicate",
        "no-final-permit",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("entries", "added", "kind", "about"), [row[1:] for row in SEEDED], ids=[row[0] for row in SEEDED]
)
def test_seeded_fault_is_found(entries: Entries, added: Added, kind: str, about: str) -> None:
    found = check(changed(entries, added))

    assert not found.sound
    assert (kind, about) in {(one.kind, one.about) for one in found.faults}
    assert about in of_check(found).html()


def test_overlap_and_what_no_flow_asks_for_are_told_but_are_no_faults() -> None:
    answer = {"categories": ["housing", "identity", "language", "contact", "social-needs/early-support"]}
    found = check(
        changed({"assessment-answer-municipality-2023": answer, "assessment-answer-municipality-2025": answer})
    )

    beyond = [
        one
        for one in found.findings
        if one.kind == "beyond" and one.about == "county → municipality / assessment-participation"
    ]
    assert beyond
    assert "assessment-answer-municipality-2025" in beyond[0].where
    assert found.sound
    assert any(one.kind == "overlap" for one in found.findings)


def test_analysis_agrees_with_decide_at_every_point_it_is_asked(rulebook: Rulebook) -> None:
    """Give the person every fact that a basis could want, and every consent: what is given and what decides must agree."""
    random = Random(20260301)  # a sample of the space, the same each time
    spans = intervals(rulebook)
    every = list(triples(rulebook))
    with_bases = [one for one in every if rulebook.bases_for(*one)]
    for triple in [*random.sample(with_bases, 60), *random.sample(every, 60)]:
        for interval in spans:
            day = interval.first if interval.first > date.min else interval.last
            at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
            bases = in_force(rulebook, triple, interval)
            for permit in random.sample(list(rulebook.permits), 3):
                given = {
                    category
                    for category in rulebook.categories
                    if permit in permits_at(rulebook, interval)
                    and carrying(covering(rulebook, bases, category), permit)
                }
                permitted: set[str] = set()
                for facts in _people(permit):
                    decision = decide(
                        Request(
                            Party(triple[0]),
                            Party(triple[1], "m", frozenset({"285"}), frozenset({"kymenlaakso"})),
                            triple[2],
                            frozenset(rulebook.categories),
                            facts,
                            True,
                            Emergency("x"),
                        ),
                        rulebook,
                        [_consent(triple[1], triple[2])],
                        at,
                    )
                    permitted |= decision.permitted_categories
                # A basis that asks for no permit ground carries whatever ground the person has, known to the law or not.
                groundless = {
                    category
                    for category in rulebook.categories
                    if any(not one.permits and rulebook.covers(one.categories, category) for one in bases)
                }
                assert permitted - groundless == given - groundless, (triple, interval, permit)


def _people(permit: str) -> list[SubjectFacts]:
    return [
        SubjectFacts(
            permit_ground=permit,
            permit_granted=True,
            age=age,
            municipality="285",
            county="kymenlaakso",
            unaccompanied=age < 18,
            has_guardian=age >= 18,
            has_representative=age < 18,
            vulnerable=True,
            safety_prohibition=False,
            moves_independently=True,
            family_size=3,
            plan_in_force=True,
        )
        for age in (16, 40)
    ]


def _consent(role: str, purpose: str):  # type: ignore[no-untyped-def]
    from consent.words.consents import ConsentRecord

    return ConsentRecord.from_dict(
        {
            "id": "c",
            "version": 1,
            "status": "active",
            "purposes": [purpose],
            "recipients": [role],
            "categories": sorted(CATEGORIES),
            "recorded_at": "2021-01-01T00:00:00+00:00",
            "given_by": {"kind": "self"},
        }
    )


# -- differences -----------------------------------------------------------------------------------------------


def test_rulebook_differs_in_nothing_from_itself(rulebook: Rulebook) -> None:
    found = differences(rulebook, rulebook)

    assert found.changes == ()
    assert found.prohibitions == ()
    assert "Nothing changes" in of_differences(found).html()


@pytest.fixture(scope="module")
def other() -> Rulebook:
    employment = {"case": "p01-asylum-adult", "requester": "employment", "on": "2026-03-01", "provider": "kymenlaakso"}
    lookup = {"case": "p01-asylum-adult", "requester": "kotka", "on": "2026-03-01", "permitted": ["identity"]}
    return changed(
        {
            "lookup-municipality-2025": {
                "categories": ["identity", "language", "move", "residence-permit", "family", "finances"],
                "examples": [{**lookup, "withheld": ["child-protection"]}],
            },
            "assessment-answer-employment": {
                "consent": "required",
                "examples": [{**employment, "withheld": ["identity", "language"]}],
            },
            "safety-prohibition": {"when": ["safety-prohibition", "permit-granted"]},
        }
    )


def test_what_becomes_permitted_withheld_and_otherwise_is_told(rulebook: Rulebook, other: Rulebook) -> None:
    found = differences(rulebook, other)

    told = {(one.change, one.provider, one.requester, one.purpose, one.category) for one in found.changes}
    centre = ("reception-centre", "municipality", "service-need-lookup")
    assert ("becomes-withheld", *centre, "contact") in told
    assert ("becomes-permitted", *centre, "finances") in told
    assert ("changes", *centre, "finances/early-support") in told  # unless refused before, by duty after
    assert ("changes", "county", "employment-authority", "assessment-participation", "language") in told
    assert {one[0] for one in told} == {"becomes-permitted", "becomes-withheld", "changes"}
    assert found.prohibitions == (("safety-prohibition", "says something else"),)
    assert all(one.interval.first == date(2025, 1, 1) for one in found.changes)


def test_the_way_back_is_the_opposite(rulebook: Rulebook, other: Rulebook) -> None:
    there, back = differences(rulebook, other), differences(other, rulebook)

    assert {
        (o.provider, o.requester, o.purpose, o.category) for o in there.changes if o.change == "becomes-withheld"
    } == {(o.provider, o.requester, o.purpose, o.category) for o in back.changes if o.change == "becomes-permitted"}


def test_report_escapes_what_a_rulebook_says() -> None:
    found = check(changed({}, version="<script>alert(1)</script>"))

    page = of_check(found).html()

    assert "<script>" not in page
    assert "&lt;script&gt;" in page
