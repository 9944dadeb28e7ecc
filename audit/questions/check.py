"""The full check of a log's database: has anything ever been altered, and which entry is the first affected?

It reads every entry in order and holds it against everything that was written beside it: its own leaf hash and seal,
the search columns, the stored tiles, the head, each checkpoint kept, each cosignature of a witness, and checkpoints of
this log that others hand in. Someone who rewrites the database can make some of these agree; the signed ones only with
the log's key, and those in other hands not at all.

Beside the tree of the entries as they are, the check builds the tree as it must have been, from tiles and stored hashes
where an entry is damaged. Where a signed checkpoint fits that second tree, the damage found explains everything; where
it fits neither, the history was rewritten.

A check of the newest entries alone takes a moment however long the log is. It builds the tree on the stored roots of
all that came before: what is older is not read, but where the signed root fits, those roots are what was signed.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, func, select

from audit.log.entries import Entry
from audit.log.rows import entry_row, facet_rows, seal
from audit.log.tables import archives, checkpoints, cosignatures, entries, facets, head
from audit.questions.checks import Anchor, FacetSums, Others, Statements, TileCheck, Times, Trees, parsed
from audit.questions.damage import OF_ENTRIES, Damage, Damaged, DamagedRow, Finding
from audit.tree.checkpoint import NoteError, VerifierKey, verify_checkpoint
from audit.tree.merkle import Frontier, ProofError, frontier_of, leaf_hash
from audit.tree.tiles import WIDTH, StoredTiles

CHUNK: Final = 4_096
TOLERANCE: Final = timedelta(seconds=60)
"""So far clocks may differ before an entry counts as back-dated."""
MAX_FINDINGS: Final = 1_000
STATEMENTS: Final = 256
"""So many of the newest kept checkpoints, and of the cosignatures, are held against the newest entries."""
_COLUMNS: Final = tuple(column.name for column in entries.columns)


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a check: size and root as computed from the entries, how much was checked, and what was found.

    `since` is the index of the first entry that was read.
    """

    origin: str
    size: int
    root: bytes
    checked: int
    anchors: int
    findings: tuple[Finding, ...]
    since: int = 0

    @property
    def sound(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def first(self) -> Finding | None:
        """The finding with the first affected entry."""
        return self.findings[0] if self.findings else None

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON tells it."""
        names = ("sound", "origin", "size", "since", "checked", "anchors")
        return {name: getattr(self, name) for name in names} | {
            "root": base64.b64encode(self.root).decode(),
            "findings": [asdict(finding) for finding in self.findings],
        }

    def to_codes(self) -> dict[str, str | int | bool]:
        """How it came out, fit for the `detail` of the entry that records the check."""
        codes: dict[str, str | int | bool] = {"checked": self.checked, "sound": self.sound}
        if self.first is not None:
            codes |= {"finding": self.first.kind, "at": self.first.index}
        return codes


def check(
    engine: Engine,
    *,
    log_key: VerifierKey,
    others: Others = Others(),
    newest: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check the whole log in this database, or with `newest` at least so many of its newest entries.

    The log may grow meanwhile. What is filed for search by bases, categories, consents and members is held against the
    entries by a check of the whole only.

    `others` is what is in other hands. `progress` is called with entries done and entries in all.
    """
    with engine.connect() as connection:
        return _Check(connection, log_key, tuple(others.witnesses), newest).run(others.seen, progress)


class _Check:
    def __init__(
        self,
        connection: Connection,
        log_key: VerifierKey,
        witnesses: tuple[VerifierKey, ...],
        newest: int | None,
    ) -> None:
        self._connection = connection
        self._log_key = log_key
        self._witnesses = witnesses
        self._findings: list[Finding] = []
        self._damage = Damage()
        self._trees = Trees()
        self._anchors: list[Anchor] = []
        self._statements = Statements()
        self._times = Times(TOLERANCE // timedelta(microseconds=1))
        self._salt = secrets.randbits(60)
        self._facets = FacetSums(self._salt)
        self._tiles = TileCheck(connection, self._findings)
        self._pruned_through = 0
        self._newest = newest
        self._missing = range(0)  # places at the end of the log where no entry stands

    def run(self, seen: Sequence[str], progress: Callable[[int, int], None] | None) -> Report:
        since = self._begin()
        # Read before the head: a statement made meanwhile, of a log that has grown, would look like a log cut short.
        self._collect(seen, since)
        row = self._connection.execute(select(head)).first()
        if row is None:
            size = self._extent()
            self._find(Damaged.HEAD, 0, "the head row of the log is gone", size - 1)
        else:
            size = int(row.size)
            self._check_head(row)
        self._anchors = [anchor for anchor in self._anchors if anchor.checkpoint.size >= since]
        done = 0
        pending = sorted(self._anchors, key=lambda anchor: anchor.checkpoint.size)
        for count in self._entries(since, size, pending):
            done = count
            if progress is not None:
                progress(done - since, size - since)
        self._name(size, done, pending)
        if row is not None and done == size and not self._findings:
            fits = len(row.frontier) == size.bit_count() * 32
            if not fits or Frontier.from_bytes(size, bytes(row.frontier)) != self._trees.actual:
                self._find(Damaged.HEAD, 0, "the frontier stored in the head row is not that of the entries", size - 1)
        if not since:
            self._check_facets()
        ordered = tuple(sorted(self._findings, key=lambda finding: (finding.index, finding.through)))
        actual = self._trees.actual
        return Report(
            self._log_key.name,
            actual.size,
            actual.root(),
            done - since,
            len(self._anchors),
            ordered[:MAX_FINDINGS],
            since,
        )

    def _extent(self) -> int:
        """How many entries there are, if the entries may say so themselves."""
        last = self._connection.scalar(select(func.max(entries.c.idx)))
        return 0 if last is None else int(last) + 1

    def _begin(self) -> int:
        """Where to begin to read, at the beginning of a tile: after what is older, as it is stored."""
        if self._newest is None:
            return 0
        size = int(self._connection.scalar(select(head.c.size)) or self._extent())
        if size <= self._newest:
            return 0
        since = max((size - self._newest) // WIDTH * WIDTH, self._archived())
        try:
            frontier = frontier_of(since, StoredTiles(self._connection).node)
        except ProofError as error:
            self._find(Damaged.TILES, 0, f"the stored roots of what is older are not whole: {error}", max(0, since - 1))
            frontier = Frontier(since, (b"\x00" * 32,) * since.bit_count())
        self._trees.actual = frontier
        self._tiles.begin(since)
        return since

    def _name(self, size: int, done: int, pending: list[Anchor]) -> None:
        """Once all entries are read: what was done to those that are damaged, and to the end of the log."""
        named = self._damage.findings()
        pushed_in = [(found.index, found.through) for found in named if found.kind is Damaged.INSERTED]
        self._findings[:] = [
            finding
            for finding in self._findings
            if not any(low <= finding.index <= high for low, high in pushed_in)
            or finding.kind not in {Damaged.ALTERED, Damaged.SEARCH}
        ]
        self._findings += named
        fork = self._statements.finding()
        if fork is not None and not self._damage.displaced(fork.index, fork.through):
            gone = any(
                finding.kind is Damaged.DELETED and fork.index <= finding.index <= fork.through
                for finding in self._findings
            )
            swapped = any(
                found.kind is Damaged.SWAPPED and fork.index <= found.index <= fork.through for found in named
            )
            if not gone and not swapped:
                self._findings.append(fork)
        short = next((anchor for anchor in reversed(pending) if anchor.checkpoint.size > done), None)
        renumbered = any(found.kind is Damaged.DELETED for found in named)
        self._missing = range(done, size)
        if done < size and not renumbered:
            self._find(Damaged.TRUNCATED, done, f"the log says {size} entries, only {done} are here", size - 1)
        elif short is not None and not renumbered:
            self._find(
                Damaged.TRUNCATED,
                done,
                f"{short.source} speaks of {short.checkpoint.size} entries, only {done} are here",
                short.checkpoint.size - 1,
            )

    # -- signed statements --------------------------------------------------------------------------------------

    def _check_head(self, row: Any) -> None:
        try:
            checkpoint, _ = verify_checkpoint(row.note, self._log_key)
        except NoteError as error:
            self._find(Damaged.HEAD, 0, f"the checkpoint in the head row does not hold: {error}", max(0, row.size - 1))
            return
        if checkpoint.size != row.size:
            first = min(checkpoint.size, row.size)
            self._find(Damaged.HEAD, first, f"the head row says {row.size} entries, its checkpoint {checkpoint.size}")
        self._anchors.insert(0, Anchor(checkpoint, "the head's checkpoint", None, current=False, outside=False))

    def _collect(self, seen: Sequence[str], since: int) -> None:
        kept = select(checkpoints).where(checkpoints.c.size >= since)
        marked = select(cosignatures).where(cosignatures.c.size >= since)
        if self._newest is not None:
            # A log that hardly grows has many statements about few entries; each commits to all that was before it.
            kept = kept.order_by(checkpoints.c.size.desc()).limit(STATEMENTS)
            marked = marked.order_by(cosignatures.c.size.desc(), cosignatures.c.timestamp.desc()).limit(STATEMENTS)
        for row in self._connection.execute(kept).all():
            self._anchor(row.note, row.size, "a kept checkpoint", row.recorded)
        for row in self._connection.execute(marked).all():
            try:
                checkpoint, marks = verify_checkpoint(row.note, self._log_key, self._witnesses)
            except NoteError as error:
                self._find(Damaged.HEAD, int(row.size), f"a cosigned checkpoint does not hold: {error}")
                continue
            for mark in marks:
                source = f"the cosignature of {mark.witness}"
                at = mark.timestamp * 10**6
                self._anchors.append(Anchor(checkpoint, source, at, current=False, outside=True))
        for note in seen:
            self._anchor(note, None, "a checkpoint that someone else holds", None)

    def _anchor(self, note: str, size: int | None, source: str, at: int | None) -> None:
        try:
            checkpoint, _ = verify_checkpoint(note, self._log_key, self._witnesses)
            if size is not None and checkpoint.size != size:
                raise NoteError(f"it is filed under size {size} but speaks of {checkpoint.size}")
        except NoteError as error:
            self._find(Damaged.HEAD, size or 0, f"{source} does not hold: {error}")
            return
        kept = size is not None
        self._anchors.append(Anchor(checkpoint, source, at, current=kept, outside=not kept))

    def _compare_anchors(self, pending: list[Anchor]) -> None:
        size = self._trees.actual.size
        due: list[Anchor] = []
        while pending and pending[0].checkpoint.size <= size:
            due.append(pending.pop(0))
        fitting = []
        for anchor in due:
            fits_actual, fits_former = self._trees.compare(anchor.checkpoint)
            if fits_actual:
                self._tiles.acquit(size)
            if fits_actual or fits_former:
                fitting.append(anchor)
            else:
                self._statements.disagree(anchor)
        for anchor in fitting:
            self._statements.agree(anchor)
            if anchor.at is not None and not self._statements.forked:
                late = self._times.reach(anchor.at, size, anchor.source, current=anchor.current)
                if late is not None:
                    self._findings.append(late)

    # -- entries --------------------------------------------------------------------------------------------------

    def _entries(self, since: int, size: int, pending: list[Anchor]) -> Iterator[int]:
        if since:
            expected = since
        else:
            expected = self._pruned_through = self._pruned(pending)
        self._compare_anchors(pending)
        yield expected
        while True:
            rows = self._connection.execute(
                select(entries).where(entries.c.idx >= expected).order_by(entries.c.idx).limit(CHUNK)
            ).all()
            if not rows:
                return
            for row in rows:
                if row.idx >= size:
                    now = self._connection.scalar(select(head.c.size))
                    if now is None or row.idx >= now:  # else the log has grown while it was read
                        self._find(Damaged.INSERTED, row.idx, "an entry stands beyond the end of the log")
                    yield expected
                    return
                if row.idx > expected:
                    self._find(Damaged.DELETED, expected, "the entry is gone", row.idx - 1)
                    self._fill(expected, int(row.idx))
                    expected = int(row.idx)
                self._check_row(row)
                expected += 1
                if pending and pending[0].checkpoint.size <= expected:
                    self._compare_anchors(pending)
            yield expected

    def _fill(self, first: int, last: int) -> None:
        """Go over a hole with the hashes that its tiles still hold, so that later entries can be checked too."""
        for index in range(first, last):
            leaf = self._tiles.leaf(index) or b"\x00" * 32
            self._trees.extend(leaf, leaf)
            self._tiles.passed(index, leaf)

    def _archived(self) -> int:
        """How many entries live in an archive and no more in the database."""
        return max(
            (int(row.through) for row in self._connection.execute(select(archives)) if row.pruned is not None),
            default=0,
        )

    def _pruned(self, pending: list[Anchor]) -> int:
        """Leaves of entries that live in an archive are taken from the stored tiles."""
        through = self._archived()
        stored = StoredTiles(self._connection)
        for number in range(through // WIDTH):
            hashes = stored.complete(0, number)
            if hashes is None:
                self._find(
                    Damaged.TILES, number * WIDTH, "the tile over archived entries is gone", number * WIDTH + WIDTH - 1
                )
                hashes = [b"\x00" * 32] * WIDTH
            for offset, leaf in enumerate(hashes):
                self._trees.extend(leaf, leaf)
                self._tiles.passed(number * WIDTH + offset, leaf)
                if pending and pending[0].checkpoint.size <= self._trees.actual.size:
                    self._compare_anchors(pending)
        return through

    def _check_row(self, row: Any) -> None:
        index, body = int(row.idx), row.body.encode()
        actual, stored, mark = leaf_hash(body), bytes(row.leaf), bytes(row.seal)
        entry = parsed(body)
        former: bytes | None = actual
        filed = self._tiles.leaf(index)
        if entry is None or actual != stored or seal(index, stored) != mark:
            back_dated = entry is not None and self._times.goes_back(entry)
            name = None if entry is None else entry.id
            former = self._damage.note(DamagedRow(index, actual, stored, mark, name, back_dated))
        else:
            if filed is not None and filed != actual:
                self._tiles.mismatch(index, entry.id, back_dated=self._times.goes_back(entry))
            else:
                late = self._times.take(index, entry, self._findings)
                if late is not None:
                    self._findings.append(late)
            self._compare_columns(row, entry, body)
        if entry is not None:
            self._facets.expect(facet_rows(index, entry))
        self._trees.extend(actual, filed or former or actual)
        self._tiles.passed(index, actual)

    def _compare_columns(self, row: Any, entry: Entry, body: bytes) -> None:
        expected = entry_row(row.idx, entry, body)
        if tuple(row) == expected:
            return
        for name, stored, value in zip(_COLUMNS, row, expected, strict=True):
            if stored != value:
                if name == "recorded":
                    self._find(
                        Damaged.BACK_DATED, row.idx, "the time in the search column is not the entry's", entry=entry.id
                    )
                else:
                    self._find(Damaged.SEARCH, row.idx, f"the search column {name} is not the entry's", entry=entry.id)
                return

    def _check_facets(self) -> None:
        actual = FacetSums(self._salt)
        found = select(facets)
        if self._pruned_through:
            found = found.where(facets.c.idx >= self._pruned_through)
        for rows in self._connection.execution_options(yield_per=CHUNK).execute(found).partitions():
            actual.expect(rows)
        for bucket in self._facets.differences(actual):
            if len(self._findings) >= MAX_FINDINGS:
                return
            self._check_facets_of(bucket * CHUNK, bucket * CHUNK + CHUNK)

    def _check_facets_of(self, first: int, last: int) -> None:
        stored: dict[int, set[tuple[Any, ...]]] = {}
        for row in self._connection.execute(select(facets).where(facets.c.idx >= first, facets.c.idx < last)):
            stored.setdefault(row.idx, set()).add(tuple(row))
        bodies = self._connection.execute(
            select(entries.c.idx, entries.c.body).where(entries.c.idx >= first, entries.c.idx < last)
        )
        for index, body in bodies:
            entry = parsed(body)
            there = stored.pop(index, set())
            if entry is not None and set(facet_rows(index, entry)) != there and not self._explained(index):
                self._find(
                    Damaged.SEARCH,
                    index,
                    "bases, categories, consents or members filed for search differ",
                    entry=entry.id,
                )
        for index in sorted(stored):
            if not self._explained(index):
                self._find(Damaged.SEARCH, index, "something is filed for search that no entry says")

    def _explained(self, index: int) -> bool:
        return (
            index in self._missing
            or self._damage.touches(index)
            or any(
                finding.index <= index <= finding.through for finding in self._findings if finding.kind in OF_ENTRIES
            )
        )

    def _find(
        self, kind: Damaged, index: int, explanation: str, through: int | None = None, entry: str | None = None
    ) -> None:
        if len(self._findings) < 2 * MAX_FINDINGS:
            last = index if through is None else max(through, index)
            self._findings.append(Finding(kind, int(index), int(last), entry, explanation))
