"""What the acts give whom, asked of a running node over HTTP: case by case, with the provision in the answer.

The tables beside this file hold the cases: `law.csv` what was once decided otherwise than the acts say,
`law_hostile.csv` what lies at their edges. What goes beside them (words, handovers, pages)
stands below as tests of its own.
"""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consent.law import Case
from consent.rulebook import load, reference_rulebook
from tests.e2e.conftest import Stage, network

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

RULEBOOK = load(reference_rulebook(), source="reference")
#: Parties that the examples of the rulebook do without.
PARTIES = {
    **RULEBOOK.parties,
    "mantyharju": {"role": "municipality", "municipalities": ["507"]},
    "lansi-uusimaa": {"role": "county", "counties": ["lansi-uusimaa"]},
    "vantaa-kerava": {"role": "county", "counties": ["vantaa-kerava"]},
}
LANGUAGES = ("fi", "sv", "en")


def rows() -> Iterator[dict[str, str]]:
    for name in ("law.csv", "law_hostile.csv"):
        lines = (Path(__file__).parent / name).read_text("utf-8").splitlines()
        yield from csv.DictReader((line for line in lines if not line.startswith("#")), delimiter=";")


ROWS = list(rows())


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with network(tmp_path_factory.mktemp("law")) as running:
        yield running


def stated(name: str) -> dict[str, Any]:
    party = PARTIES[name]
    territory = {kind: list(party.get(kind, ())) for kind in ("municipalities", "counties")}
    return {"role": party["role"], "member": name, **territory}


def facts_of(person: Case, changes: str) -> dict[str, Any]:
    """The facts of a person, changed by `name=value`; a name without a value is no longer known."""
    facts = {name: value for name in person.facts.__slots__ if (value := getattr(person.facts, name)) is not None}
    for change in changes.split():
        name, _, value = change.partition("=")
        facts.pop(name, None)
        if value:
            facts[name] = {"true": True, "false": False}.get(value, int(value) if name == "age" else value)
    return facts


def said(text: str, purpose: str) -> list[dict[str, Any]]:
    """A word of the person: its kind, to whom and about what; without these to all and about everything."""
    if not text:
        return []
    kind, *narrowed = text.split()
    word: dict[str, Any] = {"kind": kind, "status": "refused" if kind == "prohibition" else "active"}
    if narrowed:
        word |= {"recipients": [narrowed[0]], "categories": narrowed[1].split("+")}
    if kind != "prohibition":
        word["purposes"] = [purpose]
    return [word]


def case_of(row: dict[str, str]) -> dict[str, Any]:
    """A row as the case that a client puts."""
    person = RULEBOOK.cases[row["person"]]
    document: dict[str, Any] = {
        "purpose": row["purpose"],
        "provider": stated(row["from"]),
        "requester": stated(row["to"]),
        "facts": facts_of(person, row["facts"]),
        "consents": [*map(dict, person.consents), *said(row["said"], row["purpose"])],
        "categories": [part.partition("=")[0] for part in row["expected"].split("|")],
        "at": f"{row['on']}T12:00:00Z",
    }
    if row["how"] == "emergency":
        document["emergency"] = {"justification": "worked example"}
    elif row["how"] != "query":
        document |= {"way": "handover", "asked": row["how"] == "asked"}
    return document


def found(advice: dict[str, Any]) -> dict[str, str]:
    """Of each category the provision by which it moves, or the reason for which it does not."""
    decision = advice["decision"]
    outcome = {held["category"]: held["code"] for held in decision["withheld"]}
    for permitted in decision["permitted"]:
        basis = RULEBOOK.basis(permitted["basis"])
        assert basis is not None
        assert basis.source is not None
        outcome[permitted["category"]] = str(basis.source.provision)
        # Whoever reads the answer reads the provision in their own language.
        for language in LANGUAGES:
            assert basis.cited(language) in advice["explanation"][language]
    return outcome


def put(stage: Stage, row: dict[str, str]) -> dict[str, Any]:
    answer = asyncio.run(stage.call("kotka", "POST", "/v1/decisions", case_of(row), expect=200))
    assert answer["body"]["rulebook"]["digest"] == RULEBOOK.digest
    (advice,) = answer["body"]["decisions"]
    return advice


@pytest.mark.parametrize("row", ROWS, ids=[row["what"] for row in ROWS])
def test_case_goes_as_the_act_says_and_the_answer_names_the_provision(stage: Stage, row: dict[str, str]) -> None:
    outcome = found(put(stage, row))

    expected = dict(part.split("=", 1) for part in row["expected"].split("|"))
    assert {category: outcome.get(category) for category in expected} == expected
