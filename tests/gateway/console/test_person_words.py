"""What pages, files and the extract tell of words: four kinds by four names, and to a person nothing of others."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from html import unescape
from typing import Any

import pytest

from audit.log.entries import ZONE
from audit.questions.export import audit_event, to_csv
from audit.questions.said import Saying, State, saying, word_of
from consent.rulebook import load, reference_rulebook
from consent.words.consents import Ending, ErrorReason, WordStatus
from consent.words.givers import Giver, GiverKind
from gateway.consents.endings import UNSAID, TakenBack
from gateway.consents.record import Recorder
from gateway.consents.reports import Answer as Confirmed
from gateway.consents.reports import Reports
from gateway.console.pages import PAGES
from gateway.desk.cli.disclosures import terms_line
from gateway.desk.desk import Desk
from gateway.desk.questions.persons import ConsentsOf, ExtractOf
from gateway.desk.questions.searching import Find
from gateway.desk.roles import Asker, Role
from gateway.sources.backends import Locator
from gateway.wire.identifiers import SubsystemId
from schemas.identifiers import MIGRI_CUSTOMER
from tests.gateway.console.test_fuzzing_console import Browser, Forms, signed_in
from tests.gateway.exchange.inprocess import InProcess, Place, node
from tests.gateway.web.faces import desk_of

PERSON = "7000001"
RULEBOOK = load(reference_rulebook())
SUBJECT = {"system": MIGRI_CUSTOMER, "value": PERSON}
NAMES = {
    "fi": ("Luovutuslupa", "Suostumus", "Kielto", "Ilmoitettu kielto"),
    "sv": ("Tillstånd för utlämnande", "Samtycke", "Förbud", "Anmält förbud"),
    "en": ("Permission", "Consent", "Prohibition", "Reported prohibition"),
}
#: What a page calls data that left, or was held back: never said of a word.
MOVED = {"fi": ("Luovutettu<", "Jätetty pois<"), "sv": ("Utlämnat<", "Utelämnat<"), "en": ("Disclosed<", "Withheld<")}


@dataclass
class Clock:
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Scene:
    """A person who permitted and took it back, forbade, consented, and of whom somebody else reported something."""

    here: InProcess
    clock: Clock
    desk: Desk
    officer: Browser
    page: str = ""
    permission: str = ""
    consent: str = ""
    prohibition: str = ""
    report: str = ""
    later: str = ""

    async def text(self, path: str, language: str) -> str:
        answer = await self.officer.ask("GET", f"{path}?language={language}")
        answer = await self.officer.ask("GET", path) if answer.is_redirect else answer
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
        return unescape(answer.text)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place.build(tmp_path_factory.mktemp("words"), rulebook=reference_rulebook())


@pytest.fixture
async def scene(place: Place, database_url: str) -> AsyncIterator[Scene]:
    clock = Clock()
    async with node(place, database_url, clock=clock) as here:
        today = clock().astimezone(ZONE).date()
        found = Scene(here, clock, desk_of(here.exchange), await signed_in(here, "officer"))
        anything = {"purposes": [], "recipients": []}
        found.permission = await here.consent(PERSON, kind="permission", **anything)
        found.consent = await here.consent(PERSON, categories=["social-needs"], ends=today.isoformat())
        found.later = await here.consent(
            PERSON, categories=["education"], starts=(today + timedelta(days=40)).isoformat()
        )
        found.prohibition = await here.consent(PERSON, kind="prohibition", categories=["family"], **anything)
        found.report = await here.consent(
            PERSON, kind="prohibition", categories=["housing"], given_by={"kind": "other"}, **anything
        )
        await here.withdraw(found.permission)
        clock.now += timedelta(days=1)
        found.officer = await signed_in(here, "officer")
        sheets = Forms()
        sheets.feed((await found.officer.ask("GET", "/people")).text)
        csrf = next(sheet.fields["csrf"][0] for sheet in sheets.forms if sheet.action == "/people")
        form = {"csrf": csrf, "kind": "customer-number", "value": PERSON}
        found.page = (await found.officer.ask("POST", "/people", form)).headers["location"]
        yield found


def sections(page: str) -> dict[str, str]:
    """The sections of the page of words, by their headings without the day."""
    parts = re.split(r'<h2 id="consent-\d+">', page)[1:]
    return {part.split("</h2>")[0].rsplit(",", 1)[0] + f" {place}": part for place, part in enumerate(parts)}


async def test_page_of_words_names_each_kind_who_said_it_of_what_and_how_it_stands(scene: Scene) -> None:
    for language in NAMES:
        await page_of_words(scene, language)


async def page_of_words(scene: Scene, language: str) -> None:
    permission, consent, prohibition, report = NAMES[language]

    told = sections(await scene.text(f"{scene.page}/consents", language))

    assert [name.rsplit(" ", 1)[0] for name in told] == [permission, consent, consent, prohibition, report]
    taken_back, ended, later, forbidden, reported = told.values()
    says = {
        "fi": ("peruutettu", "päättynyt", "ei vielä voimassa", "voimassa", "kysytään henkilöltä", "joku muu kuin"),
        "sv": ("återkallat", "upphört", "ännu inte i kraft", "i kraft", "personen tillfrågas", "någon annan än"),
        "en": ("taken back", "ended", "not yet in force", "in force", "the person is being asked", "somebody other"),
    }[language]
    for part, state in zip((taken_back, ended, later, forbidden, reported), says[:5], strict=True):
        assert f"<dd>{state}" in part or state in part.split("</dl>")[0]
    assert says[5] in reported
    assert says[5] not in forbidden
    for part in (taken_back, ended, later, forbidden, reported):
        assert not any(word in part for word in MOVED[language])


async def test_events_search_and_records_call_a_word_by_its_kind_and_disclose_nothing(scene: Scene) -> None:
    for language in NAMES:
        await events_and_records(scene, language)


async def events_and_records(scene: Scene, language: str) -> None:
    permission, _, prohibition, report = NAMES[language]
    for path in (f"{scene.page}/events", "/search"):
        told = await scene.text(path, language)
        assert all(f'<span class="kind">{name}</span>' in told for name in NAMES[language])
    entries = [(index, entry) for index, entry in enumerate(scene.here.entries()) if word_of(entry)]
    seen = []
    for index, entry in entries:
        told = await scene.text(f"/entries/{index}", language)
        assert not any(word in told for word in MOVED[language]), f"record {index + 1} tells of a disclosure"
        seen.append(told.split("<h1>")[1].split(" <span")[0])
        assert entry.detail["given_by"] in {"self", "other"}
    assert {permission, prohibition, report} <= set(seen)


async def test_extract_tells_the_persons_own_words_and_nothing_of_what_others_said(scene: Scene) -> None:
    expected = {
        "fi": ["luovutuslupa", "kielto", "suostumus", "suostumus", "luovutuslupa"],
        "sv": ["tillstånd för utlämnande", "förbud", "samtycke", "samtycke", "tillstånd för utlämnande"],
        "en": ["permission", "prohibition", "consent", "consent", "permission"],
    }
    for language, kinds in expected.items():
        for for_officer in (False, True):
            asked = ExtractOf.of(person=SUBJECT, language=language, for_officer=for_officer)
            made = scene.desk.ask(asked, Asker("test"))
            assert [line.kind for line in made.consents] == kinds
            assert "housing" not in str(made.to_dict())
        page = unescape(made.page())
        title = RULEBOOK.categories["housing"].title.get(language) or "housing"
        assert title not in page
        assert NAMES[language][3].lower() not in page
        own = RULEBOOK.categories["family"].title.get(language) or "family"
        assert own in page
        sheet = await scene.text(f"{scene.page}/extract/{language}", language)
        assert title not in sheet
    (taken_back, *_, given) = made.consents
    assert (taken_back.withdrawn, taken_back.state, given.withdrawn, given.state) == (True, "taken back", False, "")


async def test_report_becomes_the_persons_own_only_when_they_confirm_it(scene: Scene) -> None:
    words = scene.desk.ask(ConsentsOf.of(person=SUBJECT), Asker("test")).to_dict()["consents"]
    told = {word["consent"]: (word["kind"], word["terms"]["given_by"], word["terms"]["state"]) for word in words}

    assert told == {
        scene.permission: ("permission", "self", "withdrawn"),
        scene.consent: ("consent", "self", "ended"),
        scene.later: ("consent", "self", "not-yet"),
        scene.prohibition: ("prohibition", "self", "in-force"),
        scene.report: ("report", "other", "holds"),
    }


async def test_what_somebody_reported_is_on_the_extract_once_the_person_has_confirmed_it(scene: Scene) -> None:
    who = Recorder("test", scene.here.party.subsystem)
    about = RULEBOOK.categories["housing"].title["en"]

    await Reports(scene.here.exchange).answer(
        who, scene.report, Confirmed(True, Giver(GiverKind.SELF), "uk"), Locator(MIGRI_CUSTOMER, PERSON)
    )

    scene.clock.now += timedelta(minutes=1)
    told = [
        line
        for line in scene.desk.ask(ExtractOf.of(person=SUBJECT), Asker("test")).consents
        if about in line.categories
    ]
    assert [(line.kind, line.given_by, line.state) for line in told] == [("prohibition", "you", "in force")]
    (story,) = [
        story
        for story in scene.desk.ask(ConsentsOf.of(person=SUBJECT), Asker("test")).stories
        if story.consent == scene.report
    ]
    assert [word_of(item.entry) for item in story.history] == [Saying.REPORT, Saying.PROHIBITION]


async def test_reading_words_is_no_word(scene: Scene) -> None:
    here = scene.here
    named = next(entry for entry in here.entries() if word_of(entry))
    await here.consents.of("test", SubsystemId.parse(named.source or ""), Locator(MIGRI_CUSTOMER, PERSON))

    assert saying(here.entries()[-1]) is Saying.READING
    scene.clock.now += timedelta(minutes=1)
    stories = scene.desk.ask(ConsentsOf.of(person=SUBJECT), Asker("test")).stories
    assert all(word_of(item.entry) for story in stories for item in story.history)
    assert len(scene.desk.ask(ExtractOf.of(person=SUBJECT), Asker("test")).consents) == 5


async def test_files_say_what_a_word_is_about_and_not_that_it_moved(scene: Scene) -> None:
    found = [item for item in scene.desk.ask(Find.of(), Asker("test")).found if word_of(item.entry)]
    head, *lines = list(to_csv(found))
    columns = head.strip().split(";")
    rows = [dict(zip(columns, line.strip().split(";"), strict=True)) for line in lines]

    assert {(row["word"], row["word_step"], row["about"]) for row in rows} == {
        ("permission", "recorded", "health-needs"),
        ("permission", "withdrawn", "health-needs"),
        ("consent", "recorded", "social-needs"),
        ("consent", "recorded", "education"),
        ("prohibition", "recorded", "family"),
        ("report", "recorded", "housing"),
    }
    assert not any(row["permitted"] or row["withheld"] for row in rows)
    for item in found:
        details = {detail["type"] for detail in audit_event(item, origin="x")["entity"][0]["detail"]}
        assert details >= {"word", "word-step", "about"}
        assert not details & {"permitted", "withheld"}


async def test_every_page_of_the_menu_is_shown_with_the_rulebook_that_is_shipped(scene: Scene) -> None:
    paths = [
        page.path for page in PAGES if "{" not in page.path and "GET" in page.methods and Role.OFFICER in page.roles
    ]
    assert {"/rulebook", "/search", "/people", "/withdrawals", "/processing", "/log"} <= set(paths)

    for language in NAMES:
        for path in paths:
            await scene.text(path, language)


GUARDIAN = Giver(GiverKind.GUARDIAN, date(2099, 1, 1), able_to_decide=False, personal_matters=True)
TAKEN_BACK = {
    "fi": ("Kuka sen peruutti: {}.", "huoltajasi tai edunvalvojasi", "sinä itse", "ei kirjattu"),
    "sv": ("Vem som återkallade det: {}.", "din vårdnadshavare eller intressebevakare", "du själv", "inte antecknat"),
    "en": ("Taken back by: {}.", "your guardian", "you", "not recorded"),
}


async def forbidden_and_taken_back(scene: Scene, category: str, said: TakenBack, **form: Any) -> str:
    """A prohibition that was taken back so."""
    word = await scene.here.consent(
        PERSON, kind="prohibition", categories=[category], purposes=[], recipients=[], **form
    )
    await end(scene, word, WordStatus.WITHDRAWN, said)
    return word


async def end(scene: Scene, word: str, ending: Ending, said: TakenBack = UNSAID) -> None:
    """End it, a minute before what is asked next."""
    await scene.here.consents.withdraw("test", scene.here.party.subsystem, word, ending, said)
    scene.clock.now += timedelta(minutes=1)


async def test_sheet_page_and_command_tell_who_took_a_word_back(scene: Scene) -> None:
    locator = Locator(MIGRI_CUSTOMER, PERSON)
    by_guardian = await forbidden_and_taken_back(scene, "finances", TakenBack(GUARDIAN, locator, 40))
    by_self = await forbidden_and_taken_back(scene, "education", TakenBack(Giver(GiverKind.SELF), locator, 40))

    for language, (sentence, guardian, self, unsaid) in TAKEN_BACK.items():
        made = scene.desk.ask(ExtractOf.of(person=SUBJECT, language=language), Asker("test"))
        lines = [line for line in made.consents if line.withdrawn]
        assert [line.ended_by for line in lines] == [self, guardian, unsaid]
        assert not any(line.ended_by for line in made.consents if not line.withdrawn)
        page = unescape(made.page())
        assert all(sentence.format(who) in page for who in (guardian, self, unsaid))
        shown = await scene.text(f"{scene.page}/consents", language)
        assert f"<dt>{sentence.split(':')[0]}</dt>" in shown
    stories = scene.desk.ask(ConsentsOf.of(person=SUBJECT), Asker("test")).stories
    told = {story.consent: story.terms for story in stories if story.terms is not None}
    assert [
        told[word].to_dict()["ended_by"] for word in (by_guardian, by_self, scene.permission, scene.prohibition)
    ] == [
        "guardian",
        "self",
        None,
        None,
    ]
    assert "taken back by: guardian" in terms_line(told[by_guardian])
    assert "taken back by: not recorded" in terms_line(told[scene.permission])
    assert "taken back" not in terms_line(told[scene.prohibition])


async def test_word_entered_in_error_tells_who_said_so_and_not_that_it_was_taken_back(scene: Scene) -> None:
    word = await scene.here.consent(PERSON, kind="prohibition", categories=["finances"], purposes=[], recipients=[])
    said = TakenBack(GUARDIAN, Locator(MIGRI_CUSTOMER, PERSON), 40, error=ErrorReason.NEVER_SAID)
    await end(scene, word, WordStatus.ENTERED_IN_ERROR, said)

    page = unescape(scene.desk.ask(ExtractOf.of(person=SUBJECT), Asker("test")).page())

    assert "Said to be an error by: your guardian." in page
    assert "Taken back by: your guardian." not in page


async def test_word_that_has_ended_has_no_period_any_more(scene: Scene) -> None:
    """A mandate's or a period's last day is that of a word that stands."""
    until = "2090-01-01"
    given = {**GUARDIAN.to_dict(), "kind": "guardian", "mandate_until": until}
    said = TakenBack(Giver(GiverKind.SELF), Locator(MIGRI_CUSTOMER, PERSON), 40)
    prohibition = await forbidden_and_taken_back(scene, "finances", said, given_by=given, subject_age=40)
    consent = await scene.here.consent(PERSON, categories=["education"], starts="2026-01-01", ends=until)
    await end(scene, consent, WordStatus.WITHDRAWN)

    stories = scene.desk.ask(ConsentsOf.of(person=SUBJECT), Asker("test")).stories
    terms = {story.consent: story.terms for story in stories}
    for word in (prohibition, consent):
        told = terms[word]
        assert told is not None
        assert (told.state, told.starts, told.ends) == (State.WITHDRAWN, None, None)
    assert "until 2090" not in scene.desk.ask(ExtractOf.of(person=SUBJECT), Asker("test")).page().split("taken back")[1]


TARGETS = {
    "document": {"kind": "document", "code": "A-17", "sector": "social"},
    "guardian": {"kind": "guardian"},
}
AIMED = {
    "fi": ("Mihin se on rajattu: {}", "asiakirja", "se, mitä huoltaja tai edunvalvoja saa tietää"),
    "sv": ("Vad det är begränsat till: {}", "handling", "vad vårdnadshavaren eller intressebevakaren får veta"),
    "en": ("Aimed at: {}", "document", "what the guardian may hear"),
}
YOURS = {
    "fi": "se, mitä huoltajasi tai edunvalvojasi saa tietää sinusta",
    "sv": "vad din vårdnadshavare eller intressebevakare får veta om dig",
    "en": "what your guardian may hear about you",
}


async def aimed(scene: Scene, kind: str, **form: Any) -> str:
    """A prohibition of everything that is aimed at this, a minute before what is asked next."""
    whole: dict[str, Any] = {"purposes": [], "recipients": [], "categories": [], "subject_age": 16}
    able = {"kind": "self", "able_to_decide": True, "weighty_reason": True}
    given = {**whole, "given_by": able, "target": TARGETS[kind]}
    word = await scene.here.consent(PERSON, kind="prohibition", **(given | form))
    scene.clock.now += timedelta(minutes=1)
    return word


async def test_pages_lists_and_sheets_tell_what_a_word_is_aimed_at(scene: Scene) -> None:
    words = {kind: await aimed(scene, kind) for kind in TARGETS}
    recorded = {
        entry.detail["target"]: index for index, entry in enumerate(scene.here.entries()) if "target" in entry.detail
    }
    assert recorded.keys() == TARGETS.keys()

    for language, (label, document, guardian) in AIMED.items():
        said = {"document": label.format(f"{document}, A-17"), "guardian": label.format(guardian)}
        page = await scene.text(f"{scene.page}/consents", language)
        listed = await scene.text("/search", language)
        for kind, sentence in said.items():
            assert sentence in page
            assert sentence in await scene.text(f"/entries/{recorded[kind]}", language)
            assert sentence.removesuffix(", A-17") in listed
        sheet = unescape(scene.desk.ask(ExtractOf.of(person=SUBJECT, language=language), Asker("test")).page())
        assert f"{said['document']}." in sheet
        assert f"{label.format(YOURS[language])}." in sheet
    terms = {
        story.consent: story.terms
        for story in scene.desk.ask(ConsentsOf.of(person=SUBJECT), Asker("test")).stories
        if story.terms is not None
    }
    assert terms[words["document"]].to_dict()["target"] == {"kind": "document", "code": "A-17"}
    assert terms[scene.prohibition].to_dict()["target"] is None
    assert "aimed at: document A-17" in terms_line(terms[words["document"]])
    assert "aimed at: guardian;" in terms_line(terms[words["guardian"]])


async def test_log_and_its_files_say_of_which_kind_it_is_and_not_which(scene: Scene) -> None:
    await aimed(scene, "document")
    (found,) = [item for item in scene.desk.ask(Find.of(), Asker("test")).found if "target" in item.entry.detail]

    head, line = list(to_csv([found]))
    row = dict(zip(head.strip().split(";"), line.strip("\r\n").split(";"), strict=True))
    details = {
        (detail["type"], detail["valueString"]) for detail in audit_event(found, origin="x")["entity"][0]["detail"]
    }

    assert row["target"] == "document"
    assert ("target", "document") in details
    assert "A-17" not in str(found.entry.to_dict())


@pytest.mark.parametrize("by", ["self", "other"])
async def test_officers_sheet_says_to_whom_it_must_not_go(scene: Scene, by: str) -> None:
    def note(*, for_officer: bool, **window: Any) -> tuple[str, ...]:
        asked = ExtractOf.of(person=SUBJECT, language="en", for_officer=for_officer, **window)
        made = scene.desk.ask(asked, Asker("test"))
        assert ("Do not give the extract to whom it is aimed at" in made.page()) is bool(made.unheard)
        return made.unheard

    assert note(for_officer=True) == ()
    given = {"given_by": {"kind": "other"}} if by == "other" else {}
    word = await aimed(scene, "guardian", **given)

    assert note(for_officer=True) == ("the guardian",)
    assert note(for_officer=True, start=scene.clock.now) == ("the guardian",), "whenever it was said"
    assert note(for_officer=False) == ()
    if by == "self":
        said = TakenBack(Giver(GiverKind.SELF, able_to_decide=True), Locator(MIGRI_CUSTOMER, PERSON), 16)
        await end(scene, word, WordStatus.WITHDRAWN, said)
        assert note(for_officer=True) == ()
