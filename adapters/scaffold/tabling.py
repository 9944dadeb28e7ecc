"""Find the table in rows that a person may have put titles above and sums below: its header, its names, its footer.

Each find is a guess with its evidence, written into the mapping where a developer sees it and can say otherwise.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.layouts import tidied

#: How many rows of a sample are looked at for a header.
LOOKED_AT = 400
_SUMS = re.compile(
    r"(yhteensä|summa|lukumäärä|lkm|rivejä|tietueita|loppu|totalt|antal|total|sum|records|rows|count|end of)\b", re.I
)
_TYPED = re.compile(r"\s*([-+]?[0-9][0-9 .,:/+-]*|.*@.*\..*|[0-9]{6}[-+A-FU-Y][0-9]{3}[0-9A-Z])\s*\Z")


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a sample as texts, each with the number that a layout counts it by."""

    numbers: Sequence[int]
    cells: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Table:
    """Where a table is: the row of its header (0: none), its columns, what begins the row below it, and how it is
    known.
    """

    header: int
    columns: tuple[str, ...]
    given: bool
    footer: tuple[str, ...] = ()
    is_counted: bool = False
    evidence: tuple[str, ...] = field(default=())

    def layout(self) -> dict[str, Any]:
        """What a mapping says of it; empty for a plain table."""
        made: dict[str, Any] = {}
        if self.header != 1:
            made["header"] = self.header
        if self.given:
            made["columns"] = list(self.columns)
        if self.footer:
            made["footer"] = list(self.footer)
        if self.is_counted:
            made["counted"] = True
        return made


def table_of(rows: Rows, header: int | None = None) -> Table | None:
    """The table in rows; None if there is none. `header` is the row that the developer says it is."""
    trimmed = [_trimmed(cells) for cells in rows.cells]
    widths = Counter(len(cells) for cells in trimmed if sum(map(bool, cells)) >= 2)
    if not widths:
        return None
    width = max(widths, key=lambda many: (widths[many] * min(many, 12), many))
    at = _header(rows, trimmed, width, header)
    if at is None and header is None:
        names = tuple(f"column {number}" for number in range(1, width + 1))
        told = f"no header: no row has {width} distinct texts that are no values"
        return Table(0, names, True, *_below(trimmed, width), (told,))
    if at is None:
        return None
    names, is_given, doubts = _named(trimmed[at], len(rows.cells[at]))
    evidence = list(doubts)
    if rows.numbers[at] != 1:
        evidence.append(
            f"header in row {rows.numbers[at]}: {len(set(names))} distinct texts, values below it, "
            f"{sum(map(bool, trimmed[:at]))} rows above it are passed over"
        )
    footer, is_counted = _below(trimmed[at + 1 :], len(names))
    evidence += [f"rows that begin with “{begins}” are no records" for begins in footer]
    return Table(rows.numbers[at], names, is_given, footer, is_counted, tuple(evidence))


def _trimmed(cells: Sequence[str]) -> list[str]:
    kept = [cell.strip() for cell in cells]
    while kept and not kept[-1]:
        kept.pop()
    return kept


def _header(rows: Rows, trimmed: list[list[str]], width: int, told: int | None) -> int | None:
    for at, cells in enumerate(trimmed):
        if told is not None:
            if rows.numbers[at] == told:
                return at
            continue
        filled = [cell for cell in cells if cell]
        # A title stands alone; a row of values has numbers, days or codes in it, or the same text twice.
        if len(filled) < max(2, 0.6 * width) or any(_TYPED.match(cell) for cell in filled):
            continue
        if len(set(filled)) < 0.7 * len(filled):
            continue
        below = [cell for row in trimmed[at + 1 : at + 30] for cell in row]
        return at if below else None
    return None


def _named(cells: list[str], width: int) -> tuple[tuple[str, ...], bool, list[str]]:
    """A name for every column, whether they are other names than the header's, and what is told of it."""
    names: list[str] = []
    doubts = []
    for number, cell in enumerate(cells, 1):
        name = tidied(cell) or f"column {number}"
        count = 2
        while name in names:
            name = f"{tidied(cell)} {count}"
            count += 1
        if name != tidied(cell):
            doubts.append(f"the header of column {number} is “{cell}”; it is called “{name}”")
        names.append(name)
    if doubts:  # by position every column counts, also those that end each line and have no name
        names += [f"column {number}" for number in range(len(names) + 1, width + 1)]
    return tuple(names), bool(doubts), doubts


