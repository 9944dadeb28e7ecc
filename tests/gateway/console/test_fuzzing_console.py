"""Whatever a browser of somebody signed in sends to the console, by its forms and addresses: no page is a failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection
from starlette.types import ASGIApp

from audit.log.waiting import Written
from gateway.console.composition import console_app
from gateway.console.sessions import Identity, offer_link
from gateway.desk.roles import Role
from gateway.settings import load
from tests.gateway.exchange.inprocess import InProcess, Place
from tests.gateway.web.faces import desk_of
from tests.gateway.web.generating import AWKWARD
from tests.gateway.web.test_fuzzing import EACH, Ground, standing

ADDRESS = "https://console.example.fi"
START = ("/", "/search", "/reviews", "/withdrawals", "/flow", "/processing", "/log", "/entries/0", "/requests")


@dataclass
class Sheet:
    """One form of a page: where it goes, and its fields with the values that they stand at."""

    method: str
    action: str
    fields: dict[str, list[str]] = field(default_factory=dict)


class Forms(HTMLParser):
    """Reads the forms and links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Sheet] = []
        self.links: set[str] = set()
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given_ = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Sheet(given_.get("method", "get").upper(), given_.get("action", "")))
        elif tag == "a" and given_.get("href", "").startswith("/"):
            self.links.add(given_["href"])
        elif self.forms and given_.get("name") and tag in {"input", "select", "textarea", "button"}:
            self.forms[-1].fields.setdefault(given_["name"], []).append(given_.get("value", ""))
            self._select = given_["name"] if tag == "select" else self._select
        elif self.forms and tag == "option" and self._select:
            self.forms[-1].fields[self._select].append(given_.get("value", ""))


class Browser:
    """Somebody who is signed in, without a window."""

    def __init__(self, app: ASGIApp) -> None:
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._kept: dict[str, str] = {}

    async def ask(self, method: str, path: str, form: dict[str, str] | None = None) -> httpx.Response:
        cookie = "; ".join(f"{name}={value}" for name, value in self._kept.items())
        headers = {"origin": ADDRESS, "cookie": cookie, "content-type": "application/x-www-form-urlencoded"}
        body = urlencode(form or {}, errors="replace")
        async with httpx.AsyncClient(transport=self._transport, base_url=ADDRESS, timeout=None) as client:
            answer = await client.request(method, path, content=body if method == "POST" else None, headers=headers)
        for header in answer.headers.get_list("set-cookie"):
            self._kept.update({name: morsel.value for name, morsel in SimpleCookie(header).items()})
        return answer


async def signed_in(here: InProcess, role: str) -> Browser:
    exchange = here.exchange
    app = console_app(load(here.party.config, {}), ADDRESS, desk_of(exchange))

    def link(connection: Connection) -> Written[str]:
        valid = timedelta(hours=1)
        offered = offer_link(connection, Identity("", "Aino", Role(role)), exchange.clock(), valid)
        return Written(offered, ())

    token = (await exchange.log.commit(link)).value
    browser = Browser(app)
    page = Forms()
    page.feed((await browser.ask("GET", f"/link/{token}")).text)
    csrf = next(sheet.fields["csrf"][0] for sheet in page.forms if "csrf" in sheet.fields)
    assert (await browser.ask("POST", "/link", {"token": token, "csrf": csrf})).status_code == 200
    return browser


@contextmanager
def filled(place: Place, database_url: str) -> Iterator[Ground]:
    with standing(place, database_url) as ground:
        ground.run(ground.faces.here.ask("7000001", body={"subject": {"system": "x", "value": "y"}}))
        yield ground


@pytest.mark.parametrize("role", ["officer", "auditor", "registrar"])
def test_no_form_and_no_address_makes_the_console_fail(place: Place, database_url: str, role: str) -> None:
    with filled(place, database_url) as ground:
        browser = ground.run(signed_in(ground.faces.here, role))
        sheets, paths = ground.run(read(browser))
        assert len(sheets) > 2

        @EACH
        @given(st.data())
        def attempt(data: st.DataObject) -> None:
            for _ in range(4):
                method, path, form = data.draw(request(sheets, paths))
                answer = ground.run(browser.ask(method, path, form))
                assert answer.status_code < 500, f"{method} {path[:500]} {str(form)[:1000]}"

        attempt()


async def read(browser: Browser) -> tuple[list[Sheet], list[str]]:
    """All forms within two steps of the first pages, and the addresses that lead there."""
    seen: dict[str, Forms] = {}
    waiting = list(START)
    while waiting and len(seen) < 60:
        path = waiting.pop(0)
        if path in seen or path.startswith("/static"):
            continue
        answer = await browser.ask("GET", path)
        assert answer.status_code < 500, path
        seen[path] = Forms()
        if "html" in answer.headers.get("content-type", ""):
            seen[path].feed(answer.text)
            waiting += sorted(seen[path].links)
    sheets = {
        (sheet.method, sheet.action or path, *sheet.fields): Sheet(sheet.method, sheet.action or path, sheet.fields)
        for path, page in seen.items()
        for sheet in page.forms
        if sheet.action not in {"/sign-out"}
    }
    return list(sheets.values()), sorted(seen)


@st.composite
def request(draw: Any, sheets: list[Sheet], paths: list[str]) -> tuple[str, str, dict[str, str]]:
    """A form as it could be sent, or an address with something in the place of a part of it."""
    awkward = st.sampled_from(AWKWARD).map(lambda text: text[:2000])
    if draw(st.booleans()):
        sheet = draw(st.sampled_from(sheets))
        form = {
            name: draw(st.sampled_from(values) if name == "csrf" else st.sampled_from(values) | awkward)
            for name, values in sheet.fields.items()
            if name == "csrf" or draw(st.integers(0, 5))
        }
        path = sheet.action
    else:
        path = urlsplit(draw(st.sampled_from(paths))).path
        parts = path.split("/")
        at = draw(st.integers(1, len(parts) - 1))
        parts[at] = draw(st.sampled_from([parts[at], quote(draw(awkward), safe="")]))
        known = sorted({name for sheet in sheets for name in sheet.fields} - {"csrf"})
        form = {draw(st.sampled_from(known)): draw(awkward) for _ in range(draw(st.integers(0, 2)))}
        return "GET", f"{'/'.join(parts) or '/'}?{urlencode(form, errors='replace')}", {}
    if sheet.method == "GET":
        return "GET", f"{path}?{urlencode(form, errors='replace')}", {}
    return "POST", path, form
