"""Questions about everybody: figures, who gave what to whom, and the record of processing. All count by one meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Self

from audit.log.entries import ZONE, EntryType
from audit.questions import query, report, reviews, tallies
from audit.questions.query import Filters, Order
from audit.questions.tallies import Count
from audit.tree.checkpoint import Checkpoint
from audit.tree.witness import Alarm, all_alarms
from gateway.desk.asking import Answered, Note, Question, Windowed
from gateway.desk.forms import Language, Year
from gateway.desk.questions.words import Unsettled, unsettled
from gateway.desk.reading import Reading
from gateway.desk.roles import EVERYONE, Role

DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Totals:
    """How often data was disclosed, refused, and asked for without result."""

    disclosed: int
    refused: int
    fruitless: int

    @classmethod
    def of(cls, counts: Sequence[Count]) -> Self:
        """All of them together."""
        return cls(
            sum(count.released for count in counts),
            sum(count.refused for count in counts),
            sum(count.fruitless for count in counts),
        )


@dataclass(frozen=True, slots=True)
class Flowed:
    """How much went from whom to whom; most first."""

    counts: tuple[Count, ...]

    @property
    def totals(self) -> Totals:
        return Totals.of(self.counts)

    def to_dict(self) -> dict[str, Any]:
        return {"flows": [count.to_dict() for count in self.counts]}


class Flows(Windowed[Flowed], named="flows", needs_both=True):
    """How much went from whom to whom in a time window: disclosed, refused, and without result."""

    def read(self, reading: Reading) -> Answered[Flowed]:
        told = Flowed(_between(reading, *self.window))
        return Answered(told, Note(bool(told.counts)))


def _between(reading: Reading, start: datetime, end: datetime) -> tuple[Count, ...]:
    counts = tallies.between(reading.connection, start, end)
    return tuple(count for count in counts if count.concerns(reading.asker.member))


@dataclass(frozen=True, slots=True)
class Figures:
    """What the first page says: figures of the last DAYS days, what waits, alarms, and the log's seal.

    `words` is for whoever sees to what people forbade, and None for others.
    """

    totals: Totals | None
    waiting: int
    alarms: tuple[Alarm, ...]
    checkpoint: Checkpoint | None
    words: Unsettled | None = None


class Overview(Question[Figures], named="overview", roles=EVERYONE):
    """Figures of the last days, what waits, and the state of the log. Operators see no figures."""

    def read(self, reading: Reading) -> Answered[Figures]:
        words = unsettled(reading) if reading.asker.role in (Role.OFFICER, Role.REGISTRAR) else None
        if reading.asker.role in (Role.OPERATOR, Role.REGISTRAR):
            return Answered(Figures(None, 0, (), None, words), Note())
        connection, now = reading.connection, reading.now
        emergencies = [
            item for item in reviews.unreviewed_emergencies(connection, find=reading.find) if reading.sees(item.entry)
        ]
        patterns = [
            pattern
            for pattern in reviews.waiting(connection, kind=reviews.Kind.ANOMALY)
            if reading.asker.member is None or query.by_id(connection, pattern.entry, find=reading.find) is not None
        ]
        return Answered(
            Figures(
                Totals.of(_between(reading, now - timedelta(days=DAYS), now)),
                len(emergencies) + len(patterns),
                tuple(all_alarms(connection)),
                reading.context.log.latest(),
                words,
            ),
            Note(),
        )


class Processing(Question[report.RecordOfProcessing], named="record-of-processing", kind=EntryType.EXPORT):
    """The record of processing activities (GDPR art. 30) of one year of Finnish time.

    Of a year before the log began it says nothing, and of another what this organisation had a part in by the law of
    that year.
    """

    year: Year
    language: Language = Language.EN

    def read(self, reading: Reading) -> Answered[report.RecordOfProcessing]:
        language = self.language.value
        years = recorded_years(reading)
        described = reading.context.activities(self.year, language, reading.asker.member) if self.year in years else ()
        made = report.record_of_processing(
            reading.connection, self.year, described, reading.telling(language), member=reading.asker.member
        )
        return Answered(made, Note(detail={"year": self.year}))


def recorded_years(reading: Reading) -> range:
    """The years that the log covers, as far as the asker may see."""

    def year(order: Order) -> int | None:
        page = reading.page(Filters(), order=order, limit=1)
        return page.found[0].entry.recorded.astimezone(ZONE).year if page.found else None

    first = year("oldest")
    return range(0) if first is None else range(first, max(first, reading.now.astimezone(ZONE).year) + 1)


class Years(Question[tuple[int, ...]], named="recorded-years"):
    """The years of which there is a record of processing, newest first."""

    def read(self, reading: Reading) -> Answered[tuple[int, ...]]:
        return Answered(tuple(reversed(recorded_years(reading))), Note())
