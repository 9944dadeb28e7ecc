"""The forms of the registrar's acts and of their answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field

from gateway.identity.acts import Done, Opened, Proposed
from gateway.person.figures import overdue_from
from gateway.person.held import HeldKind, HeldRecord
from gateway.person.registrar import Doubtful
from gateway.web.forms import Shape, Shown, Subject
from gateway.web.validation import fault


def _two(stated: Any) -> Any:
    if not isinstance(stated, list | tuple) or len(stated) != 2:
        raise fault(
            "invalid-request",
            "an act about who is who names two identifiers",
            'send {"identifiers": [{"system": "…", "value": "…"}, {"system": "…", "value": "…"}]}',
        )
    return stated


class TwoForm(Shape):
    """Two identifiers of which something is said."""

    identifiers: Annotated[list[Subject], Field(min_length=2, max_length=2), BeforeValidator(_two)]


class HeldForm(Shown):
    """What waits for a decision about who is who. Nobody is named."""

    id: str
    kind: HeldKind
    of_register: str = Field(alias="register")
    reason: str = Field(description="why it waits; of a proposal, the act that is proposed")
    since: str
    overdue: bool
    owner: str | None
    about: str | None

    @classmethod
    def of(cls, record: HeldRecord, now: datetime, **more: Any) -> Self:
        """As it is shown."""
        return cls(
            id=record.id,
            kind=record.kind,
            register=record.register,
            reason=record.reason,
            since=record.created.isoformat(),
            overdue=record.kind is not HeldKind.PROPOSAL and overdue_from(record.created) <= now,
            owner=record.owner,
            about=record.about,
            **more,
        )


class OpenedForm(HeldForm):
    """The same, with whom it names."""

    identifiers: list[dict[str, str]]
    record_key: str | None = Field(description="the key of the record in its register, by which it is found there")
    known_apart: str | None = Field(description="why the identifiers are known to be two people, if they are")

    @classmethod
    def opened(cls, found: Opened, now: datetime) -> Self:
        """As it is shown to whoever decides."""
        return cls.of(
            found.record,
            now,
            identifiers=[{"system": item.system, "value": item.value} for item in found.identifiers],
            record_key=found.record_key,
            known_apart=found.known_apart,
        )


class HeldList(Shown):
    """All that waits."""

    held: list[HeldForm]

    @classmethod
    def of(cls, records: Sequence[HeldRecord], now: datetime) -> HeldList:
        """The records as they are shown."""
        return cls(held=[HeldForm.of(record, now) for record in records])


class UnconfirmedForm(Shown):
    """A join that nobody has confirmed."""

    joined: str
    of_register: str | None = Field(alias="register")
    subjects: list[str]


class UnconfirmedList(Shown):
    """All joins that nobody has confirmed, the oldest first."""

    unconfirmed: list[UnconfirmedForm]

    @classmethod
    def of(cls, joins: Sequence[Doubtful]) -> UnconfirmedList:
        """The joins as they are shown."""
        return cls(
            unconfirmed=[
                UnconfirmedForm(
                    joined=join.joined.isoformat(), register=join.register, subjects=[join.first, join.second]
                )
                for join in joins
            ]
        )


class OwnedForm(Shown):
    """Who answers for a held record."""

    id: str
    owner: str


class ReleasedForm(Shown):
    """What left under a join that is undone, and to whom."""

    index: int
    recorded: str
    recipient: str | None
    categories: list[str]


class DoneForm(Shown):
    """What came of an act."""

    released: list[ReleasedForm]
    handover: str | None

    @classmethod
    def of(cls, done: Done) -> DoneForm:
        """The outcome as it is shown."""
        return cls(
            released=[
                ReleasedForm(
                    index=item.index,
                    recorded=item.recorded.isoformat(),
                    recipient=item.recipient,
                    categories=list(item.categories),
                )
                for item in done.released
            ],
            handover=None if done.plan is None else done.plan.id,
        )


class ProposedForm(Shown):
    """An act that waits for a second person."""

    proposal: str
    known_apart: str | None = Field(description="why the two are known to be two people, if they are")

    @classmethod
    def of(cls, proposed: Proposed) -> ProposedForm:
        """As it is shown."""
        return cls(proposal=proposed.id, known_apart=proposed.known_apart)
