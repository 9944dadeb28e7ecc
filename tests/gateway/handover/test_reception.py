"""What peers bring: taken in once, only what the law gives, only from whom it is theirs to bring; and in what order."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import orjson
import pytest
from sqlalchemy import Table, select, update

from audit.log.entries import new_id
from gateway.exchange.opening import Answer
from gateway.handover.accept import Inbox, Opener
from gateway.handover.deliver import Deliveries
from gateway.handover.overview import Overview
from gateway.storage.engine import writer
from gateway.storage.tables import deliveries, inbox
from gateway.wire.problems import ProblemError
from schemas.projection import project
from tests.gateway.exchange.inprocess import InProcess, Place, node, problem_of
from tests.gateway.handover.test_deliveries import Clock, order, rows

CONTACT = {"name": "Kotoutumispalvelut", "phone": "05 000 0000"}
READERS_TURNS = 2_000


async def hand_over(here: InProcess, delivery: str, *, party: str = "centre", **changes: Any) -> Answer:
    """Another organisation brings a person's name to the node's inbox."""
    bundle = changes.pop("bundle", None) or project(here.register.bundle(delivery), frozenset({"identity"})).bundle
    document = {"handover": f"h-{delivery}", "delivery": delivery, "flow": "F1", "consents": [], "bundle": bundle}
    return await here.bring("saapuvat", document, party=party, **changes)


async def accept(here: InProcess, delivery: str, *, party: str = "kotka", contact: Any = None) -> Answer:
    """A peer says that it has accepted a delivery of ours."""
    document = {"delivery": delivery, "contact": CONTACT if contact is None else contact}
    return await here.bring("hyvaksynnat", document, party=party)


def change(here: InProcess, table: Table, identifier: str, **values: Any) -> None:
    with writer(here.exchange.engine).begin() as connection:
        connection.execute(update(table).where(table.c.id == identifier).values(**values))


def arrived(here: InProcess) -> list[Any]:
    with here.exchange.engine.connect() as connection:
        return list(connection.execute(select(inbox).order_by(inbox.c.number)))


async def to_the_municipality(here: InProcess, person: str, **changes: Any) -> str:
    """Order a handover; gives the id of the municipality's delivery."""
    plan = await order(here, person, **changes)
    return next(one.id for one in plan.deliveries if one.role == "municipality")


# -- arrivals in the order of their commits ----------------------------------------------------------------------------


async def test_reader_who_follows_the_cursor_misses_no_arrival_whatever_its_id(place: Place, database_url: str) -> None:
    """Two replicas take in what comes, its ids made by clocks that disagree, while a third party reads page by page."""
    random = Random(20261127)
    count = 60
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(node(place, database_url, of="kotka")) for _ in range(2)]
        reading = Inbox(replicas[0].exchange)
        seen: list[str] = []

        async def bring(number: int) -> None:
            made = datetime.now(UTC) - timedelta(seconds=random.randrange(3_600))
            answer = await hand_over(replicas[number % 2], f"d-{number}", message_id=new_id(made))
            assert answer.status == 200, answer.body

        async def read() -> None:
            cursor, idle = "", 0
            while len(seen) < count and idle < READERS_TURNS:
                items, cursor = await reading.list(replicas[0].party.subsystem, state=None, after=cursor, limit=7)
                seen.extend(item.delivery for item in items)
                idle = 0 if items else idle + 1

        writing = asyncio.gather(*(bring(number) for number in range(count)))
        await asyncio.gather(writing, read())

    assert sorted(seen) == sorted(f"d-{number}" for number in range(count))


async def test_cursor_of_a_former_version_is_the_id_of_the_last_arrival(place: Place, database_url: str) -> None:
    async with node(place, database_url, of="kotka") as here:
        for delivery in ("d-1", "d-2", "d-3"):
            await hand_over(here, delivery)
        first = arrived(here)[0]
        reading, own = Inbox(here.exchange), here.party.subsystem

        items, cursor = await reading.list(own, state=None, after=first.id, limit=10)
        assert [item.delivery for item in items] == ["d-2", "d-3"]
        assert await reading.list(own, state=None, after=cursor, limit=10) == ([], cursor)
        change(here, inbox, first.id, recipient=f"{own}-other")
        for after in (first.id, "no-such-id", "1.5", "\x00", "9" * 40):
            with pytest.raises(ProblemError, match="neither a cursor"):
                await reading.list(own, state=None, after=after, limit=10)


