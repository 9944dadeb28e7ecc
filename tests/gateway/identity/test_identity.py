"""A registrar decides who is who: what waits leaves by its exits, and a mistaken join is undone with all it let out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from audit.log.tables import links
from gateway.handover.plan import Handovers
from gateway.identity.acts import Actor, Done, Identity, Proposed
from gateway.identity.web import _actor
from gateway.person.registrar import IdentityAct
from gateway.web.authentication import Caller
from gateway.wire.problems import ProblemError
from schemas.facts import Identifier
from schemas.identifiers import HETU, MIGRI_CUSTOMER
from tests.gateway.exchange.inprocess import InProcess, hidden_reason, problem_of
from tests.gateway.exchange.test_persons import CODE, OTHER_CODE, moved, order_of, say, with_code


def desk(here: InProcess) -> tuple[Identity, Actor, Actor]:
    subsystem = here.place.network.parties["centre"].subsystem
    identity = Identity(here.exchange, Handovers(here.exchange))
    return identity, Actor("desk", subsystem, "a" * 32), Actor("desk", subsystem, "b" * 32)


async def held_handover(here: InProcess) -> str:
    """Two people are known; then a record of the first names the second's identity code. Gives the id that waits."""
    handovers = Handovers(here.exchange)
    for person, code in (("7000001", CODE), ("7000002", OTHER_CODE)):
        here.register.changed[person] = with_code(code)  # type: ignore[assignment]
        await handovers.plan(order_of(here, person))
    here.register.changed["7000001"] = with_code(OTHER_CODE)  # type: ignore[assignment]
    with pytest.raises(ProblemError, match="waits as"):
        await handovers.plan(order_of(here, "7000001"))
    identity, first, _ = desk(here)
    (waiting,) = await identity.waiting(first)
    assert waiting.reason == "two-values"
    return waiting.id


def proposed(outcome: Proposed | Done) -> str:
    """The id of what waits for a second person."""
    assert isinstance(outcome, Proposed)
    return outcome.id


def joins(here: InProcess) -> list[Any]:
    with here.exchange.engine.connect() as connection:
        return list(connection.execute(select(links)))


async def test_a_handover_that_waited_goes_on_when_it_is_one_person(here: InProcess) -> None:
    held = await held_handover(here)
    identity, registrar, other = desk(here)

    assert isinstance(await identity.same(registrar, held), Proposed)
    done = await identity.same(other, held)

    assert isinstance(done, Done)
    assert done.plan is not None
    assert done.plan.deliveries
    assert await identity.waiting(registrar) == ()
    with pytest.raises(ProblemError) as again:
        await identity.same(registrar, held)
    assert again.value.code == "not-found"


async def test_nobody_alone_takes_a_record_of_two_known_people_for_one_persons(here: InProcess) -> None:
    held = await held_handover(here)
    identity, registrar, _ = desk(here)
    registrar = replace(registrar, person="p" * 32)
    by_another_system = replace(registrar, client="second-system", user="c" * 32)
    before = joins(here)

    proposal = proposed(await identity.same(registrar, held))
    assert proposed(await identity.same(by_another_system, held)) == proposal
    with pytest.raises(ProblemError) as alone:
        await identity.approve(by_another_system, proposal)

    assert alone.value.code == "client-not-permitted"
    assert joins(here) == before
    waiting = {record.id: record for record in await identity.waiting(registrar)}
    assert set(waiting) == {held, proposal}
    assert (waiting[proposal].about, waiting[held].about) == (held, None)
    assert problem_of(await here.ask("7000002")) is None
    assert hidden_reason(here, await here.ask("7000001")) == "subject-ambiguous"


@pytest.mark.parametrize("exit_", ["apart", "corrected"])
async def test_a_record_that_leaves_takes_what_was_proposed_about_it_along(here: InProcess, exit_: str) -> None:
    for person, code in (("7000001", CODE), ("7000002", OTHER_CODE), ("7000001", OTHER_CODE)):
        here.register.changed[person] = with_code(code)  # type: ignore[assignment]
        await here.ask(person)
    identity, registrar, other = desk(here)
    ((held, kind),) = [(record.id, record.kind) for record in await identity.waiting(registrar)]
    assert kind == "query"
    proposal = proposed(await identity.same(registrar, held))

    if exit_ == "apart":
        await identity.apart(other, held)
    else:
        here.register.changed["7000001"] = with_code(CODE)  # type: ignore[assignment]
        await here.ask("7000001")

    assert await identity.waiting(registrar) == ()
    with pytest.raises(ProblemError) as late:
        await identity.approve(other, proposal)
    assert late.value.code == "not-found"
    acts = [(entry.detail["act"], entry.detail["held"]) for entry in here.entries() if entry.type == "identity"]
    assert acts[-3:] == [("proposed", proposal), (exit_, held), (exit_, proposal)]


