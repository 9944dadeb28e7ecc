"""Withdrawal against answer, and withdrawal against delivery: whichever is first in the log wins, for good.

The rule, read from the log alone: no entry that lets something leave under a consent stands after the entry of its
withdrawal. Two replicas share each database, one answers, the other withdraws. A third of the interleavings begins with
the withdrawal, a third with the release, the rest with both at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import orjson
import pytest
from sqlalchemy import func, select

from audit.log.entries import Entry
from gateway.handover.deliver import Deliveries
from gateway.handover.plan import Handovers, Order
from gateway.person.values import Register
from gateway.storage.tables import deliveries
from tests.gateway.exchange.inprocess import InProcess, Place, node
from tests.waiting import until

ANSWERS = 400
DELIVERIES = 100
AT_ONCE = 50


async def test_nothing_leaves_after_a_committed_withdrawal(place: Place, database_url: str, tmp_path: Path) -> None:
    """500 interleavings on each of the two kinds of database, 1 000 in all: answers, and deliveries by the workers."""
    random = Random(20260301)
    # Nobody listens at the recipients. They are tried all the same, every time: it is the attempts that race here.
    async with (
        node(place, database_url, recipient_failures=1_000_000) as answering,
        node(place, database_url) as withdrawing,
    ):
        answered = [f"A{number}" for number in range(ANSWERS)]
        delivered = [f"D{number}" for number in range(DELIVERIES)]
        consents = dict(
            zip(
                [*answered, *delivered],
                await asyncio.gather(*(withdrawing.consent(person) for person in (*answered, *delivered))),
                strict=True,
            )
        )
        workers = Deliveries(answering.exchange)
        workers.start()
        try:
            released = await _raced(
                random, answered, lambda person: _ask(answering, person), consents, withdrawing.withdraw
            )
            await _raced(
                random, delivered, lambda person: _hand_over(answering, workers, person), consents, withdrawing.withdraw
            )
            await until(lambda: _attempts(answering) >= 2 * DELIVERIES)
        finally:
            await workers.stop()
        log = answering.entries()

    withdrawn = {
        entry.consents[0][0]: index
        for index, entry in enumerate(log)
        if entry.type == "consent" and entry.detail.get("status") == "withdrawn"
    }
    leaving = [(index, entry) for index, entry in enumerate(log) if _lets_leave(entry)]
    under_consent = [(index, entry) for index, entry in leaving if entry.consents]
    assert len(withdrawn) == ANSWERS + DELIVERIES
    assert {consents[person] for person in (*answered, *delivered)} == set(withdrawn)
    for index, entry in under_consent:
        for consent, _ in entry.consents:
            assert index < withdrawn[consent], f"{entry.type} at {index} after the withdrawal at {withdrawn[consent]}"
    # Both outcomes happened, so that the rule above was not kept by nothing ever happening.
    assert 0 < sum(released.values()) < ANSWERS
    for person, with_health in released.items():
        carried = any(consent == consents[person] for _, entry in under_consent for consent, _ in entry.consents)
        assert with_health == carried


async def _raced(
    random: Random,
    people: list[str],
    release: Callable[[str], Awaitable[bool]],
    consents: dict[str, str],
    withdraw: Callable[[str], Awaitable[None]],
) -> dict[str, bool]:
    """For each person, a release and a withdrawal in some order; whether the release carried what it was about."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, person: str) -> bool:
        async with limit:
            if number % 3 == 0:
                await withdraw(consents[person])
                return await release(person)
            if number % 3 == 1:
                carried = await release(person)
                await withdraw(consents[person])
                return carried
            first, second = random.random() * 0.004, random.random() * 0.004
            carried, _ = await asyncio.gather(
                _after(first, release(person)), _after(second, withdraw(consents[person]))
            )
            return carried

    return dict(zip(people, await asyncio.gather(*(one(*each) for each in enumerate(people))), strict=True))


async def _after(seconds: float, act: Awaitable[bool] | Awaitable[None]) -> bool:
    await asyncio.sleep(seconds)
    return bool(await act)


