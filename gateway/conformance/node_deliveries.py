"""What is brought to a node: handovers, acceptances of them, and notices of withdrawal."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.conformance.bench import Bench, expect, expect_equal, part_of
from gateway.conformance.case import case
from gateway.conformance.message import digest
from gateway.conformance.peers import Draft, Peer, expect_signed_refusal
from gateway.conformance.persons import Person
from gateway.conformance.verdicts import Failed

_CONTACT = {"name": "Conformance team"}
#: How long a delivery is held back that is accepted before it was sent; it then goes its ordinary way.
_HELD_BACK = timedelta(seconds=60)
_WITHDRAWAL = "withdrawal-notice"


def _new(kind: str) -> str:
    return f"conformance-{kind}-{uuid.uuid4().hex[:16]}"


def _acceptance(peer: Peer, purpose: str, delivery: str, contact: Any = _CONTACT) -> Draft:
    return Draft(peer.service("acceptance"), purpose, ("identity",), {"delivery": delivery, "contact": contact})


def _ours(bench: Bench, plan: Mapping[str, Any]) -> tuple[str, str]:
    """The id and the purpose of the delivery to the member that the kit plays."""
    part = part_of(plan, bench.handing.role)
    expect_equal("the recipient", bench.node.member.subsystem, part.get("recipient"))
    return str(part["id"]), str(part["purpose"])


def _delivered(bench: Bench) -> tuple[Mapping[str, Any], str, str]:
    """A new delivery that has reached the member that the kit plays: its plan, its id and its purpose."""
    plan = bench.planned(Person.make())
    bench.delivered(plan)
    return (plan, *_ours(bench, plan))


@case("NODE-55")
def accepted(bench: Bench) -> None:
    """Has a person handed over to the kit's member, accepts the delivery twice, and reads its state."""
    peer = Peer.at(bench, bench.node)
    plan, delivery, purpose = _delivered(bench)
    for _ in range(2):
        asked = peer.ask(_acceptance(peer, purpose, delivery))
        expect(asked.answer, 200)
        expect_equal("delivery", delivery, asked.answer.document.get("delivery"))
    expect_equal("the state at the sender", "accepted", bench.delivery_of(plan).get("state"))


@case("NODE-56")
def accepting_nothing(bench: Bench) -> None:
    """Accepts a delivery under an id that was never given."""
    peer = Peer.at(bench, bench.node)
    asked = peer.ask(_acceptance(peer, bench.handing.purposes[0], _new("delivery")))
    expect_signed_refusal(asked, 404, code="delivery-unknown")


@case("NODE-57")
def accepted_by_another(bench: Bench) -> None:
    """Has a person handed over to the kit's member, and accepts the delivery as a second member."""
    _, delivery, purpose = _delivered(bench)
    other = Peer.at(bench, bench.node, bench.other)
    expect_signed_refusal(other.ask(_acceptance(other, purpose, delivery)), 404, code="delivery-unknown")


@case("NODE-58")
def accepted_too_early(bench: Bench) -> None:
    """Has a person handed over not before some seconds have passed, accepts the delivery at once, reads its state."""
    peer = Peer.at(bench, bench.node)
    later = datetime.now(UTC) + _HELD_BACK
    plan = bench.planned(Person.make(), not_before=later.isoformat())
    delivery, purpose = _ours(bench, plan)
    asked = peer.ask(_acceptance(peer, purpose, delivery))
    state = bench.delivery_of(plan).get("state")
    if datetime.now(UTC) >= later:
        raise Failed(f"two answers within {_HELD_BACK.seconds} seconds", "slower ones, so that nothing can be said")
    expect_signed_refusal(asked, 404, 409)
    expect_equal("the state at the sender", "due", state)


@case("NODE-59")
def naming_nobody(bench: Bench) -> None:
    """Accepts a delivery without a name, with a number as the name, with a name of 100 000 characters, and with a
    member that a contact does not have.
    """
    peer = Peer.at(bench, bench.node)
    _, delivery, purpose = _delivered(bench)
    for contact in ({}, {"name": 5}, {"name": "x" * 100_000}, _CONTACT | {"note": "about the person"}):
        expect_signed_refusal(peer.ask(_acceptance(peer, purpose, delivery, contact)), 400, 422)


