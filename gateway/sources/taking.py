"""Take one record at the node's door: hand it over, or take what its register says of a record that it gave before.

A record is known by the digest of what it was mapped to, so that taking it again changes nothing. A refusal of one
record is told in the report; a node that cannot decide now refuses nothing, and says so by raising.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from adapters.sdk import Change, Mapped
from gateway.sources.reports import rejection_line
from gateway.wire.problems import ProblemError

#: Hands one record over: what was mapped and its idempotency key; gives whether it had been handed over before.
HandOver = Callable[[Mapped, str], Awaitable[bool]]
#: Takes what a source says of a record that it gave before; gives what the report says of it.
TakeChange = Callable[[Change], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Door:
    """What a node takes of a source: records, and what is said of them later."""

    hand_over: HandOver
    take_change: TakeChange


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a record: what the report says of it, one count that is 1, and why it was rejected."""

    lines: list[dict[str, Any]]
    handed_over: int = 0
    unchanged: int = 0
    rejected: int = 0
    changed: int = 0
    reason: str = ""


class Taking:
    """Takes the records of one source."""

    def __init__(self, name: str, door: Door) -> None:
        self.name = name
        self._door = door

    async def take(self, mapped: Mapped) -> Outcome:
        """Take one record. Raises ProblemError if the node cannot decide now."""
        lines = [finding.to_dict() for finding in mapped.findings]
        if mapped.bundle is None:
            if mapped.change is None:
                return Outcome([*lines, rejection_line(mapped, "not-mapped")], rejected=1, reason="not-mapped")
            taken = await self._door.take_change(mapped.change)
            place = {"file": mapped.position.file, "row": mapped.position.row}
            return Outcome([*lines, {"change": mapped.change.kind.value, **place, **taken}], changed=1)
        digest = hashlib.sha256(orjson.dumps([self.name, mapped.bundle], option=orjson.OPT_SORT_KEYS)).hexdigest()
        try:
            existing = await self._door.hand_over(mapped, f"source/{digest}")
        except ProblemError as problem:
            if problem.status >= 500 or problem.code == "flow-unknown":
                raise
            return Outcome([*lines, rejection_line(mapped, problem.code, problem)], rejected=1, reason=problem.code)
        return Outcome(lines, unchanged=1) if existing else Outcome(lines, handed_over=1)
