"""The frames of MLLP: a message between a vertical tab and a file separator that a carriage return follows.

Nothing is guessed of a stream that is not framed. Bytes outside a frame, a frame in a frame, an end that is half of one
could make two persons' messages one, so the connection is ended.
Source: HL7 Minimal Lower Layer Protocol, release 1 (Transport Specification: MLLP).
"""

from __future__ import annotations

from collections.abc import Iterator

BEGIN = b"\x0b"
END = b"\x1c"
CLOSE = END + b"\r"
#: What may stand between two frames: some senders end the one before with a line.
_BETWEEN = b"\r\n"


class FrameError(ValueError):
    """A stream that is not framed, or a message that is too long: the code is one of the acknowledgement's."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Frames:
    """What has come of a stream, parted into frames. `limit` is the most bytes of a message."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()
        self._looked = 0

    @property
    def is_begun(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._held)

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The messages that end in this piece, each with its frame. Raises FrameError."""
        self._held += piece
        while True:
            if not self._held.startswith(BEGIN):
                del self._held[: len(self._held) - len(self._held.lstrip(_BETWEEN))]
                if self._held and not self._held.startswith(BEGIN):
                    raise FrameError("frame-missing")
            end = self._held.find(END, max(1, self._looked))
            # A message that begins within another one: the end of the first was lost, and with it what it said.
            again = self._held.find(BEGIN, max(1, self._looked), end if end >= 0 else len(self._held))
            if again >= 0:
                raise FrameError("frame-broken")
            if (end if end >= 0 else len(self._held)) > self._limit:
                raise FrameError("message-too-long")
            self._looked = len(self._held)
            if end < 0 or len(self._held) < end + len(CLOSE):
                self._looked = end if end >= 0 else self._looked
                return
            if self._held[end : end + len(CLOSE)] != CLOSE:
                raise FrameError("frame-broken")
            message = bytes(self._held[: end + len(CLOSE)])
            del self._held[: end + len(CLOSE)]
            self._looked = 0
            yield message


def framed(message: bytes) -> bytes:
    """A message in its frame."""
    return BEGIN + message + CLOSE
