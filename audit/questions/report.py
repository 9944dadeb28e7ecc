"""Two reports: the person's own extract (GDPR art. 15) and the record of processing activities (art. 30).

Both are plain values first, so that they can be shown anywhere, and printable pages second. The extract holds the
person's entries only, names organisations and no employees, and leaves out what the law forbids telling; how many lines
that were, only the officer's version says.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection

from audit.log.entries import ZONE, Entry, EntryType
from audit.questions import said
from audit.questions.query import Filters, Found, Search, disclosures, fruitless_lookups, search, walk
from audit.questions.said import FORBIDDING, Aim, Saying, Speaker, Step, Terms, TermsOf, step, terms_in, word_of
from audit.questions.tallies import of_year
from audit.questions.words import has_come
from texts import Catalogue

if TYPE_CHECKING:
    from jinja2 import Environment

Names = Callable[[str, str, str], str | None]
"""What something is called: kind (`subsystem`, `purpose`, `basis`, `category`), code, language → name, None without."""

MAX_LINES: Final = 10_000
text: Final = Catalogue("audit", "words")


@dataclass(frozen=True, slots=True)
class Disclosure:
    """One line of the extract, in the language it was made in; `arrived`: the data reached this node, and did not leave
    it; `emergency`: it went because it could not wait.
    """

    at: datetime
    recipient: str
    source: str
    purpose: str
    categories: tuple[str, ...]
    bases: tuple[str, ...]
    result: str
    arrived: bool = False
    emergency: bool = False


@dataclass(frozen=True, slots=True)
class ConsentLine:
    """A word of the person as it was recorded or ended, in the language it was told in.

    `state` is how it stands, told with its newest version, and `ended_by` who ended it; where nothing more than the
    entry is kept, the members after `categories` say nothing.
    """

    at: datetime
    kind: str
    step: str
    withdrawn: bool
    categories: tuple[str, ...]
    given_by: str = ""
    ended_by: str = ""
    state: str = ""
    purposes: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    starts: date | None = None
    ends: date | None = None
    target: str = ""


@dataclass(frozen=True, slots=True)
class Extract:
    """What the log says about one person. `hidden` is 0 in the person's own version, whatever was left out.

    `identifiers` are the kinds of identifiers that it was made for. In the officer's version alone, `others` are those
    under which there may be more of the same person, and of which nobody has said so, and `unheard` who may not hear of
    the person: the sheet is not for them.
    """

    language: str
    controller: str
    start: datetime | None
    end: datetime
    made: datetime
    disclosures: tuple[Disclosure, ...]
    fruitless: tuple[Disclosure, ...]
    consents: tuple[ConsentLine, ...]
    for_officer: bool
    hidden: int
    identifiers: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    unheard: tuple[str, ...] = ()

    @property
    def given(self) -> tuple[Disclosure, ...]:
        """To whom data was given."""
        return tuple(line for line in self.disclosures if not line.arrived)

    @property
    def received(self) -> tuple[Disclosure, ...]:
        """From whom data came."""
        return tuple(line for line in self.disclosures if line.arrived)

    @property
    def is_empty(self) -> bool:
        """Whether the log has nothing to tell."""
        return not (self.disclosures or self.fruitless or self.consents)

    def page(self, stylesheet: str | None = None) -> str:
        """The extract as a printable page; its style is inside unless a stylesheet's address is given."""
        return _render("extract.html", self.language, stylesheet, extract=self)

    def to_dict(self) -> dict[str, Any]:
        """The extract as JSON tells it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Controller:
    """Who answers for the processing: name, how to reach them and their officer, and the security measures in force."""

    name: str
    contact: str = ""
    officer: str = ""
    measures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Telling:
    """How a report is told: in which language and by which names, of which controller, when, and what it keeps silent.

    `hidden_bases` are the bases under which the person must not be told; only the officer's version counts those lines.
    `find` knows what was moved out of the database, `terms` what a word says beyond its entry.
    """

    language: str
    names: Names
    now: datetime
    controller: Controller = Controller("")
    hidden_bases: Collection[str] = ()
    for_officer: bool = False
    find: Search = search
    terms: TermsOf = said.no_terms

    def hides(self, entry: Entry) -> bool:
        """Whether the law forbids telling the person of this entry."""
        return any(basis in self.hidden_bases for basis in entry.bases)


def extract(
    connection: Connection,
    pseudonyms: Sequence[str],
    telling: Telling,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Extract:
    """The extract for the person whose pseudonyms these are, newest first."""
    hidden, language = 0, telling.language

    def lines(filters: Filters) -> tuple[Disclosure, ...]:
        nonlocal hidden
        shown = []
        for found in walk(connection, filters, order="newest", limit=MAX_LINES, find=telling.find):
            if telling.hides(found.entry):
                hidden += 1
            else:
                shown.append(disclosure_line(found.entry, language, telling.names))
        return tuple(shown)

    until = end or telling.now
    given = lines(disclosures(pseudonyms, start=start, end=until))
    looked = replace(fruitless_lookups(pseudonyms), start=start, end=until)
    fruitless = lines(looked)
    words = Filters(start, until, subjects=looked.subjects, types=(EntryType.CONSENT, EntryType.REFUSAL))
    told = walk(connection, words, order="newest", limit=MAX_LINES, find=telling.find)
    consents = tuple(line for item in told if (line := _word_line(connection, item.entry, telling)) is not None)
    unheard = _unheard(connection, replace(words, start=None, end=telling.now), telling) if telling.for_officer else ()
    return Extract(
        language,
        telling.controller.name,
        start,
        until,
        telling.now,
        given,
        fruitless,
        consents,
        telling.for_officer,
        hidden if telling.for_officer else 0,
        unheard=unheard,
    )


def _unheard(connection: Connection, words: Filters, telling: Telling) -> tuple[str, ...]:
    """Who may not hear of the person by what is forbidden now, whenever it was said, and by whomever."""
    told = walk(connection, words, order="newest", limit=MAX_LINES, find=telling.find)
    forbidden = (item.entry for item in told if word_of(item.entry) in FORBIDDING)
    terms = (terms_in(connection, entry, telling.terms) for entry in forbidden)
    aims = (found.aim for found in terms if found is not None and found.stands)
    unheard = {aim.kind for aim in aims if aim is not None and aim.is_of_hearing}
    return tuple(text(f"speaker.{kind}", telling.language) for kind in sorted(unheard))


def _aimed_at(aim: Aim | None, telling: Telling) -> str:
    """What a word is aimed at: without it a prohibition of one document would read as one of all data."""
    if aim is None:
        return ""
    key = f"word-aim.your-{aim.kind}" if aim.is_of_hearing else f"word-aim.{aim.kind}"
    whose = telling.names("member", aim.organisation, telling.language) or aim.organisation
    parts = (text(key, telling.language), whose, aim.called)
    return ", ".join(part for part in parts if part)


def _word_line(connection: Connection, entry: Entry, telling: Telling) -> ConsentLine | None:
    """A word of the person's; None for what is none of theirs: a report, a reading, a notice of another's."""
    kind, language = word_of(entry), telling.language
    if kind is None:
        return None
    terms = terms_in(connection, entry, telling.terms)
    is_own = terms is not None and terms.speaker is Speaker.SELF
    if (kind is Saying.REPORT and not is_own) or (terms is not None and terms.speaker is Speaker.OTHER):
        # What somebody else said tells of that somebody too, and is not the person's refusal (GDPR art. 15(4)).
        # Former versions recorded it as a prohibition.
        return None
    codes = said.about(entry) if terms is None else terms.categories

    def named(of: str, codes: Sequence[str]) -> tuple[str, ...]:
        return tuple(_named(telling.names, of, code, language) for code in codes)

    line = ConsentLine(
        entry.recorded,
        text(f"word.{kind}", language),
        text(f"word-step.{step(entry)}", language),
        step(entry) is Step.WITHDRAWN,
        named("category", codes) or (text("word-says.all", language),),
        target=_aimed_at(said.aim_of(entry) if terms is None else terms.aim, telling),
    )
    if terms is None:
        return line
    return replace(
        line,
        given_by=text(f"speaker.your-{terms.speaker}", language),
        ended_by=_ender(terms, step(entry), language),
        state="" if terms.state is None else text(f"word-state.{terms.state}", language),
        purposes=named("purpose", terms.purposes),
        recipients=named("recipient", terms.recipients),
        starts=terms.starts,
        ends=terms.ends,
    )


def _ender(terms: Terms, done: Step, language: str) -> str:
    """Who ended a word: without it, the person would read that it was whoever said it."""
    if done not in (Step.WITHDRAWN, Step.IN_ERROR):
        return ""
    return text("speaker.unsaid" if terms.ended_by is None else f"speaker.your-{terms.ended_by}", language)


def _named(names: Names, kind: str, code: str | None, language: str) -> str:
    """A name, or that there is none: a sheet shows no code but an organisation's own identifier."""
    if code is None:
        return ""
    return names(kind, code, language) or (
        code if kind in {"subsystem", "recipient"} else text(f"unnamed.{kind}", language)
    )


