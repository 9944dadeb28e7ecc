"""A decision that was written down comes out again byte for byte, for everything that a decision can be made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from consent.deciding import replaying
from consent.deciding.decision import decide
from consent.deciding.examples import outcome
from consent.deciding.verdicts import Decision
from consent.rules.law import Rulebook, Word
from consent.rules.request import Emergency
from tests.consent.deciding.test_older_decision import AT, World, ask, basis, book, decided, record, worlds
from tests.former import former
from tests.properties import examples


@examples(120)
@given(worlds)
def test_decision_and_its_replay_are_identical(world: World) -> None:
    _, bases, prohibitions, consents, _ = world
    first = decided(world)

    recorded = replaying.read(replaying.written(first))
    again = replaying.again(recorded, book(*bases, prohibitions=prohibitions), consents)

    assert again.canonical() == recorded.canonical == first.canonical()
    assert again.id == first.id
    assert recorded.considered == tuple((one.id, one.version) for one in consents)


def test_every_example_of_the_reference_rulebook_is_replayed_by_a_freshly_loaded_one(rulebook: Rulebook) -> None:
    loaded = former.__wrapped__()
    for example in rulebook.examples:
        first = outcome(rulebook, example)
        if first.considered:
            continue  # a case's consents have no store to come from again
        assert replaying.again(replaying.read(replaying.written(first)), loaded, ()).canonical() == first.canonical()


def test_words_of_a_justification_are_not_written_down() -> None:
    request = ask(emergency=Emergency("the caller said that the child is in danger"))

    text = replaying.written(decide(request, book(basis(emergency=True)), (), AT))

    assert b"danger" not in text
    assert replaying.read(text).request.emergency == Emergency("")


def test_another_rulebook_makes_another_decision() -> None:
    first = decide(ask(), book(basis()), (), AT)

    again = replaying.again(replaying.read(replaying.written(first)), book(), ())

    assert first.permitted_categories == {"health"}
    assert not again.permitted


def test_consent_of_another_version_is_seen() -> None:
    rules = book(basis(word=Word.CONSENT))
    first = decide(ask(), rules, (record(version=1),), AT)

    again = replaying.again(replaying.read(replaying.written(first)), rules, (record(version=2),))

    assert again.canonical() != first.canonical()


BROKEN: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    ("no request", lambda document: document.pop("request")),
    ("a fact that there is not", lambda document: document["request"]["facts"].update(star_sign="lion")),
    ("no moment", lambda document: document.pop("at")),
    ("consents of another form", lambda document: document.update(considered=[1])),
]


@pytest.mark.parametrize("broken", [row[1] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_what_was_not_written_by_us_is_refused(broken: Callable[[dict[str, Any]], Any]) -> None:
    import orjson

    document = orjson.loads(replaying.written(decide(ask(), book(basis()), (), AT)))
    broken(document)

    with pytest.raises(
        ValueError, match=r"not a recorded decision|Invalid isoformat|not enough values|too many values"
    ):
        replaying.read(orjson.dumps(document))


def test_decision_of_a_changed_request_is_another_one() -> None:
    first = decide(ask(), book(basis()), (), AT)
    recorded = replaying.read(replaying.written(first))
    tampered = replace(recorded, request=replace(recorded.request, purpose="q"))

    again: Decision = replaying.again(tampered, book(basis()), ())

    assert again.canonical() != recorded.canonical
