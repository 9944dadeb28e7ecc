"""A hundred thousand deliveries that wait for somebody who is away keep nobody else waiting, and arrive in the end."""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from audit.log.entries import new_id
from gateway.exchange.context import DeliveryPolicy
from gateway.handover.deliver import Deliveries
from gateway.storage.engine import writer
from gateway.storage.tables import deliveries
from tests.databases import database_url, postgresql_server, postgresql_url
from tests.gateway.exchange.inprocess import InProcess, Place, node
from tests.gateway.handover import test_hanging as hanging
from tests.gateway.handover.test_deliveries import rows
from tests.survive.report import Figures, form, report
from tests.waiting import until

pytestmark = pytest.mark.slow

WAITING = form(300, 100_000)
OTHERS = 5
POLICY = DeliveryPolicy(12, 0.05, 0.2, 1.0, 30.0, 3600.0, recipient_workers=8, attempt_seconds=5.0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return hanging.build(tmp_path_factory.mktemp("queue"))


async def test_queue_for_one_who_is_away_delays_nobody_else_and_drains(
    place: Place, database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    async with AsyncExitStack() as stack:
        centre = await stack.enter_async_context(node(place, database_url))
        receivers = {
            name: await stack.enter_async_context(node(place, f"sqlite:///{tmp_path / name}.db", of=name))
            for name in (*hanging.HEALTHY, hanging.HANGS)
        }
        network = hanging.Network(centre, receivers, centre.exchange.transport)
        network.ports = {f"{hanging.HANGS}.demo": hanging.refusing(stack)}
        centre.exchange.transport = network  # type: ignore[assignment]
        centre.exchange.delivery = POLICY
        away = str(receivers[hanging.HANGS].party.subsystem)
        await hanging.order_to(centre, hanging.HANGS, "Q1")
        _again_and_again(centre, away, WAITING)
        for number in range(OTHERS):
            await hanging.order_to(centre, "kotka", f"N{number}")
        workers = Deliveries(centre.exchange)
        workers.start()
        try:
            # Theirs are the youngest of all that wait.
            await until(lambda: hanging.arrivals(receivers["kotka"]).total(), lambda seen: seen == OTHERS)
            assert not hanging.arrivals(receivers[hanging.HANGS])
            assert network.brought[f"{hanging.HANGS}.demo"] < WAITING, "each was tried, though nobody is there"
            network.ports.clear()
            await until(lambda: _open(centre), lambda seen: seen == 0)
        finally:
            await workers.stop()

        expected = hanging.planned(centre)
        arrived = hanging.arrivals(receivers[hanging.HANGS])
        told = Counter(entry.detail["delivery"] for entry in centre.entries() if entry.outcome == "success")
        lost = len(expected[away] - set(arrived)) + len(set(rows(centre)) - set(told))
        doubled = sum(times > 1 for counted in (arrived, told) for times in counted.values())
        report(f"queue-{request.node.callspec.id}", Figures(len(expected[away]), lost, doubled))
        assert len(expected[away]) == WAITING + 1


def _again_and_again(here: InProcess, member: str, count: int) -> None:
    """Put the one delivery to a member into the queue so many times more."""
    with writer(here.exchange.engine).begin() as connection:
        found = connection.execute(select(deliveries)).mappings()
        [row] = [dict(row) for row in found if row["service"].startswith(member)]
        for begin in range(0, count, 1000):
            copies = [{**row, "id": new_id(here.exchange.clock())} for _ in range(min(1000, count - begin))]
            connection.execute(insert(deliveries), copies)


def _open(here: InProcess) -> int:
    with here.exchange.engine.connect() as connection:
        # Counted there: to fetch a hundred thousand rows at each look would hold up the workers of this thread.
        return connection.scalar(select(func.count()).where(deliveries.c.state == "due")) or 0


__all__ = ["database_url", "postgresql_server", "postgresql_url"]
