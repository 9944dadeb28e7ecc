"""What a reader of a log's tiles does, who has nothing but their bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from audit.tree.merkle import Frontier
from audit.tree.tiles import WIDTH, Tile


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over these leaf hashes."""
    return Frontier().extended(leaves).root()


def tiles_of(size: int) -> Iterator[Tile]:
    """All hash tiles of a tree of this size, partial ones last on each level."""
    level, count = 0, size
    while count:
        for number in range(count // WIDTH):
            yield Tile(level, number)
        if count % WIDTH:
            yield Tile(level, count // WIDTH, count % WIDTH)
        level, count = level + 1, count // WIDTH


def unbundle(data: bytes) -> list[bytes]:
    """The entries of an entry bundle."""
    entries, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from(">H", data, at)
        entries.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    return entries
