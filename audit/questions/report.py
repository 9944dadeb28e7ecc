"""Two reports: the person's own extract (GDPR art. 15) and the record of processing activities (art. 30).

Both are plain values first, so that they can be shown anywhere, and printable pages second. The extract holds the
person's entries only, names organisations and no employees, and leaves out what the law forbids telling; how many lines
that were, only the officer's version says.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection

from audit.log.entries import ZONE, Entry
from audit.log.rows import member_of
from audit.questions.query import Filters, Found, Search, disclosures, fruitless_lookups, search, walk
from audit.questions.tallies import of_year
from audit.questions.texts import text

if TYPE_CHECKING:
    from jinja2 import Environment

Names = Callable[[str, str, str], str | None]
"""What something is called: kind (`subsystem`, `purpose`, `basis`, `category`), code, language → name, None without."""

MAX_LINES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Disclosure:
    """One line of the extract, in the language it was made in."""

    at: datetime
    recipient: str
    source: str
    purpose: str
    categories: tuple[str, ...]
    bases: tuple[str, ...]
    result: str


@dataclass(frozen=True, slots=True)
class ConsentLine:
    """A consent or refusal as it was recorded or withdrawn."""

    at: datetime
    kind: str
    purpose: str
    withdrawn: bool


@dataclass(frozen=True, slots=True)
class Extract:
    """What the log says about one person. `hidden` is 0 in the person's own version, whatever was left out."""

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


def extract(
    connection: Connection,
    pseudonyms: Sequence[str],
    *,
    controller: str,
    language: str,
    now: datetime,
    start: datetime | None = None,
    end: datetime | None = None,
    names: Names,
    hidden_bases: Collection[str] = (),
    for_officer: bool = False,
    find: Search = search,
) -> Extract:
    """The extract for the person whose pseudonyms these are, newest first.

    `hidden_bases` are the bases under which the person must not be told.
    """
    hidden = 0

    def lines(filters: Filters) -> tuple[Disclosure, ...]:
        nonlocal hidden
        shown = []
        for found in walk(connection, filters, order="newest", limit=MAX_LINES, find=find):
            if any(basis in hidden_bases for basis in found.entry.bases):
                hidden += 1
            else:
                shown.append(disclosure_line(found.entry, language, names))
        return tuple(shown)

    until = end or now
    given = lines(disclosures(pseudonyms, start=start, end=until))
    looked = fruitless_lookups(pseudonyms)
    fruitless = lines(Filters(start, until, subjects=looked.subjects, types=looked.types, outcomes=looked.outcomes))
    about = Filters(start, until, subjects=looked.subjects, types=("consent", "refusal"))
    consents = tuple(
        ConsentLine(
            item.entry.recorded,
            text(f"type.{item.entry.type}", language),
            _named(names, "purpose", item.entry.purpose, language),
            item.entry.withdraws,
        )
        for item in walk(connection, about, order="newest", limit=MAX_LINES, find=find)
    )
    return Extract(
        language, controller, start, until, now, given, fruitless, consents, for_officer, hidden if for_officer else 0
    )


def _named(names: Names, kind: str, code: str | None, language: str) -> str:
    """A name, or that there is none: a sheet shows no code but an organisation's own identifier."""
    if code is None:
        return ""
    return names(kind, code, language) or (code if kind == "subsystem" else text(f"unnamed.{kind}", language))


def disclosure_line(entry: Entry, language: str, names: Names) -> Disclosure:
    """An entry in words for the person it is about."""
    unknown = text("extract.unknown", language)
    return Disclosure(
        entry.recorded,
        _named(names, "subsystem", entry.agents.recipient, language) or unknown,
        _named(names, "subsystem", entry.source, language) or unknown,
        _named(names, "purpose", entry.purpose, language) or unknown,
        tuple(_named(names, "category", code, language) for code in entry.categories.permitted),
        tuple(_named(names, "basis", code, language) for code in entry.bases),
        text(f"outcome.{entry.outcome}", language),
    )


# -- the record of processing ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Controller:
    """Who answers for the processing: name, how to reach them and their officer, and the security measures in force."""

    name: str
    contact: str = ""
    officer: str = ""
    measures: tuple[str, ...] = ()


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
    """How often a recipient received data for a purpose within the year, and how often it was refused."""

    name: str
    released: int
    refused: int


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


@dataclass(frozen=True, slots=True)
class RecordOfProcessing:
    """The record for one year (of Finnish time). Purposes that occurred but are not described come last, by code."""

    language: str
    year: int
    made: datetime
    controller: Controller
    lines: tuple[ProcessingLine, ...]


def record_of_processing(
    connection: Connection,
    year: int,
    activities: Sequence[Activity],
    *,
    controller: Controller,
    language: str,
    now: datetime,
    names: Names,
    member: str | None = None,
) -> RecordOfProcessing:
    """The record of processing of one year: what is described, with what was counted (of `member`, if given)."""
    numbers: dict[str, dict[str, list[int]]] = {}
    for count in of_year(connection, year):
        if count.purpose is None:
            continue
        if member is not None and member not in (member_of(count.source), member_of(count.recipient)):
            continue
        cell = numbers.setdefault(count.purpose, {}).setdefault(count.recipient or "", [0, 0])
        cell[0] += count.released
        cell[1] += count.refused + count.fruitless
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
    return RecordOfProcessing(language, year, now, controller, tuple(lines))


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

    return (
        _pages()
        .get_template(template)
        .render(language=language, stylesheet=stylesheet, t=t, when=when, day=day, **values)
    )


def _date(at: datetime, language: str, clock: str) -> str:
    local = at.astimezone(ZONE)
    date = local.strftime("%Y-%m-%d") if language == "en" else f"{local.day}.{local.month}.{local.year}"
    return f"{date} {local.strftime(clock)}" if clock else date


def extract_page(report: Extract, *, stylesheet: str | None = None) -> str:
    """The extract as a printable HTML page; its style is inside unless a stylesheet's address is given."""
    return _render("extract.html", report.language, stylesheet, extract=report)


def processing_page(record: RecordOfProcessing, *, stylesheet: str | None = None) -> str:
    """The record of processing as a printable HTML page."""
    return _render("processing.html", record.language, stylesheet, record=record)


def usage_sentence(found: Found, language: str, names: Names) -> str:
    """One disclosure as a sentence that a person understands."""
    line = disclosure_line(found.entry, language, names)
    categories = ", ".join(line.categories) or text("usage.none", language)
    return text("usage.sentence", language, who=line.recipient, categories=categories, purpose=line.purpose)
