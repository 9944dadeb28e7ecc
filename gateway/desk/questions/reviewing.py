"""What deserves a look and who has looked at it: unusual patterns, emergency accesses, and their sign-offs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import field_validator
from sqlalchemy import Connection

from audit.log.entries import Entry, EntryType, Outcome
from audit.questions import reviews
from audit.questions.anomalies import Anomaly, Seen, Span, detect
from audit.questions.query import Found, by_id
from audit.questions.reviews import EMERGENCY, MAX_REMARK, Kind, Review, Verdict
from gateway.desk.asking import Answered, Detail, Note, Question, Windowed
from gateway.desk.forms import EntryRef, Language, Text, lines
from gateway.desk.reading import Reading
from gateway.desk.roles import OFFICER, Role
from gateway.exchange.holding import reason_of
from gateway.web.forms import Shape
from gateway.web.validation import fault
from gateway.wire.problems import ProblemError


@dataclass(frozen=True, slots=True)
class Patterns:
    """Unusual patterns, each with what may explain it in the language that was asked for."""

    found: tuple[Anomaly, ...]
    language: str

    def to_dict(self) -> dict[str, Any]:
        told = [asdict(pattern) | {"explanation": pattern.explanation(self.language)} for pattern in self.found]
        return {"unusual": told}


class Unusual(Windowed[Patterns], named="unusual", roles=OFFICER, needs_both=True):
    """Unusual patterns in a time window. With `queue` those that are new wait for review from then on."""

    queue: bool = False
    language: Language = Language.EN

    def read(self, reading: Reading) -> Answered[Patterns]:
        context = reading.context
        span, seen = Span(*self.window, reading.now), Seen(reading.shelves.find, context.subjects)
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
    """What nobody has signed off, oldest first, and what was signed off lately; patterns with their first entry.

    `justifications` say by the ids of entries why an emergency could not wait, to whoever may know.
    """

    emergencies: tuple[Found, ...]
    patterns: tuple[tuple[Review, Found | None], ...]
    done: tuple[tuple[Review, Found | None], ...] = ()
    justifications: Mapping[str, str] = field(default_factory=dict)

    @property
    def waits(self) -> int:
        """How much waits."""
        return len(self.emergencies) + len(self.patterns)

    def to_dict(self) -> dict[str, Any]:
        return {
            "found": [item.to_dict() for item in self.emergencies],
            "patterns": [review.to_dict() for review, _ in self.patterns],
            "justifications": dict(self.justifications),
        }


def _justification(reading: Reading, entry: Entry) -> str | None:
    """Why an emergency could not wait, as whoever asked has said it: for the officer, since it tells of the person."""
    if entry.type != EMERGENCY or reading.asker.role is not Role.OFFICER:
        return None
    return reason_of(reading.connection, reading.context.subjects, entry.message_id)


class Unreviewed(Question[Queue], named="unreviewed"):
    """Emergency accesses and patterns that nobody has signed off, as far as the asker may see them."""

    lately: ClassVar[int] = 0
    justified: ClassVar[bool] = True

    def read(self, reading: Reading) -> Answered[Queue]:
        connection = reading.connection

        def seen(found: tuple[Review, ...]) -> tuple[tuple[Review, Found | None], ...]:
            pairs = ((review, by_id(connection, review.entry, find=reading.find)) for review in found)
            return tuple(pair for pair in pairs if pair[1] is not None or reading.asker.member is None)

        found = reviews.unreviewed_emergencies(connection, find=reading.find)
        emergencies = tuple(item for item in found if reading.sees(item.entry))
        said = {item.entry.id: _justification(reading, item.entry) for item in emergencies if self.justified}
        told = Queue(
            emergencies,
            seen(reviews.waiting(connection, kind=Kind.ANOMALY)),
            seen(reviews.done(connection, limit=self.lately)) if self.lately else (),
            {entry: text for entry, text in said.items() if text is not None},
        )
        detail = {"shown": told.waits, "justifications": len(told.justifications)}
        return Answered(told, Note(bool(told.waits), detail=detail))


class Reviews(Unreviewed, lately=50, justified=False):
    """The same, with what was signed off lately, and without justifications: each is shown with its case."""


@dataclass(frozen=True, slots=True)
class Case:
    """An entry with its reviews by name; that of an emergency access may not have been opened yet. Of an emergency also
    why it could not wait, to whoever may know.
    """

    found: Found
    reviews: Mapping[str, Review | None]
    justification: str | None = None

    @property
    def waits(self) -> tuple[str, ...]:
        """The names of those that nobody has signed off."""
        return tuple(name for name, review in self.reviews.items() if review is None or review.signed_off is None)


class ReviewOf(Question[Case | None], named="review"):
    """One entry that waits for review, or did."""

    entry: EntryRef
    rule: Text | None = None

    def read(self, reading: Reading) -> Answered[Case | None]:
        found = reading.locate(self.entry)
        if found is None:
            return Answered(None, Note(found=False))
        told: dict[str, Review | None] = {EMERGENCY: None} if found.entry.type == EMERGENCY else {}
        told.update((review.name, review) for review in reviews.reviews_of(reading.connection, found.entry.id))
        case = Case(found, told, _justification(reading, found.entry))
        detail: Detail = {"of": found.index, "justification": case.justification is not None}
        detail = detail if self.rule is None else {**detail, "rule": self.rule}
        return Answered(case if told else None, Note(bool(told), found.entry.subject, detail=detail))


class Conclusion(Shape):
    """What a reviewer concludes, and why. `rule` says which of the reviews of an entry is meant where several wait."""

    verdict: Verdict
    remark: Annotated[str, lines(MAX_REMARK)]
    rule: Text | None = None

    @field_validator("remark")
    @classmethod
    def _with_reasons(cls, remark: str) -> str:
        if not remark.strip():
            raise fault("invalid-request", "a sign-off needs its reasons", "say why")
        return remark


class SignOff(Conclusion, Question[Review], named="sign-off", roles=OFFICER):
    """Sign an emergency access or a pattern off. The decision is on record with it."""

    entry: EntryRef

    def read(self, reading: Reading) -> Answered[Review]:
        found = reading.locate(self.entry)
        if found is None:
            raise reviews.ReviewError("there is no such entry")

        def signed(connection: Connection) -> tuple[Review, tuple[Entry, ...]]:
            try:
                review = reviews.meant(connection, found, self.rule, reading.now)
            except reviews.ChoiceError as error:
                remedy = f"name one of {', '.join(error.choices)}"
                raise ProblemError("invalid-request", pointer="/rule", detail=str(error), remedy=remedy) from None
            by = reading.asker.user or reading.asker.client
            done = reviews.sign_off(connection, review.id, reviews.Said(by, self.verdict, self.remark), reading.now)
            detail = {"question": self.named, "review": review.kind, "rule": review.name, "verdict": self.verdict}
            decided = reading.story.about(found.entry.subject).entry(
                EntryType.DECISION, Outcome.SUCCESS, reading.now, previous=found.entry.id, detail=detail
            )
            return done, (decided,)

        return Answered(None, None, write=signed)
