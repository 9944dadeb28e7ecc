"""The paragraph that a lawyer reads: complete, in three languages, without a code in it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from consent.checking.explaining import explain
from consent.deciding.examples import decide_case, outcome
from consent.deciding.verdicts import Decision
from consent.rules.conditions import CONDITIONS
from consent.rules.law import Case, Rulebook
from consent.rules.request import SubjectFacts
from tests.consent.second_form import reference
from texts import LANGUAGES, Catalogue

Decide = Callable[..., Decision]
TEXTS = Catalogue("consent")


def named(kind: str) -> set[str]:
    """The codes of a kind that have a text."""
    return {key.removeprefix(f"{kind}.") for key in TEXTS if key.startswith(f"{kind}.")}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("which", ["in use", "next"])
def test_every_example_is_explained_without_a_code(rulebook: Rulebook, language: str, which: str) -> None:
    rulebook = reference() if which == "next" else rulebook
    codes = {*rulebook.purposes, *CONDITIONS, *(basis.id for basis in rulebook.bases), *named("reasons")}
    # Some codes are also words of the language: only those with a dash cannot be anything else.
    telltale = re.compile(r"(?<![\w-])(" + "|".join(re.escape(one) for one in codes if "-" in one) + r")(?![\w-])")
    for example in rulebook.examples:
        decision = outcome(rulebook, example)
        text = explain(decision, rulebook, language)
        for asked in decision.request.standing:
            text = text.replace(asked.id, "")
        assert text.endswith(".")
        assert not telltale.search(text), text
        assert "_" not in text
        assert "{" not in text


@pytest.mark.parametrize(
    ("language", "phrases"),
    [
        (
            "fi",
            [
                "Luovuttaja: vastaanottokeskus. Saaja: kunta.",
                "681/2023",
                "juristi ei ole vahvistanut",
                "Antamatta jää",
                "Ratkaisu 1.3.2026 säännöstön fi-kotoutuminen",
            ],
        ),
        (
            "sv",
            [
                "Den som lämnar ut uppgifterna: förläggning. Mottagare: kommun.",
                "681/2023",
                "inte bekräftad av jurist",
                "lämnas inte ut",
            ],
        ),
        (
            "en",
            [
                "From: reception centre. To: municipality.",
                "Decided on 1 March 2026",
                "681/2023",
                "not confirmed by a lawyer",
                "Withheld",
            ],
        ),
    ],
)
def test_who_gets_what_by_which_act_and_what_not(
    rulebook: Rulebook, decide_for: Decide, language: str, phrases: list[str]
) -> None:
    text = explain(decide_for("p01-asylum-adult", "kotka", "reception-to-municipality"), rulebook, language)

    for phrase in phrases:
        assert phrase.lower() in text.lower(), text


def test_what_would_have_made_it_permitted_is_said_in_words(rulebook: Rulebook, decide_for: Decide) -> None:
    elsewhere = decide_for("p01-asylum-adult", "tampere", "reception-to-municipality")
    too_early = decide_for("p10-moves-on", "tampere", "plan-revision", provider="kotka", on="2024-12-31")

    assert "pyytäjä on kunta, jossa henkilö asuu tai johon hän muuttaa" in explain(elsewhere, rulebook, "fi")
    assert "where the person lives or moves to" in explain(elsewhere, rulebook, "en")
    assert "muuton yhteydessä" in explain(too_early, rulebook, "fi")
    assert "i samband med flyttningen" in explain(too_early, rulebook, "sv")


def test_facts_that_are_still_needed_are_said_in_words(rulebook: Rulebook) -> None:
    from dataclasses import replace
    from datetime import UTC, datetime

    from consent.deciding.decision import decide
    from consent.rules.request import Party, Request

    request = Request(
        Party("reception-centre"), Party("municipality"), "service-need-lookup", frozenset({"identity"}), None, False
    )
    text = explain(decide(request, rulebook, (), datetime(2026, 3, 1, tzinfo=UTC)), rulebook, "sv")

    assert "grunden för uppehållstillståndet" in text
    assert replace(request, known=True) != request


def test_every_word_that_a_decision_can_need_exists_in_three_languages(rulebook: Rulebook) -> None:
    facts = {*SubjectFacts.__slots__, "consent", "permission"} - {"county"}  # the county follows from the municipality

    assert named("conditions") == set(CONDITIONS)
    assert named("facts") == facts
    assert named("obligation") >= {one for basis in rulebook.bases for one in basis.obligations}


def test_refusal_consent_and_emergency_are_told(rulebook: Rulebook, decide_for: Decide) -> None:
    overridden = decide_for("p06-refuses-all", "kotka", "service-need-lookup")
    consented = decide_for("p09-consent-given", "kotka", "reception-to-municipality")
    emergency = decide_for("p10-moves-on", "kymenlaakso", "service-need-lookup", emergency=True)

    assert "has forbidden the disclosure" in explain(overridden, rulebook)
    assert "by law that does not stop" in explain(overridden, rulebook)
    assert "May be given: social service needs, health service needs." in explain(consented, rulebook)
    assert "by the person's consent" in explain(consented, rulebook)
    assert "rests on an emergency" in explain(emergency, rulebook)


def test_case_without_a_known_municipality_is_withheld_and_says_so(rulebook: Rulebook) -> None:
    from datetime import date

    case = Case(
        "x", {"fi": "", "sv": "", "en": ""}, SubjectFacts(permit_ground="asylum-granted", permit_granted=True), ()
    )
    decision = decide_case(
        rulebook, case, provider="centre", requester="kotka", purpose="reception-to-municipality", on=date(2026, 1, 1)
    )

    assert not decision.permitted
    assert "Nothing of what was asked moves" in explain(decision, rulebook)
