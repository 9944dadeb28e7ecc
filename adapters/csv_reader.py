"""Read records out of tables of text, in a stream, within limits, each with its place: CSV, and columns of fixed width.

A record that cannot be read is a finding; the next one is read all the same, wherever the form says where that begins.
How much is held at once does not grow with the source.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from adapters.decoding import Decoded, is_misread
from adapters.layouts import PLAIN, Layout
from adapters.limiting import LimitError
from adapters.sdk import Finding, Limits, Position, Record
from adapters.spreadsheets import unguarded
from adapters.texts import finding, over

_SKIP = 1024 * 1024


@dataclass(frozen=True, slots=True)
class CsvForm:
    """How a table of text is written: the encodings to try in turn, the delimiter, the column that is a record's key,
    its layout. Columns of fixed width have no delimiter.
    """

    encodings: tuple[str, ...]
    delimiter: str
    key: str
    layout: Layout = PLAIN


class _Lines:
    """The lines of a text, for the csv module; raises LimitError when a row's lines grow too long, and can go on.

    A line is never held whole before its length is known. Of the row's lines so far their delimiters are counted, as
    `first` is the number of the first of them and `number` that of the last.
    """

    def __init__(self, text: io.TextIOWrapper, delimiter: str, most: int) -> None:
        self._text = text
        self._delimiter = delimiter
        self._most = most
        self._left = most
        self._delimiters: list[int] = []
        self._pushed = ""
        self.number = 0
        self.first = 0

    def peek(self) -> str:
        """The line that comes next, which stays where it is."""
        self._pushed = self._pushed or self._text.readline(self._most + 1)
        return self._pushed

    def skip(self, count: int) -> None:
        """Pass over lines that are no rows. Raises LimitError."""
        for _ in range(count):
            self.begin()
            next(self, None)

    def begin(self) -> None:
        """A new row begins."""
        self._left = self._most
        self._delimiters = []
        self.first = self.number + 1

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._pushed:
            line, self._pushed = self._pushed, ""
        else:
            line = self._text.readline(self._left + 1)
        if not line:
            raise StopIteration
        self.number += 1
        self._delimiters.append(line.count(self._delimiter))
        if len(line) <= self._left:
            self._left -= len(line)
            return line
        while line and not line.endswith("\n"):
            line = self._text.readline(_SKIP)
            self._delimiters[-1] += line.count(self._delimiter)
        raise LimitError("row_characters")

    def rows_within(self, width: int) -> list[int]:
        """The numbers of the row's further lines that look like rows themselves: each has the delimiters of one."""
        return [
            self.first + index
            for index, count in enumerate(self._delimiters)
            if index and count >= (width or self._delimiters[0] + 1) - 1 > 0
        ]

    def swallows(self, width: int) -> bool:
        """Whether a quoted cell of the row holds what looks like rows: then a quotation mark went astray.

        A cell of several lines shares its first line and its last with other cells, so that either may come to the
        delimiters of a row; a line between them belongs to the cell alone, and both at once are two rows.
        """
        within = self.rows_within(width)
        # Beyond those of the row itself all delimiters are the cell's: as many again are a row that was pasted into it.
        is_pasted = sum(self._delimiters) >= 2 * (width - 1)
        return bool(within) and (within[0] < self.number or self._delimiters[0] >= width - 1 or is_pasted)


