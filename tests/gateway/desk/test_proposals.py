"""What a new rulebook would change, asked of what a node has really decided and kept, on both kinds of database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from consent.rules.document import RulebookError
from gateway.desk.proposals import LONGEST, ComparingError, NothingStandsError, Proposals
from gateway.registry.read.standing import Standing
from schemas.identifiers import MIGRI_CUSTOMER
from tests.former import former_rulebook
from tests.gateway.exchange.inprocess import InProcess, Place, node
from tests.gateway.rulebooks import without

SAME = former_rulebook().decode()


def proposals(here: InProcess, standing: Callable[[], Standing | None] | None = None) -> Proposals:
    exchange = here.exchange
    return Proposals(exchange.engine, exchange.subjects, standing or (lambda: exchange.standing(exchange.clock())))


async def test_recorded_decisions_are_decided_by_both_rulebooks(place: Place, database_url: str) -> None:
    async with node(place, database_url) as here:
        began = here.exchange.clock()
        for person in ("A1", "A2", "A3"):
            await here.ask(person)
        ended = here.exchange.clock() + timedelta(seconds=1)
        centre, kotka, county = (str(place.network.parties[name].member) for name in ("centre", "kotka", "kymenlaakso"))
        entries = [one.id for one in here.entries() if one.outcome == "partial"]
        desk = proposals(here)
        narrowed = without("identity")

        whole = desk.compare(narrowed)
        same = desk.compare(SAME)
        before = desk.compare(narrowed, end=began)
        within = desk.compare(narrowed, start=began, end=ended)
        newest = desk.compare(narrowed, most=1)
        of_members = [desk.compare(narrowed, member=one).swing.decisions for one in (centre, kotka, county)]

        subjects, engine = here.exchange.subjects, here.exchange.engine
        with engine.execution_options(writes=True).begin() as connection:
            person = subjects.find(connection, MIGRI_CUSTOMER, "A2")
            assert person is not None
            subjects.destroy(connection, person.id, here.exchange.clock())
        forgotten = desk.compare(narrowed)
        forgotten_of_kotka = desk.compare(narrowed, member=kotka)

    assert (whole.swing.decisions, whole.swing.otherwise, whole.swing.forgotten, whole.cut) == (3, 3, 0, False)
    assert whole.swing.entries == tuple(reversed(entries))
    assert whole.swing.by_purpose == {"service-need-lookup": 3}
    assert (dict(whole.swing.gained), dict(whole.swing.lost)) == ({}, {"identity": 3})
    assert whole.swing.turns["service-need-lookup"].lost == {"identity": 3}
    assert whole.old.digest != whole.new.digest
    assert (same.swing.decisions, same.swing.otherwise, same.old.digest) == (3, 0, same.new.digest)
    assert (before.swing.decisions, within.swing.decisions) == (0, 3)
    assert (newest.swing.entries, newest.cut) == (whole.swing.entries[:1], True)
    assert of_members == [3, 3, 0]
    assert (forgotten.swing.decisions, forgotten.swing.forgotten) == (2, 1)
    assert (forgotten_of_kotka.swing.decisions, forgotten_of_kotka.swing.forgotten) == (2, 0)


async def test_rulebooks_too_large_to_be_held_against_each_other_are_not(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with node(place, f"sqlite:///{tmp_path_factory.mktemp('large') / 'node.db'}") as here:
        desk = proposals(here)
        roles = "".join(f"  role-{number}: {{fi: a, sv: b, en: c}}\n" for number in range(3_000))
        large = SAME.replace("roles:\n", "roles:\n" + roles, 1)

        usual, told = desk.compare(SAME), desk.compare(large)

    assert usual.differences is not None
    assert usual.differences.changes == ()
    assert told.differences is None
    assert told.swing.decisions == 0


async def test_what_is_no_rulebook_is_told_and_nothing_is_compared_without_one(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with node(place, f"sqlite:///{tmp_path_factory.mktemp('none') / 'node.db'}") as here:
        desk = proposals(here)
        with pytest.raises(RulebookError, match="this is not a rulebook"):
            desk.compare("HETU;NIMI\n")
        with pytest.raises(RulebookError, match="over 384 kB"):
            desk.compare("ä" * (LONGEST // 2 + 1))
        with pytest.raises(NothingStandsError):
            proposals(here, lambda: None).compare(SAME)
        assert desk.compare(SAME).swing.decisions == 0  # none of them is in the way of the next


async def test_one_comparison_is_made_at_a_time(place: Place, tmp_path_factory: pytest.TempPathFactory) -> None:
    """While the first reads what was kept, a second is asked for: it is turned away, and the first goes on."""
    async with node(place, f"sqlite:///{tmp_path_factory.mktemp('busy') / 'node.db'}") as here:
        await here.ask("A1")
        desk = proposals(here)
        turned_away: list[bool] = []

        def again(*_statement: Any) -> None:
            with pytest.raises(ComparingError):
                desk.compare(SAME)
            turned_away.append(True)

        event.listen(here.exchange.engine, "before_cursor_execute", again)
        try:
            first = desk.compare(SAME)
        finally:
            event.remove(here.exchange.engine, "before_cursor_execute", again)
        then = desk.compare(SAME)

    assert turned_away
    assert (first.swing.decisions, then.swing.decisions) == (1, 1)
