"""How soon something ends that a node cannot work without, in the steps at which people are told."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

#: Days before an end at which it is told anew, the most urgent last.
STEPS: Final = (30, 14, 3)


@dataclass(frozen=True, slots=True)
class Ending:
    """What ends, when (UTC), and within which of the steps that is."""

    what: str
    at: datetime
    within: int
    days: int

    @classmethod
    def of(cls, what: str, at: datetime, now: datetime) -> Ending | None:
        """None if it does not end within the first of the steps."""
        days = math.floor((at - now).total_seconds() / 86400)
        reached = [step for step in STEPS if days < step]
        return cls(what, at, reached[-1], days) if reached else None

    @property
    def kind(self) -> str:
        """What kind of thing it is: signing, peers, clients, or the registry's anchor."""
        return "anchor" if self.what.startswith("registry.anchors.") else self.what.removeprefix("keys.")

    def to_json(self) -> dict[str, Any]:
        """For the node's health."""
        return {"what": self.what, "ends": self.at.isoformat(), "days": self.days, "within": self.within}
