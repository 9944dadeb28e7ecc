"""Who does what with whose data, on which behalf and why: one value, made at the door. It alone makes log entries.

What stays the same through an exchange stands in the story; an entry adds what happened, when, and what came of it. So
no entry can forget its case or its recipient, and each can be found by all that it is about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypedDict, Unpack

from audit.log.entries import Agents, Categories, Entry, EntryType, Outcome
from gateway.wire.problems import ProblemError

Detail = Mapping[str, str | int | bool]


def made_by(adapter: str) -> Detail:
    """Which version of an adapter made the record, where it is known: the log says it for as long as it lasts."""
    return {"adapter": adapter} if adapter else {}


def came_to(problem: ProblemError) -> Outcome:
    """What a question came to that ends in this problem: there was nobody, it did not work, or a rule said no."""
    if problem.code == "subject-not-found":
        return Outcome.NOT_FOUND
    return Outcome.FAILED if problem.status >= 500 else Outcome.REFUSED


class Said(TypedDict, total=False):
    """What one entry says beyond its story."""

    id: str
    categories: Categories
    bases: tuple[str, ...]
    consents: tuple[tuple[str, int], ...]
    response_digest: str | None
    previous: str | None
    reason: str | None
    detail: Detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What the entries of one exchange, or of one act, have in common.

    `client` and `user` are who acts (the user is a pseudonym), `source` the subsystem that holds the data, `recipient`
    the one that gets or asks for it, `subject` a pseudonym, `case` a keyed hash of a case reference.
    """

    node: str | None = None
    client: str | None = None
    user: str | None = None
    recipient: str | None = None
    source: str | None = None
    service: str | None = None
    message_id: str | None = None
    subject: str | None = None
    purpose: str | None = None
    rulebook: str | None = None
    request_digest: str | None = None
    trace_id: str | None = None
    case: str | None = None

    def entry(self, kind: EntryType | str, outcome: Outcome | str, at: datetime, **said: Unpack[Said]) -> Entry:
        """One entry of the story: of a type and with an outcome of the log's vocabulary. Raises ValueError."""
        return Entry(
            type=EntryType(kind),
            outcome=Outcome(outcome),
            recorded=at,
            agents=Agents(client=self.client, user=self.user, node=self.node, recipient=self.recipient),
            source=self.source,
            service=self.service,
            message_id=self.message_id,
            subject=self.subject,
            purpose=self.purpose,
            rulebook=self.rulebook,
            request_digest=self.request_digest,
            trace_id=self.trace_id,
            case=self.case,
            **said,
        )

    def about(self, subject: str | None, case: str | None = None) -> Story:
        """The same story, told of this person or case."""
        return replace(self, subject=subject, case=case)

    def to(self, service: str | None, recipient: str | None, purpose: str | None) -> Story:
        """The same story as far as it concerns one recipient."""
        return replace(self, service=service, recipient=recipient, purpose=purpose)
