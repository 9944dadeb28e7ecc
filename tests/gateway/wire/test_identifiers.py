"""Identifiers: one canonical spelling, and a refusal instead of a repair."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.identifiers import PART_LIMIT, IdentifierError, MemberId, ServiceId, SubsystemId

Parse = Callable[[str], MemberId | SubsystemId | ServiceId]

MEMBER = "FI-DEMO/GOV/0000000-0"
FORMS: list[tuple[Parse, str]] = [
    (MemberId.parse, MEMBER),
    (SubsystemId.parse, f"{MEMBER}/vastaanotto"),
    (ServiceId.parse, f"{MEMBER}/vastaanotto/palvelutarve"),
]

REFUSED = "\x00\x01\n\x1f\x7f\x80\x9f\u200b\ufeff/\\%;"
parts = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=REFUSED), min_size=1, max_size=40
).filter(lambda part: part not in {".", ".."})


@pytest.mark.parametrize(("parse", "text"), FORMS)
def test_a_plain_identifier_reads_back_as_it_was_written(parse: Parse, text: str) -> None:
    assert str(parse(text)) == text


@given(st.lists(parts, min_size=5, max_size=5))
def test_every_well_formed_identifier_survives_its_text(five: list[str]) -> None:
    instance, member_class, code, subsystem, service = five
    member = MemberId(instance, member_class, code)
    identifier = ServiceId(SubsystemId(member, subsystem), service)
    text = str(identifier)
    assert re.fullmatch(r"(?:[A-Za-z0-9_.~-]|%[0-9A-F]{2}|/)+", text)
    assert ServiceId.parse(text) == identifier
    assert hash(ServiceId.parse(text)) == hash(identifier)
    assert str(ServiceId.parse(text)) == text
    assert SubsystemId.parse(str(identifier.subsystem)) == identifier.subsystem
    assert MemberId.parse(str(identifier.member)) == member


@given(st.text(max_size=60))
def test_any_text_either_reads_as_an_identifier_or_is_refused(text: str) -> None:
    try:
        identifier = SubsystemId.parse(text)
    except IdentifierError:
        return
    assert SubsystemId.parse(str(identifier)) == identifier


@given(parts, parts, parts, st.integers(0, 2), st.sampled_from(REFUSED + "\ud800\udfff"))
def test_a_refused_character_is_refused_wherever_it_stands(
    first: str, second: str, third: str, place: int, character: str
) -> None:
    three = [first, second, third]
    three[place] += character
    with pytest.raises(IdentifierError):
        MemberId(*three)


@pytest.mark.parametrize("text", ["", ".", "..", "a" * (PART_LIMIT + 1)])
def test_a_part_that_is_empty_too_long_or_a_path_step_is_refused(text: str) -> None:
    with pytest.raises(IdentifierError):
        MemberId("FI-DEMO", "GOV", text)
    with pytest.raises(IdentifierError):
        SubsystemId.parse(f"{MEMBER}/{text}")
    with pytest.raises(IdentifierError):
        ServiceId.parse(f"{MEMBER}/vastaanotto/{text}")


def test_the_longest_part_in_its_longest_spelling_is_read() -> None:
    code = "\U0001f1eb" * PART_LIMIT
    member = MemberId(code, code, code)
    service = ServiceId(SubsystemId(member, code), code)
    assert ServiceId.parse(str(service)) == service


@pytest.mark.parametrize(
    "text",
    [
        f"{MEMBER}/a%2Fb",
        f"{MEMBER}/a%5cb",
        f"{MEMBER}/a%3Bb",
        f"{MEMBER}/a%25b",
        f"{MEMBER}/%2e%2e",
        f"{MEMBER}/%2E",
        f"{MEMBER}/a%00",
        f"{MEMBER}/%E2%80%8B",
        f"{MEMBER}/%EF%BB%BF",
        f"{MEMBER}/%ff",
        f"{MEMBER}/%c0%af",
        f"{MEMBER}/%ed%a0%80",
        f"{MEMBER}/a%",
        f"{MEMBER}/a%2",
        f"{MEMBER}/a%zz",
        f"{MEMBER}/a;b",
        f"{MEMBER}/a\\b",
    ],
)
def test_what_percent_encoding_could_smuggle_in_is_refused(text: str) -> None:
    with pytest.raises(IdentifierError):
        SubsystemId.parse(text)


def test_another_number_of_parts_is_refused() -> None:
    for (parse, text), (_, longer) in pairwise([*FORMS, (ServiceId.parse, f"{FORMS[-1][1]}/lisa")]):
        with pytest.raises(IdentifierError, match="parts"):
            parse(longer)
        with pytest.raises(IdentifierError, match="parts"):
            parse(text.rpartition("/")[0])
        with pytest.raises(IdentifierError):
            parse(text + "/")
        with pytest.raises(IdentifierError):
            parse("/" + text)


def test_a_text_beyond_any_identifier_is_refused_before_it_is_read() -> None:
    with pytest.raises(IdentifierError, match="too long"):
        MemberId.parse("a/" * 100_000)


def test_a_refusal_does_not_repeat_what_it_refused() -> None:
    secret = "010190-900A"
    for text in (f"FI-DEMO/GOV/{secret};", f"{secret}/{secret}", f"FI-DEMO/GOV/{secret}%zz"):
        with pytest.raises(IdentifierError) as refusal:
            MemberId.parse(text)
        assert secret not in str(refusal.value)


def test_two_spellings_of_one_identifier_are_equal_and_print_the_same() -> None:
    spelled, plain = SubsystemId.parse(f"{MEMBER}/%76astaanotto"), SubsystemId.parse(f"{MEMBER}/vastaanotto")
    assert spelled == plain
    assert str(spelled) == str(plain) == f"{MEMBER}/vastaanotto"


def test_letters_keep_their_case_and_their_composition() -> None:
    assert MemberId("FI", "GOV", "a") != MemberId("FI", "GOV", "A")
    assert MemberId("FI", "GOV", "\u00e4") != MemberId("FI", "GOV", "a\u0308")


def test_members_subsystems_and_services_are_never_equal_to_each_other() -> None:
    member = MemberId.parse(MEMBER)
    subsystem = SubsystemId(member, "a")
    service = ServiceId(subsystem, "a")
    assert len({member, subsystem, service}) == 3
    assert service.member == subsystem.member == member


def test_an_identifier_cannot_be_changed() -> None:
    member = MemberId.parse(MEMBER)
    with pytest.raises(FrozenInstanceError):
        member.code = "1"  # type: ignore[misc]
