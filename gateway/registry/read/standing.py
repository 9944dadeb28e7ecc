"""What a node goes by at this moment: the trust registry and its rulebook, kept fresh in the background.

A thread of its own refreshes the registry. A refresh that fails changes nothing: the last good registry stands until
it expires, and then no data moves until a new one is there.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from consent.rulebook import load
from consent.rules.document import RulebookError
from consent.rules.law import Rulebook
from gateway.keys.errors import TrustError
from gateway.registry.read.distribution import RegistryClient
from gateway.registry.read.registry import Registry
from gateway.settings import RegistrySettings
from gateway.telemetry import Telemetry, event
from gateway.wire.problems import ProblemError

LOGGER = logging.getLogger("yhdyspinta.registry")

#: Health warns that a registry is about to expire when less than this is left, or a quarter of the life that it had
#: when it was fetched if that is less: seconds.
WARN_SECONDS = 12 * 3600.0
WARN_EVERY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Standing:
    """The registry and its rulebook as one node holds them at one moment."""

    registry: Registry
    rulebook: Rulebook
    #: Requests that were found possible while nothing was known of the person: the same for everybody, for a day.
    possible: set[tuple[object, ...]] = field(default_factory=set, compare=False, repr=False)


class Standings:
    """The node's current registry and rulebook."""

    def __init__(
        self, settings: RegistrySettings, instance: str, clock: Callable[[], datetime], telemetry: Telemetry
    ) -> None:
        """`instance` is the network that the node is of; the registry of another is refused."""
        self._client = RegistryClient(settings.source, settings.cache, settings.root.read_bytes(), instance=instance)
        self._every = settings.refresh_seconds
        self._clock = clock
        self._telemetry = telemetry
        self._standing: Standing | None = None
        self._life = 0.0
        self._warned: datetime | None = None
        self._rulebook_problem: str | None = None
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._keep_fresh, name="registry", daemon=True)

    async def start(self) -> None:
        """Read the registry once, then keep it fresh. Raises TrustError if there is none that can be used at all."""
        await asyncio.to_thread(self._refresh)
        if self._standing is None:
            self._client.current(self._clock())  # says why there is none
            raise TrustError(
                "registry-unavailable", f"the registry's rulebook cannot be used: {self._rulebook_problem}"
            )
        self._telemetry.watch("yhdyspinta_registry_age", "since the last refresh that succeeded", self._age)
        self._telemetry.watch("yhdyspinta_registry_remaining", "until the registry expires", self._remaining)
        self._thread.start()

    async def stop(self) -> None:
        """End the background refresh."""
        self._stopping.set()
        self._wake.set()
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

    @property
    def latest(self) -> Standing | None:
        """The last that was good, in force or not."""
        return self._standing

    @property
    def problem(self) -> TrustError | None:
        """Why the latest refresh failed; None if it did not."""
        return self._client.problem

    def refresh_now(self) -> None:
        """Have the registry refreshed at once, in the background."""
        self._wake.set()

    def vouched(self, version: int) -> dict[str, bytes]:
        """Signed metadata and files of one version that this node has used: see `RegistryClient.vouched`."""
        return self._client.vouched(version)

    def _age(self) -> dict[str, float]:
        refreshed = self._client.refreshed
        return {"": (self._clock() - refreshed).total_seconds()} if refreshed is not None else {}

    def _remaining(self) -> dict[str, float]:
        standing = self._standing
        return {"": (standing.registry.expires - self._clock()).total_seconds()} if standing is not None else {}

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
            "expires_soon": left < min(WARN_SECONDS, self._life / 4),
            "problem": str(problem) if problem is not None else self._rulebook_problem,
            "rulebook": standing.rulebook.digest if standing is not None else None,
        }

    def _keep_fresh(self) -> None:
        while True:
            self._wake.wait(self._every)
            self._wake.clear()
            if self._stopping.is_set():
                return
            try:
                self._refresh()
            except Exception as error:
                # Whatever it was, the node goes on with what it has, says so, and tries again.
                event(LOGGER, logging.ERROR, "refresh-failed", reason=type(error).__name__)
            self._warn(self._clock())

    def _warn(self, now: datetime) -> None:
        """Say early, and every hour again, that the registry is about to expire."""
        condition = self.condition(now)
        if not condition["expires_soon"]:
            self._warned = None
        elif self._warned is None or now - self._warned >= WARN_EVERY:
            self._warned = now
            event(
                LOGGER,
                logging.WARNING if condition["in_force"] else logging.ERROR,
                "registry-expires-soon" if condition["in_force"] else "registry-expired",
                remaining_seconds=condition["remaining_seconds"],
                version=condition["version"],
            )

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
        if held is None or held.registry.expires != registry.expires:
            self._life = (registry.expires - now).total_seconds()
        self._standing = Standing(registry, rulebook)
        if held is None or held.registry.version != registry.version:
            event(LOGGER, logging.INFO, "registry", version=registry.version)

    def _rulebook_of(self, data: bytes, held: Standing | None) -> Rulebook:
        if held is not None and held.registry.rulebook == data:
            return held.rulebook
        return load(data, source="rulebook.yaml")
