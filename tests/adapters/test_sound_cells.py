"""The quick way of a cell that nothing is wrong with gives what the careful way gives, and takes nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.building import Source, maker
from adapters.legibility import has_lost_letters, is_damaged
from adapters.sdk import UNREADABLE, DateCell, NumberCell, Position, Record
from adapters.transforms import TRANSFORMS
from adapters.under_way import Build

SOUND = ["Kotka", "K", " Anna  Maria ", "5.2.1990", "0505551814", "Äijälä", "Šerifović", "O´Brien", "080890-900J"]
EMPTY = ["", " ", "\t", "\u00a0", None, [], {}]
DOUBTFUL = ["JÃ¤rvi", "J\ufffdrvi", "J\x8ervi", "J\u202eivr", "M?kinen", "M&auml;kinen", "M=E4kinen", "M\u25a1kinen"]
REFUSED = ["a\x00b", "a\tb", "a\x7f", "kyl", "31.2.1990"]
OF_OTHER_KINDS = [
    UNREADABLE,
    NumberCell(7),
    DateCell("1990-02-05"),
    True,
    5,
    10**16,
    1.5,
    ["Anna"],
    ["a", "b"],
    {"a": 1},
]
CELLS = [*SOUND, *EMPTY, *DOUBTFUL, *REFUSED, *OF_OTHER_KINDS]

SOURCES = [
    Source(field, TRANSFORMS[transform], required, costs, identifies, names=names, is_quiet=not required)
    for field in ("A", ".")
    for transform in ("text", "words", "fi-date", "yes-no", "number", "phone", "hetu")
    for required, costs, identifies, names in (
        (False, True, False, False),
        (True, False, False, True),
        (False, False, True, False),
    )
]


def outcome(make: Any, cell: Any) -> tuple[Any, ...]:
    build = Build(Record("1", {"A": cell}, Position("f.csv", 7)), part=cell, part_field="L[1]")
    made = make(build, "/entry/0")
    return made, build.findings, build.provenance, build.taken


def hold_against_each_other(cell: Any) -> None:
    for source in SOURCES:
        assert outcome(maker(source), cell) == outcome(source.build, cell), (source, cell)


@pytest.mark.parametrize("cell", CELLS, ids=ascii)
def test_each_kind_of_cell_comes_out_as_by_the_careful_way(cell: Any) -> None:
    hold_against_each_other(cell)


@given(st.text(st.sampled_from("aÄ Ã¤ÐÑ?&;=E4%\\u\u25a1\x80\u202e\ufffd\x00\t.-1\u00a0"), max_size=6))
def test_any_text_comes_out_as_by_the_careful_way(cell: str) -> None:
    hold_against_each_other(cell)


@pytest.mark.parametrize("encoding", ["windows-1252", "iso-8859-1"])
def test_every_letter_of_utf_8_that_is_read_one_byte_a_letter_is_noticed(encoding: str) -> None:
    missed = []
    for letter in map(chr, [*range(0x80, 0xD800), *range(0xE000, 0x110000, 7)]):
        try:
            text = f"M{letter.encode().decode(encoding)}ki"
        except UnicodeDecodeError:
            continue  # that set has no such letter
        if not is_damaged(text):
            missed.append(letter)

    assert missed == []


@pytest.mark.parametrize(
    "lost", [*"\u25a0\u25a1\u25af\u2610\ufffc", "?", "&auml;", "&#228;", r"\u00e4", r"\xe4", "=E4", "%C3%A4"]
)
def test_every_sign_of_a_lost_letter_is_noticed(lost: str) -> None:
    assert has_lost_letters(f"M{lost}kinen")
    assert not has_lost_letters("Mäkinen & Söner = 4 % \\o/ vai?")
