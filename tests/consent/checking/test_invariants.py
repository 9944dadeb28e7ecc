"""Invariants: each is proved or answered by a case, and the space that is looked at is the whole one."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.checking.explaining import explain
from consent.checking.invariants import prove
from consent.checking.stating import Invariant, load_invariants, reference_invariants
from consent.checking.worlds import _VALUES, World, placed, reads, worlds
from consent.deciding.supposed import Supposed, SupposedError
from consent.rules.conditions import CONDITIONS
from consent.rules.document import RulebookError
from consent.rules.law import Basis, Mode, Rulebook, Word
from consent.rules.request import Way
from tests.consent.second_form import WORDS, basis, book, prohibition, reference
from tests.properties import examples


def test_reference_keeps_every_invariant_of_its_own() -> None:
    proofs = prove(reference(), load_invariants(reference_invariants(), reference()))

    assert len(proofs) >= 12
    assert [proof.invariant.id for proof in proofs if not proof.holds] == []
    assert all(proof.points for proof in proofs)


def invariant(kind: str = "never", **stated: Any) -> Invariant:
    document = {"invariants": [{"id": "i", "says": WORDS, kind: stated}]}
    return load_invariants(json.dumps(document).encode(), _small())[0]


def _small(*bases: Basis) -> Rulebook:
    return book(*(bases or (basis(mode=Mode.DUTY, conditions=("permit-granted",)),)))


def test_broken_invariant_is_answered_by_a_case_that_is_decided_so() -> None:
    broken = prove(_small(), [invariant(to=["town"], categories=["health"])])[0]

    assert broken.counterexample is not None
    again = Supposed.from_json(broken.counterexample.supposed.to_json())
    decision = again.decision(_small())
    assert decision.permitted_categories == {"health"}
    assert again.request.stated.permit_granted is True
    assert broken.counterexample.basis == "b"
    for language in ("fi", "sv", "en"):
        assert explain(decision, _small(), language)


def test_seeded_basis_that_gives_a_municipality_health_is_found_in_the_reference() -> None:
    given = reference().basis("assessment-municipality")
    assert given is not None
    worse = replace(given, id="worse", categories=given.categories | {"health-needs"})
    rulebook = reference().with_bases([*reference().bases, worse])
    wanted = [one for one in load_invariants(reference_invariants(), rulebook) if one.id.startswith("no-health")]

    found = prove(rulebook, wanted)[0].counterexample

    assert found is not None
    assert found.basis == "worse"
    assert found.supposed.decision(rulebook).permitted_categories == {"health-needs"}


@pytest.mark.parametrize(
    ("stated", "holds"),
    [
        ({"said": ["nothing"]}, True),
        ({"said": ["consent"]}, False),
        ({"said": ["permission"]}, True),
        ({"said": ["consent"], "but_by": ["1/2020 1:1"]}, True),
        ({"said": ["consent"], "but_by": ["1/2020 2"]}, False),
        ({"said": ["consent"], "when": ["permit-not-granted"]}, True),
        ({"said": ["consent"], "persons": ["pending"]}, True),
        ({"said": ["consent"], "until": "2020-01-01"}, False),
        ({"said": ["consent"], "from": ["town"]}, True),
    ],
)
def test_never_is_narrowed_by_each_of_its_words(stated: dict[str, Any], holds: bool) -> None:
    rules = _small(basis(mode=Mode.BY_WORD, word=Word.CONSENT, conditions=("permit-granted",)))

    assert prove(rules, [invariant(**stated)])[0].holds is holds


@pytest.mark.parametrize(
    ("stated", "holds"),
    [
        ({"when": ["permit-granted"]}, True),
        ({}, False),
        ({"when": ["permit-granted"], "categories": ["contact"]}, False),
    ],
)
def test_always_needs_every_person_to_be_carried(stated: dict[str, Any], holds: bool) -> None:
    where = {"from": ["centre"], "to": ["town"], "purposes": ["p"], "categories": ["health"]}

    assert prove(_small(), [invariant("always", **{**where, **stated})])[0].holds is holds


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({}, ""),
        ({"invariants": [{"id": "i"}]}, "/invariants/0"),
        ({"invariants": [{"id": "i", "says": WORDS, "never": {"to": ["nobody"]}}]}, "/invariants/0/never/to/0"),
        ({"invariants": [{"id": "i", "says": WORDS, "never": {"when": ["x"]}}]}, "/invariants/0/never/when/0"),
        ({"invariants": [{"id": "i", "says": WORDS, "never": {"since": "1.1.2025"}}]}, "/invariants/0/never/since"),
        ({"invariants": [{"id": "i", "says": {"fi": "x"}, "never": {}}]}, "/invariants/0/says"),
        ({"invariants": [{"id": "i", "says": WORDS, "never": {"but_by": ["86 §"]}}]}, "/invariants/0/never/but_by/0"),
        ({"invariants": [{"id": "i", "says": WORDS, "never": {"sometimes": []}}]}, "/invariants/0/never/sometimes"),
    ],
)
def test_file_that_says_no_invariant_is_refused_with_its_place(document: dict[str, Any], pointer: str) -> None:
    with pytest.raises(RulebookError) as told:
        load_invariants(json.dumps(document).encode(), _small())

    assert [fault.pointer for fault in told.value.faults] == [pointer]


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"on": "x"}', b'{"more": 1}'])
def test_file_that_is_no_case_is_refused(data: bytes) -> None:
    with pytest.raises(SupposedError):
        Supposed.from_json(data)


SOME = [
    "permit-granted",
    "permit-not-granted",
    "subject-is-minor",
    "under-23",
    "vulnerable",
    "safety-prohibition",
    "safety-mark-missing",
    "directed-to-municipality",
    "placed-in-municipality",
]


@st.composite
def small_rulebooks(draw: st.DrawFn) -> Rulebook:
    names = st.lists(st.sampled_from(SOME), max_size=2, unique=True).map(tuple)
    bases = [
        basis(
            f"b{index}",
            conditions=draw(names),
            mode=draw(st.sampled_from([Mode.DUTY, Mode.RIGHT_TO_GET, Mode.ON_REQUEST])),
            permits=frozenset(draw(st.sets(st.sampled_from(["asylum", "pending"])))),
        )
        for index in range(draw(st.integers(1, 3)))
    ]
    stops = prohibition("stop", {"b0"}, draw(st.sampled_from(SOME)), unless=draw(names))
    return book(*bases, prohibitions=(stops,) if draw(st.booleans()) else ())


@examples(60)
@given(
    small_rulebooks(),
    st.sampled_from(["never", "always"]),
    st.lists(st.sampled_from(SOME), max_size=2, unique=True),
    st.sampled_from(["query", "handover"]),
    st.booleans(),
)
def test_what_is_proved_is_what_trying_everything_finds(
    rulebook: Rulebook, kind: str, when: list[str], way: str, asked: bool
) -> None:
    stated = {
        "from": ["centre"], "to": ["town"], "purposes": ["p"], "categories": ["health"], "when": when, "ways": [way],
        "said": ["nothing"], "asked": asked,
    }  # fmt: skip
    document = {"invariants": [{"id": "i", "says": WORDS, kind: stated}]}
    stating = load_invariants(json.dumps(document).encode(), rulebook)[0]

    proof = prove(rulebook, [stating])[0]

    outcomes = list(_everything(rulebook, when, Way(way), asked))
    assert proof.holds is (not any(outcomes) if kind == "never" else all(outcomes))
    if proof.counterexample is not None:
        moves = bool(proof.counterexample.supposed.decision(rulebook).permitted)
        assert moves is (kind == "never")


def _everything(rulebook: Rulebook, when: list[str], way: Way, asked: bool) -> Any:
    """Whether health moves, for every person whom the facts that are read can tell apart."""
    from consent.deciding.decision import decide
    from consent.rules.request import Party, Request, SubjectFacts
    from tests.consent.second_form import AT, standing

    facts = sorted({fact for name in SOME for fact in reads(name)})
    for ground in ("asylum", "pending"):
        for values in product(*(_VALUES.get(fact, (True, False, None)) for fact in facts)):
            person = placed(SubjectFacts(**dict(zip(facts, values, strict=True)), permit_ground=ground), "requester")
            if ground == "pending" and person.permit_granted:
                continue
            request = Request(
                Party("centre", "giver"),
                Party("town", "getter", frozenset({"285"})),
                "p",
                frozenset({"health"}),
                person,
                way=way,
                standing=(standing(member="getter"),) if asked else (),
            )
            if all(CONDITIONS[name].holds(request) is True for name in when):
                yield bool(decide(request, rulebook, (), AT).permitted)


def test_worlds_are_those_that_somebody_can_live_in() -> None:
    names = {"subject-is-minor", "subject-is-adult", "under-23"}
    found = {tuple(sorted(world.answers.items())) for world in worlds(names, {})}

    # A child, a young adult, an older one; one of whom nobody knows which of two they are, twice; and nobody knows.
    assert len(found) == 6
    assert World({}, reference().cases["p01-asylum-adult"].facts).holds("subject-is-minor") is False
