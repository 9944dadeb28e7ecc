"""The workbench in a real browser: live on save, provenance by pointer and keyboard, findings, who gets what."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from adapters.scaffold.writing import new
from gateway.demo.leash import leashed
from tests.adapters.tools.samples import abbreviated_finnish
from tests.browsing import chromium, context_of
from tests.waiting import wait

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    unseen = abbreviated_finnish()
    tmp_path = tmp_path_factory.mktemp("workbench")
    (tmp_path / unseen.file).write_bytes(unseen.data)
    return new(unseen.name, tmp_path / unseen.file, tmp_path).folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """A workbench on that folder, started as a developer starts it."""
    command = [sys.executable, "-u", "-m", "gateway", "adapter", "watch", str(folder)]
    running = subprocess.Popen(
        leashed([*command, "--port", "0", "--no-open", "--language", "en"]),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert running.stdout is not None
    line = running.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+/", line)
    assert found, line
    yield found[0]
    running.send_signal(signal.SIGINT)
    assert running.wait() == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The workbench's page; at the end, nothing was fetched from elsewhere and nothing complained."""
    context = context_of(browser, viewport={"width": 1400, "height": 1000}, reduced_motion="reduce")
    shown = context.new_page()
    complaints: list[str] = []
    asked: list[str] = []
    shown.on("console", lambda message: complaints.append(message.text))
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.on("request", lambda request: asked.append(request.url))
    shown.goto(address)
    shown.wait_for_selector(".value")
    yield shown
    context.close()
    assert {urlsplit(one).netloc for one in asked if not one.startswith("data:")} == {urlsplit(address).netloc}
    assert complaints == []


@pytest.fixture
def mapping(folder: Path) -> Iterator[Path]:
    """The mapping under someone's hands, as it was before and after."""
    path = folder / "itaraja" / "mapping.yaml"
    before = path.read_text("utf-8")
    yield path
    path.write_text(before, encoding="utf-8")


def edit(mapping: Path, old: str, instead: str) -> None:
    text = mapping.read_text("utf-8")
    assert old in text
    mapping.write_text(text.replace(old, instead), encoding="utf-8")


def accessible(page: Any) -> str:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page)
    return "" if found.violations_count == 0 else found.generate_report()


def test_an_edited_mapping_shows_at_once_and_a_fault_is_told_at_its_line(page: Any, mapping: Path) -> None:
    before = page.locator('.value[data-from="Snimi"] .shown').inner_text()
    assert page.locator(".cell.left", has_text="Kenkäkoko").locator(".finding.warning").count() == 1

    edit(mapping, "ignored: [", "ignored: [Kenkäkoko, ")
    page.locator(".cell.ignored", has_text="Kenkäkoko").wait_for()
    edit(mapping, "given: {from: Kutsumanimi, as: words}", "given: {from: Snimi, as: words}")
    page.locator('.value.changed[data-from="Snimi"]', has_text="name.given").wait_for()
    edit(mapping, 'birthDate: {from: "Synt.pvm", as: fi-date}', 'birthDate: {from: "Synt.pvm", as: fi-dat}')
    page.locator(".fault").wait_for()

    assert page.locator("#live").inner_text().startswith("Updated")
    assert page.locator('.value[data-from="Snimi"] .shown').all_inner_texts() == [before, before]
    fault = page.locator(".fault").inner_text()
    assert re.search(r"mapping\.yaml:\d+:\d+", fault)
    assert "did you mean 'fi-date'?" in fault
    assert "as: fi-dat" in page.locator(".lines .here").inner_text()
    assert accessible(page) == ""
    if picture := os.environ.get("WORKBENCH_PICTURES"):
        page.screenshot(path=f"{picture}/fault.png", full_page=True)


def test_a_value_shows_its_cell_by_pointer_and_by_keyboard(page: Any) -> None:
    page.hover('.value[data-from="Synt.pvm"]')

    assert page.locator(".cell.lit dt").all_inner_texts() == ["Synt.pvm"]
    assert page.locator("#origin").inner_text() == "birthDate ← Synt.pvm, row 2, by fi-date"
    page.hover('[data-cell="Lupatyyppi"]')
    assert page.locator(".value.lit .target").all_inner_texts() == [
        "residence-permit.ground",
        "residence-permit.granted",
    ]

    page.mouse.move(1, 1)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached: list[str] = []
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.value')"):
            reached.append(page.evaluate("document.activeElement.dataset.from"))
            assert page.evaluate("document.querySelector('.cell.lit').dataset.cell") == reached[-1]
            if reached[-1] == "Synt.pvm":
                break
    assert "Synt.pvm" in reached
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    assert page.locator('.value[aria-pressed="true"]').get_attribute("data-from") == "Synt.pvm"
    assert page.locator("#origin").inner_text() == "birthDate ← Synt.pvm, row 2, by fi-date"