async def test_handovers_are_listed_in_the_order_in_which_they_were_taken(place: Place, database_url: str) -> None:
    """The node's clock was set back between two of them, so the ids say another order."""
    clock = Clock()
    async with node(place, database_url, clock=clock) as here:
        overview, own = Overview(here.exchange), here.party.subsystem
        first = await order(here, "O1")
        shown, cursor = await overview.handovers(own, state=None, after="", limit=10)
        clock.passed = -timedelta(minutes=5)
        second = await order(here, "O2")

        assert second.id < first.id == shown[0]["id"]
        shown, cursor = await overview.handovers(own, state=None, after=cursor, limit=10)
        assert [one["id"] for one in shown] == [second.id]
        assert await overview.handovers(own, state=None, after=cursor, limit=10) == ([], cursor)
        shown, _ = await overview.handovers(own, state=None, after=first.id, limit=10)
        assert [one["id"] for one in shown] == [second.id]


# -- what is taken in --------------------------------------------------------------------------------------------------


async def test_bundle_with_more_than_a_legal_basis_gives_is_not_taken_in(place: Place, database_url: str) -> None:
    """The sender decides before it sends; this one did not, and the recipient holds nothing that is not its to hold."""
    async with node(place, database_url, of="kotka") as here:
        answer = await hand_over(here, "d-1", bundle=here.register.bundle("B1"))

        assert (answer.status, problem_of(answer)) == (403, "not-permitted")
        assert arrived(here) == []
        assert here.entries()[-1].reason == "not-permitted"


async def test_id_that_another_sender_used_before_is_another_arrival(place: Place, database_url: str) -> None:
    notice = {
        "notice": "n-1", "consent": "c-1", "categories": ["health-needs"],
        "subject": [{"system": "urn:oid:1.2.246.21", "value": "010190-900P"}],
    }  # fmt: skip
    async with node(place, database_url, of="kotka") as here:
        receipts = [
            orjson.loads((await here.bring("ilmoitukset", notice, party=party, purpose="withdrawal-notice")).body)
            for party in ("centre", "kymenlaakso", "centre")
        ]

        assert [row.sender for row in arrived(here)] == [
            str(place.network.parties[party].subsystem) for party in ("centre", "kymenlaakso")
        ]
    assert receipts[0] == receipts[2] != receipts[1]


async def test_delivery_that_was_turned_to_another_system_of_the_node_reaches_that_one_too(
    place: Place, database_url: str
) -> None:
    async with node(place, database_url, of="kotka") as here:
        first = orjson.loads((await hand_over(here, "d-1")).body)
        change(here, inbox, first["receipt"], recipient=f"{here.party.subsystem}-former")

        second = orjson.loads((await hand_over(here, "d-1")).body)
        again = orjson.loads((await hand_over(here, "d-1")).body)

        assert [row.id for row in arrived(here)] == [first["receipt"], second["receipt"]]
    assert again == second


async def test_case_that_the_sender_names_stands_in_every_entry_of_the_arrival(place: Place, database_url: str) -> None:
    async with node(place, database_url, of="kotka") as here:
        receipt = orjson.loads((await hand_over(here, "d-1", case="CASE-9")).body)
        inbox_, own = Inbox(here.exchange), here.party.subsystem
        await inbox_.open(own, receipt["receipt"], Opener("test"), None)
        await inbox_.accept(own, receipt["receipt"], Opener("test"), CONTACT)
        workers = Deliveries(here.exchange)
        for delivery in await workers._claim():
            await workers._attempt(delivery)

        told = [entry for entry in here.entries() if entry.type in {"receipt", "acceptance", "delivery"}]
        assert [entry.outcome for entry in told] == ["success", "success", "success", "requested", "failed"]
        assert {entry.case for entry in told} == {here.exchange.case_pseudonym("CASE-9")}


# -- acceptances -------------------------------------------------------------------------------------------------------


