"""A directory in which several files make one drop: persons in one, their needs in another.

A drop is taken when all its parts, and its marker where one is declared, are there and two looks in a row find each of
them unchanged. It is moved into a folder of its own beneath `working`, read as one ZIP archive, and put away whole
beneath `done`. One that does not come to its end is told in the log.
"""

from __future__ import annotations

import hashlib
import io
import logging
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from gateway.sources.batches import Batch, FileBatch, SourceError, identity, told_name
from gateway.sources.directory import Watched, wanted
from gateway.sources.gathering import Drop, Parts, State, drops, settled
from gateway.telemetry import event

LOGGER = logging.getLogger("yhdyspinta.sources")


@dataclass(slots=True)
class Overdue:
    """Tells once of each drop that waits for a part for longer than `patience` seconds."""

    parts: Parts
    patience: float = 3600.0
    clock: Callable[[], float] = time.time
    _told: set[tuple[str, ...]] = field(default_factory=set)

    def tell(self, changed: Mapping[str, float]) -> None:
        """Tell of what is overdue among these files, by the time in seconds at which each has changed."""
        waiting = {
            drop.star: drop
            for drop in drops(changed, self.parts)
            if not drop.is_whole(self.parts)
            and self.clock() - max(changed[name] for name in drop.files.values()) > self.patience
        }
        for star, drop in waiting.items():
            if star not in self._told:
                event(LOGGER, logging.WARNING, "drop-incomplete", files=len(drop.files), parts=len(self.parts.patterns))
        self._told = set(waiting)


def archived(title: str, contents: Sequence[tuple[str, bytes]]) -> FileBatch:
    """The files of a drop as one batch: as a ZIP archive of them would be, or the file itself if it is one."""
    digests = [hashlib.sha256(content).digest() for _, content in contents]

    def opened() -> BinaryIO:
        if len(contents) == 1:
            return io.BytesIO(contents[0][1])
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
            for name, content in contents:
                archive.writestr(zipfile.ZipInfo(name), content)
        out.seek(0)
        return out

    return FileBatch(identity(*(name.encode() for name, _ in contents), *digests), title, opened)


def missing_of(begun: Drop, waiting: Sequence[str], parts: Parts) -> dict[str, str]:
    """The parts of a drop that was begun which still stand where they came, by pattern. Raises SourceError."""
    rest = next((other.files for other in drops(waiting, parts) if other.star == begun.star), {})
    missing = {pattern: name for pattern, name in rest.items() if pattern not in begun.files}
    if not Drop(begun.star, {**begun.files, **missing}).is_whole(parts):
        raise SourceError(
            "source-failed",
            "a drop that was begun lacks a part",
            "put the part back into the folder of the drop beneath `working`, or take that folder away",
        )
    return missing


def too_large(limit: int) -> SourceError:
    """Why a drop is not read."""
    return SourceError(
        "source-failed",
        f"the files of a drop are over {limit} bytes together",
        "split the export, or raise limits.body_bytes",
    )


class DropDirectory(Watched):
    """The drops of a directory, oldest first. One that is not whole after `patience` seconds is told of."""

    TAKEN = "drop"

    def __init__(
        self,
        folder: Path,
        parts: Parts,
        *,
        body_limit: int,
        patience: float = 3600.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(folder)
        self._parts = parts
        self._body_limit = body_limit
        self._overdue = Overdue(parts, patience, clock)
        self._seen: dict[str, State] = {}
        self._taken: dict[str, dict[str, int]] = {}

    def _next(self) -> FileBatch | None:
        begun = sorted(path for path in (self._folder / "working").iterdir() if path.is_dir() and not path.is_symlink())
        chosen = begun[0] if begun else self._settled()
        return self._batch(chosen) if chosen is not None else None

    def _batch(self, folder: Path) -> FileBatch | None:
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.is_symlink())
        if not files:
            # Killed before the first of them was moved: all of them still stand where they came.
            folder.rmdir()
            return None
        (drop,) = drops([path.name for path in files], self._parts) or (Drop(()),)
        if not drop.is_whole(self._parts):
            # Killed while they were moved: what is missing still stands where it came.
            waiting = [path.name for path in self._folder.iterdir() if path.is_file()]
            self._moved(Drop(drop.star, missing_of(drop, waiting, self._parts)), folder)
            return self._batch(folder)
        read = [folder / drop.files[pattern] for pattern in self._parts.patterns]
        if sum(path.stat().st_size for path in read) > self._body_limit:
            raise too_large(self._body_limit)
        contents = [(path.name, path.read_bytes()) for path in read]
        self._taken[folder.name] = {name: len(content) for name, content in contents}
        return archived(folder.name, contents)

    def _settled(self) -> Path | None:
        """The oldest drop that is whole and has not changed since the last look, moved to where it is worked."""
        found: dict[str, State] = {}
        for entry in self._folder.iterdir():
            if entry.is_file() and not entry.is_symlink() and wanted(entry.name, "*"):
                stat = entry.stat()
                found[entry.name] = (stat.st_mtime_ns, stat.st_size)
        drop = settled(found, self._seen, self._parts)
        self._seen = found
        self._overdue.tell({name: state[0] / 1e9 for name, state in found.items()})
        if drop is None:
            return None
        target = self._folder / "working" / drop.title
        target.mkdir(mode=0o700)
        self._moved(drop, target)
        return target

    def _moved(self, drop: Drop, target: Path) -> None:
        for name in drop.files.values():
            (self._folder / name).rename(target / name)

    def _put_away(self, batch: Batch) -> None:
        working = self._folder / "working" / batch.title
        if not working.exists():
            return
        taken = self._taken.pop(batch.title, {})
        if any((working / name).stat().st_size != size for name, size in taken.items()):
            # What came after it was read was not read, so it is read again whole.
            event(LOGGER, logging.WARNING, "source-grew", batch=told_name(batch.id))
            return
        self._keep(working, batch)
