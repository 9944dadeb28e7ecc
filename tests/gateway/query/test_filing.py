"""An answer is found under each identifier that it names, at whoever asked, and joins nobody; the sheet says which."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest

from audit.questions.persons import persons
from audit.questions.report import Extract
from gateway.desk.questions.persons import ExtractOf
from gateway.desk.roles import Asker
from gateway.query.ask import Consumer, Question
from gateway.sources.backends import Locator
from gateway.wire.identifiers import ServiceId
from schemas.identifiers import HETU, MIGRI_CUSTOMER
from tests.gateway.exchange.inprocess import InProcess, Place, node
from tests.gateway.exchange.test_persons import CODE, with_code
from tests.gateway.exchange.test_statements import Wire
from tests.gateway.web.faces import desk_of

PERSON = {HETU: CODE, MIGRI_CUSTOMER: "7000001"}
IN_ENGLISH = {HETU: "personal identity code", MIGRI_CUSTOMER: "customer number of the Immigration Service"}


@dataclass
class Asking:
    """Who asks, and what they ask about a person by the customer number; the answer names the identity code too."""

    kotka: InProcess
    question: Question

    async def ask(self, **changes: Any) -> None:
        await Consumer(self.kotka.exchange).ask(replace(self.question, **changes))

    def sheet(self, system: str, *, for_officer: bool = False, language: str = "en") -> Extract:
        desk = desk_of(self.kotka.exchange)
        try:
            person = {"system": system, "value": PERSON[system]}
            asked = ExtractOf.of(person=person, language=language, for_officer=for_officer)
            return desk.ask(asked, Asker("test", "officer"))
        finally:
            desk.close()

    def pseudonyms(self) -> list[str | None]:
        return [entry.subject for entry in self.kotka.entries() if entry.type == "query"]


@pytest.fixture
async def asking(place: Place, database_url: str, tmp_path: Any) -> AsyncIterator[Asking]:
    async with AsyncExitStack() as stack:
        centre = await stack.enter_async_context(node(place, f"sqlite:///{tmp_path}/centre.db"))
        kotka = await stack.enter_async_context(node(place, database_url, of="kotka"))
        kotka.exchange.transport = Wire(kotka, centre)  # type: ignore[assignment]
        centre.register.changed["7000001"] = with_code()  # type: ignore[assignment]
        yield Asking(
            kotka,
            Question(
                client="test",
                consumer=kotka.party.subsystem,
                service=ServiceId(centre.party.subsystem, "palvelutarve"),
                locator=Locator(MIGRI_CUSTOMER, "7000001"),
                purpose="service-need-lookup",
                categories=frozenset({"identity"}),
                case=None,
                user="u-1",
                emergency=None,
                trace_id="0" * 32,
                trace={},
            ),
        )


@pytest.mark.parametrize("system", PERSON)
async def test_a_look_up_stands_on_the_sheet_of_each_identifier_that_its_answer_names(
    asking: Asking, system: str
) -> None:
    await asking.ask()
    await asking.ask()

    sheet = asking.sheet(system)

    assert len(sheet.received) == 2
    assert sheet.identifiers == (IN_ENGLISH[system],)
    assert f"Made for these identifiers</dt><dd>{IN_ENGLISH[system]}</dd>" in sheet.page()
    assert sheet.others == (), "that there may be more is for the officer"


async def test_the_officers_sheet_says_under_what_kind_of_identifier_there_may_be_more(asking: Asking) -> None:
    await asking.ask()

    sheet = asking.sheet(HETU, for_officer=True, language="fi")

    assert sheet.others == ("Maahanmuuttoviraston asiakasnumero",)
    assert "Jos ovat, tee tuloste niilläkin" in sheet.page()
    assert PERSON[MIGRI_CUSTOMER] not in sheet.page()


async def test_an_answer_joins_nobody_and_its_person_counts_as_one(asking: Asking) -> None:
    await asking.ask()
    await asking.ask()

    exchange = asking.kotka.exchange
    first, answered, second, again = asking.pseudonyms()
    assert first == second != answered == again, "all answers that name the same are filed alike"
    with exchange.engine.connect() as connection:
        subjects = exchange.subjects_of(asking.kotka.party.subsystem)
        (code,) = subjects.known(connection, [(HETU, CODE)])
        assert code.subjects == (), "whom only an answer has named, nobody here knows"
        assert len(set(persons(connection, [str(first), str(answered)]).values())) == 1
        assert set(subjects.same_person(connection, str(answered))) >= {first, answered}


async def test_an_answer_that_names_only_whom_was_asked_for_is_filed_under_them(asking: Asking) -> None:
    asking.kotka.exchange.transport._receiver.register.changed.clear()  # type: ignore[attr-defined]

    await asking.ask()

    assert len(set(asking.pseudonyms())) == 1
    assert asking.sheet(MIGRI_CUSTOMER, for_officer=True).others == ()
