"""Hold what logs say against what became of it, and what was exchanged against its evidence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from sqlalchemy import Engine, select

from audit.log.entries import Entry, EntryType, Outcome
from audit.log.tables import entries
from gateway.evidence import package
from gateway.evidence.collecting import collect
from gateway.evidence.exporting import Opened, holdings_of
from gateway.evidence.presenting import present
from gateway.evidence.verifying import Report, verify
from gateway.handover.states import DeliveryState
from gateway.settings import Settings
from gateway.storage.tables import deliveries, messages

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


def _kinds_of(engine: Engine) -> list[tuple[str, str]]:
    """A message and its direction for each kind of exchange: those of one kind left the same entries in the log."""
    said: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for entry in entries_of(engine):
        if entry.message_id is not None:
            said[entry.message_id].add((entry.type, entry.outcome, entry.purpose or ""))
    with engine.connect() as connection:
        rows = connection.execute(select(messages.c.message_id, messages.c.direction)).all()
    kinds = {(row.direction, frozenset(said[row.message_id])): (row.message_id, row.direction) for row in rows}
    return list(kinds.values())


def evidence_of(settings: Settings, engine: Engine) -> list[Report]:
    """What the verification says of packages of evidence that are made now, one of each kind of exchange.

    Raises TrustError, OSError.
    """
    holdings = holdings_of(settings, Opened.of(settings), archives=(), with_bodies=True)
    root = settings.registry.root.read_bytes()
    reports = []
    for message, direction in _kinds_of(engine):
        with engine.connect() as connection:
            evidence = collect(connection, message, holdings, direction=direction)
        data = package.write(evidence, present(evidence), datetime.now(UTC))
        reports.append(verify(*package.read(data), root=root))
    return reports
