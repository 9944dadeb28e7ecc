"""Whose duty it is to tell the person follows from the rulebook: who gave by their word tells, else whoever got it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from consent.rules.request import SubjectFacts
from gateway.exchange.deciding import Case, decide_between
from gateway.handover.carrying import section_of
from gateway.obligations.arising import Moved, got
from gateway.obligations.notice import Translation, told
from gateway.obligations.tasks import Care, Kind, State, Task, listed
from gateway.storage.engine import writer
from gateway.storage.tables import inbox
from gateway.story import Story
from gateway.wire.problems import ProblemError
from schemas.projection import categories_in, project
from tests.gateway.exchange.inprocess import InProcess, Place, problem_of
from tests.gateway.handover.chain import WHO, WORD, Chain, a_place, chained, moving
from tests.gateway.obligations.test_obligations import PURPOSE, TOLD, today
from tests.gateway.obligations.test_obligations import WHO as REGISTRAR
from tests.gateway.web.faces import faces

LIVING = SubjectFacts(
    permit_ground="asylum-granted", permit_granted=True, age=30, municipality="285", county="08",
    safety_prohibition=False, within_three_years=True,
)  # fmt: skip
NOTICES = {"fi", "sv", "en"}
DRAFTS = {"ar", "ckb", "fr", "prs", "ps", "ru", "so", "sw", "ti", "uk"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return a_place(tmp_path_factory.mktemp("telling"))


@pytest.fixture
async def chain(place: Place, database_url: str, tmp_path: Path) -> AsyncIterator[Chain]:
    async with chained(place, database_url, tmp_path) as found:
        yield found


def waiting(here: InProcess) -> list[Task]:
    """The tasks to tell somebody something."""
    with here.exchange.engine.connect() as connection:
        found = listed(connection, [str(here.party.subsystem.member)], State.OPEN, here.exchange.clock().date())
    return [task for task in found if task.kind in (Kind.TELL, Kind.TELL_GIVEN)]


async def test_holder_tells_of_what_it_gave_by_the_persons_word(chain: Chain) -> None:
    await chain.passed_on()

    (task,) = waiting(chain.kotka)
    assert (task.kind, task.party) == (Kind.TELL_GIVEN, str(chain.tampere.party.subsystem))
    assert task.bases == ("onward-move-contact",)
    assert "housing" in task.categories
    assert waiting(chain.tampere) == [], "the person is not told twice"
    assert not [entry for entry in chain.kotka.entries() if WHO in str(entry.to_dict())]


async def test_holder_opens_the_task_and_proves_that_it_told(chain: Chain) -> None:
    await chain.passed_on()
    (task,) = waiting(chain.kotka)
    async with faces(chain.kotka) as both:
        opened = (await both.clients.call("POST", f"/v1/tasks/{task.id}/opening", headers=REGISTRAR)).json()
        form = {"day": today()} | TOLD
        ended = await both.clients.call("POST", f"/v1/tasks/{task.id}/outcome", json=form, headers=REGISTRAR)

    assert set(opened["notices"]) == NOTICES
    assert "Tampere" in opened["notices"]["en"]
    assert "take your permission or consent back" in opened["notices"]["en"]
    assert (ended.status_code, ended.json()["state"]) == (201, "done")
    assert waiting(chain.kotka) == []


@pytest.mark.parametrize("says", [{}, {"tells": False}, {"tells": "yes"}, {"tells": True}])
async def test_recipient_tells_unless_the_sender_says_that_it_does(chain: Chain, says: dict[str, Any]) -> None:
    """A node of a former version makes no task of its own, and says nothing."""
    given = frozenset({"identity", "housing"})
    bundle = project(moving(chain.tampere.register.bundle(WHO)), given).bundle
    bundle["entry"].append(moving(chain.tampere.register.bundle(WHO))["entry"][-1])
    words = dict.fromkeys(categories_in(bundle), WORD)
    document = {"handover": "h", "delivery": "d", "flow": "F10", "bundle": bundle, "wrd": words, **says}
    answer = await chain.tampere.bring("saapuvat", document, party="kotka", purpose="onward-move")

    assert problem_of(answer) is None, answer.body
    assert len(waiting(chain.tampere)) == (0 if says.get("tells") is True else 1)


@pytest.mark.parametrize("is_told", [False, True])
async def test_recipient_tells_nothing_under_a_basis_by_which_it_did_not_come(chain: Chain, is_told: bool) -> None:
    here = chain.kotka
    given = frozenset({"identity", "residence-permit", "move", "health-needs"})
    bundle = project(here.register.bundle(WHO), given).bundle
    rulebook = here.exchange.standing(here.exchange.clock()).rulebook
    words = {"health-needs": WORD | {"section": section_of(rulebook.basis("municipality-consent"))}}
    document = {"handover": "h", "delivery": "d", "flow": "F1", "bundle": bundle, "wrd": words, "tells": is_told}
    answer = await here.bring("saapuvat", document, party="centre", purpose=PURPOSE)

    assert problem_of(answer) is None, answer.body
    (receipt,) = [entry for entry in here.entries() if entry.type == "receipt"]
    assert (receipt.bases, "health-needs" in receipt.categories.permitted) == (
        ("municipality-consent", "placement-municipality"), True,
    )  # fmt: skip
    (task,) = waiting(here)
    assert (task.kind, "health-needs" in task.categories) == (Kind.TELL, not is_told)
    assert task.bases == (("placement-municipality",) if is_told else receipt.bases)
    assert set(task.categories) == set(receipt.categories.permitted) - ({"health-needs"} if is_told else set())


async def test_recipient_tells_of_what_it_got_by_its_own_right(chain: Chain) -> None:
    await chain.came()

    assert [task.kind for task in waiting(chain.kotka)] == [Kind.TELL]


def _task(kind: Kind = Kind.TELL, language: str | None = None) -> Callable[[InProcess], Task]:
    def made(here: InProcess) -> Task:
        now = here.exchange.clock()
        return Task(
            id="t", kind=kind, party=str(here.party.subsystem), purpose="onward-move", categories=("housing",),
            bases=("onward-move-contact",), care=(Care.SAFETY,), due=now.date(), state=State.OPEN, outcome=None,
            created=now, changed=now, entry="e", subject="s", message="m", is_overdue=False, language=language,
        )  # fmt: skip

    return made


@pytest.mark.parametrize(
    ("language", "state"),
    [
        ("sv", Translation.REVIEWED), ("sv-FI", Translation.REVIEWED), ("ti", Translation.DRAFT),
        ("ar-IQ", Translation.DRAFT), ("my", Translation.MISSING), (None, Translation.UNKNOWN),
    ],
)  # fmt: skip
async def test_what_there_is_in_the_persons_language_is_said(
    chain: Chain, language: str | None, state: Translation
) -> None:
    here = chain.kotka
    standing = here.exchange.standing(here.exchange.clock())

    assert told(_task(language=language)(here), standing).translation is state


@pytest.mark.parametrize("kind", [Kind.TELL, Kind.TELL_GIVEN])
async def test_drafts_say_themselves_that_they_are_drafts(chain: Chain, kind: Kind) -> None:
    here = chain.kotka
    texts = told(_task(kind)(here), here.exchange.standing(here.exchange.clock()))
    other = told(
        _task(Kind.TELL if kind is Kind.TELL_GIVEN else Kind.TELL_GIVEN)(here),
        here.exchange.standing(here.exchange.clock()),
    )

    assert set(texts.reviewed) == NOTICES
    assert set(texts.drafts) == DRAFTS
    assert not set(texts.drafts) & NOTICES
    for language, text in texts.drafts.items():
        assert text != other.drafts[language], language
        assert text.split(" ")[:2] == other.drafts[language].split(" ")[:2], "it begins by saying what it is"
        assert not any(name in text for name in ("housing", "Kotka", "{")), "what moved stands in the reviewed text"


async def test_task_of_a_delivery_knows_the_persons_language(chain: Chain, place: Place) -> None:
    def speaking(bundle: dict[str, Any]) -> None:
        code = {"system": "urn:ietf:bcp:47", "code": "so"}
        bundle["entry"][0]["resource"]["communication"] = [{"language": {"coding": [code]}, "preferred": True}]

    register = replace(chain.kotka.register, changed={WHO: speaking})
    await replace(chain, kotka=replace(chain.kotka, register=register)).came()

    (task,) = waiting(chain.kotka)
    async with faces(chain.kotka) as both:
        opened = (await both.clients.call("POST", f"/v1/tasks/{task.id}/opening", headers=REGISTRAR)).json()
    assert (opened["language"], opened["translation"]) == ("so", "draft")
    assert set(opened["drafts"]) == DRAFTS


async def test_nothing_is_to_be_told_of_what_nobody_has_acknowledged(chain: Chain) -> None:
    await chain.passed_on(breaks=ProblemError("peer-timeout", detail="the answer was lost"))

    assert waiting(chain.kotka) == []


@pytest.mark.parametrize(("has_died", "told"), [(True, 0), (False, 1), (None, 1)])
async def test_nobody_is_to_tell_the_dead(chain: Chain, has_died: bool | None, told: int) -> None:
    await chain.came()
    exchange, kotka, tampere = chain.kotka.exchange, chain.kotka.party.subsystem, chain.tampere.party.subsystem
    centre = chain.centre.party.subsystem
    now = exchange.clock()
    standing = exchange.standing(now)
    case = Case(
        provider=centre, requester=kotka, purpose=PURPOSE, categories=frozenset({"language"}), at=now, facts=LIVING,
        mode="handover",
    )  # fmt: skip
    decision = decide_between(standing.registry, standing.rulebook, case)
    assert decision.permitted_categories
    with writer(exchange.engine).begin() as connection:
        subject = exchange.subjects.by_id(connection, connection.execute(select(inbox.c.subject)).scalar_one())
        assert subject is not None
        moved = Moved(
            decision=decision, rulebook=standing.rulebook, categories=frozenset({"language"}),
            facts=replace(LIVING, deceased=has_died), subject=subject, under=(), named=(), ours=kotka.member,
            party=tampere, message="m", purpose=PURPOSE,
        )  # fmt: skip
        made = got(connection, Story(node="n", source=str(tampere)), moved, now)

    assert len(made) == told
