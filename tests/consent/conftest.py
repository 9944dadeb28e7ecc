"""What the tests of the rules share: the reference rulebook, loaded once, and requests about invented people."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time

import pytest

from consent.deciding.examples import decide_case
from consent.deciding.verdicts import Decision
from consent.rules.law import Rulebook
from tests.databases import database_url, engine, postgresql_server, postgresql_url
from tests.former import former

__all__ = ["database_url", "engine", "postgresql_server", "postgresql_url"]
Decide = Callable[..., Decision]


@pytest.fixture(scope="session")
def rulebook() -> Rulebook:
    return former()


@pytest.fixture(scope="session")
def decide_for(rulebook: Rulebook) -> Decide:
    """Decide for one of the rulebook's persons between two of its parties on a day: `decide_for(case, to, purpose)`."""

    def decided(
        case: str,
        requester: str,
        purpose: str,
        *,
        provider: str = "centre",
        on: str = "2026-03-01",
        emergency: bool = False,
        categories: frozenset[str] | None = None,
    ) -> Decision:
        return decide_case(
            rulebook,
            rulebook.cases[case],
            provider=provider,
            requester=requester,
            purpose=purpose,
            on=date.fromisoformat(on),
            emergency=emergency,
            categories=categories,
        )

    return decided


def noon(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), time(12), UTC)
