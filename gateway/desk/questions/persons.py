"""Questions about one person: who received their data, their consents, what may be told to them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import date
from typing import Annotated, Any, Final, Generic

from pydantic import Field

from audit.log.entries import ZONE, Entry, EntryType, Outcome
from audit.questions import data_tracker, query, report, withdrawals
from audit.questions.query import Day, Found
from audit.questions.withdrawals import ConsentStory
from audit.questions.words import MEANINGS, Word, has_come
from gateway.desk.asking import A, Answered, Note, Question, Windowed, Zoned
from gateway.desk.forgetting import beside
from gateway.desk.forms import Handle, Language, Person
from gateway.desk.reading import NOBODY, Reading, Someone
from gateway.desk.roles import OFFICER
from gateway.web.forms import PersonForm
from schemas.identifiers import HETU, LOCAL, MIGRI_CUSTOMER

MOST: Final = 5_000
LATEST: Final = 50
_KINDS: Final = {HETU: "kind-hetu", MIGRI_CUSTOMER: "kind-migri", LOCAL: "kind-local"}


class OfPerson(Windowed[A], Generic[A], roles=OFFICER):
    """What all questions about one person have in their form."""

    person: Person


class FindPerson(Question[Handle], named="find-person", roles=OFFICER):
    """Who has an identifier. Whether anybody has it makes no difference to what is done and answered."""

    person: Person

    def read(self, reading: Reading) -> Answered[Handle]:
        assert isinstance(self.person, PersonForm)
        found = reading.subjects.find(reading.connection, self.person.system, self.person.value)
        if found is None:
            return Answered(Handle(NOBODY[0]), Note())
        return Answered(Handle(found.id), Note(subject=found.pseudonym))


@dataclass(frozen=True, slots=True)
class Disclosures:
    """What left or came of a person's data, newest first, what was stopped or withheld, and who asked in vain."""

    given: tuple[Found, ...]
    kept_back: tuple[Found, ...]
    fruitless: tuple[Found, ...]
    is_known: bool

    @property
    def days(self) -> dict[date, int]:
        """How many disclosures there were on each Finnish day."""
        days: dict[date, int] = {}
        for item in self.given:
            day = item.entry.recorded.astimezone(ZONE).date()
            days[day] = days.get(day, 0) + 1
        return days

    @property
    def recipients(self) -> list[tuple[str, list[Found]]]:
        """To whom data left, with what each received, who received most first."""
        return _grouped((item.entry.taker, item) for item in self.given if not has_come(item.entry))

    @property
    def givers(self) -> list[tuple[str, list[Found]]]:
        """From whom data came, with what each gave, who gave most first."""
        return _grouped((item.entry.giver, item) for item in self.given if has_come(item.entry))


def _grouped(sides: Iterable[tuple[str | None, Found]]) -> list[tuple[str, list[Found]]]:
    groups: dict[str, list[Found]] = {}
    for side, item in sides:
        groups.setdefault(side or "", []).append(item)
    return sorted(groups.items(), key=lambda pair: -len(pair[1]))


class DisclosuresOf(OfPerson[Disclosures], named="person-disclosures"):
    """Who received this person's data, what did not leave, and who asked and got nothing."""

    def read(self, reading: Reading) -> Answered[Disclosures]:
        someone = reading.someone(self.person)
        given = query.disclosures(someone.pseudonyms, start=self.start, end=self.end)
        moved = reading.walk(given, order="newest", limit=MOST)
        told = Disclosures(
            moved,
            _final(reading.walk(_kept_back(someone), order="newest", limit=LATEST), moved),
            reading.walk(query.fruitless_lookups(someone.pseudonyms), order="newest", limit=LATEST),
            bool(reading.page(query.person(someone.pseudonyms), limit=1).found),
        )
        return Answered(told, Note(told.is_known, someone.mark, detail={"shown": len(told.given)}))


def _kept_back(someone: Someone) -> query.Filters:
    """What of a person's data did not leave: stopped on its way, or withheld by rule."""
    outcomes = MEANINGS[Word.WITHHELD].outcomes + MEANINGS[Word.STOPPED].outcomes
    return replace(query.meaning(Word.WITHHELD), outcomes=outcomes, subjects=query.known(someone.pseudonyms))


def _final(kept_back: tuple[Found, ...], moved: tuple[Found, ...]) -> tuple[Found, ...]:
    """Without plans whose delivery tells for itself what was held back in the end, or that nothing was."""
    told = {item.entry.detail.get("delivery") for item in (*kept_back, *moved) if item.entry.type == EntryType.DELIVERY}

    def is_overtaken(entry: Entry) -> bool:
        return entry.outcome is Outcome.PLANNED and entry.detail.get("delivery", "") in told

    return tuple(item for item in kept_back if not is_overtaken(item.entry))


@dataclass(frozen=True, slots=True)
class Consents:
    """A person's words with what was disclosed under each."""

    stories: tuple[ConsentStory, ...]

    @property
    def late(self) -> list[tuple[Found, Found]]:
        """Releases that stand in the log after the withdrawal of what they cite, each with that withdrawal."""
        return [pair for story in self.stories for pair in story.late()]

    def to_dict(self) -> dict[str, Any]:
        return {"consents": [story.to_dict() for story in self.stories]}


