"""The next reference at a running node: what the acts give whom, asked over HTTP, row by row of the same table.

Each row of `tests/consent/law.csv` is a case that is put to the node, with the provision by which a category moves, or
the reason for which it does not.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from consent.rulebook import Rulebook, load, next_rulebook
from gateway.demo import network as demo
from gateway.registry.run.authority import Authority
from tests.gateway.running import Running, running

RULEBOOK = load(next_rulebook(), source="next")
TABLE = Path(__file__).parents[2] / "consent" / "law.csv"


def with_next_rulebook(network: demo.Network) -> None:
    """The network's authority publishes the next reference before a node has started."""
    authority = Authority(network.folder / "authority", network.passphrase.encode())
    authority.publish(replace(authority.content(), rulebook=next_rulebook()), datetime.now(UTC))


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("law"), nodes=("kotka",), prepare=with_next_rulebook) as found:
        yield found


def stated(name: str) -> dict[str, Any]:
    party = RULEBOOK.parties[name]
    territory = {kind: list(party.get(kind, ())) for kind in ("municipalities", "counties")}
    return {"role": party["role"], "member": name, **territory}


def case_of(row: dict[str, str]) -> dict[str, Any]:
    """A row as the case that a client puts."""
    person = RULEBOOK.cases[row["case"]]
    facts = {name: value for name in person.facts.__slots__ if (value := getattr(person.facts, name)) is not None}
    document: dict[str, Any] = {
        "purpose": row["purpose"],
        "provider": stated(row["from"]),
        "requester": stated(row["to"]),
        "facts": facts,
        "consents": [dict(word) for word in person.consents],
        "categories": [row["category"]],
        "at": f"{row['on']}T12:00:00Z",
    }
    if row["how"] == "emergency":
        document["emergency"] = {"justification": "worked example"}
    elif row["how"] != "query":
        document |= {"way": "handover", "asked": row["how"] == "asked"}
    return document


def rows() -> Iterator[dict[str, str]]:
    lines = TABLE.read_text("utf-8").splitlines()
    yield from csv.DictReader(line for line in lines if not line.startswith(("#", '"#')))


def found(rulebook: Rulebook, decision: dict[str, Any], category: str) -> set[str]:
    """The provisions by which a category moves, else the reason for which it does not."""
    bases = [rulebook.basis(permitted["basis"]) for permitted in decision["permitted"]]
    cited = {str(basis.source.provision) for basis in bases if basis is not None and basis.source is not None}
    return cited or {held["code"] for held in decision["withheld"] if held["category"] == category}


async def test_node_decides_every_row_of_the_law_as_the_acts_say(nodes: Running) -> None:
    wrong = []
    count = 0
    async with nodes.client("kotka") as session:
        for row in rows():
            async with session.post("/v1/decisions", json=case_of(row)) as answer:
                body = await answer.json()
                assert answer.status == 200, (row, body)
            assert body["rulebook"]["digest"] == RULEBOOK.digest
            (advice,) = body["decisions"]
            outcome = found(RULEBOOK, advice["decision"], row["category"])
            count += 1
            if outcome != {row["expected"]}:
                wrong.append((row, outcome))

    assert wrong == []
    assert count > 90


async def test_handover_is_decided_by_the_standing_requests_of_the_registry(nodes: Running) -> None:
    row = {"case": "p01-asylum-adult", "from": "centre", "to": "kotka", "purpose": "reception-to-municipality",
           "on": "2026-03-01", "how": "sent", "category": "housing"}  # fmt: skip
    document = case_of(row)
    document["requester"] = {"subsystem": str(nodes.party("kotka").subsystem)}

    async with nodes.client("kotka") as session, session.post("/v1/decisions", json=document) as answer:
        (advice,) = (await answer.json())["decisions"]

    assert {held["code"] for held in advice["decision"]["withheld"]} == {"nobody-asked"}
    assert "pysyvän pyynnön" in advice["explanation"]["fi"]