async def test_acceptance_is_taken_for_what_was_delivered_and_its_contact_is_sealed(
    place: Place, database_url: str
) -> None:
    async with node(place, database_url) as here:
        delivery = await to_the_municipality(here, "A1")
        change(here, deliveries, delivery, state="delivered")

        answer = await accept(here, delivery)

        assert answer.status == 200, answer.body
        row = rows(here)[delivery]
        assert (row.state, row.contact) == ("accepted", None)
        assert CONTACT["name"].encode() not in row.contact_sealed
        shown = await Overview(here.exchange).handover(here.party.subsystem, row.handover)
        assert next(one["contact"] for one in shown["deliveries"] if one["id"] == delivery) == CONTACT
        entry = here.entries()[-1]
        assert (entry.type, entry.case) == ("acceptance", here.exchange.case_pseudonym("CASE-1"))
        again = await accept(here, delivery, contact={"name": "Somebody else"})
        assert again.status == 200
        assert rows(here)[delivery] == row


async def test_contact_that_a_former_version_kept_in_the_clear_is_still_shown(place: Place, database_url: str) -> None:
    async with node(place, database_url) as here:
        delivery = await to_the_municipality(here, "A2")
        change(here, deliveries, delivery, state="accepted", contact=orjson.dumps(CONTACT).decode())

        shown = await Overview(here.exchange).handover(here.party.subsystem, rows(here)[delivery].handover)

        assert next(one["contact"] for one in shown["deliveries"] if one["id"] == delivery) == CONTACT


@pytest.mark.parametrize(
    ("changes", "party", "code"),
    [
        ({}, "kotka", "delivery-state"),
        ({"state": "stopped"}, "kotka", "delivery-unknown"),
        ({"state": "delivered"}, "kymenlaakso", "delivery-unknown"),
        ({"state": "delivered", "kind": "notice"}, "kotka", "delivery-unknown"),
        ({"state": "delivered", "kind": "acceptance"}, "kotka", "delivery-unknown"),
        ({"state": "delivered", "consumer": "FI-DEMO/GOV/1/another"}, "kotka", "delivery-unknown"),
        ({"state": "delivered", "service": ""}, "kotka", "delivery-unknown"),
    ],
    ids=["not sent", "stopped", "not the recipient", "a notice", "an acceptance", "not the sender", "sent to nobody"],
)
async def test_acceptance_of_what_is_not_the_issuers_to_accept_is_refused_and_on_record(
    place: Place, database_url: str, changes: dict[str, Any], party: str, code: str
) -> None:
    async with node(place, database_url) as here:
        delivery = await to_the_municipality(here, "A3")
        if changes:
            change(here, deliveries, delivery, **changes)
        before = rows(here)

        answer = await accept(here, delivery, party=party)

        assert problem_of(answer) == code
        assert rows(here) == before
        assert (here.entries()[-1].outcome, here.entries()[-1].reason) == ("refused", code)


async def test_delivery_planned_for_later_is_sent_in_its_time_though_it_was_accepted_before(
    place: Place, database_url: str
) -> None:
    clock = Clock()
    async with node(place, database_url, clock=clock) as here:
        later = datetime.now(UTC) + timedelta(minutes=5)
        delivery = await to_the_municipality(here, "A4", not_before=later)

        assert problem_of(await accept(here, delivery)) == "delivery-state"

        clock.passed = timedelta(minutes=6)
        workers = Deliveries(here.exchange)
        for claimed in await workers._claim():
            await workers._attempt(claimed)
        sent = [entry.detail["delivery"] for entry in here.entries() if entry.outcome == "requested"]
        assert delivery in sent


@pytest.mark.parametrize(
    ("contact", "pointer"),
    [
        ([], "/contact"),
        ({}, "/contact/name"),
        ({"name": "   "}, "/contact/name"),
        ({"name": 5}, "/contact/name"),
        ({"name": "x" * 257}, "/contact/name"),
        ({"name": "A", "phone": "x" * 500_000}, "/contact/phone"),
        ({"name": "A", "email": "a\r\nb"}, "/contact/email"),
        ({"name": "A", "role": {"of": "what"}}, "/contact/role"),
        ({"name": "A", "note": "about the person"}, "/contact"),
    ],
    ids=["no object", "empty", "blank", "number", "long", "vast", "two lines", "nested", "another member"],
)
async def test_contact_of_another_form_is_refused(place: Place, database_url: str, contact: Any, pointer: str) -> None:
    async with node(place, database_url) as here:
        delivery = await to_the_municipality(here, "A5")
        change(here, deliveries, delivery, state="delivered")

        answer = await accept(here, delivery, contact=contact)

        assert problem_of(answer) == "invalid-request"
        assert orjson.loads(answer.body)["pointer"] == pointer
        assert rows(here)[delivery].state == "delivered"
