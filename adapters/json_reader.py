"""Read records out of JSON, in a stream: one object, a list of them, or one on each line, each held alone.

An object with a name twice, nesting deeper than the limit, numbers that no double holds and anything after the end
are refused. Nested objects can be laid flat: a field is then named by its path, `asiakas/nimi`.
"""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any, BinaryIO

from adapters.layouts import PLAIN, Layout
from adapters.limiting import LimitedStream, LimitError
from adapters.sdk import Finding, Limits, Position, Record
from adapters.texts import finding, over

_CHUNK = 64 * 1024
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class JsonForm:
    """How a JSON file is written: the member (or path) that is a record's key, whether objects nest, its layout."""

    key: str
    nested: bool = False
    layout: Layout = PLAIN


class _DuplicateError(ValueError):
    """An object has a name twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _DuplicateError
    return made


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError("a number that no double holds")
    return number


def _never(_: str) -> float:
    raise ValueError("not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_float=_finite, parse_constant=_never)


class _Text:
    """The text of a source, read piece by piece as values are taken from its front."""

    def __init__(self, stream: BinaryIO, limits: Limits) -> None:
        buffered = io.BufferedReader(LimitedStream(stream, limits), _CHUNK)
        if buffered.peek(3).startswith(codecs.BOM_UTF8):
            buffered.read(3)
        self._text = io.TextIOWrapper(buffered, encoding="utf-8", errors="strict", newline="")
        self._most = limits.row_characters
        self._held = ""
        self._at = 0
        self._ended = False
        #: Which of the records is being read.
        self.number = 1
        #: Whether a line has ended since the last value.
        self.is_new_line = False

    def _more(self) -> bool:
        """Read on; False at the end. What is asked for doubles, so that a long value costs its length and no more."""
        if self._ended:
            return False
        piece = self._text.read(max(_CHUNK, len(self._held) - self._at))
        self._held = self._held[self._at :] + piece
        self._at = 0
        self._ended = not piece
        return bool(piece)

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            match = _SPACE.match(self._held, self._at)
            self.is_new_line = self.is_new_line or (match is not None and "\n" in match[0])
            self._at = match.end() if match else self._at
            if self._at < len(self._held):
                return self._held[self._at]
            if not self._more():
                return ""

    def skip(self) -> None:
        """Go past the character that was peeked at."""
        self._at += 1

    def value(self) -> Any:
        """The next value. Raises ValueError, LimitError."""
        self.peek()
        self.is_new_line = False
        while True:
            try:
                value, end = _DECODER.raw_decode(self._held, self._at)
            except RecursionError:
                raise LimitError("depth") from None
            except json.JSONDecodeError:
                if len(self._held) - self._at > self._most:
                    raise LimitError("row_characters") from None
                if not self._more():
                    raise
                continue
            if end == len(self._held) and not isinstance(value, dict | list | str) and self._more():
                continue  # a number may go on in the next piece
            if end - self._at > self._most:
                self._at = end
                raise LimitError("row_characters")
            self._at = end
            return value


class _Envelope:
    """The objects around a list of records: what stands beside it, and how many records all pages have together."""

    def __init__(self, text: _Text, layout: Layout) -> None:
        self._text = text
        self._layout = layout
        self._names: list[set[str]] = []
        self.total: int | None = None

    def open(self) -> bool:
        """Go to the list; False if there is none. Raises ValueError, LimitError."""
        for step in self._layout.records:
            if self._text.peek() != "{":
                return False
            self._text.skip()
            self._names.append(set())
            if not self._members(step):
                return False
        return self._text.peek() == "["

    def close(self) -> None:
        """Go on to the end of the envelope. Raises ValueError, LimitError."""
        while self._names:
            if self._text.peek() == ",":
                self._text.skip()
                self._members(None)
            else:
                self._ends("}")
            self._names.pop()

    def _members(self, wanted: str | None) -> bool:
        """Pass over the members of an object up to the one that is wanted, or to its end."""
        if self._text.peek() == "}":
            self._text.skip()
            return False
        while True:
            name = self._text.value()
            if not isinstance(name, str):
                raise ValueError("no name")
            if name in self._names[-1]:
                raise _DuplicateError
            self._names[-1].add(name)
            self._ends(":")
            if name == wanted:
                return True
            value = self._text.value()
            path = "/".join([*self._layout.records[: len(self._names) - 1], name])
            total = self._layout.total if "/" in self._layout.total or name != self._layout.total else path
            told = _below(value, total.removeprefix(path).strip("/"), path, total)
            if told is not None:
                self.total = told
            if self._text.peek() == "}":
                self._text.skip()
                return False
            self._ends(",")

    def _ends(self, mark: str) -> None:
        if self._text.peek() != mark:
            raise ValueError("not JSON")
        self._text.skip()


def _below(value: Any, rest: str, path: str, wanted: str) -> int | None:
    """The whole number at a path that begins with that of a value; None if there is none."""
    if wanted != path and not wanted.startswith(f"{path}/"):
        return None
    for step in rest.split("/") if rest else ():
        value = value.get(step) if isinstance(value, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def read_json(stream: BinaryIO, form: JsonForm, limits: Limits) -> Iterator[Record | Finding]:
    """The records of a JSON file. The row of a place is the number of the record."""
    count = 0
    try:
        text = _Text(stream, limits)
    except LimitError as error:
        yield over(error.limit, limits, Position(row=1))
        return
    try:
        envelope = _Envelope(text, form.layout)
        if form.layout.records and not envelope.open():
            yield finding("error", "no-record", Position(column="/".join(form.layout.records)))
            return
        for value in _values(text):
            count += 1
            if count > limits.records:
                yield over("records", limits, Position(row=count))
                return
            yield _record(value, form, limits, Position(row=count))
        envelope.close()
        if form.layout.total and envelope.total != count and (count or envelope.total is not None):
            yield finding("error", "count-differs", Position(column=form.layout.total))
        yield from _end(text, text.number)
    except _DuplicateError:
        yield finding("error", "duplicate-member", Position(row=text.number))
    except LimitError as error:
        yield over(error.limit, limits, Position(row=text.number))
    except UnicodeDecodeError:
        yield finding("error", "encoding", Position(row=text.number))
    except (ValueError, RecursionError):
        yield finding("error", "unreadable", Position(row=text.number))


def _values(text: _Text) -> Iterator[Any]:
    """The one value, or those of the list. Raises ValueError, LimitError."""
    if text.peek() != "[":
        yield text.value()
        while text.peek() == "{" and text.is_new_line:  # an object on each line
            text.number += 1
            yield text.value()
        return
    text.skip()
    if text.peek() == "]":
        text.skip()
        return
    while True:
        yield text.value()
        follows = text.peek()
        text.skip()
        if follows == "]":
            return
        text.number += 1
        if follows != ",":
            raise ValueError("not JSON")


def _end(text: _Text, index: int) -> Iterator[Finding]:
    if text.peek():
        yield finding("error", "unreadable", Position(row=index + 1))


def _record(value: Any, form: JsonForm, limits: Limits, position: Position) -> Record | Finding:
    if not isinstance(value, dict):
        return finding("error", "unreadable", position)
    try:
        count = _measure(value, limits, 1)
        if count > limits.fields:
            raise LimitError("fields")
    except LimitError as error:
        return over(error.limit, limits, position)
    except UnicodeEncodeError:
        return finding("error", "encoding", position)
    fields = dict(_laid_flat(value, "")) if form.nested else value
    key = fields.get(form.key)
    return Record(str(key) if isinstance(key, str | int) and not isinstance(key, bool) else "", fields, position)


def _measure(value: Any, limits: Limits, depth: int) -> int:
    """The number of values; raises LimitError for one that is too deep or too long, UnicodeEncodeError for half a
    surrogate pair.
    """
    if isinstance(value, str):
        if not value.isascii():
            value.encode()
        if len(value) > limits.field_characters:
            raise LimitError("field_characters")
        return 1
    if not isinstance(value, dict | list):
        return 1
    if depth > limits.depth:
        raise LimitError("depth")
    if isinstance(value, dict):
        for name in value:
            if not name.isascii():
                name.encode()
        return sum(_measure(member, limits, depth + 1) for member in value.values())
    return sum(_measure(item, limits, depth + 1) for item in value)


def _laid_flat(value: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for name, member in value.items():
        if isinstance(member, dict) and member:
            yield from _laid_flat(member, f"{path}{name}/")
        else:
            yield f"{path}{name}", member
