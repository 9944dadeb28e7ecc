"""Read records out of hostile bytes: CSV and XML, in a stream, within limits, each with its place.

A record that cannot be read is a finding; the next one is read all the same, wherever the form says where that
begins. XML is read without entities, document types or network. How much is held at once does not grow with the
source.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO

from lxml import etree

from adapters.legibility import is_misdecoded
from adapters.limiting import LimitedStream, LimitError
from adapters.sdk import Finding, Limits, Position, Record
from adapters.spreadsheets import unguarded
from adapters.texts import finding, over

_SAMPLE = 256 * 1024
_SKIP = 1024 * 1024
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class CsvForm:
    """How a CSV file is written: the encodings to try in turn, the delimiter, the column that is a record's key."""

    encodings: tuple[str, ...]
    delimiter: str
    key: str


@dataclass(frozen=True, slots=True)
class XmlForm:
    """How an XML file is written: the element that is a record, the path of its key below it, the root's name."""

    record: str
    key: str
    root: str = "Records"


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
        self.number = 0
        self.first = 0

    def begin(self) -> None:
        """A new row begins."""
        self._left = self._most
        self._delimiters = []
        self.first = self.number + 1

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
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
        return bool(within) and (within[0] < self.number or self._delimiters[0] >= width - 1)


def header_of(
    stream: BinaryIO, form: CsvForm, limits: Limits
) -> tuple[list[str], Iterator[tuple[int, list[str] | str]], str]:
    """The header of a CSV file, its rows, each with the line that it begins at, and the encoding that was chosen.

    In place of a row that cannot be read stands the code of its finding, or the name of a limit; each line that a
    stray quotation mark has swallowed counts as such a row. Raises LimitError.
    """
    buffered = io.BufferedReader(LimitedStream(stream, limits), _SAMPLE)
    encoding = _encoding(buffered.peek(_SAMPLE), form.encodings)
    if not encoding:
        return [], iter(()), encoding
    text = io.TextIOWrapper(buffered, encoding=encoding, errors="surrogateescape", newline="")
    lines = _Lines(text, form.delimiter, limits.row_characters)
    rows = csv.reader(lines, delimiter=form.delimiter, strict=True)
    width = 0  # not known until the header is read

    def numbered() -> Iterator[tuple[int, list[str] | str]]:
        while True:
            lines.begin()
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

    every = numbered()
    _, header = next(every, (1, []))
    if isinstance(header, str):
        return [], chain([(1, header)], every), encoding
    width = len(header)
    return [name.strip() for name in header], every, encoding


def read_csv(
    stream: BinaryIO, form: CsvForm, limits: Limits, header: list[str] | None = None
) -> Iterator[Record | Finding]:
    """The records of a CSV file."""
    try:
        columns, lines, encoding = header_of(stream, form, limits)
        if encoding == "":
            yield finding("error", "encoding", Position(row=1))
            return
        if header is not None:
            header.extend(columns)
        doubled = next((name for index, name in enumerate(columns) if name in columns[:index]), None)
        if doubled is not None:
            yield finding("error", "duplicate-member", Position(row=1, column=doubled))
            return
        if len(columns) > limits.fields:
            yield over("fields", limits, Position(row=1))
            return
        for count, (line, row) in enumerate(lines, 1):
            position = Position(row=line)
            if count > limits.records:
                yield over("records", limits, position)
                return
            if isinstance(row, str):
                is_code = row in {"quotation", "unreadable"}
                yield finding("error", row, position) if is_code else over(row, limits, position)
            elif not row:  # an empty line is no record
                continue
            elif len(row) != len(columns):
                yield finding("error", "column-count", position)
            elif bad := _refused(columns, row, line, encoding, limits):
                yield bad
            else:
                fields = dict(zip(columns, map(unguarded, row), strict=True))
                yield Record(fields.get(form.key, "").strip(), fields, position)
    except LimitError as error:
        yield over(error.limit, limits)
    except UnicodeDecodeError:  # an encoding of two bytes a letter leaves nothing to go on from
        yield finding("error", "encoding", Position())


def _refused(columns: Sequence[str], row: Sequence[str], line: int, encoding: str, limits: Limits) -> Finding | None:
    for column, cell in zip(columns, row, strict=True):
        if len(cell) > limits.field_characters:
            return over("field_characters", limits, Position(row=line, column=column))
        if not cell.isascii() and _misread(cell, encoding):
            return finding("error", "encoding", Position(row=line, column=column))
    return None


def _misread(cell: str, encoding: str) -> bool:
    """Whether a cell was written in another encoding than the file's: bytes that cannot be decoded, a mark of byte
    order in the middle, or UTF-8 within a file that is none.
    """
    if any("\udc80" <= letter <= "\udcff" or letter == "\ufeff" for letter in cell):
        return True
    if encoding.startswith("utf"):
        return False
    if is_misdecoded(cell, encoding):
        return True
    try:
        cell.encode(encoding).decode("utf-8")
    except UnicodeError:
        return False
    return True


