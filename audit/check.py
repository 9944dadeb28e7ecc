"""The full check of a log's database: has anything ever been altered, and which entry is the first affected?

It reads every entry in order and holds it against everything that was written beside it: its own leaf hash and seal,
the search columns, the stored tiles, the head, each checkpoint kept, each cosignature of a witness, and checkpoints of
this log that others hand in. Someone who rewrites the database can make some of these agree; the signed ones only with
the log's key, and those in other hands not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import blake2b
from typing import Any, Final

from sqlalchemy import Connection, Engine, select

from audit.checkpoint import Checkpoint, NoteError, VerifierKey, verify_checkpoint
from audit.entries import Entry, EntryError, micros, moment
from audit.merkle import Frontier, leaf_hash
from audit.rows import FacetRow, entry_row, facet_rows, seal
from audit.tables import archives, checkpoints, cosignatures, entries, facets, head, tiles
from audit.tiles import WIDTH, StoredTiles, subtree

CHUNK: Final = 4_096
TOLERANCE: Final = timedelta(seconds=60)
MAX_FINDINGS: Final = 1_000
_COLUMNS: Final = tuple(column.name for column in entries.columns)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not hold. `index` is the first entry affected, `through` the last that may be.

    Kinds: altered, deleted, inserted, swapped, truncated, forked, back-dated, search (a search column or facet differs
    from the entry), tiles (a stored tile differs), head, unreadable.
    """

    kind: str
    index: int
    through: int
    entry: str | None
    explanation: str


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a check: size and root as computed from the entries, how much was checked, and what was found."""

    origin: str
    size: int
    root: bytes
    checked: int
    anchors: int
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def first(self) -> Finding | None:
        """The finding with the first affected entry."""
        return self.findings[0] if self.findings else None


@dataclass(frozen=True, slots=True)
class _Anchor:
    """A signed statement about the log at one size. `at`: later entries were recorded after this (µs)."""

    checkpoint: Checkpoint
    source: str
    at: int | None


def check(
    engine: Engine,
    *,
    log_key: VerifierKey,
    witnesses: Sequence[VerifierKey] = (),
    seen: Sequence[str] = (),
    tolerance: timedelta = TOLERANCE,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check the whole log in this database.

    `seen` are checkpoints of this log (signed notes) that others hold. `tolerance` is how far clocks may differ before
    an entry counts as back-dated. `progress` is called with entries done and entries in all.
    """
    with engine.connect() as connection:
        return _Check(connection, log_key, tuple(witnesses), tolerance // timedelta(microseconds=1)).run(seen, progress)


def _parsed(body: bytes | str) -> Entry | None:
    try:
        return Entry.parse(body)
    except EntryError:
        return None


class _Check:
    def __init__(
        self, connection: Connection, log_key: VerifierKey, witnesses: tuple[VerifierKey, ...], tolerance: int
    ) -> None:
        self._connection = connection
        self._log_key = log_key
        self._witnesses = witnesses
        self._tolerance = tolerance
        self._findings: list[Finding] = []
        self._frontier = Frontier()
        self._anchors: list[_Anchor] = []
        self._agreed = 0  # size of the last anchor that agreed
        self._forked = False
        self._latest_time = self._latest_index = 0
        self._moved: list[tuple[int, bytes, bytes, bytes]] = []  # index, leaf of body, leaf column, seal column
        self._facets = _FacetSums()
        self._tile_leaves: list[bytes] = []
        self._roots: dict[int, list[bytes]] = {}

    def run(self, seen: Sequence[str], progress: Callable[[int, int], None] | None) -> Report:
        row = self._connection.execute(select(head)).first()
        size = 0 if row is None else int(row.size)
        if row is None:
            self._find("head", 0, "the head row of the log is gone")
        else:
            self._check_head(row)
        self._collect(seen)
        done = 0
        pending = sorted(self._anchors, key=lambda anchor: anchor.checkpoint.size)
        for count in self._entries(size, pending):
            done = count
            if progress is not None:
                progress(done, size)
        self._compare_anchors(pending, final=True)
        self._check_length(size, done)
        if row is not None and done == size and not self._findings:
            stored = Frontier.from_bytes(size, bytes(row.frontier)) if self._fits(row) else None
            if stored != self._frontier:
                self._find("head", 0, "the frontier stored in the head row is not that of the entries", size - 1)
        self._name_swaps()
        self._check_facets()
        ordered = tuple(sorted(self._findings, key=lambda finding: (finding.index, finding.through)))
        return Report(self._log_key.name, self._frontier.size, self._frontier.root(), done, len(self._anchors), ordered)

    # -- signed statements --------------------------------------------------------------------------------------

    def _check_head(self, row: Any) -> None:
        try:
            checkpoint, _ = verify_checkpoint(row.note, self._log_key)
        except NoteError as error:
            self._find("head", 0, f"the checkpoint in the head row does not hold: {error}", max(0, row.size - 1))
            return
        if checkpoint.size != row.size:
            first = min(checkpoint.size, row.size)
            self._find("head", first, f"the head row says {row.size} entries, its checkpoint {checkpoint.size}")
        self._anchors.append(_Anchor(checkpoint, "the head's checkpoint", None))

    @staticmethod
    def _fits(row: Any) -> bool:
        return len(row.frontier) == int(row.size).bit_count() * 32

    def _collect(self, seen: Sequence[str]) -> None:
        notes = {row.size: row for row in self._connection.execute(select(checkpoints).order_by(checkpoints.c.size))}
        for size, row in notes.items():
            self._anchor(row.note, size, "a kept checkpoint", row.recorded)
        for row in self._connection.execute(select(cosignatures).order_by(cosignatures.c.size)):
            try:
                checkpoint, marks = verify_checkpoint(row.note, self._log_key, self._witnesses)
            except NoteError as error:
                self._find("head", int(row.size), f"a cosigned checkpoint does not hold: {error}")
                continue
            for mark in marks:
                self._anchors.append(_Anchor(checkpoint, f"the cosignature of {mark.witness}", mark.timestamp * 10**6))
        for note in seen:
            self._anchor(note, None, "a checkpoint that someone else holds", None)

    def _anchor(self, note: str, size: int | None, source: str, at: int | None) -> None:
        try:
            checkpoint, _ = verify_checkpoint(note, self._log_key, self._witnesses)
            if size is not None and checkpoint.size != size:
                raise NoteError(f"it is filed under size {size} but speaks of {checkpoint.size}")
        except NoteError as error:
            self._find("head", size or 0, f"{source} does not hold: {error}")
            return
        self._anchors.append(_Anchor(checkpoint, source, at))

    def _compare_anchors(self, pending: list[_Anchor], *, final: bool = False) -> None:
        while pending and pending[0].checkpoint.size <= self._frontier.size:
            anchor = pending.pop(0)
            if anchor.checkpoint.size < self._frontier.size:
                continue
            if anchor.checkpoint.root == self._frontier.root():
                self._agreed = anchor.checkpoint.size
                if anchor.at is not None:
                    self._reach(anchor.at, anchor.source)
            elif not self._forked:
                self._forked = True
                last = anchor.checkpoint.size - 1
                exact = [f.index for f in self._findings if self._agreed <= f.index <= last]
                if not exact:
                    self._find(
                        "forked",
                        self._agreed,
                        f"{anchor.source} of {anchor.checkpoint.size} entries, signed by the log, has another "
                        "root than the entries here; the history was rewritten from this entry on, or later",
                        max(last, self._agreed),
                    )
        if final:
            for anchor in pending:
                self._find(
                    "truncated",
                    self._frontier.size,
                    f"{anchor.source} speaks of {anchor.checkpoint.size} entries, only {self._frontier.size} are here",
                    anchor.checkpoint.size - 1,
                )
                break

    # -- entries --------------------------------------------------------------------------------------------------

    def _entries(self, size: int, pending: list[_Anchor]) -> Iterator[int]:
        start = self._pruned(pending)
        expected = start
        yield expected
        while True:
            rows = self._connection.execute(
                select(entries).where(entries.c.idx >= expected).order_by(entries.c.idx).limit(CHUNK)
            ).all()
            if not rows:
                return
            for row in rows:
                if row.idx > expected:
                    if expected >= size:
                        self._find("inserted", row.idx, "an entry stands beyond the end of the log")
                        return
                    self._find("deleted", expected, "the entry is gone", row.idx - 1)
                    self._fill(expected, int(row.idx))
                    expected = int(row.idx)
                if row.idx >= size:
                    self._find("inserted", row.idx, "an entry stands beyond the end of the log")
                    return
                self._check_row(row)
                expected += 1
                if pending and pending[0].checkpoint.size <= self._frontier.size:
                    self._compare_anchors(pending)
            yield expected

    def _fill(self, first: int, last: int) -> None:
        """Go over a hole with the hashes that its tiles still hold, so that later entries can be checked too."""
        stored = StoredTiles(self._connection)
        for index in range(first, last):
            hashes = stored.complete(0, index // WIDTH)
            self._add_leaf(hashes[index % WIDTH] if hashes else b"\x00" * 32)

    def _pruned(self, pending: list[_Anchor]) -> int:
        """Leaves of entries that live in an archive are taken from the stored tiles."""
        through = max(
            (int(row.through) for row in self._connection.execute(select(archives)) if row.pruned is not None),
            default=0,
        )
        stored = StoredTiles(self._connection)
        for number in range(through // WIDTH):
            hashes = stored.complete(0, number)
            if hashes is None:
                self._find(
                    "tiles", number * WIDTH, "the tile over archived entries is gone", number * WIDTH + WIDTH - 1
                )
                hashes = [b"\x00" * 32] * WIDTH
            for leaf in hashes:
                self._add_leaf(leaf)
                self._compare_anchors(pending)
        return through

    def _check_row(self, row: Any) -> None:
        body = row.body.encode() if isinstance(row.body, str) else bytes(row.body)
        actual, stored, mark = leaf_hash(body), bytes(row.leaf), bytes(row.seal)
        damaged = True
        entry = _parsed(body)
        if actual != stored or seal(row.idx, stored) != mark:
            self._moved.append((int(row.idx), actual, stored, mark))
        else:
            damaged = False
        if entry is None:
            self._find("altered", row.idx, "the text of the entry is not an entry of this log")
        elif damaged:
            self._tell_damage(row, entry, actual, stored, mark)
        else:
            self._compare_columns(row, entry, body)
        if entry is not None:
            self._check_time(row.idx, entry, damaged)
            self._facets.expect(facet_rows(row.idx, entry))
        self._add_leaf(actual)

    def _tell_damage(self, row: Any, entry: Entry, actual: bytes, stored: bytes, mark: bytes) -> None:
        for shift in range(1, 65):
            if actual == stored and seal(row.idx + shift, stored) == mark:
                self._once("deleted", row.idx, "entries before this one were removed and the rest renumbered", entry)
                return
            if actual == stored and row.idx >= shift and seal(row.idx - shift, stored) == mark:
                self._once("inserted", row.idx, "an entry was pushed in here and the rest renumbered", entry)
                return
        self._find("altered", row.idx, "the entry is not what was recorded: its hash has changed", entry=entry.id)

    def _once(self, kind: str, index: int, explanation: str, entry: Entry) -> None:
        if not any(finding.kind == kind for finding in self._findings):
            self._find(kind, index, explanation, entry=entry.id)

    def _compare_columns(self, row: Any, entry: Entry, body: bytes) -> None:
        expected = entry_row(row.idx, entry, body)
        for name, stored, value in zip(_COLUMNS, row, expected, strict=True):
            if (bytes(stored) if isinstance(stored, memoryview) else stored) != value:
                if name == "recorded":
                    self._find(
                        "back-dated", row.idx, "the time in the search column is not the entry's", entry=entry.id
                    )
                else:
                    self._find("search", row.idx, f"the search column {name} is not the entry's", entry=entry.id)
                return

    def _check_time(self, index: int, entry: Entry, damaged: bool) -> None:
        at = micros(entry.recorded)
        if at >= self._latest_time - self._tolerance:
            if not damaged and at > self._latest_time:
                self._latest_time, self._latest_index = at, index
            return
        last = self._findings[-1] if self._findings else None
        if last is not None and damaged and last.index == index:
            self._findings[-1] = replace(last, kind="back-dated")
        elif last is not None and last.kind == "back-dated" and last.through == index - 1 and not damaged:
            self._findings[-1] = replace(last, through=index)
        else:
            self._find(
                "back-dated",
                index,
                f"the entry says {entry.recorded.isoformat()}, but it was recorded after "
                f"{moment(self._latest_time).isoformat()}",
                entry=entry.id,
            )

    def _reach(self, at: int, source: str) -> None:
        """A signed statement of this time stands here: nothing before it may be later, nothing after it earlier."""
        if self._latest_time > at + self._tolerance:
            self._find(
                "back-dated",
                self._latest_index,
                f"the entry says {moment(self._latest_time).isoformat()}, but {source} covers it and is of "
                f"{moment(at).isoformat()}",
            )
        self._latest_time, self._latest_index = at, max(0, self._frontier.size - 1)

    def _add_leaf(self, leaf: bytes) -> None:
        index = self._frontier.size
        self._frontier = self._frontier.extended((leaf,))
        self._tile_leaves.append(leaf)
        if self._frontier.size % WIDTH == 0 and len(self._tile_leaves) >= WIDTH:
            self._compare_tile(index // WIDTH, self._tile_leaves[-WIDTH:])
            self._tile_leaves = []

    def _compare_tile(self, number: int, leaves: list[bytes]) -> None:
        row = self._connection.execute(
            select(tiles.c.root, tiles.c.hashes).where(tiles.c.level == 0, tiles.c.number == number)
        ).first()
        first = number * WIDTH
        if row is None:
            self._find("tiles", first, "the tile over these entries is missing", first + WIDTH - 1)
            return
        stored = bytes(row.hashes)
        for at, leaf in enumerate(leaves):
            if stored[at * 32 : at * 32 + 32] != leaf:
                if not any(finding.index == first + at for finding in self._findings):
                    self._find("altered", first + at, "the entry's hash is not the one in its tile")
                return
        if bytes(row.root) != subtree(leaves):
            self._find("tiles", first, "the root of the tile over these entries is wrong", first + WIDTH - 1)
        self._compare_upper(number, leaves)

    def _compare_upper(self, number: int, leaves: list[bytes]) -> None:
        """Tiles of higher levels that end with this one, rebuilt from the roots below."""
        roots, level, at = self._roots, 1, number
        roots.setdefault(1, []).append(subtree(leaves))
        while len(roots.get(level, ())) == WIDTH and (at + 1) % WIDTH == 0:
            block, at = roots.pop(level), at // WIDTH
            row = self._connection.execute(
                select(tiles.c.root, tiles.c.hashes).where(tiles.c.level == level, tiles.c.number == at)
            ).first()
            if row is None or bytes(row.hashes) != b"".join(block) or bytes(row.root) != subtree(block):
                span = WIDTH ** (level + 1)
                self._find(
                    "tiles", at * span, f"the tile of level {level} over these entries is wrong", at * span + span - 1
                )
            level += 1
            roots.setdefault(level, []).append(subtree(block))

    def _check_length(self, size: int, done: int) -> None:
        if done < size and not any(finding.kind == "truncated" for finding in self._findings):
            self._find("truncated", done, f"the log says {size} entries, only {done} are here", size - 1)

    def _name_swaps(self) -> None:
        """Entries that are damaged but intact elsewhere changed places: say so instead of `altered`."""
        if not 2 <= len(self._moved) <= 200:
            return
        for index, actual, stored, mark in self._moved:
            for other, _, other_stored, _ in self._moved:
                if other == index:
                    continue
                text_moved = actual != stored and actual == other_stored
                row_moved = actual == stored and seal(other, stored) == mark
                if text_moved or row_moved:
                    self._findings = [
                        replace(
                            finding,
                            kind="swapped",
                            explanation=f"the entries {min(index, other)} and {max(index, other)} changed places",
                        )
                        if finding.index == index and finding.kind in {"altered", "deleted", "inserted"}
                        else finding
                        for finding in self._findings
                    ]

    def _check_facets(self) -> None:
        through = max(
            (int(row.through) for row in self._connection.execute(select(archives)) if row.pruned is not None),
            default=0,
        )
        actual = _FacetSums()
        for row in self._connection.execution_options(yield_per=CHUNK).execute(select(facets)):
            if row.idx >= through:
                actual.expect([(row.kind, row.value, row.recorded, row.idx)])
        bucket = self._facets.first_difference(actual)
        if bucket is None or any(finding.kind == "deleted" for finding in self._findings):
            return
        first, last = bucket * CHUNK, bucket * CHUNK + CHUNK
        stored: dict[int, set[tuple[Any, ...]]] = {}
        for row in self._connection.execute(select(facets).where(facets.c.idx >= first, facets.c.idx < last)):
            stored.setdefault(row.idx, set()).add(tuple(row))
        bodies = self._connection.execute(
            select(entries.c.idx, entries.c.body)
            .where(entries.c.idx >= first, entries.c.idx < last)
            .order_by(entries.c.idx)
        )
        for index, body in bodies:
            entry = _parsed(body)
            if entry is None:
                continue
            if set(facet_rows(index, entry)) != stored.pop(index, set()):
                if not any(finding.index == index for finding in self._findings):
                    self._find(
                        "search",
                        index,
                        "bases, categories, consents or members filed for search differ",
                        entry=entry.id,
                    )
                return
        if stored:
            self._find("search", min(stored), "something is filed for search that no entry says")

    def _find(
        self, kind: str, index: int, explanation: str, through: int | None = None, entry: str | None = None
    ) -> None:
        if len(self._findings) < MAX_FINDINGS:
            last = index if through is None else max(through, index)
            self._findings.append(Finding(kind, int(index), int(last), entry, explanation))


class _FacetSums:
    """Order-independent sums of facet rows, one for each run of CHUNK entries: two scans compare in little memory."""

    def __init__(self) -> None:
        self._sums: dict[int, int] = {}

    def expect(self, rows: Sequence[FacetRow]) -> None:
        for kind, value, at, index in rows:
            digest = blake2b(f"{kind}\x00{value}\x00{at}\x00{index}".encode(), digest_size=16).digest()
            bucket = index // CHUNK
            self._sums[bucket] = (self._sums.get(bucket, 0) + int.from_bytes(digest, "big")) % (1 << 128)

    def first_difference(self, other: _FacetSums) -> int | None:
        buckets = sorted(set(self._sums) | set(other._sums))
        return next((at for at in buckets if self._sums.get(at, 0) != other._sums.get(at, 0)), None)
