"""What comes with data follows from the bases that carried what was there, and from nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from audit.questions.subjects import Subject
from consent.deciding.examples import decide_case
from consent.deciding.verdicts import Decision, PermittedCategory
from consent.rulebook import load, reference_rulebook
from consent.rules.law import Period, Rulebook
from consent.rules.provisions import Provision
from consent.rules.request import Way
from gateway.obligations.arising import Moved, retained_until, tells
from gateway.wire.identifiers import MemberId, SubsystemId

BOOK = load(reference_rulebook(), source="reference")
#: Two bases that carry something each, and for how many years it may be kept.
FIRST, SECOND = "placement-municipality", "assessment-municipality"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WORDS = dict.fromkeys(("fi", "sv", "en"), "–")
IDENTITY, HOUSING = frozenset({"identity"}), frozenset({"housing"})


def book(years: Mapping[str, int], but: Iterable[str] = ()) -> Rulebook:
    """The reference, with these bases keeping for so many years; the first leaves out what is named."""
    periods = {
        basis: Period(basis, WORDS, Provision.parse("615/2020 15"), count, frozenset(but if basis == FIRST else ()))
        for basis, count in years.items()
    }
    bases = tuple(
        replace(basis, obligations=frozenset({"retain-at-most"}), retention=basis.id) if basis.id in periods else basis
        for basis in BOOK.bases
    )
    return replace(BOOK, retention=periods).with_bases(bases)


def decision() -> Decision:
    made = decide_case(
        BOOK, BOOK.cases["p01-asylum-adult"], provider="centre", requester="kotka", purpose="reception-to-municipality",
        on=date(2026, 3, 1), way=Way.HANDOVER, asked=True,
    )  # fmt: skip
    return replace(made, permitted=(PermittedCategory("identity", FIRST), PermittedCategory("housing", SECOND)))


def moved(rulebook: Rulebook, categories: frozenset[str]) -> Moved:
    member = MemberId.parse("FI-DEMO/GOV/9000001-1")
    return Moved(
        decision=decision(), rulebook=rulebook, categories=categories, facts=None, subject=Subject("s", "p", bytes(32)),
        under=(), named=(), ours=member, party=SubsystemId(member, "x"), message="m",
        purpose="reception-to-municipality",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("years", "but", "there", "last"),
    [
        ({FIRST: 2, SECOND: 5}, (), IDENTITY | HOUSING, 2028),
        ({FIRST: 5, SECOND: 2}, (), IDENTITY | HOUSING, 2028),
        ({FIRST: 2, SECOND: 5}, (), HOUSING, 2031),
        ({FIRST: 2}, ("identity",), IDENTITY, None),
        ({SECOND: 5}, (), IDENTITY, None),
    ],
    ids=["first ends first", "second ends first", "first carried nothing", "what the time leaves out", "not carried"],
)
def test_content_ends_with_the_first_time_of_what_was_there(
    years: dict[str, int], but: tuple[str, ...], there: frozenset[str], last: int | None
) -> None:
    assert retained_until(moved(book(years, but), there), NOW) == (None if last is None else date(last, 3, 1))


def test_rulebook_that_says_no_obligations_ends_nothing() -> None:
    silent = replace(book({FIRST: 2}), obligations={})

    assert retained_until(moved(silent, IDENTITY), NOW) is None


@pytest.mark.parametrize(("is_hidden", "is_told"), [(False, True), (True, False)])
def test_nobody_says_that_they_tell_a_person_who_must_not_be_told(is_hidden: bool, is_told: bool) -> None:
    made = decide_case(
        BOOK, BOOK.cases["p10-consents-to-contact"], provider="kotka", requester="tampere", purpose="onward-move",
        on=date(2026, 3, 1), way=Way.HANDOVER,
    )  # fmt: skip
    asked = frozenset(made.obligations) | ({"hide-from-subject"} if is_hidden else set())

    assert tells(replace(made, obligations=tuple(sorted(asked))), BOOK) is is_told


def test_holder_that_gave_by_right_says_not_that_it_tells() -> None:
    by_right = replace(decision(), permitted=(PermittedCategory("identity", FIRST),))

    assert not tells(by_right, BOOK)
