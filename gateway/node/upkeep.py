"""What a running node looks after: its keys, the registry it goes by, who is shut out, who knocked in vain.

Once a second, and at once after `hurry`, an Upkeep looks whether key files or the registry have changed, and makes the
listeners and the client use what is new for every connection from then on. What changed, and what was refused, is on
record. Nothing here ends a request that is under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from audit.log.log import Log, LogError
from gateway.exchange.transport import PeerTransport, PinnedContext, pinned
from gateway.keys.certificates import load, to_der
from gateway.keys.credentials import KeyPlace
from gateway.keys.errors import TrustError
from gateway.keys.expiry import STEPS, Ending
from gateway.keys.tls import (
    ServingContext,
    TlsKey,
    client_context,
    client_face_context,
    peer_pin,
    server_context,
    serving,
    watched,
)
from gateway.node.handshakes import RefusedConnections
from gateway.node.hold import Hold
from gateway.registry.read.standing import Standing, Standings
from gateway.storage import revocations
from gateway.story import Story
from gateway.telemetry import event
from gateway.web.authentication import Callers

LOGGER = logging.getLogger("yhdyspinta.upkeep")
EVERY_SECONDS = 1.0
REVOCATIONS_SECONDS = 5.0


class TlsFaces:
    """The TLS contexts of a node, made anew whenever a key or the registry's anchors change."""

    def __init__(
        self,
        places: Mapping[str, KeyPlace],
        authorities: list[bytes],
        standings: Standings,
        refused: RefusedConnections,
    ) -> None:
        """`places` has the keys `peers` and `clients`. Raises TrustError if they cannot be used."""
        self._places = places
        self._standings = standings
        self._refused = refused
        self._authorities = authorities
        self.peers: ServingContext = serving(self._peers())
        self.clients: ServingContext = serving(self._clients())

    def renew(self, authorities: list[bytes] | None = None) -> None:
        """Serve new connections with the keys and anchors of this moment."""
        self._authorities = authorities if authorities is not None else self._authorities
        self.peers.current, self.clients.current = self._peers(), self._clients()

    def outgoing(self) -> PinnedContext:
        """What the node connects to its peers with."""
        return pinned(client_context(self._tls("peers"), self.anchors(), PinnedContext), self._listed)

    def anchors(self) -> tuple[bytes, ...]:
        """The registry's anchors, of the last registry that was good."""
        latest = self._standings.latest
        return latest.registry.anchors if latest is not None else ()

    def _listed(self, node: str, certificate: bytes) -> bool:
        latest = self._standings.latest
        if latest is None:
            return False
        known = latest.registry.node(node)
        return known is not None and latest.registry.tls_certificate(known, certificate) is not None

    def _peers(self) -> Any:
        return watched(server_context(self._tls("peers"), self.anchors()), self._refused.on("peers"))

    def _clients(self) -> Any:
        return watched(
            client_face_context(self._tls("clients"), self._authorities, demand=False), self._refused.on("clients")
        )

    def _tls(self, name: str) -> TlsKey:
        key = self._places[name].held.tls
        assert key is not None
        return key


class Upkeep:
    """Tends one node until it is stopped. Belongs to the node's event loop."""

    def __init__(
        self,
        node: str,
        *,
        clock: Callable[[], datetime],
        standings: Standings,
        places: Mapping[str, KeyPlace],
        faces: TlsFaces,
        transport: PeerTransport,
        callers: Callers,
        refused: RefusedConnections,
        engine: Engine,
        log: Log,
        hold: Hold,
    ) -> None:
        self._node = node
        self._clock = clock
        self._standings = standings
        self._places = places
        self._faces = faces
        self._transport = transport
        self._callers = callers
        self._refused = refused
        self._engine = engine
        self._log = log
        self._hold = hold
        self._seen: Standing | None = standings.latest
        self._said = ""
        self._warned: dict[tuple[str, datetime], int] = {}
        self._looked: float | None = None
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
                "anomaly", "failed", reason="certificate-ends", detail={"what": ending.what, "days": ending.days}
            )

    def in_force(self, now: datetime) -> bool:
        """Whether the keys that move data are such as others believe."""
        return all(self._places[name].condition(now)["in_force"] for name in ("signing", "peers"))

    async def _tend(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), EVERY_SECONDS)
            self._wake.clear()
            try:
                await self._once()
            except Exception as error:
                # A fault here must not end what keeps revocations coming.
                event(LOGGER, logging.ERROR, "upkeep-failed", reason=type(error).__name__)

    async def _once(self) -> None:
        await asyncio.to_thread(self._hold.look)
        await asyncio.to_thread(self._hold.keep)
        await self._tend_keys()
        await self._tend_registry()
        await self._warn()
        loop = asyncio.get_running_loop()
        if self._looked is None or loop.time() - self._looked >= REVOCATIONS_SECONDS:
            await self._read_revocations()
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
            await self._record("key", "success", detail={"key": place.name, "certificate": place.held.name})

    async def _tend_registry(self) -> None:
        latest, seen = self._standings.latest, self._seen
        if latest is not None and latest is not seen:
            self._seen = latest
            if seen is None or seen.registry.content is not latest.registry.content:
                # Connections that are open were held against the former registry; the next ones are against this.
                await self._renew_connections()
            if seen is None or seen.registry.version != latest.registry.version:
                await self._record("registry", "success", detail={"version": latest.registry.version})
        problem = self._standings.problem
        said = problem.code if problem is not None else ""
        if said != self._said:
            self._said = said
            if problem is not None:
                outcome = "failed" if problem.code == "registry-unavailable" else "refused"
                await self._record("registry", outcome, reason=problem.code)

    async def _renew_connections(self) -> None:
        try:
            self._faces.renew()
            await self._transport.renew(self._faces.outgoing())
        except TrustError as error:
            event(LOGGER, logging.ERROR, "tls-not-renewed", reason=error.code)

    async def _read_revocations(self) -> None:
        def read() -> revocations.Revocations:
            with self._engine.connect() as connection:
                return revocations.read(connection)

        try:
            self._callers.shut_out(await asyncio.to_thread(read))
            self._looked = asyncio.get_running_loop().time()
        except SQLAlchemyError as error:
            event(LOGGER, logging.ERROR, "revocations-unread", reason=type(error).__name__)

    async def _record(
        self, kind: str, outcome: str, *, reason: str | None = None, detail: Mapping[str, str | int] | None = None
    ) -> None:
        latest = self._standings.latest
        entry = Story(
            node=self._node, rulebook=latest.rulebook.digest if latest is not None and kind == "registry" else None
        ).entry(kind, outcome, self._clock(), reason=reason, detail=detail or {})
        try:
            await self._log.append((entry,))
        except LogError as error:
            event(LOGGER, logging.ERROR, "change-not-recorded", reason=type(error).__name__)