async def _ask(answering: InProcess, person: str) -> bool:
    answer = await answering.ask(person)
    assert answer.status == 200, answer.body
    return b"Observation" in answer.body


async def _hand_over(answering: InProcess, workers: Deliveries, person: str) -> bool:
    order = Order(
        client="test",
        sender=answering.place.network.parties["centre"].subsystem,
        bundle=answering.register.bundle(person),
        flow="F1",
        idempotency=person,
        case=None,
        user=None,
        not_before=None,
        trace_id="0" * 32,
        register=Register("register", is_authoritative=True),
    )
    plan = await Handovers(answering.exchange).plan(order)
    workers.wake()
    return any("health-needs" in one.categories for one in plan.deliveries if one.decision)


def _lets_leave(entry: Entry) -> bool:
    if entry.type == "delivery":
        return entry.outcome == "requested"
    return entry.type == "query" and entry.outcome in {"success", "partial"}


def _attempts(answering: InProcess) -> int:
    """How many deliveries have been let go, or stopped, at least once."""
    with answering.exchange.engine.connect() as connection:
        return connection.execute(
            select(func.count())
            .select_from(deliveries)
            .where((deliveries.c.attempts > 0) | (deliveries.c.state != "due"))
        ).scalar_one()


async def test_withdrawal_between_plan_and_delivery_takes_the_category_out(place: Place, database_url: str) -> None:
    async with node(place, database_url) as here:
        consent = await here.consent("P1")
        workers = Deliveries(here.exchange)
        planned = await _hand_over(here, workers, "P1")
        await here.withdraw(consent)
        workers.start()
        try:
            await until(lambda: _attempts(here) == 2)
        finally:
            await workers.stop()
        log = here.entries()

    plan = next(
        entry
        for entry in log
        if entry.type == "decision" and "health-needs" in entry.categories.permitted and entry.consents
    )
    sent = next(entry for entry in log if entry.type == "delivery" and "kotoutuminen" in (entry.service or ""))
    assert planned
    assert plan.consents == ((consent, 1),)
    assert sent.consents == ()
    assert "health-needs" not in sent.categories.permitted
    assert "health-needs" in sent.categories.withheld


async def test_delivery_that_may_carry_nothing_any_more_is_stopped(place: Place, database_url: str) -> None:
    """The person's permit was taken back between plan and delivery: nothing leaves, and the log says why."""
    from dataclasses import replace

    from gateway.registry.read.standing import Standing

    closed = False

    def standing(one: Standing) -> Standing:
        if not closed:
            return one
        return replace(one, rulebook=one.rulebook.with_bases(()))

    async with node(place, database_url, standing=standing) as here:
        workers = Deliveries(here.exchange)
        await _hand_over(here, workers, "P2")
        closed = True
        workers.start()
        try:
            await until(lambda: sum(entry.outcome == "stopped" for entry in here.entries()) >= 2)
        finally:
            await workers.stop()
        log = here.entries()

    assert not [entry for entry in log if _lets_leave(entry)]
    stopped = [entry for entry in log if entry.type == "delivery" and entry.outcome == "stopped"]
    assert {entry.reason for entry in stopped} == {"not-permitted"}


async def test_withdrawal_after_the_source_was_read_and_before_the_release_is_recorded_wins(
    place: Place, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was known of the person before the transaction of the release does not count in it."""
    async with node(place, database_url) as here:
        consent = await here.consent("P3")
        commit = here.exchange.log.commit

        async def after_the_withdrawal(unit):  # type: ignore[no-untyped-def]
            monkeypatch.setattr(here.exchange.log, "commit", commit)
            await here.withdraw(consent)
            return await commit(unit)

        monkeypatch.setattr(here.exchange.log, "commit", after_the_withdrawal)
        answer = await here.ask("P3")
        log = here.entries()

    assert answer.status == 200
    assert b"Observation" not in answer.body
    (released,) = [entry for entry in log if _lets_leave(entry)]
    assert released.consents == ()
    assert orjson.loads(answer.body)["entry"][0]["resource"]["resourceType"] == "Patient"