def disclosure_line(entry: Entry, language: str, names: Names) -> Disclosure:
    """An entry in words for the person it is about."""
    unknown = text("extract.unknown", language)
    return Disclosure(
        entry.recorded,
        _named(names, "subsystem", entry.taker, language) or unknown,
        _named(names, "subsystem", entry.giver, language) or unknown,
        _named(names, "purpose", entry.purpose, language) or unknown,
        tuple(_named(names, "category", code, language) for code in entry.categories.permitted),
        tuple(_named(names, "basis", code, language) for code in entry.bases),
        text(f"outcome.{entry.outcome}", language),
        has_come(entry),
        entry.type is EntryType.BREAK_GLASS,
    )


# -- the record of processing ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Activity:
    """One purpose of processing, as the rulebook and the registry describe it, in the report's language."""

    purpose: str
    title: str
    bases: tuple[str, ...]
    categories: tuple[str, ...]
    subjects: str
    retention: str = ""
    transfers: str = ""


@dataclass(frozen=True, slots=True)
class RecipientCount:
    """How often a recipient received data for a purpose within the year, was refused it, or asked in vain."""

    name: str
    released: int
    refused: int
    fruitless: int


@dataclass(frozen=True, slots=True)
class ProcessingLine:
    """One activity with the year's counts."""

    activity: Activity
    categories: tuple[str, ...]
    recipients: tuple[RecipientCount, ...]

    @property
    def released(self) -> int:
        """Disclosures in all."""
        return sum(item.released for item in self.recipients)

    @property
    def refused(self) -> int:
        """Refusals in all."""
        return sum(item.refused for item in self.recipients)

    @property
    def fruitless(self) -> int:
        """How often nothing was found, it failed or it was stopped, in all."""
        return sum(item.fruitless for item in self.recipients)


