"""Tiles: the tree cut into blocks of 256 hashes, as they are stored, and as anyone may fetch them.

Tile (L, N) holds the hashes of level 8·L numbered N·256 to N·256 + 255, 32 bytes each; a partial tile holds the first
W. Entry bundles hold the entries of one leaf tile, each after its length in two bytes. A complete tile never changes.
Source: C2SP tlog-tiles.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, select

from audit.log.statements import Fixed
from audit.log.tables import entries, tiles
from audit.tree.merkle import HASH_BYTES, ProofError, node_hash

HEIGHT: Final = 8
WIDTH: Final = 1 << HEIGHT
_PATH: Final = re.compile(
    r"tile/(entries|[0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?\Z"
)


class TilePathError(ValueError):
    """A path that names no tile."""


@dataclass(frozen=True, slots=True)
class Tile:
    """The address of a tile: `level` None for an entry bundle, `width` below 256 for a partial tile."""

    level: int | None
    number: int
    width: int = WIDTH

    def path(self) -> str:
        """The path of the tile, below the log's prefix."""
        digits = f"{self.number:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        name = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
        level = "entries" if self.level is None else str(self.level)
        return f"tile/{level}/{name}" + ("" if self.width == WIDTH else f".p/{self.width}")

    @classmethod
    def parse(cls, path: str) -> Tile:
        """The tile of a path. Raises TilePathError unless it is the one canonical way to write it."""
        match = _PATH.fullmatch(path)
        if match is None or len(match[2]) > 24:
            raise TilePathError("a tile's path reads tile/LEVEL/NUMBER or tile/LEVEL/NUMBER.p/WIDTH")
        number = int(match[2].replace("x", "").replace("/", ""))
        tile = cls(None if match[1] == "entries" else int(match[1]), number, int(match[3] or WIDTH))
        if tile.path() != path or (match[3] and tile.width >= WIDTH):
            raise TilePathError("the tile's path is not in its canonical form")
        return tile


def bundle(entries: Iterable[bytes]) -> bytes:
    """The contents of an entry bundle."""
    return b"".join(struct.pack(">H", len(entry)) + entry for entry in entries)


def subtree(hashes: Sequence[bytes]) -> bytes:
    """The root over a power of two of hashes."""
    level = list(hashes)
    while len(level) > 1:
        level = [node_hash(level[at], level[at + 1]) for at in range(0, len(level), 2)]
    return level[0]


def _cut(data: bytes) -> list[bytes]:
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


class StoredTiles:
    """The tree as it is stored, read through one connection. Keeps what it has read; use one for each question."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._complete: dict[tuple[int, int], list[bytes] | None] = {}

    def _rows(self, statement: Fixed, *values: int) -> list[bytes]:
        return [bytes(row[0]) for row in statement.rows(self._connection, *values)]

    def complete(self, level: int, number: int) -> list[bytes] | None:
        """The 256 hashes of a complete tile, or None if there is none."""
        key = (level, number)
        if key not in self._complete:
            rows = self._rows(_HASHES, *key)
            self._complete[key] = _cut(rows[0]) if rows else None
        return self._complete[key]

    def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        """`count` hashes of tile level `level` from number `first` on, all within one tile. Raises ProofError."""
        stored = self.complete(level, first // WIDTH)
        if stored is not None:
            found = stored[first % WIDTH : first % WIDTH + count]
        elif level == 0:
            found = self._rows(_LEAVES, first, first + count)
        else:
            found = self._rows(_ROOTS, level - 1, first, first + count)
        if len(found) != count:
            raise ProofError(f"hashes of level {level * HEIGHT} from {first} on are missing from the log")
        return found

    def node(self, level: int, number: int) -> bytes:
        """The hash of the complete subtree (level, number): what `audit.tree.merkle` builds proofs from."""
        rest = level % HEIGHT
        return subtree(self.hashes(level // HEIGHT, number << rest, 1 << rest))

    def read(self, tile: Tile, size: int) -> bytes | None:
        """The contents of a hash tile or entry bundle of a log of this size; None if the log has not got so far."""
        level = tile.level or 0
        first = tile.number * WIDTH
        if first + tile.width > size >> HEIGHT * level:
            return None
        if tile.level is not None:
            return b"".join(self.hashes(level, first, tile.width))
        bodies = [row[0].encode() for row in _BODIES.rows(self._connection, first, first + tile.width)]
        return bundle(bodies) if len(bodies) == tile.width else None


_IN_TILE: Final = (entries.c.idx >= bindparam("first"), entries.c.idx < bindparam("through"))
_LEAVES: Final = Fixed(select(entries.c.leaf).where(*_IN_TILE).order_by(entries.c.idx), "first", "through")
_BODIES: Final = Fixed(select(entries.c.body).where(*_IN_TILE).order_by(entries.c.idx), "first", "through")
_HASHES: Final = Fixed(
    select(tiles.c.hashes).where(tiles.c.level == bindparam("on"), tiles.c.number == bindparam("at")), "on", "at"
)
_ROOTS: Final = Fixed(
    select(tiles.c.root)
    .where(
        tiles.c.level == bindparam("on"), tiles.c.number >= bindparam("first"), tiles.c.number < bindparam("through")
    )
    .order_by(tiles.c.number),
    "on",
    "first",
    "through",
)


def completed(
    stored: StoredTiles, old: int, leaves: Sequence[bytes], partial: Sequence[bytes] | None = None
) -> list[tuple[int, int, bytes, bytes]]:
    """The tiles (level, number, root, hashes) that these leaves complete in a tree of `old` entries.

    `partial` are the leaves of the incomplete tile, read from storage when not given.
    """
    rows: list[tuple[int, int, bytes, bytes]] = []
    level, count, added = 0, old, list(leaves)
    while True:
        filled = count % WIDTH
        if filled + len(added) < WIDTH:
            return rows
        if level or partial is None or len(partial) != filled:
            hashes = stored.hashes(level, count - filled, filled) if filled else []
        else:
            hashes = list(partial)
        hashes += added
        number, roots = count // WIDTH, []
        for at in range(0, len(hashes) - WIDTH + 1, WIDTH):
            block = hashes[at : at + WIDTH]
            roots.append(subtree(block))
            rows.append((level, number + at // WIDTH, roots[-1], b"".join(block)))
        level, count, added = level + 1, count // WIDTH, roots
