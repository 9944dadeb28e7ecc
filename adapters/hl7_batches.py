"""Part a stream of HL7 v2 into messages, and hold what a batch says of itself against what was there.

Segments end with CR, or in files with LF or both, but within one message in one way only: a line break within a text
would otherwise make a segment of what somebody has written. The frame of MLLP is left out, and so are the segments of a
batch, which count its messages.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from adapters.limiting import LimitedStream
from adapters.sdk import Limits

_FRAME = b"\x0b\x1c"
_PIECE = 64 * 1024
#: A longer number of messages is none; Python refuses to read some of them.
_MOST_DIGITS = 9


class Batch:
    """What the segments around the messages say: whether each that was opened is closed, and how many there are."""

    def __init__(self) -> None:
        self._open: dict[bytes, bytes] = {}
        self._told: int | None = None
        self._is_wrong = False
        self.at = ""
        self._batches = 0
        self._is_begun = False
        self.is_any = False
        #: Whether there is another batch, or a message beside one.
        self.is_several = False
        self.head = b""

    def takes(self, line: bytes) -> bool:
        """Whether a segment is one of a batch and of no message. Is to see each first segment of a message too."""
        name = line[:3]
        if name in (b"MSH", b"BHS"):
            self.is_several = self.is_several or self._batches > 0 or (name == b"BHS" and self._is_begun)
            self._is_begun = True
        self.is_any = self.is_any or name in (b"FHS", b"BHS", b"BTS", b"FTS")
        if name in (b"FHS", b"BHS"):
            self._is_wrong = self._is_wrong or name in self._open
            self._open[name] = line
            self.head = line if name == b"BHS" else self.head
        elif name in (b"BTS", b"FTS"):
            self._open.pop(b"BHS" if name == b"BTS" else b"FHS", None)
            self._batches += name == b"BTS"
            told = b"".join(line.split(line[3:4] or b"|")[1:2]).strip()
            count = int(told) if told.isdigit() and len(told) <= _MOST_DIGITS else None
            if told and name == b"BTS":
                self._is_wrong = self._is_wrong or count is None
                self._told = (self._told or 0) + (count or 0)
            elif told:
                self._is_wrong = self._is_wrong or count != self._batches
        else:
            return False
        return True

    def agrees(self, count: int) -> bool:
        """Whether there were as many messages as the batches say, and each batch came to its end."""
        self.at = "BTS-1" if self._told is not None else "BTS" if b"BHS" in self._open else "FTS"
        return not self._open and not self._is_wrong and self._told in (None, count)


@dataclass(frozen=True, slots=True)
class Unread:
    """In place of a message that cannot be taken: why, and its first segment, which may be cut.

    `why` is the limit for one that is too long, `line-ends` for one whose segments end in different ways, and `cut` for
    one whose last segment has no end.
    """

    why: str
    first: bytes


def messages_of(stream: BinaryIO, limits: Limits, batch: Batch) -> Iterator[list[bytes] | Unread]:
    """The segments of each message. Raises LimitError."""
    held: list[bytes] = []
    ends: list[bytes] = []
    size = 0
    for line, end in _segments(stream, limits):
        begins = batch.takes(line) or line[:3] == b"MSH"
        if begins and (held or size):
            yield _message(held, ends, size, limits)
            held, ends, size = [], [], 0
        if begins and line[:3] != b"MSH":
            continue
        size += len(line) + 1
        if size > limits.row_characters:
            held = held[:1] or [line]
        else:
            held.append(line)
            ends.append(end)
    if held or size:
        yield _message(held, ends, size, limits)


def _message(lines: list[bytes], ends: list[bytes], size: int, limits: Limits) -> list[bytes] | Unread:
    if size > limits.row_characters:
        return Unread("row_characters", lines[0])
    # What ends the last one is the end of the message; without it nobody knows what has been lost.
    if not ends[-1] and lines[0].startswith(b"MSH"):
        return Unread("cut", lines[0])
    return Unread("line-ends", lines[0]) if len(set(ends[:-1])) > 1 else lines


def _segments(stream: BinaryIO, limits: Limits) -> Iterator[tuple[bytes, bytes]]:
    """The segments, each with what ends it; a longer one than a record may be is cut."""
    buffered = io.BufferedReader(LimitedStream(stream, limits), _PIECE)
    left = b""
    is_first = True
    while piece := buffered.read1(_PIECE):
        if is_first:
            piece = piece.removeprefix(codecs.BOM_UTF8)
            is_first = False
        lines = (left + piece).splitlines(keepends=True)
        left = b""
        # A line that may go on, and a CR whose LF may be still to come.
        if lines and (not lines[-1].endswith(b"\n")):
            left = lines.pop()
        yield from _ended(lines)
        if len(left) > limits.row_characters:
            left = left[: limits.row_characters + 1]
    yield from _ended([left])


def _ended(lines: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for line in lines:
        text = line.rstrip(b"\r\n")
        if bare := text.strip(_FRAME):
            yield bare, line[len(text) :] or (_FRAME[1:] if text.endswith(_FRAME[1:]) else b"")
