"""What a source gives: batches, each with an identity that is the same whenever it holds the same records.

A batch is a file as it was found, or rows that have already been read. `mapped` reads it anew from its first record
each time, in the same order, so that work which was cut off can be taken up in the middle.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import PurePosixPath
from typing import BinaryIO, Protocol

from adapters.sdk import Adapter, Finding, Limits, Mapped, Record


class SourceError(Exception):
    """A source could not be read now: a code for the log, what is wrong, what would make it right."""

    def __init__(self, code: str, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.remedy = remedy


class Batch(Protocol):
    """Some records of a source, and how far the source has been read once they are done."""

    @property
    def id(self) -> str:
        """The identity of the batch: at most 128 characters, nothing personal in it."""
        ...

    @property
    def title(self) -> str:
        """What its sender calls it, which may say of whom it is: whatever tells of it uses `told_name`."""
        ...

    @property
    def position(self) -> str | None:
        """From where the source is read next; None if it keeps its own books (a file that is moved away)."""
        ...

    def mapped(self, adapter: Adapter, limits: Limits) -> Iterator[Mapped]:
        """Its records, read and mapped, from the first."""
        ...


@dataclass(frozen=True, slots=True)
class FileBatch:
    """A file in the adapter's own format."""

    id: str
    title: str
    opened: Callable[[], BinaryIO]
    position: str | None = None

    def mapped(self, adapter: Adapter, limits: Limits) -> Iterator[Mapped]:
        """See Batch."""
        with self.opened() as stream:
            for mapped in adapter.convert(stream, limits):
                yield _placed(mapped, told_name(self.id))


@dataclass(frozen=True, slots=True)
class RowsBatch:
    """Rows that were read as records already."""

    id: str
    title: str
    records: Sequence[Record]
    position: str | None = None

    def mapped(self, adapter: Adapter, limits: Limits) -> Iterator[Mapped]:
        """See Batch."""
        for record in self.records:
            yield _placed(adapter.to_canonical(record), told_name(self.id))


class Source(Protocol):
    """Something that is asked again and again for what it has that is new."""

    async def poll(self, position: str | None) -> Batch | None:
        """The next batch after a position, or None if there is nothing now. Raises SourceError.

        May give a batch again that has been done; the feed knows it by its id.
        """
        ...

    async def finished(self, batch: Batch) -> None:
        """The batch is done: put its file away. Called again if it could not be the first time."""
        ...

    async def close(self) -> None:
        """End all connections."""
        ...


def identity(*parts: bytes) -> str:
    """The identity of a batch that consists of these parts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def told_name(batch: str) -> str:
    """What reports and logs call a batch of this identity."""
    return batch[:12]


def kept_as(title: str, batch: str) -> Iterator[str]:
    """Names under which what was worked is kept, the first that is free: the sender's, with that of the report."""
    path = PurePosixPath(title)
    # What others named at full length leaves no room.
    stem = path.stem if len(os.fsencode(title)) < 200 else path.stem[:40]
    for number in count(1):
        yield f"{stem}-{told_name(batch)}{f'-{number}' if number > 1 else ''}{path.suffix[:20]}"


def _placed(mapped: Mapped, file: str) -> Mapped:
    def place(finding: Finding) -> Finding:
        return replace(finding, position=replace(finding.position, file=file))

    return replace(
        mapped,
        position=replace(mapped.position, file=file),
        findings=tuple(place(finding) for finding in mapped.findings),
    )
