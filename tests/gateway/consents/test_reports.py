"""What somebody reports holds for five working days and then lapses, on both kinds of database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.consents.reports import Reports
from schemas.identifiers import MIGRI_CUSTOMER
from tests.databases import database_url, postgresql_server, postgresql_url
from tests.gateway.exchange.inprocess import InProcess, Place, node

__all__ = ["database_url", "postgresql_server", "postgresql_url"]
pytestmark = pytest.mark.xdist_group("reports")


class Clock:
    """A clock that a test moves; it begins at this moment, for certificates are of today."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


async def is_given(here: InProcess, person: str) -> bool:
    """Whether the municipality gets the health needs, which rest on consent."""
    answer = await here.ask(person)
    return answer.status == 200 and "health-needs" in here.entries()[-1].categories.permitted


async def test_report_that_nobody_confirms_lapses_with_an_entry(place: Place, database_url: str) -> None:
    clock = Clock()
    async with node(place, database_url, clock=clock) as here:
        await here.consent("A1")
        assert await is_given(here, "A1")
        report = await here.consent("A1", kind="prohibition", given_by={"kind": "other"})
        reports = Reports(here.exchange)
        assert not await is_given(here, "A1")

        (waiting,) = (await reports.waiting(here.party.subsystem)).reports
        assert waiting.id == report
        assert await reports.lapse() == 0
        assert waiting.ends is not None
        last = datetime.combine(waiting.ends, datetime.min.time(), UTC) + timedelta(hours=12)
        before = len(here.entries())
        clock.now = last + timedelta(days=1)
        assert await reports.lapse() == 1
        assert await reports.lapse() == 0

        (entry,) = here.entries()[before:]
        assert (entry.type, entry.outcome, entry.consents) == ("refusal", "success", ((report, 2),))
        assert entry.detail["status"] == "lapsed"
        assert (await reports.waiting(here.party.subsystem)).reports == ()
        person = await here.exchange.people.recall(here.exchange.looked_for(here.party.subsystem, MIGRI_CUSTOMER, "A1"))
        assert not any(word.forbids for word in person.words)


async def test_report_of_the_fourth_working_day_still_stands(place: Place, tmp_path: Path) -> None:
    clock = Clock()
    async with node(place, f"sqlite:///{tmp_path / 'node.db'}", clock=clock) as here:
        await here.consent("A1", kind="prohibition", given_by={"kind": "other"})
        reports = Reports(here.exchange)
        (waiting,) = (await reports.waiting(here.party.subsystem)).reports
        assert waiting.ends is not None

        # Before midnight in Finland, in summer as in winter.
        clock.now = datetime.combine(waiting.ends, datetime.min.time(), UTC) + timedelta(hours=20, minutes=59)

        assert await reports.lapse() == 0
        assert waiting.in_force(waiting.ends)
