"""What is on record about a delivery is what happened to it, whoever works it and however late."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from audit.log.entries import micros
from gateway.handover.deliver import Deliveries
from gateway.handover.leases import Delivery, LeaseLostError
from gateway.handover.plan import Handovers, Once, Order, Plan
from gateway.person.values import Register
from gateway.sources.backends import Locator
from gateway.storage.engine import writer
from gateway.storage.tables import deliveries, handovers
from gateway.wire.problems import ProblemError
from schemas.identifiers import MIGRI_CUSTOMER
from tests.gateway.exchange.inprocess import InProcess, Place, node
from tests.waiting import until


class Clock:
    """The time, and as much more as a test has let pass."""

    def __init__(self) -> None:
        self.passed = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.passed


async def order(here: InProcess, person: str, **changes: Any) -> Plan:
    """Order a handover of one of the register's people."""
    values: dict[str, Any] = {
        "client": "test",
        "sender": here.party.subsystem,
        "bundle": here.register.bundle(person),
        "flow": "F1",
        "idempotency": None,
        "case": here.exchange.case_pseudonym("CASE-1"),
        "user": None,
        "not_before": None,
        "trace_id": "0" * 32,
    }
    values["register"] = Register("register", is_authoritative=True)
    return await Handovers(here.exchange).plan(Order(**(values | changes)))


def rows(here: InProcess) -> dict[str, Any]:
    with here.exchange.engine.connect() as connection:
        return {row.id: row for row in connection.execute(select(deliveries))}


def settle(here: InProcess, delivery: Delivery, **values: Any) -> None:
    """Settle a delivery as something else than its worker does."""
    with writer(here.exchange.engine).begin() as connection:
        connection.execute(update(deliveries).where(deliveries.c.id == delivery.id).values(**values))


async def test_delivery_that_waited_beyond_its_lease_is_left_to_the_next_worker(
    place: Place, database_url: str
) -> None:
    clock = Clock()
    async with node(place, database_url, clock=clock, lease_seconds=3) as here:
        await order(here, "L1")
        slow, quick = Deliveries(here.exchange), Deliveries(here.exchange)
        queued = await slow._claim()
        before = len(here.entries()), rows(here)
        clock.passed = timedelta(seconds=4)

        for delivery in queued:
            with pytest.raises(LeaseLostError):
                await slow._attempt(delivery)

        assert (len(here.entries()), rows(here)) == before
        again = await quick._claim()
        assert {one.id for one in again} == {one.id for one in queued}


async def test_worker_whose_lease_was_taken_over_writes_and_sends_nothing(place: Place, database_url: str) -> None:
    """Its own clock says that it still has the lease; the row says otherwise."""
    clock = Clock()
    async with node(place, database_url, clock=clock, lease_seconds=3) as here:
        await order(here, "L2")
        slow, quick = Deliveries(here.exchange), Deliveries(here.exchange)
        queued = await slow._claim()
        clock.passed = timedelta(seconds=4)
        taken = await quick._claim()
        clock.passed = timedelta()
        before = len(here.entries()), rows(here)

        for delivery in queued:
            with pytest.raises(LeaseLostError):
                await slow._attempt(delivery)

        assert (len(here.entries()), rows(here)) == before
        for delivery in taken:
            await quick._attempt(delivery)
        outcomes = [entry.outcome for entry in here.entries() if entry.type == "delivery"]
        assert outcomes == ["requested", "failed"] * len(taken)


async def claimed(here: InProcess) -> list[str]:
    """The handovers whose deliveries a worker that has all its room takes now."""
    return sorted(str(delivery.handover) for delivery in await Deliveries(here.exchange)._claim())


def change(here: InProcess, handover: str, **values: Any) -> None:
    """Write into the rows of a handover's deliveries."""
    with writer(here.exchange.engine).begin() as connection:
        connection.execute(update(deliveries).where(deliveries.c.handover == handover).values(**values))


