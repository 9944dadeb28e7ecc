"""Read records out of hostile bytes: CSV, XML and JSON, in a stream, within limits, each with its place.

A record that cannot be read is a finding; the next one is read all the same. XML is read without entities, document
types or network.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import orjson
from lxml import etree

from adapters.sdk import Finding, Limits, Position, Record
from adapters.texts import finding

_SAMPLE = 256 * 1024


@dataclass(frozen=True, slots=True)
class CsvForm:
    """How a CSV file is written: the encodings to try in turn, the delimiter, the column that is a record's key."""

    encodings: tuple[str, ...]
    delimiter: str
    key: str


@dataclass(frozen=True, slots=True)
class XmlForm:
    """How an XML file is written: the element that is a record, and the path of its key below it."""

    record: str
    key: str


@dataclass(frozen=True, slots=True)
class JsonForm:
    """How a JSON file is written: one object or a list of them, and the member that is a record's key."""

    key: str


class _Limited(io.RawIOBase):
    """A stream that ends with an error when it has given more than a limit of bytes."""

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self._stream = stream
        self._left = most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise LimitError("bytes")
        buffer[: len(data)] = data
        return len(data)


class LimitError(Exception):
    """A source that is larger than it may be."""


def header_of(
    stream: BinaryIO, form: CsvForm, limits: Limits
) -> tuple[list[str], Iterator[tuple[int, list[str] | None]]]:
    """The header of a CSV file and its rows, each with its line. Raises LimitError."""
    buffered = io.BufferedReader(_Limited(stream, limits.total_bytes), _SAMPLE)
    encoding = _encoding(buffered.peek(_SAMPLE), form.encodings)
    text = io.TextIOWrapper(buffered, encoding=encoding, errors="surrogateescape", newline="")
    rows = csv.reader(text, delimiter=form.delimiter, strict=True)

    def numbered() -> Iterator[tuple[int, list[str] | None]]:
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error:
                yield rows.line_num, None
                continue
            yield rows.line_num, row

    lines = numbered()
    _, header = next(lines, (1, []))
    return [name.strip() for name in header or ()], lines


def read_csv(
    stream: BinaryIO, form: CsvForm, limits: Limits, header: list[str] | None = None
) -> Iterator[Record | Finding]:
    """The records of a CSV file."""
    try:
        columns, lines = header_of(stream, form, limits)
        if header is not None:
            header.extend(columns)
        for count, (line, row) in enumerate(lines, 1):
            if count > limits.records:
                raise LimitError("records")
            position = Position(row=line)
            if row is None:
                yield finding("error", "unreadable", position)
            elif not row:  # an empty line is no record
                continue
            elif len(row) != len(columns):
                yield finding("error", "column-count", position)
            elif bad := _refused(columns, row, line, limits):
                yield bad
            else:
                fields = dict(zip(columns, row, strict=True))
                yield Record(fields.get(form.key, "").strip(), fields, position)
    except LimitError:
        yield finding("error", "limit-exceeded", Position())


def _refused(columns: Sequence[str], row: Sequence[str], line: int, limits: Limits) -> Finding | None:
    for column, cell in zip(columns, row, strict=True):
        if len(cell) > limits.field_characters:
            return finding("error", "limit-exceeded", Position(row=line, column=column))
        if not cell.isascii() and any("\udc80" <= letter <= "\udcff" for letter in cell):
            return finding("error", "encoding", Position(row=line, column=column))
    return None


def _encoding(sample: bytes, encodings: Sequence[str]) -> str:
    """The first encoding that the beginning of the file can be read in; a letter cut at the end is forgiven."""
    for name in encodings[:-1]:
        try:
            codecs.getincrementaldecoder(name)("strict").decode(sample, final=False)
        except UnicodeDecodeError:
            continue
        return name
    return encodings[-1]


def read_xml(stream: BinaryIO, form: XmlForm, limits: Limits) -> Iterator[Record | Finding]:
    """The records of an XML file. A field is named by its path, an attribute by `path/@name`."""
    count = 0
    try:
        events = etree.iterparse(
            io.BufferedReader(_Limited(stream, limits.total_bytes)),
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
            if event != "end" or element.tag != form.record:
                continue
            count += 1
            if count > limits.records:
                raise LimitError("records")
            fields: dict[str, Any] = {}
            full = _flatten(element, "", fields, limits, 0)
            position = Position(row=element.sourceline or 0)
            if not full:
                yield finding("error", "limit-exceeded", position)
            else:
                key = fields.get(form.key, "")
                yield Record(key if isinstance(key, str) else "", fields, position)
            element.clear()
            while element.getprevious() is not None:
                del element.getparent()[0]
    except etree.XMLSyntaxError as error:
        yield finding("error", "unreadable", Position(row=error.lineno or 0))
    except LimitError:
        yield finding("error", "limit-exceeded", Position())


def _flatten(element: Any, path: str, fields: dict[str, Any], limits: Limits, depth: int) -> bool:
    if depth > limits.depth or len(fields) > limits.fields:
        return False
    for name, value in element.attrib.items():
        _add(fields, f"{path}/@{name}" if path else f"@{name}", value)
    text = (element.text or "").strip()
    if len(text) > limits.field_characters:
        return False
    if path and len(element) == 0 and (text or not element.attrib):
        _add(fields, path, text)
    return all(
        _flatten(child, f"{path}/{child.tag}" if path else str(child.tag), fields, limits, depth + 1)
        for child in element
        if isinstance(child.tag, str)
    )


def _add(fields: dict[str, Any], path: str, value: str) -> None:
    held = fields.get(path)
    if held is None:
        fields[path] = value
    elif isinstance(held, list):
        held.append(value)
    else:
        fields[path] = [held, value]


def read_json(stream: BinaryIO, form: JsonForm, limits: Limits) -> Iterator[Record | Finding]:
    """The records of a JSON file: one flat object, or a list of them. A place is the number of the record."""
    data = stream.read(limits.total_bytes + 1)
    if len(data) > limits.total_bytes:
        yield finding("error", "limit-exceeded", Position())
        return
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        yield finding("error", "unreadable", Position(row=error.lineno))
        return
    for index, item in enumerate(document if isinstance(document, list) else [document], 1):
        if index > limits.records:
            yield finding("error", "limit-exceeded", Position(row=index))
            return
        if not isinstance(item, dict) or len(item) > limits.fields:
            yield finding("error", "unreadable", Position(row=index))
            continue
        yield Record(str(item.get(form.key) or ""), item, Position(row=index))
