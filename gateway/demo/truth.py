"""Hold what logs say of a delivery against what became of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Engine, select

from audit.log.entries import Entry, EntryType, Outcome
from audit.log.tables import entries
from gateway.handover.states import DeliveryState
from gateway.storage.tables import deliveries

_DENIES = frozenset({Outcome.STOPPED, Outcome.FAILED, Outcome.REFUSED})


def accepted(engine: Engine) -> set[str]:
    """The ids of a node's deliveries that were accepted."""
    with engine.connect() as connection:
        return set(connection.scalars(select(deliveries.c.id).where(deliveries.c.state == DeliveryState.ACCEPTED)))


def entries_of(engine: Engine) -> list[Entry]:
    """A node's whole log, in its order."""
    with engine.connect() as connection:
        return [Entry.parse(body) for body in connection.scalars(select(entries.c.body).order_by(entries.c.idx))]


def denials(log: Sequence[Entry], accepted: Collection[str]) -> list[Entry]:
    """The entries of a log that say of an accepted delivery that it was stopped, failed or was refused.

    An attempt may have failed before the one that succeeded: that is so, and no denial.
    """
    found: list[Entry] = []
    open_until: set[str] = set()  # read backwards: deliveries of which a later entry tells the success
    for entry in reversed(log):
        delivery = str((entry.detail or {}).get("delivery", ""))
        if delivery not in accepted:
            continue
        is_attempt = entry.type == EntryType.DELIVERY and entry.outcome == Outcome.FAILED
        if entry.type == EntryType.DELIVERY and entry.outcome == Outcome.SUCCESS:
            open_until.add(delivery)
        elif entry.outcome in _DENIES and not (is_attempt and delivery in open_until):
            found.append(entry)
    return found[::-1]
