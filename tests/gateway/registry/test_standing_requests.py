"""Standing requests in the registry: published, read, told apart, and what a decision makes of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from consent.law import Rulebook
from consent.provisions import Provision
from consent.request import SubjectFacts
from consent.rulebook import load, next_rulebook
from consent.standing import StandingRequest
from gateway.exchange.deciding import Case, decide_between
from gateway.keys.errors import TrustError
from gateway.registry.read import targets
from gateway.registry.read.registry import Registry
from gateway.registry.run.changes import differences, without_member
from tests.gateway.registry.conftest import KOTKA, RECEPTION, Network

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ASKED = StandingRequest(
    id="kotka-86-1",
    member=str(KOTKA.member),
    role="municipality",
    providers=frozenset({"reception-centre"}),
    provision=Provision.parse("681/2023 86:1"),
    purpose="reception-to-municipality",
    categories=frozenset({"identity", "language"}),
    first=date(2026, 1, 1),
    last=date(2026, 6, 30),
)
PERSON = SubjectFacts(
    permit_ground="asylum-granted",
    permit_granted=True,
    municipality="285",
    county="08",
    safety_prohibition=False,
    within_three_years=True,
)


@pytest.fixture(scope="module")
def rulebook() -> Rulebook:
    return load(next_rulebook(), source="reference")


def test_standing_requests_are_read_as_they_were_written(network: Network) -> None:
    content = replace(network.content, standing_requests=(ASKED,))

    assert targets.read(targets.write(content)).standing_requests == (ASKED,)
    assert b"standing_requests" not in targets.write(network.content)["members.json"]


def test_standing_request_that_names_no_provision_makes_the_registry_malformed(network: Network) -> None:
    files = targets.write(replace(network.content, standing_requests=(ASKED,)))
    files["members.json"] = files["members.json"].replace(b"681/2023 86:1", b"86 section 1")

    with pytest.raises(TrustError):
        targets.read(files)


def test_change_and_departure_take_standing_requests_along(network: Network) -> None:
    with_one = replace(network.content, standing_requests=(ASKED,))

    assert [change.kind for change in differences(network.content, with_one)] == ["standing request"]
    assert without_member(with_one, KOTKA.member).standing_requests == ()
    assert without_member(with_one, RECEPTION.member).standing_requests == (ASKED,)


@pytest.mark.parametrize(
    ("way", "day", "moves"),
    [
        ("query", "2026-03-01", {"identity", "language", "housing"}),
        ("handover", "2026-03-01", {"identity", "language"}),
        ("handover", "2025-12-31", set()),
        ("handover", "2026-07-01", set()),
    ],
)
def test_handover_brings_what_the_recipient_has_asked_for_and_a_query_what_it_may_get(
    network: Network, rulebook: Rulebook, way: str, day: str, moves: set[str]
) -> None:
    registry = Registry(replace(network.content, standing_requests=(ASKED,)), version=1, expires=AT.replace(year=2030))
    at = datetime.fromisoformat(f"{day}T12:00:00+00:00")
    case = Case(
        provider=RECEPTION,
        requester=KOTKA,
        purpose="reception-to-municipality",
        categories=frozenset({"identity", "language", "housing"}),
        at=at,
        facts=PERSON,
        mode="query" if way == "query" else "handover",
    )

    decision = decide_between(registry, rulebook, case)

    assert decision.permitted_categories == moves
    if way == "handover":
        assert {permitted.standing for permitted in decision.permitted} <= {ASKED.id}
        assert "nobody-asked" in {held.code for held in decision.withheld}
