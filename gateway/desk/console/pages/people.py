"""Find a person, and see what happened to their data.

A person is looked for by an identifier that is posted and never kept. Whether anybody has it makes no difference to
what the console does: the same look-ups run, the same entry is written, and the answer leads to the same page, which
then says that the log has nothing about this person.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final

from audit.log.entries import ZONE
from audit.questions.query import (
    ConsentStory,
    Found,
    consents_of,
    disclosures,
    fruitless_lookups,
    person,
)
from audit.questions.report import extract, extract_page
from audit.questions.texts import LANGUAGES
from gateway.desk.console.figures import calendar
from gateway.desk.console.office import ABSENT, OFFICER, Answer, Moved, NotHereError, Page, Shown, Visit
from gateway.desk.console.pages.searching import FORMATS, file_of
from gateway.desk.console.sessions import SessionError

LIMIT: Final = 50
MOST: Final = 5_000


def find(visit: Visit) -> Answer:
    """The form, and the look-up that it asks for."""
    kinds = visit.office.identifiers
    if visit.method == "GET":
        return Shown("people.html", {"kinds": kinds, "wrong": None, "chosen": kinds[0].code})
    kind = next((one for one in kinds if one.code == visit.form.get("kind")), kinds[0])
    typed = visit.form.get("value", "").strip()[:200]
    value = kind.written(typed) if typed else None
    if value is None:
        wrong = "people.malformed" if typed else "people.empty"
        return Shown("people.html", {"kinds": kinds, "wrong": wrong, "chosen": kind.code}, status=400)
    found = visit.office.subjects.find(visit.connection, kind.system, value)
    subject = ABSENT if found is None else found.id
    pseudonym = None if found is None else found.pseudonym
    return Moved(f"/people/{visit.session.handle(subject)}", {"identifier": kind.code}, pseudonym)


def subject_of(visit: Visit) -> tuple[str, tuple[str, ...], str | None]:
    """The person of this page: opaque id, pseudonyms, and the pseudonym for the entry about the visit."""
    try:
        subject = visit.session.subject(visit.path["handle"])
    except SessionError:
        raise NotHereError from None
    pseudonyms = visit.pseudonyms(subject)
    return subject, pseudonyms, None if pseudonyms == (ABSENT,) else pseudonyms[0]


def overview(visit: Visit) -> Answer:
    """Who received the person's data, and who asked and got nothing."""
    _, pseudonyms, mark = subject_of(visit)
    given = visit.walk(disclosures(pseudonyms), order="newest", limit=MOST)
    fruitless = visit.walk(fruitless_lookups(pseudonyms), order="newest", limit=LIMIT)
    everything = visit.search(person(pseudonyms), limit=1)
    days: dict[date, int] = {}
    for item in given:
        day = item.entry.recorded.astimezone(ZONE).date()
        days[day] = days.get(day, 0) + 1
    years = sorted({day.year for day in days}, reverse=True)
    recipients: dict[str, list[Found]] = {}
    for item in given:
        recipients.setdefault(item.entry.agents.recipient or "", []).append(item)
    values = {
        "handle": visit.path["handle"],
        "tab": "overview",
        "given": given[:LIMIT],
        "given_total": len(given),
        "given_all": len(given) < MOST,
        "fruitless": fruitless,
        "known": bool(everything.found),
        "calendars": [calendar(year, days) for year in years],
        "days": sorted(days.items(), reverse=True),
        "recipients": sorted(recipients.items(), key=lambda pair: -len(pair[1])),
        "formats": FORMATS,
    }
    return Shown("person.html", values, subject=mark)


def events(visit: Visit) -> Answer:
    """Everything about the person, page by page."""
    _, pseudonyms, mark = subject_of(visit)
    page = visit.search(person(pseudonyms), after=visit.query.get("after") or None, limit=LIMIT)
    values = {"handle": visit.path["handle"], "tab": "events", "found": page.found, "next": page.next}
    return Shown("person-events.html", values, subject=mark)


def consents(visit: Visit) -> Answer:
    """Consents and refusals, what was disclosed under each, and whether anything left after a withdrawal."""
    _, pseudonyms, mark = subject_of(visit)
    stories = consents_of(visit.connection, pseudonyms, find=visit.find)
    values = {
        "handle": visit.path["handle"],
        "tab": "consents",
        "stories": stories,
        "late": [pair for story in stories for pair in late_releases(story)],
    }
    return Shown("person-consents.html", values, subject=mark)


def late_releases(story: ConsentStory) -> list[tuple[Found, Found]]:
    """Releases under a consent that stand in the log after its withdrawal, each with that withdrawal."""
    pairs = []
    for item in story.history:
        if item.entry.withdraws:
            version = max((used for id_, used in item.entry.consents if id_ == story.consent), default=0)
            pairs += [
                (item, release)
                for release in story.disclosed
                if release.index > item.index
                and any(id_ == story.consent and used <= version for id_, used in release.entry.consents)
            ]
    return pairs


def extract_form(visit: Visit) -> Answer:
    """Choose the language of the extract, and whose version it is."""
    _, _, mark = subject_of(visit)
    values = {"handle": visit.path["handle"], "tab": "extract", "extract_languages": LANGUAGES}
    return Shown("person-extract.html", values, subject=mark)


def extract_sheet(visit: Visit) -> Answer:
    """The person's own extract (GDPR art. 15), a page to print."""
    _, pseudonyms, mark = subject_of(visit)
    language = visit.path["of"]
    if language not in LANGUAGES:
        raise NotHereError
    office, for_officer = visit.office, visit.query.get("for") == "officer"
    report = extract(
        visit.connection,
        pseudonyms,
        controller=office.controller(language).name,
        language=language,
        now=visit.now,
        names=office.names,
        hidden_bases=office.hidden_bases(),
        for_officer=for_officer,
        find=visit.find,
    )
    html = extract_page(report, stylesheet="/static/console.css")
    return Shown("sheet.html", {"sheet": _body(html), "of": language}, _detail(language, for_officer), mark)


def _detail(language: str, for_officer: bool) -> Mapping[str, str | int | bool]:
    return {"report": "extract", "language": language, "hidden_counted": for_officer}


def _body(html: str) -> str:
    """The inside of a report's page, which stands on a sheet of the console."""
    return html.split("<main>", 1)[1].rsplit("</main>", 1)[0]


def export(visit: Visit) -> Answer:
    """Everything about the person as a file."""
    _, pseudonyms, mark = subject_of(visit)
    return file_of(visit, person(pseudonyms), visit.path["form"], "person", mark)


PAGES = (
    Page("/people", "people", find, OFFICER, ("GET", "POST"), "people", 10),
    Page("/people/{handle}", "person", overview, OFFICER),
    Page("/people/{handle}/events", "person-events", events, OFFICER),
    Page("/people/{handle}/consents", "person-consents", consents, OFFICER),
    Page("/people/{handle}/extract", "person-extract", extract_form, OFFICER),
    Page("/people/{handle}/extract/{of}", "person-extract-sheet", extract_sheet, OFFICER),
    Page("/people/{handle}/export/{form}", "person-export", export, OFFICER),
)
