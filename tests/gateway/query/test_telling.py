"""Existence and wishes are not told: who gets nothing gets one answer for all causes, and reasons are the rule's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.exchange.opening import Answer
from gateway.exchange.telling import STEP_SECONDS, RuleReason, wait_until_step
from gateway.handover.receive import Reception
from gateway.query.answer import Provider
from gateway.registry.read.standing import Standing
from gateway.wire.decided import body_digest
from gateway.wire.problems import ProblemError
from gateway.wire.strict import split
from schemas.identifiers import HETU
from tests.gateway.exchange.inprocess import Bundle, InProcess, Place, hidden_reason, node, problem_of
from tests.properties import examples

pytestmark = pytest.mark.xdist_group("telling")
HEALTH = frozenset({"health-needs"})


@pytest.fixture
async def here(place: Place, tmp_path: Path) -> AsyncIterator[InProcess]:
    async with node(place, f"sqlite:///{tmp_path / 'node.db'}") as found:
        waits: list[float] = []

        async def pause(seconds: float) -> None:
            waits.append(seconds)

        exchange = found.exchange
        yield replace(found, provider=Provider(exchange, Reception(exchange), pause))
        # Whoever was told nothing waited, and nobody else did.
        assert len(waits) == sum(entry.outcome in {"refused", "not-found"} for entry in found.entries())
        assert all(0 <= seconds <= STEP_SECONDS for seconds in waits)


def without_permit(record: Bundle) -> None:
    for extension in record["entry"][0]["resource"]["extension"]:
        if extension["url"].endswith(":residence-permit"):
            for part in extension["extension"]:
                if part["url"] == "granted":
                    part["valueBoolean"] = False


def elsewhere(record: Bundle) -> None:
    raise ProblemError("subject-not-found", detail="the source system knows no such person")


def in_doubt(record: Bundle) -> None:
    record["entry"][0]["resource"]["identifier"].append({"system": HETU, "value": "010190-900P"})
    record["entry"][0]["resource"]["birthDate"] = "1981-01-01"


async def forbidden(here: InProcess, person: str) -> None:
    await here.consent(person)
    await here.consent(person, kind="prohibition", purposes=[], recipients=[], categories=[])


async def reported(here: InProcess, person: str) -> None:
    await here.consent(person)
    await here.consent(person, kind="prohibition", given_by={"kind": "other"})


async def withdrawn(here: InProcess, person: str) -> None:
    await here.withdraw(await here.consent(person))


CAUSES: list[tuple[str, Any]] = [
    ("unknown here", elsewhere),
    ("without a permit", without_permit),
    ("in doubt", in_doubt),
    ("said nothing", lambda _record: None),
    ("forbidden", forbidden),
    ("reported", reported),
    ("withdrawn", withdrawn),
]


async def told(here: InProcess, person: str, cause: Any) -> tuple[Answer, str | None]:
    if cause in (forbidden, reported, withdrawn):
        await cause(here, person)
    else:
        here.register.changed[person] = cause
    answer = await here.ask(person, categories=HEALTH)
    return answer, hidden_reason(here, answer)


def shown(answer: Answer) -> tuple[Any, ...]:
    """All that the requester sees, but for ids, times and digests of its own message."""
    assert answer.message is not None
    claims = dict(split(answer.message, 1 << 16).claims)
    body = orjson.loads(answer.body)
    reference = body.pop("remedy").split("message ")[-1]
    assert len(reference) == 36
    for name in ("iat", "req", "dig", "log"):
        claims.pop(name)
    return answer.status, answer.content_type, len(answer.body), body, claims


async def test_whoever_gets_nothing_is_told_the_same_whatever_the_cause(here: InProcess) -> None:
    seen, reasons = [], set()
    for number, (_, cause) in enumerate(CAUSES):
        answer, reason = await told(here, f"B{number}", cause)
        assert answer.is_held_back, "it leaves at a step of time, so that its time says nothing either"
        seen.append(shown(answer))
        reasons.add(reason)

    assert all(other == seen[0] for other in seen)
    assert "dec" not in seen[0][-1]
    assert reasons == {"subject-not-found", "not-permitted", "subject-ambiguous"}


async def test_the_answer_names_whom_to_ask_and_the_message_that_the_holder_finds(here: InProcess) -> None:
    answer = await here.ask("B0", categories=HEALTH)

    remedy = orjson.loads(answer.body)["remedy"]
    entry = here.entries()[-1]
    assert entry.message_id is not None
    assert remedy.endswith(f"name the message {entry.message_id}")
    assert "ask " in remedy
    assert "/v1/decisions" in remedy


@pytest.mark.parametrize("said", [None, forbidden, reported, withdrawn], ids=["nothing", "no", "a report", "no more"])
async def test_reasons_are_those_of_the_rule_whatever_the_person_has_said(
    here: InProcess, said: Callable[[InProcess, str], Any] | None
) -> None:
    if said is not None:
        await said(here, "C1")

    answer = await here.ask("C1", categories=frozenset({"identity", "health-needs", "child-protection"}))

    assert answer.message is not None
    decided = split(answer.message, 1 << 16).claims["dec"]
    assert "identity" in decided["per"]
    assert decided["wit"] == {"child-protection": "no-basis", "health-needs": "needs-the-persons-word"}
    entry = here.entries()[-1]
    assert entry.categories.withheld == ("child-protection", "health-needs")
    # The decision's own id is a digest of its text: whoever had it could try which reasons give it.
    assert decided["id"] == entry.message_id
    assert entry.detail["decision"] not in answer.message + orjson.dumps(decided).decode()
    told = {name: decided[name] for name in ("id", "per", "wit")}
    assert decided["dig"] == body_digest(orjson.dumps(told, option=orjson.OPT_SORT_KEYS))


def also_for_centres(standing: Standing) -> Standing:
    """A rulebook by which a centre may get whatever anybody may."""
    book = standing.rulebook
    other = book.with_bases(replace(basis, requesters=basis.requesters | {"reception-centre"}) for basis in book.bases)
    return replace(standing, rulebook=replace(other, digest="sha-256:" + "0" * 64))


async def test_own_organisation_is_told_the_reason(place: Place, tmp_path: Path) -> None:
    async with node(place, f"sqlite:///{tmp_path / 'node.db'}", standing=also_for_centres) as here:
        here.register.changed["D1"] = elsewhere

        unknown = await here.ask("D1", party="centre", categories=HEALTH)
        silent = await here.ask("D2", party="centre", categories=HEALTH)

    assert (unknown.status, problem_of(unknown)) == (404, "subject-not-found")
    assert (silent.status, problem_of(silent)) == (403, "not-permitted")
    assert silent.message is not None
    decided = split(silent.message, 1 << 16).claims["dec"]
    assert not set(decided["wit"].values()) & set(RuleReason)


async def test_a_person_who_is_known_and_gives_is_answered_at_once(here: InProcess) -> None:
    await here.consent("E1")

    answer = await here.ask("E1", categories=HEALTH)

    assert (answer.status, answer.is_held_back) == (200, False)


@examples(200)
@given(st.floats(0, 60))
def test_an_answer_that_says_nothing_leaves_at_a_step(elapsed: float) -> None:
    wait = wait_until_step(elapsed)

    assert 0 <= wait <= STEP_SECONDS
    assert (elapsed + wait) / STEP_SECONDS == pytest.approx(round((elapsed + wait) / STEP_SECONDS))
    assert elapsed + wait > 0
