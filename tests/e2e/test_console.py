"""The data protection officer's console of a running node: let in by the command, with the node's own pages."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from audit.tree.verify import verify_export
from gateway.demo.network import Terms
from tests import parts
from tests.browsing import chromium, context_of
from tests.e2e.conftest import Stage, network
from tests.former import former_rulebook
from tests.gateway.console.test_browser import HEAVIEST, WEIGHTS
from tests.gateway.rulebooks import without
from tests.nursery import said
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.browser]
T = TypeVar("T")
PAGES = ("/handovers", "/registry", "/rulebook", "/rulebook/cases", "/rulebook/change")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def _aside(work: Callable[[], T]) -> T:
    """Do something in a thread of its own: the browser's event loop runs in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


@contextmanager
def running_network(folder: Path, **settings: Any) -> Iterator[Stage]:
    """The demo's network under the former rulebook, whose start waits in an event loop of its own."""
    started = network(folder, terms=Terms(former_rulebook()), **settings)
    # What a thread starts ends with that thread: this one lives as long as the network.
    with ThreadPoolExecutor(1) as thread:
        stage = thread.submit(started.__enter__).result()
        try:
            yield stage
        finally:
            thread.submit(started.__exit__, None, None, None).result()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The demo's network; the first person was handed over and accepted."""
    parts.tool("chromium")
    with running_network(tmp_path_factory.mktemp("console")) as stage:

        async def hand_over() -> None:
            await stage.post(
                "centre", "/hand-over", {"rows": [stage.row("p01-asylum-adult")], "flow": "F1", "key": "first"}
            )
            await until(stage.handovers, lambda all_: any(one["state"] == "completed" for one in all_))

        _aside(lambda: asyncio.run(hand_over()))
        yield stage


def link(stage: Stage, role: str, party: str = "centre") -> str:
    """What `yhdyspinta console link` prints."""
    config = stage.network.parties[party].config
    command = ["-m", "gateway", "console", "link", "--config", str(config), "--role", role, "--json"]
    found: str = json.loads(said(command, config.parent))["link"]
    return found


