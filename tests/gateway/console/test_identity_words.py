"""What pages and files tell of who is who: each act by its own name, and what it was about."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from html import unescape

import pytest

from audit.log.entries import Entry, EntryType, Outcome
from audit.questions.export import audit_event, to_csv
from audit.questions.identities import Act, Matter, act_of, matter_of
from audit.questions.links import LinkAct
from audit.questions.query import Found
from gateway.console.wording import Words
from gateway.desk.cli.desk import rows
from gateway.person.held import NOT_PLACED, HeldState
from gateway.person.registrar import IdentityAct
from gateway.person.values import ConflictReason
from schemas.facts import Identifier
from schemas.identifiers import HETU, MIGRI_CUSTOMER
from tests.gateway.console.test_fuzzing_console import signed_in
from tests.gateway.exchange.inprocess import InProcess, Place, node
from tests.gateway.exchange.test_persons import CODE, with_code
from tests.gateway.identity.test_identity import desk, held_handover, proposed
from texts import LANGUAGES

NOW = datetime(2026, 5, 4, 9, tzinfo=UTC)
NEITHER = {"fi": "onnistui", "sv": "lyckades", "en": "done"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place.build(tmp_path_factory.mktemp("identity-words"))


@pytest.fixture
async def here(place: Place, database_url: str) -> AsyncIterator[InProcess]:
    async with node(place, database_url) as running:
        yield running


async def everything_decided(here: InProcess) -> list[tuple[int, Entry]]:
    """A record held, opened, proposed about and let go; a join made, undone and placed; a proposal dropped."""
    held = await held_handover(here)
    identity, registrar, other = desk(here)
    await identity.take(registrar, held)
    await identity.open(registrar, held)
    await identity.same(registrar, held)
    await identity.apart(other, held)
    here.register.changed["7000001"] = with_code(CODE)  # type: ignore[assignment]
    number, code = Identifier(MIGRI_CUSTOMER, "7000001"), Identifier(HETU, CODE)
    await identity.drop(other, proposed(await identity.propose(registrar, IdentityAct.UNDO, number, code)))
    for act in (IdentityAct.UNDO, IdentityAct.PLACE, IdentityAct.JOIN):
        await identity.approve(other, proposed(await identity.propose(registrar, act, number, code)))
    return [(index, entry) for index, entry in enumerate(here.entries()) if entry.type == EntryType.IDENTITY]


async def test_lists_and_records_name_the_act_and_what_it_was_about(here: InProcess) -> None:
    decided = await everything_decided(here)
    acts = [act for _, entry in decided if (act := act_of(entry)) is not None]
    assert len(acts) == len(decided)
    assert {Act.HELD, Act.OPENED, Act.APART, Act.DROPPED, Act.UNDONE, Act.PLACED, Act.CONFIRMED} <= set(acts)
    officer = await signed_in(here, "officer")
    for language in LANGUAGES:
        t = Words(language)
        await officer.ask("GET", f"/search?language={language}")
        listed = unescape((await officer.ask("GET", "/search?type=identity")).text)
        for index, entry in decided:
            said = f'<span class="tag plain">{t(f"identity-act.{act_of(entry)}")}</span>'
            told = unescape((await officer.ask("GET", f"/entries/{index}")).text)
            assert said in told.split("</h1>")[0]
            assert f">{NEITHER[language]}<" not in told.split("<h1>")[1].split("</h1>")[0]
            assert said in listed
            if (matter := matter_of(entry)) is not None:
                assert t(f"identity-matter.{matter}") in told
                assert t(f"identity-matter.{matter}") in listed
                assert t(f"identity-matter.{matter}") in unescape(
                    (await officer.ask("GET", f"/stories/{entry.id}")).text
                )


def entry(**detail: str | int | bool) -> Entry:
    return Entry(type=EntryType.IDENTITY, outcome=Outcome.SUCCESS, recorded=NOW, reason="x", detail=detail)


@pytest.mark.parametrize(
    ("detail", "act", "matter"),
    [
        ({"act": "joined", "acts": 1, "register": "r"}, Act.JOINED, None),
        ({"act": "confirmed", "acts": 1, "register": "r"}, Act.CONFIRMED_AGAIN, None),
        ({"act": "undone", "acts": 1, "register": "r"}, Act.TAKEN_OFF, None),
        ({"act": "confirmed", "acts": 1, "arrival": "a"}, Act.ACCEPTED, None),
        ({"act": "confirmed"}, Act.CONFIRMED, None),
        ({"act": "undone", "released": 2}, Act.UNDONE, None),
        ({"act": "proposed", "held": "h", "proposal": "join"}, Act.PROPOSED, Matter.JOIN),
        ({"act": "done", "held": "h", "proposal": "undo"}, Act.DONE, Matter.UNDO),
        ({"act": "done", "held": "h", "conflict": "not-placed"}, Act.WORD_PLACED, Matter.NOT_PLACED),
        ({"act": "held", "held": "h", "conflict": "birth"}, Act.HELD, Matter.BIRTH),
        ({"act": "of-a-later-version", "conflict": "of-another"}, None, None),
    ],
)
def test_acts_of_register_acceptance_and_registrar_are_told_apart(
    detail: dict[str, str | int | bool], act: Act | None, matter: Matter | None
) -> None:
    assert (act_of(entry(**detail)), matter_of(entry(**detail))) == (act, matter)


def test_every_act_and_reason_that_the_node_records_has_a_word() -> None:
    ends = set(HeldState) - {HeldState.FORGOTTEN}  # destroying a key names no record
    assert {*LinkAct, *ends} - {LinkAct.ATTACHED} <= set(Act)
    assert {*ConflictReason, *IdentityAct, HeldState.SAME.value, NOT_PLACED} == set(Matter)


def test_files_and_lists_of_the_command_line_have_the_act() -> None:
    found = Found(4, entry(act="done", held="h", proposal="undo"))
    head, line = list(to_csv([found]))
    row = dict(zip(head.strip().split(";"), line.strip("\r\n").split(";"), strict=True))

    assert (row["act"], row["matter"], row["word"]) == ("done", "undo", "")
    told = {(item["type"], item["valueString"]) for item in audit_event(found, origin="x")["entity"][0]["detail"]}
    assert {("act", "done"), ("matter", "undo")} <= told
    assert "done" in rows([found])[0]
    assert "undo" in rows([found])[0]
