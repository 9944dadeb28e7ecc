"""Readers for all foreign bytes, and adapters that work in them.

A pool keeps readers warm and replaces each after some thousand inputs or ten minutes, so that whatever an input did to
one does not last. An input that killed or stalled a reader is known by its digest for an hour, and is refused unread:
a source that gives it again and again costs nothing.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, BinaryIO, Final, TypeVar

import orjson

from adapters.sdk import (
    UNREADABLE,
    Adapter,
    AdapterError,
    Change,
    ChangeKind,
    Finding,
    Limits,
    Manifest,
    Mapped,
    Position,
    Record,
    Rendered,
    Text,
    available,
    load,
)
from adapters.texts import over
from gateway.reading.process import Reader, ReaderDiedError
from gateway.telemetry import event
from gateway.wire.problems import ProblemError

LOGGER = logging.getLogger("yhdyspinta.reading")
INPUTS: Final = 5_000
LIFE_SECONDS: Final = 600.0
"""After so many inputs a reader is replaced, and when it comes back after so long. To start one takes as much processor
time as some thousand records."""
REMEMBERED_SECONDS: Final = 3600.0
MOST_REMEMBERED: Final = 1_000
IN_A_ROW: Final = 3
RESTING_SECONDS: Final = 60.0
WAIT_SECONDS: Final = 10.0
_DRAINED: Final = 64
T = TypeVar("T")


class Poison:
    """Inputs that killed a reader, by digest. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._until)

    def remember(self, digest: bytes, limit: str) -> None:
        """It killed a reader just now."""
        with self._lock:
            self._until[digest] = self._clock() + REMEMBERED_SECONDS, limit
            self._until.move_to_end(digest)
            while len(self._until) > MOST_REMEMBERED:
                self._until.popitem(last=False)

    def limit(self, digest: bytes) -> str | None:
        """The limit that it went over, if it did within the hour."""
        with self._lock:
            until, limit = self._until.get(digest, (0.0, ""))
            return limit if self._clock() < until else None


