"""Read and map a whole source: the loop that every adapter with keys and a limit of time shares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO, Final

from adapters.keys import Keys
from adapters.sdk import Adapter, Finding, Limits, Mapped, Record
from adapters.texts import finding, over

FEW: Final = 16
"""So many records are kept from the first reading to the second, which then need not be."""

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
    items, doubled = _looked_through(adapter, stream, limits, codes)
    for item in items:
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


class _Compared:
    """The keys and the identity codes that a source has shown so far, and what of them is doubled."""

    def __init__(self, codes: Codes) -> None:
        self._codes = codes
        self._keys, self._whole, self._known, self._owned = Keys(), Keys(), Keys(), Keys()
        self.doubled = _Doubled()

    def add(self, record: Record) -> None:
        """One more record."""
        key = noted(record.key)
        if key:
            is_same = self._whole.again(f"{key}\0{record.fields!r}")
            if self._keys.again(key) and not is_same:
                self.doubled.keys.add(key)
        for code in map(noted, self._codes(record)):
            is_own = self._owned.again(f"{key}\0{code}")
            if self._known.again(code) and not is_own:
                self.doubled.codes.add(code)


def _looked_through(
    adapter: Adapter, stream: BinaryIO, limits: Limits, codes: Codes
) -> tuple[Iterable[Record | Finding], _Doubled]:
    """What there is to map, and what stands in it twice and not alike; nothing of that for a source that cannot be read
    twice. One of few records, such as the answer about one person, is read only once.
    """
    compared = _Compared(codes)
    if not stream.seekable():
        return adapter.read(stream, limits), compared.doubled
    ends = limits.clock() + limits.seconds
    start = stream.tell()
    few: list[Record | Finding] = []
    for item in adapter.read(stream, limits):
        if limits.clock() > ends:
            break
        if len(few) <= FEW:
            few.append(item)
        if isinstance(item, Record):
            compared.add(item)
    else:
        if len(few) <= FEW:
            return few, compared.doubled
    stream.seek(start)
    return adapter.read(stream, limits), compared.doubled
