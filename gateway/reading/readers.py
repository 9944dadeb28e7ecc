"""Adapters that work in readers, and all readers of a node."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields
from functools import partial
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
from adapters.sdk.versions import InUse
from adapters.texts import over
from gateway.reading.editions import AtWork, Edition, Editions, editions
from gateway.reading.process import ReaderDiedError
from gateway.wire.problems import ProblemError
from schemas.identifiers import masked

T = TypeVar("T")
#: Nothing that would part a message, and no more than HL7 2.7 allows.
_CONTROL: Final = re.compile(r"[^|^~\\&\x00-\x1f\x7f-\U0010ffff]{0,199}")


@dataclass(frozen=True, slots=True)
class Columns:
    """The names that an adapter's mapping takes."""

    fields: frozenset[str]
    optional: frozenset[str]


class RemoteAdapter:
    """An adapter whose code runs in readers alone.

    `at_work` says which version is to be asked: what was begun with one is finished with it.
    """

    def __init__(self, at_work: Callable[[], AtWork], source: str) -> None:
        self._at_work = at_work
        self._source = source
        self._columns: tuple[str, Columns | None] | None = None

    @property
    def manifest(self) -> Manifest:
        return self._at_work().edition.manifest

    @property
    def mapping(self) -> Columns | None:
        """The names that it takes, if it is made of a mapping."""
        at_work = self._at_work()
        digest = at_work.edition.version.digest
        if self._columns is None or self._columns[0] != digest:
            (found,) = self._ask(at_work, Asked("describe", b"", Limits()), _columns)
            self._columns = digest, found
        return self._columns[1]

    def read(self, stream: BinaryIO, limits: Limits) -> Iterator[Record | Finding]:
        """Not done here: records are mapped where they are read."""
        raise AdapterError(f"{self.manifest.name} reads and maps in one")

    def to_canonical(self, record: Record) -> Mapped:
        """See Adapter."""
        place = record.position
        body = orjson.dumps([[record.key, _sent(record.fields), [place.file, place.row, place.column]]])
        (mapped,) = self._mapped(Asked("map", body, Limits()))
        return mapped

    def convert(self, stream: BinaryIO, limits: Limits) -> Iterator[Mapped]:
        """See Adapter. An input that kills its reader is a record that is rejected, with what it went over."""
        # One byte more than may be read: the adapter says that it is too much.
        return self._mapped(Asked("convert", stream.read(limits.total_bytes + 1), limits))

    async def convert_soon(self, body: bytes, limits: Limits) -> list[Mapped]:
        """`convert` on the event loop, of what holds few records."""
        at_work = self._at_work()
        request = _request(at_work.edition, "convert", limits)
        made = partial(_mapped, at_work.edition.version.mark)
        try:
            return await at_work.readers.answers(request, body[: limits.total_bytes + 1], limits, self._source, made)
        except ReaderDiedError as error:
            return [_over(error, limits)]

    def heads(self, body: bytes, limits: Limits) -> Heads:
        """What the heads of HL7 messages say for their answers; of an input that kills its reader there are none.

        Raises AdapterError, ProblemError.
        """
        try:
            (found,) = self._ask(self._at_work(), Asked("heads", body, limits), _heads)
        except ReaderDiedError:
            return Heads(())
        return found

    def from_canonical(self, bundle: Mapping[str, Any]) -> Rendered:
        """See Adapter."""
        (found,) = self._ask(self._at_work(), Asked("render", orjson.dumps(bundle), Limits()), _rendered)
        return found

    def _mapped(self, asked: Asked) -> Iterator[Mapped]:
        at_work = self._at_work()
        try:
            yield from self._ask(at_work, asked, partial(_mapped, at_work.edition.version.mark))
        except ReaderDiedError as error:
            yield _over(error, asked.limits)

    def _ask(self, at_work: AtWork, asked: Asked, made: Callable[[dict[str, Any]], T]) -> Iterator[T]:
        request = _request(at_work.edition, asked.do, asked.limits)
        return at_work.readers.ask(request, asked.body, asked.limits, self._source, made)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a reader is asked to do with which bytes."""

    do: str
    body: bytes
    limits: Limits


def _request(edition: Edition, do: str, limits: Limits) -> dict[str, Any]:
    given = {item.name: getattr(limits, item.name) for item in fields(limits) if item.name != "clock"}
    return {"do": do, "adapter": edition.manifest.name, "digest": edition.version.digest, "limits": given}


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


def _mapped(made_by: str, answer: Mapping[str, Any]) -> Mapped:
    """A record as a reader tells it. Raises KeyError, TypeError or ValueError."""
    bundle = answer["bundle"]
    if bundle is not None and not isinstance(bundle, dict):
        raise TypeError
    findings = tuple(_finding(item) for item in answer["findings"])
    change = None if bundle is not None else _change(answer.get("change"), str(answer["key"]))
    return Mapped(str(answer["key"]), bundle, {}, findings, _position(answer["position"]), change, made_by)


def _change(item: Sequence[Any] | None, key: str) -> Change | None:
    if item is None:
        return None
    kind, identifiers = item
    return Change(ChangeKind(kind), tuple((str(system), str(value)) for system, value in identifiers), key)


def _columns(answer: Mapping[str, Any]) -> Columns | None:
    if answer["fields"] is None:
        return None
    return Columns(frozenset(map(str, answer["fields"])), frozenset(map(str, answer["optional"])))


def _heads(answer: Mapping[str, Any]) -> Heads:
    messages = tuple(
        Head(_control(control), bool(is_enhanced), _control(digest))
        for control, is_enhanced, digest in answer["messages"]
    )
    return Heads(messages, bool(answer["is_batch"]), _control(answer["batch"]), bool(answer["is_several"]))


def _control(value: object) -> str:
    """A number that is written into an answer: whoever reads foreign bytes is not believed that it is one."""
    if not isinstance(value, str) or not _CONTROL.fullmatch(value):
        raise ValueError
    return value


def _rendered(answer: Mapping[str, Any]) -> Rendered:
    findings = tuple(_finding(item) for item in answer["findings"])
    return Rendered(str(answer["media_type"]), answer.get("body", b""), findings)


def _finding(item: Sequence[Any]) -> Finding:
    severity, code, position, target, message, hint = item
    if severity not in ("error", "warning"):
        raise ValueError(severity)
    place = None if target is None else str(target)
    return Finding(severity, str(code), _position(position), place, Text(*map(str, message)), Text(*map(str, hint)))


def _position(item: Sequence[Any]) -> Position:
    file, row, column = item
    # A column is called what the source calls it, and a sheet or a member may be called by a person's number.
    return Position(masked(str(file)), int(row), masked(str(column)))


@dataclass(frozen=True, slots=True)
class Adapters:
    """Which adapters there are, and where their code runs. `using` gives one that stays the same version meanwhile:

    that of a digest if there still is one, else the present.
    """

    load: Callable[[str], Adapter]
    available: Callable[[], tuple[Manifest, ...]]
    using: Callable[[str, str], AbstractContextManager[InUse]]


#: In this process: for tools and tests that hold no keys.
IN_PROCESS: Final = Adapters(load, available, lambda name, _digest: nullcontext(InUse(load(name), "")))


class Reading:
    """All readers of a node: some for questions, some for what clients send, one for each source."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.editions = Editions(limits)
        #: Finds a version that is not at work, by name and digest: what was begun with it is finished with it.
        self.former: Callable[[str, str], Edition | None] = lambda _name, _digest: None

    def start(self) -> None:
        """Start the first reader, and learn which adapters there are. Raises ProblemError `readers-down`."""
        questions = self.editions.pool("questions", 2)
        try:
            (found,) = questions.ask({"do": "list"}, b"", self._limits, "start", editions)
        except ReaderDiedError:
            raise ProblemError("readers-down", detail="the process that reads ended as it began") from None
        self.editions.install(found)

    def close(self) -> None:
        """End all readers."""
        self.editions.close()

    def adapters(self, work: str, size: int = 2) -> Adapters:
        """The adapters for one kind of work, which has readers of its own: `questions`, `clients`, a source's name."""
        at_work = self.editions

        def chosen(name: str) -> Adapter:
            at_work.at_work(name, work, size)
            return RemoteAdapter(lambda: at_work.at_work(name, work, size), work)

        @contextmanager
        def using(name: str, digest: str) -> Iterator[InUse]:
            with at_work.held(name, digest, self.former) as edition:
                held = AtWork(edition, at_work.readers(edition, work, size))
                yield InUse(RemoteAdapter(lambda: held, work), edition.version.digest)

        return Adapters(chosen, lambda: tuple(edition.manifest for edition in at_work.available()), using)

    def condition(self) -> dict[str, Any]:
        """For the node's health."""
        return self.editions.condition()
