"""The desk: who may ask what, and that nothing is answered before it is on record."""

from __future__ import annotations

import ast
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import String, Table, event, insert

import gateway.desk
from audit.log.entries import EntryType, Outcome, micros
from audit.log.log import LogError
from gateway.desk.asking import NotPermittedError, Question
from gateway.desk.describing import basis_name
from gateway.desk.desk import Desk
from gateway.desk.questions import QUESTIONS
from gateway.desk.questions.boards import Handovers
from gateway.desk.questions.counting import Flows, Overview, Processing, Years
from gateway.desk.questions.persons import AfterWithdrawal, ConsentsOf, FindPerson
from gateway.desk.questions.searching import Find
from gateway.desk.roles import EVERYONE, Asker, Role
from gateway.handover.states import DeliveryKind
from gateway.storage.tables import deliveries, handovers
from gateway.wire.problems import ProblemError
from schemas.identifiers import MIGRI_CUSTOMER
from tests.gateway.exchange.inprocess import InProcess, Place, node
from tests.gateway.web.faces import desk_of

ROOM = Path(gateway.desk.__file__).parent
COATS = ("console/pages", "desk/web.py", "desk/usage.py", "desk/cli")
PERSON = {"system": MIGRI_CUSTOMER, "value": "7000001"}


@pytest.fixture
async def here(place: Place, database_url: str) -> AsyncIterator[InProcess]:
    async with node(place, database_url) as found:
        yield found


@pytest.fixture
def desk(here: InProcess) -> Desk:
    return desk_of(here.exchange)


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.OPERATOR])
@pytest.mark.parametrize("question", [FindPerson, Find, AfterWithdrawal, ConsentsOf])
async def test_a_question_beyond_a_role_is_not_read_and_the_attempt_is_on_record(
    here: InProcess, desk: Desk, question: type[Question[Any]], role: Role
) -> None:
    read: list[str] = []
    event.listen(here.exchange.engine, "before_cursor_execute", lambda *sent: read.append(sent[2]))

    with pytest.raises(NotPermittedError):
        desk.ask(question.of(person=PERSON), Asker("test", "u-1", role))

    assert not [statement for statement in read if "audit_identifiers" in statement]
    (entry,) = here.entries()
    assert (entry.type, entry.outcome, entry.agents.user) == (EntryType.CONSOLE_READ, Outcome.REFUSED, "u-1")
    assert (entry.detail["question"], entry.detail["reason"]) == (question.named or "search", "role")


async def test_an_answer_that_cannot_be_recorded_is_none(here: InProcess, desk: Desk) -> None:
    here.exchange.log.close()

    with pytest.raises(LogError):
        desk.ask(Find(), Asker("test"))


async def test_each_asking_is_one_entry_with_its_question(here: InProcess, desk: Desk) -> None:
    for question in (Find(), Overview(), Years(), Find.of(question="refusals")):
        desk.ask(question, Asker("test"))

    assert [entry.detail["question"] for entry in here.entries()] == [
        "search",
        "overview",
        "recorded-years",
        "refusals",
    ]


async def test_a_delivery_waits_since_it_was_planned_however_often_it_is_tried(here: InProcess, desk: Desk) -> None:
    planned = here.exchange.clock() - timedelta(hours=3)
    row = {
        "id": "d", "handover": "h", "kind": DeliveryKind.HANDOVER.value, "consumer": str(here.party.subsystem),
        "role": "municipality", "service": "", "purpose": "reception-to-municipality", "state": "due", "attempts": 539,
        "created": micros(planned), "changed": micros(here.exchange.clock()),
    }  # fmt: skip
    with here.exchange.engine.begin() as connection:
        connection.execute(insert(handovers), filled(handovers, id="h", state="planned", created=micros(planned)))
        connection.execute(insert(deliveries), filled(deliveries, **row))

    [journey] = desk.ask(Handovers(), Asker("test")).journeys

    assert [(leg.since, leg.attempts) for leg in journey.legs] == [(planned, 539)]


def filled(table: Table, **values: Any) -> dict[str, Any]:
    """A row of a table: what is not given is empty."""
    needed = (column for column in table.columns if not column.nullable and column.server_default is None)
    return {column.name: "" if isinstance(column.type, String) else 0 for column in needed} | values


