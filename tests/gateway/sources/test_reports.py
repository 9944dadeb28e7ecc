"""Why a record was not handed over is said in Finnish, Swedish and English, whatever the problem."""

from __future__ import annotations

import pytest

from adapters.sdk import Mapped, Position
from gateway.person.held import HeldError
from gateway.sources.reports import rejection_line, words_of
from gateway.wire.problem_table import PROBLEMS
from gateway.wire.problems import ProblemError
from texts import LANGUAGES


@pytest.mark.parametrize("code", [*PROBLEMS, "not-mapped"])
def test_every_rejection_speaks_three_languages(code: str) -> None:
    line = rejection_line(Mapped("3", None, {}, (), Position(row=3)), code)

    for part in ("message", "hint"):
        assert set(line[part]) == set(LANGUAGES)
        assert len(set(line[part].values())) == len(LANGUAGES), "each in its own words"
        assert not any("{" in words or not words for words in line[part].values())


def test_record_that_waits_is_told_with_its_id_in_each_language() -> None:
    words = words_of("subject-ambiguous", HeldError("h-77"))

    assert all("h-77" in said for said in words["message"].values())


def test_english_is_what_the_problem_says_itself() -> None:
    problem = ProblemError("record-invalid", pointer="/person/name", detail="it breaks", remedy="mend it")
    words = words_of(problem.code, problem)

    assert (words["message"]["en"], words["hint"]["en"]) == ("it breaks", "mend it")
    assert "/person/name" in words["message"]["fi"]
