"""What deserves a look and who has looked at it: unusual patterns, emergency accesses, and their sign-offs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import Field, StrictBool, model_validator
from sqlalchemy import Connection

from audit.log.entries import Entry, EntryType, Outcome
from audit.questions import reviews
from audit.questions.anomalies import Anomaly, Seen, Span, detect
from audit.questions.query import Found, by_id
from audit.questions.reviews import EMERGENCY, MAX_REMARK, Kind, Review, Verdict
from gateway.desk.asking import OFFICER, Answered, Note, Question, QuestionError, Role, WrongError
from gateway.desk.forms import EntryRef, Language, Moment, Text, text
from gateway.desk.questions.counting import window
from gateway.desk.reading import Reading

LATELY: Final = 50


@dataclass(frozen=True, slots=True)
class Patterns:
    """Unusual patterns, each with what may explain it in the language that was asked for."""

    found: tuple[Anomaly, ...]
    language: str

    def to_dict(self) -> dict[str, Any]:
        """The patterns as JSON tells them."""
        told = [asdict(pattern) | {"explanation": pattern.explanation(self.language)} for pattern in self.found]
        return {"unusual": told}


class Unusual(Question[Patterns]):
    """Unusual patterns in a time window. With `queue` those that are new wait for review from then on."""

    named: ClassVar[str] = "unusual"
    roles: ClassVar[frozenset[Role]] = OFFICER

    start: Moment | None = Field(None, alias="from")
    end: Moment | None = Field(None, alias="to")
    queue: StrictBool = False
    language: Language = Language.EN

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        window(self.start, self.end)
        return self

    def read(self, reading: Reading) -> Answered[Patterns]:
        """What is seen, and the reviews that it opens."""
        assert self.start is not None
        assert self.end is not None
        context = reading.context
        span, seen = Span(self.start, self.end, reading.now), Seen(reading.shelves.find, context.subjects)
        told = Patterns(detect(reading.connection, span, context.thresholds, seen), self.language.value)
        note = Note(bool(told.found), detail={"shown": len(told.found)})

        def opened(connection: Connection) -> tuple[Patterns, tuple[Entry, ...]]:
            fresh = reviews.open_anomalies(connection, told.found, reading.now)
            return told, tuple(_noticed(reading, pattern, review) for pattern, review in fresh)

        return Answered(told, note, write=opened if self.queue and told.found else None)


def _noticed(reading: Reading, pattern: Anomaly, review: Review) -> Entry:
    return reading.story.entry(
        EntryType.ANOMALY,
        Outcome.PENDING,
        reading.now,
        previous=pattern.entries[0],
        detail={"rule": pattern.rule, "count": pattern.count, "review": review.id},
    )


@dataclass(frozen=True, slots=True)
class Queue:
    """What nobody has signed off, oldest first, and what was signed off lately; patterns with their first entry."""

    emergencies: tuple[Found, ...]
    patterns: tuple[tuple[Review, Found | None], ...]
    done: tuple[tuple[Review, Found | None], ...] = ()

    @property
    def waits(self) -> int:
        """How much waits."""
        return len(self.emergencies) + len(self.patterns)

    def to_dict(self) -> dict[str, Any]:
        """What waits, as JSON tells it."""
        return {
            "found": [item.to_dict() for item in self.emergencies],
            "patterns": [review.to_dict() for review, _ in self.patterns],
        }


class Unreviewed(Question[Queue]):
    """Emergency accesses and patterns that nobody has signed off; with `done` also those that were lately."""

    named: ClassVar[str] = "unreviewed"

    done: StrictBool = Field(False, exclude=True)

    def read(self, reading: Reading) -> Answered[Queue]:
        """As far as the asker may see them."""
        connection = reading.connection

        def seen(found: tuple[Review, ...]) -> tuple[tuple[Review, Found | None], ...]:
            pairs = ((review, by_id(connection, review.entry, find=reading.find)) for review in found)
            return tuple(pair for pair in pairs if pair[1] is not None or reading.asker.member is None)

        emergencies = reviews.unreviewed_emergencies(connection, find=reading.find)
        told = Queue(
            tuple(item for item in emergencies if reading.sees(item.entry)),
            seen(reviews.waiting(connection, kind=Kind.ANOMALY)),
            seen(reviews.done(connection, limit=LATELY)) if self.done else (),
        )
        return Answered(told, Note(bool(told.waits), detail={"shown": told.waits}))


@dataclass(frozen=True, slots=True)
class Case:
    """An entry with its reviews by name; that of an emergency access may not have been opened yet."""

    found: Found
    reviews: Mapping[str, Review | None]

    @property
    def waits(self) -> tuple[str, ...]:
        """The names of those that nobody has signed off."""
        return tuple(name for name, review in self.reviews.items() if review is None or review.signed_off is None)


class ReviewOf(Question[Case | None]):
    """One entry that waits for review, or did."""

    named: ClassVar[str] = "review"

    entry: EntryRef
    rule: Text | None = None

    def read(self, reading: Reading) -> Answered[Case | None]:
        """The entry and its reviews; None where there is nothing to review."""
        found = reading.locate(self.entry)
        if found is None:
            return Answered(None, Note(found=False))
        told: dict[str, Review | None] = {EMERGENCY: None} if found.entry.type == EMERGENCY else {}
        told.update((review.name, review) for review in reviews.reviews_of(reading.connection, found.entry.id))
        detail = {"of": found.index} | ({} if self.rule is None else {"rule": self.rule})
        return Answered(Case(found, told) if told else None, Note(bool(told), found.entry.subject, detail=detail))


class SignOff(Question[Review]):
    """Sign an emergency access or a pattern off. The decision is on record with it.

    `rule` says which of the reviews of an entry is meant where several wait.
    """

    named: ClassVar[str] = "sign-off"
    roles: ClassVar[frozenset[Role]] = OFFICER

    entry: EntryRef
    verdict: Verdict
    remark: Annotated[str, *text(MAX_REMARK)]
    rule: Text | None = None

    @model_validator(mode="after")
    def _with_reasons(self) -> Self:
        if not self.remark.strip():
            raise WrongError("a sign-off needs its reasons: the remark is empty", member="remark")
        return self

    def read(self, reading: Reading) -> Answered[Review]:
        """Signs it off. Raises ReviewError; QuestionError where it is not said which review is meant."""
        found = reading.locate(self.entry)
        if found is None:
            raise reviews.ReviewError("there is no such entry")

        def signed(connection: Connection) -> tuple[Review, tuple[Entry, ...]]:
            try:
                review = reviews.meant(connection, found, self.rule, reading.now)
            except reviews.ChoiceError as error:
                raise QuestionError("/rule", str(error)) from None
            by = reading.asker.user or reading.asker.client
            done = reviews.sign_off(connection, review.id, reviews.Said(by, self.verdict, self.remark), reading.now)
            detail = {"question": self.named, "review": review.kind, "rule": review.name, "verdict": self.verdict}
            decided = reading.story.about(found.entry.subject).entry(
                EntryType.DECISION, Outcome.SUCCESS, reading.now, previous=found.entry.id, detail=detail
            )
            return done, (decided,)

        return Answered(None, None, write=signed)
