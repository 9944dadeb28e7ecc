"""A directory that is watched: whatever is put there is read once and put away.

A file is taken when two looks in a row find it with the same size and time, so that one which is still being written
is left alone; names that begin with a dot or end in `.part` or `.tmp` are never taken. It is moved into `working`
before it is read, and into `done` when it has been worked to the end and is still what was read: one that has grown
meanwhile is read again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import BinaryIO

from gateway.sources.batches import Batch, FileBatch, SourceError, identity, kept_as, told_name
from gateway.telemetry import event

LOGGER = logging.getLogger("yhdyspinta.sources")
UNFINISHED = (".part", ".tmp", ".filepart", ".crdownload")


class Watched:
    """A directory that is looked at. What is taken is worked beneath `working`, and put away beneath `done`."""

    #: What is taken: for whom reads an error.
    TAKEN = "file"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def poll(self, position: str | None) -> Batch | None:
        """See Source."""
        try:
            return await asyncio.to_thread(self._looked)
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
                "source-unreachable",
                f"a {self.TAKEN} that is done cannot be moved: {error.strerror}",
                "let the node move it",
            ) from None

    async def close(self) -> None:
        """See Source."""

    def _looked(self) -> FileBatch | None:
        for name in ("working", "done"):
            (self._folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        return self._next()

    def _next(self) -> FileBatch | None:
        raise NotImplementedError

    def _put_away(self, batch: Batch) -> None:
        raise NotImplementedError

    def _keep(self, working: Path, batch: Batch) -> None:
        done = self._folder / "done"
        # No file is ever lost: the same may come again.
        working.rename(next(path for name in kept_as(batch.title, batch.id) if not (path := done / name).exists()))


class Directory(Watched):
    """Files of a directory that match a pattern, oldest first."""

    def __init__(self, folder: Path, pattern: str = "*") -> None:
        super().__init__(folder)
        self._pattern = pattern
        self._seen: dict[str, tuple[int, int]] = {}
        self._taken: dict[str, tuple[int, int]] = {}

    def _next(self) -> FileBatch | None:
        begun = sorted(
            file for file in (self._folder / "working").iterdir() if file.is_file() and not file.is_symlink()
        )
        chosen = begun[0] if begun else self._settled()
        if chosen is None:
            return None
        digest = _digest(chosen)
        self._taken[chosen.name] = _state(chosen)

        def opened() -> BinaryIO:
            return chosen.open("rb")

        return FileBatch(identity(os.fsencode(chosen.name), digest), chosen.name, opened)

    def _settled(self) -> Path | None:
        """The oldest file that has not changed since the last look, moved to where it is worked."""
        found: dict[str, tuple[int, int]] = {}
        for entry in self._folder.iterdir():
            if entry.is_file() and not entry.is_symlink() and wanted(entry.name, self._pattern):
                found[entry.name] = _state(entry)
        quiet = sorted((state, name) for name, state in found.items() if self._seen.get(name) == state)
        self._seen = found
        if not quiet:
            return None
        name = quiet[0][1]
        target = self._folder / "working" / name
        (self._folder / name).rename(target)
        return target

    def _put_away(self, batch: Batch) -> None:
        working = self._folder / "working" / batch.title
        if not working.exists():
            return
        if self._taken.get(batch.title, state := _state(working)) != state:
            # Whoever writes it had it open all the time: what came later was not read, so it is read again whole.
            event(LOGGER, logging.WARNING, "source-grew", batch=told_name(batch.id))
            return
        self._taken.pop(batch.title, None)
        self._keep(working, batch)


def wanted(name: str, pattern: str, unfinished: Sequence[str] = UNFINISHED) -> bool:
    """Whether a file of this name is meant to be read."""
    return not name.startswith(".") and not name.lower().endswith(tuple(unfinished)) and fnmatch(name, pattern)


def _state(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
