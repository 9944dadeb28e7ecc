"""What the words of the log take in."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from audit.log.entries import Categories, Entry, EntryType, Outcome
from audit.questions import query, withdrawals
from audit.questions.words import MEANINGS, RELEASES, Word
from tests.audit.conftest import Bench

PERMITTED = Categories(("identity",), ("health-needs",))


@pytest.mark.parametrize("word", Word)
def test_the_search_for_a_word_finds_what_the_word_counts_and_nothing_else(
    bench: Bench, make_entry: Callable[..., Entry], word: Word
) -> None:
    made = [
        make_entry(type=kind, outcome=outcome, categories=categories)
        for kind in EntryType
        for outcome in Outcome
        for categories in (Categories(), Categories(("identity",)), PERMITTED)
    ]
    with bench.log() as log:
        log.append_blocking(made)
    with bench.engine.connect() as connection:
        found = [item.entry.id for item in query.walk(connection, query.meaning(word), order="oldest")]

    meant = MEANINGS[word]
    expected = [
        entry.id
        for entry in made
        if entry.type in meant.types and entry.outcome in meant.outcomes and meant.takes_in(entry)
    ]
    assert sorted(found) == sorted(expected)
    assert found


@pytest.mark.parametrize(
    ("kind", "outcome", "categories", "is_withheld"),
    [
        ("decision", "planned", PERMITTED, True),
        ("decision", "planned", Categories(("identity",)), False),
        ("decision", "withheld", Categories((), ("health-needs",)), True),
        ("delivery", "success", PERMITTED, True),
        ("delivery", "success", Categories(("identity",)), False),
        ("delivery", "requested", PERMITTED, False),
        ("query", "partial", PERMITTED, True),
        ("handover", "planned", Categories(), False),
    ],
)
def test_withheld_takes_in_what_handovers_held_back_and_nothing_that_went_whole(
    bench: Bench, make_entry: Callable[..., Entry], kind: str, outcome: str, categories: Categories, is_withheld: bool
) -> None:
    with bench.log() as log:
        log.append_blocking([make_entry(type=kind, outcome=outcome, categories=categories)])
    with bench.engine.connect() as connection:
        found = list(query.walk(connection, query.meaning(Word.WITHHELD)))

    assert bool(found) is is_withheld


def test_each_ending_of_a_release_has_one_word() -> None:
    endings = (Word.DISCLOSED, Word.REFUSED, Word.FAILED, Word.NOT_FOUND, Word.STOPPED)
    for kind in RELEASES:
        for outcome in ("success", "partial", "refused", "withheld", "not-found", "failed", "stopped"):
            fitting = [word for word in endings if kind in MEANINGS[word].types and outcome in MEANINGS[word].outcomes]
            assert len(fitting) == 1, (kind, outcome)


def test_a_consent_carried_what_is_in_it_and_not_what_the_delivery_held_besides(
    bench: Bench, make_entry: Callable[..., Entry]
) -> None:
    given = make_entry(
        type="consent", consents=(("c-1", 1),), categories=Categories(("health-needs",)), detail={"status": "active"}
    )
    everything = Categories(("contact", "health-needs", "identity"))
    with bench.log() as log:
        log.append_blocking([given, make_entry(type="delivery", consents=(("c-1", 1),), categories=everything)])
    with bench.engine.connect() as connection:
        (story,) = withdrawals.consents_of(connection, [given.subject or ""])

    (release,) = story.disclosed
    assert story.carried(release) == ("health-needs",)
    assert story.to_dict()["disclosed"][0]["carried"] == ["health-needs"]
