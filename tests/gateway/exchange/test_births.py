"""A birth of which only the year, or the year and month, is known: whatever depends on the age, the safe side counts.

What is decided is held against what would be decided on each day that the person may have been born on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from consent.deciding.decision import decide
from consent.deciding.said import Asked, Said
from consent.deciding.verdicts import Decision
from consent.rulebook import load, reference_rulebook
from consent.rules.conditions import CONDITIONS
from consent.rules.law import Rulebook
from consent.rules.request import Party, Request, SubjectFacts
from consent.words.consents import ConsentRecord, Stamp, WordStatus
from consent.words.givers import Giver
from consent.words.reading import ConsentError
from gateway.exchange.deciding import facts_in
from gateway.obligations.arising import care_of
from gateway.obligations.tasks import Care
from schemas.facts import days_of
from tests.properties import examples
from tests.schemas.test_examples import example

OF_AGE = [name for name, condition in CONDITIONS.items() if condition.needs == "age"]
GIVERS: tuple[dict[str, Any], ...] = (
    {"kind": "self"},
    {"kind": "self", "able_to_decide": True},
    {"kind": "guardian"},
    {"kind": "guardian", "minor_opinion": "agrees"},
    {"kind": "guardian", "mandate_until": "2060-01-01", "personal_matters": True, "able_to_decide": False},
    {"kind": "representative", "mandate_until": "2060-01-01"},
)
ASKED = st.dates(date(2026, 3, 1), date(2040, 12, 31))


@st.composite
def births(draw: st.DrawFn) -> tuple[str, datetime]:
    """A year, or a year and month, of a birth, and a moment after it: often where an age is reached that matters."""
    at = datetime.combine(draw(ASKED), time(10), UTC)
    year = at.year - draw(st.sampled_from([0, 1, 10, 11, 12, 13, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 40, 110]))
    if draw(st.booleans()) and year < at.year:
        return f"{year}", at
    month = draw(st.integers(1, at.month if year == at.year else 12))
    return f"{year}-{month:02}", at


@lru_cache(4096)
def facts(birth: str, at: datetime) -> SubjectFacts:
    """What is decided on, of the unaccompanied minor of the examples, were they born then."""
    bundle = example("F6")
    bundle["entry"][0]["resource"]["birthDate"] = birth
    return facts_in(bundle, "kymenlaakso", at)


def each(birth: str, at: datetime) -> set[SubjectFacts]:
    """The same for each day that the birth can have been on."""
    days = days_of(birth)
    assert days.first is not None
    assert days.last is not None
    last = min(days.last, at.date())
    span = [days.first + timedelta(days=number) for number in range((last - days.first).days + 1)]
    return {facts(day.isoformat(), at) for day in span}


@examples(200)
@given(births())
def test_condition_answers_what_it_would_on_every_day_of_the_birth_and_else_nothing(case: tuple[str, datetime]) -> None:
    birth, at = case
    possible = each(birth, at)
    for name in OF_AGE:
        answers = {_answer(name, whole) for whole in possible}

        assert _answer(name, facts(birth, at)) is (answers.pop() if len(answers) == 1 else None), name
    assert (Care.MINOR in care_of(facts(birth, at))) is any(Care.MINOR in care_of(whole) for whole in possible)


def _answer(name: str, known: SubjectFacts) -> bool | None:
    return CONDITIONS[name].holds(Request(Party("a"), Party("b"), "", frozenset(), known))


@examples(200)
@given(births(), st.sampled_from(GIVERS), st.integers(0, 30), st.integers(0, 14))
def test_word_counts_only_if_it_would_on_every_day_of_the_birth(
    case: tuple[str, datetime], giver: dict[str, Any], subject_age: int, years: int
) -> None:
    birth, at = case
    said_at = at - timedelta(days=366 * years)
    words = list(_words(giver, subject_age, said_at))
    partly = [_counts(word, facts(birth, at), at) for word in words]
    wholly = [[_counts(word, whole, at) for whole in each(birth, at)] for word in words]

    for word, found, days in zip(words, partly, wholly, strict=True):
        # A permission carries if it would on all days; a prohibition that was taken back stands if it would on any.
        assert found is (all(days) if word[0].carries else any(days)), (word, birth, at)


def _words(giver: dict[str, Any], age: int, at: datetime) -> Iterator[list[ConsentRecord]]:
    stamp = Stamp("w-1", "s", "FI-DEMO/GOV/1/centre", at)
    form = {"language": "ti", "given_by": giver, "subject_age": age}
    with suppress(ConsentError):  # with this age nobody would have taken it
        yield [ConsentRecord.from_form(form | {"kind": "permission", "whole": True}, stamp)]
    forbidden = ConsentRecord.from_form({"kind": "prohibition", "language": "ti"}, stamp)
    yield [forbidden.ended(WordStatus.WITHDRAWN, at, stamp.recorded_by).taken_back_by(Giver.read(giver))]


def _counts(words: list[ConsentRecord], known: SubjectFacts, at: datetime) -> bool:
    asked = Asked("FI-DEMO/GOV/1", "county", "m", "reception-to-county", at.date(), known.ages, known.unaccompanied)
    said = Said(words, asked, rulebook())
    if words[0].carries:
        return isinstance(said.word_for("health-needs"), ConsentRecord)
    return said.prohibition_of("health-needs") is not None


@cache
def rulebook() -> Rulebook:
    return load(reference_rulebook(), source="reference")


@cache
def triples() -> list[tuple[str, str, str]]:
    """From whom, to whom and for what something is given that depends on an age."""
    of_age = [basis for basis in rulebook().bases if not set(OF_AGE).isdisjoint(basis.conditions)]
    return sorted({flow for basis in of_age for flow in product(basis.providers, basis.requesters, basis.purposes)})


@examples(200, deadline=None)
@given(births(), st.sampled_from(range(len(triples()))))
def test_nothing_is_given_that_would_not_be_on_every_day_of_the_birth_and_all_that_would_is(
    case: tuple[str, datetime], number: int
) -> None:
    birth, at = case
    flow = triples()[number]
    wholly = [_decided(flow, whole, at) for whole in each(birth, at)]
    partly = _decided(flow, facts(birth, at), at)

    assert _given(partly) == frozenset.intersection(*(_given(decision) for decision in wholly)), (flow, birth, at)


def _decided(flow: tuple[str, str, str], known: SubjectFacts, at: datetime) -> Decision:
    provider, requester, purpose = flow
    parties = [
        Party(role, f"FI-DEMO/X/{number}", frozenset({"285"}), frozenset({"kymenlaakso"}))
        for number, role in enumerate((provider, requester))
    ]
    request = Request(parties[0], parties[1], purpose, frozenset(rulebook().categories), known)
    return decide(request, rulebook(), (), at)


def _given(decision: Decision) -> frozenset[str]:
    return frozenset(item.category for item in decision.permitted)


def test_ages_are_told_as_two_where_the_record_leaves_two_open() -> None:
    at = datetime(2026, 11, 28, 10, tzinfo=UTC)

    assert facts("1990", at).ages == (35, 36)
    assert facts("1990-11", at).ages == (35, 36)
    assert facts("1990-10", at).ages == (36,)
    assert facts("1990-12", at).ages == (35,)
    assert facts("1990", at.replace(month=12, day=31)).ages == (36,)
    assert facts("2026", at).ages == (0,)
    assert facts("1990-11-29", at).ages == (35,)
