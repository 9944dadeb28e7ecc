"""Find a person, and see what happened to their data.

A person is looked for by an identifier that is posted and never kept. Whether anybody has it makes no difference to
what the console does: the same look-ups run, the same entry is written, and the answer leads to the same page, which
then says that the log has nothing about this person.
"""

from __future__ import annotations

from typing import Any, Final

from audit.questions.query import Page as Found
from gateway.console.figures import calendar
from gateway.console.office import STYLE, Answer, Ask, Moved, NotHereError, Page, Shown, Visit, asked, inside
from gateway.console.pages.searching import sent
from gateway.console.sessions import SessionError
from gateway.desk.forms import Format, Handle
from gateway.desk.questions.persons import MOST, Consents, ConsentsOf, Disclosures, DisclosuresOf, ExtractOf, FindPerson
from gateway.desk.questions.searching import Download, Find, Named
from gateway.desk.roles import OFFICER
from gateway.wire.problems import ProblemError
from texts import LANGUAGES

LIMIT: Final = 50


def find(visit: Visit) -> Answer:
    """The form, and the look-up that it asks for."""
    kinds = visit.office.identifiers
    if visit.method == "GET":
        return Shown("people.html", {"kinds": kinds, "wrong": None, "chosen": kinds[0].code})
    kind = next((kind for kind in kinds if kind.code == visit.form.get("kind")), kinds[0])
    typed = visit.form.get("value", "").strip()[:200]
    try:
        person = kind.read(kind.system, typed)
    except ProblemError:
        wrong = "people.malformed" if typed else "people.empty"
        return Shown("people.html", {"kinds": kinds, "wrong": wrong, "chosen": kind.code}, status=400)
    return Ask(FindPerson.of(person=person), lambda found: Moved(f"/people/{visit.session.handle(found.subject)}"))


def person_of(visit: Visit) -> Handle:
    """The person of this page. Raises NotHereError."""
    try:
        return Handle(visit.session.subject(visit.path["handle"]))
    except SessionError:
        raise NotHereError from None


def _shown(visit: Visit, template: str, tab: str, **values: Any) -> Shown:
    return Shown(template, {"handle": visit.path["handle"], "tab": tab, **values})


def overview(visit: Visit) -> Answer:
    """Who received the person's data, what was stopped or withheld, and who asked and got nothing."""

    def shown(told: Disclosures) -> Answer:
        years = sorted({day.year for day in told.days}, reverse=True)
        return _shown(
            visit,
            "person.html",
            "overview",
            told=told,
            given=told.given[:LIMIT],
            is_whole=len(told.given) < MOST,
            calendars=[calendar(year, told.days) for year in years],
            days=sorted(told.days.items(), reverse=True),
            formats=tuple(Format),
        )

    return Ask(DisclosuresOf.of(person=person_of(visit)), shown)


def events(visit: Visit) -> Answer:
    """Everything about the person, page by page."""

    def shown(page: Found) -> Answer:
        return _shown(visit, "person-events.html", "events", found=page.found, next=page.next)

    after = visit.query.get("after") or None
    return asked(lambda: Find.of(question=Named.PERSON, person=person_of(visit), after=after, limit=LIMIT), shown)


def consents(visit: Visit) -> Answer:
    """A person's words, what was disclosed under each, and whether anything left after one was taken back."""

    def shown(told: Consents) -> Answer:
        return _shown(visit, "person-consents.html", "consents", stories=told.stories, late=told.late)

    return Ask(ConsentsOf.of(person=person_of(visit)), shown)


def extract_form(visit: Visit) -> Answer:
    """Choose the language of the extract, and whose version it is."""
    person_of(visit)
    return _shown(visit, "person-extract.html", "extract", extract_languages=LANGUAGES)


def extract_sheet(visit: Visit) -> Answer:
    """The person's own extract (GDPR art. 15), a page to print."""
    language = visit.path["of"]
    for_officer = visit.query.get("for") == "officer"
    return asked(
        lambda: ExtractOf.of(person=person_of(visit), language=language, for_officer=for_officer),
        lambda made: Shown("sheet.html", {"sheet": inside(made.page(STYLE)), "of": language}),
    )


def export(visit: Visit) -> Answer:
    """Everything about the person as a file."""
    form = visit.path["form"]
    return asked(
        lambda: Download.of(question=Named.PERSON, person=person_of(visit), form=form),
        lambda made: sent(visit, made, "person"),
    )


PAGES = (
    Page("/people", "people", find, OFFICER, ("GET", "POST"), "people", 10),
    Page("/people/{handle}", "person", overview, OFFICER),
    Page("/people/{handle}/events", "person-events", events, OFFICER),
    Page("/people/{handle}/consents", "person-consents", consents, OFFICER),
    Page("/people/{handle}/extract", "person-extract", extract_form, OFFICER),
    Page("/people/{handle}/extract/{of}", "person-extract-sheet", extract_sheet, OFFICER),
    Page("/people/{handle}/export/{form}", "person-export", export, OFFICER),
)