def test_records_and_flows_are_chosen_by_keyboard_and_the_focus_stays(page: Any) -> None:
    page.focus('[data-key="record-3"]')
    page.keyboard.press("Enter")
    page.locator('[data-key="record-3"][aria-current="true"]').wait_for()

    assert page.evaluate("document.activeElement.dataset.key") == "record-3"
    assert "record=3" in page.url
    page.focus('[data-key="flow-F3"]')
    page.keyboard.press("Enter")
    page.locator('[data-key="flow-F3"][aria-current="true"]').wait_for()
    assert "record=3" in page.url
    page.go_back()
    page.locator('[data-key="flow-F1"][aria-current="true"]').wait_for()


def test_who_would_get_each_field_under_which_basis(page: Any) -> None:
    head = [one.split("\n")[0] for one in page.locator(".recipients thead th").all_inner_texts()]
    assert head[2:] == ["Municipality", "Wellbeing services county"]

    row = page.locator(".recipients tbody tr", has_text="ServiceRequest.code").first
    kind = row.locator("td").nth(0).inner_text()
    municipality, county = row.locator("td").nth(1), row.locator("td").nth(2)

    if kind == "health service needs":
        assert "not" in (municipality.get_attribute("class") or "")
        assert "needs consent" in municipality.inner_text()
    # The export does not say how the person moves, on which the county's right rests (681/2023 83 §).
    name = page.locator(".recipients tbody tr", has_text="name.family")
    assert (name.locator("td.gets").count(), name.locator("td.not").count()) == (1, 1)
    assert page.locator(".recipients td.gets").first.inner_text().strip() != "✓"
    assert county.get_attribute("class") in {"gets", "not"}


def test_one_click_ignores_a_column_and_undo_brings_the_text_back(page: Any, mapping: Path) -> None:
    before = mapping.read_text("utf-8")
    button = page.locator(".cell.left", has_text="Kenkäkoko").get_by_role("button", name="Ignore by name")
    button.focus()
    page.keyboard.press("Enter")
    page.locator(".cell.ignored", has_text="Kenkäkoko").wait_for()

    after = mapping.read_text("utf-8")
    assert after == before.replace("ignored: [Päivitetty]", "ignored: [Päivitetty, Kenkäkoko]")
    assert after != before
    assert accessible(page) == ""
    page.get_by_role("button", name="Undo the last change").click()
    page.locator(".cell.left", has_text="Kenkäkoko").wait_for()
    assert mapping.read_text("utf-8") == before


def test_column_is_mapped_and_a_protecting_fact_is_declared_by_a_click(page: Any, mapping: Path) -> None:
    declare = page.get_by_role("button", name="The source cannot know this: safety-prohibition")
    declare.click()
    declare.wait_for(state="detached")
    assert "\ncannot-say: [safety-prohibition]\n" in mapping.read_text("utf-8")

    cell = page.locator(".cell.left", has_text="Kenkäkoko")
    cell.locator("select").select_option("unaccompanied")
    cell.get_by_role("button", name="Map to").click()
    wanted = "guardianship: {unaccompanied: {from: Kenkäkoko, as: yes-no}}"
    wait(lambda: wanted in mapping.read_text("utf-8"))


@pytest.mark.parametrize(
    ("column", "line", "concept", "written"),
    [
        ("Snimi", "family: {from: Snimi}, ", "family-name", "family: {from: Snimi}}]"),
        (
            "Kutsumanimi",
            ", given: {from: Kutsumanimi, as: words}",
            "given-names",
            "given: {from: Kutsumanimi, as: words}}]",
        ),
        (
            "Äid.kieli",
            '    communication: [{language: {from: "Äid.kieli", as: code language}, preferred: true}]\n',
            "language",
            '    communication: [{language: {from: "Äid.kieli", as: code language}, preferred: true}]\n',
        ),
        (
            "Tuen tarpeet",
            '  ServiceRequest:\n    each: {split: "Tuen tarpeet", by: "/"}\n    code: {from: ., as: code need}\n',
            "service-needs",
            '  ServiceRequest: {each: {split: Tuen tarpeet, by: "/"}, code: {from: ".", as: code need}}\n',
        ),
        (
            "Puh.nro",
            '      - {system: phone, value: {from: "Puh.nro", as: phone}}\n',
            "phone",
            'as: email}}\n      - {system: phone, value: {from: "Puh.nro", as: phone}}\n',
        ),
        (
            "Lähiosoite",
            "line: [{from: Lähiosoite}], ",
            "street",
            ", line: [{from: Lähiosoite}]}]\n",
        ),
    ],
    ids=["family name", "given names", "language", "needs", "telephone", "street"],
)
def test_what_is_told_of_a_person_is_mapped_by_a_click_as_they_are_proposed(
    page: Any, mapping: Path, column: str, line: str, concept: str, written: str
) -> None:
    edit(mapping, line, "")
    cell = page.locator(".cell.left", has_text=column)
    cell.wait_for()
    assert cell.locator("select").input_value() == concept, "it is what was recognised"

    cell.get_by_role("button", name="Map to").click()
    page.locator(".cell.taken", has_text=column).wait_for()

    assert written in mapping.read_text("utf-8")
    assert page.locator(".fault").count() == 0


