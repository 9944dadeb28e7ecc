"""What people forbade and a human has still to see to: prohibitions tied to nobody, and reports that run out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from audit.log.entries import ZONE
from consent.words import store
from gateway.desk.reading import Reading
from gateway.person.figures import overdue_from
from gateway.person.held import HeldKind, waiting


@dataclass(frozen=True, slots=True)
class Astray:
    """A prohibition that is tied to nobody and protects nobody, without what it says."""

    id: str
    since: datetime
    is_overdue: bool


@dataclass(frozen=True, slots=True)
class Reported:
    """A prohibition that somebody told who may not speak for the person; it holds until the end of a day."""

    id: str
    since: datetime
    until: date | None
    categories: tuple[str, ...]
    is_last_day: bool


@dataclass(frozen=True, slots=True)
class Unsettled:
    """All that waits, the most pressing first; nobody is named."""

    unplaced: tuple[Astray, ...] = ()
    reports: tuple[Reported, ...] = ()

    @property
    def count(self) -> int:
        """How many wait."""
        return len(self.unplaced) + len(self.reports)

    @property
    def overdue(self) -> int:
        """How many of them can wait no longer."""
        return sum(astray.is_overdue for astray in self.unplaced) + sum(report.is_last_day for report in self.reports)


def unsettled(reading: Reading) -> Unsettled:
    """What waits of the members whose words the asker may see."""
    own, now = reading.asker.member, reading.now
    members = frozenset((own,) if own else reading.context.members)
    astray = [
        Astray(record.id, record.created, overdue_from(record.created) <= now)
        for record in waiting(reading.connection)
        if record.kind is HeldKind.WORD and record.member in members
    ]
    today = now.astimezone(ZONE).date()
    reported = [
        Reported(
            report.id,
            report.recorded_at,
            report.ends,
            tuple(sorted(report.categories)),
            report.ends is None or report.ends <= today,
        )
        for report in store.open_reports(reading.connection)
        if report.recorded_by.rpartition("/")[0] in members
    ]
    # The longest waiting is the first to be overdue, and the first to end the first to be lost.
    astray.sort(key=lambda item: (item.since, item.id))
    reported.sort(key=lambda item: (item.until or date.min, item.since, item.id))
    return Unsettled(tuple(astray), tuple(reported))
