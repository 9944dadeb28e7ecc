"""Whoever asked tells of an answer what really came, and by what: as whoever gave it does, and to the person too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from audit.log.entries import Entry, EntryType, Outcome
from audit.questions import query, reviews, tallies
from audit.questions.report import Telling, extract, usage_sentence
from consent.rulebook import reference_rulebook
from consent.rules.request import Emergency
from gateway.obligations.tasks import Kind, State, Task, listed
from gateway.query.ask import Consumer, Question, Reading
from gateway.sources.backends import Locator
from gateway.wire.problems import ProblemError
from schemas.categories import CATEGORIES
from schemas.identifiers import MIGRI_CUSTOMER
from schemas.projection import categories_in, project
from tests.gateway.exchange.inprocess import Bundle, InProcess, Place, node
from tests.gateway.exchange.test_statements import Wire
from tests.gateway.query.test_telling import also_for_centres
from tests.gateway.web.faces import faces
from texts import LANGUAGES

PURPOSE = "service-need-lookup"
EMERGENCY = Emergency("the person was brought in unconscious")
WHO = {"Yhdyspinta-User": "rekisteri-1"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place.build(tmp_path_factory.mktemp("asked"), rulebook=reference_rulebook())


def without(*categories: str) -> Callable[[Bundle], None]:
    """A record that holds nothing of these categories."""

    def changed(record: Bundle) -> None:
        record.update(project(record, CATEGORIES - set(categories)).bundle)

    return changed


@dataclass
class Two:
    """Who is asked, and a county and a municipality that ask."""

    centre: InProcess
    county: InProcess
    kotka: InProcess

    async def ask(self, asker: InProcess, person: str, *categories: str, emergency: Emergency | None = None) -> Reading:
        question = Question(
            client="ward", consumer=asker.party.subsystem, service=self.centre.service,
            locator=Locator(MIGRI_CUSTOMER, person), purpose=PURPOSE, categories=frozenset(categories), case=None,
            user="nurse", emergency=emergency, trace_id="0" * 32, trace={},
        )  # fmt: skip
        return await Consumer(asker.exchange).ask(question)


@pytest.fixture(params=["centre", "askers"])
async def two(place: Place, database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Two]:
    url = f"sqlite:///{tmp_path}"
    async with AsyncExitStack() as stack:
        of_centre = database_url if request.param == "centre" else f"{url}/centre.db"
        of_county = database_url if request.param == "askers" else f"{url}/county.db"
        centre = await stack.enter_async_context(node(place, of_centre))
        county = await stack.enter_async_context(node(place, of_county, of="kymenlaakso"))
        kotka = await stack.enter_async_context(node(place, f"{url}/kotka.db", of="kotka"))
        for asker in (county, kotka):
            asker.exchange.transport = Wire(asker, centre)  # type: ignore[assignment]
        yield Two(centre, county, kotka)


def told(here: InProcess) -> Entry:
    """The entry of the last look-up that brought something."""
    moved = (Outcome.SUCCESS, Outcome.PARTIAL)
    kinds = (EntryType.QUERY, EntryType.BREAK_GLASS)
    return [entry for entry in here.entries() if entry.type in kinds and entry.outcome in moved][-1]


def moved(entry: Entry) -> tuple[Any, ...]:
    """What both sides are to say alike."""
    return entry.type, entry.message_id, entry.giver, entry.taker, entry.categories.permitted, entry.bases


def line(here: InProcess, language: str = "en") -> Any:
    """The line of the person's extract that tells of the last look-up."""
    entry = told(here)
    assert entry.subject is not None
    rulebook = here.exchange.standing(here.exchange.clock()).rulebook

    def name(kind: str, code: str, language: str) -> str | None:
        if kind == "basis":
            basis = rulebook.basis(code)
            return None if basis is None else basis.cited(language)
        return rulebook.categories[code].title[language] if kind == "category" else code

    telling = Telling(language, name, here.exchange.clock())
    with here.exchange.engine.connect() as connection:
        made = extract(connection, [entry.subject], telling)
    return made.disclosures[0]


def tasks(here: InProcess) -> list[Task]:
    with here.exchange.engine.connect() as connection:
        found = listed(connection, [str(here.party.subsystem.member)], State.OPEN, date(2026, 1, 1))
    return [task for task in found if task.kind is Kind.TELL]


async def test_both_sides_name_what_really_came_and_by_which_basis(two: Two) -> None:
    two.centre.register.changed["A1"] = without("housing")
    reading = await two.ask(two.kotka, "A1", "identity", "contact", "housing")

    assert moved(told(two.kotka)) == moved(told(two.centre))
    assert set(told(two.kotka).categories.permitted) == categories_in(reading.bundle)
    assert "housing" not in told(two.kotka).categories.permitted
    assert told(two.kotka).bases == ("assessment-municipality",)
    for language in LANGUAGES:
        came, went = line(two.kotka, language), line(two.centre, language)
        assert replace(came, at=went.at) == replace(went, arrived=True)
        assert "681/2023" in came.bases[0]


