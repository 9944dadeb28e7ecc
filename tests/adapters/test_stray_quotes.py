"""Quotation marks that were typed and not meant: no person is made of another's row, and each row is counted."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.reception_centre import csv_adapter
from adapters.samples import COLUMNS
from adapters.sdk import Limits, Mapped
from tests.adapters.reading import convert

NOTE = "TERVEYSTARPEET"


def person(number: int, **cells: str) -> list[str]:
    row = {
        "ASIAKASNUMERO": f"Q-{number}",
        "SUKUNIMI": f"Lainaus{number}",
        "ETUNIMET": f"Etu{number}",
        "SYNTYMAAIKA": f"{number}.2.1961",
        "OLESKELULUPA": "TP",
        "OSOITE": f"Hiekkatie {number}",
        "PALVELUTARPEET": "KIELIKOULUTUS|TERVEYS",
        **cells,
    }
    return [row.get(column, "") for column in COLUMNS]


def raw(*rows: list[str]) -> bytes:
    """An export whose cells are written as they are, without a thought of quoting."""
    return "".join(";".join(row) + "\n" for row in [list(COLUMNS), *rows]).encode()


def told(found: list[Mapped]) -> list[tuple[int, str]]:
    """Each row with its key, or with the code of what is wrong with it."""
    return [(one.position.row, one.key if one.bundle else one.findings[0].code) for one in found]


@pytest.mark.parametrize("column", ["ASIAKASNUMERO", "OSOITE", NOTE, "MUOKATTU"])
@pytest.mark.parametrize("closing", [3, 4])
def test_a_stray_pair_of_quotes_takes_no_row_into_another(column: str, closing: int) -> None:
    rows = [person(number) for number in range(1, 6)]
    at = list(COLUMNS).index(column)
    rows[1][at] = '"' + rows[1][at]
    rows[closing - 1][at] += '"'

    found = convert("reception-centre-csv", raw(*rows))

    swallowed = [(row, "quotation") for row in range(3, closing + 2)]
    assert told(found) == [(2, "Q-1"), *swallowed, *((row, f"Q-{row - 1}") for row in range(closing + 2, 7))]


def test_a_quote_that_never_closes_is_told_where_it_opens_and_each_swallowed_row_counts() -> None:
    rows = [person(number) for number in range(1, 9)]
    rows[2][list(COLUMNS).index("OSOITE")] = '"Kartanontie 2'

    found = convert("reception-centre-csv", raw(*rows))

    assert told(found) == [(2, "Q-1"), (3, "Q-2"), *((row, "quotation") for row in range(4, 10))]


def test_a_quote_that_swallows_more_than_a_row_may_be_is_told_where_it_opens_and_the_rest_is_read() -> None:
    rows = [person(number, OSOITE='"x' if number == 2 else "") for number in range(1, 29)]

    found = convert("reception-centre-csv", raw(*rows), Limits(row_characters=1_000))

    kept = [row for row, what in told(found) if what.startswith("Q-")]
    assert told(found)[:3] == [(2, "Q-1"), (3, "quotation"), (4, "quotation")]
    assert {what for _, what in told(found)} == {"quotation", *(f"Q-{row - 1}" for row in kept)}
    assert len(found) == 28
    assert len(kept) > 10


def test_a_quote_that_closes_in_the_wrong_place_costs_the_rows_that_it_joined() -> None:
    rows = [[f'"{cell}"' for cell in person(number)] for number in range(1, 5)]
    rows[1][-1] = '"24.11.2026'

    found = convert("reception-centre-csv", raw(*rows))

    assert told(found) == [(2, "Q-1"), (3, "quotation"), (4, "quotation"), (5, "Q-4")]


@pytest.mark.parametrize(
    "note",
    [
        pytest.param("uni huono\nkipuja\n\nlue heti", id="lines"),
        pytest.param("uni; kipu; pelko\nruoka; liike;\n;;;;\nei; muuta", id="some-delimiters"),
        pytest.param("a" + ";" * 4 + "\nb", id="as-many-as-columns-follow"),
        pytest.param("a\nb" + ";" * 33 + "c", id="as-many-as-columns-stand-before"),
        pytest.param('hän sanoi: "en nuku"\nja lähti', id="quotes"),
    ],
)
def test_a_note_of_several_lines_is_read_whole(note: str) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";", lineterminator="\n")
    writer.writerows([list(COLUMNS), person(1), person(2, **{NOTE: note}), person(3)])

    items = list(csv_adapter().read(io.BytesIO(out.getvalue().encode()), Limits()))

    assert [getattr(item, "key", item) for item in items] == ["Q-1", "Q-2", "Q-3"]
    assert items[1].fields[NOTE] == note  # type: ignore[union-attr]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, len(COLUMNS) - 1), st.booleans()), min_size=1, max_size=4))
def test_wherever_quotes_are_strewn_each_row_is_told_once_and_holds_nothing_of_another(
    strewn: list[tuple[int, int, bool]],
) -> None:
    rows = [person(number) for number in range(1, 7)]
    for row, column, opens in strewn:
        cell = rows[row][column]
        rows[row][column] = '"' + cell if opens else cell + '"'

    found = convert("reception-centre-csv", raw(*rows))

    told_rows = [one.position.row for one in found]
    assert sorted(set(told_rows)) == told_rows
    assert len(found) == 6
    for one in found:
        if one.bundle is not None:
            assert repr(one.bundle).count("Lainaus") == 1
