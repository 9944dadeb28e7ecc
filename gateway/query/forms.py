"""The forms of a question and of its answer."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from gateway.web.forms import Breaking, Codes, Line, Service, Shape, Shown, Subject
from gateway.wire.decided import DecisionSummary


class AskForm(Shape):
    """A question about one person. What is left out is taken from the client's registration."""

    service: Service
    subject: Subject
    purpose: Line | None = Field(None, description="purpose of use, a code of the rulebook")
    categories: Codes | None = Field(None, description="codes of the rulebook")
    case: Line | None = Field(None, description="your case reference; stored as a keyed hash")
    user: Line | None = Field(None, description="your end user's id; stored as a keyed hash")
    emergency: Breaking | None = None


class WithheldForm(Shown):
    """A category that was held back, and the code of the reason."""

    category: str
    code: str


class DecidedForm(Shown):
    """A decision as clients see it: its id, what may move, and what not."""

    id: str
    permitted: list[str]
    withheld: list[WithheldForm]


class ReadingForm(Shown):
    """The answer: a FHIR bundle of exactly what may be known, and the decision on it."""

    message_id: str
    decision: DecidedForm | None
    bundle: dict[str, Any]


def decision_document(decision: DecisionSummary | None) -> dict[str, Any] | None:
    """A decision as clients see it."""
    if decision is None:
        return None
    return {
        "id": decision.id,
        "permitted": sorted(decision.permitted),
        "withheld": [{"category": category, "code": code} for category, code in decision.withheld],
    }
