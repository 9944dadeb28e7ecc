"""One reader: a process that runs adapters (`adapters.serving`), and the socket to it.

It is spawned, never forked, with an empty environment and no open file but its socket, so that it has nothing of this
process. What comes from it is believed as little as what went into it: JSON of bounded size, and values made of it.
"""

from __future__ import annotations

import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

MOST_BYTES: Final = 64 * 1024 * 1024
START_SECONDS: Final = 120.0
_LENGTH: Final = struct.Struct(">I")
_PROGRAM: Final = "import sys; sys.path[:] = {path!r}; from adapters.serving import main; main({fd}, {memory})"


class ReaderDiedError(Exception):
    """The reader ended, or was ended, while it worked: `limit` names the member of Limits that it stood on."""

    def __init__(self, limit: str) -> None:
        super().__init__(limit)
        self.limit = limit


class Reader:
    """A reader that has been started. For one thread at a time."""

    def __init__(self, memory_mb: int, now: float) -> None:
        """Start it; `now` is when, by the clock of its pool. Raises ReaderDiedError if it does not come up, OSError."""
        self.started = now
        ours, theirs = socket.socketpair()
        program = _PROGRAM.format(path=[entry for entry in sys.path if entry], fd=theirs.fileno(), memory=memory_mb)
        with theirs:
            # -I and -S would leave out where packages are installed; the path is given instead, the rest of the
            # environment is not.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-B", "-c", program],
                env={},
                close_fds=True,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # what an adapter prints may be what it read
                cwd="/",
            )
        self._channel = ours
        self._buffer = bytearray()
        self.worked = 0
        self._channel.settimeout(START_SECONDS)
        try:
            ready = self._frame()
            self.is_confined, self.are_files_shut = bool(ready.get("confined")), bool(ready.get("files_shut"))
        except ReaderDiedError:
            self.end()
            raise

    def ask(self, request: Mapping[str, Any], body: bytes, seconds: float) -> Iterator[dict[str, Any]]:
        """Have something done: its answers one by one. Raises ReaderDiedError.

        `seconds` of processor time are the reader's for each answer; the wall may show many times that on a busy
        machine before it is given up.
        """
        self.worked += 1
        head = orjson.dumps({**request, "bytes": len(body), "seconds": seconds})
        self._channel.settimeout(max(30.0, 20 * seconds))
        try:
            self._channel.sendall(_LENGTH.pack(len(head)) + head + body)
        except OSError:
            raise self._died() from None
        while not (answer := self._frame()).get("end"):
            if answer.get("error") == "memory":
                self.end()
                raise ReaderDiedError("memory_mb")
            if answer.get("bytes"):
                answer["body"] = self._exactly(_size(answer["bytes"]))
            yield answer

    def end(self) -> None:
        """End the process, whatever it is at."""
        self._channel.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def _frame(self) -> dict[str, Any]:
        data = self._exactly(_size(_LENGTH.unpack(self._exactly(_LENGTH.size))[0]))
        try:
            document = orjson.loads(data)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            self.end()
            raise ReaderDiedError("memory_mb")
        return document

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            try:
                piece = self._channel.recv(1 << 18)
            except OSError:
                # It neither ended nor went on.
                self.end()
                raise ReaderDiedError("record_seconds") from None
            if not piece:
                raise self._died()
            self._buffer += piece
        found = bytes(self._buffer[:count])
        del self._buffer[:count]
        return found

    def _died(self) -> ReaderDiedError:
        self._channel.close()
        code = self._process.wait()
        return ReaderDiedError("record_seconds" if code == -signal.SIGXCPU else "memory_mb")


def _size(value: object) -> int:
    """A size that a reader names. Raises ReaderDiedError for one that is none, or too large."""
    if type(value) is not int or not 0 <= value <= MOST_BYTES:
        raise ReaderDiedError("memory_mb")
    return value