def _encoding(sample: bytes, encodings: Sequence[str]) -> str:
    """The first encoding that the beginning of the file can be read in; a letter cut at the end is forgiven.

    A mark of byte order decides alone. Empty if it is of an encoding that the form does not take.
    """
    if sample.startswith(codecs.BOM_UTF8):
        return "utf-8-sig" if any(name.startswith("utf-8") for name in encodings) else ""
    if sample.startswith(_UTF16):
        return "utf-16" if "utf-16" in encodings else ""
    for name in encodings[:-1]:
        if name == "utf-16":
            continue
        try:
            text = codecs.getincrementaldecoder(name)("strict").decode(sample, final=False)
        except UnicodeDecodeError:
            continue
        # That an encoding of one byte a letter can be decoded proves nothing: the text has to look like text.
        if name.startswith("utf") or not is_misdecoded(text, name):
            return name
    return encodings[-1]


class _Parsing:
    """What one XML source holds while it is read: how deep it stands, and how much of a record it has seen."""

    def __init__(self, form: XmlForm, limits: Limits) -> None:
        self._form = form
        self._limits = limits
        self._elements = 0
        self.depth = 0  # below the record; 0 outside of one

    def started(self, element: Any) -> None:
        """An element begins. Raises LimitError."""
        if self.depth or element.tag == self._form.record:
            self.depth += 1
            self._elements += 1 + len(element.attrib)
            if self.depth > self._limits.depth:
                raise LimitError("depth")
            if self._elements > self._limits.fields:
                raise LimitError("fields")

    def ended(self, element: Any) -> bool:
        """An element ends; True if it is a record."""
        if self.depth:
            self.depth -= 1
            if self.depth == 0:
                self._elements = 0
                return True
        elif element.getparent() is not None:
            _forget(element)
        return False


def read_xml(stream: BinaryIO, form: XmlForm, limits: Limits) -> Iterator[Record | Finding]:
    """The records of an XML file. A field is named by its path, an attribute by `path/@name`."""
    count = 0
    parsing = _Parsing(form, limits)
    try:
        events = etree.iterparse(
            io.BufferedReader(LimitedStream(stream, limits)),
            events=("start", "end"),
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
        )
        first = True
        for event, element in events:
            if first:
                first = False
                if element.getroottree().docinfo.doctype:
                    yield finding("error", "doctype", Position(row=1))
                    return
            if event == "start":
                parsing.started(element)
                continue
            if not parsing.ended(element):
                continue
            count += 1
            if count > limits.records:
                raise LimitError("records")
            fields: dict[str, Any] = {}
            broken = _flatten(element, "", fields, limits)
            position = Position(row=element.sourceline or 0)
            if broken:
                yield finding("error", broken, position) if broken == "unreadable" else over(broken, limits, position)
            else:
                key = fields.get(form.key, "")
                yield Record(key if isinstance(key, str) else "", fields, position)
            _forget(element)
    except etree.XMLSyntaxError as error:
        position = Position(row=error.lineno or 0)
        limit = _limit_of(str(error))
        yield over(limit, limits, position) if limit else finding("error", "unreadable", position)
    except LimitError as error:
        yield over(error.limit, limits)


def _forget(element: Any) -> None:
    """Let go of an element and of what stood before it, so that the tree does not grow."""
    element.clear()
    while element.getprevious() is not None:
        del element.getparent()[0]


def _limit_of(message: str) -> str:
    """Which of the parser's own limits its message tells of."""
    if "depth" in message:
        return "depth"
    return "field_characters" if "huge" in message.lower() or "too long" in message else ""


def _flatten(element: Any, path: str, fields: dict[str, Any], limits: Limits) -> str:
    """Take an element's values into the fields; gives the limit that is exceeded, `unreadable`, or nothing."""
    for name, value in element.attrib.items():
        if len(value) > limits.field_characters:
            return "field_characters"
        _add(fields, f"{path}/@{name}" if path else f"@{name}", value)
    text = (element.text or "").strip()
    if len(text) > limits.field_characters:
        return "field_characters"
    leaf = len(element) == 0
    if path and leaf and (text or not element.attrib):
        _add(fields, path, text)
    elif text:
        return "unreadable"  # text beside elements belongs to no field, and would be lost
    for child in element:
        if not isinstance(child.tag, str) or (child.tail or "").strip():
            return "unreadable"
        broken = _flatten(child, f"{path}/{child.tag}" if path else child.tag, fields, limits)
        if broken:
            return broken
    return ""


def _add(fields: dict[str, Any], path: str, value: str) -> None:
    held = fields.get(path)
    if held is None:
        fields[path] = value
    elif isinstance(held, list):
        held.append(value)
    else:
        fields[path] = [held, value]
