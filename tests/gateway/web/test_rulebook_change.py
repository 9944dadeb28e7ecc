"""The officer's question about a proposed rulebook, asked of the node that has disclosed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.demo.network import Network
from tests.former import former_rulebook
from tests.gateway.rulebooks import without
from tests.gateway.running import Running, running

SAME = former_rulebook().decode()


def prepare(network: Network) -> None:
    """The centre's system may read the log."""
    config = network.parties["centre"].config
    rights = '\n[clients.rights]\nactions = ["query", "audit"]\n'
    config.write_text(config.read_text("utf-8") + rights, "utf-8")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A centre that has answered a municipality about two persons."""
    with running(tmp_path_factory.mktemp("change"), prepare=prepare) as found:

        async def questions() -> None:
            async with found.client("kotka") as session:
                for person in (1, 3):
                    async with session.post("/v1/queries", json=found.question(person)) as answer:
                        assert answer.status == 200, await answer.text()

        asyncio.run(questions())
        yield found


def ask(nodes: Running, **document: Any) -> tuple[int, Any]:
    """The question, as a system of the centre asks it."""

    async def story() -> tuple[int, Any]:
        async with (
            nodes.client("centre") as session,
            session.post(
                "/v1/audit/rulebook-change", json=document, headers={"Yhdyspinta-User": "officer-1"}
            ) as answer,
        ):
            return answer.status, json.loads(await answer.read())

    return asyncio.run(story())


def test_what_a_new_rulebook_would_change_is_told_and_on_record(nodes: Running) -> None:
    narrowed = without("language")
    disclosures = [one.id for one in nodes.entries("centre", type="query", outcome="success")]
    assert len(disclosures) == 2

    status, body = ask(nodes, rulebook=narrowed)

    assert status == 200, body
    apart = body.pop("differences")
    assert {(one["change"], one["category"]) for one in apart["changes"]} == {("becomes-withheld", "language")}
    assert (apart["points"] > 700_000, apart["more"], apart["prohibitions"]) == (True, False, [])
    assert body == {
        "old": "sha-256:" + hashlib.sha256(SAME.encode()).hexdigest(),
        "new": "sha-256:" + hashlib.sha256(narrowed.encode()).hexdigest(),
        "recorded": 2,
        "forgotten": 0,
        "cut": False,
        "otherwise": 2,
        "by_purpose": {"service-need-lookup": 2},
        "gained": {},
        "lost": {"language": 2},
        "entries": disclosures[::-1],
        "more": False,
    }
    read = nodes.entries("centre", type="console-read")[-1]
    assert read.detail["question"] == "rulebook-change"
    assert (read.detail["rulebook"], read.detail["recorded"], read.detail["otherwise"]) == (body["new"], 2, 2)
    assert read.agents.user is not None
    _, unchanged = ask(nodes, rulebook=SAME)
    assert (unchanged["otherwise"], unchanged["recorded"], unchanged["entries"]) == (0, 2, [])
    assert unchanged["differences"]["changes"] == []


def test_only_decisions_of_the_window_count(nodes: Running) -> None:
    moment = nodes.entries("centre", type="query", outcome="success")[1].recorded

    _, before = ask(nodes, rulebook=SAME, to="2020-01-01T00:00:00Z")
    _, since = ask(nodes, rulebook=SAME, **{"from": "2020-01-01T00:00:00Z"}, to="2100-01-01T00:00:00+02:00")
    _, after = ask(nodes, rulebook=SAME, **{"from": moment.isoformat()})

    assert (before["recorded"], since["recorded"]) == (0, 2)
    assert after["recorded"] <= 1  # a decision comes a moment before its entry


@pytest.mark.parametrize(
    ("rulebook", "said"),
    [
        ("HETU;NIMI\n010190-900P;Aino\n", "line 1: this is not a rulebook"),
        ("rulebook: [", "line 1: not YAML"),
        (
            former_rulebook().decode().replace("permits: [pending, refused]", "permits: [pending, refusd]"),
            "'refusd'",
        ),
    ],
)
def test_a_text_that_is_no_rulebook_is_refused_with_the_place(nodes: Running, rulebook: str, said: str) -> None:
    before = len(nodes.entries("centre", type="console-read"))
    status, body = ask(nodes, rulebook=rulebook)
    assert (status, body["code"], body["pointer"]) == (400, "invalid-request", "/rulebook")
    assert said in body["detail"]
    assert "line " in body["detail"]
    assert body["remedy"]
    assert "010190" not in json.dumps(body)
    assert len(nodes.entries("centre", type="console-read")) == before  # nothing of the log was read


def test_a_forgotten_person_is_left_out_and_counted(nodes: Running) -> None:
    """Last: it changes what the others count."""
    config = nodes.party("centre").config
    command = [sys.executable, "-m", "gateway", "audit", "forget", "--yes", "--config", str(config)]
    person = nodes.people[3]
    done = subprocess.run(command, input=f"{person}\n", capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr

    status, body = ask(nodes, rulebook=without("language"))

    assert status == 200, body
    assert (body["recorded"], body["forgotten"], body["otherwise"]) == (1, 1, 1)