def _notice(peer: Peer, subject: Any) -> Draft:
    document = {
        "notice": _new("notice"),
        "consent": _new("consent"),
        "categories": ["health-needs"],
        "subject": subject,
    }
    return Draft(peer.service("notice"), _WITHDRAWAL, ("health-needs",), document)


@case("NODE-60")
def notices_link_nobody(bench: Bench) -> None:
    """Records a refusal of one new person, sends a notice that names this person and another as one, and searches for
    the refusals of the other.
    """
    first, second = Person.make(), Person.make()
    expect(bench.consent(first, "refused"), 201)
    peer = Peer.at(bench, bench.node)
    answer = peer.ask(_notice(peer, [first.subject, second.subject])).answer
    if not answer.status or answer.status >= 500:
        raise Failed("a receipt or a refusal", answer.told())
    found = bench.sending.post("/v1/consents/search", {"subject": second.subject})
    expect(found, 200)
    expect_equal("the refusals of the other person", [], found.document.get("consents"))


@case("NODE-61")
def notices_about_nobody(bench: Bench) -> None:
    """Sends notices whose subject is an empty list, a list of texts, and an identifier without a value."""
    peer = Peer.at(bench, bench.node)
    for subject in ([], ["somebody"], [{"system": "urn:oid:1.2.246.21"}]):
        expect_signed_refusal(peer.ask(_notice(peer, subject)), 400, 422)


def _handover(bench: Bench, peer: Peer, person: Person, delivery: str) -> Draft:
    bundle = person.bundle(bench.handing.municipality)
    # Without the category that only a consent carries: what is left is the recipient's by law.
    bundle["entry"] = bundle["entry"][:1]
    document = {"handover": _new("handover"), "delivery": delivery, "flow": bench.handing.flow, "consents": []}
    return Draft(peer.service("inbox"), bench.handing.purposes[0], ("identity",), document | {"bundle": bundle})


@case("NODE-62")
def the_same_receipt(bench: Bench) -> None:
    """Brings one delivery twice, in two messages."""
    peer = Peer.at(bench, bench.inbox)
    draft = _handover(bench, peer, Person.make(), _new("delivery"))
    first, again = (peer.ask(draft).answer for _ in range(2))
    expect(first, 200)
    expect(again, 200)
    expect_equal("the receipt", first.document, again.document)


@case("NODE-63")
def the_receipt(bench: Bench) -> None:
    """Brings a delivery and reads its receipt."""
    peer = Peer.at(bench, bench.inbox)
    delivery = _new("delivery")
    draft = _handover(bench, peer, Person.make(), delivery)
    answer = peer.ask(draft).answer
    expect(answer, 200)
    receipt = answer.document
    expect_equal("members", ["delivery", "digest", "receipt", "received"], sorted(receipt))
    expect_equal("delivery", delivery, receipt["delivery"])
    expect_equal("digest", digest(draft.body), receipt["digest"])


@case("NODE-64")
def beyond_what_is_given(bench: Bench) -> None:
    """Brings health needs without a consent that would carry them."""
    peer = Peer.at(bench, bench.inbox)
    person = Person.make()
    draft = _handover(bench, peer, person, _new("delivery"))
    whole = {**draft.document, "bundle": person.bundle(bench.handing.municipality)}
    expect_signed_refusal(peer.ask(replace(draft, document=whole)), 403, code="not-permitted")


@case("NODE-65")
def two_persons(bench: Bench) -> None:
    """Brings a bundle with two patients."""
    peer = Peer.at(bench, bench.inbox)
    draft = _handover(bench, peer, Person.make(), _new("delivery"))
    entries = [
        *draft.document["bundle"]["entry"],
        *Person.make().bundle(bench.handing.municipality)["entry"][:1],
    ]
    entries[1]["resource"]["id"] = "patient-2"
    both = {**draft.document, "bundle": draft.document["bundle"] | {"entry": entries}}
    expect_signed_refusal(peer.ask(replace(draft, document=both)), 400, 422)
