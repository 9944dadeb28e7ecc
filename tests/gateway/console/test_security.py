"""What must be refused at the console: each line of the threat list, from the outside, over HTTP."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import Connection
from starlette.requests import Request

from audit.log.entries import Agents, Entry, new_id
from audit.log.waiting import Written
from audit.questions.anomalies import Anomaly
from audit.questions.export import to_csv
from audit.questions.query import Filters, Found, by_id, search
from audit.questions.reviews import open_anomaly
from audit.questions.subjects import HETU_SYSTEM
from consent.rules.request import Emergency
from gateway.console.browser import read_form
from gateway.console.office import FORM_LIMIT
from gateway.console.pages import PAGES
from gateway.console.sessions import ROLES, Session, SessionError
from gateway.desk.roles import Role
from gateway.exchange.holding import keep_reason
from tests.gateway.console.conftest import (
    ATTACK,
    CENTRE,
    COUNTY,
    CUSTOMER,
    HETU,
    NOW,
    OTHER,
    UNKNOWN_HETU,
    Running,
    Visitor,
    World,
    hidden,
    serving,
)

KOTKA_MEMBER = "FI-DEMO/MUN/9000003-8"


def find(client: Visitor, running: Running, value: str, kind: str = "personal-identity-code") -> httpx.Response:
    form = {"csrf": hidden(client.get("/people")), "kind": kind, "value": value}
    return client.post("/people", data=form, headers={"origin": running.address})


def index_of(world: World, name: str) -> int:
    with world.engine.connect() as connection:
        found = by_id(connection, world.entries[name].id)
    assert found is not None
    return found.index


def reads(world: World, **filters: Any) -> list[Entry]:
    with world.engine.connect() as connection:
        wanted = Filters(types=("console-read", "export"), **filters)
        return [item.entry for item in search(connection, wanted, order="oldest", limit=1000).found]


#: Pages that open here. One standing request needs a registry and a key to sign with, and one task a delivery that it
#: came with: they have `test_asking` and `test_duties`.
OPENED = [page for page in PAGES if "GET" in page.methods and not page.path.startswith(("/requests/", "/tasks/"))]


def every_page(client: Visitor, running: Running) -> Iterator[str]:
    """The address of every page that can be opened, with something on it."""
    world = running.world
    person = find(client, running, HETU).headers["location"]
    places = {
        "{handle}": person.rsplit("/", 1)[1],
        "{form}": "csv",
        "{of}": "en",
        "{index}": str(index_of(world, "to-kotka")),
        "{id}": world.entries["plan"].id,
        "{key}": world.desk.subjects.case("ASIA-7"),
        "{entry}": world.entries["emergency"].id,
        "{year}": "2026",
    }
    for page in OPENED:
        path = page.path
        for place, value in places.items():
            path = path.replace(place, value)
        yield path


# -- CSRF -------------------------------------------------------------------------------------------------------------


def posted(running: Running) -> list[tuple[str, dict[str, str]]]:
    entry = running.world.entries["emergency"].id
    return [
        ("/people", {"kind": "personal-identity-code", "value": HETU}),
        ("/cases", {"reference": "ASIA-7"}),
        (f"/reviews/{entry}", {"verdict": "justified", "remark": "checked"}),
        ("/reviews/look", {"days": "7"}),
        ("/log", {"note": "x"}),
        ("/log", {"act": "check"}),
        ("/sign-out", {}),
    ]


@pytest.mark.parametrize(
    "forgery", ["no token", "another session's token", "another site", "no origin", "cross-site fetch"]
)
def test_a_form_that_is_not_our_own_does_nothing(running: Running, forgery: str) -> None:
    client = running.enter()
    own, other = hidden(client.get("/people")), hidden(running.enter().get("/people"))
    headers = {"origin": running.address}
    token = own
    if forgery == "no token":
        token = ""
    elif forgery == "another session's token":
        token = other
    elif forgery == "another site":
        headers = {"origin": "https://evil.example"}
    elif forgery == "no origin":
        headers = {}
    else:
        headers = {"origin": running.address, "sec-fetch-site": "cross-site"}

    for path, form in posted(running):
        answer = client.post(path, data={**form, "csrf": token}, headers=headers)
        assert answer.status_code == 403, path

    assert client.get("/").status_code == 200, "still signed in"
    assert "Sign off as reviewed" in client.get(f"/reviews/{running.world.entries['emergency'].id}").text
    assert any(entry.outcome == "refused" for entry in reads(running.world))


def test_an_emergency_about_a_disputed_person_says_so_wherever_it_is_reviewed(running: Running) -> None:
    client = running.enter()
    emergency = running.world.entries["emergency"]

    pages = {path: client.get(path).text for path in ("/reviews", f"/reviews/{emergency.id}")}

    assert [path for path, page in pages.items() if "Identity disputed" not in page] == []


def test_what_changes_something_cannot_be_asked_for_by_an_address(running: Running) -> None:
    client = running.enter()

    assert client.get("/reviews/look?days=7").status_code == 404 or client.get("/reviews/look").status_code == 405
    assert client.get("/sign-out").status_code == 404
    assert client.get("/").status_code == 200


# -- scripts ----------------------------------------------------------------------------------------------------------


def test_words_of_others_are_shown_as_words_on_every_page(running: Running) -> None:
    client = running.enter()
    shown = 0
    for path in every_page(client, running):
        answer = client.get(path)
        assert answer.status_code == 200, path
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        assert "<script>document" not in answer.text, path
        assert "<img src=x" not in answer.text, path
        shown += "&lt;script&gt;document" in answer.text

    assert shown >= 2, "the words must be shown somewhere, or this shows nothing"


REFLECTING = (
    "/search?member={}", "/search?from={}", "/search?type={}", "/search?after={}", "/search?{}=1", "/flow?days={}",
    "/entries/{}", "/stories/{}", "/cases/{}", "/people/{}", "/reviews/{}", "/processing/2026/{}", "/{}", "/link/{}",
    "/sign-in?{}", "/static/{}", "/?language={}", "/search/export/{}",
)  # fmt: skip


@pytest.mark.parametrize("attack", [ATTACK, '"><svg onload=alert(1)>', "'-alert(1)-'", "javascript:alert(1)"])
def test_words_in_an_address_never_become_markup(running: Running, attack: str) -> None:
    client = running.enter()
    for path in REFLECTING:
        answer = client.get(path.replace("{}", quote(attack, safe="")))

        assert answer.status_code < 500, path
        for piece in ("<script>document", "<svg onload", "<img src=x"):
            assert piece not in answer.text, path
        assert not re.search(r"""(href|src|action)=["']?(javascript|"><)""", answer.text), path


@pytest.mark.parametrize("path", ["/", "/sign-in", "/nowhere", "/search", "/static/console.js", "/static/nothing"])
def test_no_page_can_be_framed_or_run_a_script_that_is_not_ours(running: Running, path: str) -> None:
    answer = running.enter().get(path)

    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "style-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"


def test_pages_hold_no_script_and_no_style_of_their_own(running: Running) -> None:
    client = running.enter()
    for path in every_page(client, running):
        answer = client.get(path)
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        text = answer.text
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), path
        assert not re.search(r"<[a-z][^>]*\s(on\w+|style)=", re.sub(r"<(?=/?script>document|img src=x)", "", text)), (
            path
        )
        assert "<style" not in text, path


def test_pages_about_people_are_kept_in_no_cache(running: Running) -> None:
    client = running.enter()
    for path in every_page(client, running):
        assert client.get(path).headers["cache-control"] == "no-store", path


# -- who may see what -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_each_role_opens_its_own_pages_and_no_others(running: Running, role: Role) -> None:
    addresses = dict(zip((page.name for page in OPENED), every_page(running.enter(), running), strict=True))
    client = running.enter(role)

    for page in OPENED:
        if "{handle}" in page.path:
            continue
        status = client.get(addresses[page.name]).status_code
        assert status == (200 if role in page.roles else 403), (role, page.path)


@pytest.mark.parametrize("role", ["operator", "auditor"])
def test_only_the_officer_looks_for_people_and_signs_off(running: Running, role: Role) -> None:
    officer, client = running.enter(), running.enter(role)
    token, headers = hidden(client.get("/")), {"origin": running.address}
    entry = running.world.entries["emergency"].id

    person = client.post("/people", data={"csrf": token, "value": HETU}, headers=headers)
    look = client.post("/reviews/look", data={"csrf": token, "days": "7"}, headers=headers)
    client.post(f"/reviews/{entry}", data={"csrf": token, "verdict": "justified", "remark": "x"}, headers=headers)

    assert (person.status_code, look.status_code) == (403, 403)
    assert "Sign off as reviewed" in officer.get(f"/reviews/{entry}").text
    assert [one.detail["role"] for one in reads(running.world) if one.outcome == "refused"].count(role) >= 2


def test_reviews_of_one_entry_are_signed_off_one_by_one(running: Running) -> None:
    world, client = running.world, running.enter()
    emergency = world.entries["emergency"]

    def seen(connection: Connection) -> Written[None]:
        for rule in ("night-use", "bulk-lookups"):
            made = Anomaly(rule, "u-1", emergency.recorded, emergency.recorded, 5, 5, (emergency.id,))
            open_anomaly(connection, made, NOW)
        return Written(None, ())

    world.log.commit_blocking(seen)
    path, headers = f"/reviews/{emergency.id}", {"origin": running.address}
    queue = client.get("/reviews").text
    assert [queue.count(f"{path}?rule={rule}") for rule in ("break-glass", "night-use", "bulk-lookups")] == [1, 1, 1]
    page = client.get(f"{path}?rule=night-use")
    assert "<h1>Look-ups at night</h1>" in page.text
    assert '<input type="hidden" name="rule" value="night-use">' in page.text
    assert f'<a href="{path}?rule=bulk-lookups">Many look-ups in an hour</a>' in page.text
    assert client.get(f"{path}?rule=own-data").status_code == 404

    form = {"csrf": hidden(page), "verdict": "explained", "remark": "on duty"}
    for unclear in ({}, {"rule": "own-data"}):
        answer = client.post(path, data=form | unclear, headers=headers)
        assert (answer.status_code, "Choose which review you sign off." in answer.text) == (400, True)
    answer = client.post(path, data=form | {"rule": "night-use"}, headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{path}?rule=night-use")
    assert "Sign off as reviewed" not in client.get(f"{path}?rule=night-use").text
    assert client.post(path, data=form | {"rule": "night-use"}, headers=headers).status_code == 409
    for rule in ("bulk-lookups", "break-glass"):
        assert "Sign off as reviewed" in client.get(f"{path}?rule={rule}").text
    assert client.post(path, data=form | {"rule": "break-glass"}, headers=headers).status_code == 303
    assert client.post(path, data=form, headers=headers).status_code == 303, "the only one need not be named"
    with world.engine.connect() as connection:
        done = search(connection, Filters(types=("decision",)), order="oldest", limit=10).found
    assert [item.entry.detail["rule"] for item in done] == ["night-use", "break-glass", "bulk-lookups"]


def test_nothing_is_shown_to_who_has_not_signed_in(running: Running) -> None:
    addresses = list(every_page(running.enter(), running))
    stranger = running.client()

    for path in addresses:
        answer = stranger.get(path)
        assert (answer.status_code, answer.headers["location"], answer.text) == (303, "/sign-in", ""), path
    fragment = stranger.get("/search", headers={"hx-request": "true"})
    assert (fragment.status_code, fragment.headers["hx-redirect"], fragment.text) == (401, "/sign-in", "")


def test_a_members_officer_sees_no_entry_of_another_member(running: Running) -> None:
    client, world = running.enter(member=KOTKA_MEMBER), running.world
    foreign, own = index_of(world, "to-county"), index_of(world, "to-kotka")

    assert client.get(f"/entries/{own}").status_code == 200
    for path in (
        f"/entries/{foreign}",
        f"/entries/{foreign}/proof",
        f"/stories/{world.entries['to-county'].id}",
        f"/reviews/{world.entries['emergency'].id}",
    ):
        assert client.get(path).status_code == 404, path
    person = find(client, running, HETU).headers["location"]
    pages = ["/search", f"/search?member={COUNTY.rsplit('/', 1)[0]}", "/reviews", "/flow?days=365", "/withdrawals"]
    pages += ["/search/export/jsonl", "/search/export/csv", "/search/export/fhir", "/processing/2026/en", "/"]
    pages += [f"{person}{tab}" for tab in ("", "/events", "/consents", "/extract/en", "/export/jsonl")]
    pages += [f"/cases/{world.desk.subjects.case('ASIA-7')}", f"/stories/{world.entries['to-kotka'].id}"]
    for path in pages:
        answer = client.get(path)
        assert answer.status_code in (200, 404), path
        for mark in ("Kymenlaakso county", COUNTY, world.entries["to-county"].id, OTHER, "Placement authority"):
            assert mark not in answer.text.replace(f'value="{COUNTY.rsplit("/", 1)[0]}"', ""), (path, mark)


def test_a_persons_page_opens_in_the_session_that_found_them_and_nowhere_else(running: Running) -> None:
    finder, other = running.enter(), running.enter()
    person = find(finder, running, HETU).headers["location"]

    assert finder.get(person).status_code == 200
    assert other.get(person).status_code == 404
    assert finder.get(person[:-2] + ("AA" if person[-2:] != "AA" else "BB")).status_code == 404


def test_a_handle_says_nothing_about_whom_it_stands_for() -> None:
    session = Session(None, "", b"\x03" * 32)  # type: ignore[arg-type]
    one, two = session.handle("s-1"), session.handle("s-1")

    assert one != two
    assert session.subject(one) == session.subject(two) == "s-1"
    with pytest.raises(SessionError):
        Session(None, "", b"\x04" * 32).subject(one)  # type: ignore[arg-type]


# -- people cannot be guessed -----------------------------------------------------------------------------------------


def test_looking_for_somebody_known_and_unknown_takes_the_same_steps_and_gives_the_same_answer(
    running: Running,
) -> None:
    client, world = running.enter(), running.world
    steps, answers = [], []
    for value in (HETU, UNKNOWN_HETU):
        token = hidden(client.get("/people"))
        world.statements.clear()
        answer = client.post(
            "/people",
            data={"csrf": token, "kind": "personal-identity-code", "value": value},
            headers={"origin": running.address},
        )
        steps.append([one for one in world.statements if "audit_facets" not in one])
        answers.append((answer.status_code, answer.text, len(answer.headers), sorted(answer.headers)))

    assert steps[0] == steps[1]
    assert answers[0] == answers[1]


def test_an_unknown_person_has_a_page_that_says_so(running: Running) -> None:
    client = running.enter()
    person = find(client, running, UNKNOWN_HETU).headers["location"]

    for tab in ("", "/events", "/consents", "/extract", "/extract/en"):
        assert client.get(person + tab).status_code == 200, tab
    assert "The log has nothing about this person" in client.get(person).text
    assert client.get(person + "/export/jsonl").content == b""


@pytest.mark.parametrize(("kind", "value"), [("personal-identity-code", HETU), ("customer-number", CUSTOMER)])
def test_an_identifier_stays_out_of_addresses_pages_and_the_log(running: Running, kind: str, value: str) -> None:
    client = running.enter()
    answer = find(client, running, value, kind)

    person = answer.headers["location"]
    assert value not in person
    assert value not in client.get(person).text
    with running.world.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT body FROM audit_entries").scalars().all()
    assert rows
    assert not any(value in body for body in rows)


def test_a_wrong_identifier_is_told_without_being_looked_up(running: Running) -> None:
    client = running.enter()

    answer = find(client, running, "0101")

    assert answer.status_code == 400
    assert "Check the identifier" in answer.text
    assert "0101" not in answer.text.replace("010190-999W", "")


# -- on record --------------------------------------------------------------------------------------------------------


def test_every_page_that_is_read_is_an_entry_of_the_log(running: Running) -> None:
    client, world = running.enter(), running.world
    for path in every_page(client, running):
        before = len(reads(world))
        client.get(path)
        new = reads(world)[before:]
        assert len(new) == 1, path
        assert new[0].agents.user is not None
        assert "export" in (new[0].type, path) or new[0].type == "console-read" or "proof" in path


def test_a_read_of_a_person_is_found_among_that_persons_events(running: Running) -> None:
    client, world = running.enter(), running.world
    person = find(client, running, HETU).headers["location"]
    client.get(person)

    found = reads(world, subjects=(world.pseudonym,))

    assert [entry.detail["page"] for entry in found] == ["people", "person"]


def test_nothing_is_shown_when_the_log_cannot_record_it(running: Running) -> None:
    client = running.enter()
    person = find(client, running, HETU).headers["location"]
    running.world.log.close()

    for path in ("/", "/search", person, "/search/export/csv", f"/entries/{index_of(running.world, 'to-kotka')}"):
        answer = client.get(path)
        assert answer.status_code == 503, path
        assert "Kotka" not in answer.text


# -- exports ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", " ="])
def test_no_cell_of_an_export_is_a_formula(start: str) -> None:
    entry = Entry("query", "refused", NOW, agents=Agents(client=f"{start}cmd|'/c calc'!A1"), source=CENTRE)

    lines = "".join(to_csv([Found(0, entry)]))

    cells = list(csv.reader(io.StringIO(lines), delimiter=";"))[1]
    assert any("calc" in cell for cell in cells)
    assert not any(cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝")) for cell in cells)


def test_an_export_over_http_guards_its_cells_and_is_a_download(world: World) -> None:
    def unit(connection: Connection) -> Any:
        from audit.log.waiting import Written

        person = world.desk.subjects.find(connection, HETU_SYSTEM, HETU)
        assert person is not None
        evil = Entry("query", "refused", NOW, agents=Agents(client="=HYPERLINK(1)"), subject=person.pseudonym)
        return Written(None, [evil])

    world.log.commit_blocking(unit)
    with serving(world) as running:
        client = running.enter()
        answer = client.get("/search/export/csv")
        person = find(client, running, HETU).headers["location"]
        theirs = client.get(f"{person}/export/csv")

    for one in (answer, theirs):
        assert "'=HYPERLINK(1)" in one.text
        assert ";=HYPERLINK" not in one.text
        assert one.headers["content-disposition"].startswith("attachment")
        assert one.headers["content-type"].startswith("text/csv")


# -- the front --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "localhost", "127.0.0.1", "localhost:1"])
def test_the_console_answers_under_its_own_name_only(running: Running, host: str) -> None:
    answer = running.client().get("/sign-in", headers={"host": host})

    assert answer.status_code == 421
    assert "Sign in" not in answer.text


def test_a_language_switch_leads_nowhere_else(running: Running) -> None:
    client = running.enter()

    for path in ("/search?language=sv&member=//evil.example", "//evil.example/?language=sv", "/?language=xx"):
        answer = client.get(path)
        location = answer.headers.get("location", "/")
        assert location.startswith("/"), path
        assert not location.startswith("//"), path


async def test_a_form_that_is_too_large_is_not_read() -> None:
    async def receive() -> Any:
        raise AssertionError("the body was read")

    headers = [
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"content-length", str(FORM_LIMIT + 1).encode()),
    ]

    assert await read_form(Request({"type": "http", "method": "POST", "headers": headers}, receive)) == {}


def test_a_form_that_is_too_large_is_told_so_and_on_record(running: Running) -> None:
    client = running.enter()
    page = client.get("/log")

    answer = client.post(
        "/log",
        data={"csrf": hidden(page), "note": "x" * (FORM_LIMIT + 1)},
        headers={"origin": running.address},
    )

    assert answer.status_code == 413
    assert "The form was too large" in answer.text
    with running.world.engine.connect() as connection:
        (last,) = search(connection, Filters(), order="newest", after=None, limit=1).found
    assert (last.entry.outcome, last.entry.detail["reason"]) == ("refused", "form")


def test_only_the_consoles_own_files_are_served(running: Running) -> None:
    client = running.client()

    assert client.get("/static/console.css").status_code == 200
    for path in ("/static/../shell.py", "/static/..%2fshell.py", "/static/%2e%2e/shell.py", "/static/htmx.LICENSE"):
        assert client.get(path).status_code == 404, path


def test_review_shows_the_officer_why_an_emergency_could_not_wait_and_nobody_else(running: Running) -> None:
    world, said = running.world, "Brought in <unconscious>."
    emergency = replace(world.entries["emergency"], id=new_id(NOW), message_id="m-reason")

    def asked(connection: Connection) -> Written[None]:
        subjects = world.desk.subjects
        found = subjects.find(connection, HETU_SYSTEM, HETU)
        assert found is not None
        keep_reason(connection, "m-reason", found, Emergency(said))
        return Written(None, (emergency,))

    world.log.commit_blocking(asked)
    path = f"/reviews/{emergency.id}?rule=break-glass"

    assert "Brought in &lt;unconscious&gt;." in running.enter().get(path).text
    of_auditor = running.enter(Role.AUDITOR).get(path).text
    assert "unconscious" not in of_auditor
    assert "No justification is kept" not in of_auditor, "that there is none is not so"
    former = running.enter().get(f"/reviews/{world.entries['emergency'].id}?rule=break-glass").text
    assert "No justification is kept." in former
