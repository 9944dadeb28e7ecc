"""Read and map a whole source: the loop that every adapter with keys and a limit of time shares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from adapters.keys import Keys
from adapters.sdk import Adapter, Finding, Limits, Mapped, Record
from adapters.texts import finding, over

#: The identity codes of a record.
Codes = Callable[[Record], Iterable[str]]


def convert_with(
    adapter: Adapter, stream: BinaryIO, limits: Limits, codes: Codes = lambda _record: ()
) -> Iterator[Mapped]:
    """One Mapped for each record; a source that takes too long is left.

    Records of one key that differ are all rejected: which of them is the newest the source does not say, and an older
    one would undo what a newer one mends. Of records that are the same the first is taken. Records of two keys that
    have one identity code are rejected too: one person twice, or two persons of whom one has the other's. A source that
    cannot be read twice gives the first of them away before it is known.
    """
    ends = limits.clock() + limits.seconds
    seen = Keys()
    doubled = _doubled(adapter, stream, limits, codes)
    for item in adapter.read(stream, limits):
        if limits.clock() > ends:
            yield Mapped("", None, {}, (over("seconds", limits, item.position),), item.position)
            return
        if isinstance(item, Finding):
            yield Mapped("", None, {}, (item,), item.position)
            continue
        mapped = adapter.to_canonical(item)
        key = noted(item.key)
        if key and (seen.again(key) or key in doubled.keys):
            mapped = _rejected(mapped, "duplicate-key")
        elif doubled.codes and any(noted(code) in doubled.codes for code in codes(item)):
            mapped = _rejected(mapped, "contradictory")
        yield mapped


def _rejected(mapped: Mapped, code: str) -> Mapped:
    told = finding("error", code, mapped.position)
    return replace(mapped, bundle=None, change=None, findings=(*mapped.findings, told))


def noted(key: str) -> str:
    """A key as it is compared: numbers of customers have no case."""
    return key.strip().upper()


@dataclass(frozen=True, slots=True)
class _Doubled:
    """The keys of records that come more than once and differ, and the identity codes that stand under two keys."""

    keys: set[str] = field(default_factory=set)
    codes: set[str] = field(default_factory=set)


def _doubled(adapter: Adapter, stream: BinaryIO, limits: Limits, codes: Codes) -> _Doubled:
    """What stands in a source twice and not alike; nothing for one that cannot be read twice."""
    found = _Doubled()
    if not stream.seekable():
        return found
    ends = limits.clock() + limits.seconds
    start = stream.tell()
    keys, whole, known, owned = Keys(), Keys(), Keys(), Keys()
    for item in adapter.read(stream, limits):
        if limits.clock() > ends:
            break
        if isinstance(item, Finding):
            continue
        key = noted(item.key)
        if key:
            is_same = whole.again(f"{key}\0{item.fields!r}")
            if keys.again(key) and not is_same:
                found.keys.add(key)
        for code in map(noted, codes(item)):
            is_own = owned.again(f"{key}\0{code}")
            if known.again(code) and not is_own:
                found.codes.add(code)
    stream.seek(start)
    return found
