"""Which version of an adapter is in use is asked like any question; each answer names the version that made it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from adapters.sdk.versions import Version
from audit.log.entries import Outcome
from gateway.desk.desk import Desk
from gateway.desk.questions.adapters import MOST, Adapters, Used
from gateway.desk.roles import Asker
from gateway.reading import shelf
from gateway.story import Story
from gateway.wire.problems import ProblemError
from tests.gateway.exchange.inprocess import InProcess, Place, node
from tests.gateway.web.faces import desk_of

INSTALLED = (Version("koski", "3", "c" * 64), Version("harju", "0", "0" * 64))
ONE, TWO = Version("harju", "1", "1" * 64), Version("harju", "2", "2" * 64)
STORY = Story(client="yhdyspinta adapter take", user="u-1", node="centre")


@pytest.fixture
async def here(place: Place, database_url: str) -> AsyncIterator[InProcess]:
    async with node(place, database_url) as found:
        yield found


def desk_on(here: InProcess, *not_taken: str) -> Desk:
    context = replace(desk_of(here.exchange).context, installed=lambda: INSTALLED, not_taken=lambda: not_taken)
    return Desk(context)


def asked(desk: Desk) -> dict[str, Used]:
    return {used.version.name: used for used in desk.ask(Adapters(), Asker("test")).found}


async def take(here: InProcess, version: Version, minutes: int) -> None:
    now = here.exchange.clock() + timedelta(minutes=minutes)
    await here.exchange.log.commit(partial(shelf.take, version=version, data=b"wheel", story=STORY, now=now))


async def test_versions_are_told_with_since_when_and_by_whom(here: InProcess) -> None:
    desk = desk_on(here)
    assert [used.version for used in asked(desk).values()] == [INSTALLED[1], INSTALLED[0]]
    assert all(used.is_installed and used.turns == () for used in asked(desk).values())

    for minutes, version in enumerate((ONE, TWO)):
        await take(here, version, minutes)
    used = asked(desk)["harju"]

    assert (used.version, used.is_installed, used.is_taken_up) == (TWO, False, True)
    assert [turn.version for turn in used.turns] == [TWO, ONE]
    assert used.turns[0].since - used.turns[1].since >= timedelta(minutes=1)
    assert {(turn.client, turn.user) for turn in used.turns} == {(STORY.client, "u-1")}
    acts = [entry.id for entry in here.entries() if entry.detail.get("act") == "adapter"]
    assert [turn.entry for turn in used.turns] == acts[::-1]
    assert asked(desk_on(here, "harju"))["harju"].is_taken_up is False
    assert here.entries()[-1].detail["question"] == "adapters"


async def test_what_was_taken_back_to_is_what_is_installed(here: InProcess) -> None:
    await take(here, ONE, 0)
    await here.exchange.log.commit(
        partial(shelf.take_back, name="harju", story=STORY, now=here.exchange.clock() + timedelta(minutes=1))
    )

    used = asked(desk_on(here))["harju"]

    assert (used.version, used.is_installed) == (INSTALLED[1], True)
    assert [turn.version.digest for turn in used.turns] == ["", ONE.digest]


async def test_as_many_turns_are_told_as_a_page_holds(here: InProcess) -> None:
    for minutes in range(MOST + 1):
        await take(here, TWO if minutes % 2 else ONE, minutes)

    assert len(asked(desk_on(here))["harju"].turns) == MOST


async def test_entry_of_an_answer_names_the_version_that_made_its_record(
    here: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = here.register.fetch

    async def made(locator: object) -> object:
        return replace(await fetch(locator), made_by=TWO.mark)  # type: ignore[arg-type]

    monkeypatch.setattr(here.register, "fetch", made)
    answer = await here.ask("V1")
    here.register.changed["V2"] = nobody
    refused = await here.ask("V2")

    assert (answer.status, refused.status) == (200, 404)
    told = [(entry.outcome, entry.detail.get("adapter")) for entry in here.entries() if entry.type == "query"]
    assert told == [(Outcome.PARTIAL, TWO.mark), (Outcome.NOT_FOUND, None)]
    assert TWO.digest[:12].encode() not in answer.body + answer.message.encode(), "the recipient is not told"


def nobody(_record: object) -> None:
    raise ProblemError("subject-not-found", detail="the source system knows no such person")
