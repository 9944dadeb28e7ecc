"""Closed months as files: still searched, still proven, no longer in the way.

An archive is a directory. For each month it holds the entries (`2026-10.jsonl.gz`, a gzip member for each tile of
256, so that `zcat` reads all and a reader finds one), their tiles under `tile/` as anyone may fetch them, an index for
search (`2026-10.index.db`, SQLite, made from the entries), and a manifest with the checkpoint that covers it. A month
is cut at the last whole tile; what remains goes with the next. Entries leave the database only by `prune`, after their
archive was verified; the tree stays there, so proofs are made as before.
"""

from __future__ import annotations

import base64
import gzip
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Table,
    create_engine,
    delete,
    insert,
    select,
    update,
)

from audit.log.entries import ZONE, Entry, EntryError, micros, moment
from audit.log.rows import entry_row, facet_rows, insert_rows
from audit.log.tables import FACETS, archives, entries, facets, head
from audit.questions import reviews, tallies
from audit.questions.query import Filters, Order, Page, Shelf, merge_pages, search, search_in
from audit.tree.checkpoint import NoteError, VerifierKey, verify_checkpoint
from audit.tree.merkle import (
    Frontier,
    ProofError,
    consistency_proof,
    frontier_of,
    leaf_hash,
    verify_consistency,
)
from audit.tree.tiles import WIDTH, StoredTiles, Tile

FORMAT: Final = "yhdyspinta-audit-archive/1"
_PRUNED_AT_ONCE: Final = 4_096
_STAYING: Final = (FACETS["consent"], FACETS["status"])

_offsets_metadata = MetaData()
_offsets = Table(
    "audit_blocks",
    _offsets_metadata,
    Column("tile", Integer, primary_key=True, autoincrement=False),
    Column("start", Integer, nullable=False),
    Column("length", Integer, nullable=False),
)


class ArchiveError(ValueError):
    """An archive that is not there, not whole, or not that of this log."""


@dataclass(frozen=True, slots=True)
class Month:
    """One archived month: the indices from `first` up to, not including, `through`."""

    name: str
    first: int
    through: int
    digest: str
    folder: Path

    @property
    def entries_file(self) -> Path:
        """The compressed entries."""
        return self.folder / f"{self.name}.jsonl.gz"

    @property
    def index_file(self) -> Path:
        """The index for search."""
        return self.folder / f"{self.name}.index.db"

    @property
    def manifest_file(self) -> Path:
        return self.folder / f"{self.name}.json"


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def closed_months(connection: Connection, now: datetime) -> tuple[tuple[str, int, int], ...]:
    """Months (UTC) that are over and not archived yet: name, first index, index after the last; whole tiles only."""
    first = int(connection.scalar(select(archives.c.through).order_by(archives.c.through.desc()).limit(1)) or 0)
    size = int(connection.scalar(select(head.c.size)) or 0)
    at = connection.scalar(select(entries.c.recorded).where(entries.c.idx == first))
    found: list[tuple[str, int, int]] = []
    if at is None:
        return ()
    start, last = _month(moment(at)), _month(now)
    while start < last:
        end = _month(start + timedelta(days=32))
        following = connection.scalar(
            select(entries.c.idx)
            .where(entries.c.recorded >= micros(end), entries.c.idx > first)
            .order_by(entries.c.recorded, entries.c.idx)
            .limit(1)
        )
        through = (size if following is None else int(following)) // WIDTH * WIDTH
        if through > first:  # else all that is left of the month goes with the next
            found.append((start.strftime("%Y-%m"), first, through))
            first = through
        start = end
    return tuple(found)