def _below(rows: Sequence[Sequence[str]], width: int) -> tuple[tuple[str, ...], bool]:
    """What begins the rows below the records, and whether the number in them counts the records."""
    for back, cells in enumerate(rows[::-1][:5]):
        first = next((cell for cell in cells if cell), "")
        if _SUMS.match(first):
            records = [row for row in rows[: len(rows) - back - 1] if any(row)]
            numbers = [word for cell in cells for word in cell.split() if word.isdecimal()]
            begins = re.split(r"[\s:]", first)[0]
            # What stands below the sum is no record either: a notice, a signature.
            below = [next(cell for cell in row if cell) for row in rows[len(rows) - back :] if any(row)]
            notices = tuple(" ".join(text.split()[:2]) for text in below)
            return (begins, *notices), len(numbers) == 1 and int(numbers[0]) == len(records)
    return (), False


def families_of(columns: Sequence[str]) -> tuple[str, ...]:
    """The beginnings of the columns of each person of a row: “PA Name”, “PA DOB”, “Spouse Name”, “Spouse DOB”."""
    ends: dict[str, set[str]] = {}
    for column in columns:
        begins, blank, rest = column.partition(" ")
        if blank and rest:
            ends.setdefault(f"{begins} ", set()).add(rest)
    groups = [(begins, held) for begins, held in ends.items() if len(held) >= 3]
    shared = set.intersection(*(held for _, held in groups)) if len(groups) >= 2 else set()
    return tuple(begins for begins, _ in groups) if len(shared) >= 3 else ()


def furniture_of(lines: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a printed list has on each page besides its rows: the lines without that (the header once), and what begins
    those that were left out.
    """
    masked = [re.sub(r"[0-9]+", "0", " ".join(line.split())) for line in lines]
    counts = Counter(masked)
    # A header has no number in it; the head of a page has its number and comes as often as the header does.
    headers = {text for text, count in counts.items() if count > 1 and "0" not in text and text[:1].isalpha()}
    pages = {counts[text] for text in headers}
    kept: list[str] = []
    begins: dict[str, None] = {}
    met: set[str] = set()
    for line, text in zip(lines, masked, strict=True):
        is_rule = not any(letter.isalnum() for letter in text)
        is_head = counts[text] in pages and text not in headers and text[:1].isalpha()
        if is_rule or is_head or text in met:
            begins.setdefault(text.strip()[:4] if is_rule else text.split()[0])
            continue
        if text in headers:
            met.add(text)
        kept.append(line)
    return tuple(kept), tuple(begins)


def sum_of(lines: Sequence[str]) -> tuple[tuple[str, ...], int | None]:
    """What begins the last line of a printed list that sums it up, and the number in it; nothing if there is none."""
    last = lines[-1].split() if lines else []
    numbers = [word for word in last if word.isdecimal()]
    if len(numbers) != 1 or not any(_SUMS.match(word) for word in last):
        return (), None
    return (last[0],), int(numbers[0])


def widths_of(lines: Sequence[str]) -> tuple[int, ...]:
    """The widths of columns that stand below each other in all lines, parted by blanks; empty if there are none."""
    kept = [line.expandtabs() for line in lines if line.strip()]
    if len(kept) < 3:
        return ()
    longest = max(map(len, kept))
    whole = [line for line in kept if len(line.rstrip()) > 0.6 * longest]
    blank = [all(at >= len(line) or line[at] == " " for line in whole) for at in range(longest)]
    starts = [at for at in range(longest) if not blank[at] and (at == 0 or blank[at - 1])]
    if len(starts) < 3 or len(whole) < 0.6 * len(kept):
        return ()
    return tuple(end - start for start, end in zip(starts, [*starts[1:], max(longest, starts[-1] + 1)], strict=True))
