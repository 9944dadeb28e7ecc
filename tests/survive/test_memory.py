"""Under constant load the memory of a node stays flat.

The slope is that of a straight line through what was sampled (least squares), in MiB for each thousand exchanges, after
a time in which caches fill. The caches are set small, so that this time is enough for them: what rises afterwards is
kept for ever. The short form only shows that the measuring works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.demo.network import Network
from gateway.node.memory import HEAPS
from tests.gateway.running import Running
from tests.survive.load import NODES, Load, account, network, settled
from tests.survive.report import IS_LONG, form, report

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SECONDS = form(20, 1200)
FILLING = form(2, 300)
MOST = 0.2
HEAP = 64 << 20


@dataclass(frozen=True)
class Sample:
    """After so many exchanges a process had so many MiB of its own."""

    exchanges: int
    mebibytes: float


def slope(samples: Sequence[Sample]) -> float:
    """MiB for each thousand exchanges, by least squares. Nothing moved: 0."""
    across = sum(sample.exchanges for sample in samples) / len(samples)
    height = sum(sample.mebibytes for sample in samples) / len(samples)
    spread = sum((sample.exchanges - across) ** 2 for sample in samples)
    rise = sum((sample.exchanges - across) * (sample.mebibytes - height) for sample in samples)
    return 1000 * rise / spread if spread else 0.0


def anonymous(process: int) -> float:
    """MiB that a process has for itself, without files that are mapped."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon:")).split()[1]) / 1024


def heaps(process: int) -> int:
    """How many heaps the C library keeps in a process beside its first: of each, 64 MiB of addresses are set aside."""
    found = 0
    maps = [line.split()[:2] for line in Path(f"/proc/{process}/maps").read_text().splitlines()]
    for (taken, rights), (kept, none) in pairwise(maps):
        low, high = (int(address, 16) for address in taken.split("-"))
        start, end = (int(address, 16) for address in kept.split("-"))
        is_heap = low % HEAP == 0 and start == high and end >= low + HEAP
        found += is_heap and (rights, none) == ("rw-p", "---p")
    return found


def test_slope_is_that_of_the_line_through_the_samples() -> None:
    rising = [Sample(number * 100, 50 + number * 0.03 + (-1) ** number * 0.001) for number in range(200)]

    assert slope(rising) == pytest.approx(0.3, rel=0.01)
    assert slope([replace(sample, mebibytes=50.0) for sample in rising]) == 0
    assert slope([Sample(7, 50.0), Sample(7, 51.0)]) == 0


def small(built: Network) -> None:
    """Keep little of the databases and of persons' keys in memory: those caches are the ones that take long to fill."""
    for name in NODES:
        config = built.parties[name].config
        text = config.read_text("utf-8")
        assert text.count("[database]\n") == 1
        config.write_text(text.replace("[database]\n", "[database]\ncache_mb = 1\ncached_keys = 256\n"), "utf-8")


def test_memory_stays_flat_under_constant_load(tmp_path: Path) -> None:
    with network(tmp_path, prepare=small) as nodes:
        asyncio.run(_loading(nodes))


async def _loading(nodes: Running) -> None:
    load = Load(nodes, pause=0.0)
    sampled: dict[str, list[Sample]] = {name: [] for name in NODES}
    async with load.at_work(handing=1, asking=5):
        for second in range(SECONDS):
            await asyncio.sleep(1)
            load.alive()
            if second < FILLING:
                continue
            for name, samples in sampled.items():
                process = nodes.processes.process(f"{name}-node").pid
                samples.append(Sample(load.told.exchanges, anonymous(process)))
                assert heaps(process) < HEAPS, "threads took heaps of their own"
    await settled(nodes, load.told)
    slopes = {name: round(slope(samples), 4) for name, samples in sampled.items()}
    figures = replace(await account(nodes, load.told), slope=max(slopes.values()))
    ends = {
        name: (round(samples[0].mebibytes, 1), round(samples[-1].mebibytes, 1)) for name, samples in sampled.items()
    }
    report("memory", replace(figures, more={"slopes": slopes, "first and last MiB": ends}))
    assert all(samples[-1].exchanges > samples[0].exchanges for samples in sampled.values())
    if IS_LONG:
        assert max(slopes.values()) < MOST, slopes
