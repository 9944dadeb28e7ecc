"""The states of handovers, deliveries and arrivals, and how a delivery moves from one to another: one table.

What coming flows need stands here too, so that nobody has to give a state another meaning; no delivery gets there yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class HandoverState(StrEnum):
    """Where a handover is."""

    PLANNED = "planned"
    COMPLETED = "completed"  # each of its deliveries is settled
    STOPPED = "stopped"  # nothing of it was permitted to anybody


class DeliveryKind(StrEnum):
    """What a delivery carries."""

    HANDOVER = "handover"
    ACCEPTANCE = "acceptance"
    NOTICE = "notice"


class DeliveryState(StrEnum):
    """Where a delivery is."""

    DUE = "due"  # it is sent until its receipt is on record
    DELIVERED = "delivered"  # the recipient's node holds it and has signed for it
    ACCEPTED = "accepted"  # the recipient has named who is responsible; of an acceptance or notice: it has arrived
    STOPPED = "stopped"  # it may not be sent, or can never be; its reason is in `problem`
    # Not reached yet:
    REFUSED = "refused"  # the recipient says that it is not the one
    PLANNED_ANEW = "planned-anew"  # refused, and another recipient has a delivery in its place
    CANCELLED = "cancelled"  # whoever ordered it has taken it back
    EXPIRED = "expired"  # nobody accepted it in time
    SUPERSEDED = "superseded"  # a correction has taken its place
    PAUSED = "paused"  # it waits until an operator lets its recipient's deliveries go on


MOVES: Final[Mapping[DeliveryState, frozenset[DeliveryState]]] = {
    DeliveryState.DUE: frozenset({DeliveryState.DELIVERED, DeliveryState.ACCEPTED, DeliveryState.STOPPED}),
    DeliveryState.DELIVERED: frozenset({DeliveryState.ACCEPTED}),
}
"""Where a delivery can go from where it is. It begins due or, if nothing of it is permitted, stopped."""

REACHED: Final = frozenset({*MOVES, *(state for after in MOVES.values() for state in after)})
"""The states in which a delivery can be today."""

SETTLED: Final = (DeliveryState.ACCEPTED, DeliveryState.STOPPED)
"""Nothing more happens to these: a handover is complete when all its deliveries are settled."""

OPEN: Final = (DeliveryState.DUE, DeliveryState.DELIVERED)
"""Somebody still has to do something."""


class ArrivalKind(StrEnum):
    """What has arrived."""

    HANDOVER = "handover"
    NOTICE = "notice"


class ArrivalState(StrEnum):
    """Where an arrival is."""

    RECEIVED = "received"
    ACCEPTED = "accepted"
