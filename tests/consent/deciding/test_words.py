"""Kinds of words: how long each stands, what it is aimed at, whose prohibition is the person's own, what reports do."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime
from typing import Any

import pytest

from consent.deciding.said import Asked, Said, Silence
from consent.rules.law import Rulebook
from consent.words.consents import ConsentRecord, Stamp, WordKind
from consent.words.givers import Giver, GiverKind
from consent.words.reading import ConsentError
from consent.words.targets import Target

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
CENTRE = "FI-DEMO/GOV/9000001-1"
FORM: dict[str, Any] = {
    "purposes": ["reception-to-county"],
    "recipients": ["county"],
    "categories": ["health-needs"],
    "language": "ti",
    "given_by": {"kind": "self"},
}
PROHIBITION = {"kind": "prohibition", "language": "ti"}
number = itertools.count()


def word(at: datetime = AT, born: date | None = None, **form: Any) -> ConsentRecord:
    return ConsentRecord.from_form(form, Stamp(f"c-{next(number)}", "s", f"{CENTRE}/vastaanotto", at), born)


def carrying(
    rulebook: Rulebook, *words: ConsentRecord, category: str = "health-needs", role: str = "county"
) -> ConsentRecord | Silence:
    """What carries a category from the centre to a county, on words alone."""
    said = Said(words, Asked(CENTRE, role, "FI-DEMO/WSC/9000004-6", "reception-to-county", date(2026, 3, 3)), rulebook)
    return Silence.MISSING if said.prohibition_of(category) is not None else said.word_for(category)


def is_carried(rulebook: Rulebook, *words: ConsentRecord, category: str = "health-needs", role: str = "county") -> bool:
    return isinstance(carrying(rulebook, *words, category=category, role=role), ConsentRecord)


def named(**form: Any) -> ConsentRecord:
    """A permission or consent for what is asked."""
    return word(**{**FORM, **form})


LIVES: list[tuple[str, dict[str, Any], str | None]] = [
    ("a permission with an end", {**FORM, "kind": "permission", "ends": "2027-01-01"}, "/ends"),
    ("a permission without an end", {**FORM, "kind": "permission"}, None),
    ("a permission that names nothing", {**FORM, "kind": "permission", "categories": []}, "/categories"),
    ("a whole permission", {**FORM, "kind": "permission", "whole": True, "categories": []}, None),
    ("a whole permission that names data", {**FORM, "kind": "permission", "whole": True}, "/categories"),
    ("a consent with an end", {**FORM, "kind": "consent", "ends": "2027-01-01"}, None),
    ("a consent for everything", {**FORM, "kind": "consent", "whole": True, "categories": []}, "/categories"),
    ("a prohibition of everything", PROHIBITION, None),
    ("a kind against its status", {**FORM, "kind": "prohibition", "status": "active"}, "/status"),
    ("a report that somebody calls so", {**FORM, "kind": "report"}, "/status"),
]


@pytest.mark.parametrize(("form", "pointer"), [row[1:] for row in LIVES], ids=[row[0] for row in LIVES])
def test_each_kind_says_what_it_may(form: dict[str, Any], pointer: str | None) -> None:
    if pointer is None:
        assert word(**form).kind == form["kind"]
        return
    with pytest.raises(ConsentError) as raised:
        word(**form)
    assert raised.value.pointer == pointer


NOBODY: list[tuple[str, object, str]] = [
    ("nobody", None, "/given_by"),
    ("no member", {}, "/given_by/kind"),
    ("what was found out alone", {"able_to_decide": True}, "/given_by/kind"),
    ("a null", {"kind": None}, "/given_by/kind"),
    ("a neighbour", {"kind": "neighbour"}, "/given_by/kind"),
    ("a text", "self", "/given_by"),
]


@pytest.mark.parametrize("kind", ["permission", "consent"])
@pytest.mark.parametrize(("giver", "pointer"), [row[1:] for row in NOBODY], ids=[row[0] for row in NOBODY])
def test_what_opens_data_says_who_gives_it(kind: str, giver: object, pointer: str) -> None:
    for read in (word, lambda **form: ConsentRecord.from_dict({**form, "recorded_at": AT.isoformat()})):
        with pytest.raises(ConsentError) as raised:
            read(**{**FORM, "kind": kind, "given_by": giver})

        assert raised.value.pointer == pointer


@pytest.mark.parametrize(
    "giver", [None, {}, {"able_to_decide": True}], ids=["nobody", "no member", "what was found out"]
)
def test_prohibition_that_tells_nobody_protects_as_the_persons_own(giver: object) -> None:
    record = word(**PROHIBITION, given_by=giver)

    assert (record.kind, record.given_by.kind, record.ends) == (WordKind.PROHIBITION, GiverKind.SELF, None)


def test_prohibition_stands_until_it_is_taken_back_whatever_end_the_form_names() -> None:
    record = word(**FORM, status="refused", ends="2026-03-31")

    assert record.kind is WordKind.PROHIBITION
    assert record.ends is None
    assert record.in_force(date(2099, 1, 1))


TARGETS: list[tuple[str, Any, str | None]] = [
    ("a controller", {"kind": "controller", "code": CENTRE}, None),
    ("a social service task", {"kind": "service-task", "code": "1.1", "sector": "social"}, None),
    ("a document", {"kind": "document", "code": "1.2.246.10.1.14.1", "sector": "social"}, None),
    ("a register", {"kind": "register", "code": f"{CENTRE}/patients", "sector": "health"}, None),
    ("a service event", {"kind": "service-event", "code": "1.2.246.10.2", "sector": "health"}, None),
    ("in one line", f"health:register:{CENTRE}/patients", None),
    ("all", "all", None),
    ("a document of health care", {"kind": "document", "code": "x", "sector": "health"}, "/target/kind"),
    ("a service event of social care", {"kind": "service-event", "code": "x", "sector": "social"}, "/target/kind"),
    ("nothing named", {"kind": "document"}, "/target/code"),
    ("a kind that there is not", {"kind": "planet", "code": "x"}, "/target/kind"),
    ("a sector that there is not", {"kind": "document", "code": "x", "sector": "trade"}, "/target/sector"),
    ("a number", 7, "/target"),
]


@pytest.mark.parametrize(("target", "pointer"), [row[1:] for row in TARGETS], ids=[row[0] for row in TARGETS])
def test_targets_are_those_of_the_law(target: Any, pointer: str | None) -> None:
    if pointer is None:
        record = word(**PROHIBITION, target=target)
        assert ConsentRecord.from_dict(record.to_dict()) == record
        assert record.target is None or Target.read(str(record.target)) == record.target
        return
    with pytest.raises(ConsentError) as raised:
        word(**PROHIBITION, target=target)
    assert raised.value.pointer == pointer


STOPS: list[tuple[str, dict[str, Any], bool]] = [
    ("everything", {}, True),
    ("this category", {"categories": ["health-needs"]}, True),
    ("another category", {"categories": ["housing"]}, False),
    ("this controller", {"target": f"controller:{CENTRE}"}, True),
    ("another controller", {"target": "controller:FI-DEMO/WSC/9000004-6"}, False),
    ("a register of this controller", {"target": f"health:register:{CENTRE}/patients"}, True),
    ("a register of another", {"target": "health:register:FI-DEMO/WSC/9000004-6/patients"}, False),
    ("a document, which cannot be told apart", {"target": "social:document:1.2.3"}, True),
    ("the guardian", {"target": "guardian", "given_by": {"able_to_decide": True}}, False),
]


@pytest.mark.parametrize(("form", "stops"), [row[1:] for row in STOPS], ids=[row[0] for row in STOPS])
@pytest.mark.parametrize("kind", ["permission", "consent"])
def test_prohibition_stops_what_it_is_aimed_at_and_no_more(
    rulebook: Rulebook, form: dict[str, Any], stops: bool, kind: str
) -> None:
    given = named(kind=kind)
    assert is_carried(rulebook, given)

    assert is_carried(rulebook, given, word(**PROHIBITION, **form)) is not stops


def test_permission_for_what_cannot_be_told_apart_carries_nothing(rulebook: Rulebook) -> None:
    assert is_carried(rulebook, named(kind="permission", target=f"controller:{CENTRE}"))
    for target in ("social:document:1.2.3", f"health:register:{CENTRE}/patients", "controller:FI-DEMO/WSC/9000004-6"):
        assert not is_carried(rulebook, named(kind="permission", target=target))


GUARDIAN = {"kind": "guardian"}
REPRESENTATIVE = {"kind": "representative", "mandate_until": "2026-12-31"}
OWN: list[tuple[str, dict[str, Any], bool]] = [
    ("the person", {}, True),
    ("a child", {"subject_age": 6}, True),
    ("a minor", {"subject_age": 15}, True),
    ("a child's guardian", {"subject_age": 6, "given_by": GUARDIAN}, True),
    (
        "the guardian of a minor who is able to decide",
        {"subject_age": 15, "given_by": {**GUARDIAN, "able_to_decide": True}},
        False,
    ),
    (
        "a guardian of a child who came alone",
        {"subject_age": 6, "subject_unaccompanied": True, "given_by": GUARDIAN},
        False,
    ),
    ("an adult's guardian", {"subject_age": 40, "given_by": {**GUARDIAN, "mandate_until": "2027-01-01"}}, False),
    (
        "an adult's guardian whom a court let decide",
        {"subject_age": 40, "given_by": {**GUARDIAN, "personal_matters": True, "able_to_decide": False}},
        True,
    ),
    ("a representative of somebody whose age is not known", {"given_by": REPRESENTATIVE}, True),
    ("a minor's representative", {"subject_age": 15, "given_by": REPRESENTATIVE}, True),
    (
        "the representative of a minor who is able to decide",
        {"subject_age": 15, "given_by": {**REPRESENTATIVE, "able_to_decide": True}},
        False,
    ),
    ("a representative of an adult", {"subject_age": 40, "given_by": REPRESENTATIVE}, False),
    (
        "an adult's representative whom a court let decide",
        {"subject_age": 40, "given_by": {**REPRESENTATIVE, "personal_matters": True, "able_to_decide": False}},
        True,
    ),
    ("a representative without a mandate", {"given_by": {"kind": "representative"}}, False),
    ("a former representative", {"given_by": {"kind": "representative", "mandate_until": "2026-03-01"}}, False),
    ("a neighbour", {"given_by": {"kind": "other"}}, False),
    (
        "a minor against the guardian, found able to decide, in health care",
        {"subject_age": 15, "given_by": {"able_to_decide": True}, "target": "health:guardian"},
        True,
    ),
    (
        "a minor against the guardian in social care, without a weighty reason",
        {"subject_age": 15, "given_by": {"able_to_decide": True}, "target": "social:guardian"},
        False,
    ),
    (
        "a minor against the representative in social care, with a weighty reason",
        {
            "subject_age": 15,
            "given_by": {"able_to_decide": True, "weighty_reason": True},
            "target": "social:representative",
        },
        True,
    ),
    ("a minor against the guardian, whom nobody assessed", {"subject_age": 15, "target": "health:guardian"}, False),
]


@pytest.mark.parametrize(("form", "own"), [row[1:] for row in OWN], ids=[row[0] for row in OWN])
@pytest.mark.parametrize("language", ["ti", "tr", "tlh"])
def test_prohibition_is_taken_from_anybody_in_any_language(form: dict[str, Any], own: bool, language: str) -> None:
    record = word(**{**PROHIBITION, **form, "language": language})

    assert record.forbids
    assert record.language == language
    assert record.kind is (WordKind.PROHIBITION if own else WordKind.REPORT)
    assert record.ends == (None if own else date(2026, 3, 9))


def test_report_holds_until_midnight_in_finland_of_its_fifth_working_day() -> None:
    # 22.30 UTC on a Thursday is Friday in Finland, and the clocks go forward on the Sunday.
    report = word(datetime(2026, 3, 26, 22, 30, tzinfo=UTC), **PROHIBITION, given_by={"kind": "other"})

    assert report.ends == date(2026, 4, 7)  # over Good Friday and Easter Monday
    assert report.in_force(date(2026, 4, 7))
    assert not report.in_force(date(2026, 4, 8))


def test_prohibition_begins_at_once_whatever_beginning_the_form_names(rulebook: Rulebook) -> None:
    for form in ({}, {"given_by": {"kind": "other"}}):
        prohibition = word(**PROHIBITION, **form, starts="2030-01-01")

        assert prohibition.in_force(date(2026, 3, 2))
        assert prohibition.to_dict()["starts"] is None
    assert word(**PROHIBITION, starts="2026-03-01").starts == date(2026, 3, 1)


SPOKEN: list[tuple[str, dict[str, Any], int | tuple[int, int] | None, bool | None, bool]] = [
    # what the form said, the age (or the two that it may be) that the record tells on the next day, whether they came
    # alone; whether it carries
    ("a child of seven by itself", {}, 7, None, False),
    ("a child of seven that the form calls 30", {"subject_age": 30}, 7, None, False),
    ("a person of 17 by themselves", {}, 17, None, False),
    ("a person of 18 by themselves", {}, 18, None, True),
    ("a person of an age that nobody knows", {}, None, None, True),
    ("a person of 17 or 18 by themselves", {}, (17, 18), None, False),
    ("a person of 18 or 19 by themselves", {}, (18, 19), None, True),
    (
        "a child of 11 or 12 that nobody heard",
        {"subject_age": 10, "given_by": {"kind": "guardian"}},
        (11, 12),
        None,
        False,
    ),
    (
        "a child of 10 or 11 by the guardian",
        {"subject_age": 10, "given_by": {"kind": "guardian"}},
        (10, 11),
        None,
        True,
    ),
    ("a child that was found able", {"given_by": {"kind": "self", "able_to_decide": True}}, 15, None, True),
    ("an adult by a guardian", {"subject_age": 10, "given_by": {"kind": "guardian"}}, 34, None, False),
    ("a child of ten by the guardian", {"subject_age": 10, "given_by": {"kind": "guardian"}}, 10, None, True),
    ("a child of 15 that nobody heard", {"subject_age": 10, "given_by": {"kind": "guardian"}}, 15, None, False),
    ("a child that came alone, by a guardian", {"subject_age": 10, "given_by": {"kind": "guardian"}}, 10, True, False),
]


@pytest.mark.parametrize(("form", "age", "alone", "carries"), [row[1:] for row in SPOKEN], ids=[r[0] for r in SPOKEN])
def test_word_of_whoever_may_not_give_it_carries_nothing_when_the_record_tells_so(
    rulebook: Rulebook, form: dict[str, Any], age: int | tuple[int, int] | None, alone: bool | None, carries: bool
) -> None:
    ages = age if isinstance(age, tuple) else () if age is None else (age,)
    asked = Asked(CENTRE, "county", "FI-DEMO/WSC/9000004-6", "reception-to-county", date(2026, 3, 3), ages, alone)
    said = Said([named(kind="permission", **form)], asked, rulebook)

    found = said.word_for("health-needs")
    assert isinstance(found, ConsentRecord) is carries
    assert carries or found is Silence.MISSING


def test_guardians_word_ends_when_the_child_comes_of_age_and_the_childs_own_stays(rulebook: Rulebook) -> None:
    by_guardian = named(kind="permission", subject_age=11, given_by={"kind": "guardian"})
    able = named(kind="permission", subject_age=15, given_by={"kind": "self", "able_to_decide": True})

    def carried(word_: ConsentRecord, years: int, age: int) -> bool:
        day = date(2026 + years, 3, 3)
        asked = Asked(CENTRE, "county", "FI-DEMO/WSC/9000004-6", "reception-to-county", day, (age,))
        return isinstance(Said([word_], asked, rulebook).word_for("health-needs"), ConsentRecord)

    assert carried(by_guardian, 2, 13)  # heard or not is of the day on which it was given
    assert carried(by_guardian, 6, 17)
    assert not carried(by_guardian, 7, 18)
    assert carried(able, 5, 20)


def test_report_holds_what_rests_on_words_but_not_the_persons_own_permission(rulebook: Rulebook) -> None:
    report = word(**PROHIBITION, given_by={"kind": "other"})
    guardian = {"subject_age": 11, "given_by": GUARDIAN}

    for held in (named(), named(kind="permission", **guardian), named(**guardian)):
        assert carrying(rulebook, held, report) is Silence.REPORTED
    assert is_carried(rulebook, named(kind="permission"), report)
    # Whichever of two words comes first, that which nobody can hold carries.
    both = named(), named(kind="permission")
    assert is_carried(rulebook, *both, report)
    assert is_carried(rulebook, *reversed(both), report)


def test_report_touches_nothing_that_no_word_carries(rulebook: Rulebook) -> None:
    report = word(**PROHIBITION, given_by={"kind": "other"})
    asked = Asked(CENTRE, "county", "", "reception-to-county", date(2026, 3, 3))

    # What a duty or a right carries is stopped by a prohibition at most, and a report is none.
    assert all(Said([report], asked, rulebook).prohibition_of(category) is None for category in rulebook.categories)


def test_whole_permission_carries_all_but_what_a_prohibition_cuts(rulebook: Rulebook) -> None:
    whole = word(kind="permission", whole=True, language="ti", given_by={"kind": "self"})
    cut = word(**PROHIBITION, categories=["health-needs"])

    assert all(is_carried(rulebook, whole, category=category) for category in rulebook.categories)
    assert not is_carried(rulebook, whole, cut)
    assert is_carried(rulebook, whole, cut, category="housing")


def test_permission_is_no_consent_and_a_consent_no_permission(rulebook: Rulebook) -> None:
    asked = Asked(CENTRE, "county", "FI-DEMO/WSC/9000004-6", "reception-to-county", date(2026, 3, 3))
    for kind, other in itertools.permutations(("permission", "consent")):
        said = Said([named(kind=kind)], asked, rulebook)
        assert isinstance(said.word_for("health-needs", {WordKind(kind)}), ConsentRecord)
        assert said.word_for("health-needs", {WordKind(other)}) is Silence.ANOTHER


def test_confirmed_report_is_the_persons_own_prohibition(rulebook: Rulebook) -> None:
    report = word(**PROHIBITION, given_by={"kind": "other"})
    confirmed = report.confirmed(Giver(GiverKind.SELF), "ti", AT, report.recorded_by)

    assert (confirmed.kind, confirmed.ends, confirmed.version) == (WordKind.PROHIBITION, None, 2)
    assert not is_carried(rulebook, named(kind="permission"), confirmed)


@pytest.mark.parametrize(("until", "carries"), [("2026-03-03", True), ("2026-03-02", False)], ids=["last day", "after"])
@pytest.mark.parametrize("kind", ["permission", "consent"])
def test_word_of_a_guardian_carries_until_the_mandate_ends(
    rulebook: Rulebook, kind: str, until: str, carries: bool
) -> None:
    guardian = {"kind": "representative", "mandate_until": until}

    record = word(**{**FORM, "kind": kind, "given_by": guardian})

    assert record.in_force(date(2026, 3, 3)) is carries
    if kind == "consent":
        assert is_carried(rulebook, record) is carries
