"""One log, asked in every way there is: page, interface, command, extract and record of processing say the same."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection
from typer.testing import CliRunner

from audit.log.entries import Agents, Categories, Entry, EntryType, Outcome, new_id
from audit.log.waiting import Written
from gateway.cli.main import app
from schemas.identifiers import MIGRI_CUSTOMER
from tests.gateway.console.test_fuzzing_console import Browser, signed_in
from tests.gateway.exchange.inprocess import INDEX_KEY, InProcess, Place, node
from tests.gateway.web.faces import Faces, faces
from tests.people import joined

CASE = "c" * 64
PURPOSE = "reception-to-municipality"
NUMBERS = ("90001234", "90001235")
DISCLOSED, ASKED, ARRIVED, REFUSED, FRUITLESS = 5, 2, 1, 2, 4


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The network on disk, with the secrets that nodes in this process have."""
    place = Place.build(tmp_path_factory.mktemp("numbers"))
    folder = place.network.parties["centre"].folder / "secrets"
    for name, key in (("log", b"\x07" * 32), ("wrapping", b"\x01" * 32), ("index", INDEX_KEY)):
        (folder / f"{name}.key").write_bytes(base64.b64encode(key))
    return place


@dataclass
class Told:
    """A node with a log of one person, and everything that answers from it."""

    faces: Faces
    browser: Browser
    config: Path
    ids: list[str]

    async def api(self, path: str, **document: Any) -> Any:
        answer = await self.faces.clients.call("POST", f"/v1/audit/{path}", json=document)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def command(self, *arguments: str, person: str = "") -> Any:
        told = CliRunner().invoke(app, ["audit", *arguments, "--config", str(self.config), "--json"], input=person)
        assert told.exit_code == 0, told.output
        return json.loads(told.stdout)

    async def page(self, path: str) -> str:
        answer = await self.browser.ask("GET", path)
        assert answer.status_code == 200, path
        return html.unescape(answer.text)

    async def person(self, number: str) -> str:
        """The path of a person's page."""
        page = (await self.browser.ask("GET", "/people")).text
        csrf = page.split('name="csrf" value="', 1)[1].split('"', 1)[0]
        form = {"csrf": csrf, "kind": "customer-number", "value": number}
        answer: httpx.Response = await self.browser.ask("POST", "/people", form)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]


def story(here: InProcess, pseudonyms: tuple[str, str]) -> list[Entry]:
    """Five disclosures, one of them an arrival, two refusals, four times nothing; and what carries no data or is told
    twice.
    """
    now = here.exchange.clock()
    kotka = str(here.place.network.parties["kotka"].subsystem)

    def entry(kind: EntryType, outcome: Outcome, *moved: str, of: int = 0, **more: Any) -> Entry:
        made = Entry(
            kind,
            outcome,
            now,
            agents=Agents(client="register", node=here.exchange.node, recipient=kotka),
            source=str(here.party.subsystem),
            subject=pseudonyms[of],
            purpose=PURPOSE,
            categories=Categories(moved),
            bases=("integration-81-1-2",) if moved else (),
        )
        return replace(made, id=new_id(now), **more)

    query, delivery, receipt = EntryType.QUERY, EntryType.DELIVERY, EntryType.RECEIPT
    inbox = f"{here.party.subsystem}/saapuvat"
    return [
        entry(delivery, Outcome.SUCCESS, "identity", "housing", message_id="m-1"),
        entry(delivery, Outcome.SUCCESS, "identity", of=1),
        entry(query, Outcome.PARTIAL, "identity"),
        entry(EntryType.BREAK_GLASS, Outcome.SUCCESS, "health-needs", of=1),
        # The city's message calls our service, so the entry has both sides the other way round.
        entry(receipt, Outcome.SUCCESS, "identity", "housing", message_id="m-2", service=inbox),
        # It was opened; and what left here reached another member of this same node.
        entry(receipt, Outcome.SUCCESS, "identity", "housing", detail={"act": "opened"}),
        entry(receipt, Outcome.SUCCESS, "identity", "housing", message_id="m-1", service=f"{kotka}/saapuvat"),
        entry(query, Outcome.REFUSED, reason="not-permitted"),
        entry(query, Outcome.REFUSED, reason="not-permitted", of=1),
        entry(query, Outcome.NOT_FOUND),
        entry(query, Outcome.FAILED),
        entry(delivery, Outcome.FAILED),
        entry(delivery, Outcome.STOPPED, of=1),
        # Sent like a delivery, and nobody's data is in it.
        entry(delivery, Outcome.SUCCESS, purpose="withdrawal-notice"),
        entry(delivery, Outcome.SUCCESS, of=1),
        # A question that was sent is counted once it is known how it ended.
        entry(query, Outcome.REQUESTED),
        # Put on record one after the other, by clocks that differ.
        entry(EntryType.ACCEPTANCE, Outcome.SUCCESS, case=CASE),
        entry(EntryType.ACCEPTANCE, Outcome.SUCCESS, case=CASE, recorded=now - timedelta(milliseconds=5)),
    ]


