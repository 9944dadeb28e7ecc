"""Two nodes and what went between them: each tells the same of it, the same number of times and the same way round."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from audit.log.entries import Entry, EntryType
from audit.questions import export, query, tallies
from audit.questions.words import told_as
from gateway.handover.accept import Inbox, Opener
from gateway.handover.deliver import Deliveries
from gateway.handover.states import DeliveryKind
from gateway.storage.tables import inbox
from tests.gateway.exchange.inprocess import InProcess, Place, node
from tests.gateway.exchange.test_statements import Wire
from tests.gateway.handover.test_deliveries import order, rows
from tests.gateway.handover.test_reception import CONTACT

PEOPLE = ("A1", "A2", "A3")


@dataclass
class Nodes:
    """Who gives and who gets."""

    centre: InProcess
    kotka: InProcess

    @property
    def way(self) -> tuple[str, str]:
        """From whom to whom the data goes."""
        return str(self.centre.party.subsystem), str(self.kotka.party.subsystem)


async def sent(here: InProcess, kind: DeliveryKind) -> None:
    working = Deliveries(here.exchange)
    for delivery in await working._claim():
        if delivery.kind is kind and (kind is DeliveryKind.ACCEPTANCE or delivery.role == "municipality"):
            await working._attempt(delivery)


@pytest.fixture(params=["centre", "kotka"])
async def nodes(place: Place, database_url: str, tmp_path: Any, request: pytest.FixtureRequest) -> AsyncIterator[Nodes]:
    """Three people are handed over; one is opened, and accepted with word of that to the sender."""
    urls = {name: f"sqlite:///{tmp_path}/{name}.db" for name in ("centre", "kotka")} | {request.param: database_url}
    async with AsyncExitStack() as stack:
        centre = await stack.enter_async_context(node(place, urls["centre"]))
        kotka = await stack.enter_async_context(node(place, urls["kotka"], of="kotka"))
        centre.exchange.transport = Wire(centre, kotka)  # type: ignore[assignment]
        kotka.exchange.transport = Wire(kotka, centre)  # type: ignore[assignment]
        for person in PEOPLE:
            await order(centre, person)
        await sent(centre, DeliveryKind.HANDOVER)
        with kotka.exchange.engine.connect() as connection:
            arrival = connection.scalars(select(inbox.c.id).order_by(inbox.c.number)).first()
        desk, opener = Inbox(kotka.exchange), Opener("care")
        await desk.open(kotka.party.subsystem, str(arrival), opener, None)
        await desk.accept(kotka.party.subsystem, str(arrival), opener, CONTACT)
        await sent(kotka, DeliveryKind.ACCEPTANCE)
        states = [row.state for row in rows(centre).values() if row.role == "municipality"]
        assert sorted(states) == ["accepted", "delivered", "delivered"]
        yield Nodes(centre, kotka)


def flows(here: InProcess) -> dict[tuple[str | None, str | None], int]:
    now = here.exchange.clock()
    with here.exchange.engine.connect() as connection:
        counts = tallies.between(connection, now - timedelta(days=1), now + timedelta(days=1))
        year = tallies.of_year(connection, now.year)
    assert sum(count.released for count in counts) == sum(count.released for count in year)
    return {(count.source, count.recipient): count.released for count in counts if count.released}


async def test_the_numbers_of_both_nodes_about_one_flow_are_equal(nodes: Nodes) -> None:
    assert flows(nodes.centre) == flows(nodes.kotka) == {nodes.way: len(PEOPLE)}
    for here in (nodes.centre, nodes.kotka):
        pseudonyms = {
            entry.subject for entry in here.entries() if entry.type in (EntryType.DELIVERY, EntryType.RECEIPT)
        }
        with here.exchange.engine.connect() as connection:
            told = [
                len(list(query.walk(connection, query.disclosures([pseudonym]))))
                for pseudonym in pseudonyms
                if pseudonym is not None
            ]
        assert told == [1] * len(PEOPLE)


async def test_every_record_says_the_way_that_the_data_went(nodes: Nodes) -> None:
    def moved(entry: Entry) -> bool:
        return entry.type in (EntryType.RECEIPT, EntryType.ACCEPTANCE) or (
            entry.type is EntryType.DELIVERY and entry.outcome.value == "success"
        )

    told = {
        name: [(told_as(entry), entry.giver, entry.taker) for entry in here.entries() if moved(entry)]
        for name, here in (("centre", nodes.centre), ("kotka", nodes.kotka))
    }
    assert {way[1:] for found in told.values() for way in found} == {nodes.way}
    assert [name for name, *_ in told["centre"]] == ["delivery"] * len(PEOPLE) + ["acceptance-received"]
    assert [name for name, *_ in told["kotka"]] == [
        *["arrival"] * len(PEOPLE),
        "arrival-opened",
        "acceptance",
        "acceptance-sent",
    ]


async def test_arrivals_are_found_by_who_gave_and_by_who_got_them(nodes: Nodes) -> None:
    giver, taker = nodes.way
    with nodes.kotka.exchange.engine.connect() as connection:
        for side in ({"source": giver}, {"recipient": taker}, {"source": giver, "recipient": taker}):
            filters = query.Filters(types=("receipt",), **side)  # type: ignore[arg-type]
            found = [item.entry for item in query.walk(connection, filters) if told_as(item.entry) == "arrival"]
            assert len(found) == len(PEOPLE), side
        wrong = query.Filters(types=("receipt",), source=taker)
        assert list(query.walk(connection, wrong)) == []
        first, *_ = query.walk(connection, query.Filters(types=("receipt",)))
    assert f"{giver};{taker}" in "".join(export.to_csv([first]))
