"""The console's pages of standing requests: a registrar makes and ends them, everybody else sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import quote

import httpx
import pytest

from consent.rulebook import reference_rulebook
from consent.rules.law import Word
from gateway.console.wording import TEXTS
from tests.gateway.asking.test_asking import Published, today
from tests.gateway.console.test_fuzzing_console import Browser, Forms, signed_in
from tests.gateway.exchange.inprocess import InProcess, Place, node

RIGHT = "/requests/new?right="


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place.build(tmp_path_factory.mktemp("asking-console"), rulebook=reference_rulebook())


@dataclass
class Office:
    """Kotka's node, and who visits its console."""

    here: InProcess
    published: Published
    registrar: Browser

    async def post(self, browser: Browser, page: str, action: str, **fields: str) -> httpx.Response:
        """Send the form of a page that goes to an address."""
        shown = Forms()
        shown.feed((await browser.ask("GET", page)).text)
        sheet = next((sheet for sheet in shown.forms if sheet.action == action), shown.forms[0])
        kept = {name: values[0] for name, values in sheet.fields.items() if name in ("csrf", "right")}
        return await browser.ask("POST", action, {**kept, **fields})

    async def made(self, **changes: str) -> httpx.Response:
        page = Forms()
        page.feed((await self.registrar.ask("GET", "/requests")).text)
        (link,) = {link for link in page.links if link.startswith(RIGHT + quote("assessment-municipality/"))}
        fields = {
            "id": "kotka-86-1",
            "purpose": "reception-to-municipality",
            "provider:reception-centre": "yes",
            "category:identity": "yes",
            "category:language": "yes",
            "first": "2026-01-01",
        }
        return await self.post(self.registrar, link, "/requests/new", **(fields | changes))

    def acts(self) -> list[tuple[str | None, object]]:
        return [
            (entry.agents.client, entry.detail.get("act"))
            for entry in self.here.entries()
            if "standing_request" in entry.detail
        ]


@pytest.fixture
async def office(place: Place, database_url: str) -> AsyncIterator[Office]:
    published = Published()
    async with node(place, database_url, of="kotka", standing=published) as here:
        yield Office(here, published, await signed_in(here, "registrar"))


async def test_registrar_makes_a_request_by_a_right_and_ends_it(office: Office) -> None:
    assert (await office.made()).status_code == 303

    page = (await office.registrar.ask("GET", "/requests")).text
    assert "kotka-86-1" in page
    assert "odottaa julkaisua" in page
    file = await office.registrar.ask("GET", "/requests/kotka-86-1/file")
    office.published.take(file.json())
    assert "odottaa julkaisua" not in (await office.registrar.ask("GET", "/requests")).text

    ended = await office.post(office.registrar, "/requests", "/requests/kotka-86-1/end", last=today())
    assert ended.status_code == 303
    page = (await office.registrar.ask("GET", "/requests")).text
    assert "Siihen asti on voimassa se, mikä on julkaistu." in page
    assert office.acts() == [("console", "made"), ("console", "ended")]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"id": "Not An Id"}, "nimi, jota muilla ei ole"),
        ({"provider:reception-centre": ""}, "ainakin yksi, jolta pyydetään"),
        ({"category:identity": "", "category:language": ""}, "ainakin yksi tieto"),
        ({"first": ""}, "ensimmäinen päivä"),
        ({"last": "2025-01-01"}, "voimassaoloaikana"),
    ],
)
async def test_form_says_what_is_wrong_and_signs_nothing(office: Office, changes: dict[str, str], told: str) -> None:
    answer = await office.made(**changes)

    assert answer.status_code == 400
    assert told in answer.text
    assert office.acts() == []


@pytest.mark.parametrize("role", ["officer", "auditor", "operator"])
async def test_others_see_requests_and_sign_none(office: Office, role: str) -> None:
    await office.made()
    visitor = await signed_in(office.here, role)

    page = await visitor.ask("GET", "/requests")
    assert page.status_code == 200
    assert "kotka-86-1" in page.text
    assert "/requests/new" not in page.text
    right = quote("assessment-municipality/municipality")
    assert (await visitor.ask("GET", RIGHT + right)).status_code == 403
    answer = await office.post(visitor, "/requests", "/requests/kotka-86-1/end", last=today())
    assert answer.status_code == 403
    assert office.acts() == [("console", "made")]


@pytest.mark.parametrize("word", list(Word))
def test_what_a_persons_word_does_to_a_basis_has_a_text(word: Word) -> None:
    assert f"consent-rule.{word}" in TEXTS


async def test_a_registrar_sees_no_searches_and_no_persons(office: Office) -> None:
    for path in ("/people", "/search", "/cases", "/reviews", "/withdrawals"):
        assert (await office.registrar.ask("GET", path)).status_code == 403, path
    for path in ("/", "/requests", "/handovers", "/registry", "/rulebook"):
        assert (await office.registrar.ask("GET", path)).status_code == 200, path
