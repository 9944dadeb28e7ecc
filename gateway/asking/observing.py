"""See what the registry makes of our standing requests, and put it on record: published, or taken out."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from audit.log.entries import Entry
from audit.log.log import LogError
from audit.log.waiting import Written
from gateway.asking.web import requests_of
from gateway.exchange.context import Exchange
from gateway.telemetry import event
from gateway.wire.problems import ProblemError

LOGGER = logging.getLogger("yhdyspinta.requests")
EVERY_SECONDS: Final = 2.0


class Observing:
    """Looks whenever the registry has another version than at the last look."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._requests = requests_of(exchange)
        self._seen: int | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except (LogError, SQLAlchemyError, ProblemError) as error:
                event(LOGGER, logging.WARNING, "requests-unseen", reason=type(error).__name__)
            await asyncio.sleep(EVERY_SECONDS)

    async def look(self) -> tuple[Entry, ...]:
        """Look once; gives what was put on record."""
        now = self._exchange.clock()
        version = self._exchange.standing_though_held(now).registry.version
        if version == self._seen:
            return ()
        members = dict.fromkeys(subsystem.member for subsystem in self._exchange.subsystems)

        def observe(connection: Connection) -> Written[tuple[Entry, ...]]:
            entries = self._requests.observe(connection, members, now)
            return Written(entries, entries)

        told = (await self._exchange.log.commit(observe)).value
        self._seen = version
        return told
