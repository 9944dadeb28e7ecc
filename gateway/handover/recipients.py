"""Bulkhead and circuit breaker: a recipient that hangs takes its own share of the workers, and then next to none.

Each recipient, a member of the registry, has slots. One that has failed so many times in a row is left alone for a
while, twice as long each time (its breaker is open); then a single delivery tries it (half-open), and its first answer
gives it all slots again. None of it is stored: a process that starts knows nothing bad of anybody. Time is monotonic,
so that a wall clock that jumps neither opens nor closes anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.exchange.context import DeliveryPolicy
from gateway.handover.leases import Delivery, Room, recipient_of


@dataclass(slots=True)
class _Recipient:
    taken: int = 0
    failures: int = 0  # in a row
    opens_again: float = 0.0  # on the monotonic clock; of a recipient whose breaker is open
    services: set[str] = field(default_factory=set)


class Recipients:
    """What one process knows of those whom it delivers to. Belongs to one event loop."""

    def __init__(self, policy: DeliveryPolicy, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._monotonic = monotonic
        self._known: dict[str, _Recipient] = {}

    def room(self) -> Room:
        """How many deliveries may be claimed now, in all and of each recipient."""
        taken = sum(recipient.taken for recipient in self._known.values())
        free = {name: self._slots(recipient) - recipient.taken for name, recipient in self._known.items()}
        full = (recipient.services for name, recipient in self._known.items() if free[name] < 1)
        return Room(
            most=max(0, self._policy.workers - taken),
            each=self._policy.recipient_workers,
            free=free,
            full=frozenset().union(*full),
        )

    def take(self, delivery: Delivery) -> None:
        """A delivery was claimed: it has a slot of its recipient until it is `done`."""
        recipient = self._of(recipient_of(delivery.service))
        recipient.taken += 1
        recipient.services.add(delivery.service)

    def done(self, delivery: Delivery) -> None:
        """The attempt has ended, whatever came of it."""
        recipient = self._of(recipient_of(delivery.service))
        recipient.taken = max(0, recipient.taken - 1)

    def learn(self, services: frozenset[str]) -> None:
        """Services of recipients without a free slot: the next claim passes them over at once."""
        for service in services:
            self._of(recipient_of(service)).services.add(service)

    def is_doubtful(self, member: str) -> bool:
        """Whether the member's breaker is open or half-open."""
        return self._of(member).failures >= self._policy.recipient_failures

    def answered(self, member: str) -> None:
        """It is there, whatever it said."""
        self._of(member).failures = 0

    def failed(self, member: str) -> None:
        """Nothing came from it that it had signed."""
        recipient, now = self._of(member), self._monotonic()
        if self.is_doubtful(member) and now < recipient.opens_again:
            return  # it was under way before the breaker opened: the same failure, not a new one
        recipient.failures += 1
        beyond = recipient.failures - self._policy.recipient_failures
        if beyond >= 0:
            pause = min(self._policy.retry_limit_seconds, self._policy.retry_seconds * 2 ** min(beyond, 20))
            recipient.opens_again = now + pause

    def _slots(self, recipient: _Recipient) -> int:
        if recipient.failures < self._policy.recipient_failures:
            return self._policy.recipient_workers
        return 1 if self._monotonic() >= recipient.opens_again else 0

    def _of(self, member: str) -> _Recipient:
        return self._known.setdefault(member, _Recipient())
