"""A person's identifier has one notation, and what cannot be one is refused, whichever system gave it."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from schemas.catalogue import catalogue
from schemas.facts import check_single_subject, identifiers
from schemas.identifiers import (
    HETU,
    LOCAL,
    MIGRI_CUSTOMER,
    SYSTEMS,
    SubjectIdentifierError,
    canonical,
    check_character,
    masked,
)

CODE = "010190-900P"

ONE_NOTATION = [
    (HETU, "010190-900p", CODE),
    (HETU, " 010190-900P\n", CODE),
    (HETU, "\u00a0010190-900P\u2003", CODE),
    (HETU, "\uff101\uff10190\uff0d900\uff30", CODE),
    (f" {HETU} ", CODE, CODE),
    (MIGRI_CUSTOMER, " demo-x1 ", "DEMO-X1"),
    (MIGRI_CUSTOMER, "0007000001", "0007000001"),
    (LOCAL, "a.b_c-1", "A.B_C-1"),
]

REFUSED = [
    (HETU, "010190-900A", "subject-check"),
    (HETU, "310290-901X", "subject-form"),
    (HETU, "x", "subject-form"),
    (HETU, "", "subject-form"),
    (HETU, "010190\u2010900P", "subject-form"),
    (HETU, "010190\u2011900P", "subject-form"),
    (HETU, "010190\u2013900P", "subject-form"),
    (HETU, "010190\u2212900P", "subject-form"),
    (HETU, "010190-900P\x00", "subject-form"),
    (HETU, "01019\u00b2-900P", "subject-form"),
    (HETU, "010190-\u0669\u0660\u0660P", "subject-form"),
    (HETU, "010190-9 00P", "subject-form"),
    (MIGRI_CUSTOMER, "DEMO\u2010X1", "subject-form"),
    (MIGRI_CUSTOMER, "DEMO\u2015X1", "subject-form"),
    (MIGRI_CUSTOMER, "DEMO X1", "subject-form"),
    (MIGRI_CUSTOMER, "DEMO\u200bX1", "subject-form"),
    (MIGRI_CUSTOMER, "DEMO\u00adX1", "subject-form"),
    (MIGRI_CUSTOMER, "\x1fDEMO-X1", "subject-form"),
    (MIGRI_CUSTOMER, "d\u0131", "subject-form"),
    (MIGRI_CUSTOMER, "A" * 41, "subject-form"),
    (MIGRI_CUSTOMER, "\ud800", "subject-form"),
    ("1.2.246.21", CODE, "subject-system-unknown"),
    (f"{HETU}.1", CODE, "subject-system-unknown"),
    ("urn:example:passport", "P1", "subject-system-unknown"),
    (f"{HETU}\x00", CODE, "subject-system-unknown"),
]


@pytest.mark.parametrize(("system", "value", "written"), ONE_NOTATION, ids=[repr(row[1]) for row in ONE_NOTATION])
def test_several_ways_to_write_an_identifier_have_one_notation(system: str, value: str, written: str) -> None:
    assert canonical(system, value) == (system.strip(), written)


@pytest.mark.parametrize(("system", "value", "code"), REFUSED, ids=[ascii(row[:2]) for row in REFUSED])
def test_what_cannot_be_an_identifier_is_refused_in_words_that_do_not_hold_it(
    system: str, value: str, code: str
) -> None:
    with pytest.raises(SubjectIdentifierError) as caught:
        canonical(system, value)

    error = caught.value
    assert (error.code, error.member) == (code, "system" if code == "subject-system-unknown" else "value")
    assert error.detail
    assert error.remedy
    if len(value) > 4:
        assert value not in f"{error} {error.remedy}"


@pytest.mark.parametrize("sign", "+-YXWVUABCDEF")
def test_every_century_sign_is_known(sign: str) -> None:
    code = f"290200{sign}901{check_character('290200901')}"
    if sign in "-YXWVU+":  # 1900 and 1800 were no leap years
        with pytest.raises(SubjectIdentifierError):
            canonical(HETU, code)
        code = f"280200{sign}901{check_character('280200901')}"
    assert canonical(HETU, code.lower()) == (HETU, code)


@given(st.sampled_from(SYSTEMS), st.text(max_size=12))
def test_a_notation_is_its_own_notation_and_the_schema_takes_it(system: str, text: str) -> None:
    try:
        known, value = canonical(system, text)
    except SubjectIdentifierError:
        return
    assert canonical(known, value) == (known, value)
    assert value.isascii()


def test_the_schema_knows_the_same_systems() -> None:
    document = json.loads((Path(schemas.__file__).parent / "fhir-like" / "Patient.schema.json").read_text("utf-8"))
    given_by = [
        form["properties"]["system"]["const"] for form in document["properties"]["identifier"]["items"]["anyOf"]
    ]
    assert sorted(given_by) == sorted(SYSTEMS)


def test_record_is_read_in_one_notation_and_refused_with_an_identifier_that_nobody_has() -> None:
    example = Path(schemas.__file__).parent / "fhir-like" / "examples" / "F1.json"
    bundle = json.loads(example.read_text("utf-8"))
    bundle["entry"][0]["resource"]["identifier"] = [{"system": MIGRI_CUSTOMER, "value": "demo-x1"}]
    wrong = copy.deepcopy(bundle)
    wrong["entry"][0]["resource"]["identifier"].append({"system": HETU, "value": "010190-900A"})

    assert catalogue().validate_bundle(bundle) == []
    assert check_single_subject(bundle) == []
    assert [one.value for one in identifiers(bundle)] == ["DEMO-X1"]
    assert catalogue().validate_bundle(wrong) == []  # a pattern cannot tell
    assert [(one.pointer, one.code) for one in check_single_subject(wrong)] == [
        ("/entry/0/resource/identifier/1/value", "subject-check")
    ]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (CODE, "…"),
        ("Asiakkaan henkilötunnus 010190-999X", "Asiakkaan henkilötunnus …"),
        ("Virtanen_010190A999X_tarpeet", "…"),
        ("010190999x", "…"),
        ("010190_999X", "…"),
        ("010190 - 999X", "…"),
        ("\uff10\uff11\uff10\uff11\uff19\uff10\uff0d999X", "…"),
        ("010190\u2011999X", "…"),
        ("/asiakkaat/010190-999X/nimi", "/asiakkaat/…/nimi"),
        ("1.1.1990", "…"),
        ("01/01/90-999X", "…"),
        ("1990-01-01", "…"),
        ("Puh. 040 123 4567", "Puh. …"),
        ("+358401234567", "+…"),
    ],
)
def test_name_is_told_without_what_may_say_who_it_is_about(name: str, told: str) -> None:
    assert masked(name) == told


@pytest.mark.parametrize(
    "name",
    [
        "ASIAKASNUMERO", "Huone 4", "TARPEET[12]/KOODI", "/entry/10/resource/name/0/given", "OBX-5[2].1", "PID-3.1",
        "{http://www.w3.org/2001/XMLSchema-instance}nil", "urn:oid:1.2.246.537.6.40", "F20.1-F20.9", "",
    ],
)  # fmt: skip
def test_name_that_says_nothing_of_anybody_is_told_as_it_is(name: str) -> None:
    assert masked(name) == name


@given(
    st.integers(0, 30), st.integers(0, 99), st.sampled_from("+-YXWVUABCDEF"), st.integers(900, 999), st.text(max_size=6)
)
def test_no_identity_code_is_told_whatever_stands_around_it(
    day: int, year: int, sign: str, number: int, around: str
) -> None:
    code = f"{day:02}11{year:02}{sign}{number}{check_character(f'{day:02}11{year:02}{number}')}"

    assert f"{year:02}{sign}{number}" not in masked(around + code + around)
