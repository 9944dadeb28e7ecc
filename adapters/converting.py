"""Read and map a whole source: the loop that every adapter with keys and a limit of time shares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from adapters.keys import Keys
from adapters.sdk import Adapter, Finding, Limits, Mapped
from adapters.texts import finding, over


def convert_with(adapter: Adapter, stream: BinaryIO, limits: Limits) -> Iterator[Mapped]:
    """One Mapped for each record; a key that comes again is rejected, and a source that takes too long is left."""
    seen = Keys()
    ends = limits.clock() + limits.seconds
    for item in adapter.read(stream, limits):
        if limits.clock() > ends:
            yield Mapped("", None, {}, (over("seconds", limits, item.position),), item.position)
            return
        if isinstance(item, Finding):
            yield Mapped("", None, {}, (item,), item.position)
            continue
        mapped = adapter.to_canonical(item)
        if item.key and seen.again(item.key):
            again = finding("error", "duplicate-key", item.position)
            mapped = replace(mapped, bundle=None, findings=(*mapped.findings, again))
        yield mapped
