"""What every reader stands on: a stream that is cut at a limit of bytes, and an error that names the limit."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from adapters.sdk import Limits


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