@pytest.fixture
async def told(place: Place, database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Told]:
    monkeypatch.setenv("YHDYSPINTA_DATABASE__URL", database_url)
    async with node(place, database_url) as here, faces(here) as both:

        def unit(connection: Connection) -> Written[list[str]]:
            subjects, identifiers = here.exchange.subjects, [(MIGRI_CUSTOMER, number) for number in NUMBERS]
            person = joined(connection, subjects, identifiers, here.exchange.clock())
            known = subjects.pseudonyms(connection, person.id)
            assert len(known) == 2, "one person, two pseudonyms"
            made = story(here, (known[0], known[1]))
            return Written([entry.id for entry in made], made)

        ids = (await here.exchange.log.commit(unit)).value
        yield Told(both, await signed_in(here, "officer"), place.network.parties["centre"].config, ids)


def totals(flows: list[dict[str, Any]]) -> tuple[int, int, int]:
    return tuple(sum(flow[name] for flow in flows) for name in ("released", "refused", "fruitless"))  # type: ignore[return-value]


def of_lines(record: dict[str, Any]) -> tuple[int, int, int]:
    return totals([recipient for line in record["lines"] for recipient in line["recipients"]])


def figures(page: str) -> tuple[int, int, int]:
    """What stands under Disclosures, Refusals and Without result."""
    return tuple(  # type: ignore[return-value]
        int(re.search(rf"<dt>{name}</dt><dd>(?:<a [^>]*>)?(\d+)", page)[1])  # type: ignore[index]
        for name in ("Luovutuksia", "Evättyjä", "Tuloksettomia")
    )


async def test_counts_of_everybody_are_the_same_wherever_they_are_told(told: Told) -> None:
    expected = (DISCLOSED, REFUSED, FRUITLESS)
    year = str(told.faces.here.exchange.clock().year)
    span = {"from": "2026-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}

    assert totals((await told.api("flows", **span))["flows"]) == expected
    processing = await told.faces.clients.call("GET", f"/v1/audit/processing/{year}")
    assert of_lines(processing.json()) == expected
    assert totals(told.command("flows")["flows"]) == expected
    assert of_lines(told.command("report", year)) == expected
    assert figures(await told.page("/")) == expected
    assert figures(await told.page("/flow?days=365")) == expected
    sheet = await told.page(f"/processing/{year}/en")
    rows = [
        [int(cell) for cell in re.findall(r"<td>(\d+)</td>", row)] for row in sheet.split("<tr>") if "In all" in row
    ]
    assert tuple(map(sum, zip(*rows, strict=True))) == expected


async def test_a_persons_disclosures_are_the_same_wherever_they_are_told_and_a_notice_is_none(told: Told) -> None:
    for number in NUMBERS:
        person = {"system": MIGRI_CUSTOMER, "value": number}
        disclosures = [told.ids[place] for place in range(DISCLOSED)]

        found = (await told.api("search", question="disclosures", person=person, order="oldest"))["found"]
        assert [item["entry"]["id"] for item in found] == disclosures
        assert len((await told.api("extract", person=person))["disclosures"]) == DISCLOSED
        assert sum(day["count"] for day in (await told.api("days", person=person))["days"]) == DISCLOSED
        who = ("--system", "migri")
        found = told.command("search", "disclosures", "--person", "--oldest", *who, person=number)["found"]
        assert [item["entry"]["id"] for item in found] == disclosures
        assert len(told.command("extract", *who, person=number)["disclosures"]) == DISCLOSED
        assert sum(day["count"] for day in told.command("days", *who, person=number)["days"]) == DISCLOSED
        path = await told.person(number)
        assert f"Tietoja on luovutettu {DISCLOSED} kertaa" in await told.page(path)
        sheet = await told.page(f"{path}/extract/fi")
        given, received = [table.split("</table>", 1)[0].count("<tr>") - 1 for table in sheet.split("<table")[1:3]]
        assert (given, received) == (DISCLOSED - ASKED - ARRIVED, ASKED + ARRIVED)
        assert "Keneltä saimme tietojasi" in sheet


async def test_the_course_of_a_case_is_in_the_order_of_its_records(told: Told) -> None:
    page = await told.page(f"/cases/{CASE}")

    records = [int(index) for index in re.findall(r'href="/entries/(\d+)"', page)]
    assert len(records) == 2
    assert records == sorted(records)


async def test_a_record_has_one_number_for_people_and_its_index_for_programs(told: Told) -> None:
    entry = told.ids[0]
    (found,) = (await told.api("search", filters={"id": entry}))["found"]
    number = str(found["index"] + 1)

    table = CliRunner().invoke(app, ["audit", "search", "-w", f"id={entry}", "--config", str(told.config)]).stdout
    row = next(line for line in table.splitlines() if "delivery" in line)
    assert re.search(r"\d+", row)[0] == number  # type: ignore[index]
    assert told.command("search", "-w", f"id={entry}")["found"][0]["index"] == found["index"]
    page = await told.page(f"/search?id={entry}")
    assert f'href="/entries/{found["index"]}" aria-label="Avaa merkintä {number}">{number}</a>' in page
    assert f"Merkintä {number}" in await told.page(f"/entries/{found['index']}")
    # What the table shows is what the command takes.
    proof = json.loads(CliRunner().invoke(app, ["audit", "prove", number, "--config", str(told.config)]).stdout)
    assert proof["entries"][0]["index"] == found["index"]