class _Table:
    """One table while it is read: where its lines stand, and the header once it is known. Raises LimitError."""

    def __init__(self, stream: BinaryIO, form: CsvForm, limits: Limits) -> None:
        self._form = form
        self._decoded = Decoded(stream, form.encodings, limits)
        self._lines = _Lines(self._decoded.text, form.delimiter, limits.row_characters)
        self._width = 0  # not known until the header is read
        self.rows = self._cut() if form.layout.widths else self._read()

    @property
    def encoding(self) -> str:
        """The encoding; empty if it is in none that is asked for."""
        return self._decoded.encoding

    def header(self) -> list[str] | str | Finding:
        """The names of the columns, or the code of what is wrong with them. The rows come after it."""
        layout = self._form.layout
        told = _separator(self._lines.peek())
        if told is not None and told != self._form.delimiter:
            return finding("error", "delimiter", Position(row=1))
        if told is not None and layout.header < 2:  # spreadsheets write it above the header and count it as no line
            self._lines.skip(1)
        self._lines.skip(max(layout.header - 1, 0))
        if layout.header == 0:
            self._width = len(layout.columns)
            return list(layout.columns)
        _, row = next(self.rows, (1, []))
        if isinstance(row, str):
            return row
        names = layout.named(row)
        if layout.columns and len(row) != len(names):
            return finding("error", "column-count", Position(row=self._lines.first))
        if layout.columns and layout.is_moved(row):
            return finding("error", "header-again", Position(row=self._lines.first))
        self._width = len(row)
        return names

    def _read(self) -> Iterator[tuple[int, list[str] | str]]:
        """The rows, each with the line that it begins at. In place of a row that cannot be read stands the code of its
        finding, or the name of a limit; each line that a stray quotation mark has swallowed counts as such a row.
        """
        lines = self._lines
        rows = csv.reader(lines, delimiter=self._form.delimiter, strict=True)
        while True:
            lines.begin()
            width = self._width
            read: list[str] | str
            try:
                read = next(rows)
            except StopIteration:
                return
            except csv.Error:
                read = "quotation" if lines.number > lines.first else "unreadable"
            except LimitError as error:
                if error.limit != "row_characters":
                    raise
                read = "quotation" if lines.rows_within(width) else error.limit
            else:
                if width and lines.number > lines.first and (len(read) != width or lines.swallows(width)):
                    read = "quotation" if lines.rows_within(width) else read
            yield lines.first, read
            if isinstance(read, str):
                yield from ((number, "quotation") for number in lines.rows_within(width))

    def _cut(self) -> Iterator[tuple[int, list[str] | str]]:
        """The rows of columns of fixed width. The last column may be shorter; beyond it stands nothing."""
        ends = [sum(self._form.layout.widths[: count + 1]) for count in range(len(self._form.layout.widths))]
        starts = [0, *ends[:-1]]
        while True:
            self._lines.begin()
            try:
                line = next(self._lines).rstrip("\r\n")
            except StopIteration:
                return
            except LimitError as error:
                if error.limit != "row_characters":
                    raise
                yield self._lines.first, error.limit
                continue
            if line[ends[-1] :].strip() or len(line.rstrip()) <= starts[len(starts) // 2]:
                yield self._lines.first, [line.strip()]  # no row of this table: a sum below it, or one that was cut
            else:
                yield self._lines.first, [line[a:b].strip() for a, b in zip(starts, ends, strict=True)]


def _separator(line: str) -> str | None:
    """The delimiter that a file names in its first line, as spreadsheets write it: `sep=;`."""
    text = line.lstrip("\ufeff").rstrip("\r\n").strip('"')
    return text[4:] if text[:4].lower() == "sep=" and len(text) == 5 else None


def read_csv(
    stream: BinaryIO, form: CsvForm, limits: Limits, header: list[str] | None = None
) -> Iterator[Record | Finding]:
    """The records of a table of text."""
    try:
        table = _Table(stream, form, limits)
        if table.encoding == "":
            yield finding("error", "encoding", Position(row=1))
            return
        columns = table.header()
        if isinstance(columns, Finding):
            yield columns
            return
        if isinstance(columns, str):
            is_code = columns in _CODES
            yield finding("error", columns, Position(row=1)) if is_code else over(columns, limits, Position(row=1))
            columns = []
        if header is not None:
            header.extend(columns)
        doubled = next((name for index, name in enumerate(columns) if name in columns[:index]), None)
        if doubled is not None:
            yield finding("error", "duplicate-member", Position(row=1, column=doubled))
        elif len(columns) > limits.fields:
            yield over("fields", limits, Position(row=1))
        else:
            yield from _records(table, columns, form, limits)
    except LimitError as error:
        yield over(error.limit, limits)
    except UnicodeDecodeError:  # an encoding of two bytes a letter leaves nothing to go on from
        yield finding("error", "encoding", Position())


_CODES = frozenset({"quotation", "unreadable", "column-count"})


def _records(table: _Table, columns: list[str], form: CsvForm, limits: Limits) -> Iterator[Record | Finding]:
    layout = form.layout
    width = len(columns)
    count = 0
    is_counted = not layout.is_counted
    line = 1
    for line, row in table.rows:
        if isinstance(row, str):
            count += 1
            is_code = row in _CODES
            position = Position(row=line)
            yield finding("error", row, position) if is_code else over(row, limits, position)
            continue
        if len(row) > width and not any(row[width:]):  # each line ends with a delimiter
            row = row[:width]
        if _says_nothing(row, columns):
            continue
        if is_another_header(row, columns):
            # What comes after it has its columns in another order: a prohibition would be read as another thing.
            yield finding("error", "header-again", Position(row=line))
            yield from (finding("error", "header-again", Position(row=below)) for below, _ in table.rows)
            return
        if layout.footer and layout.is_footer(row):
            told = counted(row) if layout.counts(row) else None
            is_counted = is_counted or told is not None
            if told not in (None, count):
                yield finding("error", "count-differs", Position(row=line))
            continue
        count += 1
        if count > limits.records:
            yield over("records", limits, Position(row=line))
            return
        if len(row) != width:
            yield finding("error", "column-count", Position(row=line))
        elif bad := _refused(columns, row, line, table.encoding, limits):
            yield bad
        else:
            fields = dict(zip(columns, map(unguarded, row), strict=True))
            yield Record(fields.get(form.key, "").strip(), fields, Position(row=line))
    if not is_counted:
        yield finding("error", "count-differs", Position(row=line, column=layout.footer[0] if layout.footer else ""))


def _says_nothing(row: Sequence[str], columns: Sequence[str]) -> bool:
    """Whether it is an empty line, or the header again: at the head of a page, or of a file put behind another."""
    if not any(map(str.strip, row)):
        return True
    if [row[0].removeprefix("\ufeff"), *row[1:]] == list(columns):
        return True
    # Where `columns` name what the header does not, most of its names stand where they did.
    named = [(at, cell.strip()) for at, cell in enumerate(row) if cell.strip() in columns]
    return 2 * len(named) > len(columns) > 2 and all(list(columns[at : at + 1]) == [name] for at, name in named)


def is_another_header(cells: Sequence[str], columns: Sequence[str]) -> bool:
    """Whether a row is a header that is not the one above: most of its cells are names of columns."""
    named = set(columns)
    return len(named) > 2 and 2 * sum(cell.strip() in named for cell in cells if cell) > len(named)


def counted(cells: Sequence[str]) -> int | None:
    """The number that a row below the records counts them by; None unless there is exactly one."""
    numbers = [word for cell in cells for word in str(cell).split() if word.isdecimal()]
    return int(numbers[0]) if len(numbers) == 1 else None


def _refused(columns: Sequence[str], row: Sequence[str], line: int, encoding: str, limits: Limits) -> Finding | None:
    for column, cell in zip(columns, row, strict=True):
        if len(cell) > limits.field_characters:
            return over("field_characters", limits, Position(row=line, column=column))
        if not cell.isascii() and is_misread(cell, encoding):
            return finding("error", "encoding", Position(row=line, column=column))
    return None
