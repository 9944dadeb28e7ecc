"""What a check of the log is made of: trees, the statements that are held against them, times, tiles and facets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, select

from audit.log.entries import Entry, EntryError, micros, moment
from audit.log.rows import FacetRow
from audit.log.tables import entries, tiles
from audit.questions.damage import Damaged, Finding
from audit.tree.checkpoint import Checkpoint, VerifierKey
from audit.tree.merkle import Frontier
from audit.tree.tiles import WIDTH, subtree

CHUNK: Final = 4_096
MAX_FINDINGS: Final = 1_000
STATEMENTS: Final = 256
"""So many of the newest kept checkpoints, and of the cosignatures, are held against the newest entries."""
_COLUMNS: Final = tuple(column.name for column in entries.columns)


@dataclass(frozen=True, slots=True)
class Others:
    """What is in other hands than those of whoever keeps the database: the keys of witnesses, and checkpoints of this
    log (signed notes) that others hold.
    """

    witnesses: Sequence[VerifierKey] = ()
    seen: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Anchor:
    """A signed statement about the log at one size.

    `at` (µs): all that it covers was recorded before this. `current`: and all that it does not cover after, for it was
    made when the log had just this size. `outside`: someone without the log's key vouches for it.
    """

    checkpoint: Checkpoint
    source: str
    at: int | None
    current: bool
    outside: bool


@dataclass(frozen=True, slots=True)
class Fork:
    """An anchor that fits neither tree, and the sizes up to which all anchors, and those from outside, still fitted."""

    anchor: Anchor
    agreed: int
    vouched: int


def parsed(body: bytes | str) -> Entry | None:
    try:
        return Entry.parse(body)
    except EntryError:
        return None


class Trees:
    """The tree of the entries as they are, and, once the two part, the tree as it must have been."""

    def __init__(self) -> None:
        self.actual = Frontier()
        self._former: Frontier | None = None  # None as long as both are the same

    def extend(self, actual: bytes, former: bytes) -> None:
        if self._former is None and former != actual:
            self._former = self.actual
        self.actual = self.actual.extended((actual,))
        if self._former is not None:
            self._former = self._former.extended((former,))

    def compare(self, checkpoint: Checkpoint) -> tuple[bool, bool]:
        """Whether the checkpoint fits the tree as it is, and as it must have been."""
        if checkpoint.root == self.actual.root():
            self._former = None  # whatever parted them was not in the entries
            return True, True
        return False, self._former is not None and checkpoint.root == self._former.root()


class Statements:
    """Which signed statements fitted, and the first that did not."""

    def __init__(self) -> None:
        self._agreed = self._vouched = 0
        self._inside: Fork | None = None
        self._outside: Fork | None = None
        self._resigned = False  # the log signed what is here, after someone was shown something else

    @property
    def forked(self) -> bool:
        """Whether a statement did not fit."""
        return self._inside is not None or self._outside is not None

    def disagree(self, anchor: Anchor) -> None:
        """A statement that fits neither tree. Call it before `agree` for those of the same size."""
        fork = Fork(anchor, self._agreed, self._vouched)
        if anchor.outside:
            self._outside = self._outside or fork
        else:
            self._inside = self._inside or fork

    def agree(self, anchor: Anchor) -> None:
        """A statement that fits one of the trees."""
        size = anchor.checkpoint.size
        if anchor.outside:
            self._vouched = size
        else:
            self._resigned = self._resigned or self._outside is not None
        self._agreed = size

    def finding(self) -> Finding | None:
        """The fork, between the last statement that can be believed and the first that does not fit.

        If the log signed the history that is here although someone outside was shown another, its own earlier
        statements may have been signed anew as well: then only those that others vouch for bound it.
        """
        forks = [fork for fork in (self._inside, self._outside) if fork is not None]
        if not forks:
            return None
        fork = min(forks, key=lambda one: one.anchor.checkpoint.size)
        first = self._outside.vouched if self._outside is not None and self._resigned else fork.agreed
        size = fork.anchor.checkpoint.size
        return Finding(
            Damaged.FORKED,
            first,
            max(first, size - 1),
            None,
            f"{fork.anchor.source} of {size} entries, signed by the log, has another root than the entries here; "
            "the history was rewritten from this entry on, or later",
        )


class Times:
    """Whether the entries' times go forward, and agree with the times of signed statements."""

    def __init__(self, tolerance: int) -> None:
        self._tolerance = tolerance
        self._latest = self._index = 0

    def goes_back(self, entry: Entry) -> bool:
        """Whether the entry says a time before that of entries and statements that stand before it."""
        return micros(entry.recorded) < self._latest - self._tolerance

    def take(self, index: int, entry: Entry, findings: list[Finding]) -> Finding | None:
        """Go on to this entry; gives a finding if its time goes back."""
        at = micros(entry.recorded)
        if at >= self._latest - self._tolerance:
            if at > self._latest:
                self._latest, self._index = at, index
            return None
        last = findings[-1] if findings else None
        if last is not None and last.kind is Damaged.BACK_DATED and last.through == index - 1:
            findings[-1] = replace(last, through=index)
            return None
        after = moment(self._latest).isoformat()
        explanation = f"the entry says {entry.recorded.isoformat()}, but it was recorded after {after}"
        return Finding(Damaged.BACK_DATED, index, index, entry.id, explanation)

    def reach(self, at: int, size: int, source: str, *, current: bool) -> Finding | None:
        """A statement of this time stands here: nothing before it may be later and, if the log had just this size
        then, nothing after it earlier."""
        late, index = self._latest, self._index
        if current:
            self._latest, self._index = at, max(0, size - 1)
        if late <= at + self._tolerance:
            return None
        explanation = f"the entry says {moment(late).isoformat()}, but {source} covers it and is of "
        return Finding(Damaged.BACK_DATED, index, index, None, explanation + moment(at).isoformat())


