"""Pages of an HTTP API, against a real server on loopback that asks for OAuth client credentials."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from adapters.sdk import load
from gateway.sources.batches import SourceError
from gateway.sources.endpoint import Endpoint
from gateway.sources.http import ClientCredentials, HttpApi, Paging
from gateway.sources.progress import Progress
from tests.gateway.endless import endless
from tests.gateway.sources.conftest import Sink, drain, feed_of


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'node.db'}"


@dataclass
class Register:
    """A source system's API: two records a page, bearer tokens that it may revoke."""

    people: list[str]
    style: str = "link"
    tokens: set[str] = field(default_factory=set)
    issued: int = 0
    asked: list[str] = field(default_factory=list)
    elsewhere: bool = False

    async def token(self, request: web.Request) -> web.Response:
        form = await request.post()
        shown = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
        if shown != "node%2B1:s%3Acret" or form["grant_type"] != "client_credentials" or form["scope"] != "read":
            return web.json_response({"error": "invalid_client"}, status=401)
        self.issued += 1
        token = f"token-{self.issued}"
        self.tokens.add(token)
        return web.json_response({"access_token": token, "token_type": "Bearer", "expires_in": 3600})

    async def records(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return web.Response(status=401)
        start = int(request.query.get("after", "0"))
        self.asked.append(str(start))
        shown = [person(one) for one in self.people[start : start + 2]]
        more = start + 2 < len(self.people)
        if self.style == "link":
            host = "http://elsewhere.example" if self.elsewhere else ""
            headers = {"Link": f'<{host}/records?after={start + 2}>; rel="next"'} if more else {}
            return web.json_response(shown, headers=headers)
        return web.json_response({"data": {"rows": shown}, "paging": {"next": start + 2 if more else None}})


def person(number: str) -> dict[str, str]:
    return {"asiakasnumero": number, "sukunimi": "Enkö", "etunimet": "Salim", "syntymaaika": "1990-02-05"}


@asynccontextmanager
async def serving(register: Register) -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes([web.get("/records", register.records), web.post("/token", register.token)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def api(address: str, *, secret: str = "s:cret", style: str = "link") -> HttpApi:
    paging = Paging() if style == "link" else Paging("/data/rows", "/paging/next", "after")
    credentials = ClientCredentials(f"{address}/token", "node+1", lambda: secret, "read")
    return HttpApi(Endpoint(f"{address}/records"), load("municipality-json"), paging=paging, credentials=credentials)


@pytest.mark.parametrize("style", ["link", "token"])
async def test_pages_are_followed_and_a_restart_goes_on_where_it_stopped(
    style: str, books: Progress, tmp_path: Path
) -> None:
    register, sink = Register([f"A{number}" for number in range(5)], style), Sink()
    async with serving(register) as address:
        first = feed_of(api(address, style=style), sink, books, tmp_path / "reports", "municipality-json")
        await drain(first)
        await first.stop()
        register.people += ["A5", "A6"]
        register.asked.clear()
        second = feed_of(api(address, style=style), sink, books, tmp_path / "reports", "municipality-json")
        await drain(second)
        await second.stop()

    assert sink.people == [f"A{number}" for number in range(7)]
    assert "0" not in register.asked
    assert "2" not in register.asked
    assert register.issued == 2, "one token for each start"


async def test_a_revoked_token_is_asked_for_anew_once(books: Progress, tmp_path: Path) -> None:
    register, sink = Register(["A1"]), Sink()
    async with serving(register) as address:
        feed = feed_of(api(address), sink, books, tmp_path / "reports", "municipality-json")
        await drain(feed)
        register.tokens.clear()
        register.people.append("A2")
        await drain(feed)
        await feed.stop()

    assert sink.people == ["A1", "A2"]
    assert register.issued == 2


async def test_a_wrong_secret_is_told_without_showing_it(books: Progress) -> None:
    async with serving(Register(["A1"])) as address:
        source = api(address, secret="wrong-one")
        with pytest.raises(SourceError) as caught:
            await source.poll(None)
        await source.close()

    assert caught.value.code == "source-unauthorized"
    assert "wrong-one" not in str(caught.value)


async def test_a_page_cannot_send_the_node_and_its_token_elsewhere(books: Progress) -> None:
    async with serving(Register(["A1", "A2", "A3"], elsewhere=True)) as address:
        source = api(address)
        with pytest.raises(SourceError, match="another origin"):
            await source.poll(None)
        await source.close()


async def test_an_api_that_is_away_is_a_reason_to_wait(books: Progress) -> None:
    source = HttpApi(Endpoint("http://127.0.0.1:9/records"), load("municipality-json"), paging=Paging())

    with pytest.raises(SourceError) as caught:
        await source.poll(None)

    assert caught.value.code == "source-unreachable"
    await source.close()


async def test_page_that_never_ends_is_left_at_the_limit(books: Progress) -> None:
    async with endless() as api:
        source = HttpApi(Endpoint(f"{api.address}/", body_limit=300_000), load("municipality-json"), paging=Paging())
        with pytest.raises(SourceError, match="over 300000 bytes") as caught:
            await source.poll(None)
        await source.close()

    assert (caught.value.code, caught.value.remedy) == ("source-failed", "ask for less")


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("/link[relation=next]/url", "https://x/2"),
        ("/link[relation=last]/url", None),
        ("/link[relation=next]/href", None),
        ("/total[relation=next]/url", None),
        ("/paging/next", 7),
    ],
)
def test_a_next_page_is_found_wherever_it_stands(pointer: str, found: object) -> None:
    from gateway.sources.http import _pointed

    links = [{"relation": "self", "url": "https://x/1"}, {"relation": "next", "url": "https://x/2"}]

    assert _pointed({"link": links, "total": 3, "paging": {"next": 7}}, pointer, missing=None) == found
