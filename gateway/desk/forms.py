"""The parts of which the officer's forms are made, each with its limits and with what is wrong beyond them.

Nothing in a form may be more than a database can hold or compare: texts have a length and no NUL, times lie between
the years that a calendar of people knows, numbers fit. What cannot be is refused here, with its place, and never asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StrictInt,
    StringConstraints,
    WithJsonSchema,
)

from audit.log.entries import ZONE, EntryType, Outcome
from audit.questions.query import Filters
from gateway.desk.asking import QuestionError, WrongError
from schemas.identifiers import SubjectIdentifierError, canonical

LONGEST: Final = 1_300
"""Characters of a text: as long as the longest identifier of a service."""
MAX_INDEX: Final = 10**15
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2201, 1, 1, tzinfo=UTC)
YEARS: Final = (2020, 2200)


class Language(StrEnum):
    """In which a report can be had."""

    FI = "fi"
    SV = "sv"
    EN = "en"


class Order(StrEnum):
    """In which entries come."""

    NEWEST = "newest"
    OLDEST = "oldest"


class Format(StrEnum):
    """In which entries can be taken along."""

    CSV = "csv"
    JSONL = "jsonl"
    FHIR = "fhir"


def _plain(text: str) -> str:
    if "\0" in text:
        raise WrongError("a text holds no NUL character")
    return text


def text(longest: int, shortest: int = 1) -> Any:
    """What a text of a form is: so many characters, none of them NUL."""
    return StringConstraints(strict=True, min_length=shortest, max_length=longest), AfterValidator(_plain)


Text = Annotated[str, *text(LONGEST)]


def _moment(given: object) -> datetime:
    if isinstance(given, str):
        try:
            given = datetime.fromisoformat(given)
        except ValueError:
            given = None
    if not isinstance(given, datetime) or given.tzinfo is None:
        raise WrongError("is not a time with a zone", "write it as in 2026-01-31T12:00:00Z")
    # Compared as it stands: at the ends of the calendar a time cannot be told in another zone.
    if not EARLIEST <= given < LATEST:
        raise WrongError(
            f"the time lies outside {EARLIEST.year} to {LATEST.year - 1}", "write it as in 2026-01-31T12:00:00Z"
        )
    return given.astimezone(UTC)


Moment = Annotated[datetime, PlainValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]


def _entry(given: object) -> str | int:
    if isinstance(given, int) and not isinstance(given, bool):
        given = str(given)
    if not isinstance(given, str) or not 1 <= len(given) <= 100 or "\0" in given:
        raise WrongError("an entry is named by its id or its index")
    if not (given.isascii() and given.isdecimal()):
        return given
    if len(given) > len(str(MAX_INDEX)) or int(given) > MAX_INDEX:
        raise WrongError("no log has so many entries")
    return int(given)


EntryRef = Annotated[str | int, PlainValidator(_entry), WithJsonSchema({"type": "string", "maxLength": 100})]
"""An entry by its id, or by its index."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """A person by an identifier in its one notation, with the system that gives it meaning."""

    system: str
    value: str

    def __repr__(self) -> str:
        return f"Identifier(system={self.system!r})"  # the value stays out of tracebacks and logs


@dataclass(frozen=True, slots=True)
class Handle:
    """A person by the opaque id of one of their subjects, as the console's own pages name them."""

    subject: str


def _person(given: object) -> Identifier | Handle:
    if isinstance(given, Identifier | Handle):
        return given
    system, value = (given.get("system"), given.get("value")) if isinstance(given, Mapping) else (None, None)
    if not (isinstance(system, str) and isinstance(value, str) and 0 < len(value) <= 64 and 0 < len(system) <= 128):
        raise WrongError("the question does not say about which person it is", 'send {"system": "…", "value": "…"}')
    return identifier(system, value)


def identifier(system: str, value: str) -> Identifier:
    """The identifier in its one notation. Raises WrongError for one that nobody can have."""
    try:
        return Identifier(*canonical(system, value))
    except SubjectIdentifierError as error:
        raise WrongError(error.detail, error.remedy, error.code, error.member) from None


_PERSON: Final = {
    "type": "object",
    "required": ["system", "value"],
    "properties": {
        "system": {"type": "string", "minLength": 1, "maxLength": 128},
        "value": {"type": "string", "minLength": 1, "maxLength": 64},
    },
}
Person = Annotated[Identifier | Handle, PlainValidator(_person), WithJsonSchema(_PERSON)]


def _several(given: object) -> object:
    return [given] if isinstance(given, str) else given


def _one_only(given: object) -> object:
    if isinstance(given, list):
        if len(given) != 1:
            raise WrongError("the filter is given twice")
        given = given[0]
    return given


Plain = Annotated[Text | None, BeforeValidator(_one_only)]


class FiltersForm(BaseModel):
    """What a search is narrowed by: everything given must hold; `type`, `outcome` and `subject` take alternatives."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Annotated[tuple[EntryType, ...], BeforeValidator(_several), Field(max_length=30)] = ()
    outcome: Annotated[tuple[Outcome, ...], BeforeValidator(_several), Field(max_length=30)] = ()
    subject: Annotated[tuple[Text, ...], BeforeValidator(_several), Field(max_length=64)] = ()
    id: Plain = None
    message_id: Plain = None
    previous: Plain = None
    case: Plain = None
    user: Plain = None
    recipient: Plain = None
    source: Plain = None
    member: Plain = None
    client: Plain = None
    service: Plain = None
    purpose: Plain = None
    rulebook: Plain = None
    reason: Plain = None
    basis: Plain = None
    permitted: Plain = None
    withheld: Plain = None
    consent: Plain = None

    def within(self, start: datetime | None, end: datetime | None) -> Filters:
        """The filters, with a window of time."""
        return Filters(
            start,
            end,
            subjects=self.subject,
            types=tuple(kind.value for kind in self.type),
            outcomes=tuple(outcome.value for outcome in self.outcome),
            **self.model_dump(exclude={"type", "outcome", "subject"}),
        )


FILTERS: Final = tuple(sorted(FiltersForm.model_fields))
"""Filters by the names that callers use."""
Year = Annotated[StrictInt, Field(ge=YEARS[0], le=YEARS[1])]


def ordered(start: datetime | None, end: datetime | None) -> None:
    """Refuse a window that ends before it begins. Raises WrongError."""
    if start is not None and end is not None and start >= end:
        raise WrongError(
            "the time window ends before it begins", "give a beginning that is before the end", member="to"
        )


def day_begins(name: str, written: str) -> datetime | None:
    """When a Finnish day that a person wrote begins; None for nothing. Raises QuestionError."""
    if not written.strip():
        return None
    try:
        day = date.fromisoformat(written.strip())
    except ValueError:
        raise QuestionError(f"/{name}", "is no day", "write it as in 2026-03-31") from None
    if not EARLIEST.year < day.year < LATEST.year:
        raise QuestionError(f"/{name}", f"lies outside {EARLIEST.year + 1} to {LATEST.year - 1}")
    return datetime.combine(day, time(), ZONE).astimezone(UTC)


def day_ends(name: str, written: str) -> datetime | None:
    """When a Finnish day that a person wrote is over; None for nothing. Raises QuestionError."""
    begins = day_begins(name, written)
    if begins is None:
        return None
    day = begins.astimezone(ZONE).date() + timedelta(days=1)
    return datetime.combine(day, time(), ZONE).astimezone(UTC)
