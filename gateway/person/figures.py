"""How many records wait for a decision about who they are about, and for how long: for operators, who see no person.

A held record is overdue one working day after it was put aside. Working days are Monday to Friday in Finland; public
holidays count as working days, so that an alarm comes too early around them rather than too late.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from audit.log.entries import ZONE
from audit.questions import links
from gateway.person.held import HeldKind, HeldRecords
from gateway.telemetry import Telemetry, event

LOGGER = logging.getLogger("yhdyspinta.identity")
EVERY_SECONDS: Final = 60.0
_SATURDAY: Final = 5


def overdue_from(held: datetime) -> datetime:
    """The moment at which a record that was put aside then has waited for one working day."""
    start = held.astimezone(ZONE)
    if start.weekday() >= _SATURDAY:
        start = datetime.combine(_next_working_day(start), time(), ZONE)
    return datetime.combine(_next_working_day(start), start.time(), ZONE)


def _next_working_day(at: datetime) -> datetime:
    following = at + timedelta(days=1)
    while following.weekday() >= _SATURDAY:
        following += timedelta(days=1)
    return following


@dataclass(frozen=True, slots=True)
class Figures:
    """What waits. `oldest` is how long the longest waiting held record has waited, in seconds."""

    held: int = 0
    overdue: int = 0
    oldest: float = 0.0
    proposals: int = 0
    unconfirmed: int = 0


class IdentityWatch:
    """Counts anew once a minute, so that asking how a node is costs nothing and waits for no database."""

    def __init__(self, engine: Engine, held: HeldRecords, clock: Callable[[], datetime], telemetry: Telemetry) -> None:
        self._engine = engine
        self._held = held
        self._clock = clock
        self._figures = Figures()
        self._counted: datetime | None = None
        telemetry.watch(
            "yhdyspinta_identity_waiting", "held records, those overdue, proposals, joins that nobody has confirmed",
            lambda: {"held": self._figures.held, "overdue": self._figures.overdue,
                     "proposals": self._figures.proposals, "unconfirmed": self._figures.unconfirmed},
            label="what", unit="",
        )  # fmt: skip
        telemetry.watch(
            "yhdyspinta_identity_oldest", "since the longest waiting held record was put aside",
            lambda: {"": self._figures.oldest},
        )  # fmt: skip

    def condition(self) -> dict[str, int | str | None]:
        """The figures as `/health` shows them, with the moment at which they were counted."""
        figures = self._figures
        return {
            "held": figures.held,
            "overdue": figures.overdue,
            "oldest_seconds": int(figures.oldest),
            "proposals": figures.proposals,
            "unconfirmed": figures.unconfirmed,
            "counted": self._counted.isoformat() if self._counted is not None else None,
        }

    async def run(self) -> None:
        """Count until cancelled."""
        while True:
            await self.count()
            await asyncio.sleep(EVERY_SECONDS)

    async def count(self) -> None:
        """Count once. Without the database the last figures stand, and say of when they are."""
        try:
            figures = await asyncio.to_thread(self._read)
        except SQLAlchemyError as error:
            event(LOGGER, logging.WARNING, "identity-not-counted", reason=type(error).__name__)
            return
        if figures.overdue > self._figures.overdue:
            event(LOGGER, logging.WARNING, "identity-overdue", overdue=figures.overdue, held=figures.held)
        self._figures, self._counted = figures, self._clock()

    def _read(self) -> Figures:
        now = self._clock()
        with self._engine.connect() as connection:
            waiting = self._held.waiting(connection)
            unconfirmed = links.count_unconfirmed(connection)
        since = [record.created for record in waiting if record.kind is not HeldKind.PROPOSAL]
        return Figures(
            held=len(since),
            overdue=sum(overdue_from(created) <= now for created in since),
            oldest=max(0.0, (now - min(since)).total_seconds()) if since else 0.0,
            proposals=len(waiting) - len(since),
            unconfirmed=unconfirmed,
        )
