"""What a message says of a decision: which one it was, by its digest, what may move, and what not."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from consent.deciding.verdicts import Decision


def body_digest(body: bytes) -> str:
    """`sha-256=:…:` of a body, as in a Content-Digest field (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode('ascii')}:"


@dataclass(frozen=True, slots=True)
class DecisionSummary:
    """What the provider decided: the decision's id and digest, what may move, and what not with the reason's code."""

    id: str
    digest: str
    permitted: frozenset[str]
    withheld: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, decision: Decision) -> DecisionSummary:
        """The summary of a decision. A category that stands twice among the withheld is told once."""
        withheld = {refused.category: refused.code for refused in decision.withheld}
        return cls(
            decision.id,
            body_digest(decision.canonical()),
            frozenset(permitted.category for permitted in decision.permitted),
            tuple(sorted(withheld.items())),
        )
