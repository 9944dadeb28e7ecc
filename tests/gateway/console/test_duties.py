"""The console's pages of tasks: a registrar sees to them, the officer sees what is late, nobody else sees any."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from consent.rulebook import reference_rulebook
from tests.gateway.console.test_fuzzing_console import Browser, Forms, signed_in
from tests.gateway.exchange.inprocess import Place
from tests.gateway.obligations.test_obligations import Kotka, a_node, today


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place.build(tmp_path_factory.mktemp("duties-console"), rulebook=reference_rulebook())


@dataclass
class Office:
    kotka: Kotka
    task: str
    registrar: Browser

    async def end(self, **fields: str) -> httpx.Response:
        page = Forms()
        page.feed((await self.registrar.ask("GET", f"/tasks/{self.task}")).text)
        sheet = next(sheet for sheet in page.forms if sheet.action == f"/tasks/{self.task}")
        form = {"csrf": sheet.fields["csrf"][0], "day": today(), **fields}
        return await self.registrar.ask("POST", sheet.action, form)


@pytest.fixture
async def office(place: Place, database_url: str) -> AsyncIterator[Office]:
    async for kotka in a_node(place, database_url, "minimise", "notify-subject"):
        await kotka.brought("7000001", "d-1")
        (task,) = await kotka.tasks()
        yield Office(kotka, task["id"], await signed_in(kotka.here, "registrar"))


async def test_registrar_tells_a_person_and_records_it(office: Office) -> None:
    listed = (await office.registrar.ask("GET", "/tasks")).text
    assert "Kerro henkilölle saaduista tiedoista" in listed
    assert "7000001" not in listed
    opened = (await office.registrar.ask("GET", f"/tasks/{office.task}")).text
    assert "7000001" in opened
    assert "Tämä organisaatio on saanut sinusta tietoja." in opened

    unsafe = await office.end(outcome="told", channel="meeting", language="ti")
    assert unsafe.status_code == 400
    assert "Harkitse, miten henkilö tavoitetaan turvallisesti" in unsafe.text
    done = await office.end(outcome="told", channel="meeting", language="ti", is_safe="yes")
    assert done.status_code == 303
    assert "henkilölle kerrottiin" in (await office.registrar.ask("GET", "/tasks")).text
    proof = (await office.registrar.ask("GET", f"/tasks/{office.task}")).text
    assert "tapaamisessa" in proof


async def test_officer_sees_what_is_late_and_opens_none(office: Office) -> None:
    officer = await signed_in(office.kotka.here, "officer")

    listed = (await officer.ask("GET", "/tasks")).text

    assert "Kerro henkilölle saaduista tiedoista" in listed
    assert f"/tasks/{office.task}" not in listed
    assert (await officer.ask("GET", f"/tasks/{office.task}")).status_code == 403


@pytest.mark.parametrize("role", ["auditor", "operator"])
async def test_nobody_else_sees_tasks(office: Office, role: str) -> None:
    visitor = await signed_in(office.kotka.here, role)

    assert (await visitor.ask("GET", "/tasks")).status_code == 403
    assert (await visitor.ask("GET", f"/tasks/{office.task}")).status_code == 403


async def test_there_is_no_task_of_another_id(office: Office) -> None:
    assert (await office.registrar.ask("GET", "/tasks/none")).status_code == 404