class TileCheck:
    """The stored tiles, held against the leaves as they go by."""

    def __init__(self, connection: Connection, findings: list[Finding]) -> None:
        self._connection = connection
        self._findings = findings
        self._number = -1
        self._hashes: bytes | None = None
        self._root = b""
        self._leaves: list[bytes] = []
        self._roots: dict[int, list[bytes]] = {}
        self._suspect: list[int] = []  # places in `findings` that the next fitting checkpoint may acquit

    def begin(self, first: int) -> None:
        """Begin at this entry, the first of a tile: what is before it counts as it is stored."""
        level, count = 1, first // WIDTH
        while count:
            low = count // WIDTH * WIDTH
            stored = {
                int(row.number): bytes(row.root)
                for row in self._connection.execute(
                    select(tiles.c.number, tiles.c.root).where(
                        tiles.c.level == level - 1, tiles.c.number >= low, tiles.c.number < count
                    )
                )
            }
            self._roots[level] = [stored.get(number, b"") for number in range(low, count)]
            level, count = level + 1, count // WIDTH

    def _open(self, number: int) -> None:
        row = self._connection.execute(
            select(tiles.c.root, tiles.c.hashes).where(tiles.c.level == 0, tiles.c.number == number)
        ).first()
        self._number, self._leaves = number, []
        self._hashes, self._root = (None, b"") if row is None else (bytes(row.hashes), bytes(row.root))

    def leaf(self, index: int) -> bytes | None:
        """The leaf hash that the tile of this entry holds, if there is such a tile."""
        number, offset = divmod(index, WIDTH)
        if number != self._number:
            self._open(number)
        return None if self._hashes is None else self._hashes[offset * 32 : offset * 32 + 32]

    def mismatch(self, index: int, entry: str, *, back_dated: bool) -> None:
        """An entry whole in itself whose hash is not the one in its tile."""
        kind = Damaged.BACK_DATED if back_dated else Damaged.ALTERED
        if len(self._findings) < 2 * MAX_FINDINGS:
            self._suspect.append(len(self._findings))
            self._findings.append(Finding(kind, index, index, entry, "the entry's hash is not the one in its tile"))

    def acquit(self, size: int) -> None:
        """A signed checkpoint fits the entries: what differed from them was the tile."""
        for place in self._suspect:
            one = self._findings[place]
            if one.index < size:
                explanation = "the tile's hash of this entry was changed; the entry is as it was signed"
                self._findings[place] = replace(one, kind=Damaged.TILES, explanation=explanation)
        self._suspect = []

    def passed(self, index: int, leaf: bytes) -> None:
        """Go on to the next leaf; at the end of a tile, compare it and those above."""
        number, offset = divmod(index, WIDTH)
        if number != self._number:
            self._open(number)
        self._leaves.append(leaf)
        if offset < WIDTH - 1:
            return
        if self._hashes is None:
            self._tell(number * WIDTH, WIDTH, "the tile over these entries is missing")
        elif len(self._leaves) == WIDTH and self._hashes == b"".join(self._leaves):
            root = subtree(self._leaves)
            if self._root != root:
                self._tell(number * WIDTH, WIDTH, "the root of the tile over these entries is wrong")
            self._root = root
        elif len(self._hashes) != WIDTH * 32:
            self._tell(number * WIDTH, WIDTH, "the tile over these entries is not whole")
        self._compare_upper(number, self._root)

    def _compare_upper(self, number: int, root: bytes) -> None:
        """Tiles of higher levels that end with this one, rebuilt from the roots below."""
        level, at = 1, number
        self._roots.setdefault(1, []).append(root)
        while len(self._roots.get(level, ())) == WIDTH and (at + 1) % WIDTH == 0:
            block, at = self._roots.pop(level), at // WIDTH
            row = self._connection.execute(
                select(tiles.c.root, tiles.c.hashes).where(tiles.c.level == level, tiles.c.number == at)
            ).first()
            upper = b"" if b"" in block else subtree(block)
            if row is None or bytes(row.hashes) != b"".join(block) or bytes(row.root) != upper:
                span = WIDTH ** (level + 1)
                self._tell(at * span, span, f"the tile of level {level} over these entries is wrong")
            level += 1
            self._roots.setdefault(level, []).append(upper)

    def _tell(self, first: int, span: int, explanation: str) -> None:
        if len(self._findings) < 2 * MAX_FINDINGS:
            self._findings.append(Finding(Damaged.TILES, first, first + span - 1, None, explanation))


class FacetSums:
    """Order-independent sums of facet rows, one for each run of CHUNK entries: two scans compare in little memory.

    The hash of a row is salted anew for each check, so that nobody can prepare rows that cancel out.
    """

    def __init__(self, salt: int) -> None:
        self._salt = salt
        self._sums: defaultdict[int, int] = defaultdict(int)

    def expect(self, rows: Iterable[FacetRow | Any]) -> None:
        sums, salt = self._sums, self._salt
        for kind, value, at, index in rows:
            sums[index // CHUNK] += hash((salt, kind, value, at, index))

    def differences(self, other: FacetSums) -> list[int]:
        """The runs whose sums differ, in order."""
        buckets = sorted(set(self._sums) | set(other._sums))
        return [at for at in buckets if self._sums.get(at, 0) != other._sums.get(at, 0)]
