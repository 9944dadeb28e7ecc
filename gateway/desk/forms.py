"""The parts of which the officer's forms are made beside those of all interfaces, each with its limits.

Nothing in a form may be more than a database can hold or compare. What cannot be is refused here, with its place, and
never asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, PlainValidator, StringConstraints, TypeAdapter, ValidationError
from pydantic import WithJsonSchema as As

from audit.log.entries import ZONE, EntryType, Outcome
from audit.questions.query import Filters
from gateway.web.forms import PersonForm, Shape, Subject
from gateway.web.validation import fault
from gateway.wire.problems import ProblemError

LONGEST: Final = 1_300
"""Characters of a filter: as long as the longest identifier of a service."""
MAX_INDEX: Final = 10**15
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


def lines(longest: int, shortest: int = 1) -> StringConstraints:
    """A text of so many characters, of any lines; a NUL no database takes."""
    return StringConstraints(min_length=shortest, max_length=longest, pattern=r"^[^\x00]*$")


Text = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST, pattern=r"^[^\x00-\x1f\x7f]*$")]


def _entry(stated: Any) -> str | int:
    text = str(stated) if isinstance(stated, str | int) else ""
    if not 1 <= len(text) <= 100 or not text.isprintable():
        raise fault("invalid-request", "an entry is named by its id or its index", "give one of them")
    if not (text.isascii() and text.isdecimal()):
        return text
    if len(text) > len(str(MAX_INDEX)) or int(text) > MAX_INDEX:
        raise fault("invalid-request", "no log has so many entries", "give an index of this log")
    return int(text)


EntryRef = Annotated[str | int, PlainValidator(_entry), As({"type": "string", "minLength": 1, "maxLength": 100})]
"""An entry by its id, or by its index."""


@dataclass(frozen=True, slots=True)
class Handle:
    """A person by the opaque id of one of their subjects, as the console's own pages name them."""

    subject: str


_SUBJECT: Final[TypeAdapter[PersonForm]] = TypeAdapter(Subject)


def _someone(stated: Any) -> PersonForm | Handle:
    if isinstance(stated, Handle | PersonForm):
        return stated
    try:
        return _SUBJECT.validate_python(stated)
    except ValidationError as error:
        said = error.errors()[0]["ctx"]
        raise fault(said["code"], said["detail"], said["remedy"], member=said["member"]) from None


Person = Annotated[PersonForm | Handle, PlainValidator(_someone, json_schema_input_type=PersonForm)]


def person(system: str, value: str) -> PersonForm:
    """A person by an identifier, in its one notation. Raises ProblemError for one that nobody can have."""
    try:
        return _SUBJECT.validate_python({"system": system, "value": value})
    except ValidationError as error:
        code, detail, remedy = (error.errors()[0]["ctx"][name] for name in ("code", "detail", "remedy"))
        raise ProblemError(code, detail=detail, remedy=remedy) from None


def _several(stated: Any) -> Any:
    return [stated] if isinstance(stated, str) else stated


def _single(stated: Any) -> Any:
    if isinstance(stated, list) and len(stated) > 1:
        raise fault("invalid-request", "the filter is given twice", "give it once")
    return stated[0] if isinstance(stated, list) and stated else stated


Plain = Annotated[Text | None, BeforeValidator(_single)]
Several = BeforeValidator(_several), Field(max_length=64)


class FiltersForm(Shape):
    """What a search is narrowed by: everything given must hold; `type`, `outcome` and `subject` take alternatives."""

    type: Annotated[list[Annotated[EntryType, Field(strict=False)]], *Several] = Field(default_factory=list)
    outcome: Annotated[list[Annotated[Outcome, Field(strict=False)]], *Several] = Field(default_factory=list)
    subject: Annotated[list[Text], *Several] = Field(default_factory=list)
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
        plain = self.model_dump(exclude={"type", "outcome", "subject"})
        subjects, types, outcomes = tuple(self.subject), tuple(self.type), tuple(self.outcome)
        return Filters(start, end, subjects=subjects, types=types, outcomes=outcomes, **plain)


FILTERS: Final = tuple(sorted(FiltersForm.model_fields))
"""Filters by the names that callers use."""
Year = Annotated[int, Field(ge=YEARS[0], le=YEARS[1])]


def day_of(written: str, *, is_over: bool = False) -> datetime | None:
    """When a Finnish day that a person wrote begins, or is over; None for nothing. Raises ValueError."""
    if not written.strip():
        return None
    day = date.fromisoformat(written.strip())
    if not 1970 <= day.year < YEARS[1]:
        raise ValueError("no calendar of people has such a year")
    return datetime.combine(day + timedelta(days=is_over), time(), ZONE).astimezone(UTC)
