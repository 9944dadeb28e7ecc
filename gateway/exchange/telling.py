"""What another organisation is told of a decision: reasons of the rule, and never whether we know the person.

Whoever gets something is told, for the rest, what the rulebook says of everybody: that nothing gives it, that it needs
the person's word, or that this case is not the rule's. Whoever gets nothing is answered `not-available`, in one form
for all causes (unknown here, somebody else's, without a permit, protected, unwilling, in doubt), with the way to a
human. Such an answer leaves at fixed steps after the question came, so that its time says nothing either. The true
reason stands in our log, and an organisation's own systems are told it.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Final

import orjson

from consent.deciding.verdicts import Decision, legal_day
from consent.rules.law import Rulebook
from gateway.exchange.opening import Incoming
from gateway.registry.read.registry import Registry
from gateway.wire.decided import DecisionSummary, body_digest
from gateway.wire.identifiers import MemberId
from gateway.wire.problems import ProblemError

STEP_SECONDS: Final = 0.25
#: What says that we know the person, or do not: `not-permitted` only once the record was read.
ABOUT_A_PERSON: Final = frozenset({"subject-not-found", "subject-ambiguous", "source-invalid", "not-permitted"})


class RuleReason(StrEnum):
    """Why a category is withheld, as far as the rulebook alone says it."""

    NO_BASIS = "no-basis"
    NEEDS_WORD = "needs-the-persons-word"
    ANOTHER_CASE = "not-for-this-case"


def told(incoming: Incoming, decision: Decision) -> DecisionSummary:
    """A decision as its requester is told it."""
    if is_own(incoming):
        return DecisionSummary.of(decision)
    summary = DecisionSummary.of(decision)
    withheld = tuple(
        (category, rule_reason(incoming.rulebook, decision, category).value) for category, _ in summary.withheld
    )
    # The decision's own id is a digest of its text; there are so few texts that the reasons could be found by trying.
    reference = incoming.claims.message_id
    said = {"id": reference, "per": sorted(summary.permitted), "wit": dict(withheld)}
    digest = body_digest(orjson.dumps(said, option=orjson.OPT_SORT_KEYS))
    return DecisionSummary(reference, digest, summary.permitted, withheld)


def rule_reason(rulebook: Rulebook, decision: Decision, category: str) -> RuleReason:
    """What the rulebook says of a category for these roles and this purpose, whoever the person is."""
    triple = (decision.provider, decision.requester, decision.purpose)
    bases = rulebook.carriers(triple, category, legal_day(decision.at))
    if not bases:
        return RuleReason.NO_BASIS
    return RuleReason.NEEDS_WORD if any(basis.needs_word for basis in bases) else RuleReason.ANOTHER_CASE


def is_own(incoming: Incoming) -> bool:
    """Whether the question is of the holder's own organisation, which is told all."""
    return incoming.claims.issuer.member == incoming.service.id.member


def not_available(incoming: Incoming) -> ProblemError:
    """The one answer for whoever gets nothing."""
    way = _way_to_a_human(incoming.registry, incoming.service.id.member)
    return ProblemError(
        "not-available",
        detail="nothing of this can be given by this way; that says nothing of whether the person is known here",
        remedy=f"your own node says what the rules ask (POST /v1/decisions); if you have a right to it, {way} and name "
        f"the message {incoming.claims.message_id}",
    )


def wait_until_step(elapsed: float) -> float:
    """How long an answer that says nothing waits, so many seconds after the question came: until the next step."""
    return math.ceil(max(elapsed, 0.001) / STEP_SECONDS) * STEP_SECONDS - elapsed


def _way_to_a_human(registry: Registry, holder: MemberId) -> str:
    member = registry.member(holder)
    contacts = member.contacts if member is not None else ()
    for contact in sorted(contacts, key=lambda contact: contact.phone is None):
        reached = contact.phone or contact.email
        if reached is not None:
            return f"ask {contact.name} ({reached})"
    return "ask the organisation's registry office"
