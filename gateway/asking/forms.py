"""The forms of standing requests, and of their answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from consent.rules.standing import StandingRequest, StandingRequestError
from gateway.asking.requests import Listed, Right, State
from gateway.web.forms import Code, Codes, Shape, Shown
from gateway.wire.problems import ProblemError

#: An id stands in addresses and in names of files.
Id = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9.-]*$")]


class StandingForm(Shape):
    """What the organisation asks once for all."""

    id: Id = Field(description="a name of your own for it; the same name replaces the former")
    role: Code = Field(description="the role in which the organisation asks")
    providers: Codes = Field(min_length=1, description="whom it asks: roles or members")
    provision: Code = Field(description="the right to get, as the rulebook cites it: 681/2023 86:1")
    purpose: Code
    categories: Codes = Field(min_length=1)
    conditions: Codes = Field(default_factory=list, description="conditions of the rulebook that hold of the persons")
    first: date
    last: date | None = Field(None, description="the last day; without it, it stands until it is ended")

    def request(self, member: str) -> StandingRequest:
        """As a value, not signed yet. Raises ProblemError that names the member of the form."""
        try:
            return StandingRequest.from_dict({**self.model_dump(mode="json"), "member": member})
        except StandingRequestError as error:
            raise ProblemError(
                "invalid-request", pointer=error.pointer, detail=error.reason, remedy="mend the request"
            ) from None


class EndForm(Shape):
    """From when on the organisation asks no more."""

    last: date = Field(description="the last day on which the request stands")


class RequestForm(Shown):
    """A standing request as it is published, with its member's signature."""

    id: str
    member: str
    role: str
    providers: list[str]
    provision: str
    purpose: str
    categories: list[str]
    conditions: list[str]
    first: date
    last: date | None
    signature: str = ""

    @classmethod
    def of(cls, request: StandingRequest) -> RequestForm:
        """The form that `registry take` reads."""
        return cls(**request.to_dict())


class ListedForm(Shown):
    """A standing request, and how far it has come."""

    state: State
    since: datetime | None = Field(description="when it was signed, or its publication was seen")
    request: RequestForm = Field(description="as it was signed last; what the authority publishes")
    published: RequestForm | None = Field(description="as the registry has it: this is what is in force")

    @classmethod
    def of(cls, listed: Listed) -> ListedForm:
        """As it is shown."""
        published = None if listed.published is None else RequestForm.of(listed.published)
        return cls(state=listed.state, since=listed.since, request=RequestForm.of(listed.request), published=published)


class RequestsForm(Shown):
    """What the organisation asks, and what is asked of it."""

    ours: list[ListedForm]
    of_us: list[ListedForm]


class RightForm(Shown):
    """A right to get by which a standing request can be made."""

    basis: str
    role: str
    provision: str
    providers: list[str]
    purposes: list[str]
    categories: list[str]

    @classmethod
    def of(cls, right: Right) -> RightForm:
        """As it is shown."""
        basis = right.basis
        return cls(
            basis=basis.id,
            role=right.role,
            provision=right.provision,
            providers=sorted(basis.providers),
            purposes=sorted(basis.purposes),
            categories=sorted(basis.categories),
        )


class RightsForm(Shown):
    """All rights of the organisation, in the order of the rulebook."""

    rights: list[RightForm]

    @classmethod
    def of(cls, rights: Sequence[Right]) -> RightsForm:
        """As they are shown."""
        return cls(rights=[RightForm.of(right) for right in rights])


EXAMPLE: dict[str, Any] = {
    "id": "kotka-86-1",
    "role": "municipality",
    "providers": ["reception-centre"],
    "provision": "681/2023 86:1",
    "purpose": "reception-to-municipality",
    "categories": ["identity", "language"],
    "first": "2026-01-01",
}
