"""Consent records: who may give one for whom, in which languages, and what is told when a form is wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.words.consents import LANGUAGES, ConsentRecord, Evidence, Stamp, WordKind, WordStatus, newest
from consent.words.fhir import form_of, to_fhir
from consent.words.givers import Giver, GiverKind, Opinion
from consent.words.reading import ConsentError
from consent.words.targets import Target
from tests.properties import examples

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
FORM: dict[str, Any] = {
    "status": "active",
    "purposes": ["service-need-lookup"],
    "recipients": ["municipality"],
    "categories": ["health-needs"],
    "language": "uk",
    "given_by": {"kind": "self"},
}


def read(born: date | None = None, **changes: Any) -> ConsentRecord:
    return ConsentRecord.from_form({**FORM, **changes}, Stamp("c1", "s-1", "FI/MUN/1/x", AT), born)


def test_languages_are_those_of_the_people_concerned() -> None:
    # Ukrainian, Russian, Arabic, Dari, Pashto, Somali, Sorani, Tigrinya, French, Swahili, English, Finnish, Swedish
    assert set(LANGUAGES) == {"uk", "ru", "ar", "prs", "ps", "so", "ckb", "ti", "fr", "sw", "en", "fi", "sv"}
    assert all(read(language=language).language == language for language in LANGUAGES)


@pytest.mark.parametrize(
    "tag",
    [
        "tlh",
        "et",
        "nl-BE",
        "es-419",
        "zh-Hant-TW",
        "zh-yue",
        "sl-rozaj-biske",
        "de-CH-1996",
        "so-x-rec1",
        "x-rom",
        "tgj",
    ],
)
def test_refusal_is_taken_in_whatever_language_it_was_explained(tag: str) -> None:
    refusal = read(status="refused", language=tag)

    assert refusal.language == tag
    assert ConsentRecord.from_dict(refusal.to_wire()).language == tag
    assert form_of({**to_fhir(refusal, ("urn:oid:1.2.246.21", "010190-900P"))}, AT)["language"] == tag


GUARDIAN = {"kind": "guardian"}
REPRESENTATIVE = {"kind": "representative", "mandate_until": "2026-12-31"}
COURT = {**GUARDIAN, "mandate_until": "2027-01-01", "personal_matters": True, "able_to_decide": False}
PERMISSION = {"kind": "permission", "status": None}
AGES: list[tuple[str, dict[str, Any], str | None]] = [
    ("an adult for themselves", {"subject_age": 18}, None),
    ("nobody said the age", {}, None),
    (
        "an adult who cannot understand it",
        {"subject_age": 70, "given_by": {"kind": "self", "able_to_decide": False}},
        "/given_by",
    ),
    ("a minor alone", {"subject_age": 17}, "/given_by"),
    ("a child alone", {"subject_age": 9}, "/given_by"),
    (
        "a minor who is able to decide consents",
        {"subject_age": 16, "given_by": {"kind": "self", "able_to_decide": True}},
        "/given_by",
    ),
    (
        "a minor who is able to decide permits",
        {"subject_age": 14, "given_by": {"kind": "self", "able_to_decide": True}, **PERMISSION},
        None,
    ),
    ("a minor permits, and nobody found them able to decide", {"subject_age": 14, **PERMISSION}, "/given_by"),
    (
        "a guardian permits for a minor who is able to decide",
        {"subject_age": 14, "given_by": {**GUARDIAN, "able_to_decide": True}, **PERMISSION},
        "/given_by",
    ),
    ("a child's guardian", {"subject_age": 11, "given_by": GUARDIAN}, None),
    ("a guardian, and the age is not known", {"given_by": GUARDIAN}, "/subject_age"),
    (
        "a guardian, and the minor of 12 was not heard",
        {"subject_age": 12, "given_by": GUARDIAN},
        "/given_by/minor_opinion",
    ),
    (
        "a guardian, and the minor was found unable to decide",
        {"subject_age": 15, "given_by": {**GUARDIAN, "able_to_decide": False}},
        None,
    ),
    (
        "a guardian, and the minor agrees",
        {"subject_age": 15, "given_by": {**GUARDIAN, "minor_opinion": "agrees"}},
        None,
    ),
    (
        "a guardian, and the minor disagrees",
        {"subject_age": 17, "given_by": {**GUARDIAN, "minor_opinion": "disagrees"}},
        "/given_by/minor_opinion",
    ),
    (
        "a guardian, and a child disagrees",
        {"subject_age": 8, "given_by": {**GUARDIAN, "minor_opinion": "disagrees"}},
        "/given_by/minor_opinion",
    ),
    ("a representative", {"subject_age": 11, "given_by": REPRESENTATIVE}, None),
    (
        "a representative without an end of the mandate",
        {"given_by": {"kind": "representative"}},
        "/given_by/mandate_until",
    ),
    (
        "unaccompanied, by the representative",
        {"subject_age": 11, "subject_unaccompanied": True, "given_by": REPRESENTATIVE},
        None,
    ),
    (
        "unaccompanied, by a guardian",
        {"subject_age": 12, "subject_unaccompanied": True, "given_by": GUARDIAN},
        "/given_by/kind",
    ),
    ("an adult's guardian without a mandate", {"subject_age": 40, "given_by": GUARDIAN}, "/given_by/mandate_until"),
    (
        "an adult's guardian with a mandate for other matters",
        {"subject_age": 40, "given_by": {**COURT, "personal_matters": None}},
        "/given_by/personal_matters",
    ),
    (
        "an adult's guardian, and the adult understands",
        {"subject_age": 40, "given_by": {**COURT, "able_to_decide": True}},
        "/given_by/able_to_decide",
    ),
    ("an adult's guardian whom a court let decide", {"subject_age": 40, "given_by": COURT}, None),
    ("a neighbour", {"subject_age": 40, "given_by": {"kind": "other"}}, "/given_by/kind"),
    ("a minor refuses alone", {"subject_age": 13, "status": "refused"}, None),
    ("an age that is none", {"subject_age": "twelve"}, "/subject_age"),
    ("an age beyond people", {"subject_age": 200}, "/subject_age"),
]


@pytest.mark.parametrize(("changes", "pointer"), [row[1:] for row in AGES], ids=[row[0] for row in AGES])
def test_who_may_consent_for_whom(changes: dict[str, Any], pointer: str | None) -> None:
    if pointer is None:
        assert read(**changes).status in {"active", "refused"}
        return

    with pytest.raises(ConsentError) as raised:
        read(**changes)

    assert raised.value.pointer == pointer


def test_day_of_birth_counts_more_than_what_the_form_says() -> None:
    with pytest.raises(ConsentError, match="guardian or the representative"):
        read(born=date(2010, 3, 2), subject_age=30)


@pytest.mark.parametrize(("birthday", "adult"), [("2008-03-01", True), ("2008-03-02", False)])
def test_minor_turns_adult_on_the_birthday(birthday: str, adult: bool) -> None:
    born = date.fromisoformat(birthday)
    if adult:
        assert read(born=born).given_by.kind == "self"
    else:
        with pytest.raises(ConsentError):
            read(born=born)


@pytest.mark.parametrize(
    ("born", "stated", "until"),
    [
        ("2012-06-15", None, "2030-06-14"),
        ("2012-06-15", "2027-01-01", "2027-01-01"),
        ("2012-06-15", "2040-01-01", "2030-06-14"),
        ("2012-02-29", None, "2030-02-28"),
    ],
    ids=["none stated", "sooner", "beyond majority", "born on the leap day"],
)
def test_who_speaks_for_a_minor_does_so_until_the_minor_is_18(born: str, stated: str | None, until: str) -> None:
    record = read(
        born=date.fromisoformat(born), given_by={"kind": "guardian", "mandate_until": stated, "minor_opinion": "agrees"}
    )

    assert record.given_by.mandate_until == date.fromisoformat(until)
    assert record.in_force(date.fromisoformat(until))
    assert not record.in_force(date(2031, 1, 1))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"status": "maybe"}, "/status"),
    ({"status": "withdrawn"}, "/status"),
    ({"given_by": "me"}, "/given_by"),
    ({"given_by": {"kind": "neighbour"}}, "/given_by/kind"),
    ({"given_by": {"kind": "self", "minor_opinion": "shrugs"}}, "/given_by/minor_opinion"),
    ({"given_by": {"kind": "guardian", "mandate_until": "31.2.2026"}}, "/given_by/mandate_until"),
    ({"purposes": []}, "/purposes"),
    ({"recipients": []}, "/purposes"),
    ({"purposes": "all"}, "/purposes"),
    ({"categories": []}, "/categories"),
    ({"categories": ["x" * 301]}, "/categories"),
    ({"categories": ["a"] * 200}, "/categories"),
    ({"language": "arabic (Iraq)"}, "/language"),
    ({"language": "en_GB"}, "/language"),
    ({"language": "zh-"}, "/language"),
    ({"language": "a"}, "/language"),
    ({"language": "en-x"}, "/language"),
    ({"language": "ar\n"}, "/language"),
    ({"language": "a" * 36}, "/language"),
    ({"language": []}, "/language"),
    ({"language": None}, "/language"),
    ({"evidence": "paper"}, "/evidence"),
    ({"starts": "2026-13-01"}, "/starts"),
    ({"starts": "2026-05-01", "ends": "2026-04-01"}, "/ends"),
]


@pytest.mark.parametrize(("changes", "pointer"), WRONG, ids=[str(row[0])[:60] for row in WRONG])
def test_form_that_is_wrong_is_told_where(changes: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ConsentError) as raised:
        read(**changes)

    assert raised.value.pointer == pointer


def test_refusal_may_be_general() -> None:
    record = read(status="refused", purposes=[], recipients=[])

    assert record.meant_for("anything", "county", "FI/WSC/1")


def test_withdrawal_is_a_new_version_and_leaves_the_old_one() -> None:
    first = read()

    second = first.ended(WordStatus.WITHDRAWN, AT, "FI/MUN/1/x")

    assert (first.version, first.status, second.version, second.status) == (1, "active", 2, "withdrawn")
    assert second.id == first.id


def _kinds_of(record: ConsentRecord) -> list[WordKind]:
    if record.forbids or record.status is WordStatus.LAPSED:
        return [WordKind.PROHIBITION, WordKind.REPORT]
    return [WordKind.PERMISSION, WordKind.CONSENT]


codes = st.frozensets(st.text("abcdefgh-", min_size=1, max_size=12), min_size=1, max_size=4)
days = st.none() | st.dates(date(2020, 1, 1), date(2030, 1, 1))
records = st.builds(
    ConsentRecord,
    id=st.uuids().map(str),
    version=st.integers(1, 9),
    status=st.sampled_from(WordStatus),
    subject=st.just("s-1"),
    given_by=st.builds(
        Giver,
        st.sampled_from(GiverKind),
        st.dates(date(2020, 1, 1), date(2030, 1, 1)),
        st.sampled_from([None, *Opinion]),
        *[st.sampled_from([None, True, False])] * 3,
    ),
    purposes=codes,
    recipients=st.frozensets(st.sampled_from(["municipality", "county", "FI-DEMO/MUN/9000003-8"]), min_size=1),
    categories=codes,
    starts=st.none() | st.dates(date(2020, 1, 1), date(2024, 1, 1)),
    ends=st.none() | st.dates(date(2024, 1, 1), date(2030, 1, 1)),
    language=st.sampled_from(sorted(LANGUAGES)),
    evidence=st.builds(
        Evidence, st.none() | st.text("ABC-123", min_size=1), st.none() | st.just("sha-256:" + "a" * 64)
    ),
    recorded_by=st.just("FI-DEMO/MUN/9000003-8/kotoutuminen"),
    recorded_at=st.integers(0, 10**9).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    target=st.sampled_from([None, Target.read("social:document:1.2"), Target.read("controller:FI-DEMO/WSC/9000004-6")]),
).flatmap(
    lambda record: st.sampled_from(_kinds_of(record)).map(
        lambda kind: replace(record, kind=kind, target=None if kind is WordKind.CONSENT else record.target)
    )
)


@examples(80)
@given(records)
def test_record_is_read_back_as_it_was_written(record: ConsentRecord) -> None:
    assert ConsentRecord.from_dict(record.to_dict()) == record


@examples(40)
@given(records)
def test_what_a_recipient_is_told_names_nobody(record: ConsentRecord) -> None:
    told = record.to_wire()

    assert "subject" not in told
    assert "evidence" not in told
    assert ConsentRecord.from_dict(told).categories == record.categories


def test_of_a_record_the_newest_version_counts_whatever_the_order() -> None:
    given = ConsentRecord.from_form(FORM, Stamp("c-1", "s", "r", AT))
    ended = given.ended(WordStatus.WITHDRAWN, AT, "r")
    other = replace(given, id="c-2")
    twin = replace(given, status="withdrawn")

    assert newest([given, ended, other]) == (ended, other)
    assert newest([ended, given]) == (ended,)
    assert newest([given, twin]) == newest([twin, given]) == (twin,)


@pytest.mark.parametrize(("last", "is_taken"), [("2026-02-28", False), ("2026-03-01", True)])
def test_consent_that_is_over_is_not_taken_as_if_it_stood(last: str, is_taken: bool) -> None:
    for changes, pointer in (
        ({"ends": last}, "/ends"),
        ({"subject_age": 10, "given_by": REPRESENTATIVE | {"mandate_until": last}}, "/given_by/mandate_until"),
    ):
        if is_taken:
            assert read(**changes).in_force(AT.date())
            continue
        with pytest.raises(ConsentError) as refused:
            read(**changes)
        assert refused.value.pointer == pointer
