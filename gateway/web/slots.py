"""Who gets to be answered at once: known callers in shares of their own, and strangers in a small pool beside.

Whoever calls is asked when the head of a request is there, before a byte of its body is kept. Who is known has a share
of the face's slots, so that none of them takes all; who is not known gets in to a few addresses only, in a pool so
small that filling it harms nobody else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

STRANGER = ""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request, before anything else of it was read. `path` is as it was sent, without its query."""

    method: bytes
    path: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    certificate: bytes | None

    def header(self, name: bytes) -> str:
        """A header's value; the first of several."""
        return next((value.decode("latin-1") for key, value in self.headers if key == name), "")


@dataclass(frozen=True, slots=True)
class Admitted:
    """Whom a request's head shows: a caller by a name of its own, or a stranger; and what was found out of it."""

    caller: str
    known: Any = None


Admission = Callable[[Head], Admitted]
"""Says who calls. Raises ProblemError for a stranger at an address that is not for strangers."""


@dataclass(frozen=True, slots=True)
class SlotLimits:
    """How many requests are answered at once: of known callers, of each of them (None: as many), of all strangers."""

    in_flight: int = 512
    each: int | None = None
    strangers: int = 32


class Slots:
    """The slots of one face that are taken. Belongs to its event loop."""

    def __init__(self, limits: SlotLimits) -> None:
        self._limits = limits
        self._taken: Counter[str] = Counter()
        self._known = 0
        self._each = limits.in_flight if limits.each is None else limits.each

    def take(self, caller: str) -> Slot | None:
        """A slot for a caller; None if there is none left for it."""
        if caller == STRANGER:
            if self._taken[STRANGER] >= self._limits.strangers:
                return None
        elif self._known >= self._limits.in_flight or self._taken[caller] >= self._each:
            return None
        else:
            self._known += 1
        self._taken[caller] += 1
        return Slot(self, caller)

    def give(self, caller: str) -> None:
        """A slot that was taken is free again."""
        self._known -= caller != STRANGER
        self._taken[caller] -= 1
        if not self._taken[caller]:
            del self._taken[caller]


class Slot:
    """One slot; it is given back once, whatever happens to its request."""

    def __init__(self, slots: Slots, caller: str) -> None:
        self._slots: Slots | None = slots
        self._caller = caller
        self.is_begun = False

    def free(self) -> None:
        """Give it back."""
        if self._slots is not None:
            self._slots.give(self._caller)
            self._slots = None

    def around(self, app: ASGIApp) -> ASGIApp:
        """The application, which frees the slot when it has answered."""

        async def held(scope: Scope, receive: Receive, send: Send) -> None:
            self.is_begun = True
            try:
                await app(scope, receive, send)
            finally:
                self.free()

        return held
