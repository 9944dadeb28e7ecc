"""Problems: every code is told in three languages, and no answer says more than it should."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.decided import DecisionSummary
from gateway.wire.problem_table import PROBLEMS
from gateway.wire.problems import CONTENT_TYPE, TYPE_PREFIX, ProblemError, to_problem_json
from texts import LANGUAGES

ALL = sorted(PROBLEMS)


@pytest.mark.parametrize("code", ALL)
def test_every_problem_has_a_title_in_three_languages(code: str) -> None:
    title = PROBLEMS[code].title
    texts = [title.in_language(language) for language in LANGUAGES]
    assert texts == [title.fi, title.sv, title.en]
    assert len(set(texts)) == 3
    for text in texts:
        assert text == text.strip()
        assert len(text) >= 8
        assert text[0].isupper() or text.startswith("eID")
        assert not text.endswith(".")


@pytest.mark.parametrize("code", ALL)
def test_every_problem_has_a_code_an_http_status_and_a_type_that_x_road_clients_know(code: str) -> None:
    problem = PROBLEMS[code]
    assert problem.code == code
    assert re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)*", code)
    assert 400 <= problem.status <= 599
    assert re.fullmatch(r"Client\.[A-Za-z]+|Server\.(?:Client|Server)Proxy\.[A-Za-z]+", problem.xroad_type)


def test_no_two_problems_have_the_same_title() -> None:
    for language in LANGUAGES:
        titles = [problem.title.in_language(language) for problem in PROBLEMS.values()]
        assert len(set(titles)) == len(titles)


def test_a_server_fault_is_never_blamed_on_the_clients_request() -> None:
    blamed = [code for code, one in PROBLEMS.items() if one.status >= 500 and one.xroad_type.startswith("Client.")]
    assert blamed == []


def test_an_unknown_code_is_refused_where_it_is_written() -> None:
    with pytest.raises(KeyError):
        ProblemError("no-such-problem")


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        PROBLEMS["new"] = PROBLEMS["invalid-json"]  # type: ignore[index]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_bare_problem_has_the_standard_members_and_its_code(language: str) -> None:
    assert CONTENT_TYPE == "application/problem+json"
    error = ProblemError("invalid-json")
    assert json.loads(to_problem_json(error, language)) == {
        "type": TYPE_PREFIX + "invalid-json",
        "title": error.problem.title.in_language(language),
        "status": 400,
        "code": "invalid-json",
    }
    assert str(error) == f"invalid-json: {error.problem.title.en}"


def test_a_full_problem_says_where_what_how_and_when_again() -> None:
    decision = DecisionSummary(
        "0190f3f0", "sha-256=:x:", frozenset({"identity", "contact"}), (("health-needs", "consent-missing"),)
    )
    error = ProblemError(
        "claim-invalid", pointer="/cat", detail="too many", remedy="ask for fewer", retry_after=0, decision=decision
    )
    document = json.loads(to_problem_json(error, "sv"))
    assert list(document)[:4] == ["type", "title", "status", "code"]
    assert document["title"] == PROBLEMS["claim-invalid"].title.sv
    assert document["detail"] == "too many"
    assert document["pointer"] == "/cat"
    assert document["remedy"] == "ask for fewer"
    assert document["retry_after"] == 0
    assert document["decision"] == {
        "id": "0190f3f0",
        "permitted": ["contact", "identity"],
        "withheld": {"health-needs": "consent-missing"},
    }
    assert error.status == document["status"]
    assert str(error) == "claim-invalid: too many"


def test_a_pointer_to_the_whole_input_is_kept() -> None:
    assert json.loads(to_problem_json(ProblemError("invalid-json", pointer="")))["pointer"] == ""


@pytest.mark.parametrize(("tag", "same"), [("fi-FI", "fi"), ("SV", "sv"), ("sv-FI", "sv"), ("ar", "en"), ("", "en")])
def test_the_title_follows_the_language_tag_and_falls_back_to_english(tag: str, same: str) -> None:
    error = ProblemError("claim-missing")
    assert to_problem_json(error, tag) == to_problem_json(error, same)


@given(
    st.sampled_from(ALL),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_whatever_a_problem_says_its_rendering_is_json_in_utf8(code: str, detail: str, remedy: str) -> None:
    document = json.loads(to_problem_json(ProblemError(code, detail=detail, remedy=remedy)).decode("utf-8"))
    assert document.get("detail", "") == detail
    assert document.get("remedy", "") == remedy
    assert document["status"] == PROBLEMS[code].status
