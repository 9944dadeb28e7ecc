"""No page and no sheet shows a code where people expect a name: everything that the log can say has one."""

from __future__ import annotations

import ast
import html
import inspect
import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Connection

from audit.log.entries import OUTCOMES, TYPES, Agents, Categories, Entry
from audit.log.waiting import Written
from audit.questions.query import Filters, walk
from audit.questions.report import (
    Controller,
    Telling,
    extract,
    record_of_processing,
    usage_sentence,
)
from audit.questions.subjects import Subject
from audit.tree.witness import _KINDS
from consent.rules.law import Rulebook
from gateway.console.composition import console_app
from gateway.console.sessions import Identity, offer_link
from gateway.desk.describing import activities, names_of
from gateway.desk.roles import Role
from gateway.keys import certificates
from gateway.registry.read import distribution, registry, targets
from gateway.settings import load
from gateway.wire.problem_table import PROBLEMS
from schemas.identifiers import MIGRI_CUSTOMER
from tests.gateway.exchange.inprocess import InProcess, Place, node
from tests.gateway.web.faces import desk_of
from tests.people import joined
from texts import LANGUAGES, Catalogue

ADDRESS = "http://localhost"
CASE = "c" * 64
#: Disclosures and look-ups in vain are what a person's sheet tells of; the rest is for the officer.
TOLD = ("query", "delivery", "break-glass")


def other_reasons() -> list[str]:
    """Reasons in the log that are no problem of an exchange: of the registry that a node reads, of logs it watches."""
    found = {"log-unlisted", *(f"log-{kind}" for kind in _KINDS)}
    for module in (certificates, distribution, registry, targets):
        for call in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "TrustError":
                found |= {part.value for part in ast.walk(call.args[0]) if isinstance(part, ast.Constant)}
    # What is wrong with a request for a certificate is told to who made it, and never recorded.
    return sorted(code for code in found - PROBLEMS.keys() if not code.startswith("request-"))


OTHER_REASONS = other_reasons()


