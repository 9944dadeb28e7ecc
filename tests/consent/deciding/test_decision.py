"""`decide` under rulebooks of the second form: what carries, what stops, and which side is the safe one."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from consent.deciding.decision import decide
from consent.deciding.replaying import again, read, written
from consent.rules.law import Basis, Mode, Rulebook, Word
from consent.rules.provisions import Provision
from consent.rules.request import Emergency, Request, SubjectFacts, Way
from consent.words.consents import ConsentRecord
from tests.consent.second_form import AT, FACTS, ask, basis, book, handover, prohibition, standing, why, word

DUTY = basis(mode=Mode.DUTY)
RIGHT = basis()
ON_REQUEST = basis(mode=Mode.ON_REQUEST)
MAY = basis(mode=Mode.MAY_GIVE)
PERMISSION = basis(mode=Mode.BY_WORD, word=Word.PERMISSION)
CONSENT = basis(mode=Mode.BY_WORD, word=Word.CONSENT)
FORBIDDEN = word("prohibition", "refused")


def outcome(request: Request, rulebook: Rulebook, *words: ConsentRecord) -> str:
    decision = decide(request, rulebook, words, AT)
    if decision.permitted:
        return "possible" if decision.permitted[0].possible else "permitted"
    return str(why(decision, "health"))


@pytest.mark.parametrize(
    ("carrying", "by_query", "by_handover", "by_asked_handover"),
    [
        (DUTY, "permitted", "permitted", "permitted"),
        (MAY, "permitted", "permitted", "permitted"),
        (RIGHT, "permitted", "nobody-asked", "permitted"),
        (ON_REQUEST, "permitted", "on-request-only", "on-request-only"),
        (PERMISSION, "permission-missing", "permission-missing", "permission-missing"),
        (CONSENT, "consent-missing", "consent-missing", "consent-missing"),
    ],
    ids=["duty", "may-give", "right", "on-request", "permission", "consent"],
)
def test_mode_says_by_which_way_a_basis_carries(
    carrying: Basis, by_query: str, by_handover: str, by_asked_handover: str
) -> None:
    rules = book(carrying)

    assert outcome(ask(), rules) == by_query
    assert outcome(handover(), rules) == by_handover
    assert outcome(handover(standing()), rules) == by_asked_handover


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({}, "permitted"),
        ({"provision": Provision("1/2020", "1")}, "permitted"),
        ({"provision": Provision("1/2020", "2", 1)}, "nobody-asked"),
        ({"provision": Provision("2/2020", "1", 1)}, "nobody-asked"),
        ({"purpose": "q"}, "nobody-asked"),
        ({"categories": frozenset({"contact"})}, "nobody-asked"),
        ({"providers": frozenset({"another"})}, "nobody-asked"),
        ({"providers": frozenset({"FI/GOV/1"})}, "permitted"),
        ({"member": "FI/MUN/2"}, "nobody-asked"),
        ({"role": "county"}, "nobody-asked"),
        ({"first": date(2026, 3, 2)}, "nobody-asked"),
        ({"last": date(2026, 2, 28)}, "nobody-asked"),
        ({"conditions": ("subject-is-adult",)}, "permitted"),
        ({"conditions": ("subject-is-minor",)}, "nobody-asked"),
        ({"conditions": ("vulnerable",)}, "nobody-asked"),
        ({"conditions": ("of-another-vocabulary",)}, "nobody-asked"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_standing_request_carries_only_what_it_asks(other: dict[str, object], expected: str) -> None:
    assert outcome(handover(standing(**other)), book(RIGHT)) == expected


def test_decision_names_the_standing_request_and_is_made_again_byte_for_byte() -> None:
    decision = decide(handover(standing()), book(RIGHT), (), AT)

    assert decision.permitted[0].standing == "sr-1"
    kept = read(written(decision))
    assert kept.request.way is Way.HANDOVER
    assert again(kept, book(RIGHT), ()).canonical() == decision.canonical()
    assert decide(ask(), book(RIGHT), (), AT).id != decision.id


@pytest.mark.parametrize("carrying", [DUTY, RIGHT, ON_REQUEST, MAY])
def test_prohibition_of_the_person_is_shown_beside_what_the_law_gives(carrying: Basis) -> None:
    decision = decide(ask(), book(carrying), [FORBIDDEN], AT)

    assert decision.permitted[0].overridden == FORBIDDEN.id


@pytest.mark.parametrize(
    ("carrying", "said", "expected"),
    [
        (PERMISSION, [word("permission")], "permitted"),
        (PERMISSION, [word("permission"), FORBIDDEN], "refused"),
        (PERMISSION, [word("consent")], "permission-not-asked"),
        (PERMISSION, [word("permission", "withdrawn")], "permission-withdrawn"),
        (PERMISSION, [FORBIDDEN], "refused"),
        (CONSENT, [word("consent")], "permitted"),
        (CONSENT, [word("consent"), FORBIDDEN], "refused"),
        (CONSENT, [word("permission")], "consent-missing"),
        (CONSENT, [word("consent", "withdrawn")], "consent-withdrawn"),
        (CONSENT, [word("consent", ends="2026-02-28")], "consent-ended"),
        (CONSENT, [word("consent", ends="2026-03-01")], "permitted"),
        (CONSENT, [word("consent"), word("report", "refused")], "reported"),
        (PERMISSION, [word("permission"), word("report", "refused")], "permitted"),
        (RIGHT, [word("report", "refused")], "permitted"),
    ],
)
def test_persons_word(carrying: Basis, said: list[ConsentRecord], expected: str) -> None:
    assert outcome(ask(), book(carrying), *said) == expected


def test_prohibition_of_the_rulebook_stops_the_bases_that_it_names_and_no_other() -> None:
    named, other = basis("named", mode=Mode.DUTY), basis("other", mode=Mode.DUTY)
    stop = prohibition("stop", {"named"}, "safety-prohibition", obliges=frozenset({"keep-the-mark"}))
    marked = ask(facts=replace(FACTS, safety_prohibition=True))

    assert outcome(marked, book(named, prohibitions=(stop,))) == "prohibited"
    assert outcome(ask(), book(named, prohibitions=(stop,))) == "permitted"
    decision = decide(marked, book(named, other, prohibitions=(stop,)), (), AT)
    assert decision.permitted[0].basis == "other"
    assert "keep-the-mark" in decision.obligations
    assert "keep-the-mark" not in decide(ask(), book(named, other, prohibitions=(stop,)), (), AT).obligations


def test_what_the_record_does_not_say_is_taken_to_the_safe_side() -> None:
    permits = basis(conditions=("vulnerable",), mode=Mode.DUTY)
    protects = prohibition("stop", {"b"}, "vulnerable")

    assert outcome(ask(), book(permits)) == "condition-unmet"
    assert outcome(ask(), book(DUTY, prohibitions=(protects,))) == "prohibited"
    assert outcome(ask(facts=replace(FACTS, vulnerable=False)), book(DUTY, prohibitions=(protects,))) == "permitted"


@pytest.mark.parametrize("mark", [True, False])
def test_missing_safety_mark_holds_a_missing_record_does_not(mark: bool) -> None:
    stop = prohibition("unknown", {"b"}, "safety-mark-missing", code="safety-unknown")
    rules = book(DUTY, prohibitions=(stop,))

    assert outcome(ask(facts=replace(FACTS, safety_prohibition=None)), rules) == "safety-unknown"
    assert outcome(ask(facts=replace(FACTS, safety_prohibition=mark)), rules) == "permitted"
    assert outcome(ask(facts=None, known=False), rules) == "possible"


def test_before_the_record_is_read_what_permits_may_hold() -> None:
    rules = book(basis(conditions=("vulnerable",), permits=frozenset({"asylum"})))
    decision = decide(ask(facts=None, known=False), rules, (), AT)

    assert decision.permitted[0].needs == ("permit_ground", "vulnerable")
    assert decide(ask(facts=None, known=False), book(PERMISSION), (), AT).permitted[0].needs == ("permission",)


def test_emergency_comes_first_where_it_is_claimed_and_last_where_not() -> None:
    urgent = basis("urgent", emergency=True, obligations=frozenset({"review"}))
    rules = book(urgent, PERMISSION, prohibitions=(prohibition("stop", {"b"}, "permit-granted"),))
    claimed = ask(emergency=Emergency("cannot wait"))

    assert outcome(ask(), book(urgent)) == "emergency-only"
    decision = decide(claimed, rules, [FORBIDDEN], AT)
    assert (decision.permitted[0].basis, decision.emergency) == ("urgent", True)
    assert decide(claimed, book(urgent, DUTY), (), AT).permitted[0].basis == "urgent"


def test_ground_that_the_law_does_not_know_carries_nothing() -> None:
    rules = book(basis(permits=frozenset({"asylum"})))

    assert outcome(ask(facts=replace(FACTS, permit_ground="pending")), rules) == "subject-group"
    assert outcome(ask(facts=SubjectFacts()), rules) == "subject-group"


def test_nearest_reason_is_told() -> None:
    assert outcome(ask(), book(basis(ends=date(2025, 12, 31)))) == "basis-not-in-force"
    assert outcome(ask(purpose="q"), book(RIGHT)) == "no-basis"
    assert outcome(handover(), book(basis("c", mode=Mode.BY_WORD, word=Word.CONSENT), RIGHT)) == "nobody-asked"


def test_part_moves_where_the_whole_does_not() -> None:
    rules = book(basis(categories=frozenset({"contact/address"}), mode=Mode.DUTY))
    decision = decide(ask(categories=frozenset({"contact"})), rules, (), AT)

    assert decision.permitted_categories == {"contact/address"}
    assert why(decision, "contact") == "no-basis"


@pytest.mark.parametrize(
    ("starts", "ends", "gives"),
    [
        (AT.date(), AT.date(), True),
        (AT.date() + timedelta(days=1), None, False),
        (None, AT.date() - timedelta(days=1), False),
    ],
    ids=["on its only day", "the day before", "the day after"],
)
def test_basis_gives_on_its_days_and_on_no_others(starts: date | None, ends: date | None, gives: bool) -> None:
    rules = book(replace(DUTY, starts=starts, ends=ends))

    assert (outcome(ask(), rules) == "permitted") is gives
    assert (outcome(handover(), rules) == "permitted") is gives
