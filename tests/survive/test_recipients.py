"""Of four recipients one hangs, one refuses and one answers garbage: the healthy one does not notice.

It has all of its own within 1.25 times the time that it takes with the others healthy: the long form measures that,
both ways round in one run. The short form judges counts alone.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.exchange.context import DeliveryPolicy, Limits
from gateway.handover.deliver import Deliveries
from tests.databases import database_url, postgresql_server, postgresql_url
from tests.gateway.exchange.inprocess import InProcess, Place, node
from tests.gateway.handover import test_hanging as hanging
from tests.gateway.handover.test_deliveries import rows
from tests.survive.report import IS_LONG, Figures, form, report
from tests.waiting import until

pytestmark = pytest.mark.slow

#: To each of the four, in each of the four runs.
HANDOVERS = form(6, 1250)
ORDER = form(2, 4)
MOST = 1.25
POLICY = DeliveryPolicy(12, 0.05, 0.5, 2.0, 30.0, 3600.0, recipient_workers=4, attempt_seconds=5.0)
BUSY = ("kotka", hanging.HANGS, hanging.REFUSES, hanging.BABBLES)
GARBAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return hanging.build(tmp_path_factory.mktemp("four"))


@dataclass(frozen=True)
class Run:
    """One run: how long the healthy one waited for all of its own, and what was delivered in the end."""

    seconds: float
    deliveries: int
    lost: int
    doubled: int


async def test_healthy_recipient_does_not_notice_three_that_are_not(
    place: Place, database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    databases = [database_url, *(f"sqlite:///{tmp_path}/centre-{number}.db" for number in range(1, ORDER))]
    runs: dict[bool, list[Run]] = {True: [], False: []}
    for number, database in enumerate(databases):
        (tmp_path / str(number)).mkdir()
        is_well = number in {0, 3}
        runs[is_well].append(await _run(place, database, tmp_path / str(number), is_well=is_well))
    every = [*runs[True], *runs[False]]
    ratios = [round(ill.seconds / well.seconds, 2) for well, ill in zip(runs[True], runs[False], strict=True)]
    more = {
        "ratios": ratios,
        "healthy": [run.seconds for run in runs[True]],
        "ill": [run.seconds for run in runs[False]],
    }
    report(
        f"recipients-{request.node.callspec.id}",
        Figures(
            sum(run.deliveries for run in every),
            sum(run.lost for run in every),
            sum(run.doubled for run in every),
            more=more,
        ),
    )
    if IS_LONG:
        assert all(ratio <= MOST for ratio in ratios), more


async def _run(place: Place, database: str, folder: Path, *, is_well: bool) -> Run:
    names = (*hanging.HEALTHY, hanging.HANGS, hanging.REFUSES, hanging.BABBLES)
    async with AsyncExitStack() as stack:
        centre = await stack.enter_async_context(node(place, database))
        receivers = {
            name: await stack.enter_async_context(node(place, f"sqlite:///{folder / name}.db", of=name))
            for name in names
        }
        network = hanging.Network(centre, receivers, await hanging.patient(stack, centre))
        silent = await stack.enter_async_context(hanging.Listener(None).listening(place, hanging.HANGS))
        garbage = await stack.enter_async_context(hanging.Listener(GARBAGE).listening(place, hanging.BABBLES))
        if not is_well:
            network.ports = {
                f"{hanging.HANGS}.demo": silent.port,
                f"{hanging.REFUSES}.demo": hanging.refusing(stack),
                f"{hanging.BABBLES}.demo": garbage.port,
            }
        centre.exchange.transport = network  # type: ignore[assignment]
        centre.exchange.delivery = POLICY
        centre.exchange.limits = Limits(1 << 20, 16 * 1024, 15.0)
        for number in range(HANDOVERS):
            await asyncio.gather(*(hanging.order_to(centre, name, f"{name[:3]}{number}") for name in BUSY))
        expected = hanging.planned(centre)
        own = expected[str(receivers["kotka"].party.subsystem)]
        workers = Deliveries(centre.exchange)
        begun = time.monotonic()
        workers.start()
        try:
            await until(lambda: hanging.arrivals(receivers["kotka"]).total(), lambda seen: seen >= len(own))
            seconds = time.monotonic() - begun
            if not is_well:
                assert not hanging.arrivals(receivers[hanging.HANGS])
                network.ports.clear()
                silent.hang_up()
            await until(
                lambda: Counter(row.state for row in rows(centre).values()), lambda seen: set(seen) == {"delivered"}
            )
        finally:
            await workers.stop()
        return Run(round(seconds, 2), *_accounted(centre, receivers, expected))


def _accounted(
    centre: InProcess, receivers: dict[str, InProcess], expected: dict[str, set[str]]
) -> tuple[int, int, int]:
    """Deliveries, and how many of them are lost and doubled, by the inboxes and by the sender's log."""
    lost = doubled = 0
    for receiver in receivers.values():
        arrived = hanging.arrivals(receiver)
        lost += len(expected.get(str(receiver.party.subsystem), set()) - set(arrived))
        doubled += sum(times > 1 for times in arrived.values())
    told = Counter(entry.detail["delivery"] for entry in centre.entries() if entry.outcome == "success")
    everything = set().union(*expected.values())
    return len(everything), lost + len(everything - set(told)), doubled + sum(times > 1 for times in told.values())


__all__ = ["database_url", "postgresql_server", "postgresql_url"]