async def test_an_emergency_is_told_as_such_by_both_and_reviewed_by_both(two: Two) -> None:
    two.centre.register.changed["A2"] = without("health-needs")
    await two.ask(two.county, "A2", "identity", "contact", "health-needs", emergency=EMERGENCY)

    assert told(two.county).type is EntryType.BREAK_GLASS
    assert moved(told(two.county)) == moved(told(two.centre))
    assert "health-needs" not in told(two.county).categories.permitted
    assert told(two.county).bases == ("emergency",)
    assert all(line(here, language).emergency for here in (two.centre, two.county) for language in LANGUAGES)
    said = usage_sentence(query.Found(0, told(two.county)), "en", lambda _kind, code, _language: code)
    assert f"{PURPOSE} (emergency access)" in said
    for here in (two.centre, two.county):
        with here.exchange.engine.connect() as connection:
            waits = reviews.unreviewed_emergencies(connection)
        assert [found.entry.id for found in waits] == [told(here).id]


async def test_a_look_up_that_could_wait_is_no_emergency(two: Two) -> None:
    await two.ask(two.kotka, "A3", "identity")

    assert told(two.kotka).type is EntryType.QUERY
    assert not line(two.kotka).emergency


async def test_what_went_by_a_word_is_told_by_that_word_and_to_the_person_whom_the_question_named(two: Two) -> None:
    await two.centre.consent("A4", kind="permission", recipients=["county"])
    await two.ask(two.county, "A4", "health-needs")

    assert moved(told(two.county)) == moved(told(two.centre))
    assert told(two.county).bases == ("patient-permission",)
    (task,) = tasks(two.county)
    assert (task.bases, task.categories) == (("patient-permission",), ("health-needs",))
    async with faces(two.county) as both:
        opened = (await both.clients.call("POST", f"/v1/tasks/{task.id}/opening", headers=WHO)).json()
    assert opened["subject"] == [{"system": MIGRI_CUSTOMER, "value": "A4"}]
    assert "703/2023" in opened["notices"]["fi"]


async def test_a_part_that_went_by_a_word_is_told_by_that_word(two: Two) -> None:
    await two.centre.consent("A5", recipients=["county"], categories=["contact"])
    await two.ask(two.county, "A5", "contact")

    assert told(two.county).bases == told(two.centre).bases == ("county-consent",)
    assert told(two.county).categories.permitted == ("contact/address", "contact/telecom")


async def test_a_basis_of_what_was_not_there_is_told_by_neither(two: Two) -> None:
    two.centre.register.changed["A8"] = without("health-needs")
    await two.centre.consent("A8", recipients=["county"], categories=["contact"])
    await two.centre.consent("A8", kind="permission", recipients=["county"])
    await two.ask(two.county, "A8", "contact", "health-needs")

    assert told(two.centre).bases == told(two.county).bases == ("county-consent",)


def unknown(_record: Bundle) -> None:
    raise ProblemError("subject-not-found", detail="the source system knows no such person")


def away(_record: Bundle) -> None:
    raise ProblemError("source-unreachable", detail="the source system cannot be reached")


@pytest.mark.parametrize(
    ("cause", "asked_by", "given", "got"),
    [
        (unknown, "kotka", ("not-found", "subject-not-found"), ("refused", "not-available")),
        (unknown, "centre", ("not-found", "subject-not-found"), ("not-found", "subject-not-found")),
        (away, "kotka", ("failed", "source-unreachable"), ("failed", "source-unreachable")),
    ],
)
async def test_who_is_not_known_or_not_reached_is_not_told_as_refused_by_rule(
    two: Two, cause: Callable[[Bundle], None], asked_by: str, given: tuple[str, str], got: tuple[str, str]
) -> None:
    asker = two.centre if asked_by == "centre" else two.kotka
    two.centre.register.changed["A7"] = cause
    standing = asker.exchange.standing
    # A centre may look up at itself what anybody may.
    asker.exchange.standing = lambda at: also_for_centres(standing(at)) if asked_by == "centre" else standing(at)
    asker.exchange.transport = Wire(asker, two.centre)  # type: ignore[assignment]
    with pytest.raises(ProblemError):
        await two.ask(asker, "A7", "identity")

    def ended(here: InProcess, *, by_client: bool) -> tuple[str, str | None]:
        entries = [entry for entry in here.entries() if entry.type is EntryType.QUERY]
        found = [entry for entry in entries if entry.outcome is not Outcome.REQUESTED]
        return next((e.outcome.value, e.reason) for e in reversed(found) if (e.agents.client is not None) is by_client)

    assert (ended(two.centre, by_client=False), ended(asker, by_client=True)) == (given, got)
    now = two.centre.exchange.clock()
    with two.centre.exchange.engine.connect() as connection:
        counts = tallies.between(connection, now - timedelta(days=1), now + timedelta(days=1))
    assert (sum(count.refused for count in counts), sum(count.fruitless for count in counts)) == (
        0, 2 if asker is two.centre else 1,
    )  # fmt: skip


async def test_nothing_is_said_to_have_come_where_nothing_did(two: Two) -> None:
    two.centre.register.changed["A6"] = without("housing")
    await two.ask(two.kotka, "A6", "housing")

    assert told(two.kotka).categories.permitted == told(two.centre).categories.permitted == ()
    assert tasks(two.kotka) == []
    with two.kotka.exchange.engine.connect() as connection:
        disclosed = query.disclosures([told(two.kotka).subject or ""])
        assert list(query.walk(connection, disclosed)) == []
