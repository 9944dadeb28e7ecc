"""What happened one after the other: in one handover, in one case, around one record; and where a story is found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from pydantic import model_validator
from sqlalchemy import select

from audit.log.entries import Entry, EntryType, Outcome
from audit.questions import query
from audit.questions.query import Filters, Found
from audit.questions.words import READS
from gateway.desk.asking import Answered, Note, Question
from gateway.desk.forms import EntryRef, Language, Text
from gateway.desk.questions.proving import MOST_PROVEN, ProofFile, Proofs, Reasons, Seal, reasons_of, seal_over
from gateway.desk.reading import Reading
from gateway.storage.tables import handovers, inbox
from gateway.web.validation import fault

LONGEST_COURSE: Final = MOST_PROVEN
_MOST_KEYS: Final = 16
"""So many index keys a node has had at most whose entries are asked for at once."""
_MOST_EXPLAINED: Final = 50


@dataclass(frozen=True, slots=True)
class Course:
    """What happened one after the other. Where it was to be explained: why it was decided so, by the index of the entry
    that says it first, and the seal over the newest entry, which is a seal over all.
    """

    found: tuple[Found, ...]
    reasons: Mapping[int, Reasons] = field(default_factory=dict)
    seal: Seal | None = None

    @property
    def happened(self) -> tuple[Found, ...]:
        """Without those who only read about it."""
        return tuple(item for item in self.found if item.entry.type not in READS)

    def to_dict(self) -> dict[str, Any]:
        reasons = [{"index": index, "text": told.text, "same": told.same} for index, told in self.reasons.items()]
        return {"found": [item.to_dict() for item in self.found], "reasons": reasons}


def _told(reading: Reading, found: Iterable[Found], language: Language | None) -> Course:
    # Their place in the log is the order in which things happened; clocks of several writers may differ a little.
    course = Course(tuple(sorted(found, key=lambda item: item.index)[:LONGEST_COURSE]))
    happened = course.happened
    if language is None or not happened:
        return course
    reasons: dict[int, Reasons] = {}
    # A delivery that is on its way was decided as the one that arrives: the reasons stand where it has ended.
    ended = [item for item in happened if item.entry.outcome is not Outcome.REQUESTED]
    for item in ended[:_MOST_EXPLAINED]:
        told = reasons_of(reading, item, language)
        if told is not None and told not in reasons.values():
            reasons[item.index] = told
    return Course(course.found, reasons, seal_over(reading, happened[-1]))


class CourseOf(Question[Course], named="timeline-case"):
    """Everything about one case, by the keys that entries have for it, with commas between; oldest first."""

    key: Text
    explained_in: Language | None = None

    def read(self, reading: Reading) -> Answered[Course]:
        case, *former = self.key.split(",")[:_MOST_KEYS]
        filters = Filters(case=case, former_cases=tuple(former))
        course = _told(reading, reading.walk(filters, limit=LONGEST_COURSE), self.explained_in)
        key = case if course.found else None
        return Answered(course, Note(bool(course.found), None, key, {"shown": len(course.found)}))


class Timeline(Question[Course]):
    """Everything about one handover (sent or received), one entry's story, or one case; oldest first.

    `explained_in` asks for the reasons of each decision too, in that language: for the officer.
    """

    handover: Text | None = None
    entry: EntryRef | None = None
    case: Text | None = None
    explained_in: Language | None = None

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
            key = ",".join(reading.cases(self.case))
            return CourseOf.of(key=key, explained_in=self.explained_in).read(reading)
        course = _told(reading, self._story(reading).values(), self.explained_in)
        first = course.found[0].entry if course.found else None
        about = (first.subject, first.case) if first is not None else (None, None)
        return Answered(course, Note(bool(course.found), *about, {"shown": len(course.found)}))

    def _story(self, reading: Reading) -> dict[int, Found]:
        """The chain, and what else its messages led to: the duties that they left, each with what became of it."""
        story: dict[int, Found] = {}
        for start in self._starts(reading):
            story.update(_chain(reading, start))
        walked: set[str | None] = {None}
        while left := {item.entry.message_id for item in story.values()} - walked:
            for message in left:
                for item in reading.walk(Filters(message_id=message), limit=LONGEST_COURSE):
                    if item.index not in story:
                        story.update(_chain(reading, item.entry.id))
            walked |= left
        return story

    def _starts(self, reading: Reading) -> list[str]:
        if self.handover is not None:
            return _entries_of(reading, self.handover)
        found = reading.locate(self.entry) if self.entry is not None else None
        return [] if found is None else [found.entry.id]


class StoryProofs(Question[ProofFile | None], named="story-proofs", kind=EntryType.EXPORT):
    """The records of a case (by its keys) or of an entry's story with their proofs; None if there are none."""

    key: Text | None = None
    entry: EntryRef | None = None

    def read(self, reading: Reading) -> Answered[ProofFile | None]:
        story = CourseOf.of(key=self.key) if self.key is not None else Timeline.of(entry=self.entry)
        course = story.read(reading)
        if course.value is None or not course.value.happened:
            return Answered(None, Note(found=False))
        made = Proofs.of(entries=[item.index for item in course.value.happened]).read(reading)
        about = course.note or Note()
        return Answered(made.value, Note(True, about.subject, about.case, {"entries": len(course.value.happened)}))


def _chain(reading: Reading, start: str) -> dict[int, Found]:
    chain = query.chain(reading.connection, start, limit=LONGEST_COURSE, find=reading.find)
    return {item.index: item for item in chain}


def _entries_of(reading: Reading, handover: str) -> list[str]:
    sent = select(handovers.c.entry).where(handovers.c.id == handover)
    received = select(inbox.c.entry).where(inbox.c.handover == handover)
    return [*reading.connection.scalars(sent), *reading.connection.scalars(received)]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a story is: the keys of its case with commas between, or an entry of it."""

    case: str = ""
    entry: str = ""


class FindCase(Question[Place], named="find-case"):
    """Where the story is that a reference names: of a case, or by the id of a handover, a message or a record.

    The reference is not kept. A case has several keys where the index key was changed.
    """

    case: Text

    def read(self, reading: Reading) -> Answered[Place]:
        keys = reading.cases(self.case)
        known = [key for key in keys if reading.page(Filters(case=key), limit=1).found]
        entry = None if known else self._entry(reading)
        if entry is not None:
            return Answered(Place(entry=entry.id), Note(True, entry.subject, entry.case))
        found = Place(case=",".join(known) or keys[0])
        return Answered(found, Note(bool(known), case=known[0] if known else None))

    def _entry(self, reading: Reading) -> Entry | None:
        """An entry of the story that an id names."""
        for id_ in (self.case, *_entries_of(reading, self.case)):
            found = reading.locate(id_)
            if found is not None:
                return found.entry
        first = reading.page(Filters(message_id=self.case), order="oldest", limit=1).found
        return first[0].entry if first else None
