"""One reader: a process that runs adapters (`adapters.serving`), and the socket to it.

It is spawned, never forked, with an empty environment and no open file but its socket, so that it has nothing of this
process. What comes from it is believed as little as what went into it: JSON of bounded size, and values made of it.
"""

from __future__ import annotations

import asyncio
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

MOST_BYTES: Final = 64 * 1024 * 1024
#: Processor time for what a reader loads; and how long one that has not come up yet may use none at all.
LOAD_SECONDS: Final = 30.0
STILL_SECONDS: Final = 60.0
_PIECE: Final = 1 << 18
_LAST_SECONDS: Final = 1.0
_LENGTH: Final = struct.Struct(">I")
_PROGRAM: Final = "import sys; sys.path[:] = {path!r}; from adapters.serving import main; main({arguments})"


class ReaderDiedError(Exception):
    """The reader ended, or was ended, while it worked: `limit` names the member of Limits that it stood on."""

    def __init__(self, limit: str) -> None:
        super().__init__(limit)
        self.limit = limit


class _Answers:
    """What a reader has sent and nobody has taken yet."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, piece: bytes) -> None:
        """More of it has come."""
        self._bytes += piece

    def take(self) -> dict[str, Any] | None:
        """The next answer, with its body if it has one; None while it is not whole. Raises ReaderDiedError."""
        if len(self._bytes) < _LENGTH.size:
            return None
        end = _LENGTH.size + _size(_LENGTH.unpack_from(self._bytes)[0])
        if len(self._bytes) < end:
            return None
        try:
            answer = orjson.loads(self._bytes[_LENGTH.size : end])
        except orjson.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict):
            raise ReaderDiedError("memory_mb")
        if answer.get("bytes"):
            end += _size(answer["bytes"])
            if len(self._bytes) < end:
                return None
            answer["body"] = bytes(self._bytes[end - answer["bytes"] : end])
        del self._bytes[:end]
        return answer


class Reader:
    """A reader that has been started. For one thread, or one task, at a time."""

    def __init__(self, memory_mb: int, now: float, beside: Path | None = None) -> None:
        """Start it; `now` is when, by the clock of its pool; `beside` is a folder with an adapter that goes before.

        Raises ReaderDiedError if it does not come up, OSError.
        """
        self.started = now
        ours, theirs = socket.socketpair()
        served = theirs.fileno(), memory_mb, LOAD_SECONDS, "" if beside is None else str(beside)
        program = _PROGRAM.format(path=list(filter(None, sys.path)), arguments=", ".join(map(repr, served)))
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
        self._answers = _Answers()
        self.worked = 0
        self._channel.settimeout(STILL_SECONDS)
        try:
            ready = self._first()
            self.is_confined, self.are_files_shut = bool(ready.get("confined")), bool(ready.get("files_shut"))
        except ReaderDiedError:
            self.end()
            raise

    def ask(self, request: Mapping[str, Any], body: bytes, seconds: float) -> Iterator[dict[str, Any]]:
        """Have something done: its answers one by one. Raises ReaderDiedError.

        `seconds` of processor time are the reader's for each answer; the wall may show many times that on a busy
        machine before it is given up.
        """
        self._channel.settimeout(_patience(seconds))
        try:
            try:
                self._channel.sendall(self._asked(request, body, seconds))
            except OSError:
                raise self._died() from None
            while not _is_end(answer := self._answer()):
                yield answer
        except ReaderDiedError:
            # What says nonsense, or nothing in time, is not asked again, even if it still runs.
            self.end()
            raise

    async def answers(self, request: Mapping[str, Any], body: bytes, seconds: float, most: int) -> list[dict[str, Any]]:
        """The same on the event loop: all its answers at once, and of very many these. Raises ReaderDiedError.

        A reader that is not waited for to the end is ended: what it has still to say would be the next one's answer.
        """
        found: list[dict[str, Any]] = []
        self._channel.setblocking(False)
        clock = asyncio.get_running_loop().time
        try:
            await self._tell(self._asked(request, body, seconds))
            async with asyncio.timeout(None) as patience:
                while len(found) <= most:
                    answer = self._answers.take()
                    if answer is None:  # several come together, and nobody waits for those
                        patience.reschedule(clock() + _patience(seconds))
                        answer = await self._next()
                    if _is_end(answer):
                        return found
                    found.append(answer)
            self.end()
            return found
        except TimeoutError:
            self.end()
            raise ReaderDiedError("record_seconds") from None
        except BaseException:
            self.end()
            raise

    async def _tell(self, words: bytes) -> None:
        try:
            await asyncio.get_running_loop().sock_sendall(self._channel, words)
        except OSError:
            raise await asyncio.to_thread(self._died) from None

    async def _next(self) -> dict[str, Any]:
        while (answer := self._answers.take()) is None:
            try:
                piece = await asyncio.get_running_loop().sock_recv(self._channel, _PIECE)
            except ConnectionError:
                piece = b""
            if not piece:
                # The process may take a while to end: nobody else waits for it.
                raise await asyncio.to_thread(self._died)
            self._answers.feed(piece)
        return answer

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

    def _first(self) -> dict[str, Any]:
        """What it says when it has come up. On a busy machine that may take long: as long as it works. Raises."""
        worked: object = None
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        while not poll.poll(STILL_SECONDS * 1000):
            if worked == (worked := _processor_time(self.pid)):
                raise ReaderDiedError("record_seconds")
        return self._answer()

    def _asked(self, request: Mapping[str, Any], body: bytes, seconds: float) -> bytes:
        self.worked += 1
        head = orjson.dumps({**request, "bytes": len(body), "seconds": seconds})
        return _LENGTH.pack(len(head)) + head + body

    def _answer(self) -> dict[str, Any]:
        while (answer := self._answers.take()) is None:
            try:
                piece = self._channel.recv(_PIECE)
            except OSError:
                # It neither ended nor went on.
                raise ReaderDiedError("record_seconds") from None
            if not piece:
                raise self._died()
            self._answers.feed(piece)
        return answer

    def _died(self) -> ReaderDiedError:
        """Why the process has closed its end. One that lives on with its end closed is ended."""
        self._channel.close()
        try:
            code = self._process.wait(_LAST_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return ReaderDiedError("record_seconds" if code == -signal.SIGXCPU else "memory_mb")


def _is_end(answer: dict[str, Any]) -> bool:
    """Whether it has said all. Raises ReaderDiedError if it has run out of memory: nothing that follows counts."""
    if answer.get("error") == "memory":
        raise ReaderDiedError("memory_mb")
    return bool(answer.get("end"))


def _processor_time(pid: int) -> tuple[str, ...] | None:
    """What a process has used of the processor; None where the system does not tell."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return None
    return tuple(told[11:13])  # utime and stime


def _patience(seconds: float) -> float:
    """How long a reader may be silent that has so many seconds of processor time."""
    return max(30.0, 20 * seconds)


def _size(value: object) -> int:
    """A size that a reader names. Raises ReaderDiedError for one that is none, or too large."""
    if type(value) is not int or not 0 <= value <= MOST_BYTES:
        raise ReaderDiedError("memory_mb")
    return value