async def test_handovers_about_one_person_leave_in_the_order_in_which_they_were_ordered(
    place: Place, database_url: str
) -> None:
    """Also where the earlier one was put off for longer than the newer one waits, and under its lease."""
    async with node(place, database_url) as here:
        first = await order(here, "L21")
        newer = await order(here, "L21", idempotency="newer")
        other = await order(here, "L22")
        later = micros(here.exchange.clock() + timedelta(hours=1))

        assert set(await claimed(here)) == {first.id, other.id}
        assert await claimed(here) == [], "the earlier one is under way"
        change(here, first.id, lease=0, due=later, problem="peer-unreachable")
        assert await claimed(here) == [], "the recipient was away, and is tried again with the earlier one first"
        change(here, first.id, state="delivered")
        assert set(await claimed(here)) == {newer.id}
        assert first.id < newer.id < other.id, "ids say which is newer"


@pytest.mark.parametrize(
    "earlier",
    [{"problem": "peer-refused"}, {"state": "stopped"}, {"service": "FI/MUN/1234567-1/other/inbox"}],
    ids=["refused by the recipient", "stopped", "to another recipient"],
)
async def test_handover_that_cannot_arrive_holds_back_no_newer_one(
    place: Place, database_url: str, earlier: dict[str, Any]
) -> None:
    async with node(place, database_url) as here:
        first = await order(here, "L23")
        newer = await order(here, "L23", idempotency="newer")
        later = micros(here.exchange.clock() + timedelta(hours=1))

        change(here, first.id, due=later, **earlier)

        assert set(await claimed(here)) == {newer.id}


async def test_handover_of_another_flow_or_for_a_later_day_holds_back_nothing(place: Place, database_url: str) -> None:
    async with node(place, database_url) as here:
        await order(here, "L24", not_before=here.exchange.clock() + timedelta(days=3))
        newer = await order(here, "L24", idempotency="newer")
        assert set(await claimed(here)) == {newer.id}

        other = await order(here, "L25")
        with writer(here.exchange.engine).begin() as connection:
            connection.execute(update(handovers).where(handovers.c.id == other.id).values(flow="F6"))
        change(here, other.id, problem="peer-unreachable")
        second = await order(here, "L25", idempotency="another")
        assert second.id in await claimed(here)


async def test_node_that_is_held_does_not_try_its_deliveries(place: Place, database_url: str) -> None:
    held = [False]
    async with node(place, database_url) as found:
        here = replace(found, exchange=replace(found.exchange, is_held=lambda: held[0]))
        await order(here, "L9")
        held[0] = True
        before = len(here.entries()), rows(here)

        taken = await Deliveries(here.exchange)._claim()

        assert taken == []
        assert (len(here.entries()), rows(here)) == before, "not even a lease was taken"
        held[0] = False
        assert await Deliveries(here.exchange)._claim()


@pytest.mark.parametrize("secret", ["index", "wrapping"])
async def test_key_stands_for_one_request_though_a_secret_was_changed(
    place: Place, database_url: str, secret: str
) -> None:
    async with node(place, database_url) as here:
        keys = here.exchange.subjects.keys
        wrapping, index = (b"\x01" * 32,), (b"\x02" * 32,)
        first = await order(here, "L10", idempotency="k-1")
        again = await order(here, "L10", idempotency="k-1")

        new = (b"\x0c" * 32,)
        keys.use(new + wrapping if secret == "wrapping" else wrapping, new + index if secret == "index" else index)
        later = await order(here, "L10", idempotency="k-1")

        assert (first.existing, again.existing, later.existing) == (False, True, True)
        assert later.id == first.id


