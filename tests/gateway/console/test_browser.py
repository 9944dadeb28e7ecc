"""The officer's work in a real browser: by keyboard, in three languages, with nothing that axe finds fault with."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from audit.questions.query import by_id
from audit.tree.checkpoint import VerifierKey
from audit.tree.verify import verify_export
from gateway.console.oidc import Provider
from gateway.console.pages import PAGES
from tests import parts
from tests.browsing import chromium, context_of
from tests.gateway.console.conftest import CUSTOMER, HETU, UNKNOWN_HETU, Running, made, serving

pytestmark = pytest.mark.browser
HEAVIEST = 150_000
WEIGHTS = """() => Object.fromEntries(["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind))
    .map((entry) => [entry.name, entry.decodedBodySize]))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with made(tmp_path_factory.mktemp("console")) as world, serving(world) as running:
        yield running


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = context_of(browser, locale="en-GB", viewport={"width": 1280, "height": 900}, accept_downloads=True)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, console: Running) -> Page:
    """A page of an officer who has signed in. What is loaded from elsewhere, or goes wrong in a script, fails."""
    page = context.new_page()
    page.on("request", lambda request: _own(request.url, console.address))
    page.on("pageerror", lambda error: pytest.fail(f"a script failed: {error}"))
    page.on("console", lambda message: _silent(message.type, message.text))
    sign_in(page, console)
    return page


def _own(url: str, address: str) -> None:
    assert url.startswith((address + "/", "blob:", "data:")), f"loaded from outside: {url}"


def _silent(kind: str, text: str) -> None:
    assert kind != "error" or "status of 4" in text, text


def sign_in(page: Page, console: Running, role: str = "officer") -> None:
    page.goto(f"{console.address}/link/{console.world.link(role)}")  # type: ignore[arg-type]
    page.locator("main button").click()
    page.wait_for_url(f"{console.address}/")


def find(page: Page, console: Running, value: str, kind: str = "personal-identity-code") -> None:
    page.goto(f"{console.address}/people")
    page.locator(f"input[value={kind}]").check()
    page.locator("#value").fill(value)
    page.locator("#value").press("Enter")
    page.wait_for_url("**/people/*")


def record(page: Page, console: Running, name: str) -> None:
    with console.world.engine.connect() as connection:
        found = by_id(connection, console.world.entries[name].id)
    assert found is not None
    page.goto(f"{console.address}/entries/{found.index}")


def every_page(page: Page, console: Running) -> list[str]:
    find(page, console, HETU)
    world = console.world
    places = {
        "{handle}": page.url.rsplit("/", 1)[1],
        "{of}": "en",
        "{index}": "3",
        "{id}": world.entries["plan"].id,
        "{key}": world.desk.subjects.case("ASIA-7"),
        "{entry}": world.entries["emergency"].id,
        "{year}": "2026",
    }
    found = []
    for one in PAGES:
        if "GET" in one.methods and "export" not in one.path and one.name != "proof":
            path = one.path
            for place, value in places.items():
                path = path.replace(place, value)
            found.append(path)
    return found


def test_an_officer_comes_in_through_the_organisations_provider(browser: Browser, tmp_path: Path) -> None:
    oidc = parts.module("oidc_provider_mock")
    user = oidc.User(sub="aino", claims={"roles": ["dpo"], "name": "Aino Esimerkki"})
    with made(tmp_path) as world, oidc.run_server_in_thread(user_claims=(user,), require_nonce=True) as server:
        world.now = datetime.now(UTC)
        issuer = f"http://localhost:{server.server_port}"
        provider = Provider(issuer, "console", "secret", roles={"officer": ["dpo"]})
        with serving(world, provider=lambda _address: provider) as running:
            context = context_of(browser, locale="fi-FI")
            # The provider's own page wants a style sheet from elsewhere; nothing here goes beyond this machine.
            context.route(re.compile(r"^https:"), lambda route: route.abort())
            page = context.new_page()
            page.goto(running.address)
            page.get_by_role("link", name="Kirjaudu organisaation tunnuksilla").click()
            page.get_by_role("button", name="aino").click()
            page.wait_for_url(f"{running.address}/")

            expect(page.locator(".who-name")).to_have_text("Aino Esimerkki")
            context.close()