class ConsentsOf(OfPerson[Consents], named="consents"):
    """A person's permissions, consents and prohibitions: their history, and what was disclosed under each."""

    def read(self, reading: Reading) -> Answered[Consents]:
        someone = reading.someone(self.person)
        found = withdrawals.consents_of(reading.connection, someone.pseudonyms, find=reading.find, terms=reading.terms)
        told = Consents(found)
        return Answered(told, Note(bool(told.stories), someone.mark))


@dataclass(frozen=True, slots=True)
class Days:
    """How often a person's data was disclosed, by Finnish day."""

    days: tuple[Day, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"days": [{"date": day.date.isoformat(), "count": day.count} for day in self.days]}


class DaysOf(OfPerson[Days], named="days"):
    """How often a person's data was disclosed, by day."""

    def read(self, reading: Reading) -> Answered[Days]:
        someone = reading.someone(self.person)
        given = query.disclosures(someone.pseudonyms, start=self.start, end=self.end)
        told = Days(query.heat(reading.connection, given, find=reading.find))
        return Answered(told, Note(bool(told.days), someone.mark))


class ExtractOf(OfPerson[report.Extract], named="extract", kind=EntryType.EXPORT):
    """The extract for a person (GDPR art. 15), as JSON or as a printable page."""

    language: Language = Language.EN
    for_officer: bool = False

    def read(self, reading: Reading) -> Answered[report.Extract]:
        someone = reading.someone(self.person)
        telling = reading.telling(self.language.value, for_officer=self.for_officer)
        made = report.extract(reading.connection, someone.pseudonyms, telling, start=self.start, end=self.end)
        made = replace(
            made,
            identifiers=self._kinds(reading, someone.ids),
            others=self._kinds(reading, beside(reading.connection, someone.ids).others) if self.for_officer else (),
        )
        detail = {"lines": len(made.disclosures), "language": self.language.value, "hidden_counted": self.for_officer}
        return Answered(made, Note(someone.mark is not None, someone.mark, detail=detail))

    def _kinds(self, reading: Reading, ids: Collection[str]) -> tuple[str, ...]:
        """What the kinds of these subjects' identifiers are called."""
        kinds = {system for _, system in reading.subjects.systems(reading.connection, sorted(ids))}
        keys = {_KINDS.get(system or "", "kind-other") for system in kinds}
        return tuple(report.text(f"extract.{key}", self.language.value) for key in sorted(keys))


class Usages(OfPerson[data_tracker.Usages], named="usages"):
    """Who has used a person's data, as they may see it themselves, newest first."""

    offset: Annotated[int, Field(ge=0, le=data_tracker.MOST)] = 0
    limit: Annotated[int, Field(ge=1, le=data_tracker.MAX_USAGES)] = data_tracker.MAX_USAGES
    language: Language = Language.EN

    def read(self, reading: Reading) -> Answered[data_tracker.Usages]:
        someone = reading.someone(self.person)
        wanted = data_tracker.Wanted(self.start, self.end, self.offset, self.limit)
        telling = reading.telling(self.language.value)
        told = data_tracker.find_usage(reading.connection, someone.pseudonyms, telling, wanted)
        return Answered(told, Note(bool(told.usages), someone.mark, detail={"shown": len(told.usages)}))


class UsagePeriod(Question[data_tracker.UsagePeriod], named="usage-period", is_recorded=False):
    """The time that can be told about; about nobody, so not on record."""

    def read(self, reading: Reading) -> Answered[data_tracker.UsagePeriod]:
        return Answered(data_tracker.usage_period(reading.connection, reading.now, find=reading.find), None)


class Heartbeat(Question[data_tracker.Heartbeat], named="heartbeat", is_recorded=False):
    """Whether uses can be looked up just now; about nobody, so not on record."""

    def read(self, reading: Reading) -> Answered[data_tracker.Heartbeat]:
        return Answered(data_tracker.heartbeat(reading.connection), None)


@dataclass(frozen=True, slots=True)
class Late:
    """What left after a withdrawal, each with the withdrawal: must be nothing."""

    left: tuple[tuple[Found, Found], ...]

    def to_dict(self) -> dict[str, Any]:
        left = [{"withdrawal": gone.to_dict(), "release": release.to_dict()} for gone, release in self.left]
        return {"holds": not left, "left": left}


class AfterWithdrawal(Question[Late], named="after-withdrawal"):
    """What left after a withdrawal although it needed the consent, of one person or of everybody: must be nothing."""

    person: Person | None = None
    start: Zoned | None = Field(None, alias="from")

    def read(self, reading: Reading) -> Answered[Late]:
        someone = reading.someone(self.person)
        pairs = withdrawals.left_after_withdrawal(
            reading.connection,
            someone.pseudonyms,
            start=self.start,
            find=reading.shelves.find,
            at=reading.shelves.at,
        )
        told = Late(tuple(pair for pair in pairs if reading.sees(pair[1].entry)))
        return Answered(told, Note(bool(told.left), someone.mark))