class _Words(HTMLParser):
    """The texts that a reader sees, but what is set as code: the exact record, and the code beside a reason's name."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unseen += tag in {"code", "pre", "script", "style"}

    def handle_endtag(self, tag: str) -> None:
        self._unseen -= tag in {"code", "pre", "script", "style"}

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.texts.append(" ".join(data.split()))


def words_of(page: str) -> list[str]:
    words = _Words()
    words.feed(page)
    return [text for text in words.texts if text]


def codes_of(rulebook: Rulebook) -> set[str]:
    """Every code that an entry may hold and that no language has for a word."""
    bases = {basis.id for basis in rulebook.bases}
    codes = {*rulebook.categories, *rulebook.purposes, *bases, *PROBLEMS, *OTHER_REASONS, *TYPES, *OUTCOMES}
    return {code for code in codes if "-" in code or "/" in code}


def nameless(language: str) -> list[str]:
    """What is said where a code has no name."""
    catalogues = (Catalogue("audit"), Catalogue("console"))
    return [
        text.in_language(language) for found in catalogues for key, text in found.items() if key.startswith("unnamed.")
    ]


def shown_codes(page: str, codes: set[str]) -> set[str]:
    text = "\n".join(words_of(page))
    return {code for code in codes if re.search(rf"(?<![\w/-]){re.escape(code)}(?![\w/-])", text)}


def everything(here: InProcess, rulebook: Rulebook, subject: Subject) -> Iterator[Entry]:
    """Entries about one person with all types, outcomes and reasons, and all categories, purposes and bases."""
    categories, purposes = sorted(rulebook.categories), sorted(rulebook.purposes)
    bases = [basis.id for basis in rulebook.bases]
    kinds, outcomes, reasons = sorted(TYPES), sorted(OUTCOMES), [*PROBLEMS, *OTHER_REASONS]
    for number in range(max(len(reasons), len(purposes))):
        yield Entry(
            type=kinds[number % len(kinds)],
            outcome=outcomes[number % len(outcomes)],
            recorded=here.exchange.clock(),
            agents=Agents(client="test", node=here.exchange.node, recipient=str(here.party.subsystem)),
            source=str(here.party.subsystem),
            subject=subject.pseudonym,
            purpose=purposes[number % len(purposes)],
            categories=Categories(tuple(categories), tuple(categories)),
            bases=tuple(bases),
            reason=reasons[number % len(reasons)],
            case=CASE,
        )


@pytest.fixture
async def here(place: Place, tmp_path: Path) -> AsyncIterator[InProcess]:
    async with node(place, f"sqlite:///{tmp_path / 'node.db'}") as found:
        yield found


def rulebook_of(here: InProcess) -> Rulebook:
    return here.exchange.standing(here.exchange.clock()).rulebook


async def filled(here: InProcess) -> Subject:
    """The log, with everything in it that it can say about one person."""
    found: list[Subject] = []

    def unit(connection: Connection) -> Written[None]:
        now = here.exchange.clock()
        found.append(joined(connection, here.exchange.subjects, [(MIGRI_CUSTOMER, "90001234")], now))
        return Written(None, tuple(everything(here, rulebook_of(here), found[0])))

    await here.exchange.log.commit(unit)
    return found[0]


@pytest.mark.parametrize("language", LANGUAGES)
async def test_everything_that_the_rulebook_and_the_problem_table_have_is_called_by_a_name(
    here: InProcess, language: str
) -> None:
    rulebook = rulebook_of(here)
    names = names_of(lambda: here.exchange.standing(here.exchange.clock()))
    for kind, codes in {
        "category": rulebook.categories,
        "purpose": rulebook.purposes,
        "role": rulebook.roles,
        "basis": [basis.id for basis in rulebook.bases],
        "reason": PROBLEMS,
    }.items():
        for code in codes:
            name = names(kind, code, language)
            assert name, f"{kind} {code} has no name"
            assert name != code or re.fullmatch("[a-z]+", code), f"{kind} {code} is its own name"


@pytest.mark.parametrize("language", LANGUAGES)
async def test_no_sheet_shows_a_code(here: InProcess, language: str) -> None:
    subject, rulebook, now = await filled(here), rulebook_of(here), here.exchange.clock()
    names = names_of(lambda: here.exchange.standing(now))
    with here.exchange.engine.connect() as connection:
        telling = Telling(language, names, now, Controller("K"), for_officer=True)
        made = extract(connection, [subject.pseudonym], telling)
        record = record_of_processing(
            connection,
            now.year,
            activities(here.exchange.standing(now), now.year, [here.party.subsystem], language),
            telling,
        )
        sentences = [
            usage_sentence(found, language, names) for found in walk(connection, Filters(types=TOLD), order="oldest")
        ]

    assert made.disclosures
    assert made.fruitless
    for page in (made.page(), record.page(), "\n".join(sentences)):
        assert shown_codes(page, codes_of(rulebook)) == set()
        assert not [words for words in nameless(language) if words in page]
        assert rulebook.categories["health-needs"].title[language] in page


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_code_that_the_rulebook_no_longer_has_is_said_to_have_no_name(here: InProcess, language: str) -> None:
    await filled(here)
    with here.exchange.engine.connect() as connection:
        [found, *_] = walk(connection, Filters(types=TOLD), order="oldest")
        said = usage_sentence(found, language, lambda _kind, _code, _language: None)

    assert shown_codes(said, codes_of(rulebook_of(here))) == set()


async def test_no_page_of_the_console_shows_a_code(here: InProcess, place: Place) -> None:
    await filled(here)
    exchange, settings = here.exchange, load(here.party.config, {})
    app = console_app(settings, ADDRESS, desk_of(exchange))

    def link(connection: Connection) -> Written[str]:
        valid = timedelta(hours=1)
        return Written(offer_link(connection, Identity("", "Aino", Role.OFFICER), exchange.clock(), valid), ())

    token, kept = (await exchange.log.commit(link)).value, {}
    codes = codes_of(rulebook_of(here))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=ADDRESS, timeout=None) as browser:

        async def ask(method: str, path: str, **form: str) -> httpx.Response:
            headers = {"origin": ADDRESS, "cookie": "; ".join(f"{name}={value}" for name, value in kept.items())}
            answer = await browser.request(method, path, data=form or None, headers=headers)
            for header in answer.headers.get_list("set-cookie"):
                kept.update({name: morsel.value for name, morsel in SimpleCookie(header).items()})
            return answer

        csrf = (await ask("GET", f"/link/{token}")).text.split('name="csrf" value="', 1)[1].split('"', 1)[0]
        assert (await ask("POST", "/link", token=token, csrf=csrf)).status_code == 200
        size = exchange.log.latest().size
        for language in LANGUAGES:
            kept["language"] = language
            paths = ["/", "/search", "/reviews", "/withdrawals", "/flow", "/processing", "/log", f"/cases/{CASE}"]
            # Each record once, each in another language, and all of them in the lists.
            paths += [f"/entries/{index}" for index in range(LANGUAGES.index(language), size, len(LANGUAGES))]
            seen = 0
            while paths:
                path = paths.pop()
                answer = await ask("GET", path)
                assert answer.status_code == 200, path
                assert f'<html lang="{language}"' in answer.text
                assert shown_codes(answer.text, codes) == set(), f"{path} in {language}"
                seen_words = html.unescape(answer.text)
                assert not [words for words in nameless(language) if words in seen_words], f"{path} in {language}"
                seen += 1
                if onward := re.search(r'rel="next" href="([^"]+)"', answer.text):
                    paths.append(onward[1].replace("&amp;", "&"))
            assert seen > size // len(LANGUAGES)