class Readers:
    """Some readers for one kind of work. Thread-safe."""

    def __init__(
        self,
        size: int,
        memory_mb: int,
        poison: Poison | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._memory_mb = memory_mb
        self._clock = clock
        self._idle: list[Reader] = []
        self._free = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._is_closed = False
        self.poison = poison if poison is not None else Poison()
        self.killed = 0
        self.is_confined: bool | None = None
        self.are_files_shut: bool | None = None
        self._in_a_row: dict[str, int] = {}
        self._resting: dict[str, float] = {}

    def start(self) -> None:
        """Start one reader now, so that the first who needs one does not wait. Raises ProblemError `readers-down`."""
        with self._lent() as _:
            pass

    def close(self) -> None:
        """End those that are idle now, and the others when they come back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for reader in idle:
            reader.end()

    def ask(
        self, request: Mapping[str, Any], body: bytes, limits: Limits, source: str, made: Callable[[dict[str, Any]], T]
    ) -> Iterator[T]:
        """Have something done by a reader. Raises ReaderDiedError, AdapterError, ProblemError.

        `made` makes a value of each answer; one of which none can be made is as if the reader had died. `source` is
        whose input it is: three in a row that kill readers, and it rests for a minute.
        """
        digest = hashlib.sha256(orjson.dumps([request.get("do"), request.get("adapter")]) + body).digest()
        limit = self.poison.limit(digest)
        if limit is not None:
            raise ReaderDiedError(limit)
        if self._clock() < self._resting.get(source, 0.0):
            raise ProblemError(
                "busy", detail="what this source sent killed readers three times in a row", retry_after=60
            )
        try:
            with self._lent() as reader:
                answers = reader.ask(request, body, limits.record_seconds)
                try:
                    for answer in answers:
                        yield _made(answer, made)
                except ReaderDiedError:
                    # What says nonsense is not asked again, even if it still runs.
                    reader.end()
                    raise
                finally:
                    # Who has seen enough leaves the rest in the socket, where the next would take it for an answer.
                    if next((True for index, _ in enumerate(answers) if index > _DRAINED), False):
                        reader.end()
        except ReaderDiedError as error:
            self._died(digest, error.limit, source)
            raise
        self._in_a_row.pop(source, None)

    def _died(self, digest: bytes, limit: str, source: str) -> None:
        self.killed += 1
        self.poison.remember(digest, limit)
        self._in_a_row[source] = self._in_a_row.get(source, 0) + 1
        if self._in_a_row[source] >= IN_A_ROW:
            self._resting[source] = self._clock() + RESTING_SECONDS
            self._in_a_row.pop(source)
        event(LOGGER, logging.ERROR, "reader-died", source=source, limit=limit, input=digest.hex()[:16])

    @contextmanager
    def _lent(self) -> Iterator[Reader]:
        if not self._free.acquire(timeout=WAIT_SECONDS):
            raise ProblemError("busy", detail="all readers are at work", retry_after=1)
        try:
            reader = self._taken()
            try:
                yield reader
            except BaseException:
                if not reader.is_alive:
                    reader.end()
                raise
            finally:
                self._back(reader)
        finally:
            self._free.release()

    def _taken(self) -> Reader:
        while True:
            with self._lock:
                reader = self._idle.pop() if self._idle else None
            if reader is None:
                break
            if reader.is_alive:
                return reader
            reader.end()
        try:
            reader = Reader(self._memory_mb, self._clock())
        except (ReaderDiedError, OSError) as error:
            event(LOGGER, logging.ERROR, "readers-down", reason=type(error).__name__)
            raise ProblemError("readers-down", detail="no process can be started that reads", retry_after=5) from None
        self.is_confined, self.are_files_shut = reader.is_confined, reader.are_files_shut
        return reader

    def _back(self, reader: Reader) -> None:
        with self._lock:
            is_fresh = reader.worked < INPUTS and self._clock() - reader.started < LIFE_SECONDS
            is_kept = is_fresh and reader.is_alive and not self._is_closed
            if is_kept:
                self._idle.append(reader)
        if not is_kept:
            reader.end()

    def condition(self) -> dict[str, Any]:
        """For the node's health."""
        return {
            "idle": len(self._idle),
            "killed": self.killed,
            "confined": self.is_confined,
            "files_shut": self.are_files_shut,
        }


def _made(answer: dict[str, Any], made: Callable[[dict[str, Any]], T]) -> T:
    if answer.get("error") == "adapter":
        raise AdapterError(str(answer.get("text")))
    try:
        if "error" in answer:
            raise ValueError
        return made(answer)
    except (KeyError, TypeError, ValueError):
        raise ReaderDiedError("memory_mb") from None


@dataclass(frozen=True, slots=True)
class Columns:
    """The names that an adapter's mapping takes."""

    fields: frozenset[str]
    optional: frozenset[str]


class RemoteAdapter:
    """An adapter whose code runs in readers alone."""

    def __init__(self, manifest: Manifest, readers: Readers, source: str) -> None:
        self._manifest = manifest
        self._readers = readers
        self._source = source

    @property
    def manifest(self) -> Manifest:
        """What the adapter is."""
        return self._manifest

    @cached_property
    def mapping(self) -> Columns | None:
        """The names that it takes, if it is made of a mapping."""
        (found,) = self._ask("describe", b"", Limits(), _columns)
        return found

    def read(self, stream: BinaryIO, limits: Limits) -> Iterator[Record | Finding]:
        """Not done here: records are mapped where they are read."""
        raise AdapterError(f"{self._manifest.name} reads and maps in one")

    def to_canonical(self, record: Record) -> Mapped:
        """See Adapter."""
        place = record.position
        body = orjson.dumps([[record.key, _sent(record.fields), [place.file, place.row, place.column]]])
        (mapped,) = self._mapped("map", body, Limits())
        return mapped

    def convert(self, stream: BinaryIO, limits: Limits) -> Iterator[Mapped]:
        """See Adapter. An input that kills its reader is a record that is rejected, with what it went over."""
        # One byte more than may be read: the adapter says that it is too much.
        return self._mapped("convert", stream.read(limits.total_bytes + 1), limits)

    def from_canonical(self, bundle: Mapping[str, Any]) -> Rendered:
        """See Adapter."""
        (found,) = self._ask("render", orjson.dumps(bundle), Limits(), _rendered)
        return found

    def _mapped(self, do: str, body: bytes, limits: Limits) -> Iterator[Mapped]:
        try:
            yield from self._ask(do, body, limits, _mapped)
        except ReaderDiedError as error:
            yield Mapped("", None, {}, (over(error.limit, limits),), Position())

    def _ask(self, do: str, body: bytes, limits: Limits, made: Callable[[dict[str, Any]], T]) -> Iterator[T]:
        given = {item.name: getattr(limits, item.name) for item in fields(limits) if item.name != "clock"}
        request = {"do": do, "adapter": self._manifest.name, "limits": given}
        return self._readers.ask(request, body, limits, self._source, made)


def _sent(value: Any) -> Any:
    """A field as it travels: what its source could not say is marked, and is not what it would be shown as."""
    if value is UNREADABLE:
        return {"unreadable": True}
    if isinstance(value, Mapping):
        return {name: _sent(member) for name, member in value.items()}
    return [_sent(item) for item in value] if isinstance(value, list) else value


def _mapped(answer: Mapping[str, Any]) -> Mapped:
    """A record as a reader tells it. Raises KeyError, TypeError or ValueError."""
    bundle = answer["bundle"]
    if bundle is not None and not isinstance(bundle, dict):
        raise TypeError
    findings = tuple(_finding(item) for item in answer["findings"])
    change = None if bundle is not None else _change(answer.get("change"))
    return Mapped(str(answer["key"]), bundle, {}, findings, _position(answer["position"]), change)


def _change(item: Sequence[Any] | None) -> Change | None:
    if item is None:
        return None
    kind, identifiers = item
    return Change(ChangeKind(kind), tuple((str(system), str(value)) for system, value in identifiers))


def _columns(answer: Mapping[str, Any]) -> Columns | None:
    if answer["fields"] is None:
        return None
    return Columns(frozenset(map(str, answer["fields"])), frozenset(map(str, answer["optional"])))


def _rendered(answer: Mapping[str, Any]) -> Rendered:
    findings = tuple(_finding(item) for item in answer["findings"])
    return Rendered(str(answer["media_type"]), answer.get("body", b""), findings)


def _manifests(answer: Mapping[str, Any]) -> tuple[Manifest, ...]:
    return tuple(
        Manifest(
            str(item["name"]),
            Text(*(str(item["title"][language]) for language in ("fi", "sv", "en"))),
            tuple(map(str, item["media_types"])),
            bool(item["reads"]),
            bool(item["writes"]),
            tuple(map(str, item["extensions"])),
        )
        for item in answer["adapters"]
    )


def _finding(item: Sequence[Any]) -> Finding:
    severity, code, position, target, message, hint = item
    if severity not in ("error", "warning"):
        raise ValueError(severity)
    place = None if target is None else str(target)
    return Finding(severity, str(code), _position(position), place, Text(*map(str, message)), Text(*map(str, hint)))


def _position(item: Sequence[Any]) -> Position:
    file, row, column = item
    return Position(str(file), int(row), str(column))


@dataclass(frozen=True, slots=True)
class Adapters:
    """Which adapters there are, and where their code runs."""

    load: Callable[[str], Adapter]
    available: Callable[[], tuple[Manifest, ...]]


#: In this process: for tools and tests that hold no keys.
IN_PROCESS: Final = Adapters(load, available)


class Reading:
    """All readers of a node: some for questions, some for what clients send, one for each source."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._poison = Poison()
        self._pools: dict[str, Readers] = {}
        self._manifests: tuple[Manifest, ...] = ()

    def start(self) -> None:
        """Start the first reader, and learn which adapters there are. Raises ProblemError `readers-down`."""
        questions = self._pool("questions", 2)
        try:
            (self._manifests,) = questions.ask({"do": "list"}, b"", self._limits, "start", _manifests)
        except ReaderDiedError:
            raise ProblemError("readers-down", detail="the process that reads ended as it began") from None

    def close(self) -> None:
        """End all readers."""
        for pool in self._pools.values():
            pool.close()

    def adapters(self, work: str, size: int = 2) -> Adapters:
        """The adapters for one kind of work, which has readers of its own: `questions`, `clients`, a source's name."""
        pool = self._pool(work, size)

        def chosen(name: str) -> Adapter:
            for manifest in self._manifests:
                if manifest.name == name:
                    return RemoteAdapter(manifest, pool, work)
            raise AdapterError(f"no adapter {name!r} is installed")

        return Adapters(chosen, lambda: self._manifests)

    def _pool(self, work: str, size: int) -> Readers:
        return self._pools.setdefault(work, Readers(size, self._limits.memory_mb, self._poison))

    def condition(self) -> dict[str, Any]:
        """For the node's health."""
        pools = {work: pool.condition() for work, pool in self._pools.items()}
        return {"refused_unread": len(self._poison), "pools": pools}
