"""What of a sample's bytes is in no record and in no finding, counted apart from an adapter's own reader in Python.

A reader that skips a line gives one record less in both places where records are counted. Here the raw lines are held
against the records: a word of a line stands in some record, or a finding tells of that line. What is no table of text
is held against the records that its form has by itself.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from adapters.sdk import Adapter, Limits, Record

#: Shorter ones stand in other words by accident.
_WORD: Final = re.compile(r"\w{3,}")
_DIGIT: Final = re.compile(r"[0-9]")
_TABLES: Final = frozenset({"csv", "fixed"})
_OURS: Final = "adapters"

#: A part of the source, by its row, and the words in it.
_Piece = tuple[int, frozenset[str]]


def unread(adapter: Adapter, data: bytes) -> list[int]:
    """The rows of which an adapter's own `read` loses something; none for an adapter that has no `read` of its own."""
    readers = [made.__dict__["read"] for made in type(adapter).__mro__ if "read" in made.__dict__]
    if not readers or _is_ours(readers[0]):
        return []
    items = list(adapter.read(io.BytesIO(data), Limits()))
    records = [item for item in items if isinstance(item, Record)]
    told = {item.position.row for item in items if not isinstance(item, Record)}
    told |= {doubt.position.row for record in records for doubt in record.findings}
    text = "\n".join(_texts([[record.key, record.fields] for record in records])).casefold()
    known = set(_WORD.findall(text))
    pieces = list(_pieces(adapter, data, next((reader for reader in readers if _is_ours(reader)), None)))
    missing = {row: {word for word in words - known if word not in text} for row, words in pieces}
    taken = [(row, len(words)) for row, words in pieces if words and not missing[row]]
    # A title or a sum has few words; a header has no number in it and stands before all records.
    least = min((count for row, count in taken), default=0) / 2
    begins = min((row for row, _ in taken), default=0)
    return [
        row
        for row, words in pieces
        if missing[row] and row not in told and len(words) >= least and (row > begins or any(map(_DIGIT.search, words)))
    ]


def _is_ours(reader: Any) -> bool:
    return str(reader.__module__).partition(".")[0] == _OURS


def _pieces(adapter: Adapter, data: bytes, base: Any) -> Iterator[_Piece]:
    source: Mapping[str, Any] = getattr(getattr(adapter, "mapping", None), "source", {})
    if base is None or source.get("format", "csv") in _TABLES:
        for row, line in enumerate(_decoded(data, source.get("encoding", ("utf-8-sig",))).splitlines(), 1):
            yield row, frozenset(_WORD.findall(line.casefold()))
        return
    for item in base(adapter, io.BytesIO(data), Limits()):
        if isinstance(item, Record):
            yield item.position.row, frozenset(_WORD.findall(" ".join(_texts(item.fields)).casefold()))


def _decoded(data: bytes, encodings: Iterable[str]) -> str:
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("iso-8859-1")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, member in value.items():
            yield str(name)
            yield from _texts(member)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif value is not None:
        yield str(value)