def _month(at: datetime) -> datetime:
    """The beginning of the month."""
    return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def archive_month(connection: Connection, folder: Path, name: str, within: range, *, now: datetime) -> Month:
    """Write one month to the directory and note it in the database. Call it in a transaction that writes.

    Nothing leaves the database by this. Raises ArchiveError if the range is not made of whole, present tiles.
    """
    first, through = within.start, within.stop
    if first % WIDTH or through % WIDTH or first >= through:
        raise ArchiveError("an archive holds whole tiles of 256 entries")
    month = Month(name, first, through, "", folder)
    if month.manifest_file.exists():
        name = f"{name}.{first}"  # entries of a month that came after it was archived
        month = Month(name, first, through, "", folder)
    stored = StoredTiles(connection)
    partial = month.index_file.with_name(month.index_file.name + ".partial")
    folder.mkdir(parents=True, exist_ok=True)
    partial.unlink(missing_ok=True)
    index = _index_engine(partial, writable=True)
    try:
        entries.metadata.create_all(index, tables=[entries, facets])
        _offsets_metadata.create_all(index)
        digest = _write_entries(connection, index, month, stored)
    finally:
        index.dispose()
    partial.replace(month.index_file)
    _write_tiles(folder, stored, first, through)
    row = connection.execute(select(head.c.size, head.c.note)).one()
    manifest = {
        "format": FORMAT,
        "month": name,
        "first": first,
        "through": through,
        "digest": digest,
        "frontier": base64.b64encode(frontier_of(first, stored.node).to_bytes()).decode(),
        "checkpoint": row.note,
        "consistency": [base64.b64encode(item).decode() for item in consistency_proof(through, row.size, stored.node)],
    }
    _write(month.manifest_file, orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
    connection.execute(
        insert(archives).values(
            first=first, through=through, month=name, folder=str(folder), digest=digest, archived=micros(now)
        )
    )
    return Month(name, first, through, digest, folder)


def _write_entries(connection: Connection, index: Engine, month: Month, stored: StoredTiles) -> str:
    partial = month.entries_file.with_name(month.entries_file.name + ".partial")
    total, at = sha256(), 0
    with partial.open("wb") as file, index.begin() as target:
        for number in range(month.first // WIDTH, month.through // WIDTH):
            start = number * WIDTH
            bodies = connection.execute(
                select(entries.c.body)
                .where(entries.c.idx >= start, entries.c.idx < start + WIDTH)
                .order_by(entries.c.idx)
            ).scalars()
            texts = [body.encode() for body in bodies]
            if [leaf_hash(text) for text in texts] != stored.complete(0, number):
                raise ArchiveError(f"records {start + 1} to {start + WIDTH} are not those in their tile; check the log")
            block = gzip.compress(b"".join(text + b"\n" for text in texts), mtime=0)
            file.write(block)
            total.update(block)
            rows, facet = [], []
            for offset, text in enumerate(texts):
                entry = Entry.parse(text)
                # The text stays in the compressed file; the index holds what is searched.
                rows.append((*entry_row(start + offset, entry, text)[:-1], ""))
                facet += facet_rows(start + offset, entry)
            insert_rows(target, rows, facet)
            target.execute(insert(_offsets).values(tile=number, start=at, length=len(block)))
            at += len(block)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(month.entries_file)
    return total.hexdigest()


def _write_tiles(folder: Path, stored: StoredTiles, first: int, through: int) -> None:
    level, low, high = 0, first // WIDTH, through // WIDTH
    while low < high:
        for number in range(low, high):
            hashes = stored.complete(level, number)
            if hashes is None:
                raise ArchiveError(f"tile {number} of level {level} is not in the database")
            _write(folder / Tile(level, number).path(), b"".join(hashes))
        level, low, high = level + 1, low // WIDTH, high // WIDTH


def _index_engine(path: Path, *, writable: bool = False) -> Engine:
    mode = "rwc" if writable else "ro"
    return create_engine(f"sqlite:///file:{path}?mode={mode}&uri=true")


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """Whether an archived month holds; `first` is the index of the first entry affected if it does not."""

    month: str
    entries: int
    first: int | None
    problem: str | None

    @property
    def sound(self) -> bool:
        """Whether nothing was found."""
        return self.problem is None


def _manifest(folder: Path, name: str) -> tuple[Month, dict[str, Any]]:
    path = folder / f"{name}.json"
    try:
        manifest: dict[str, Any] = orjson.loads(path.read_bytes())
        if manifest["format"] != FORMAT or manifest["month"] != name:
            raise ArchiveError(f"{path.name} is not the manifest of {name}")
        return Month(name, int(manifest["first"]), int(manifest["through"]), str(manifest["digest"]), folder), manifest
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArchiveError(f"the manifest of {name} cannot be read: {error}") from error


def months(folder: Path) -> tuple[Month, ...]:
    """The months in an archive, oldest first."""
    found = [_manifest(folder, path.name.removesuffix(".json"))[0] for path in folder.glob("*.json")]
    return tuple(sorted(found, key=lambda month: month.first))


def verify_month(folder: Path, name: str, log_key: VerifierKey) -> ArchiveReport:
    """Check an archived month against the checkpoint in its manifest. Needs no database. Raises ArchiveError."""
    month, manifest = _manifest(folder, name)
    try:
        checkpoint, _ = verify_checkpoint(manifest["checkpoint"], log_key)
        frontier = Frontier.from_bytes(month.first, base64.b64decode(manifest["frontier"], validate=True))
        steps = [base64.b64decode(item, validate=True) for item in manifest["consistency"]]
    except (NoteError, ProofError, ValueError, TypeError, KeyError) as error:
        return ArchiveReport(name, 0, month.first, f"the manifest does not hold: {error}")
    count = 0
    for number, texts in _blocks(month):
        start = number * WIDTH
        leaves = [leaf_hash(text) for text in texts]
        tile = folder / Tile(0, number).path()
        expected = tile.read_bytes() if tile.exists() else b""
        for offset, leaf in enumerate(leaves):
            if expected[offset * 32 : offset * 32 + 32] != leaf:
                return ArchiveReport(name, count, start + offset, "the entry's hash is not the one in its tile")
        if len(leaves) != WIDTH:
            return ArchiveReport(name, count, start + len(leaves), "entries are missing")
        frontier = frontier.extended(leaves)
        count += len(leaves)
    if frontier.size != month.through:
        return ArchiveReport(name, count, frontier.size, "entries are missing at the end")
    try:
        verify_consistency(month.through, frontier.root(), checkpoint.size, checkpoint.root, steps)
    except ProofError as error:
        return ArchiveReport(name, count, month.first, f"the entries are not those the log signed: {error}")
    return ArchiveReport(name, count, None, None)


def _blocks(month: Month) -> Iterator[tuple[int, list[bytes]]]:
    number, texts = month.first // WIDTH, []
    try:
        with gzip.open(month.entries_file, "rb") as file:
            for line in file:
                texts.append(line.rstrip(b"\n"))
                if len(texts) == WIDTH:
                    yield number, texts
                    number, texts = number + 1, []
    except (OSError, EOFError):
        pass  # a damaged file ends here; the caller sees that entries are missing
    if texts:
        yield number, texts


def prune(engine: Engine, folder: Path, name: str, *, log_key: VerifierKey, now: datetime) -> int:
    """Remove an archived month's entries from the database, after checking its archive; gives how many went.

    Everything older must be gone already. Can be repeated if it was interrupted. What is filed of consents stays, so
    that what left after a withdrawal is found however long ago that was; so do emergency accesses that wait for review.
    Raises ArchiveError.
    """
    report = verify_month(folder, name, log_key)
    if not report.sound:
        raise ArchiveError(f"the archive of {name} does not hold at record {(report.first or 0) + 1}: {report.problem}")
    # What is counted from entries must be counted before they go.
    counted = tallies.keep_all(engine, now)
    writer = engine.execution_options(writes=True)
    with writer.begin() as connection:
        row = connection.execute(select(archives).where(archives.c.month == name)).first()
        if row is None:
            raise ArchiveError(f"{name} is not archived from this database")
        older = select(archives.c.first).where(archives.c.first < row.first, archives.c.pruned.is_(None))
        if connection.execute(older).first() is not None:
            raise ArchiveError("an older month is still in the database; prune it first")
        last = connection.scalar(select(entries.c.recorded).where(entries.c.idx == row.through - 1))
        if last is not None and moment(last).astimezone(ZONE).date() >= counted:
            raise ArchiveError(f"the last day of {name} is not over; prune it later")
        for found in reviews.unreviewed_in(connection, row.first, row.through):
            reviews.open_emergency(connection, found, now)
        connection.execute(update(archives).where(archives.c.first == row.first).values(pruned=micros(now)))
    removed = 0
    for low in range(row.first, row.through, _PRUNED_AT_ONCE):
        high = min(low + _PRUNED_AT_ONCE, row.through)
        with writer.begin() as connection:
            removed += connection.execute(delete(entries).where(entries.c.idx >= low, entries.c.idx < high)).rowcount
    with writer.begin() as connection:
        left = select(facets.c.kind, facets.c.value).where(facets.c.kind.not_in(_STAYING)).distinct()
        values = connection.execute(left).all()
    for kind, value in values:
        with writer.begin() as connection:
            connection.execute(
                delete(facets).where(facets.c.kind == kind, facets.c.value == value, facets.c.idx < row.through)
            )
    return removed


class Archive:
    """An archive opened for reading: searched and read like the log itself. Close it at the end."""

    def __init__(self, *folders: Path) -> None:
        found = [month for folder in folders for month in months(folder)]
        self._months = tuple(sorted(found, key=lambda month: month.first))
        self._engines = {month.name: _index_engine(month.index_file) for month in self._months}
        self._block: tuple[tuple[str, int], list[bytes]] | None = None

    def lacks(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of these months that are not here."""
        here = {month.name for month in self._months}
        return tuple(name for name in names if name not in here)

    def close(self) -> None:
        """Close the indices."""
        for engine in self._engines.values():
            engine.dispose()

    def entry(self, index: int) -> Entry | None:
        """The entry at this index, or None if no month holds it. Raises ArchiveError if the file is damaged."""
        for month in self._months:
            if month.first <= index < month.through:
                return self._read(month, index)
        return None

    def _read(self, month: Month, index: int) -> Entry:
        key = (month.name, index // WIDTH)
        if self._block is None or self._block[0] != key:
            with self._engines[month.name].connect() as connection:
                row = connection.execute(select(_offsets).where(_offsets.c.tile == key[1])).first()
            if row is None:
                raise ArchiveError(f"{month.index_file.name} does not know record {index + 1}")
            try:
                with month.entries_file.open("rb") as file:
                    file.seek(row.start)
                    data = gzip.GzipFile(fileobj=io.BytesIO(file.read(row.length))).read()
            except (OSError, EOFError) as error:
                raise ArchiveError(f"{month.entries_file.name} is damaged: {error}") from error
            self._block = (key, data.split(b"\n"))
        try:
            return Entry.parse(self._block[1][index % WIDTH])
        except (EntryError, IndexError) as error:
            raise ArchiveError(f"{month.entries_file.name} is damaged at record {index + 1}") from error

    def search(
        self,
        filters: Filters,
        *,
        order: Order = "newest",
        after: str | None = None,
        limit: int = 50,
        below: int | None = None,
    ) -> Page:
        """One page over all archived months, as `audit.questions.query.search` gives it for the database.

        With `below`, only entries whose index is smaller. Raises QueryError, or ArchiveError for a damaged file.
        """
        pages = []
        for month in self._months:
            if below is not None and month.first >= below:
                continue

            def read(index: int, _text: str, month: Month = month) -> Entry:
                return self._read(month, index)

            with self._engines[month.name].connect() as connection:
                pages.append(search_in(Shelf(connection, read), filters, order=order, after=after, limit=limit))
        return merge_pages(pages, order=order, limit=limit)

    def search_all(
        self,
        connection: Connection,
        filters: Filters,
        *,
        order: Order = "newest",
        after: str | None = None,
        limit: int = 50,
    ) -> Page:
        """One page over the database and the archive together; what is still in both is read once, from the database.

        Raises QueryError, or ArchiveError for a damaged file.
        """
        # The database first: what is pruned between the two questions is then in both answers rather than in neither.
        here = search(connection, filters, order=order, after=after, limit=limit)
        gone = connection.scalar(
            select(archives.c.through)
            .where(archives.c.pruned.is_not(None))
            .order_by(archives.c.through.desc())
            .limit(1)
        )
        if gone is None:
            return here
        there = self.search(filters, order=order, after=after, limit=limit, below=int(gone))
        return merge_pages((there, here), order=order, limit=limit)
