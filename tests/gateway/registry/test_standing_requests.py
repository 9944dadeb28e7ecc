"""Standing requests in the registry: published, read, told apart, and what a decision makes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Literal

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consent.rulebook import load, reference_rulebook
from consent.rules.law import Rulebook
from consent.rules.provisions import Provision
from consent.rules.request import SubjectFacts
from consent.rules.standing import StandingRequest
from gateway.exchange.deciding import Case, decide_between
from gateway.keys import certificates
from gateway.keys.errors import TrustError
from gateway.registry.read import targets, writing
from gateway.registry.read.asked import signed
from gateway.registry.read.entries import Content
from gateway.registry.read.registry import Registry
from gateway.registry.run.changes import (
    differences,
    with_standing_request,
    without_member,
    without_standing_request,
)
from gateway.wire.signing import sign_statement
from tests.gateway.registry.conftest import KOTKA, RECEPTION, Network, vouched

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
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


@dataclass(frozen=True)
class Key:
    """A signing key of a member, in memory."""

    certificate: bytes
    private: Ed25519PrivateKey
    algorithm: Literal["EdDSA"] = "EdDSA"

    def sign(self, data: bytes) -> bytes:
        return self.private.sign(data)


def with_key(network: Network, index: int, **changes: Any) -> tuple[Content, Key]:
    """The content in which one member has a signing key that is at hand."""
    member = (RECEPTION, KOTKA)[index].member
    private = certificates.new_private_key("EdDSA")
    assert isinstance(private, Ed25519PrivateKey)
    certificate = network.authority.signing(member, private)
    listed = vouched(member, certificate, "EdDSA")
    return network.with_member(index, signing=(replace(listed, **changes),)), Key(certificate, private)


def asked_by(content: Content, *requests: StandingRequest) -> tuple[StandingRequest, ...]:
    """The requests of Kotka that a node believes on the day."""
    registry = Registry(replace(content, standing_requests=requests), version=1, expires=AT.replace(year=2030))
    return registry.standing_requests(KOTKA.member, AT)


def test_standing_request_is_believed_only_as_its_member_signed_it(network: Network) -> None:
    content, key = with_key(network, 1)
    good = signed(ASKED, key)

    assert asked_by(content, good) == (good,)
    assert targets.read(writing.write(replace(content, standing_requests=(good,)))).standing_requests == (good,)
    for wrong in (
        ASKED,
        replace(good, categories=good.categories | {"health-needs"}),
        replace(good, last=None),
        replace(good, purpose="onward-move"),
        replace(good, signature=good.signature[:-4] + "AAAA"),
        replace(good, signature="x"),
    ):
        assert asked_by(content, wrong) == ()


def test_standing_request_that_another_member_signed_is_nobodys(network: Network) -> None:
    content, key = with_key(network, 0)

    assert asked_by(content, signed(ASKED, key)) == ()


def test_standing_request_ends_with_the_key_that_signed_it(network: Network) -> None:
    content, key = with_key(network, 1)
    good = signed(ASKED, key)

    assert asked_by(network.content, good) == (), "the registry does not list the key"
    over, _ = with_key(network, 1)
    assert asked_by(over, good) == (), "the member has changed its key"
    message = sign_statement("yhdyspinta-request+jwt", b"{}", key)
    assert asked_by(content, replace(ASKED, signature=message)) == (), "another text of the member's"


def test_standing_request_is_replaced_by_its_own_member_only_and_is_ended(network: Network) -> None:
    content = with_standing_request(network.content, ASKED)
    later = replace(ASKED, last=date(2026, 3, 31))

    assert with_standing_request(content, later).standing_requests == (later,)
    with pytest.raises(TrustError):
        with_standing_request(content, replace(ASKED, member=str(RECEPTION.member)))
    assert without_standing_request(content, ASKED.id).standing_requests == ()
    with pytest.raises(TrustError):
        without_standing_request(network.content, ASKED.id)


@pytest.fixture(scope="module")
def rulebook() -> Rulebook:
    return load(reference_rulebook(), source="reference")


def test_standing_requests_are_read_as_they_were_written(network: Network) -> None:
    content = replace(network.content, standing_requests=(ASKED,))

    assert targets.read(writing.write(content)).standing_requests == (ASKED,)
    assert b"standing_requests" not in writing.write(network.content)["members.json"]


def test_standing_request_that_names_no_provision_makes_the_registry_malformed(network: Network) -> None:
    files = writing.write(replace(network.content, standing_requests=(ASKED,)))
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
        ("query", "2026-03-02", {"identity", "language", "housing"}),
        ("handover", "2026-03-02", {"identity", "language"}),
        ("handover", "2025-12-31", set()),
        ("handover", "2026-07-01", set()),
    ],
)
def test_handover_brings_what_the_recipient_has_asked_for_and_a_query_what_it_may_get(
    network: Network, rulebook: Rulebook, way: str, day: str, moves: set[str]
) -> None:
    content, key = with_key(network, 1)
    asked = signed(ASKED, key)
    registry = Registry(replace(content, standing_requests=(asked,)), version=1, expires=AT.replace(year=2030))
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
