"""A message expires when its sender gives up, and nothing is released after that."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from sqlalchemy import Connection

from audit.log.entries import Outcome
from audit.log.policy import MAX_BATCH
from audit.log.waiting import Committed, Unit, Written
from gateway.exchange import messaging
from gateway.query.ask import Consumer, Question
from gateway.sources.backends import Locator, Sourced
from gateway.wire.problems import ProblemError
from schemas.identifiers import MIGRI_CUSTOMER
from tests.gateway.exchange.inprocess import InProcess, Place, node, problem_of
from tests.waiting import until

PERSON = "7000001"


class Clock:
    """A clock that the tests move."""

    def __init__(self) -> None:
        self.moved = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.moved


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def here(place: Place, database_url: str, clock: Clock) -> AsyncIterator[InProcess]:
    async with node(place, database_url, clock=clock) as found:
        yield found


async def test_what_is_in_time_is_released(here: InProcess) -> None:
    assert (await here.ask(PERSON)).status == 200


@pytest.mark.parametrize("place_of_delay", ["source", "queue"])
async def test_nothing_is_released_after_the_message_has_expired(
    here: InProcess, clock: Clock, place_of_delay: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However late it is noticed: when the source has answered, or only when the answer was to be put on record."""

    async def slow(locator: Locator) -> Sourced:
        if place_of_delay == "source":
            clock.moved += timedelta(seconds=61)
        return Sourced(here.register.bundle(locator.value), ())

    if place_of_delay == "queue":
        commit = here.exchange.log.commit

        async def waits(unit: Unit[object]) -> Committed[object]:
            clock.moved += timedelta(seconds=61)
            return await commit(unit)

        monkeypatch.setattr(here.exchange.log, "commit", waits)
    monkeypatch.setattr(here.register, "fetch", slow)

    answer = await here.ask(PERSON)

    assert (answer.status, problem_of(answer)) == (503, "busy")
    assert orjson.loads(answer.body)["retry_after"] >= 1
    assert [entry.outcome for entry in here.entries() if entry.type == "query"] == [Outcome.FAILED]
    assert answer.message is not None


async def test_what_would_wait_too_long_for_the_log_is_refused_before_the_source_is_asked(here: InProcess) -> None:
    log = here.exchange.log
    held, go_on = threading.Event(), threading.Event()

    def hold(_connection: Connection) -> Written[None]:
        held.set()
        go_on.wait()
        return Written(None, ())

    # Two batches wait for the log, whose last one took long.
    waiting = [asyncio.ensure_future(log.commit(hold))]
    await until(held.is_set)
    waiting += [asyncio.ensure_future(log.commit(lambda _connection: Written(None, ()))) for _ in range(2 * MAX_BATCH)]
    await until(lambda: log.waiting == 2 * MAX_BATCH)
    log._pace = 40.0
    asyncio.get_running_loop().call_soon(go_on.set)

    answer = await here.ask(PERSON)

    assert (answer.status, problem_of(answer)) == (503, "busy")
    assert orjson.loads(answer.body)["retry_after"] >= 80
    assert here.register.fetched == []
    await asyncio.gather(*waiting)


@pytest.mark.parametrize(("seconds", "lifetime"), [(15.0, 15), (0.5, 1), (300.0, 60), (60.0, 60)])
async def test_a_message_expires_when_its_sender_gives_up(here: InProcess, seconds: float, lifetime: int) -> None:
    here.exchange.limits = replace(here.exchange.limits, peer_timeout_seconds=seconds)
    at = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)

    assert messaging._deadline(here.exchange, at) == at + timedelta(seconds=lifetime)
    later = at + timedelta(milliseconds=900)
    assert messaging._deadline(here.exchange, later) - at in {
        timedelta(seconds=lifetime), timedelta(seconds=min(lifetime + 1, 60)),
    }  # fmt: skip


async def test_a_question_that_waited_too_long_at_home_is_not_sent(
    place: Place, database_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node(place, database_url, clock=clock, of="kotka") as asking:
        consumer = Consumer(asking.exchange)
        recorded = consumer._record_request

        async def waits(*given: object) -> object:
            found = await recorded(*given)  # type: ignore[arg-type]
            clock.moved += timedelta(seconds=61)
            return found

        monkeypatch.setattr(consumer, "_record_request", waits)

        with pytest.raises(ProblemError) as refused:
            await consumer.ask(
                Question(
                    client="test",
                    consumer=asking.party.subsystem,
                    service=asking.service,
                    locator=Locator(MIGRI_CUSTOMER, PERSON),
                    purpose="service-need-lookup",
                    categories=frozenset({"identity"}),
                    case=None,
                    user=None,
                    emergency=None,
                    trace_id="0" * 32,
                    trace={},
                )
            )

    assert (refused.value.code, refused.value.retry_after) == ("busy", 1)
