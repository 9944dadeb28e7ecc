"""What can go wrong, each thing named once.

`PROBLEMS` is the one table of problem codes: HTTP status, title in three languages, and the error type that systems
speaking the X-Road REST message protocol know. Code raises ProblemError; the edge renders it as RFC 9457
`application/problem+json`. An error says what was wrong, where, and what would make it right. It never holds personal
data, secrets or the refused value itself.
Source: RFC 9457; RFC 9110 section 15; X-Road Message Protocol for REST, section 4.6.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gateway.wire.problem_table import PROBLEMS, Problem

if TYPE_CHECKING:
    from gateway.wire.decided import DecisionSummary

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:yhdyspinta:problem:"


class ProblemError(Exception):
    """A refusal or failure with a code of PROBLEMS.

    `pointer` is a JSON pointer (RFC 6901) into the input; `detail` says what was wrong, `remedy` what would make it
    right, both in English; `retry_after` is in whole seconds; `decision` is what was decided, if it was a decision
    that refused. A code that is not in the table is a KeyError here and now.
    """

    def __init__(
        self,
        code: str,
        *,
        pointer: str | None = None,
        detail: str = "",
        remedy: str = "",
        retry_after: int | None = None,
        decision: DecisionSummary | None = None,
    ) -> None:
        self.problem: Problem = PROBLEMS[code]
        self.code = code
        self.pointer = pointer
        self.detail = detail
        self.remedy = remedy
        self.retry_after = retry_after
        self.decision = decision
        super().__init__(f"{code}: {detail or self.problem.title.en}")

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status


class UnsentError(ProblemError):
    """A failure of which it is certain that not a byte of the message reached anybody."""


class NothingTakenError(ProblemError):
    """A request of many parts of which none was taken. `parts` are members that tell what became of each."""

    def __init__(self, code: str, parts: Mapping[str, Any], *, detail: str, remedy: str) -> None:
        super().__init__(code, detail=detail, remedy=remedy)
        self.parts = parts


def to_problem_json(error: ProblemError, language: str = "en") -> bytes:
    """Render as RFC 9457 JSON, the title in `language` (fi, sv or en).

    Beside the standard members: `code`; where there is something to say `pointer`, `remedy`, `retry_after` (seconds);
    after a decision `decision` with its id, `permitted` categories and `withheld` ones with their codes; and where many
    parts were sent, the members that tell of each.
    """
    document: dict[str, Any] = {
        **(error.parts if isinstance(error, NothingTakenError) else {}),
        "type": TYPE_PREFIX + error.code,
        "title": error.problem.title.in_language(language),
        "status": error.problem.status,
        "code": error.code,
    }
    if error.detail:
        document["detail"] = error.detail
    if error.pointer is not None:
        document["pointer"] = error.pointer
    if error.remedy:
        document["remedy"] = error.remedy
    if error.retry_after is not None:
        document["retry_after"] = error.retry_after
    if error.decision is not None:
        document["decision"] = {
            "id": error.decision.id,
            "permitted": sorted(error.decision.permitted),
            "withheld": dict(error.decision.withheld),
        }
    return json.dumps(document, ensure_ascii=False).encode("utf-8")
