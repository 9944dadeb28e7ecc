"""Read records out of JSON, in a stream: one object, or a list of them, each held alone.

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

from adapters.limiting import LimitedStream, LimitError
from adapters.sdk import Finding, Limits, Position, Record
from adapters.texts import finding, over

_CHUNK = 64 * 1024
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class JsonForm:
    """How a JSON file is written: the member (or path) that is a record's key, and whether objects nest."""

    key: str
    nested: bool = False


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


def read_json(stream: BinaryIO, form: JsonForm, limits: Limits) -> Iterator[Record | Finding]:
    """The records of a JSON file. The row of a place is the number of the record."""
    index = 1
    try:
        text = _Text(stream, limits)
        listed = text.peek() == "["
        if listed:
            text.skip()
            if text.peek() == "]":
                text.skip()
                yield from _end(text, index)
                return
        while True:
            if index > limits.records:
                yield over("records", limits, Position(row=index))
                return
            yield _record(text.value(), form, limits, Position(row=index))
            if not listed:
                yield from _end(text, index)
                return
            follows = text.peek()
            text.skip()
            if follows == "]":
                yield from _end(text, index)
                return
            index += 1
            if follows != ",":
                yield finding("error", "unreadable", Position(row=index))
                return
    except _DuplicateError:
        yield finding("error", "duplicate-member", Position(row=index))
    except LimitError as error:
        yield over(error.limit, limits, Position(row=index))
    except UnicodeDecodeError:
        yield finding("error", "encoding", Position(row=index))
    except (ValueError, RecursionError):
        yield finding("error", "unreadable", Position(row=index))


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
