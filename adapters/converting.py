"""Read and map a whole source: the loop that every adapter with keys and a limit of time shares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import BinaryIO, Final

from adapters.keys import Keys
from adapters.sdk import Adapter, Finding, Limits, Mapped, Record
from adapters.texts import finding, over

FEW: Final = 16
"""So many records are kept from the first reading to the second, which then need not be."""


def convert_with(adapter: Adapter, stream: BinaryIO, limits: Limits) -> Iterator[Mapped]:
    """One Mapped for each record; a source that takes too long is left.

    Records of one key that differ are all rejected: which of them is the newest the source does not say, and an older
    one would undo what a newer one mends. Of records that are the same the first is taken. A source that cannot be read
    twice gives the first of them away before it is known.
    """
    ends = limits.clock() + limits.seconds
    seen = Keys()
    items, doubled = _looked_through(adapter, stream, limits, ends)
    for item in items:
        if limits.clock() > ends:
            yield Mapped("", None, {}, (over("seconds", limits, item.position),), item.position)
            return
        if isinstance(item, Finding):
            yield Mapped("", None, {}, (item,), item.position)
            continue
        mapped = adapter.to_canonical(item)
        key = noted(item.key)
        if key and (seen.again(key) or (doubled is not None and key in doubled)):
            again = finding("error", "duplicate-key", item.position)
            mapped = replace(mapped, bundle=None, change=None, findings=(*mapped.findings, again))
        yield mapped


def noted(key: str) -> str:
    """A key as it is compared: numbers of customers have no case."""
    return key.strip().upper()


def _looked_through(
    adapter: Adapter, stream: BinaryIO, limits: Limits, ends: float
) -> tuple[Iterable[Record | Finding], set[str] | None]:
    """What there is to map, and the keys of records that come more than once and differ; None instead of them for a
    source that cannot be read twice. One of few records, such as the answer about one person, is read only once.
    """
    if not stream.seekable():
        return adapter.read(stream, limits), None
    start = stream.tell()
    keys, whole = Keys(), Keys()
    doubled: set[str] = set()
    few: list[Record | Finding] = []
    for item in adapter.read(stream, limits):
        if limits.clock() > ends:
            break
        if len(few) <= FEW:
            few.append(item)
        if isinstance(item, Record) and item.key:
            key = noted(item.key)
            is_same = whole.again(f"{key}\0{item.fields!r}")
            if keys.again(key) and not is_same:
                doubled.add(key)
    else:
        if len(few) <= FEW:
            return few, doubled
    stream.seek(start)
    return adapter.read(stream, limits), doubled
