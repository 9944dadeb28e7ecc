"""Find entries, by filters or about a person or a case; and take them along as a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Generic, Self

from pydantic import Field, model_validator
from sqlalchemy import Engine

from audit.log.entries import REFUSED, EntryType
from audit.questions import export, query
from audit.questions.query import MAX_PAGE, Filters, Page, Search
from audit.questions.words import NOT_RELEASED, READS, Word
from gateway.desk.asking import A, Answered, Note, Windowed
from gateway.desk.forms import FiltersForm, Format, Order, Person, Text
from gateway.desk.reading import Reading, Someone
from gateway.web.validation import fault


class Named(StrEnum):
    """Searches that have a name of their own."""

    SEARCH = "search"
    PERSON = "person"
    DISCLOSURES = "disclosures"
    FRUITLESS = "fruitless"
    REFUSALS = "refusals"
    EMERGENCIES = "emergencies"
    READS = "reads"
    ANOMALIES = "anomalies"


NAMED: Final[Mapping[Named, Filters]] = {
    Named.SEARCH: Filters(),
    Named.PERSON: Filters(),
    Named.DISCLOSURES: query.meaning(Word.DISCLOSED),
    Named.FRUITLESS: Filters(types=(EntryType.QUERY.value,), outcomes=NOT_RELEASED),
    Named.REFUSALS: Filters(outcomes=REFUSED),
    Named.EMERGENCIES: Filters(types=(EntryType.BREAK_GLASS.value,)),
    Named.READS: Filters(types=READS),
    Named.ANOMALIES: Filters(types=(EntryType.ANOMALY.value,)),
}
"""What each is filled in with."""
OF_A_PERSON: Final = frozenset({Named.PERSON, Named.DISCLOSURES, Named.FRUITLESS})


class Searching(Windowed[A], Generic[A]):
    """What a search has in its form."""

    question: Named = Named.SEARCH
    person: Person | None = None
    case: Text | None = None
    filters: FiltersForm = FiltersForm()

    @model_validator(mode="after")
    def _about_somebody(self) -> Self:
        if self.question in OF_A_PERSON and self.person is None and not self.filters.subject:
            detail = f"the question {self.question} is about a person; say which"
            raise fault("invalid-request", detail, "name the person", member="person")
        return self

    @property
    def recorded_as(self) -> str:
        return self.question.value

    def narrowed(self, reading: Reading) -> tuple[Filters, Someone]:
        """The filters with what the name and the person fill in."""
        named, filters = NAMED[self.question], self.filters.within(self.start, self.end)
        someone = reading.someone(self.person)
        case, *former = reading.cases(self.case) if self.case is not None else (filters.case,)
        return (
            replace(
                filters,
                subjects=someone.pseudonyms or filters.subjects,
                types=filters.types or named.types,
                outcomes=filters.outcomes or named.outcomes,
                carries=named.carries,
                case=case,
                former_cases=tuple(former),
            ),
            someone,
        )


class Find(Searching[Page]):
    """Who received a person's data, what was refused, everything under one basis, purpose or member: page by page."""

    order: Order = Order.NEWEST
    after: Text | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 50

    def read(self, reading: Reading) -> Answered[Page]:
        filters, someone = self.narrowed(reading)
        page = reading.page(filters, order=self.order.value, after=self.after, limit=self.limit)
        detail = {**filters.to_codes(), "shown": len(page.found)}
        return Answered(page, Note(bool(page.found), someone.mark, filters.case, detail))


MEDIA: Final[Mapping[Format, tuple[str, str]]] = {
    Format.CSV: ("text/csv; charset=utf-8", "csv"),
    Format.JSONL: ("application/x-ndjson", "jsonl"),
    Format.FHIR: ("application/fhir+json", "json"),
}
"""Media type and ending of each format."""


@dataclass(frozen=True, slots=True)
class Entries:
    """Entries as a file, in pieces: the log as it was when they were asked for."""

    form: Format
    filters: Filters
    engine: Engine
    find: Search
    origin: str
    limit: int | None
    before: int = 0

    @property
    def media_type(self) -> str:
        """What the file is."""
        return MEDIA[self.form][0]

    @property
    def ending(self) -> str:
        """How its name ends."""
        return MEDIA[self.form][1]

    def pieces(self) -> Iterator[bytes]:
        """The file."""
        with self.engine.connect() as connection:
            whole = query.walk(connection, self.filters, order="oldest", limit=self.limit, find=self.find)
            found = (item for item in whole if item.index < self.before)
            if self.form is Format.CSV:
                yield from (line.encode() for line in export.to_csv(found))
            elif self.form is Format.JSONL:
                yield from export.to_json_lines(found)
            else:
                yield from export.to_fhir(found, origin=self.origin)


class Export(Searching[Entries], kind=EntryType.EXPORT):
    """The whole answer to a search, as CSV, JSON Lines or a FHIR bundle."""

    most: ClassVar[int | None] = None

    form: Format = Field(Format.JSONL, alias="format")

    def read(self, reading: Reading) -> Answered[Entries]:
        filters, someone = self.narrowed(reading)
        is_any = bool(reading.page(filters, order="oldest", limit=1).found)
        context = reading.context
        made = Entries(self.form, filters, context.engine, reading.find, context.log.origin, self.most)
        note = Note(is_any, someone.mark, filters.case, {**filters.to_codes(), "format": self.form.value})
        # None is read before the export is on record.
        return Answered(made, note, placed=lambda place: replace(made, before=place))


class Download(Export, most=100_000):
    """The same for a browser, which gets the oldest of them if there are very many."""
