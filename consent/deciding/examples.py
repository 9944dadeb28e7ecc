"""Work the examples of a rulebook: the persons, parties and days that its author wrote down beside the bases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time
from typing import Any

from consent.deciding.decision import decide
from consent.deciding.verdicts import Decision
from consent.rules.law import Case, Example, Mode, Rulebook
from consent.rules.request import Emergency, Party, Request, Way
from consent.rules.standing import StandingRequest
from consent.words.consents import ConsentRecord


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
        way=Way(example.mode),
        asked=example.asked,
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
    way: Way = Way.QUERY,
    asked: bool = False,
) -> Decision:
    """Decide for a case of the rulebook between two of its parties, at noon (UTC) of a day.

    With `asked` the recipient has standing requests for all that it has a right to get.
    """
    named = categories
    if named is None:
        named = (code for code, category in rulebook.categories.items() if category.parent is None)
    giving, getting = party(rulebook.parties[provider], provider), party(rulebook.parties[requester], requester)
    at = datetime.combine(on, time(12), UTC)
    return decide(
        Request(
            provider=giving,
            requester=getting,
            purpose=purpose,
            categories=frozenset(named),
            facts=case.facts,
            emergency=Emergency("worked example") if emergency else None,
            way=way,
            standing=tuple(standing_requests(rulebook, giving, getting, purpose, on)) if asked else (),
        ),
        rulebook,
        [consent(document, index, at) for index, document in enumerate(case.consents)],
        at,
    )


def standing_requests(
    rulebook: Rulebook, provider: Party, requester: Party, purpose: str, on: date
) -> Iterator[StandingRequest]:
    """The standing requests that this recipient could make of this provider for a purpose, one for each right."""
    for basis in rulebook.bases_for(provider.role, requester.role, purpose):
        if basis.mode is Mode.RIGHT_TO_GET and basis.source is not None and basis.in_force(on):
            yield StandingRequest(
                id=f"asked-{basis.id}",
                member=requester.member,
                role=requester.role,
                providers=frozenset({provider.role}),
                provision=basis.source.provision,
                purpose=purpose,
                categories=basis.categories,
                first=on,
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
            "given_by": {"kind": "self"},
            **document,
        }
    )
