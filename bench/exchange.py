"""The whole exchange: client, node, mutual TLS, node, source and back, against the same hops without any of it.

What a node does on the way: two decisions, two signatures and two verifications, mapping, validation, projection, and
durable entries in the logs of both nodes. Baseline A does the same hops and TLS by FastAPI and aiohttp, baseline B by
FastAPI and httpx; both only pass the bytes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import aiohttp

from adapters.samples import write_samples
from bench.figures import Figure, ratio
from gateway.demo.leash import leashed
from gateway.demo.network import Network, build
from gateway.demo.organisations import DEMO
from gateway.demo.patience import Patience
from gateway.demo.ports import LOOPBACK, Ports
from gateway.demo.processes import Processes
from gateway.keys.certificates import to_pem
from gateway.registry.run.authority import Authority
from schemas.identifiers import MIGRI_CUSTOMER

PART = "whole exchange"
IN_FLIGHT = 64
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Target:
    """Something to send the load to: an address, and the processes whose CPU time it costs."""

    name: str
    url: str
    processes: list[subprocess.Popen[bytes]]
    throughput: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)  # p50 at one in flight, ms
    latencies: list[float] = field(default_factory=list)  # all at 80 % of the peak, ms
    cpu: list[float] = field(default_factory=list)  # ms per exchange, all processes and their children together


def run(*, rounds: int = 5, seconds: float = 3.0) -> list[Figure]:
    """Measure, in interleaved rounds."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, _targets(Path(folder)) as (targets, client):
        return asyncio.run(_measure(targets, client, rounds, seconds))


async def _measure(targets: list[Target], client: ssl.SSLContext, rounds: int, seconds: float) -> list[Figure]:
    connector = aiohttp.TCPConnector(limit=0, ssl=client)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:
        for target in targets:
            await _load(session, target.url, IN_FLIGHT, 1.0)
        for _ in range(rounds):
            for target in targets:
                before = _cpu(target.processes)
                done, elapsed, _ = await _load(session, target.url, IN_FLIGHT, seconds)
                target.throughput.append(done / elapsed)
                target.cpu.append((_cpu(target.processes) - before) * 1000 / done)
                _, _, latencies = await _load(session, target.url, 1, seconds / 3)
                target.alone.append(median(latencies))
        ours = targets[0]
        ours.latencies = await _paced(session, ours.url, 0.8 * median(ours.throughput), seconds * 2)
    a, b = targets[1], targets[2]
    centiles = quantiles(ours.latencies, n=100)
    return [
        ratio(PART, f"throughput, {IN_FLIGHT} in flight", "exchanges/s", ours.throughput, "A: pass-through, aiohttp",
              a.throughput, goal=0.5),
        ratio(PART, f"throughput, {IN_FLIGHT} in flight", "exchanges/s", ours.throughput, "B: pass-through, httpx",
              b.throughput, goal=3.0),
        ratio(PART, "latency p50, one in flight", "ms", ours.alone, "A: pass-through, aiohttp", a.alone, goal=3.0,
              sense="at most"),
        ratio(PART, "CPU per exchange, nodes and readers", "ms", ours.cpu, "A: pass-through, aiohttp", a.cpu),
        Figure(PART, "latency p99 at 80 % of the peak", "ms", centiles[98], "its p50", centiles[49], 5.0, "at most"),
    ]  # fmt: skip


async def _load(
    session: aiohttp.ClientSession, url: str, in_flight: int, seconds: float
) -> tuple[int, float, list[float]]:
    """Keep so many requests in flight for so long: how many were answered, in how long, and each latency in ms."""
    begun = time.perf_counter()
    latencies: list[float] = []

    async def asker(number: int) -> None:
        while time.perf_counter() - begun < seconds:
            number += in_flight
            latencies.append(await _ask(session, url, number))

    await asyncio.gather(*(asker(number) for number in range(in_flight)))
    return len(latencies), time.perf_counter() - begun, latencies


async def _paced(session: aiohttp.ClientSession, url: str, rate: float, seconds: float) -> list[float]:
    """Send at a steady rate whatever comes back: latencies in ms, waiting for a late answer included."""
    begun = time.perf_counter()
    tasks = []
    for number in range(int(rate * seconds)):
        due = begun + number / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(_ask(session, url, number)))
    return await asyncio.gather(*tasks)


_BODIES: list[bytes] = []


async def _ask(session: aiohttp.ClientSession, url: str, number: int) -> float:
    begun = time.perf_counter()
    headers = {"Content-Type": "application/json"}
    async with session.post(url, data=_BODIES[number % len(_BODIES)], headers=headers) as answer:
        body = await answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{url} answered {answer.status}: {body[:300]!r}")
    return (time.perf_counter() - begun) * 1000


def _cpu(processes: list[subprocess.Popen[bytes]]) -> float:
    """Seconds of CPU that the processes have used, and all that they have started: a node's readers work for it."""
    return sum(_ticks_of(process.pid) for process in processes) / _TICKS


def _ticks_of(pid: int) -> int:
    """Ticks of a process, of its children that have ended and, with theirs, of those that run."""
    total = 0
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended just now: its parent counts it
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
        total = sum(int(ticks) for ticks in fields[11:15])
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += sum(_ticks_of(int(child)) for child in (task / "children").read_text("ascii").split())
    return total