@pytest.mark.parametrize("is_let_go", [True, False], ids=["and let go of", "and still held"])
async def test_delivery_that_was_accepted_meanwhile_is_never_said_to_be_stopped(
    place: Place, database_url: str, is_let_go: bool
) -> None:
    """The record is cleared by the acceptance; the person's key was not destroyed, and nothing was stopped."""
    async with node(place, database_url) as here:
        await order(here, "L3")
        workers = Deliveries(here.exchange)
        queued = await workers._claim()
        for delivery in queued:
            settle(here, delivery, state="accepted")
        if is_let_go:
            with writer(here.exchange.engine).begin() as connection:
                connection.execute(update(handovers).values(sealed=None, state="completed"))
        before = len(here.entries()), rows(here)

        for delivery in queued:
            with pytest.raises(LeaseLostError):
                await workers._attempt(delivery)

        assert (len(here.entries()), rows(here)) == before


@pytest.mark.parametrize("meanwhile", [{"state": "accepted"}, {"token": 1}], ids=["settled", "taken over"])
async def test_nothing_is_said_of_an_answer_that_came_after_the_delivery_was_settled_or_taken_over(
    place: Place, database_url: str, meanwhile: dict[str, Any]
) -> None:
    async with node(place, database_url) as here:
        await order(here, "L4")
        workers = Deliveries(here.exchange)
        send = here.exchange.transport.send

        async def slow(*args: Any) -> Any:
            settle(here, queued[0], **meanwhile)
            return await send(*args)

        queued = await workers._claim()
        here.exchange.transport.send = slow  # type: ignore[method-assign]

        with pytest.raises(LeaseLostError):
            await workers._attempt(queued[0])

        outcomes = [entry.outcome for entry in here.entries() if entry.type == "delivery"]
        assert outcomes == ["requested"]
        assert meanwhile.items() <= rows(here)[queued[0].id]._asdict().items()


async def test_destroyed_key_stops_a_delivery_and_is_named_as_its_reason(place: Place, database_url: str) -> None:
    async with node(place, database_url) as here:
        await order(here, "L5")
        workers = Deliveries(here.exchange)
        queued = await workers._claim()
        with writer(here.exchange.engine).begin() as connection:
            here.exchange.subjects.destroy(connection, queued[0].subject, here.exchange.clock())

        for delivery in queued:
            await workers._attempt(delivery)

        told = [entry for entry in here.entries() if entry.type == "delivery"]
        assert {(entry.outcome, entry.reason) for entry in told} == {("stopped", "body-destroyed")}
        assert {row.state for row in rows(here).values()} == {"stopped"}


async def test_every_entry_of_a_handover_stands_under_its_case(place: Place, database_url: str) -> None:
    async with node(place, database_url) as here:
        await order(here, "L6")
        workers = Deliveries(here.exchange)
        workers.start()
        try:
            await until(lambda: sum(entry.outcome == "failed" for entry in here.entries()) == 2)
        finally:
            await workers.stop()

        told = [entry for entry in here.entries() if entry.type in {"handover", "decision", "delivery"}]
        assert {entry.outcome for entry in told} == {"planned", "requested", "failed"}
        assert {entry.case for entry in told} == {here.exchange.case_pseudonym("CASE-1")}


async def test_key_stands_for_one_request_on_both_kinds_of_database(place: Place, database_url: str) -> None:
    async with node(place, database_url) as here:
        first = await order(here, "K1", idempotency="k/0", once=Once("k", "f1"))
        again = await order(here, "K1", idempotency="k/0", once=Once("k", "f1"))
        with pytest.raises(ProblemError) as refused:
            await order(here, "K2", idempotency="k/1", once=Once("k", "f2"))
        elsewhere = await order(here, "K2", client="another", idempotency="k/0", once=Once("k", "f2"))

    assert (again.id, again.existing, elsewhere.existing) == (first.id, True, False)
    assert (refused.value.status, refused.value.code) == (409, "idempotency-conflict")


async def test_order_that_a_former_version_took_is_still_known(place: Place, database_url: str) -> None:
    """It wrote the key as it is, where this one writes a keyed hash."""
    async with node(place, database_url) as here:
        first = await order(here, "K3", idempotency="k/0")
        with writer(here.exchange.engine).begin() as connection:
            connection.execute(update(handovers).where(handovers.c.id == first.id).values(idempotency="k/0"))

        assert (await order(here, "K3", idempotency="k/0")).id == first.id