@pytest.mark.parametrize(("kind", "value"), [("personal-identity-code", HETU), ("customer-number", CUSTOMER)])
def test_a_person_is_found_by_either_identifier(page: Page, console: Running, kind: str, value: str) -> None:
    find(page, console, value, kind)

    expect(page.get_by_role("heading", name="Data was disclosed 17 times")).to_be_visible()
    expect(page.locator(".receivers").first.locator("li")).to_have_count(2)
    assert page.locator("svg rect[class^=level-]").count() > 10
    assert value not in page.url
    assert value not in page.content()


def test_a_person_of_whom_nothing_is_known_is_told_so(page: Page, console: Running) -> None:
    find(page, console, UNKNOWN_HETU)

    expect(page.get_by_role("heading", name="The log has nothing about this person")).to_be_visible()


def test_a_case_is_followed_from_plan_to_acceptance(page: Page, console: Running) -> None:
    page.goto(f"{console.address}/cases")
    page.get_by_label("Reference", exact=True).fill("ASIA-7")
    page.get_by_role("button", name="Find").click()

    steps = page.locator(".timeline h2")
    expect(steps).to_have_count(5)
    assert [text.split()[0] for text in steps.all_inner_texts()] == [
        "Handover", "Delivery", "Delivery", "Receipt", "Acceptance",
    ]  # fmt: skip
    assert "ASIA-7" not in page.url
    page.locator(".timeline a").nth(1).click()
    page.get_by_role("link", name="See the whole course of events").click()
    expect(page.locator(".timeline h2")).to_have_count(5)


def test_a_proof_is_verified_in_the_browser(page: Page, console: Running) -> None:
    record(page, console, "to-kotka")

    expect(page.locator(".statement")).to_contain_text(re.compile(r"This record is the 4th of \d+\."))
    expect(page.locator(".statement")).to_contain_text("3 organisations hold the seal")
    page.get_by_role("button", name="Verify in this browser").click()

    expect(page.locator("#verdict")).to_have_text("The proof holds. The record has not been changed.")
    expect(page.locator("#checks li.good")).to_have_count(4)
    expect(page.locator("#checks li.open")).to_have_count(1)  # ML-DSA, which browsers do not know


def _changed(pattern: str, note: str, change: Callable[[re.Match[str]], str]) -> str:
    changed = re.sub(pattern, change, note, count=1)
    assert changed != note
    return changed


TAMPERING: dict[str, Callable[[Any], Any]] = {
    "entry": lambda proof: proof["entries"][0].update(
        entry=_changed("identity", proof["entries"][0]["entry"], lambda _: "identitx")
    ),
    "place": lambda proof: proof["entries"][0].update(index=proof["entries"][0]["index"] + 1),
    "order of steps": lambda proof: proof["entries"][0]["proof"].reverse(),
    "a step": lambda proof: proof["entries"][0]["proof"].pop(),
    "size": lambda proof: proof.update(
        checkpoint=_changed(r"\n(\d+)\n", proof["checkpoint"], lambda match: f"\n{int(match[1]) + 1}\n")
    ),
    "signature": lambda proof: proof.update(
        checkpoint=_changed(
            r"(— yhdyspinta\S+ \S{12})(.)",
            proof["checkpoint"],
            lambda match: match[1] + ("A" if match[2] != "A" else "B"),
        )
    ),
    "nothing": lambda proof: proof.update(entries=[]),
}


@pytest.mark.parametrize("tamper", TAMPERING)
def test_a_proof_that_was_tampered_with_does_not_hold_in_the_browser(
    page: Page, console: Running, tmp_path: Path, tamper: str
) -> None:
    record(page, console, "to-kotka")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the proof").click()
    proof = json.loads(download.value.path().read_bytes())
    key = VerifierKey.parse(str(console.world.desk.log_key))
    assert verify_export(json.dumps(proof).encode(), log_key=key).sound
    page.goto(f"{console.address}/log/verify")
    file = tmp_path / "proof.json"
    file.write_text(json.dumps(proof))
    page.locator("#file").set_input_files(file)
    expect(page.locator("#verdict.good")).to_be_visible()

    TAMPERING[tamper](proof)
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(proof))
    page.locator("#file").set_input_files(changed)

    expect(page.locator("#verdict.bad")).to_be_visible()


