"""The parts that declared forms are made of: texts, moments, ids and persons, each with its limits and its alphabet.

A form refuses members that it does not have. Limits are those of the narrowest database column and the strictest
database that a value can meet, so that both databases take, and refuse, the same.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Header, Path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, WrapValidator
from pydantic import ValidatorFunctionWrapHandler as Handler

from consent.rules.request import is_justification
from gateway.sources.backends import Locator
from gateway.web.headers import CASE_HEADER, USER_HEADER
from gateway.web.validation import fault
from gateway.wire.identifiers import IdentifierError, ServiceId
from gateway.wire.problems import ProblemError
from schemas.identifiers import SubjectIdentifierError, canonical

#: Neither control characters nor unpaired surrogates: PostgreSQL takes no NUL, and no reader has a use for the others.
_LINE = r"^[^\x00-\x1f\x7f]*$"
_VISIBLE = r"^[\x21-\x7e]+$"

Line = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=_LINE)]
Code = Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=_LINE)]
Codes = Annotated[list[Code], Field(max_length=128)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=_VISIBLE)]
"""An id that a node gave."""

#: Python and both databases hold these years with any time zone; none of ours lies outside.
_YEARS = range(1900, 2201)

CaseReference = Annotated[
    str | None,
    Header(alias=CASE_HEADER, max_length=256, description="the caller's case; stored as a keyed hash"),
]
User = Annotated[
    str | None,
    Header(alias=USER_HEADER, max_length=256, description="the person behind the client; stored as a keyed hash"),
]
PathKey = Annotated[str, Path(min_length=1, max_length=64, pattern=_VISIBLE)]


def user_needed(why: str) -> ProblemError:
    """An act for which a person answers came without one; `why` says which."""
    return ProblemError(
        "invalid-request",
        pointer=f"/{USER_HEADER}",
        detail=why,
        remedy=f"send the user's id in the header {USER_HEADER}",
    )


class Shape(BaseModel):
    """A form of a request, or of an answer: closed, and never changed once it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Shown(BaseModel):
    """A form of an answer. Clients are to take members that they do not know: the next version may have more."""

    model_config = ConfigDict(frozen=True)


def _moment(stated: Any) -> Any:
    if isinstance(stated, datetime):
        return stated
    try:
        moment = datetime.fromisoformat(stated)
    except (TypeError, ValueError):
        raise fault("invalid-request", "a time is needed", "write it in ISO 8601, with its zone") from None
    # Before the zone is changed: the first and the last year have moments that no other zone can name.
    if moment.year not in _YEARS:
        years = f"{_YEARS[0]} to {_YEARS[-1]}"
        raise fault("invalid-request", f"a time lies in the years {years}", "mend the year")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


Moment = Annotated[datetime, BeforeValidator(_moment)]
"""A moment in UTC; one that was written without a zone is taken as UTC."""


class PersonForm(Shape):
    """A person, by an identifier and the system that gives it meaning."""

    system: str = Field(min_length=1, max_length=128)
    value: str = Field(min_length=1, max_length=64)

    @property
    def locator(self) -> Locator:
        """The same for the rest of the house, which knows persons in one notation only."""
        return Locator(self.system, self.value)


def _person(stated: Any, check: Handler) -> PersonForm:
    try:
        given: PersonForm = check(stated)
    except ValidationError:
        raise fault(
            "invalid-request",
            "the request does not say which person it is about",
            'send {"system": "urn:oid:1.2.246.21", "value": "…"}',
        ) from None
    try:
        system, value = canonical(given.system, given.value)
    except SubjectIdentifierError as error:
        raise fault(error.code, error.detail, error.remedy, member=error.member) from None
    return PersonForm.model_construct(system=system, value=value)


Subject = Annotated[PersonForm, WrapValidator(_person)]


class EmergencyForm(Shape):
    """Why it cannot wait; the data protection officer will read it."""

    justification: str = Field(min_length=1, max_length=4000)


def _emergency(stated: Any, check: Handler) -> EmergencyForm:
    try:
        given: EmergencyForm = check(stated)
        if is_justification(given.justification):
            return given
    except ValidationError:
        pass
    raise fault(
        "justification-missing",
        "an emergency needs a justification, a text of at most 4000 characters",
        "say in a sentence why it cannot wait; the data protection officer will read it",
        member="justification",
    )


Breaking = Annotated[EmergencyForm, WrapValidator(_emergency)]


def _service(stated: Any) -> Any:
    try:
        return str(ServiceId.parse(stated if isinstance(stated, str) else ""))
    except IdentifierError as error:
        raise fault("invalid-identifier", str(error), "write it as INSTANCE/CLASS/MEMBER/SUBSYSTEM/SERVICE") from None


Service = Annotated[str, BeforeValidator(_service), Field(description="INSTANCE/CLASS/MEMBER/SUBSYSTEM/SERVICE")]


class ProblemForm(Shown):
    """What went wrong, by RFC 9457."""

    type: str = Field(description="urn:yhdyspinta:problem: and the code")
    title: str = Field(description="in the language that the caller accepts")
    status: int
    code: str = Field(description="never changes its meaning")
    detail: str | None = None
    pointer: str | None = Field(None, description="RFC 6901, where in what was sent")
    remedy: str | None = None
    retry_after: int | None = Field(None, description="seconds")
    decision: RefusedDecision | None = Field(None, description="if it was a decision that refused")


class RefusedDecision(Shown):
    """A decision that refused."""

    id: str
    permitted: list[str]
    withheld: dict[str, str]


class OAuthProblem(Shown):
    """What went wrong at the token endpoint, by RFC 6749."""

    error: Literal["invalid_client", "invalid_request", "unsupported_grant_type", "temporarily_unavailable"]
    error_description: str
    code: str
    remedy: str | None = None


ProblemForm.model_rebuild()
