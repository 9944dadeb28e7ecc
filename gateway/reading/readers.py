"""Adapters that work in readers, and all readers of a node."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, BinaryIO, Final, TypeVar

import orjson

from adapters.hl7_heads import Head, Heads
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
from gateway.reading.pool import Poison, Readers
from gateway.reading.process import ReaderDiedError
from gateway.wire.problems import ProblemError

T = TypeVar("T")
#: Nothing that would part a message, and no more than HL7 2.7 allows.
_CONTROL: Final = re.compile(r"[^|^~\\&\x00-\x1f\x7f-\U0010ffff]{0,199}")


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

    async def convert_soon(self, body: bytes, limits: Limits) -> list[Mapped]:
        """`convert` on the event loop, of what holds few records."""
        request = self._request("convert", limits)
        try:
            return await self._readers.answers(request, body[: limits.total_bytes + 1], limits, self._source, _mapped)
        except ReaderDiedError as error:
            return [_over(error, limits)]

    def heads(self, body: bytes, limits: Limits) -> Heads:
        """What the heads of HL7 messages say for their answers; of an input that kills its reader there are none.

        Raises AdapterError, ProblemError.
        """
        try:
            (found,) = self._ask("heads", body, limits, _heads)
        except ReaderDiedError:
            return Heads(())
        return found

    def from_canonical(self, bundle: Mapping[str, Any]) -> Rendered:
        """See Adapter."""
        (found,) = self._ask("render", orjson.dumps(bundle), Limits(), _rendered)
        return found

    def _mapped(self, do: str, body: bytes, limits: Limits) -> Iterator[Mapped]:
        try:
            yield from self._ask(do, body, limits, _mapped)
        except ReaderDiedError as error:
            yield _over(error, limits)

    def _ask(self, do: str, body: bytes, limits: Limits, made: Callable[[dict[str, Any]], T]) -> Iterator[T]:
        return self._readers.ask(self._request(do, limits), body, limits, self._source, made)

    def _request(self, do: str, limits: Limits) -> dict[str, Any]:
        given = {item.name: getattr(limits, item.name) for item in fields(limits) if item.name != "clock"}
        return {"do": do, "adapter": self._manifest.name, "limits": given}


def _over(error: ReaderDiedError, limits: Limits) -> Mapped:
    """An input that killed its reader, as a record that is rejected."""
    return Mapped("", None, {}, (over(error.limit, limits),), Position())


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


def _heads(answer: Mapping[str, Any]) -> Heads:
    messages = tuple(
        Head(_control(control), bool(is_enhanced), _control(digest))
        for control, is_enhanced, digest in answer["messages"]
    )
    return Heads(messages, bool(answer["is_batch"]), _control(answer["batch"]))


def _control(value: object) -> str:
    """A number that is written into an answer: whoever reads foreign bytes is not believed that it is one."""
    if not isinstance(value, str) or not _CONTROL.fullmatch(value):
        raise ValueError
    return value


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
