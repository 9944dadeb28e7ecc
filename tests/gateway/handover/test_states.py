"""The one table of a delivery's states."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from audit.log.entries import OUTCOMES, TYPES, Entry, EntryError, EntryType, Outcome
from gateway.handover.states import MOVES, OPEN, REACHED, SETTLED, DeliveryState

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_states_of_flows_that_do_not_run_yet_are_listed_and_led_to_by_no_move() -> None:
    coming = {"refused", "planned-anew", "cancelled", "expired", "superseded", "paused"}

    assert {state.value for state in set(DeliveryState) - REACHED} == coming


def test_what_is_settled_moves_no_more_and_what_is_open_can_still_be_settled() -> None:
    assert not [state for state in SETTLED if state in MOVES]
    assert set(OPEN) | set(SETTLED) == REACHED
    assert all(MOVES[state] & set(SETTLED) for state in OPEN)


def test_an_entry_that_was_read_has_members_of_the_vocabulary_and_no_text() -> None:
    entry = Entry.parse(Entry(type="query", outcome="success", recorded=NOW).canonical())

    assert entry.type is EntryType.QUERY
    assert entry.outcome is Outcome.SUCCESS


@pytest.mark.parametrize("words", [{"type": "rumour"}, {"outcome": "perhaps"}], ids=["type", "outcome"])
def test_a_word_that_the_vocabulary_lacks_makes_no_entry(words: dict[str, str]) -> None:
    with pytest.raises(EntryError, match=next(iter(words.values()))):
        Entry(**{"type": "query", "outcome": "success", "recorded": NOW, **words})


def test_the_vocabulary_is_what_files_and_pages_have_known_it_by() -> None:
    assert "break-glass" in TYPES
    assert "not-found" in OUTCOMES
    assert f"{EntryType.CONSOLE_READ} {Outcome.PENDING}" == "console-read pending"
