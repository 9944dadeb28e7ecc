"""Find entries: by filters, about a person or a case, along one handover; and take them along as a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Generic, Self

from pydantic import Field, model_validator
from sqlalchemy import Engine, select

from audit.log.entries import REFUSED, EntryType
from audit.questions import export, query
from audit.questions.query import MAX_PAGE, Filters, Found, Page, Search
from audit.questions.words import NOT_RELEASED, READS, Word
from gateway.desk.asking import A, Answered, Note, Question, Windowed
from gateway.desk.forms import EntryRef, FiltersForm, Format, Order, Person, Text
from gateway.desk.reading import Reading, Someone
from gateway.storage.tables import handovers, inbox
from gateway.web.validation import fault

LONGEST_COURSE: Final = 1_000


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


@dataclass(frozen=True, slots=True)
class Course:
    """What happened one after the other."""

    found: tuple[Found, ...]

    @property
    def happened(self) -> tuple[Found, ...]:
        """Without those who only read about it."""
        return tuple(item for item in self.found if item.entry.type not in READS)

    def to_dict(self) -> dict[str, Any]:
        return {"found": [item.to_dict() for item in self.found]}


_MOST_KEYS: Final = 16
"""So many index keys a node has had at most whose entries are asked for at once."""


class CourseOf(Question[Course], named="timeline-case"):
    """Everything about one case, by the keys that entries have for it, with commas between; oldest first."""

    key: Text

    def read(self, reading: Reading) -> Answered[Course]:
        case, *former = self.key.split(",")[:_MOST_KEYS]
        filters = Filters(case=case, former_cases=tuple(former))
        # Their place in the log is the order in which things happened; clocks of several writers may differ a little.
        found = sorted(reading.walk(filters, limit=LONGEST_COURSE), key=lambda item: item.index)
        course = Course(tuple(found))
        key = case if course.found else None
        return Answered(course, Note(bool(course.found), None, key, {"shown": len(course.found)}))


class Timeline(Question[Course]):
    """Everything about one handover (sent or received), one entry's story, or one case; oldest first."""

    handover: Text | None = None
    entry: EntryRef | None = None
    case: Text | None = None

    @model_validator(mode="after")
    def _of_one_thing(self) -> Self:
        if sum(value is not None for value in (self.handover, self.entry, self.case)) != 1:
            raise fault("invalid-request", "a timeline is of one thing", "give one of handover, entry and case")
        return self

    @property
    def recorded_as(self) -> str:
        if self.case is not None:
            return CourseOf.named
        return "timeline-handover" if self.handover is not None else "timeline-entry"

    def read(self, reading: Reading) -> Answered[Course]:
        if self.case is not None:
            return CourseOf.of(key=",".join(reading.cases(self.case))).read(reading)
        story: dict[int, Found] = {}
        for start in self._starts(reading):
            chain = query.chain(reading.connection, start, limit=LONGEST_COURSE, find=reading.find)
            story.update((item.index, item) for item in chain)
        course = Course(tuple(story[index] for index in sorted(story)))
        first = course.found[0].entry if course.found else None
        about = (first.subject, first.case) if first is not None else (None, None)
        return Answered(course, Note(bool(course.found), *about, {"shown": len(course.found)}))

    def _starts(self, reading: Reading) -> list[str]:
        if self.handover is not None:
            sent = select(handovers.c.entry).where(handovers.c.id == self.handover)
            received = select(inbox.c.entry).where(inbox.c.handover == self.handover)
            return [*reading.connection.scalars(sent), *reading.connection.scalars(received)]
        found = reading.locate(self.entry) if self.entry is not None else None
        return [] if found is None else [found.entry.id]


class FindCase(Question[str], named="find-case"):
    """The keys that entries have for a case reference, which is not kept; several if the index key was changed."""

    case: Text

    def read(self, reading: Reading) -> Answered[str]:
        keys = reading.cases(self.case)
        known = [key for key in keys if reading.page(Filters(case=key), limit=1).found]
        return Answered(",".join(known) or keys[0], Note(case=known[0] if known else None))
