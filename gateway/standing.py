"""What a node goes by at this moment: the trust registry and its rulebook, kept fresh in the background.

A thread of its own refreshes the registry. A refresh that fails changes nothing: the last good registry stands until
it expires, and then no data moves until a new one is there.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from consent.rulebook import Rulebook, RulebookError, load
from gateway.exchange.context import Standing
from gateway.protocol.problems import ProblemError
from gateway.settings import RegistrySettings
from gateway.telemetry import Telemetry, event
from gateway.trust.distribution import RegistryClient
from gateway.trust.errors import TrustError

LOGGER = logging.getLogger("yhdyspinta.registry")

#: With less than this part of its life left, health warns that a registry is about to expire: seconds.
WARN_SECONDS = 12 * 3600


class Standings:
    """The node's current registry and rulebook."""

    def __init__(self, settings: RegistrySettings, clock: Callable[[], datetime], telemetry: Telemetry) -> None:
        self._client = RegistryClient(settings.source, settings.cache, settings.root.read_bytes())
        self._every = settings.refresh_seconds
        self._clock = clock
        self._telemetry = telemetry
        self._standing: Standing | None = None
        self._rulebook_problem: str | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep_fresh, name="registry", daemon=True)

    async def start(self) -> None:
        """Read the registry once, then keep it fresh. Raises TrustError if there is none that can be used at all."""
        await asyncio.to_thread(self._refresh)
        if self._standing is None:
            self._client.current(self._clock())  # says why there is none
            raise TrustError(
                "registry-unavailable", f"the registry's rulebook cannot be used: {self._rulebook_problem}"
            )
        self._thread.start()

    async def stop(self) -> None:
        """End the background refresh."""
        self._stopping.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    def now(self, at: datetime) -> Standing:
        """The registry and rulebook in force. Raises ProblemError `registry-expired` or `registry-unavailable`."""
        standing = self._standing
        if standing is None:
            raise ProblemError("registry-unavailable", detail="the node has no registry that it can believe")
        if standing.registry.expired(at):
            raise ProblemError(
                "registry-expired",
                detail="the trust registry has expired, so no data moves",
                remedy="publish the registry anew; the node fetches it by itself",
            )
        return standing

    def condition(self, at: datetime) -> dict[str, Any]:
        """How the registry stands: version, age and remaining life in seconds, what went wrong at the last refresh."""
        standing = self._standing
        refreshed = self._client.refreshed
        left = (standing.registry.expires - at).total_seconds() if standing is not None else 0.0
        problem = self._client.problem
        return {
            "in_force": standing is not None and left > 0,
            "version": standing.registry.version if standing is not None else None,
            "age_seconds": round((at - refreshed).total_seconds()) if refreshed is not None else None,
            "remaining_seconds": round(left),
            "expires_soon": left < WARN_SECONDS,
            "problem": str(problem) if problem is not None else self._rulebook_problem,
            "rulebook": standing.rulebook.digest if standing is not None else None,
        }

    def _keep_fresh(self) -> None:
        while not self._stopping.wait(self._every):
            self._refresh()

    def _refresh(self) -> None:
        now = self._clock()
        try:
            registry = self._client.refresh(now)
        except TrustError as error:
            event(LOGGER, logging.WARNING, "refresh-failed", reason=error.code)
            try:
                registry = self._client.current(now)
            except TrustError:
                return
        held = self._standing
        if held is not None and held.registry is registry:
            return
        try:
            rulebook = self._rulebook_of(registry.rulebook, held)
        except RulebookError as error:
            # A rulebook that does not load is never half in force: the former registry stands until it expires.
            self._rulebook_problem = f"{len(error.faults)} faults, the first in line {error.faults[0].line}"
            event(LOGGER, logging.ERROR, "rulebook-refused", faults=len(error.faults))
            return
        self._rulebook_problem = None
        self._standing = Standing(registry, rulebook)
        event(LOGGER, logging.INFO, "registry", version=registry.version)

    def _rulebook_of(self, data: bytes, held: Standing | None) -> Rulebook:
        if held is not None and held.registry.rulebook == data:
            return held.rulebook
        return load(data, source="rulebook.yaml")