def test_a_proof_under_another_logs_key_does_not_hold(page: Page, console: Running) -> None:
    record(page, console, "to-kotka")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the proof").click()
    page.goto(f"{console.address}/log/verify")
    page.locator("#key").fill("other+00000000+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
    page.locator("#file").set_input_files(download.value.path())

    expect(page.locator("#verdict.bad")).to_be_visible()


def test_the_browsers_verdict_is_that_of_the_command_for_every_entry(page: Page, console: Running) -> None:
    """Every place in the tree: all shapes of proof that a log of this size has."""
    page.goto(f"{console.address}/log/verify")
    key = console.world.desk.log_key
    verdicts = page.evaluate(
        """async ([count, key]) => {
            const { verify } = await import("/static/verify.js");
            const found = [];
            for (let index = 0; index < count; index++) {
                const proof = await (await fetch(`/entries/${index}/proof`)).json();
                const steps = await verify(proof, key);
                proof.entries[0].index = (index + 1) % count;
                const moved = await verify(proof, key);
                found.push([steps.every(([, holds]) => holds !== false), moved.every(([, holds]) => holds !== false)]);
            }
            return found;
        }""",
        [40, str(key)],
    )

    assert verdicts == [[True, False]] * 40


def test_the_extract_is_printed_to_pdf_without_the_frame_around_it(page: Page, console: Running) -> None:
    find(page, console, HETU)
    page.get_by_role("link", name="Extract for the person").click()
    page.get_by_role("link", name="in English").click()
    expect(page.locator(".sheet h1")).to_have_text("Disclosures of your data")

    page.emulate_media(media="print")
    for part in (".top", ".menu", ".foot", "[data-print]"):
        expect(page.locator(part)).not_to_be_visible()
    pdf = page.pdf(format="A4", prefer_css_page_size=True, tagged=True)

    assert pdf.startswith(b"%PDF-")
    pages = max(int(count) for count in re.findall(rb"/Count (\d+)", pdf))
    assert 1 <= pages <= 4
    assert HETU not in page.content()


def test_what_was_found_is_exported(page: Page, console: Running) -> None:
    page.goto(f"{console.address}/search?type=delivery")
    for name, ending, mark in (("CSV", ".csv", b"index;recorded"), ("FHIR", ".json", b'"AuditEvent"')):
        with page.expect_download() as download:
            page.get_by_role("link", name=name, exact=True).click()
        assert download.value.suggested_filename.endswith(ending)
        assert mark in download.value.path().read_bytes()


def test_filters_answer_without_loading_the_page_anew(page: Page, console: Running) -> None:
    page.goto(f"{console.address}/search")
    page.evaluate("window.mark = 1")
    page.get_by_label("Outcome").select_option("refused")

    expect(page.locator("#results tbody tr .tag").first).to_have_text("refused")
    page.wait_for_url("**/search?**outcome=refused**")
    assert page.evaluate("window.mark") == 1


def test_results_go_on_over_pages_and_every_entry_comes_once(page: Page, console: Running) -> None:
    page.goto(f"{console.address}/search?order=oldest")
    numbers = page.locator("#results a.number").all_inner_texts()
    page.locator("a[rel=next]").click()
    page.wait_for_url("**after=**")
    numbers += page.locator("#results a.number").all_inner_texts()

    assert len(numbers) == len(set(numbers))
    assert len(numbers) > 50


def test_a_review_is_signed_off_by_keyboard_alone(context: BrowserContext, tmp_path: Path) -> None:
    with made(tmp_path) as world, serving(world) as running:
        page = context.new_page()
        page.goto(f"{running.address}/link/{world.link()}")
        _tab_to(page, "main button")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{running.address}/")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        _tab_to(page, '.menu a[href="/reviews"]')
        page.keyboard.press("Enter")
        page.wait_for_url("**/reviews")
        _tab_to(page, 'main a[href^="/reviews/"]')
        page.keyboard.press("Enter")
        page.wait_for_url("**/reviews/*")
        _tab_to(page, "input[name=verdict]")
        page.keyboard.press("Space")
        page.keyboard.press("ArrowDown")
        _tab_to(page, "#remark")
        page.keyboard.type("Asked the ward.")
        _tab_to(page, "main form button")
        page.keyboard.press("Enter")

        expect(page.get_by_role("heading", name="Signed off")).to_be_visible()
        expect(page.locator(".sealed-box")).to_contain_text("Explained")
        expect(page.locator(".sealed-box")).to_contain_text("Asked the ward.")
        page.goto(f"{running.address}/search?type=decision")
        expect(page.locator("#results tbody tr")).to_have_count(1)


def test_patterns_are_looked_for_and_land_in_the_queue(context: BrowserContext, tmp_path: Path) -> None:
    with made(tmp_path) as world, serving(world) as running:
        page = context.new_page()
        sign_in(page, running)
        page.goto(f"{running.address}/reviews")
        page.get_by_label("Look for patterns in the last").select_option("7")
        page.get_by_role("button", name="Look").click()

        expect(page.locator("#patterns + ul li").first).to_contain_text("Again and again in vain")


def _tab_to(page: Page, selector: str) -> None:
    """Press Tab until the focus is there; what has the focus is always to be seen."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("([s]) => document.activeElement.matches(s)", [selector]):
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", f"{selector} has the focus and does not show it"
            return
    pytest.fail(f"{selector} cannot be reached by Tab")


@pytest.mark.parametrize(
    ("language", "name", "title"),
    [
        ("fi", "Suomi", "Mitä tiedoille tapahtuu"),
        ("sv", "Svenska", "Vad som händer med uppgifterna"),
    ],
)
def test_every_page_speaks_the_language_that_was_chosen(
    page: Page, console: Running, language: str, name: str, title: str
) -> None:
    page.get_by_role("link", name=name, exact=True).click()
    page.wait_for_url(f"{console.address}/")

    expect(page.locator("h1")).to_have_text(title)
    for path in every_page(page, console):
        page.goto(console.address + path)
        assert page.locator("html").get_attribute("lang") == language, path
        assert "taken" not in page.title(), f"{path}: a stored script has run"


def test_the_health_of_the_log_names_the_nodes_that_it_was_shown_to(page: Page, console: Running) -> None:
    page.goto(f"{console.address}/log")

    rows = page.locator("section[aria-labelledby=proven] tbody tr")
    expect(rows).to_have_count(2)
    assert [re.split(r"\t|\n", row)[:2] for row in rows.all_inner_texts()] == [
        ["kotka.demo", "1\N{NO-BREAK SPACE}200"], ["kymenlaakso.demo", "3"],
    ]  # fmt: skip
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_axe_finds_nothing_on_any_page_and_each_is_light(page: Page, console: Running) -> None:
    axe = Axe()
    faults: list[str] = []
    outside = [f"{console.address}/sign-in", f"{console.address}/link/x", f"{console.address}/nowhere"]
    for address in [*(console.address + path for path in every_page(page, console)), *outside]:
        page.goto(address)
        weights = page.evaluate(WEIGHTS)
        found = axe.run(
            page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
        )
        if found.violations_count:
            faults.append(f"{address}\n{found.generate_report()}")
        assert 0 < sum(weights.values()) < HEAVIEST, (address, weights)
    assert not faults, "\n".join(faults)


def test_no_page_scrolls_sideways_on_a_narrow_screen_or_at_400_per_cent(browser: Browser, console: Running) -> None:
    width = 320  # of 1280, at 400 per cent
    context = context_of(browser, locale="en-GB", viewport={"width": width, "height": 700})
    page = context.new_page()
    sign_in(page, console)
    for path in every_page(page, console):
        page.goto(console.address + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    menu = page.get_by_role("button", name="Menu")
    menu.click()
    expect(page.locator(".menu a").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".menu a").first).not_to_be_visible()
    expect(menu).to_be_focused()
    context.close()


def test_without_scripts_every_page_still_works(browser: Browser, console: Running) -> None:
    context = context_of(browser, locale="en-GB", java_script_enabled=False)
    page = context.new_page()
    sign_in(page, console)
    find(page, console, HETU)

    expect(page.get_by_role("heading", name="Data was disclosed 17 times")).to_be_visible()
    page.goto(f"{console.address}/search")
    page.get_by_label("Outcome").select_option("refused")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#results tbody tr .tag").first).to_have_text("refused")
    context.close()
