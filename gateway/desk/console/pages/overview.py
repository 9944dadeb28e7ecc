"""The first page: what waits for the officer, how the log stands, and a way to everything else."""

from __future__ import annotations

from datetime import timedelta

from audit.log.rows import member_of
from audit.questions import reviews
from audit.questions.query import by_id
from audit.questions.tallies import between
from audit.tree.witness import all_alarms
from gateway.desk.console.office import EVERYONE, Answer, Page, Shown, Visit

DAYS = 30


def overview(visit: Visit) -> Answer:
    """Figures of the last thirty days, what waits, and the state of the log."""
    role = visit.session.identity.role
    if role == "operator":
        return Shown("overview.html", {"figures": None, "waiting": 0, "alarms": (), "checkpoint": None})
    own = visit.session.identity.member
    released = refused = 0
    for count in between(visit.connection, visit.now - timedelta(days=DAYS), visit.now):
        if own is not None and own not in (member_of(count.source), member_of(count.recipient)):
            continue
        released += count.released
        refused += count.refused
    emergencies = sum(
        visit.sees(item.entry) for item in reviews.unreviewed_emergencies(visit.connection, find=visit.find)
    )
    patterns = reviews.waiting(visit.connection, kind="anomaly")
    if own is not None:
        patterns = tuple(
            pattern for pattern in patterns if by_id(visit.connection, pattern.entry, find=visit.find) is not None
        )
    values = {
        "figures": {"released": released, "refused": refused, "days": DAYS},
        "waiting": emergencies + len(patterns),
        "alarms": all_alarms(visit.connection),
        "checkpoint": visit.office.log.latest(),
    }
    return Shown("overview.html", values)


PAGES = (Page("/", "overview", overview, EVERYONE),)