async def test_where_one_person_will_do_a_record_goes_on_at_once(here: InProcess) -> None:
    held = await held_handover(here)
    identity = Identity(here.exchange, Handovers(here.exchange), two_people=False)

    done = await identity.same(desk(here)[1], held)

    assert isinstance(done, Done)
    assert done.plan is not None


async def test_a_record_that_mixes_two_people_is_dropped_and_both_go_on(here: InProcess) -> None:
    held = await held_handover(here)
    identity, registrar, _ = desk(here)

    assert await identity.apart(registrar, held) == Done()

    assert await identity.waiting(registrar) == ()
    for person in ("7000002",):
        assert problem_of(await here.ask(person)) is None
    # The record still names the other's code.
    assert hidden_reason(here, await here.ask("7000001")) == "subject-ambiguous"


async def test_undoing_a_join_tells_what_left_under_it_and_frees_neither_prohibition(here: InProcess) -> None:
    here.register.changed["7000001"] = with_code()  # type: ignore[assignment]
    await say(here, "active", MIGRI_CUSTOMER, "7000001")
    assert await moved(here, "7000001")
    await say(here, "refused", HETU, CODE)
    identity, registrar, other = desk(here)
    number, code = Identifier(MIGRI_CUSTOMER, "7000001"), Identifier(HETU, CODE)

    proposal = proposed(await identity.propose(registrar, IdentityAct.UNDO, number, code))
    with pytest.raises(ProblemError) as alone:
        await identity.approve(registrar, proposal)
    assert alone.value.code == "client-not-permitted"
    done = await identity.approve(other, proposal)

    assert [item.recipient for item in done.released] == [str(here.place.network.parties["kotka"].subsystem)]
    here.register.changed.clear()
    assert not await moved(here, "7000001"), "the refusal may have been meant for this one"
    placement = proposed(await identity.propose(registrar, IdentityAct.PLACE, number, code))
    await identity.approve(other, placement)
    assert not await moved(here, "7000001"), "the consent of before the undoing may have been the other's"
    await say(here, "active", MIGRI_CUSTOMER, "7000001")
    assert await moved(here, "7000001"), "a word that was given since then carries"
    acts = [entry.detail["act"] for entry in here.entries() if entry.type == "identity"]
    assert acts == ["proposed", "done", "undone", "proposed", "done", "placed"]


async def test_a_user_has_one_pseudonym_at_every_door_however_spelt_and_none_without_a_name(here: InProcess) -> None:
    subsystem = here.place.network.parties["centre"].subsystem
    caller = Caller(
        "desk", subsystem, frozenset({"identity"}), frozenset(), frozenset(), frozenset(), None, frozenset()
    )

    found = {_actor(here.exchange, caller, name).user for name in ("Ada", " ada ", "ADA")}
    found |= {here.exchange.user_pseudonym(subsystem, name) for name in ("Ada", " ada ", "ADA")}

    assert len(found) == 1
    assert here.exchange.user_pseudonym(subsystem, "  ") is None
    with pytest.raises(ProblemError):
        _actor(here.exchange, caller, "  ")


async def test_who_proposed_an_act_is_the_same_person_after_the_index_key_was_changed(here: InProcess) -> None:
    subsystem = here.place.network.parties["centre"].subsystem
    caller = Caller(
        "desk", subsystem, frozenset({"identity"}), frozenset(), frozenset(), frozenset(), None, frozenset()
    )
    for identifier in ((MIGRI_CUSTOMER, "7000001"), (HETU, CODE)):
        await say(here, "active", *identifier)
    identity, first = Identity(here.exchange, Handovers(here.exchange)), _actor(here.exchange, caller, "anna")
    pair = Identifier(MIGRI_CUSTOMER, "7000001"), Identifier(HETU, CODE)
    proposal = proposed(await identity.propose(first, IdentityAct.JOIN, *pair))

    here.exchange.subjects.keys.use((b"\x01" * 32,), (b"\x0c" * 32, b"\x02" * 32))

    again = _actor(here.exchange, caller, "anna")
    assert again.person != first.person
    with pytest.raises(ProblemError) as alone:
        await identity.approve(again, proposal)
    assert alone.value.code == "client-not-permitted"
    await identity.approve(_actor(here.exchange, caller, "berta"), proposal)
