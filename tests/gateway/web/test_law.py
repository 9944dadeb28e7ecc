"""The reference at a running node: what the acts give whom, asked over HTTP, row by row of the same table.

Each row of `tests/consent/deciding/law.csv` is a case that is put to the node, with the provision by which a category
moves, or the reason for which it does not.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from consent.rulebook import load, reference_rulebook
from consent.rules.law import Rulebook
from consent.rules.provisions import Provision
from consent.rules.standing import StandingRequest
from gateway.demo import network as demo
from gateway.keys.credentials import Opening
from gateway.registry.read.asked import signed
from gateway.registry.run.authority import Authority
from gateway.settings import load as load_settings
from gateway.storage.tables import inbox
from tests.gateway.running import Running, running
from tests.waiting import until

RULEBOOK = load(reference_rulebook(), source="reference")
PATH = "/v1/handovers?flow=F1&adapter=reception-centre-csv"
TABLE = Path(__file__).parents[2] / "consent" / "deciding" / "law.csv"


#: What the municipality asks the centre to send it once for all; the county has asked for nothing.
PROVISIONS = ("681/2023 86:1", "681/2023 83:2")


def with_the_reference(network: demo.Network) -> None:
    """The network's authority publishes the reference, and what Kotka asks, before a node has started."""
    authority = Authority(network.folder / "authority", network.passphrase.encode())
    kotka = str(network.parties["kotka"].member)
    opening = Opening()
    signer = opening.signing(load_settings(network.parties["kotka"].config).signing).signer
    assert signer is not None
    asked = tuple(
        signed(
            StandingRequest(
                id=f"kotka-{number}",
                member=kotka,
                role="municipality",
                providers=frozenset({"reception-centre"}),
                provision=Provision.parse(provision),
                purpose="reception-to-municipality",
                categories=frozenset(RULEBOOK.categories) - {"social-needs", "finances"},
                first=date(2025, 1, 1),
            ),
            signer,
        )
        for number, provision in enumerate(PROVISIONS)
    )
    opening.close()
    content = replace(authority.content(), rulebook=reference_rulebook(), standing_requests=asked)
    authority.publish(content, datetime.now(UTC))


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("law")
    with running(folder, nodes=("centre", "kotka", "kymenlaakso"), prepare=with_the_reference) as found:
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
        "consents": [{"given_by": {"kind": "self"}, **word} for word in person.consents],
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


@pytest.mark.parametrize(("to", "code"), [("kymenlaakso", "nobody-asked"), ("kotka", None)])
async def test_supposed_handover_is_decided_by_the_standing_requests_of_the_registry(
    nodes: Running, to: str, code: str | None
) -> None:
    county = to == "kymenlaakso"
    row = {
        "case": "p02-quota-family",
        "from": "centre",
        "to": to,
        "purpose": "reception-to-county" if county else "reception-to-municipality",
        "on": "2026-03-01",
        "how": "sent",
        "category": "housing",
    }
    document = case_of(row)
    del document["at"]  # now: a signature counts while its certificate runs
    document["requester"] = {"subsystem": str(nodes.party(to).subsystem)}

    async with nodes.client("kotka") as session, session.post("/v1/decisions", json=document) as answer:
        (advice,) = (await answer.json())["decisions"]

    assert {held["code"] for held in advice["decision"]["withheld"]} == ({code} if code else set())
    assert "pysyvän pyynnön" in advice["explanation"]["fi"]


async def test_centre_hands_over_what_was_asked_for_once_for_all_and_nothing_that_was_not(nodes: Running) -> None:
    header, *people = nodes.export.read_bytes().split(b"\r\n")
    body = b"\r\n".join([header, *people[:12], b""])
    async with (
        nodes.client("centre") as session,
        session.post(PATH, data=body, headers={"Content-Type": "text/csv", "Yhdyspinta-User": "U-1"}) as answer,
    ):
        planned = await answer.json()

    parts = [part for handover in planned["handovers"] for part in handover["deliveries"]]
    sent = [part for part in parts if part["role"] == "municipality" and part.get("permitted")]
    assert sent, parts
    for part in sent:
        bases = [RULEBOOK.basis(permitted["basis"]) for permitted in part["permitted"]]
        assert {str(basis.source.provision) for basis in bases if basis and basis.source} <= set(PROVISIONS)
        assert "health-needs" not in {permitted["category"] for permitted in part["permitted"]}
    asked = [part for part in parts if part["role"] == "county" and part.get("withheld")]
    assert asked
    for part in asked:
        assert not part["permitted"]
        assert part["state"] == "stopped"
        assert {"nobody-asked", "permission-missing"} & {held["code"] for held in part["withheld"]}

    await until(lambda: _received(nodes), alive=nodes.processes.check)


async def test_flow_that_falls_to_another_role_is_planned_by_nobody_else(nodes: Running) -> None:
    # Quota refugees are told of by whoever selects and places them: under that name a centre plans nothing.
    header, person, *_ = nodes.export.read_bytes().split(b"\r\n")
    path = PATH.replace("F1", "F2")
    async with (
        nodes.client("centre") as session,
        session.post(path, data=b"\r\n".join([header, person, b""]), headers={"Content-Type": "text/csv"}) as answer,
    ):
        problem = await answer.json()

    assert (answer.status, problem["code"], problem["pointer"]) == (422, "flow-unknown", "/flow")
    assert "F1" in problem["remedy"]
    assert "F2" not in problem["remedy"]


async def _received(nodes: Running) -> bool:
    """Whether Kotka has taken something in, by its own copy of the rulebook and the registry."""
    return bool(nodes.rows("kotka", select(inbox.c.id)))
