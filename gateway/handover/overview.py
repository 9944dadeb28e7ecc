"""How our handovers stand: for the systems that ordered them and for the board that people look at."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select

from gateway.exchange.context import Exchange
from gateway.handover.contact import kept_contact
from gateway.handover.cursors import following, position
from gateway.handover.deliver import overdue
from gateway.handover.states import DeliveryState
from gateway.storage.tables import deliveries, handovers
from gateway.wire.identifiers import SubsystemId
from gateway.wire.problems import ProblemError


class Overview:
    """Reads the state of handovers; changes nothing."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def handovers(
        self, sender: SubsystemId, *, state: str | None, after: str, limit: int
    ) -> tuple[list[dict[str, Any]], str]:
        """Handovers that a subsystem ordered, in the order in which they were taken, after a cursor; and the cursor to
        go on with. State `overdue` is one of time.
        """
        return await asyncio.to_thread(self._handovers, sender, state, after, limit)

    def _handovers(
        self, sender: SubsystemId, state: str | None, after: str, limit: int
    ) -> tuple[list[dict[str, Any]], str]:
        own = handovers.c.id.in_(select(deliveries.c.handover).where(deliveries.c.consumer == str(sender)))
        with self._exchange.engine.connect() as connection:
            before = position(connection, handovers, after, own)
            statement = (
                select(handovers).where(own, handovers.c.number > before).order_by(handovers.c.number).limit(limit)
            )
            if state == "overdue":
                late = overdue(
                    connection, self._exchange.clock(), timedelta(seconds=self._exchange.delivery.overdue_seconds)
                )
                statement = statement.where(handovers.c.id.in_(late))
            elif state is not None:
                statement = statement.where(handovers.c.state == state)
            rows = connection.execute(statement).all()
            return [self._shown(connection, row) for row in rows], following(rows, before)

    async def handover(self, sender: SubsystemId, identifier: str) -> dict[str, Any]:
        """One handover that this subsystem ordered. Raises ProblemError `handover-unknown`."""
        return await asyncio.to_thread(self._handover, sender, identifier)

    def _handover(self, sender: SubsystemId, identifier: str) -> dict[str, Any]:
        with self._exchange.engine.connect() as connection:
            row = connection.execute(select(handovers).where(handovers.c.id == identifier)).first()
            if row is None or not any(part.consumer == str(sender) for part in _deliveries(connection, identifier)):
                raise ProblemError("handover-unknown", detail="this organisation ordered no handover of that id")
            return self._shown(connection, row)

    def _shown(self, connection: Connection, row: Row[Any]) -> dict[str, Any]:
        return {
            "id": row.id,
            "flow": row.flow,
            "state": row.state,
            "created": _time(row.created),
            "adapter": row.adapter,
            "changed": _time(row.changed),
            "deliveries": [
                {
                    "id": part.id,
                    "kind": part.kind,
                    "role": part.role,
                    "service": part.service or None,
                    "purpose": part.purpose,
                    "state": part.state,
                    "attempts": part.attempts,
                    "due": _time(part.due) if part.state == DeliveryState.DUE.value else None,
                    "problem": part.problem,
                    "receipt": part.receipt,
                    "contact": kept_contact(self._exchange.subjects, connection, "deliveries", part),
                }
                for part in _deliveries(connection, row.id)
            ],
        }


def _deliveries(connection: Connection, handover: str) -> Sequence[Row[Any]]:
    return connection.execute(
        select(deliveries).where(deliveries.c.handover == handover).order_by(deliveries.c.id)
    ).all()


def _time(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC).isoformat()
