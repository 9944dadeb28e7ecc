"""A directory in which several files make one drop: persons in one, their needs in another.

A drop is taken when all its parts, and its marker where one is declared, are there and two looks in a row find each of
them unchanged. It is moved into a folder of its own beneath `working`, read as one ZIP archive, and put away whole
beneath `done`. One that does not come to its end is told in the log.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import logging
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from gateway.sources.batches import Batch, FileBatch, SourceError, identity
from gateway.sources.directory import wanted
from gateway.sources.gathering import Drop, Parts, State, drops, settled
from gateway.telemetry import event

LOGGER = logging.getLogger("yhdyspinta.sources")


class DropDirectory:
    """The drops of a directory, oldest first. One that is not whole after `patience` seconds is told of."""

    def __init__(
        self,
        folder: Path,
        parts: Parts,
        *,
        body_limit: int,
        patience: float = 3600.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._parts = parts
        self._body_limit = body_limit
        self._patience = patience
        self._clock = clock
        self._seen: dict[str, State] = {}
        self._told: set[tuple[str, ...]] = set()

    async def poll(self, position: str | None) -> Batch | None:
        """See Source."""
        try:
            return await asyncio.to_thread(self._next)
        except OSError as error:
            raise SourceError(
                "source-unreachable",
                f"the directory cannot be read: {error.strerror}",
                "the node must be able to read it and to move its files",
            ) from None

    async def finished(self, batch: Batch) -> None:
        """See Source."""
        try:
            await asyncio.to_thread(self._put_away, batch)
        except OSError as error:
            raise SourceError(
                "source-unreachable", f"a drop that is done cannot be moved: {error.strerror}", "let the node move it"
            ) from None

    async def close(self) -> None:
        """See Source."""

    def _next(self) -> FileBatch | None:
        for name in ("working", "done"):
            (self._folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        begun = sorted(path for path in (self._folder / "working").iterdir() if path.is_dir() and not path.is_symlink())
        chosen = begun[0] if begun else self._settled()
        return self._batch(chosen) if chosen is not None else None

    def _batch(self, folder: Path) -> FileBatch:
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.is_symlink())
        (drop,) = drops([path.name for path in files], self._parts) or (Drop(()),)
        if not drop.is_whole(self._parts):
            # Killed while they were moved: what is missing still stands where it came.
            self._moved(Drop(drop.star, self._missing(drop)), folder)
            return self._batch(folder)
        read = [folder / drop.files[pattern] for pattern in self._parts.patterns]
        if sum(path.stat().st_size for path in read) > self._body_limit:
            raise SourceError(
                "source-failed",
                f"the files of a drop are over {self._body_limit} bytes together",
                "split the export, or raise limits.body_bytes",
            )
        contents = [(path.name, path.read_bytes()) for path in read]
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

        return FileBatch(identity(*(name.encode() for name, _ in contents), *digests), folder.name, opened)

    def _missing(self, drop: Drop) -> dict[str, str]:
        waiting = drops([path.name for path in self._folder.iterdir() if path.is_file()], self._parts)
        rest = next((other.files for other in waiting if other.star == drop.star), {})
        missing = {pattern: name for pattern, name in rest.items() if pattern not in drop.files}
        if not Drop(drop.star, {**drop.files, **missing}).is_whole(self._parts):
            raise SourceError(
                "source-failed",
                "a drop that was begun lacks a part",
                "put the part back into the folder of the drop beneath `working`, or take that folder away",
            )
        return missing

    def _settled(self) -> Path | None:
        """The oldest drop that is whole and has not changed since the last look, moved to where it is worked."""
        found: dict[str, State] = {}
        for entry in self._folder.iterdir():
            if entry.is_file() and not entry.is_symlink() and wanted(entry.name, "*"):
                stat = entry.stat()
                found[entry.name] = (stat.st_mtime_ns, stat.st_size)
        drop = settled(found, self._seen, self._parts)
        self._seen = found
        self._tell(found)
        if drop is None:
            return None
        target = self._folder / "working" / drop.title
        target.mkdir(mode=0o700)
        self._moved(drop, target)
        return target

    def _moved(self, drop: Drop, target: Path) -> None:
        for name in drop.files.values():
            (self._folder / name).rename(target / name)

    def _tell(self, found: dict[str, State]) -> None:
        """Tell once of each drop that waits for a part for too long."""
        waiting = {
            drop.star: drop
            for drop in drops(found, self._parts)
            if not drop.is_whole(self._parts)
            and self._clock() - max(found[name][0] for name in drop.files.values()) / 1e9 > self._patience
        }
        for star, drop in waiting.items():
            if star not in self._told:
                event(
                    LOGGER, logging.WARNING, "drop-incomplete", files=len(drop.files), parts=len(self._parts.patterns)
                )
        self._told = set(waiting)

    def _put_away(self, batch: Batch) -> None:
        working = self._folder / "working" / batch.title
        if not working.exists():
            return
        target = self._folder / "done" / batch.title
        if target.exists():  # another drop of the same name, and no file is ever lost
            target = target.with_name(f"{target.name}-{batch.id[:12]}")
        working.rename(target)