async def attempted(here: InProcess) -> None:
    """Send once what is due, as far as the worker comes."""
    work = Deliveries(here.exchange)
    for delivery in await work._claim():
        with suppress(RuntimeError):
            await work._attempt(delivery)


async def withdrawn(here: InProcess, consent: str) -> int:
    """Withdraw it; gives how many are told."""
    centre = here.place.network.parties["centre"].subsystem
    return (await here.consents.withdraw("test", centre, consent)).notices


async def under_consent(here: InProcess, person: str) -> str:
    """A consent of the person, and a handover that goes by it."""
    consent = await here.consent(person, purposes=["reception-to-county"], recipients=["county"])
    await order(here, person)
    return consent


async def test_recipient_that_nothing_was_sent_to_is_told_of_no_withdrawal(place: Place, database_url: str) -> None:
    """Nobody listens at the recipients' addresses: the connection is refused before the message is written."""
    async with node(place, database_url) as here:
        consent = await under_consent(here, "L11")
        await attempted(here)

        assert await withdrawn(here, consent) == 0
        requested = [entry for entry in here.entries() if entry.outcome == "requested" and entry.consents]
        assert requested, "it was on record as leaving"
        ended = [entry for entry in here.entries() if entry.previous in {entry.id for entry in requested}]
        assert [entry.detail["unsent"] for entry in ended] == [True] * len(requested)


async def prohibited(here: InProcess, person: str) -> int:
    """Record the person's prohibition of what was handed over; gives how many are told."""
    centre = here.place.network.parties["centre"].subsystem
    form = {"kind": "prohibition", "categories": ["health-needs"], "given_by": {"kind": "self"}}
    recorded = await here.consents.record("test", centre, Locator(MIGRI_CUSTOMER, person), form)
    return recorded.notices


async def test_recipient_that_nothing_was_sent_to_is_told_of_no_prohibition(place: Place, database_url: str) -> None:
    async with node(place, database_url) as here:
        await under_consent(here, "L13")
        await attempted(here)

        assert await prohibited(here, "L13") == 0


async def test_recipient_that_is_under_way_to_get_data_is_told_of_a_new_prohibition(
    place: Place, database_url: str
) -> None:
    class Cut:
        async def send(self, *_: object) -> None:
            raise ProblemError("peer-timeout")

    async with node(place, database_url) as found:
        here = replace(found, exchange=replace(found.exchange, transport=Cut()))
        await under_consent(here, "L14")
        await attempted(here)

        assert await prohibited(here, "L14") == 1


@pytest.mark.parametrize(
    "problem",
    [ProblemError("peer-unreachable"), ProblemError("peer-timeout"), RuntimeError("killed")],
    ids=["cut off", "no answer", "its end is not on record"],
)
async def test_recipient_that_may_have_got_something_is_told_of_the_withdrawal(
    place: Place, database_url: str, problem: Exception
) -> None:
    class Uncertain:
        async def send(self, *_: object) -> None:
            raise problem

    async with node(place, database_url) as found:
        here = replace(found, exchange=replace(found.exchange, transport=Uncertain()))
        consent = await under_consent(here, "L12")
        await attempted(here)

        assert await withdrawn(here, consent) == 1


@pytest.mark.parametrize("turns", range(5))
async def test_workers_that_are_stopped_while_they_are_woken_end(place: Place, tmp_path: Path, turns: int) -> None:
    """However many turns of the event loop lie between: on a busy machine many things happen within one."""
    async with node(place, f"sqlite:///{tmp_path}/node.db") as here:
        workers = Deliveries(here.exchange)
        workers.start()
        await until(lambda: workers._due._waiters)

        workers.wake()
        for _ in range(turns):
            await asyncio.sleep(0)
        stopping = asyncio.create_task(workers.stop())

        await until(stopping.done)
