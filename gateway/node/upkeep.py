"""What a running node looks after: its keys, the registry it goes by, who is shut out, who knocked in vain.

Once a second, and at once after `hurry`, an Upkeep looks whether key files or the registry have changed, and makes the
listeners and the client use what is new for every connection from then on. What changed, and what was refused, is on
record. Nothing here ends a request that is under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from audit.log.entries import EntryType, Outcome
from audit.log.log import LogError
from gateway.keys.certificates import load, to_der
from gateway.keys.errors import TrustError
from gateway.keys.expiry import STEPS, Ending
from gateway.keys.tls import peer_pin
from gateway.node import memory
from gateway.node.parts import Parts
from gateway.registry.read.standing import Standing
from gateway.storage import revocations
from gateway.storage.engine import read
from gateway.story import Story
from gateway.telemetry import event
from gateway.web.authentication import Callers

LOGGER = logging.getLogger("yhdyspinta.upkeep")
EVERY_SECONDS = 1.0
REVOCATIONS_SECONDS = 5.0
MEMORY_SECONDS = 60.0


class Upkeep:
    """Tends one node until it is stopped. Belongs to the node's event loop."""

    def __init__(self, parts: Parts, callers: Callers) -> None:
        self._node = parts.exchange.node
        self._clock = parts.exchange.clock
        self._standings = parts.standings
        self._places = parts.places
        self._faces = parts.faces
        self._transport = parts.exchange.transport
        self._callers = callers
        self._refused = parts.refused
        self._engine = parts.exchange.engine
        self._log = parts.exchange.log
        self._hold = parts.hold
        self._secrets = parts.secrets
        self._seen: Standing | None = parts.standings.latest
        self._said = ""
        self._warned: dict[tuple[str, datetime], int] = {}
        self._looked: float | None = None
        self._gave_back: float | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read who is shut out, before anybody is let in; then tend in the background."""
        await self._read_revocations()
        self._task = asyncio.create_task(self._tend())

    async def stop(self) -> None:
        """End, and put on record what has gathered."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._refused.close()
        await asyncio.to_thread(self._hold.keep)

    def hurry(self) -> None:
        """Look at everything at once."""
        self._looked = None
        self._standings.refresh_now()
        self._wake.set()

    def renew_authorities(self, paths: list[Path]) -> None:
        """Accept client certificates of these authorities from now on. Raises TrustError or OSError."""
        self._faces.renew([to_der(path.read_bytes()) for path in paths])

    def condition(self, now: datetime) -> dict[str, Any]:
        """How the node's keys stand."""
        return {name: place.condition(now) for name, place in self._places.items()}

    def endings(self, now: datetime) -> tuple[Ending, ...]:
        """What ends soon, the soonest first: the node's own certificates, and the anchors that issued all others."""
        latest = self._standings.latest
        anchors = latest.registry.anchors if latest is not None else ()
        dates = [(f"keys.{name}", place.held.not_after) for name, place in self._places.items()]
        dates += [(f"registry.anchors.{peer_pin(anchor)[:8]}", load(anchor).not_valid_after_utc) for anchor in anchors]
        found = (Ending.of(what, at, now) for what, at in dates)
        return tuple(sorted((ending for ending in found if ending is not None), key=lambda ending: ending.at))

    async def _warn(self) -> None:
        """Tell of each ending once at each step."""
        for ending in self.endings(self._clock()):
            if self._warned.get((ending.what, ending.at)) == ending.within:
                continue
            self._warned[ending.what, ending.at] = ending.within
            level = logging.ERROR if ending.within == STEPS[-1] else logging.WARNING
            event(LOGGER, level, "certificate-ends", what=ending.what, days=ending.days, ends=ending.at.isoformat())
            await self._record(
                EntryType.ANOMALY,
                Outcome.FAILED,
                reason="certificate-ends",
                detail={"what": ending.what, "days": ending.days},
            )

    async def _tend(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._once()
            except Exception as error:
                # A fault here must not end what keeps revocations coming.
                event(LOGGER, logging.ERROR, "upkeep-failed", reason=type(error).__name__)

    async def _once(self) -> None:
        await asyncio.to_thread(self._log.look)
        self._hold.lack(await asyncio.to_thread(self._secrets.look))
        await asyncio.to_thread(self._hold.look)
        await asyncio.to_thread(self._hold.keep)
        await self._tend_keys()
        await self._tend_registry()
        await self._warn()
        loop = asyncio.get_running_loop()
        if self._looked is None or loop.time() - self._looked >= REVOCATIONS_SECONDS:
            await self._read_revocations()
        if self._gave_back is None or loop.time() - self._gave_back >= MEMORY_SECONDS:
            self._gave_back = loop.time()
            await asyncio.to_thread(memory.give_back)
        self._refused.sum_up()

    async def _tend_keys(self) -> None:
        now = self._clock()
        settled = []
        for place in self._places.values():
            if await asyncio.to_thread(place.look):
                if place.problem is not None:
                    event(LOGGER, logging.ERROR, "key-refused", key=place.name, reason=place.problem.code)
                elif place.waiting is not None:
                    event(LOGGER, logging.INFO, "key-waits", key=place.name, certificate=place.waiting.name)
            if place.settle(now):
                settled.append(place)
        if not settled:
            return
        if any(place.held.tls is not None for place in settled):
            await self._renew_connections()
        for place in settled:
            event(LOGGER, logging.INFO, "key-in-use", key=place.name, certificate=place.held.name)
            await self._record(
                EntryType.KEY, Outcome.SUCCESS, detail={"key": place.name, "certificate": place.held.name}
            )

    async def _tend_registry(self) -> None:
        latest, seen = self._standings.latest, self._seen
        if latest is not None and latest is not seen:
            self._seen = latest
            if seen is None or seen.registry.content is not latest.registry.content:
                # Connections that are open were held against the former registry; the next ones are against this.
                await self._renew_connections()
            if seen is None or seen.registry.version != latest.registry.version:
                await self._record(EntryType.REGISTRY, Outcome.SUCCESS, detail={"version": latest.registry.version})
        problem = self._standings.problem
        said = problem.code if problem is not None else ""
        if said != self._said:
            self._said = said
            if problem is not None:
                outcome = Outcome.FAILED if problem.code == "registry-unavailable" else Outcome.REFUSED
                await self._record(EntryType.REGISTRY, outcome, reason=problem.code)

    async def _renew_connections(self) -> None:
        try:
            self._faces.renew()
            await self._transport.renew(self._faces.outgoing())
        except TrustError as error:
            event(LOGGER, logging.ERROR, "tls-not-renewed", reason=error.code)

    async def _read_revocations(self) -> None:
        try:
            self._callers.shut_out(await read(self._engine, revocations.read))
            self._looked = asyncio.get_running_loop().time()
        except SQLAlchemyError as error:
            event(LOGGER, logging.ERROR, "revocations-unread", reason=type(error).__name__)

    async def _record(
        self,
        kind: EntryType,
        outcome: Outcome,
        *,
        reason: str | None = None,
        detail: Mapping[str, str | int] | None = None,
    ) -> None:
        latest = self._standings.latest
        entry = Story(
            node=self._node,
            rulebook=latest.rulebook.digest if latest is not None and kind is EntryType.REGISTRY else None,
        ).entry(kind, outcome, self._clock(), reason=reason, detail=detail or {})
        try:
            await self._log.append((entry,))
        except LogError as error:
            event(LOGGER, logging.ERROR, "change-not-recorded", reason=type(error).__name__)
