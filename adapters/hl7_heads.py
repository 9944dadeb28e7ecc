"""What the heads of HL7 v2 messages say for their answers: the numbers by which they are acknowledged.

Read where messages are read: a head is as foreign as what follows it.
"""

from __future__ import annotations

import codecs
import hashlib
from dataclasses import dataclass
from typing import BinaryIO, Final

from adapters.hl7_batches import Batch, Unread, messages_of
from adapters.limiting import LimitError
from adapters.sdk import Limits

#: MSH-1 and MSH-2; the second form has the character for what was truncated, since HL7 v2.7.
_SEPARATORS: Final = (b"MSH|^~\\&|", b"MSH|^~\\&#|")


@dataclass(frozen=True, slots=True)
class Head:
    """Of one message: MSH-10, empty where there is none, whether its sender waits for a word of the commit alone
    (MSH-15, the enhanced mode), and a digest of all that it says but the moment (MSH-7), which a repetition may change.
    """

    control: str = ""
    is_enhanced: bool = False
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Heads:
    """The messages of a frame in their order; whether they came as a batch, with its number (BHS-11), or as several."""

    messages: tuple[Head, ...]
    is_batch: bool = False
    batch: str = ""
    is_several: bool = False


def heads_of(stream: BinaryIO, limits: Limits) -> Heads:
    """The heads of all messages that can be told apart."""
    batch = Batch()
    found: list[Head] = []
    try:
        for lines in messages_of(stream, limits, batch):
            # Who reads the records refuses what is unread here; the answer is to name it all the same.
            found.append(_head([lines.first] if isinstance(lines, Unread) else lines))
            if len(found) > limits.records:
                break
    except LimitError:
        pass  # who reads the records says so
    return Heads(tuple(found), batch.is_any, _number(batch.head, 11), batch.is_several)


def has_separators(line: bytes) -> bool:
    """Whether a first segment declares the separators that are read here."""
    return line.startswith(_SEPARATORS)


def _head(lines: list[bytes]) -> Head:
    line = lines[0].removeprefix(codecs.BOM_UTF8)
    if not has_separators(line):
        return Head()
    fields = line.split(b"|")
    fields[6:7] = [b""]
    digest = hashlib.sha256(b"\r".join([b"|".join(fields), *lines[1:]])).hexdigest()
    return Head(_number(line, 10), _number(line, 15) not in ("", "NE"), digest)


def _number(line: bytes, field: int) -> str:
    """A field of MSH or BHS as a text; empty if it cannot be written back as it stands."""
    fields = line.split(b"|")
    value = fields[field - 1].strip() if len(fields) >= field else b""
    text = value.decode("ascii", "replace")
    return text if len(text) <= 199 and all(map(_is_plain, text)) else ""


def _is_plain(letter: str) -> bool:
    return " " <= letter <= "~" and letter not in "|^~\\&"
