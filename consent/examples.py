"""Work the examples of a rulebook: the persons, parties and days that its author wrote down beside the bases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from typing import Any

from consent.consents import ConsentRecord
from consent.decision import Decision, decide
from consent.request import Emergency, Party, Request
from consent.rulebook import Case, Example, Rulebook


def outcome(rulebook: Rulebook, example: Example) -> Decision:
    """Decide an example: its case, asked for every category that the rulebook has."""
    return decide_case(
        rulebook,
        rulebook.cases[example.case],
        provider=example.provider,
        requester=example.requester,
        purpose=example.purpose,
        on=example.on,
        emergency=example.emergency,
    )


def decide_case(
    rulebook: Rulebook,
    case: Case,
    *,
    provider: str,
    requester: str,
    purpose: str,
    on: date,
    emergency: bool = False,
    categories: Iterable[str] | None = None,
) -> Decision:
    """Decide for a case of the rulebook between two of its parties, at noon (UTC) of a day."""
    asked = categories
    if asked is None:
        asked = (code for code, category in rulebook.categories.items() if category.parent is None)
    at = datetime.combine(on, time(12), UTC)
    return decide(
        Request(
            provider=party(rulebook.parties[provider], provider),
            requester=party(rulebook.parties[requester], requester),
            purpose=purpose,
            categories=frozenset(asked),
            facts=case.facts,
            emergency=Emergency("worked example") if emergency else None,
        ),
        rulebook,
        [consent(document, index, at) for index, document in enumerate(case.consents)],
        at,
    )


def party(document: Mapping[str, Any], name: str) -> Party:
    """A party of the rulebook's examples."""
    return Party(
        role=document["role"],
        member=name,
        municipalities=frozenset(document.get("municipalities", ())),
        counties=frozenset(document.get("counties", ())),
    )


def consent(document: Mapping[str, Any], index: int, at: datetime) -> ConsentRecord:
    """A consent of a case, as a record."""
    return ConsentRecord.from_dict(
        {
            "id": f"example-{index + 1}",
            "version": 1,
            "subject": "example",
            "recorded_by": "example",
            "recorded_at": at.isoformat(),
            **document,
        }
    )
