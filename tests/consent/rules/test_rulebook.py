"""The rulebook loader, and the reference rulebook held against the field's own tables."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from datetime import date
from importlib.resources import files

import pytest

from consent.deciding.examples import outcome
from consent.deciding.verdicts import Decision
from consent.rulebook import load
from consent.rules.document import RulebookError
from consent.rules.law import Rulebook
from gateway.registry.read.entries import ROLES
from schemas.categories import CATEGORIES, PARTS
from tests.consent.second_form import reference
from tests.former import former_rulebook


def _cut(text: str) -> str:
    """The rulebook with what is `LEFT` of its flows and bases, and their cases: it is read for each fault put in it."""
    kept, section = [], ""
    for part in re.split(r"(?m)^(?=\S|  \S)", text):
        heading, entry = re.match(r"[a-z]+", part), re.match(r"  (?:- id: )?([\w-]+)", part)
        section = heading[0] if heading else section
        is_whole = entry is None or section not in ("flows", "bases", "cases")
        if is_whole or entry[1] in LEFT or f"case: {entry[1]}," in "".join(kept):
            kept.append(part)
    return "".join(kept)


LEFT = (
    "handover-municipality-before-2023",
    "handover-municipality-2023",
    "handover-municipality-2025",
    "municipality-by-consent",
    "unaccompanied-minor-county-2023",
    "representation-2023",
    "assessment-answer-municipality-2023",
    "compensation-development-centre-2023",
    "compensation-development-centre-2023-municipality",
    "F1",  # which names what other flows ask for too
    "F6",
)
TEXT = _cut(former_rulebook().decode("utf-8"))


def replaced(old: str, new: str, count: int = 1) -> bytes:
    assert old in TEXT, f"the rulebook has no {old!r} any more; mend the test"
    return TEXT.replace(old, new, count).encode()


def line_of(needle: str, text: str) -> int:
    return text[: text.index(needle)].count("\n") + 1


# Each: what is broken, by which replacement, what the line of the fault says, the pointer, and words of the message.
FAULTS: list[tuple[str, str, str, str, str, str]] = [
    (
        "unknown condition, with the nearest name",
        "conditions: [requester-is-county-of-residence, permit-granted, unaccompanied, subject-is-minor]",
        "conditions: [requester-is-county-of-residense, permit-granted, unaccompanied, subject-is-minor]",
        "requester-is-county-of-residense",
        "/bases/4/conditions/0",
        "there is no 'requester-is-county-of-residense' among the conditions",
    ),
    (
        "unknown category in a basis",
        "categories: [social-needs, health-needs]\n    conditions",
        "categories: [social-needs, helth-needs]\n    conditions",
        "helth-needs",
        "/bases/3/categories/1",
        "there is no 'helth-needs' among the categories",
    ),
    (
        "unknown role",
        "providers: [county]\n    requesters: [municipality]",
        "providers: [county]\n    requesters: [municipalty]",
        "municipalty]",
        "/bases/6/requesters/0",
        "there is no 'municipalty' among the roles",
    ),
    (
        "unknown permit ground",
        "permits: [pending, refused]",
        "permits: [pending, rejected]",
        "permits: [pending, rejected]",
        "/gaps/0/permits/1",
        "there is no 'rejected' among the permits",
    ),
    (
        "a day that is not in the calendar",
        "in_force: {from: 2011-09-01, to: 2022-12-31}\n    purposes",
        "in_force: {from: 2011-09-01, to: '2022-02-31'}\n    purposes",
        "2022-02-31",
        "/bases/0/in_force/to",
        "is not a day of the calendar",
    ),
    (
        "a period that ends before it begins",
        "in_force: {from: 2023-01-01, to: 2024-12-31}",
        "in_force: {from: 2023-01-01, to: 2022-12-31}",
        "{from: 2023-01-01, to: 2022-12-31}",
        "/bases/1/in_force/to",
        "it ends before it begins",
    ),
    (
        "two bases of one id",
        "- id: handover-municipality-2025",
        "- id: handover-municipality-2023",
        "title: {fi: kunnan kokonaisvastuu",
        "/bases/2/id",
        "two bases have the id 'handover-municipality-2023'",
    ),
    (
        "a word that the form does not have",
        "    consent: required\n",
        "    konsent: required\n",
        "- id: municipality-by-consent",
        "/bases/3",
        "konsent",
    ),
    (
        "a consent rule that is none",
        "    consent: required\n",
        "    consent: maybe\n",
        "consent: maybe",
        "/bases/3/consent",
        "maybe",
    ),
    (
        "a missing language",
        "suostumus, sv: personens uttryckliga samtycke, en: the person's explicit consent}",
        "suostumus, en: the person's explicit consent}",
        "title: {fi: henkilön nimenomainen suostumus, en",
        "/bases/3/title",
        "sv",
    ),
    (
        "an example that permits what the rules withhold",
        "permitted: [identity, housing, social-needs/early-support], withheld: [health-needs, social-needs",
        "permitted: [identity, housing, health-needs], withheld: [social-needs",
        "permitted: [identity, housing, health-needs]",
        "/bases/1/examples/0",
        "the example says permitted, the rules withhold: health-needs",
    ),
    (
        "an example that withholds what the rules permit",
        "on: 2023-02-28, withheld: [identity]}\n      - {case: p08",
        "on: 2023-03-02, withheld: [identity]}\n      - {case: p08",
        "on: 2023-03-02, withheld",
        "/bases/1/examples/2",
        "the example says withheld, the rules permit: identity",
    ),
    (
        "a case that is none",
        "{case: p01-asylum-adult, requester: tampere, on: 2022-06-01",
        "{case: p01-asylum-aduld, requester: tampere, on: 2022-06-01",
        "p01-asylum-aduld",
        "/bases/0/examples/3/case",
        "there is no 'p01-asylum-aduld' among the cases",
    ),
    (
        "a flow to nobody",
        "to: [representative], purpose: representation",
        "to: [representative], purpose: representing",
        "purpose: representing",
        "/flows/F6/asked/0/purpose",
        "there is no 'representing' among the purposes",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "at", "pointer", "says"), [row[1:] for row in FAULTS], ids=[r[0] for r in FAULTS]
)
def test_fault_is_told_with_its_line_its_place_and_its_remedy(
    old: str, new: str, at: str, pointer: str, says: str
) -> None:
    broken = replaced(old, new)

    with pytest.raises(RulebookError) as raised:
        load(broken, source="broken.yaml")

    faults = {fault.pointer: fault for fault in raised.value.faults}
    assert pointer in faults, [fault.pointer for fault in raised.value.faults]
    fault = faults[pointer]
    assert says in fault.message
    # A fault inside a flow-style collection is told by the line on which that collection stands.
    assert abs(fault.line - line_of(at, broken.decode())) <= 1
    assert f"broken.yaml:{fault.line}: {pointer}" in str(raised.value)


def test_misspelt_name_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(RulebookError) as raised:
        load(replaced("[pending, refused]", "[pending, refusd]"))

    assert raised.value.faults[0].remedy == "did you mean 'refused'?"


def test_all_faults_are_told_at_once() -> None:
    broken = replaced("purposes: [representation]", "purposes: [representing]").replace(
        b"requesters: [development-centre]", b"requesters: [developement-centre]"
    )

    with pytest.raises(RulebookError) as raised:
        load(broken)

    assert len(raised.value.faults) == 4  # one purpose; two bases and a gap name the role


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"rulebook: a\nroles: [unclosed\n", 3),
        (b"rulebook: a\nrulebook: b\n", 2),
        (b"rulebook: \xff\xfe\n", 1),
        (b"", 1),
        (b"- a list\n", 1),
    ],
    ids=["not YAML", "a key twice", "not UTF-8", "empty", "not a mapping"],
)
def test_what_is_no_rulebook_is_refused_with_a_line(data: bytes, line: int) -> None:
    with pytest.raises(RulebookError) as raised:
        load(data, source="x.yaml")

    assert raised.value.faults[0].line == line


def test_digest_names_the_exact_text(rulebook: Rulebook) -> None:
    cut, other = load(TEXT.encode()), load(TEXT.encode() + b"\n# a remark\n")

    assert rulebook.digest.startswith("sha-256:")
    assert len(rulebook.digest) == len("sha-256:") + 64
    assert len({rulebook.digest, cut.digest, other.digest}) == 3
    assert {basis.id for basis in cut.bases} == {name for name in LEFT if name in rulebook._by_id}


def test_lightest_basis_is_asked_first_whatever_the_order_in_the_rulebook(rulebook: Rulebook) -> None:
    found = rulebook.bases_for("reception-centre", "municipality", "service-need-lookup")

    weights = [("shown", "refusable", "consent").index(one.word.value) for one in found]
    assert weights == sorted(weights)
    emergencies = rulebook.bases_for("reception-centre", "county", "service-need-lookup")
    assert [one.emergency for one in emergencies] == sorted(one.emergency for one in emergencies)
    assert emergencies[-1].emergency


# -- the reference rulebook ------------------------------------------------------------------------------------


def test_it_says_itself_that_no_lawyer_has_signed_it_off(rulebook: Rulebook) -> None:
    assert rulebook.status == "reference"
    assert not any(basis.reviewed for basis in rulebook.bases)


def test_every_flow_of_the_field_asks_for_something_that_a_basis_can_give(rulebook: Rulebook) -> None:
    # F8, the shared plan, is none: 1100/2024 repealed its sections on the day on which 681/2023 came into force.
    assert list(rulebook.flows) == [f"F{number}" for number in range(1, 15) if number != 8]
    for flow in rulebook.flows.values():
        given = [
            basis.id
            for part in (*flow.deliveries, *flow.asked)
            for provider in part.from_roles
            for basis in rulebook.bases_for(provider, part.to_role, part.purpose)
        ]
        assert given, flow.code


FLOWS = [
    ("F1", "reception-centre", {"municipality", "county"}),
    ("F2", "placement-authority", {"municipality", "county"}),
    ("F2", "immigration-service", {"municipality", "county"}),
    ("F3", "reception-centre", {"municipality", "county"}),
    ("F4", "placement-authority", {"municipality", "county"}),
    ("F4", "municipality", {"placement-authority"}),
    ("F5", "reception-centre", {"municipality", "county"}),
    ("F6", "reception-centre", {"municipality", "county", "representative"}),
    ("F7", "municipality", {"county"}),
    ("F7", "employment-authority", {"county"}),
    ("F7", "county", {"municipality", "employment-authority"}),
    ("F9", "reception-centre", {"municipality", "county"}),
    ("F10", "municipality", {"municipality"}),
    ("F10", "county", {"county"}),
    ("F11", "county", {"municipality", "development-centre"}),
    ("F12", "county", {"municipality"}),
]


@pytest.mark.parametrize(("code", "provider", "requesters"), FLOWS, ids=[f"{row[0]} from {row[1]}" for row in FLOWS])
def test_flow_goes_between_the_roles_of_the_field(
    rulebook: Rulebook, code: str, provider: str, requesters: set[str]
) -> None:
    flow = rulebook.flows[code]

    parts = [part for part in (*flow.deliveries, *flow.asked) if provider in part.from_roles]

    assert {part.to_role for part in parts} == requesters
    for part in parts:
        assert rulebook.bases_for(provider, part.to_role, part.purpose), (code, part.to_role)


def test_roles_categories_and_permits_are_those_that_the_rest_of_the_node_knows(rulebook: Rulebook) -> None:
    whole = {code for code, category in rulebook.categories.items() if category.parent is None}
    parts = {code: category.parent for code, category in rulebook.categories.items() if category.parent is not None}
    grounds = csv.DictReader(
        (files("schemas") / "fhir-like" / "codes" / "permit-ground.csv").read_text("utf-8").splitlines()
    )

    assert set(rulebook.roles) == {
        "reception-centre",
        "immigration-service",
        "municipality",
        "county",
        "placement-authority",
        "employment-authority",
        "benefits-agency",
        "representative",
        "development-centre",
    }
    assert whole - {"contact-person"} == CATEGORIES
    assert parts == dict(PARTS)
    # A source may state more grounds than a rulebook of the first form could tell apart; the next one knows them all.
    known = {row["code"] for row in grounds}
    assert set(rulebook.permits) < known
    assert set(reference().permits) == known
    assert set(rulebook.roles) < set(reference().roles) == ROLES


def test_special_categories_are_classed_as_such(rulebook: Rulebook) -> None:
    special = {code for code, category in rulebook.categories.items() if category.class_ == "special"}

    assert special == {
        "social-needs",
        "health-needs",
        "child-protection",
        "vulnerability",
        "vulnerability/fact",
    }


#: Act number, the sections that may be named, and its days in force as far as they are sure.
STATUTES: dict[str, tuple[set[str | None], str | None, str | None]] = {
    "1386/2010": (
        {None, "87 § 1 mom.", "87 § 3 mom.", "87 c § 1 mom.", "87 e §", "87 f § 3 mom."},
        "2011-09-01",
        "2024-12-31",
    ),
    "681/2023": (
        {None, "83 § 2 mom.", "85 §", "86 § 2 mom.", "86 § 4 mom.", "87 § 1 mom.", "90 § 6 mom.", "93 §"},
        "2025-01-01",
        None,
    ),
    "(EU) 2016/679": ({"9 art. 2 a", "7 art. 3"}, None, None),
    "615/2020": ({"11 § 1 mom. 7 kohta", "11 § 1 mom. 9 kohta"}, "2020-09-01", None),
    "612/2021": ({None}, "2023-01-01", None),
    "621/1999": ({"26 § 1 mom. 2 kohta"}, None, None),
    "703/2023": ({"54 § 1 mom.", "54 § 2 mom., 56 § 1 mom.", "55 § 2 mom.", "64 § 1 mom."}, "2024-01-01", None),
    "785/1992": ({"13 § 3 mom."}, None, "2023-12-31"),
    "812/2000": ({"20 § 1 mom."}, None, "2023-12-31"),
    "906/2019": ({None}, None, None),
}


def test_statutes_are_cited_only_as_far_as_they_are_sure(rulebook: Rulebook) -> None:
    for basis in rulebook.bases:
        assert basis.statute is not None
        sections, first, last = STATUTES[basis.statute.number]
        assert basis.statute.section in sections, basis.id
        if first is not None:
            assert basis.starts is not None, basis.id
            assert basis.starts >= date.fromisoformat(first), basis.id
        if last is not None:
            assert basis.ends is not None, basis.id
            assert basis.ends <= date.fromisoformat(last), basis.id


def test_every_basis_has_examples_that_permit_and_that_refuse(rulebook: Rulebook) -> None:
    for basis in rulebook.bases:
        own = [example for example in rulebook.examples if example.basis == basis.id]
        permits = [one for one in own if one.permitted and basis.id in carried(outcome(rulebook, one))]
        assert permits, f"{basis.id} carries nothing in its own examples"
        assert any(one.withheld for one in own), f"{basis.id} refuses nothing in its own examples"


def carried(decision: Decision) -> set[str]:
    return {one.basis for one in decision.permitted}


def test_every_example_comes_out_as_written(rulebook: Rulebook) -> None:
    worked = 0
    for example in rulebook.examples:
        permitted = outcome(rulebook, example).permitted_categories
        assert all(rulebook.covers(permitted, one) for one in example.permitted), example
        assert not any(rulebook.covers(permitted, one) for one in example.withheld), example
        worked += 1
    assert worked >= 90


def test_prohibitions_beat_every_basis_for_the_people_they_protect(
    rulebook: Rulebook, decide_for: Callable[..., Decision]
) -> None:
    for basis in rulebook.bases:
        if basis.id == "contact-directory":
            continue
        for purpose in basis.purposes:
            for party, described in rulebook.parties.items():
                if described["role"] in basis.requesters:
                    pending = decide_for("p08-pending-permit", party, purpose)
                    assert not pending.permitted, (basis.id, party)


def test_who_stands_in_an_example_of_the_reference_has_a_name_in_each_language() -> None:
    parties = reference().parties
    for language in ("fi", "sv", "en"):
        assert len({party["title"][language] for party in parties.values()}) == len(parties)


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 64))
MERGED = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 64))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "this is not a rulebook"),
        (b"- a\n- b\n", "this is not a rulebook"),
        (b"HETU;NIMI\n010190-900P;Aino\n", "this is not a rulebook"),
        (b"a: 010190-900P\na: 010190-901R\n", "a key stands twice"),
        (BOMB.encode(), "more than a rulebook can"),
        (MERGED.encode(), "more than a rulebook can"),
        (b"a: &a [*a]\n", "within what it stands for"),
        (b"a: " + b"[" * 50_000, "maximum depth"),
        (b"a: " + b"{a: " * 100 + b"1" + b"}" * 100, "maximum depth"),
        (b"? [a, b]\n: 1\n", "no rulebook has"),
        (b"a: 2026-13-45\n", "no rulebook has"),
        (b"a: .nan\n", "no rulebook has"),
        (b"a: " + b"1" * 10_000, "no rulebook has"),
        (b'a: "\\ud800"\n', "not UTF-8"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"a: !!python/object:os.system x\n", "not YAML"),
        (b"rulebook: 99999999999999999999999999\n", "/rulebook"),
        (b"1: a\n2: b\n", "were unexpected"),
    ],
)
def test_no_text_makes_the_loader_fail_otherwise_than_by_saying_so(text: bytes, said: str) -> None:
    with pytest.raises(RulebookError) as error:
        load(text)

    assert said in str(error.value), str(error.value)[:500]
    assert "010190" not in str(error.value)


def test_bases_that_speak_of_everything_at_once_are_refused() -> None:
    roles = "".join(f"  role-{number}: {{fi: a, sv: b, en: c}}\n" for number in range(450))
    named = ", ".join(f"role-{number}" for number in range(450))
    text = TEXT.replace("roles:\n", "roles:\n" + roles, 1).replace(
        "providers: [reception-centre, immigration-service, placement-authority]\n    requesters: [municipality]",
        f"providers: &all [reception-centre, {named}]\n    requesters: *all",
        1,
    )

    with pytest.raises(RulebookError, match="more roles and purposes than a rulebook can") as error:
        load(text.encode())

    assert error.value.faults[0].pointer == "/bases/0"