async def test_a_year_before_the_log_began_has_no_record_of_processing(here: InProcess, desk: Desk) -> None:
    year = here.exchange.clock().year
    desk.ask(Overview(), Asker("test"))

    assert desk.ask(Years(), Asker("test")) == (year,)
    assert desk.ask(Processing.of(year=year - 1), Asker("test")).lines == ()
    assert desk.ask(Processing.of(year=year), Asker("test")).lines != ()


async def test_the_record_of_processing_names_the_law_of_its_year_and_what_the_organisation_has_a_role_in(
    here: InProcess, desk: Desk
) -> None:
    standing = here.exchange.standing(here.exchange.clock())
    book, member = standing.rulebook, here.party.subsystem
    roles = standing.registry.roles_of(member, here.exchange.clock())

    for year in (2022, 2026):
        told = {activity.purpose: list(activity.bases) for activity in desk.context.activities(year, "en")}
        for purpose in book.purposes:
            in_force = [
                basis
                for basis in book.bases
                if purpose in basis.purposes
                and roles & (basis.providers | basis.requesters)
                and any(basis.in_force(day) for day in days_of(year))
            ]
            names = list(dict.fromkeys(basis_name(basis, "en") for basis in in_force))
            assert told.get(purpose, []) == names, (year, purpose)
    assert {*map(str, desk.context.activities(2022, "en"))} != {*map(str, desk.context.activities(2026, "en"))}
    assert len(desk.context.activities(2026, "en")) < len(book.purposes)


def days_of(year: int) -> list[date]:
    return [date(year, 1, 1) + timedelta(days=day) for day in range(365)]


@pytest.mark.parametrize(
    ("question", "given", "pointer"),
    [
        (Find, {"limit": 0}, "/limit"),
        (Find, {"limit": 1001}, "/limit"),
        (Find, {"after": "x\0"}, "/after"),
        (Find, {"case": "a\0b"}, "/case"),
        (Find, {"filters": {"outcome": ["gone"]}}, "/filters/outcome/0"),
        (Find, {"filters": {"purpose": "x" * 1301}}, "/filters/purpose"),
        (Find, {"start": "0001-01-01T00:00:00+00:00"}, "/from"),
        (Find, {"end": "9999-12-31T23:59:59+00:00"}, "/to"),
        (Flows, {"start": "2026-01-01T00:00:00Z"}, "/from"),
        (Flows, {"start": "2026-02-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, "/from"),
        (Processing, {"year": 1}, "/year"),
        (Processing, {"year": 9999}, "/year"),
    ],
)
def test_what_cannot_be_asked_is_no_question(question: type[Find], given: dict[str, object], pointer: str) -> None:
    with pytest.raises(ProblemError) as told:
        question.of(**given)
    assert (told.value.code, told.value.pointer) == ("invalid-request", pointer)


def test_each_question_has_a_name_of_its_own_and_roles() -> None:
    names = [question.named for question in QUESTIONS if "named" in vars(question)]
    twice = {name for name in names if names.count(name) > 1}
    assert twice == {"rulebook-change"}, "one question, of a text and of two rulebooks"
    assert all(question.roles <= EVERYONE for question in QUESTIONS)
    assert all((question.__doc__ or "").strip() for question in QUESTIONS)


#: The commands that check the log without a node, and the one place that opens the desk for commands.
BESIDE = ("desk/cli/log.py", "desk/cli/desk.py")


def test_no_coat_of_the_desk_reads_the_log_or_makes_an_entry() -> None:
    """Pages, interface and commands ask the desk: they have no statement, no connection, and no story of their own."""
    forbidden = ("sqlalchemy", "audit.log.tables", "gateway.storage", "gateway.story", "audit.log.log")
    wrong = [
        (path.name, statement.module)
        for coat in COATS
        for path in ((ROOM.parent / coat).rglob("*.py") if (ROOM.parent / coat).is_dir() else [ROOM.parent / coat])
        if str(path.relative_to(ROOM.parent)) not in BESIDE
        for statement in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith(forbidden)
    ]
    assert wrong == []