@contextlib.contextmanager
def _targets(folder: Path) -> Iterator[tuple[list[Target], ssl.SSLContext]]:
    """Two nodes with a source behind them, and both baselines in front of the same source."""
    samples = write_samples(folder / "register")
    export = folder / "register" / "reception-centre.csv"
    organisations = [organisation for organisation in DEMO if organisation.name in {"centre", "kotka"}]
    network = build(folder / "network", datetime.now(UTC), export, organisations=organisations)
    kotka, centre = network.parties["kotka"], network.parties["centre"]
    for party in (kotka, centre):
        # One client asks as fast as it can, which is what the limits are there to stop.
        with party.config.open("a") as file:
            file.write("\n[rates]\nuser_per_minute = 0\ncaller_per_minute = 0\n")
            file.write("\n[limits]\nin_flight_each = 4096\nin_flight = 4096\n")
    persons = [case["key"] for name, case in samples["cases"].items() if name in {"p01-asylum-adult", "p10-moves-on"}]
    persons += [f"DEMO-{number}" for number in range(1011, 1020)]
    _BODIES[:] = [_question(network, person) for person in persons]
    reserved = Ports(4)
    ports = tuple(reserved)
    with contextlib.ExitStack() as stack:
        source = _start(stack, folder, ["bench.source", str(centre.system), str(export)])
        passing: list[tuple[int, list[subprocess.Popen[bytes]]]] = []
        for index, client in enumerate(("aiohttp", "httpx")):
            inner, outer, path = ports[2 * index], ports[2 * index + 1], "/peer/v1/messages"
            entry = "kotka"
            passing.append(
                (
                    outer,
                    [
                        _hop(stack, network, client, inner, path, f"http://{LOOPBACK}:{centre.system}/", None),
                        _hop(stack, network, client, outer, "/v1/queries", f"https://{LOOPBACK}:{inner}{path}", entry),
                    ],
                )
            )  # fmt: skip
        processes = Processes(network)
        stack.callback(processes.stop)
        for name in ("centre", "kotka"):
            processes.start_node(name)
        calling = ssl.create_default_context(cafile=str(kotka.folder / "clients-authority.pem"))
        calling.load_cert_chain(kotka.folder / "client.pem", kotka.folder / "client.key", network.passphrase)
        nodes = [processes.process(f"{name}-node") for name in ("centre", "kotka")]
        targets = [
            Target("yhdyspinta", f"{kotka.address}/v1/queries", nodes),
            *(Target(f"pass-through {port}", f"https://localhost:{port}/v1/queries", own) for port, own in passing),
        ]
        asyncio.run(_until_up([target.url for target in targets], calling, source))
        yield targets, calling


def _question(network: Network, person: str) -> bytes:
    return json.dumps(
        {
            "service": network.service("centre", "palvelutarve"),
            "subject": {"system": MIGRI_CUSTOMER, "value": person},
            "purpose": "service-need-lookup",
            "categories": ["identity", "language", "contact", "housing", "education", "health-needs"],
            "user": "caseworker-1",
        }
    ).encode()


def _hop(
    stack: contextlib.ExitStack, network: Network, client: str, port: int, path: str, target: str, party: str | None
) -> subprocess.Popen[bytes]:
    """One hop of a baseline, with the same certificates as the node whose place it takes."""
    anchors = network.folder / "anchors.pem"
    if not anchors.exists():
        authority = Authority(network.folder / "authority", network.passphrase.encode())
        anchors.write_bytes(b"".join(to_pem(anchor) for anchor in authority.content().anchors))
    own = network.parties[party or "centre"].folder
    tls = [str(own / "tls.pem"), str(own / "tls.key"), network.passphrase, str(anchors)]
    face = [
        str(own / "clients-tls.pem"), str(own / "clients-tls.key"), network.passphrase,
        str(own / "clients-authority.pem"),
    ]  # fmt: skip
    settings = {
        "port": port, "path": path, "next": target, "client": client,
        "serve": face if party else tls, "call": tls if party else None,
    }  # fmt: skip
    file = network.folder / f"hop-{port}.json"
    file.write_text(json.dumps(settings), "utf-8")
    return _start(stack, network.folder, ["bench.passthrough", str(file)])


def _start(stack: contextlib.ExitStack, folder: Path, arguments: list[str]) -> subprocess.Popen[bytes]:
    log = stack.enter_context((folder / f"{arguments[0]}.log").open("ab"))
    process = subprocess.Popen(
        leashed([sys.executable, "-m", *arguments]), stdout=log, stderr=log, stdin=subprocess.DEVNULL
    )

    def stop() -> None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(stop)
    return process


async def _until_up(urls: list[str], context: ssl.SSLContext, source: subprocess.Popen[Any]) -> None:
    patience = Patience()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        for url in urls:
            while True:
                try:
                    await _ask(session, url, 0)
                    break
                except (aiohttp.ClientError, OSError, RuntimeError):
                    if patience.is_over(url) or source.poll() is not None:
                        raise
                    await asyncio.sleep(0.1)
