"""Connections that were refused before anyone could say anything: counted, logged and put on record, but not by the
thousand.

A TLS handshake that fails never reaches HTTP, and a client that is not registered never reaches an exchange. Each such
refusal counts in a metric. The first of its kind (face and problem code) is logged and becomes an `anomaly` entry at
once; those that follow within WINDOW seconds are summed up in one more event and entry at its end. So an officer sees
that somebody knocked, with what, and how often, and a port scanner cannot fill the log. Where the connections came from
is the firewall's to know: the node keeps no addresses.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from audit.log.entries import Entry
from audit.log.log import Log, LogError
from gateway.story import Story
from gateway.telemetry import Telemetry, event

LOGGER = logging.getLogger("yhdyspinta.connections")
WINDOW = timedelta(seconds=300)
#: Different kinds that are kept apart at one time; what exceeds them is summed up under its face and code alone.
KINDS = 256


@dataclass(slots=True)
class _Window:
    """Refusals of one kind: since when they are summed up, and how many came since the last report."""

    since: datetime
    count: int = 0


class RefusedConnections:
    """The tally of one node. Belongs to its event loop."""

    def __init__(self, node: str, clock: Callable[[], datetime], telemetry: Telemetry) -> None:
        self._node = node
        self._clock = clock
        self._telemetry = telemetry
        self._windows: dict[tuple[str, str, str], _Window] = {}
        self._log: Log | None = None
        self._reporting: set[asyncio.Task[None]] = set()

    def report_to(self, log: Log) -> None:
        """Record in `log` from now on."""
        self._log = log

    def on(self, face: str) -> Callable[[str], None]:
        """What a face's TLS context calls for each handshake that it refused."""
        return lambda code: self.count(face, code)

    def count(self, face: str, code: str, certificate: str = "") -> None:
        """One refusal. `certificate` is the thumbprint of the certificate that was shown, where one could be read."""
        self._telemetry.handshakes.add(1, {"face": face, "reason": code})
        kind = (face, code, certificate if len(self._windows) < KINDS else "")
        window = self._windows.get(kind)
        if window is None:
            now = self._clock()
            self._windows[kind] = _Window(now)
            self._report(kind, 1, now)
        else:
            window.count += 1

    def sum_up(self) -> None:
        """Report what has gathered in windows that are over; to be called every few seconds."""
        now = self._clock()
        for kind, window in list(self._windows.items()):
            if timedelta(0) <= now - window.since < WINDOW:
                continue
            if window.count == 0:
                del self._windows[kind]
                continue
            self._report(kind, window.count, now)
            self._windows[kind] = _Window(now)

    async def close(self) -> None:
        """Report what has gathered, and wait until it is on record."""
        for kind, window in self._windows.items():
            if window.count:
                self._report(kind, window.count, self._clock())
        self._windows.clear()
        await asyncio.gather(*self._reporting)

    def _report(self, kind: tuple[str, str, str], count: int, now: datetime) -> None:
        face, code, certificate = kind
        detail: dict[str, str | int] = {"face": face, "count": count}
        if certificate:
            detail["certificate"] = certificate
        event(LOGGER, logging.WARNING, "connection-refused", reason=code, **detail)
        if self._log is not None:
            entry = Story(node=self._node).entry("anomaly", "refused", now, reason=code, detail=detail)
            task = asyncio.get_running_loop().create_task(self._record(self._log, entry))
            self._reporting.add(task)
            task.add_done_callback(self._reporting.discard)

    @staticmethod
    async def _record(log: Log, entry: Entry) -> None:
        try:
            await log.append((entry,))
        except LogError as error:
            event(LOGGER, logging.ERROR, "refusal-not-recorded", reason=type(error).__name__, code=entry.reason)