@pytest.fixture(scope="module")
def page(browser: Browser, stage: Stage) -> Iterator[Page]:
    context = context_of(browser, locale="en-GB", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    enter(page, stage, "officer")
    yield page
    context.close()


def enter(page: Page, stage: Stage, role: str) -> None:
    address = link(stage, role)
    assert address.startswith(stage.network.parties["centre"].console_address + "/link/")
    page.goto(address)
    page.locator("main button").click()
    page.wait_for_url(re.compile(r"^http://localhost:\d+/$"))


def home(stage: Stage) -> str:
    return stage.network.parties["centre"].console_address


def test_the_officer_finds_a_person_of_the_register_and_the_names_of_the_registry(page: Page, stage: Stage) -> None:
    page.goto(f"{home(stage)}/people")
    page.get_by_label("customer number").check()
    page.locator("#value").fill(stage.key("p01-asylum-adult"))
    page.locator("#value").press("Enter")
    page.wait_for_url("**/people/*")

    expect(page.locator(".receivers")).to_contain_text("City of Kotka (demo)")
    expect(page.locator(".receivers")).to_contain_text("Kymenlaakso county (demo)")
    page.locator("a.number").first.click()
    # Whichever of the two disclosures came last: the municipality's basis or the county's.
    expect(page.locator(".facts")).to_contain_text(re.compile("681/2023|612/2021"))
    expect(page.get_by_role("heading", name="Why it was decided so")).to_be_visible()
    expect(page.get_by_text("byte for byte the same came out")).to_be_visible()
    page.get_by_role("button", name="Verify in this browser").click()
    expect(page.locator("#verdict.good")).to_be_visible()


def test_the_board_shows_what_was_accepted_and_by_whom(page: Page, stage: Stage) -> None:
    page.goto(f"{home(stage)}/handovers")

    expect(page.locator("#over + article")).to_contain_text("F1 · service needs")
    expect(page.locator("#over + article")).to_contain_text("vastaanottotiimi")
    expect(page.get_by_text("No handover is overdue.")).to_be_visible()
    page.locator("#over + article").get_by_role("link", name="See its course").click()
    expect(page.locator(".timeline h2").first).to_contain_text("Handover")
    expect(page.locator(".timeline")).to_contain_text("Acceptance")


def test_one_reference_opens_the_whole_story_with_the_law_beside_it_and_its_proof(
    page: Page, stage: Stage, tmp_path: Path
) -> None:
    handover = _aside(lambda: asyncio.run(stage.handovers()))[0]["id"]
    page.goto(f"{home(stage)}/cases")
    page.locator("#reference").fill(handover)
    page.locator("#reference").press("Enter")
    page.wait_for_url("**/stories/*")

    story = page.locator(".timeline")
    expect(story).to_contain_text(re.compile("681/2023|612/2021"))
    expect(story.get_by_text("Why it was decided so").first).to_be_visible()
    expect(story.get_by_text("byte for byte the same came out").first).to_be_visible()
    expect(page.locator(".holders").first).to_contain_text("Example reception centre")
    page.emulate_media(media="print")
    expect(page.locator(".print-only")).to_contain_text("Example reception centre")
    expect(page.locator("nav#menu")).not_to_be_visible()
    page.emulate_media(media="screen")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the proofs of all these records").click()
    file = tmp_path / "proofs.json"
    download.value.save_as(file)
    report = verify_export(file.read_bytes())
    assert report.sound
    assert page.locator(".timeline > li").count() == len(json.loads(file.read_text("utf-8"))["entries"])


def test_a_handover_that_nobody_accepts_becomes_overdue_and_stays_in_sight(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running_network(
        tmp_path_factory.mktemp("late"), environment={"YHDYSPINTA_DELIVERY__OVERDUE_HOURS": "0.0002"}
    ) as stage:
        for party in ("kotka", "kymenlaakso"):
            stage.processes.kill(f"{party}-system")

        async def hand_over() -> None:
            await stage.post(
                "centre", "/hand-over", {"rows": [stage.row("p01-asylum-adult")], "flow": "F1", "key": "first"}
            )

            async def late() -> Any:
                answer = await stage.call("centre", "GET", "/v1/handovers?state=overdue", expect=200)
                return answer["body"]["handovers"]

            await until(late, bool)

        _aside(lambda: asyncio.run(hand_over()))
        context = context_of(browser, locale="fi-FI")
        page = context.new_page()
        enter(page, stage, "operator")
        page.goto(f"{home(stage)}/handovers")

        expect(page.locator("#late")).to_have_text("Myöhässä 1")
        expect(page.locator("article.late")).to_contain_text("Kotkan kaupunki (demo)")
        expect(page.locator("article.late .tag.wait").first).to_have_text("perillä, odottaa vastuunottoa")
        context.close()


def test_the_registry_page_says_who_is_who(page: Page, stage: Stage) -> None:
    page.goto(f"{home(stage)}/registry")

    expect(page.locator("article").first).to_contain_text("Example reception centre")
    expect(page.locator("article").first).to_contain_text("our own")
    expect(page.locator("article")).to_have_count(len(stage.network.parties))
    expect(page.get_by_role("row", name=re.compile("Kotka 285"))).to_contain_text("Kymenlaakso")


def test_the_rulebook_page_marks_what_no_lawyer_has_signed_off(page: Page, stage: Stage) -> None:
    page.goto(f"{home(stage)}/rulebook")

    unreviewed = page.locator("article", has_text="not signed off by a lawyer")
    assert unreviewed.count() >= 20
    expect(page.locator(".doubt")).to_contain_text("have not been signed off")
    expect(page.locator("article", has_text="1386/2010").first).to_contain_text("not in force")


def test_moving_the_day_shows_the_law_change(page: Page, stage: Stage) -> None:
    page.goto(f"{home(stage)}/rulebook/cases?case=p01-asylum-adult&on=2022-12-31")
    kotka = page.locator(".verdicts article", has_text="arranging reception in the municipality")
    expect(kotka.first).to_contain_text("health service needs")
    page.evaluate("window.mark = 1")

    page.locator("#day").press("ArrowRight")

    expect(page.locator("#shown")).to_contain_text("1 January 2023")
    expect(page.locator("#gets")).to_contain_text("1 January 2023")
    changed = page.locator(".verdicts article", has_text="arranging reception in the municipality").first
    expect(changed.locator(".chips").first).not_to_contain_text("health service needs")
    expect(changed).to_contain_text("gone")
    assert page.evaluate("window.mark") == 1, "the page was loaded anew"


def test_the_officer_sees_what_a_new_rulebook_would_have_changed(page: Page, stage: Stage, tmp_path: Path) -> None:
    """By a file, in the browser; what comes out is light and without faults, and its records can be opened."""
    proposal = tmp_path / "proposal.json"
    proposal.write_text(without("language"), "utf-8")
    page.goto(f"{home(stage)}/rulebook")
    page.get_by_role("link", name="What would a new rulebook change?").click()
    page.get_by_label("The proposal as a file").set_input_files(proposal)
    expect(page.get_by_label("The text of the proposal")).to_have_value(re.compile("fi-kotoutuminen"))
    page.get_by_label("From", exact=True).fill("2020-01-01")
    page.get_by_role("button", name="Compare").click()

    expect(page.get_by_role("status")).to_have_text(
        re.compile(r"^Recorded decisions that would have gone otherwise: \d+ of \d+\.$")
    )
    rows = page.locator("#turns tbody tr")
    expect(rows).to_have_count(2)
    for row, purpose in zip(sorted(rows.all_inner_texts()), ("arranging reception", "arranging social"), strict=True):
        assert row.startswith(purpose)
        assert "language" in row
    expect(page.locator("#texts .tally")).to_have_text("116")
    assert page.locator("section", has=page.locator("#texts")).locator("tbody tr .tag.bad").count() == 50
    assert proposal.read_text("utf-8")[:200] not in page.content()
    weights = page.evaluate(WEIGHTS)
    assert 0 < sum(weights.values()) < HEAVIEST, weights
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    expect(page.get_by_label("From", exact=True)).to_have_value("2020-01-01")
    page.locator("a.number").first.click()
    expect(page.get_by_role("heading", name="Why it was decided so")).to_be_visible()


def test_a_proposal_that_is_no_rulebook_is_told_by_line(page: Page, stage: Stage) -> None:
    text = former_rulebook().decode()
    wrong = text.replace("permits: [pending, refused]", "permits: [pending, refusd]")
    line = text[: text.index("permits: [pending, refused]")].count("\n") + 1
    page.goto(f"{home(stage)}/rulebook/change")
    page.get_by_label("The text of the proposal").fill(wrong)
    page.get_by_label("To", exact=True).fill("2020-01-01")
    page.get_by_role("button", name="Compare").click()

    expect(page.get_by_role("alert")).to_contain_text("The text is not a valid rulebook.")
    expect(page.get_by_role("alert")).to_contain_text(f"line {line} /gaps/0/permits/1: there is no 'refusd'")
    expect(page.get_by_label("The text of the proposal")).to_be_focused()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()

    page.get_by_label("The text of the proposal").fill(text)
    page.get_by_label("From", exact=True).fill("2026-01-01")
    page.get_by_label("To", exact=True).fill("2020-01-01")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("alert")).to_have_text("The period ends before it begins.")


def test_the_question_works_without_scripts_and_is_the_officers_and_the_auditors(
    browser: Browser, stage: Stage
) -> None:
    context = context_of(browser, locale="fi-FI", java_script_enabled=False)
    page = context.new_page()
    enter(page, stage, "auditor")
    page.goto(f"{home(stage)}/rulebook/change")
    expect(page.locator("#file")).not_to_be_visible()
    page.locator("#rulebook").fill(former_rulebook().decode())
    page.get_by_role("button", name="Vertaa").click()
    expect(page.get_by_role("status")).to_contain_text("ei olisi mennyt toisin")
    expect(page.get_by_text("Säännöstöt päättävät kaikesta samoin.")).to_be_visible()
    assert re.search(r"sha-256:[0-9a-f]{64}", page.content())
    context.clear_cookies()
    enter(page, stage, "operator")
    page.goto(f"{home(stage)}/rulebook")
    assert page.locator('a[href="/rulebook/change"]').count() == 0
    answer = page.goto(f"{home(stage)}/rulebook/change")
    assert answer is not None
    assert answer.status == 403
    context.close()


def test_axe_finds_nothing_on_the_nodes_pages_and_they_are_light(page: Page, stage: Stage) -> None:
    axe = Axe()
    for number, path in enumerate(PAGES):
        for language in ("fi", "sv", "en"):
            page.goto(f"{home(stage)}{path}?language={language}", wait_until="networkidle")
            assert page.locator("html").get_attribute("lang") == language
            weights = page.evaluate(WEIGHTS)
            assert 0 < sum(weights.values()) < HEAVIEST, (path, weights)
            assert all(url.startswith(home(stage)) for url in weights)
            if language == ("fi", "sv", "en")[(number + 2) % 3]:
                found = axe.run(page)
                assert found.violations_count == 0, f"{path}\n{found.generate_report()}"
    page.goto(f"{home(stage)}/?language=en")


def test_a_link_works_once_and_only_on_a_node_that_has_a_console(stage: Stage, tmp_path: Path) -> None:
    config = stage.network.parties["centre"].config
    without = tmp_path / "node.toml"
    lines = config.read_text("utf-8").splitlines()
    without.write_text("\n".join(line for line in lines if not line.startswith("console")), "utf-8")
    assert "console" in tomllib.loads(config.read_text("utf-8"))["listen"]

    command = [sys.executable, "-m", "gateway", "console", "link", "--config", str(without)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "has no console" in done.stderr
