"""Somebody was forgotten: through the console nobody finds them, and everything is proven as before."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection

from audit.log.entries import Agents, Categories, Entry, new_id
from audit.log.waiting import Written
from audit.questions.forgotten import scrub
from audit.questions.query import case, walk
from audit.questions.query import person as everything_about
from audit.questions.subjects import HETU_SYSTEM
from audit.tree.verify import verify_export
from gateway.desk.forms import Format
from gateway.desk.questions.proving import MOST_PROVEN
from tests.gateway.console.conftest import (
    CENTRE,
    CUSTOMER,
    CUSTOMER_SYSTEM,
    HETU,
    KOTKA,
    NOW,
    Running,
    Visitor,
    World,
    hidden,
)
from tests.people import joined

CASE = "ASIA-7"
NOTHING = "The log has nothing about this person"
RELATIVE = "90005678"


def find(client: Visitor, running: Running, value: str, kind: str = "personal-identity-code") -> httpx.Response:
    form = {"csrf": hidden(client.get("/people")), "kind": kind, "value": value}
    return client.post("/people", data=form, headers={"origin": running.address})


def find_case(client: Visitor, running: Running) -> str:
    form = {"csrf": hidden(client.get("/cases")), "reference": CASE}
    return client.post("/cases", data=form, headers={"origin": running.address}).headers["location"]


def of_person(world: World) -> list[tuple[int, Entry]]:
    """All entries that were ever made about the main person, by index."""
    with world.engine.connect() as connection:
        return [(item.index, item.entry) for item in walk(connection, everything_about((world.pseudonym,)))]


def forget(world: World) -> None:
    """As the officer does it: the key goes, an entry that names nobody says so, and no page of the file keeps it."""
    subjects = world.desk.subjects

    def unit(connection: Connection) -> Written[None]:
        found = subjects.find(connection, HETU_SYSTEM, HETU)
        assert found is not None
        gone = subjects.destroy(connection, found.id, NOW)
        detail = {"action": "destroy-subject-key", "keys": len(gone)}
        return Written(None, (Entry("key", "success", NOW, id=new_id(NOW), agents=Agents(node="x"), detail=detail),))

    world.log.commit_blocking(unit)
    with world.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        scrub(connection)


def add_relative(world: World) -> Entry:
    """Somebody else of the same case, who is not forgotten."""
    subjects = world.desk.subjects

    def unit(connection: Connection) -> Written[Entry]:
        who = joined(connection, subjects, [(CUSTOMER_SYSTEM, RELATIVE)], NOW).pseudonym
        entry = Entry(
            "delivery", "success", NOW, id=new_id(NOW), agents=Agents(node="centre.demo"), source=CENTRE, subject=who,
            case=subjects.case(CASE),
        )  # fmt: skip
        return Written(entry, (entry,))

    return world.log.commit_blocking(unit).value


def test_whoever_was_forgotten_is_found_by_nobody_on_no_page(running: Running) -> None:
    world, client = running.world, running.enter()
    person = find(client, running, HETU).headers["location"]
    known = client.get(person)
    assert NOTHING not in known.text
    stays = [entry.id for _, entry in of_person(world)]
    assert len(stays) > 20
    assert "/entries/" in client.get(person + "/events").text
    forget(world)

    looked = [person, *(find(client, running, *one).headers["location"] for one in _identifiers())]
    for place in looked:
        page = client.get(place)
        assert page.status_code == 200
        assert NOTHING in page.text
        for tab in ("/events", "/consents", "/extract", "/extract/en", "/extract/en?for=officer"):
            told = client.get(place + tab)
            assert told.status_code == 200, tab
            assert "/entries/" not in told.text, tab
            assert world.pseudonym not in told.text, tab
            assert not any(id_ in told.text for id_ in stays), tab
    for form in Format:
        sent = client.get(f"{person}/export/{form}")
        assert sent.status_code == 200
        assert _entries_of(form, sent.text) == 0, form
    assert {entry.id for _, entry in of_person(world)} >= set(stays), "the entries themselves stay"


def _identifiers() -> list[tuple[str, str]]:
    return [(HETU, "personal-identity-code"), (CUSTOMER, "customer-number")]


def _entries_of(form: str, text: str) -> int:
    if form == "csv":
        return len(list(csv.reader(io.StringIO(text.lstrip("\ufeff"))))) - 1
    if form == "jsonl":
        return len(text.splitlines())
    return len(json.loads(text).get("entry", []))


def test_a_case_and_a_consent_lead_to_nobody_who_was_forgotten(running: Running) -> None:
    world, client = running.world, running.enter()
    other = add_relative(world)
    place = find_case(client, running)
    key = place.rsplit("/", 1)[1]
    mine = {str(index) for index, entry in of_person(world) if entry.case == key}
    assert mine <= set(re.findall(r"/entries/(\d+)", client.get(place).text))
    assert "/entries/" in client.get("/search?consent=c-1").text
    forget(world)

    with world.engine.connect() as connection:
        indexes = {item.entry.id: str(item.index) for item in walk(connection, case(key))}
    for page in (place, find_case(client, running), f"/search?case={key}"):
        told = client.get(page)
        assert told.status_code == 200
        shown = set(re.findall(r"/entries/(\d+)", told.text))
        assert indexes[other.id] in shown, "the others of the case are there"
        assert not shown & mine
    exported = client.get(f"/search/export/jsonl?case={key}").text
    assert other.id in exported
    assert world.pseudonym not in exported
    assert "/entries/" not in client.get("/search?consent=c-1").text


@pytest.mark.parametrize("role", ["officer", "auditor"])
def test_the_records_of_whoever_was_forgotten_are_proven_and_lead_to_no_person(running: Running, role: str) -> None:
    world = running.world
    entries = of_person(world)
    forget(world)
    client = running.enter(role)  # type: ignore[arg-type]
    keys = world.desk.witnesses()
    for index, entry in entries:
        page = client.get(f"/entries/{index}")
        assert page.status_code == 200
        assert "/people/" not in html.unescape(page.text)
        assert HETU not in page.text
        assert CUSTOMER not in page.text
        file = client.get(f"/entries/{index}/proof").content
        report = verify_export(file, log_key=world.desk.log_key, witnesses=keys)
        assert report.sound, entry.type
        assert len(report.cosignatures) >= 1
    story = client.get(f"/stories/{world.entries['plan'].id}")
    assert story.status_code == 200
    assert "/people/" not in story.text


@pytest.mark.parametrize(("kind", "outcome", "is_shown"), [
    ("delivery", "stopped", True), ("delivery", "partial", True), ("decision", "withheld", True),
    ("decision", "planned", True), ("delivery", "success", True), ("query", "partial", True),
    ("delivery", "requested", False), ("delivery", "failed", False),
])  # fmt: skip
def test_a_persons_page_lists_what_was_stopped_and_withheld(
    running: Running, kind: str, outcome: str, is_shown: bool
) -> None:
    world, client = running.world, running.enter()
    entry = Entry(
        kind, outcome, NOW, id=new_id(NOW), agents=Agents(node="centre.demo", recipient=KOTKA), source=CENTRE,
        subject=world.pseudonym, categories=Categories(withheld=("health-needs",)),
    )  # fmt: skip
    index = world.log.append_blocking((entry,)).indexes[0]

    page = client.get(find(client, running, HETU).headers["location"]).text
    listed = page.split('id="kept-back"', 1)[1].split("</section>", 1)[0]

    assert (f"/entries/{index}" in listed) is is_shown
    assert (listed.count("chips held") > 0) or not is_shown, "the categories that were held back"


def test_a_story_has_the_duties_that_its_messages_left_and_is_found_by_any_of_its_ids(running: Running) -> None:
    world, client = running.world, running.enter()
    about: dict[str, Any] = {
        "agents": Agents(node="centre.demo", recipient=KOTKA), "source": CENTRE, "subject": world.pseudonym,
        "message_id": new_id(NOW),
    }  # fmt: skip
    plan = Entry("handover", "planned", NOW, id=new_id(NOW), source=CENTRE, subject=world.pseudonym)
    sent = Entry("delivery", "success", NOW, id=new_id(NOW), previous=plan.id, **about)
    duty = Entry("obligation", "pending", NOW, id=new_id(NOW), detail={"kind": "notify-of-disclosure"}, **about)
    done = Entry("obligation", "success", NOW, id=new_id(NOW), previous=duty.id, source=CENTRE)
    indexes = world.log.append_blocking((plan, sent, duty, done)).indexes

    for reference in (sent.message_id, duty.id, plan.id):
        form = {"csrf": hidden(client.get("/cases")), "reference": reference}
        found = client.post("/cases", data=form, headers={"origin": running.address}).headers["location"]
        page = client.get(found).text
        assert [index for index in indexes if f'href="/entries/{index}"' not in page] == [], reference


@pytest.mark.parametrize(("planned", "sent"), [
    (("health-needs",), ("health-needs",)), ((), ("health-needs",)), (("health-needs",), ()),
])  # fmt: skip
def test_what_a_handover_held_back_is_listed_once_and_as_it_was_in_the_end(
    running: Running, planned: tuple[str, ...], sent: tuple[str, ...]
) -> None:
    world, client = running.world, running.enter()
    told = [
        Entry(
            kind, outcome, NOW, id=new_id(NOW), agents=Agents(node="centre.demo", recipient=KOTKA), source=CENTRE,
            subject=world.pseudonym, categories=Categories(("identity",), withheld), detail={"delivery": "d-1"},
        )
        for kind, outcome, withheld in (("decision", "planned", planned), ("delivery", "success", sent))
    ]  # fmt: skip
    of_plan, of_delivery = world.log.append_blocking(told).indexes

    page = client.get(find(client, running, HETU).headers["location"]).text
    listed = page.split('id="kept-back"', 1)[1].split("</section>", 1)[0]

    assert f'/entries/{of_plan}"' not in listed
    assert (f'/entries/{of_delivery}"' in listed) is bool(sent)


def test_a_story_is_no_longer_than_what_one_file_proves(running: Running) -> None:
    world, client = running.world, running.enter()
    about: dict[str, Any] = {"source": CENTRE, "subject": world.pseudonym}
    plan = Entry("handover", "planned", NOW, id=new_id(NOW), **about)
    rest = [Entry("receipt", "success", NOW, id=new_id(NOW), previous=plan.id, **about) for _ in range(MOST_PROVEN)]
    world.log.append_blocking((plan, *rest))

    page, proofs = client.get(f"/stories/{plan.id}"), client.get(f"/stories/{plan.id}/proofs")

    assert page.text.count('href="/entries/') == MOST_PROVEN
    assert proofs.status_code == 200
    assert verify_export(proofs.content).sound
