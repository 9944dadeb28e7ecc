"""A register takes back its record of a person: what has not left stays, and who has it already is on record."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from adapters.sdk import Change, ChangeKind
from audit.log.entries import micros
from gateway.handover.changes import Changes, Taken, Teller
from gateway.handover.plan import Handovers, Order
from gateway.person.values import Register
from gateway.storage.tables import deliveries, handovers
from gateway.wire.problems import ProblemError
from schemas.identifiers import HETU, MIGRI_CUSTOMER
from tests.gateway.exchange.inprocess import InProcess

REGISTER = Register("register", True)


async def hand_over(here: InProcess, person: str) -> int:
    """Plan a handover; gives how many deliveries wait to leave."""
    order = Order(
        client="source register", sender=here.party.subsystem, bundle=here.register.bundle(person), flow="F1",
        idempotency=person, case=None, user=None, not_before=None, trace_id="0" * 32, register=REGISTER,
    )  # fmt: skip
    plan = await Handovers(here.exchange).plan(order)
    return sum(delivery.state == "due" for delivery in plan.deliveries)


async def withdraw(here: InProcess, person: str, system: str = MIGRI_CUSTOMER, **other: object) -> Taken:
    sender = other.get("sender", here.party.subsystem)
    teller = Teller("source register", sender, REGISTER, "0" * 32)  # type: ignore[arg-type]
    return await Changes(here.exchange).take(Change(ChangeKind.WITHDRAWN, ((system, person),)), teller)


def states(here: InProcess) -> list[tuple[str, str | None]]:
    with here.exchange.engine.connect() as connection:
        return [(row[0], row[1]) for row in connection.execute(select(deliveries.c.state, deliveries.c.problem))]


async def test_what_has_not_left_is_stopped_and_is_on_record(here: InProcess) -> None:
    waiting = await hand_over(here, "C-1")
    assert waiting

    taken = await withdraw(here, "C-1")

    assert taken == Taken(stopped=waiting, gone=0)
    assert states(here) == [("stopped", "client-withdrawn")] * waiting
    with here.exchange.engine.connect() as connection:
        assert connection.execute(select(handovers.c.state, handovers.c.sealed)).all() == [("completed", None)]
    *_, opening, first = here.entries()[-waiting - 1 :][:2]
    assert (opening.type, opening.outcome, opening.detail["stopped"]) == ("handover", "success", waiting)
    assert (first.type, first.outcome, first.reason) == ("delivery", "stopped", "client-withdrawn")
    assert opening.subject == first.subject


async def test_saying_it_again_changes_nothing(here: InProcess) -> None:
    await hand_over(here, "C-1")
    await withdraw(here, "C-1")

    assert await withdraw(here, "C-1") == Taken(stopped=0, gone=0)


async def test_nobody_else_is_touched(here: InProcess) -> None:
    waiting = await hand_over(here, "C-1") + await hand_over(here, "C-2")

    taken = await withdraw(here, "C-2")
    stranger = await withdraw(here, "C-3")

    assert taken.stopped == waiting / 2
    assert stranger == Taken(0, 0)
    assert here.entries()[-1].outcome == "not-found"
    assert [state for state, _ in states(here)].count("due") == waiting / 2


async def test_another_organisation_of_the_node_cannot_take_it_back(here: InProcess) -> None:
    waiting = await hand_over(here, "C-1")

    taken = await withdraw(here, "C-1", sender=here.place.network.parties["kotka"].subsystem)

    assert taken == Taken(0, 0)
    assert [state for state, _ in states(here)] == ["due"] * waiting


async def test_what_is_leaving_at_this_moment_is_its_workers_and_counts_as_gone(here: InProcess) -> None:
    waiting = await hand_over(here, "C-1")
    with here.exchange.engine.begin() as connection:
        connection.execute(update(deliveries).values(lease=micros(here.exchange.clock()) + 60_000_000, token=7))

    taken = await withdraw(here, "C-1")

    assert taken == Taken(stopped=0, gone=waiting)
    assert {state for state, _ in states(here)} == {"due"}


async def test_nobody_becomes_known_by_being_taken_back(here: InProcess) -> None:
    await withdraw(here, "C-9")

    assert here.entries()[-1].subject is None


async def test_an_identifier_that_nobody_can_have_is_refused(here: InProcess) -> None:
    with pytest.raises(ProblemError) as refused:
        await withdraw(here, "010190-900X", system=HETU)

    assert refused.value.code == "subject-check"
