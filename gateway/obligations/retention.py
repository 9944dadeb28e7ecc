"""End what a delivery brought on its day: its content is deleted here, and an entry says so."""

from __future__ import annotations

import logging
from typing import Any, Final

from sqlalchemy import Connection, Select, delete, select, update

from audit.log.entries import Categories, Entry, EntryType, Outcome, micros
from audit.log.waiting import Written
from consent.deciding.verdicts import legal_day
from gateway.exchange.context import Exchange
from gateway.storage.engine import read
from gateway.storage.tables import bodies, inbox
from gateway.story import Story
from gateway.telemetry import event

LOGGER = logging.getLogger("yhdyspinta.retention")
#: How many are ended in one transaction.
BATCH: Final = 100


class Retention:
    """Ends the contents whose last day is over. What is kept besides (the receipt, the entry) names nobody."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def end(self) -> int:
        """End what is over; gives how many."""
        ended = 0
        while found := (await self._exchange.log.commit(self._ending)).value:
            ended += found
            if found < BATCH:
                break
        if ended:
            event(LOGGER, logging.INFO, "contents-ended", contents=ended)
        return ended

    async def is_any_over(self) -> bool:
        """Whether anything is over: asked before the log is locked for it."""
        over = self._over().limit(1)
        return await read(self._exchange.engine, lambda connection: connection.execute(over).first()) is not None

    def _over(self) -> Select[Any]:
        today = legal_day(self._exchange.clock()).isoformat()
        return select(inbox).where(inbox.c.retain_until < today, inbox.c.sealed.is_not(None))

    def _ending(self, connection: Connection) -> Written[int]:
        now = self._exchange.clock()
        entries: list[Entry] = []
        rows = connection.execute(self._over().order_by(inbox.c.retain_until).limit(BATCH)).all()
        for row in rows:
            subject = self._exchange.subjects.by_id(connection, row.subject)
            entry = Story(
                node=self._exchange.node,
                recipient=row.recipient,
                source=row.sender,
                message_id=row.id,
                subject=subject.pseudonym if subject is not None else None,
                purpose=row.purpose,
                case=row.case_reference,
            ).entry(
                EntryType.RETENTION,
                Outcome.SUCCESS,
                now,
                categories=Categories((), tuple(row.categories.split())),
                previous=row.entry,
                detail={"act": "ended", "delivery": row.delivery, "last": row.retain_until},
            )
            connection.execute(
                update(inbox).where(inbox.c.id == row.id).values(sealed=None, contact=None, changed=micros(now))
            )
            connection.execute(delete(bodies).where(bodies.c.message_id == row.id))
            entries.append(entry)
        return Written(len(rows), tuple(entries))