@dataclass(frozen=True, slots=True)
class RecordOfProcessing:
    """The record for one year (of Finnish time). Purposes that occurred but are not described come last, by code."""

    language: str
    year: int
    made: datetime
    controller: Controller
    lines: tuple[ProcessingLine, ...]

    def page(self, stylesheet: str | None = None) -> str:
        """The record as a printable page."""
        return _render("processing.html", self.language, stylesheet, record=self)

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON tells it."""
        return asdict(self)


def record_of_processing(
    connection: Connection, year: int, activities: Sequence[Activity], telling: Telling, *, member: str | None = None
) -> RecordOfProcessing:
    """The record of processing of one year: what is described, with what was counted (of `member`, if given)."""
    language, names = telling.language, telling.names
    numbers: dict[str, dict[str, list[int]]] = {}
    for count in of_year(connection, year):
        if count.purpose is None or not count.concerns(member):
            continue
        cell = numbers.setdefault(count.purpose, {}).setdefault(count.recipient or "", [0, 0, 0])
        for place, number in enumerate((count.released, count.refused, count.fruitless)):
            cell[place] += number
    described = {activity.purpose for activity in activities}
    rest = [Activity(code, _named(names, "purpose", code, language), (), (), "") for code in sorted(numbers)]
    lines = []
    for activity in (*activities, *(item for item in rest if item.purpose not in described)):
        recipients = tuple(
            RecipientCount(_named(names, "subsystem", code, language) or text("extract.unknown", language), *cell)
            for code, cell in sorted(
                numbers.get(activity.purpose, {}).items(), key=lambda item: (-sum(item[1]), item[0])
            )
        )
        categories = tuple(_named(names, "category", code, language) for code in activity.categories)
        lines.append(ProcessingLine(activity, categories, recipients))
    return RecordOfProcessing(language, year, telling.now, telling.controller, tuple(lines))


# -- pages -------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _pages() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("audit.questions", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )


def _render(template: str, language: str, stylesheet: str | None, **values: Any) -> str:
    def t(key: str, **values: object) -> str:
        return text(key, language, **values)

    def when(at: datetime) -> str:
        return _date(at, language, "%H.%M" if language == "fi" else "%H:%M")

    def day(at: datetime) -> str:
        return _date(at, language, "")

    def date_of(on: date) -> str:
        return _day(on, language)

    return (
        _pages()
        .get_template(template)
        .render(language=language, stylesheet=stylesheet, t=t, when=when, day=day, date=date_of, **values)
    )


def _date(at: datetime, language: str, clock: str) -> str:
    local = at.astimezone(ZONE)
    on = _day(local.date(), language)
    return f"{on} {local.strftime(clock)}" if clock else on


def _day(on: date, language: str) -> str:
    return on.isoformat() if language == "en" else f"{on.day}.{on.month}.{on.year}"


def usage_sentence(found: Found, language: str, names: Names) -> str:
    """One disclosure as a sentence that a person understands."""
    line = disclosure_line(found.entry, language, names)
    categories = ", ".join(line.categories) or text("usage.none", language)
    purpose = f"{line.purpose} ({text('type.break-glass', language)})" if line.emergency else line.purpose
    return text("usage.sentence", language, who=line.recipient, categories=categories, purpose=purpose)
