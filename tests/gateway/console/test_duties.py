"""The console's pages of tasks: a registrar sees to them, the officer sees what is late, nobody else sees any."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import httpx
import pytest

from consent.rulebook import reference_rulebook
from gateway.consents.record import Recorder
from gateway.consents.reports import Reports
from gateway.console.composition import IDENTIFIERS
from gateway.console.wording import Words
from gateway.sources.backends import Locator
from schemas.identifiers import HETU, LOCAL, SYSTEMS
from tests.gateway.console.test_fuzzing_console import Browser, Forms, signed_in
from tests.gateway.exchange.inprocess import Place
from tests.gateway.obligations.test_obligations import Kotka, a_node, today
from texts import LANGUAGES


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


@pytest.mark.parametrize("role", ["officer", "registrar"])
async def test_prohibitions_that_wait_are_counted_and_listed_without_a_name(office: Office, role: str) -> None:
    here, who = office.kotka.here, Recorder("test", office.kotka.here.party.subsystem)
    reports, forbidden = Reports(here.exchange), {"kind": "prohibition", "categories": ["identity"]}
    visitor = await signed_in(here, role)
    assert "/tasks#words" not in (await visitor.ask("GET", "/")).text
    assert "Yksikään kielto tai ilmoitettu kielto ei odota" in (await visitor.ask("GET", "/tasks")).text
    told = forbidden | {"given_by": {"kind": "other"}}
    report = (await here.consents.record("test", who.subsystem, Locator(LOCAL, "OMA-7000002"), told)).record
    wrong = forbidden | {"subject": {"system": HETU, "value": "010190-900A"}}
    astray = await reports.put_aside(who, wrong)

    first = (await visitor.ask("GET", "/")).text
    assert "2 kieltoa tai ilmoitettua kieltoa odottaa käsittelyä" in first
    assert "/tasks#words" in first
    listed = (await visitor.ask("GET", "/tasks")).text
    placing, answering = f"POST /v1/reports/{astray}/placement", f"POST /v1/reports/{report.id}/answer"
    assert 0 < listed.index(placing) < listed.index(answering)
    for page in (first, listed):
        assert "ei voi enää odottaa" not in page
        assert "OMA-7000002" not in page
        assert "010190-900A" not in page


async def test_what_can_wait_no_longer_stands_first(office: Office) -> None:
    here, reports = office.kotka.here, Reports(office.kotka.here.exchange)
    who, told = Recorder("test", here.party.subsystem), {"kind": "prohibition", "given_by": {"kind": "other"}}
    office.kotka.clock.passed = timedelta(days=-9)
    report = (await here.consents.record("test", who.subsystem, Locator(LOCAL, "OMA-7000003"), told)).record
    office.kotka.clock.passed = timedelta()
    astray = await reports.put_aside(who, {"kind": "prohibition"})
    officer = await signed_in(here, "officer")

    assert "1 ei voi enää odottaa" in (await officer.ask("GET", "/")).text
    listed = (await officer.ask("GET", "/tasks")).text
    assert listed.index(f"/v1/reports/{report.id}/answer") < listed.index(f"/v1/reports/{astray}/placement")


@pytest.mark.parametrize("role", ["auditor", "operator"])
async def test_nobody_else_reads_of_waiting_prohibitions(office: Office, role: str) -> None:
    here = office.kotka.here
    await Reports(here.exchange).put_aside(Recorder("test", here.party.subsystem), {"kind": "prohibition"})

    page = await (await signed_in(here, role)).ask("GET", "/")

    assert page.status_code == 200
    assert "odottaa käsittelyä" not in page.text


def test_a_person_is_found_by_every_kind_of_identifier_that_is_taken() -> None:
    assert {kind.system for kind in IDENTIFIERS} == set(SYSTEMS)
    for language in LANGUAGES:
        words = Words(language)
        assert all(words(f"identifier.{kind.code}") for kind in IDENTIFIERS)
