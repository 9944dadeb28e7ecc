"""Rulebooks of the first form: what beats what, told by tables, and what holds for all of them, told by properties."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.deciding.decision import decide
from consent.deciding.verdicts import Decision, PermittedCategory, WithheldCategory, legal_day
from consent.rules.conditions import CONDITIONS
from consent.rules.law import Basis, Category, Permit, Prohibition, Rulebook, Statute, Word
from consent.rules.request import Emergency, Party, Request, SubjectFacts
from consent.words.consents import ConsentRecord, Evidence
from consent.words.givers import Giver, GiverKind
from tests.properties import examples

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
WORDS = {"fi": "x", "sv": "x", "en": "x"}
FACTS = SubjectFacts(
    permit_ground="asylum-granted",
    permit_granted=True,
    age=30,
    municipality="285",
    county="kymenlaakso",
    vulnerable=False,
    safety_prohibition=False,
    moves_independently=False,
    family_size=1,
)


def basis(id_: str = "b", **fields: Any) -> Basis:
    given_ = {
        "id": id_,
        "statute": Statute("laki", "1/2000", None),
        "title": WORDS,
        "reviewed": False,
        "starts": None,
        "ends": None,
        "purposes": frozenset({"p"}),
        "providers": frozenset({"centre"}),
        "requesters": frozenset({"town"}),
        "permits": frozenset(),
        "categories": frozenset({"health"}),
        "conditions": (),
        "word": Word.SHOWN,
        "emergency": False,
        "obligations": frozenset({"minimise"}),
    }
    return Basis(**{**given_, **fields})


def book(*bases: Basis, prohibitions: tuple[Prohibition, ...] = ()) -> Rulebook:
    categories = {
        "health": Category("health", WORDS, "special"),
        "contact": Category("contact", WORDS, "confidential", None, ("contact/address", "contact/telecom")),
        "contact/address": Category("contact/address", WORDS, "confidential", "contact"),
        "contact/telecom": Category("contact/telecom", WORDS, "confidential", "contact"),
        "housing": Category("housing", WORDS, "confidential"),
    }
    permits = {
        "asylum-granted": Permit("asylum-granted", WORDS, None, None),
        "temporary": Permit("temporary", WORDS, date(2023, 3, 1), None),
    }
    return Rulebook(
        name="t",
        version="1",
        status="draft",
        digest="sha-256:0",
        source="t",
        purposes={"p": WORDS, "q": WORDS},
        roles={"centre": WORDS, "town": WORDS},
        permits=permits,
        categories=categories,
        flows={},
        bases=(),
        prohibitions=prohibitions,
        gaps=(),
        parties={},
        cases={},
        examples=(),
    ).with_bases(bases)


def record(status: str = "active", **fields: Any) -> ConsentRecord:
    given_: dict[str, Any] = {
        "id": "c1",
        "version": 1,
        "status": status,
        "subject": "s",
        "given_by": Giver(GiverKind.SELF),
        "purposes": frozenset({"p"}),
        "recipients": frozenset({"town"}),
        "categories": frozenset({"health"}),
        "starts": None,
        "ends": None,
        "language": "fi",
        "evidence": Evidence(),
        "recorded_by": "x",
        "recorded_at": AT,
    }
    return ConsentRecord(**{**given_, **fields})


def ask(*categories: str, **fields: Any) -> Request:
    given_: dict[str, Any] = {
        "provider": Party("centre"),
        "requester": Party("town", "FI/MUN/1", frozenset({"285"})),
        "purpose": "p",
        "categories": frozenset(categories or {"health"}),
        "facts": FACTS,
    }
    return Request(**{**given_, **fields})


def code(decision: Decision, category: str = "health") -> str:
    """`permitted`, `possible`, or the reason for which it is withheld."""
    for one in decision.permitted:
        if one.category == category:
            return "possible" if one.possible else "permitted"
    return next(one.code for one in decision.withheld if one.category == category)


DAY = date(2026, 3, 1)
CASES: list[tuple[str, tuple[Basis, ...], tuple[ConsentRecord, ...], str]] = [
    ("nothing gives it", (), (), "no-basis"),
    ("another purpose", (basis(purposes=frozenset({"q"})),), (), "no-basis"),
    ("another provider", (basis(providers=frozenset({"town"})),), (), "no-basis"),
    ("another category", (basis(categories=frozenset({"housing"})),), (), "no-basis"),
    ("statutory duty", (basis(),), (), "permitted"),
    ("first day of a basis", (basis(starts=DAY),), (), "permitted"),
    ("the day before it is in force", (basis(starts=DAY + timedelta(1)),), (), "basis-not-in-force"),
    ("last day of a basis", (basis(ends=DAY),), (), "permitted"),
    ("the day after its last", (basis(ends=DAY - timedelta(1)),), (), "basis-not-in-force"),
    ("another kind of permit", (basis(permits=frozenset({"temporary"})),), (), "subject-group"),
    ("condition does not hold", (basis(conditions=("subject-is-minor",)),), (), "condition-unmet"),
    ("condition holds", (basis(conditions=("subject-is-adult",)),), (), "permitted"),
    ("consent needed, none there", (basis(word=Word.CONSENT),), (), "consent-missing"),
    ("consent needed and given", (basis(word=Word.CONSENT),), (record(),), "permitted"),
    ("consent needed and withdrawn", (basis(word=Word.CONSENT),), (record("withdrawn"),), "consent-withdrawn"),
    ("consent entered in error", (basis(word=Word.CONSENT),), (record("entered-in-error"),), "consent-missing"),
    (
        "consent for another purpose",
        (basis(word=Word.CONSENT),),
        (record(purposes=frozenset({"q"})),),
        "consent-missing",
    ),
    (
        "consent for another recipient",
        (basis(word=Word.CONSENT),),
        (record(recipients=frozenset({"x"})),),
        "consent-missing",
    ),
    (
        "consent for the member by name",
        (basis(word=Word.CONSENT),),
        (record(recipients=frozenset({"FI/MUN/1"})),),
        "permitted",
    ),
    (
        "consent for another category",
        (basis(word=Word.CONSENT),),
        (record(categories=frozenset({"housing"})),),
        "consent-missing",
    ),
    ("consent that names no purpose", (basis(word=Word.CONSENT),), (record(purposes=frozenset()),), "consent-missing"),
    (
        "consent that names no recipient",
        (basis(word=Word.CONSENT),),
        (record(recipients=frozenset()),),
        "consent-missing",
    ),
    ("consent from tomorrow", (basis(word=Word.CONSENT),), (record(starts=DAY + timedelta(1)),), "consent-missing"),
    ("consent until today", (basis(word=Word.CONSENT),), (record(ends=DAY),), "permitted"),
    ("consent until yesterday", (basis(word=Word.CONSENT),), (record(ends=DAY - timedelta(1)),), "consent-missing"),
    (
        "representative whose mandate has ended",
        (basis(word=Word.CONSENT),),
        (record(given_by=Giver("representative", DAY - timedelta(1))),),
        "consent-missing",
    ),
    (
        "guardian whose mandate has ended",
        (basis(word=Word.CONSENT),),
        (record(given_by=Giver("guardian", DAY - timedelta(1))),),
        "consent-missing",
    ),
    (
        "guardian on the mandate's last day",
        (basis(word=Word.CONSENT),),
        (record(given_by=Giver("guardian", DAY)),),
        "permitted",
    ),
    (
        "refusal by a guardian whose mandate has ended still stands",
        (basis(word=Word.REFUSABLE),),
        (record("refused", given_by=Giver("guardian", DAY - timedelta(1))),),
        "refused",
    ),
    ("refusable, nobody refused", (basis(word=Word.REFUSABLE),), (), "permitted"),
    ("refusable and refused", (basis(word=Word.REFUSABLE),), (record("refused"),), "refused"),
    (
        "refused in general",
        (basis(word=Word.REFUSABLE),),
        (record("refused", purposes=frozenset(), recipients=frozenset()),),
        "refused",
    ),
    ("refusal beats a consent", (basis(word=Word.CONSENT),), (record(), record("refused", id="c2")), "refused"),
    ("refusal does not stop a duty", (basis(),), (record("refused"),), "permitted"),
    (
        "refusal of something else",
        (basis(word=Word.REFUSABLE),),
        (record("refused", categories=frozenset({"housing"})),),
        "permitted",
    ),
    ("emergency basis without an emergency", (basis(emergency=True),), (), "emergency-only"),
    (
        "the nearest miss is told: consent before condition",
        (basis("far", conditions=("subject-is-minor",)), basis("near", word=Word.CONSENT)),
        (),
        "consent-missing",
    ),
]


@pytest.mark.parametrize(("bases", "consents", "expected"), [row[1:] for row in CASES], ids=[row[0] for row in CASES])
def test_one_category(bases: tuple[Basis, ...], consents: tuple[ConsentRecord, ...], expected: str) -> None:
    decision = decide(ask(), book(*bases), consents, AT)

    assert code(decision) == expected


def test_day_is_that_of_the_finnish_calendar() -> None:
    late = datetime(2024, 12, 31, 22, 30, tzinfo=UTC)  # half past midnight of New Year's Day in Helsinki

    decision = decide(ask(), book(basis(starts=date(2025, 1, 1))), (), late)

    assert legal_day(late) == date(2025, 1, 1)
    assert code(decision) == "permitted"


def test_permit_ground_carries_nothing_before_the_law_knows_it() -> None:
    rules = book(basis(permits=frozenset({"temporary"})))
    request = ask(facts=replace(FACTS, permit_ground="temporary"))

    before = decide(request, rules, (), datetime(2023, 2, 28, 12, tzinfo=UTC))
    after = decide(request, rules, (), datetime(2023, 3, 1, 12, tzinfo=UTC))

    assert code(before) == "subject-group"
    assert code(after) == "permitted"


def test_lightest_basis_is_named_and_emergency_last() -> None:
    rules = book(
        basis("emergency", emergency=True),
        basis("consent", word=Word.CONSENT),
        basis("refusable", word=Word.REFUSABLE),
        basis("duty"),
    )

    decision = decide(ask(emergency=Emergency("fire")), rules, (record(),), AT)

    assert decision.permitted[0].basis == "duty"
    assert not decision.emergency


def test_refusal_that_a_duty_overrides_is_shown_with_it() -> None:
    decision = decide(ask(), book(basis("duty")), (record("refused", id="c9"),), AT)

    assert decision.permitted[0].overridden == "c9"
    assert decision.permitted[0].basis == "duty"


def test_consent_that_carried_is_named_with_its_version() -> None:
    decision = decide(ask(), book(basis(word=Word.CONSENT)), (record(version=3),), AT)

    assert (decision.permitted[0].consent_id, decision.permitted[0].consent_version) == ("c1", 3)


def test_nearest_basis_and_its_first_unmet_condition_are_told() -> None:
    rules = book(basis("near", conditions=("permit-granted", "subject-is-minor", "vulnerable")))

    withheld = decide(ask(), rules, (), AT).withheld[0]

    assert (withheld.nearest_basis, withheld.unmet) == ("near", "subject-is-minor")


def test_what_would_have_made_it_permitted_does_when_it_is_mended() -> None:
    rules = book(basis("near", conditions=("subject-is-minor",)))

    mended = decide(ask(facts=replace(FACTS, age=17)), rules, (), AT)

    assert code(mended) == "permitted"


def test_unknown_category_is_withheld_as_such() -> None:
    assert code(decide(ask("horoscope"), book(basis()), (), AT), "horoscope") == "category-unknown"


PROHIBITED = Prohibition(
    "secret",
    WORDS,
    None,
    None,
    frozenset(),
    frozenset({"contact/address"}),
    ("safety-prohibition",),
    ("requester-is-named-recipient",),
)


def test_prohibition_of_a_part_leaves_the_other_part() -> None:
    rules = book(basis(categories=frozenset({"contact"})), prohibitions=(PROHIBITED,))
    request = ask("contact", facts=replace(FACTS, safety_prohibition=True))

    decision = decide(request, rules, (), AT)

    assert decision.permitted_categories == {"contact/telecom"}
    assert code(decision, "contact") == "prohibited"


@pytest.mark.parametrize(
    ("purposes", "expected"),
    [(frozenset(), "prohibited"), (frozenset({"p", "q"}), "prohibited"), (frozenset({"q"}), "permitted")],
    ids=["of none, so of all", "this one", "another one"],
)
def test_prohibition_holds_for_the_purposes_that_it_names(purposes: frozenset[str], expected: str) -> None:
    rules = book(basis(), prohibitions=(replace(SPARING, purposes=purposes, stops_emergencies=True),))
    pending = ask(facts=replace(FACTS, permit_granted=False))

    assert code(decide(pending, rules, (), AT)) == expected


def test_until_its_facts_are_known_a_prohibition_leaves_nothing_more_than_possible() -> None:
    address = "contact/address"
    rules = book(basis(categories=frozenset({"contact"})), prohibitions=(PROHIBITED,))

    decision = decide(ask(address, facts=None, known=False), rules, (), AT)

    assert (decision.outcome, code(decision, address)) == ("possible", "possible")
    assert decision.permitted[0].needs == ("named_recipient", "safety_prohibition")


def test_named_recipient_gets_the_address_all_the_same() -> None:
    rules = book(basis(categories=frozenset({"contact"})), prohibitions=(PROHIBITED,))
    request = ask("contact", facts=replace(FACTS, safety_prohibition=True, named_recipient="285"))

    assert decide(request, rules, (), AT).permitted_categories == {"contact"}


def test_prohibition_beats_consent_duty_and_emergency() -> None:
    rules = book(
        basis("duty", categories=frozenset({"contact"})),
        basis("consent", categories=frozenset({"contact"}), word=Word.CONSENT),
        basis("emergency", categories=frozenset({"contact"}), emergency=True),
        prohibitions=(PROHIBITED,),
    )
    request = ask(
        "contact/address", facts=replace(FACTS, safety_prohibition=True), emergency=Emergency("someone is at the door")
    )

    decision = decide(request, rules, (record(categories=frozenset({"contact"})),), AT)

    assert code(decision, "contact/address") == "prohibited"


SPARING = Prohibition(
    "no-permit",
    WORDS,
    None,
    None,
    frozenset(),
    frozenset({"health", "contact"}),
    ("permit-not-granted",),
    (),
    stops_emergencies=False,
)
URGENT = Emergency("cannot wait")
#: The prohibition stands; the bases, whether an emergency is stated, what else is prohibited, and what comes out.
SPARED: list[tuple[str, tuple[Basis, ...], Emergency | None, tuple[Prohibition, ...], str]] = [
    ("a basis for emergencies passes it", (basis(emergency=True),), URGENT, (SPARING,), "permitted"),
    ("not without an emergency", (basis(emergency=True),), None, (SPARING,), "prohibited"),
    ("no other basis passes it in an emergency", (basis("duty"),), URGENT, (SPARING,), "prohibited"),
    ("a condition of the basis still counts", (basis(emergency=True, conditions=("subject-is-minor",)),), URGENT,
     (SPARING,), "prohibited"),
    ("one that does not say so stops emergencies", (basis(emergency=True),), URGENT,
     (replace(SPARING, stops_emergencies=True),), "prohibited"),
    ("two, of which one stops emergencies", (basis(emergency=True),), URGENT,
     (SPARING, replace(SPARING, id="other", stops_emergencies=True)), "prohibited"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("bases", "emergency", "prohibitions", "expected"), [row[1:] for row in SPARED], ids=[row[0] for row in SPARED]
)
def test_prohibition_that_does_not_stop_emergencies(
    bases: tuple[Basis, ...], emergency: Emergency | None, prohibitions: tuple[Prohibition, ...], expected: str
) -> None:
    pending = ask(facts=replace(FACTS, permit_granted=False), emergency=emergency)

    decision = decide(pending, book(*bases, prohibitions=prohibitions), (), AT)

    assert code(decision) == expected


def test_emergency_passes_beside_a_duty_that_is_stopped() -> None:
    rules = book(basis("duty"), basis("urgent", emergency=True), prohibitions=(SPARING,))

    decision = decide(ask(facts=replace(FACTS, permit_granted=False), emergency=URGENT), rules, (), AT)

    assert [one.basis for one in decision.permitted] == ["urgent"]
    assert decision.emergency


def test_before_the_facts_are_known_an_emergency_does_not_wait_for_a_prohibition_that_spares_it() -> None:
    unknown = ask(facts=None, known=False, emergency=URGENT)

    urgent = decide(unknown, book(basis(emergency=True), prohibitions=(SPARING,)), (), AT)
    duty = decide(unknown, book(basis("duty"), prohibitions=(SPARING,)), (), AT)

    assert code(urgent) == "permitted"
    assert (code(duty), duty.permitted[0].needs) == ("possible", ("permit_granted",))


UNKNOWN: list[tuple[str, tuple[Basis, ...], str, tuple[str, ...]]] = [
    ("a condition may hold", (basis(conditions=("permit-granted",)),), "possible", ("permit_granted",)),
    ("a group may be the person's", (basis(permits=frozenset({"asylum-granted"})),), "possible", ("permit_ground",)),
    ("a consent may be there", (basis(word=Word.CONSENT),), "possible", ("consent",)),
    ("no fact can mend a basis that is not in force", (basis(ends=date(2020, 1, 1)),), "basis-not-in-force", ()),
    (
        "a certain basis is named before a possible one",
        (basis("maybe", conditions=("permit-granted",)), basis("sure")),
        "permitted",
        (),
    ),
]


@pytest.mark.parametrize(("bases", "expected", "needs"), [row[1:] for row in UNKNOWN], ids=[row[0] for row in UNKNOWN])
def test_before_the_facts_are_known(bases: tuple[Basis, ...], expected: str, needs: tuple[str, ...]) -> None:
    decision = decide(ask(facts=None, known=False), book(*bases), (), AT)

    assert code(decision) == expected
    if needs:
        assert decision.permitted[0].needs == needs
        assert decision.outcome == "possible"


def test_with_the_record_at_hand_what_it_does_not_say_does_not_hold() -> None:
    decision = decide(ask(facts=SubjectFacts()), book(basis(conditions=("permit-granted",))), (), AT)

    assert code(decision) == "condition-unmet"


def test_decision_never_prints_the_facts() -> None:
    decision = decide(ask(facts=replace(FACTS, age=97)), book(basis()), (), AT)

    assert "97" not in repr(decision)
    assert b"285" not in decision.canonical()


# -- properties ------------------------------------------------------------------------------------------------

CATEGORIES = ("health", "housing", "contact", "contact/address", "contact/telecom")
NAMES = sorted(CONDITIONS)
days = st.dates(date(2022, 1, 1), date(2027, 12, 31))
some_categories = st.frozensets(st.sampled_from(CATEGORIES), min_size=1)
answers = st.none() | st.booleans()
facts_ = st.none() | st.builds(
    SubjectFacts,
    permit_ground=st.sampled_from([None, "asylum-granted", "temporary", "martian"]),
    permit_granted=answers,
    age=st.none() | st.integers(0, 100),
    municipality=st.sampled_from([None, "285", "091"]),
    county=st.sampled_from([None, "kymenlaakso"]),
    unaccompanied=answers,
    has_guardian=answers,
    has_representative=answers,
    vulnerable=answers,
    safety_prohibition=answers,
    named_recipient=st.sampled_from([None, "285", "091"]),
    moves_independently=answers,
    family_size=st.none() | st.integers(1, 9),
    plan_in_force=answers,
)


@st.composite
def bases_(draw: st.DrawFn, prefix: str = "b") -> Basis:
    starts = draw(st.none() | days)
    ends = draw(st.none() | days)
    return basis(
        prefix + draw(st.text("abcdef", min_size=4, max_size=8)),
        starts=starts,
        ends=ends,
        purposes=draw(st.frozensets(st.sampled_from(["p", "q"]), min_size=1)),
        permits=draw(st.frozensets(st.sampled_from(["asylum-granted", "temporary"]))),
        categories=draw(some_categories),
        conditions=tuple(draw(st.lists(st.sampled_from(NAMES), max_size=2, unique=True))),
        word=draw(st.sampled_from([Word.SHOWN, Word.REFUSABLE, Word.CONSENT])),
        emergency=draw(st.booleans()),
        obligations=draw(st.frozensets(st.sampled_from(["minimise", "review"]))),
    )


@st.composite
def prohibitions_(draw: st.DrawFn) -> Prohibition:
    return Prohibition(
        "n" + draw(st.text("abcdef", min_size=4, max_size=8)),
        WORDS,
        draw(st.none() | days),
        draw(st.none() | days),
        draw(st.frozensets(st.sampled_from(["p", "q"]))),
        draw(some_categories),
        tuple(draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True))),
        tuple(draw(st.lists(st.sampled_from(NAMES), max_size=1))),
        stops_emergencies=draw(st.booleans()),
    )


@st.composite
def records_(draw: st.DrawFn, statuses: tuple[str, ...] = ("active", "refused", "withdrawn")) -> ConsentRecord:
    return record(
        draw(st.sampled_from(statuses)),
        id="c" + draw(st.text("0123456789", min_size=4, max_size=6)),
        version=draw(st.integers(1, 3)),
        given_by=Giver(draw(st.sampled_from(["self", "guardian"])), draw(st.none() | days)),
        purposes=draw(st.frozensets(st.sampled_from(["p", "q"]))),
        recipients=draw(st.frozensets(st.sampled_from(["town", "FI/MUN/1", "other"]))),
        categories=draw(some_categories),
        starts=draw(st.none() | days),
        ends=draw(st.none() | days),
    )


requests_ = st.builds(
    ask,
    purpose=st.sampled_from(["p", "q"]),
    categories=some_categories,
    facts=facts_,
    known=st.booleans(),
    emergency=st.none() | st.just(Emergency("urgent")),
).map(lambda request: request)
worlds = st.tuples(
    requests_,
    st.lists(bases_(), max_size=5, unique_by=lambda one: one.id).map(tuple),
    st.lists(prohibitions_(), max_size=2).map(tuple),
    st.lists(records_(), max_size=4, unique_by=lambda one: one.id).map(tuple),
    st.integers(0, 6 * 365 * 24).map(lambda hours: datetime(2022, 1, 2, tzinfo=UTC) + timedelta(hours=hours)),
)
World = tuple[Request, tuple[Basis, ...], tuple[Prohibition, ...], tuple[ConsentRecord, ...], datetime]


def decided(world: World) -> Decision:
    request, bases, prohibitions, consents, at = world
    return decide(request, book(*bases, prohibitions=prohibitions), consents, at)


def strength(decision: Decision) -> dict[str, int]:
    """0 withheld, 1 possible, 2 permitted, for every category and part that can be told from the decision."""
    found = dict.fromkeys(CATEGORIES, 0)
    for one in decision.permitted:
        parts = ("contact/address", "contact/telecom") if one.category == "contact" else ()
        for category in (one.category, *parts):
            found[category] = max(found[category], 1 if one.possible else 2)
    return found


@examples(150)
@given(worlds)
def test_nothing_is_permitted_without_a_basis_in_force_that_names_it(world: World) -> None:
    request, bases, prohibitions, _, at = world
    day = legal_day(at)

    for one in decided(world).permitted:
        carrying = next(basis for basis in bases if basis.id == one.basis)
        assert carrying.in_force(day)
        assert request.purpose in carrying.purposes
        assert request.requester.role in carrying.requesters
        assert request.provider.role in carrying.providers
        assert book().covers(carrying.categories, one.category)
        assert request.emergency is not None or not carrying.emergency
        assert book().covers(request.categories, one.category)
        if carrying.needs_word and not one.possible:
            assert one.consent_id is not None
        assert not any(
            rule.in_force(day)
            and (not rule.purposes or request.purpose in rule.purposes)
            and book().touches(rule.categories, one.category)
            and all(CONDITIONS[name].holds(request) is True for name in rule.when)
            and all(CONDITIONS[name].holds(request) is False for name in rule.unless)
            and (rule.stops_emergencies or not carrying.emergency)
            for rule in prohibitions
        )


@examples(150)
@given(worlds, records_(("refused",)))
def test_adding_a_refusal_never_permits_more(world: World, refusal: ConsentRecord) -> None:
    request, bases, prohibitions, consents, at = world
    before = strength(decided(world))

    after = strength(decided((request, bases, prohibitions, (*consents, refusal), at)))

    assert all(after[category] <= before[category] for category in CATEGORIES)


@examples(150)
@given(worlds, bases_("new"), st.integers(0, 5))
def test_adding_a_basis_never_withholds_more(world: World, added: Basis, place: int) -> None:
    request, bases, prohibitions, consents, at = world
    before = strength(decided(world))

    after = strength(decided((request, (*bases[:place], added, *bases[place:]), prohibitions, consents, at)))

    assert all(after[category] >= before[category] for category in CATEGORIES)


@examples(150)
@given(worlds, st.data())
def test_removing_a_category_from_the_request_never_changes_another_ones_decision(
    world: World, data: st.DataObject
) -> None:
    request, bases, prohibitions, consents, at = world
    removed = data.draw(st.sampled_from(sorted(request.categories)))
    before = decided(world)

    after = decided((replace(request, categories=request.categories - {removed}), bases, prohibitions, consents, at))

    for category in request.categories - {removed}:
        assert about(before, category) == about(after, category)


def about(decision: Decision, category: str) -> list[PermittedCategory | WithheldCategory]:
    return [one for one in (*decision.permitted, *decision.withheld) if one.category == category]


@examples(100)
@given(worlds)
def test_decision_is_made_again_byte_for_byte(world: World) -> None:
    request, bases, prohibitions, consents, at = world
    first = decided(world)

    again = decided((request, bases, prohibitions, consents, at))

    assert first.canonical() == again.canonical()
    assert first.id == again.id
    assert first == again


@examples(100)
@given(worlds)
def test_every_category_asked_for_is_decided_one_way(world: World) -> None:
    decision = decided(world)

    permitted = {one.category for one in decision.permitted}
    withheld = {one.category for one in decision.withheld}
    assert not permitted & withheld
    assert world[0].categories <= permitted | withheld
    assert (decision.outcome == "deny") == (not permitted)
