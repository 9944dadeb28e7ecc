"""What every reader stands on: a stream that is cut at a limit of bytes, and an error that names the limit."""

from __future__ import annotations

import io
import zipfile
from typing import Any, BinaryIO

from adapters.sdk import Limits

_PIECE = 64 * 1024


class LimitError(Exception):
    """A source that goes over a limit; `limit` is the member of Limits."""

    def __init__(self, limit: str) -> None:
        super().__init__(limit)
        self.limit = limit


class LimitedStream(io.RawIOBase):
    """A stream that raises LimitError when it has given more than `total_bytes`."""

    def __init__(self, stream: BinaryIO, limits: Limits) -> None:
        self._stream = stream
        self._left = limits.total_bytes

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the stream."""
        data = self._stream.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise LimitError("total_bytes")
        buffer[: len(data)] = data
        return len(data)


def measure(data: bytes, limits: Limits) -> None:
    """Unpack each part of the archive and count, holding nothing. Raises LimitError."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if len(members) > limits.fields:
            raise LimitError("fields")
        if len({member.filename.casefold() for member in members}) < len(members):
            raise ValueError("a part that is there twice: which of them is shown depends on the program")
        unpacked = 0
        for member in members:
            with archive.open(member) as part:
                while piece := part.read(_PIECE):
                    unpacked += len(piece)
                    if unpacked > limits.total_bytes:
                        raise LimitError("total_bytes")
                    if unpacked > limits.ratio * max(len(data), _PIECE):
                        raise LimitError("ratio")
