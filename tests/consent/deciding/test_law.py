"""Who gets what of whom by which provision, and what no provision gives: the reference held against the acts."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consent.checking.coverage import cover
from consent.checking.difference import Strength, differences
from consent.checking.explaining import explain
from consent.checking.report import of_differences
from consent.rulebook import checked
from consent.rules.document import RulebookError
from consent.rules.law import Mode, Word
from tests.consent.second_form import basis, book, decided, document, reference, sections, why

HAND = {"way": "handover", "asked": True}

HOW: dict[str, dict[str, Any]] = {
    "query": {},
    "sent": {"way": "handover"},
    "asked": HAND,
    "emergency": {"emergency": True},
}


def _rows() -> Iterator[dict[str, str]]:
    """Case, from, to, purpose, day, how it goes, category, and the provision that gives it or the reason why none does.

    `sent` is a handover without a standing request of the recipient, `asked` one with all that it can make.
    """
    lines = (Path(__file__).parent / "law.csv").read_text("utf-8").splitlines()
    yield from csv.DictReader(line for line in lines if not line.startswith(("#", '"#')))


ROWS = list(_rows())


@pytest.mark.parametrize("row", ROWS, ids=[" ".join(row.values()) for row in ROWS])
def test_category_moves_by_the_provision_that_gives_it_or_is_withheld_for_the_reason_that_is_true(
    row: dict[str, str],
) -> None:
    decision = decided(
        row["case"],
        row["from"],
        row["to"],
        row["purpose"],
        row["on"],
        categories=frozenset({row["category"]}),
        **HOW[row["how"]],
    )

    found = sections(decision, row["category"])
    assert (found or {why(decision, row["category"])}) == {row["expected"]}


def test_no_moment_of_the_disclosure_chapter_is_unaccounted_for() -> None:
    for number in ("681/2023", "1386/2010", "746/2011", "615/2020", "703/2023"):
        assert cover(reference(), number).missing == ()

    chapter = cover(reference(), "681/2023")
    assert {moment.provision.section for moment in chapter.moments} >= {str(section) for section in range(72, 95)}
    assert chapter.unread  # 721/2025 is known by its list of sections only, and is told with each of them
    assert chapter.act.eli is not None


def test_every_basis_opens_to_its_source() -> None:
    for given in reference().bases:
        assert given.source is not None, given.id
        assert given.source.gdpr, given.id
        assert given.source.read_on is not None or given.source.amended_unread, given.id
        assert given.gives is not None
        assert given.reviewed is False
        assert all(given.cited(language) for language in ("fi", "sv", "en"))
        assert (given.mode is Mode.BY_WORD) == given.needs_word, given.id


def test_statutory_basis_without_a_source_does_not_load() -> None:
    alone = _with_one_basis()
    del alone["bases"][0]["source"]
    with pytest.raises(RulebookError) as told:
        checked(replace(document(), values=alone), "sha-256:alone", "alone")
    assert told.value.faults[0].pointer == "/bases/0"

    alone["bases"][0]["sourceless"] = True
    assert checked(replace(document(), values=alone), "sha-256:alone", "alone").bases[0].source is None


def test_prohibitions_name_their_section_and_stand_above_no_emergency() -> None:
    emergencies = [basis for basis in reference().bases if basis.emergency]
    assert emergencies
    for prohibition in reference().prohibitions:
        assert prohibition.source is not None
        assert not any(prohibition.stops(basis) for basis in emergencies)


def test_nothing_speaks_of_the_shared_plan_that_never_came_into_force() -> None:
    words = [*reference().purposes.values(), *(basis.title for basis in reference().bases)]
    words += [basis.gives for basis in reference().bases if basis.gives and basis.starts and basis.starts.year >= 2025]
    assert not any("monialai" in one["fi"] or "sektorsövergripande" in one["sv"] for one in words)


def test_protected_address_goes_to_an_authority_whose_task_needs_it_with_the_mark_only() -> None:
    marked = decided("p07-safety-prohibition", "centre", "kotka", "reception-to-municipality", **HAND)
    ordinary = decided("p01-asylum-adult", "centre", "kotka", "reception-to-municipality", **HAND)
    assert {"contact", "move"} <= marked.permitted_categories
    assert "no-onward-disclosure" in marked.obligations
    assert "no-onward-disclosure" not in ordinary.obligations

    person = replace(reference().cases["p21-sent-to-training"].facts, safety_prohibition=True)
    from consent.deciding.examples import decide_case

    case = replace(reference().cases["p21-sent-to-training"], facts=person)
    for_producer = decide_case(
        reference(), case, provider="kotka", requester="producer", purpose="training", on=_march()
    )
    assert not {"contact", "contact/telecom", "move"} & for_producer.permitted_categories
    assert why(for_producer, "move") == "prohibited"


def test_what_the_nodes_carry_out_is_promised() -> None:
    decision = decided("p01-asylum-adult", "centre", "kotka", "reception-to-municipality", **HAND)
    text = explain(decision, reference(), "fi")

    assert "notify-subject" in decision.obligations
    assert "saaja kertoo henkilölle tietojen saamisesta" in text
    assert "luovutetaan vain välttämätön" in text


@pytest.mark.parametrize(
    ("language", "said", "not_said"),
    [
        ("fi", ["1.3.2026", "2026-11-28", "laki kotoutumisen edistämisestä (681/2023), 83 § 2 mom.",
                "6 artiklan 1 kohdan c alakohta ja 9 artiklan 2 kohdan g alakohta", "saajan pysyvän pyynnön",
                "haavoittuvasta asemasta saa kertoa vain, onko se todettu"],
         ["alkukartoitus", "osoittaminen", "kielto"]),
        ("sv", ["1.3.2026", "lagen om främjande av integration (681/2023), 83 § 2 mom.", "artikel 6.1 c",
                "hälso- och sjukvård"], ["laki ", "Utlämnare", "i kraft till "]),
        ("en", ["1 March 2026", "Act on the Promotion of Integration (681/2023), section 83(2)",
                "Article 6(1)(c) and Article 9(2)(g)"], ["laki ", "86 §"]),
    ],
)  # fmt: skip
def test_paragraph_is_one_that_a_lawyer_could_sign(language: str, said: list[str], not_said: list[str]) -> None:
    decision = decided(
        "p01-asylum-adult",
        "centre",
        "kotka",
        "reception-to-municipality",
        categories=reference().flows["F1"].deliveries[0].categories,
        **HAND,
    )

    text = explain(decision, reference(), language)

    for words in said:
        assert words in text
    for words in not_said:
        assert words not in text
    permitted = reference().categories["education"].title[language]
    assert text.count(permitted) == 1
    assert text.index(reference().categories["identity"].title[language]) < text.index(permitted)


def test_change_from_a_right_to_the_persons_word_is_told_as_the_change_that_it_is() -> None:
    right = basis("right", categories=frozenset({"health", "contact"}))
    by_word = replace(right, mode=Mode.BY_WORD, word=Word.CONSENT)

    found = differences(book(right), book(by_word))

    [group] = found.groups()
    assert (group.was, group.becomes) == (Strength.RIGHT, Strength.WORD)
    assert (group.old_bases, group.new_bases) == (("right",), ("right",))
    assert group.points == sum(len(change.permits) for change in found.changes) > 4
    assert "right → word" in of_differences(found).html()


def _with_one_basis() -> Any:
    """The reference with one basis only, of which nothing else speaks."""
    values = document().values
    return {**values, "bases": [dict(values["bases"][0])], "flows": {}, "prohibitions": [], "gaps": [], "without": []}


def _march() -> Any:
    from datetime import date

    return date(2026, 3, 1)


@pytest.mark.parametrize(
    ("case", "sides", "purpose", "how", "said", "unsaid"),
    [
        # A child-welfare notice and urgent help stand on acts that ask for no permit.
        ("p04-child-without-permit", ("centre", "kymenlaakso"), "child-welfare-notice", {"way": "handover"},
         "mikään säännös", "oleskelulupa."),
        ("p13-unconscious", ("centre", "kymenlaakso"), "service-need-lookup", {"emergency": True},
         "hätätilanteeseen", "jolla on oleskelulupa"),
        ("p08-pending-permit", ("centre", "kotka"), "reception-to-municipality", {}, "jolla on oleskelulupa", "ehto"),
        # That only the fact of a vulnerable position is told, is said where it is told.
        ("p01-asylum-adult", ("centre", "kotka"), "reception-to-municipality", HAND, "vain, onko se todettu", "x x"),
        ("p18-social-assistance", ("kela", "kotka"), "combined-notice", {"way": "handover"}, "mikään säännös",
         "vain, onko se todettu"),
    ],
)  # fmt: skip
def test_reason_of_the_rulebook_is_told_where_it_is_the_true_one(
    case: str, sides: tuple[str, str], purpose: str, how: dict[str, Any], said: str, unsaid: str
) -> None:
    text = explain(decided(case, *sides, purpose, **how), reference(), "fi")

    assert said in text
    assert unsaid not in text
