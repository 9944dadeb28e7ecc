"""The size of a registry: how long a large one takes to load, and whether look-ups in it cost more than in a small one.

A network of 10 000 members with a node, a signing certificate and ten services each is made, and read the way a node
reads it. Every look-up that an exchange makes is timed against the same look-up in a registry of three members. While a
large registry is loaded in a background thread, as a node does, the longest pause of the event loop is measured: first
for one that is new, then for one in which members have changed and services have not, as after a revocation. Loading is
given in seconds of the processor, which is what it takes on a machine that does nothing else.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Final

from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]

from bench.figures import Figure, ratio
from gateway.keys import certificates
from gateway.registry.read import targets, writing
from gateway.registry.read.distribution import RegistryClient
from gateway.registry.read.entries import (
    Content,
    Member,
    Node,
    RoleTerm,
    ServiceDescriptor,
    SigningCertificate,
    Subsystem,
)
from gateway.registry.read.registry import Registry
from gateway.registry.read.roles import ROLES
from gateway.registry.run.publishing import Publisher
from gateway.wire.identifiers import MemberId, ServiceId, SubsystemId
from gateway.wire.signing import thumbprint
from texts import Text

INSTANCE: Final = "FI-BENCH"
NOW: Final = datetime(2026, 10, 1, tzinfo=UTC)
MEMBERS: Final = 10_000
SERVICES: Final = 10
ROUNDS: Final = 5
LOOKUPS: Final = 2_000
LOAD_GOAL: Final = 2.0  # seconds
_NAME: Final = Text("Kunta", "Kommun", "Municipality")


def content(members: int) -> Content:
    """A registry of that many members. They share one key: what is measured is reading and looking up."""
    key = certificates.new_private_key("ES256")
    term = {"not_before": NOW - timedelta(days=1), "not_after": NOW + timedelta(days=365)}
    anchor = certificates.issue_authority(key, INSTANCE, serial=1, **term)
    template = certificates.issue_signing(
        certificates.Issuer(anchor, key),
        key.public_key(),
        MemberId(INSTANCE, "MUN", "0"),
        certificates.Term(**term, serial=2),
    )
    homes = [SubsystemId(MemberId(INSTANCE, "MUN", f"{number:07}"), "kotoutuminen") for number in range(members)]
    purposes, categories = frozenset({"service-need-lookup"}), frozenset({"identity", "language", "housing"})
    return Content(
        instance=INSTANCE,
        name=_NAME,
        anchors=(anchor,),
        members=tuple(
            Member(
                home.member,
                _NAME,
                (RoleTerm("municipality"),),
                (Subsystem(home, _NAME),),
                # The bytes of each certificate differ, as those of real ones would.
                (SigningCertificate(home.member, template + home.member.code.encode(), "ES256", *term.values()),),
            )
            for home in homes
        ),
        nodes=tuple(
            Node(
                f"n-{home.member.code}",
                home.member,
                f"https://n-{home.member.code}.example:5500",
                frozenset({thumbprint(home.member.code.encode())}),
                frozenset({home.member}),
            )
            for home in homes
        ),
        services=tuple(
            ServiceDescriptor(ServiceId(home, f"palvelu-{number}"), "query", _NAME, purposes, categories, "Bundle")
            for home in homes
            for number in range(SERVICES)
        ),
        rulebook=b"rulebook: none\n",
    )


def run() -> list[Figure]:
    """Measure."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        ring = {role: [CryptoSigner.generate_ed25519()] for role in ROLES}
        large = Publisher(folder / "large")
        large.create(writing.write(content(MEMBERS)), ring, {}, NOW)
        small = Registry(content(3), version=1, expires=NOW + timedelta(days=1))
        loads, renewals = [], []
        for number in range(ROUNDS):
            gc.collect()
            client = RegistryClient(large.folder, folder / f"cache-{number}", large.root())
            loads.append(_seconds(lambda client=client: client.refresh(NOW)))
            renewals.append(_seconds(lambda client=client: client.refresh(NOW)))
        registry = client.registry
        assert registry is not None
        assert len(registry.content.services) == MEMBERS * SERVICES
        firsts, changes = [], []
        for number in range(ROUNDS):
            client = RegistryClient(large.folder, folder / f"pause-{number}", large.root())
            firsts.append(asyncio.run(_longest_pause(client)))
            files = large.files()
            revoked = targets.read(files).members[number]
            members = files[targets.MEMBERS].replace(revoked.name.fi.encode(), b"Kaupunki", number + 1)
            large.publish(files | {targets.MEMBERS: members}, ring, NOW)
            changes.append(asyncio.run(_longest_pause(client)))
    figures = [
        Figure(
            "registry",
            f"first load, {MEMBERS} members and {MEMBERS * SERVICES} services, all signatures verified",
            "s",
            median(loads),
            goal=LOAD_GOAL,
            sense="at most",
            rounds=ROUNDS,
            samples=tuple(loads),
        ),
        _reported("refresh with nothing new", renewals),
        _reported("longest pause of the event loop while the first is loaded", firsts),
        _reported("longest pause of the event loop while one with other members is loaded", changes),
    ]
    return [*figures, *_lookups(registry, small)]


def _lookups(large: Registry, small: Registry) -> list[Figure]:
    """Every look-up of an exchange, in both registries in turn."""

    def kinds(registry: Registry) -> dict[str, Callable[[], object]]:
        member = registry.content.members[-1]
        service = ServiceId(member.subsystems[0].id, "palvelu-1")
        pin = next(iter(registry.content.nodes[-1].pins))
        certificate = thumbprint(member.signing[0].certificate)
        return {
            "service": lambda: registry.service(service),
            "node by its TLS certificate": lambda: registry.node_by_pin(pin),
            "nodes of a member": lambda: registry.nodes_of(member.id),
            "signing key": lambda: registry.signing_key(certificate),
            "roles of a subsystem": lambda: registry.roles_of(member.subsystems[0].id, NOW),
        }

    figures = []
    ours, theirs = kinds(large), kinds(small)
    for name in ours:
        first, second = [], []
        for _ in range(ROUNDS):
            first.append(_micros(ours[name]))
            second.append(_micros(theirs[name]))
        figures.append(
            ratio("registry", f"look-up: {name}", "µs", first, "3 members", second, goal=1.5, sense="at most")
        )
    return figures


def _reported(what: str, seconds: list[float]) -> Figure:
    return Figure("registry", what, "s", median(seconds), rounds=len(seconds), samples=tuple(seconds))


async def _longest_pause(client: RegistryClient) -> float:
    """The longest time for which the loop did not run while another thread loaded the registry."""
    done = threading.Event()

    def load() -> None:
        client.refresh(NOW)
        done.set()

    threading.Thread(target=load).start()
    longest, last = 0.0, time.perf_counter()
    while not done.is_set():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest


def _seconds(call: Callable[[], object]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


def _micros(call: Callable[[], object]) -> float:
    call()
    begun = time.perf_counter()
    for _ in range(LOOKUPS):
        call()
    return (time.perf_counter() - begun) / LOOKUPS * 1e6


if __name__ == "__main__":
    from bench.__main__ import drawn
    from gateway.terminal.output import console

    console.print(drawn(run()))
