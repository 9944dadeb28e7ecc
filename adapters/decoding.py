"""Choose the encoding of a text by what it makes of the bytes, and decode it in a stream.

A mark of byte order decides alone. That an encoding of one byte a letter can be decoded proves nothing: its text has to
look like text. Where the beginning of a source is all ASCII, the first letter beyond it decides, however late it comes.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Sequence
from typing import Any, BinaryIO

from adapters.legibility import is_misdecoded
from adapters.limiting import LimitedStream
from adapters.sdk import Limits

SAMPLE = 256 * 1024
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Decoded:
    """A text, and the encoding that it is read in; empty if it is in none that is asked for."""

    def __init__(self, stream: BinaryIO, encodings: Sequence[str], limits: Limits) -> None:
        buffered = io.BufferedReader(LimitedStream(stream, limits), SAMPLE)
        sample = buffered.peek(SAMPLE)
        self._late: _Late | None = None
        self._encoding = encoding_of(sample, encodings)
        raw: Any = buffered
        name = self._encoding
        if name.startswith("utf-8") and sample.isascii() and len(sample) >= SAMPLE:
            self._late = _Late(buffered, encodings)
            raw, name = io.BufferedReader(self._late, SAMPLE), "utf-8"
        # A byte that cannot be decoded is kept as such, so that only its cell is lost.
        self.text = io.TextIOWrapper(raw, encoding=name or "utf-8", errors="surrogateescape", newline="")

    @property
    def encoding(self) -> str:
        """The encoding, as far as it is known by now."""
        return self._late.encoding if self._late is not None else self._encoding


class _Late(io.RawIOBase):
    """Bytes that are ASCII until a letter beyond it tells the encoding; from then on as UTF-8."""

    def __init__(self, stream: Any, encodings: Sequence[str]) -> None:
        self._stream = stream
        self._encodings = encodings
        self._left = b""
        self._is_open = True
        self.encoding = "utf-8"

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer."""
        if not self._left:
            # One letter may become three bytes.
            self._left = self._stream.read1(max(1, len(buffer) // 3))
            if self._is_open and not self._left.isascii():
                self._is_open = False
                self.encoding = encoding_of(self._left + self._stream.peek(SAMPLE), self._encodings)
            if not self.encoding.startswith("utf-8"):
                self._left = self._left.decode(self.encoding, "surrogateescape").encode("utf-8", "surrogateescape")
        part, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


def encoding_of(sample: bytes, encodings: Sequence[str]) -> str:
    """The first encoding that the beginning of a text can be read in; a letter cut at the end is forgiven.

    Empty if a mark of byte order names one that is not asked for.
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
        if name.startswith("utf") or not is_misdecoded(text, name):
            return name
    return encodings[-1]


def is_misread(cell: str, encoding: str) -> bool:
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