def test_value_is_added_to_its_table_by_a_click(page: Any, mapping: Path) -> None:
    edit(mapping, ", neuvola: maternity-care", "")
    finding = page.locator(".every .finding", has_text="code-unknown").first
    finding.wait_for()
    finding.locator("a").first.click()
    button = page.get_by_role("button", name="Add “neuvola” to the table need").first
    button.wait_for()
    page.locator("form", has=button).locator("select").select_option("maternity-care")
    button.click()
    button.wait_for(state="detached")

    assert "koulu: basic-education, neuvola: maternity-care}" in mapping.read_text("utf-8")


def test_a_file_that_changed_meanwhile_is_refused_with_or_without_scripts(
    browser: Any, address: str, mapping: Path
) -> None:
    context = context_of(browser, java_script_enabled=False)
    plain = context.new_page()
    plain.goto(f"{address}?language=en")
    edit(mapping, "version: 1", "version: 2")
    plain.locator(".cell.left", has_text="Kenkäkoko").get_by_role("button", name="Ignore by name").click()
    assert "The file has changed since you saw it" in plain.locator('[role="alert"]').inner_text()
    assert "Kenkäkoko]" not in mapping.read_text("utf-8")

    plain.locator(".cell.left", has_text="Kenkäkoko").get_by_role("button", name="Ignore by name").click()
    plain.locator(".cell.ignored", has_text="Kenkäkoko").wait_for()
    assert "Kenkäkoko]" in mapping.read_text("utf-8")
    context.close()


def test_form_of_another_page_writes_nothing(address: str, mapping: Path) -> None:
    before = mapping.read_text("utf-8")
    token = re.search(r'name="token" value="([^"]+)"', read(address))
    digest = re.search(r'name="digest" value="([^"]+)"', read(address))
    assert token is not None
    assert digest is not None
    good = {"kind": "ignore", "name": "Kenkäkoko", "digest": digest[1], "token": token[1]}

    own = address.rstrip("/")
    assert post(address, {**good, "token": ""}, own) == 403
    assert post(address, {**good, "token": "x" * 32}, own) == 403
    assert post(address, good, "http://evil.example") == 403
    assert post(address, good, "null") == 403
    assert post(address, {**good, "kind": "no-such"}, own) == 409
    assert post(address, {**good, "name": "x" * 20_000}, own) == 413
    assert mapping.read_text("utf-8") == before
    assert post(address, good, own) == 303


def read(address: str) -> str:
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    connection.request("GET", "/")
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def post(address: str, form: dict[str, str], origin: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    headers = {"Origin": origin, "Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/edit", urlencode(form), headers)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize("language", ["fi", "sv", "en"])
def test_every_language_is_accessible_and_fits_its_window(page: Any, address: str, language: str) -> None:
    heading = {"fi": "Kuka tämän saisi", "sv": "Vem skulle få detta", "en": "Who would get this"}[language]
    for width in (1400, 480) if language == "fi" else (800,):
        page.set_viewport_size({"width": width, "height": 1000})
        page.goto(f"{address}?language={language}")
        page.locator("h2", has_text=heading).wait_for()

        assert accessible(page) == ""
        assert page.evaluate("document.documentElement.lang") == language
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_workbench_answers_to_loopback_only_and_lets_nothing_in(address: str) -> None:
    port = urlsplit(address).port

    def ask(host: str, path: str = "/") -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), body

    status, headers, _ = ask(f"127.0.0.1:{port}")
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    for stranger in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example"):
        status, _, body = ask(stranger)
        assert status == 421
        assert b"itaraja" not in body
    assert ask(f"localhost:{port}", "/static/..%2f..%2fsdk%2ffolders.py")[0] == 404
    assert ask(f"localhost:{port}", "/static/texts.yaml")[0] == 404
