"""Which version of each adapter is at work, and the readers of each version.

What is installed beside the node is read by the node's own readers. A version that was taken into use later has
readers of its own, with its folder before all else. When another takes its place, records under way are finished by
the readers that began them, and these end.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.sdk import AdapterError, Limits, Manifest, Text
from adapters.sdk.versions import Version
from gateway.reading.pool import Poison, Readers
from gateway.reading.process import ReaderDiedError
from gateway.wire.problems import ProblemError


@dataclass(frozen=True, slots=True)
class Edition:
    """A version of an adapter: what it is, and the folder that holds it; None for what is installed."""

    manifest: Manifest
    version: Version
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class AtWork:
    """A version of an adapter, and its readers for one kind of work."""

    edition: Edition
    readers: Readers


def editions(answer: dict[str, Any], folder: Path | None = None) -> tuple[Edition, ...]:
    """What a reader says that it has. Raises KeyError, TypeError or ValueError."""
    return tuple(
        Edition(
            Manifest(
                str(item["name"]),
                Text(*(str(item["title"][language]) for language in ("fi", "sv", "en"))),
                tuple(map(str, item["media_types"])),
                bool(item["reads"]),
                bool(item["writes"]),
                tuple(map(str, item["extensions"])),
            ),
            Version(str(item["name"]), *_declared(item["version"])),
            folder,
        )
        for item in answer["adapters"]
    )


def _declared(item: Any) -> tuple[str, str]:
    declared, digest = item
    return str(declared), str(digest)


def tried(folder: Path, name: str, limits: Limits) -> Edition:
    """The version in a folder, loaded by a reader as it would be in use. Raises AdapterError if it cannot be."""
    readers = Readers(1, limits.memory_mb, beside=folder)
    try:
        (found,) = readers.ask({"do": "list"}, b"", limits, "trial", lambda answer: editions(answer, folder))
    except (ReaderDiedError, ProblemError):
        raise AdapterError(f"{name} cannot be loaded: its mapping or its code ends the process that reads") from None
    finally:
        readers.close()
    for edition in found:
        if edition.manifest.name == name:
            return edition
    raise AdapterError(f"the package makes no adapter that calls itself {name!r}")


class Editions:
    """The versions at work. Thread-safe."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._poison = Poison()
        self._lock = threading.Lock()
        self._installed: dict[str, Edition] = {}
        self._taken: dict[str, Edition] = {}
        self._held: Counter[str] = Counter()
        self._pools: dict[str, Readers] = {}
        self._apart: dict[tuple[str, str], Readers] = {}

    def install(self, found: tuple[Edition, ...]) -> None:
        """Go by what is installed beside the node."""
        self._installed = {edition.manifest.name: edition for edition in found}

    def take(self, name: str, edition: Edition | None) -> None:
        """Let a version take the place of the one at work; None: what is installed does."""
        with self._lock:
            if edition is None:
                self._taken.pop(name, None)
            else:
                self._taken[name] = edition
            retired = self._retired()
        _end(retired)

    def installed(self) -> tuple[Version, ...]:
        """The versions that are installed beside the node, whether they are at work or not."""
        return tuple(edition.version for edition in self._installed.values())

    def taken(self) -> dict[str, str]:
        """The digests of the versions that were taken into use, by adapter."""
        with self._lock:
            return {name: edition.version.digest for name, edition in self._taken.items()}

    def available(self) -> tuple[Edition, ...]:
        """All adapters at work, by name."""
        with self._lock:
            return tuple(edition for _, edition in sorted({**self._installed, **self._taken}.items()))

    def at_work(self, name: str, work: str, size: int) -> AtWork:
        """The version of an adapter at work, and its readers. Raises AdapterError."""
        with self._lock:
            edition = self._taken.get(name) or self._installed.get(name)
            if edition is None:
                raise AdapterError(f"no adapter {name!r} is installed")
            return AtWork(edition, self._readers(edition, work, size))

    @contextmanager
    def held(self, name: str, digest: str, version: Callable[[str, str], Edition | None]) -> Iterator[Edition]:
        """A version that stays for as long as it is held: that of the digest if there still is one, else the present.

        `version` finds one that is not at work. Raises AdapterError.
        """
        with self._lock:
            known = [found[name] for found in (self._taken, self._installed) if name in found]
        edition = next((edition for edition in known if not digest or edition.version.digest == digest), None)
        edition = edition or version(name, digest) or next(iter(known), None)
        if edition is None:
            raise AdapterError(f"no adapter {name!r} is installed")
        with self._lock:
            self._held[edition.version.digest] += 1
        try:
            yield edition
        finally:
            with self._lock:
                self._held[edition.version.digest] -= 1
                retired = self._retired()
            _end(retired)

    def readers(self, edition: Edition, work: str, size: int) -> Readers:
        """The readers of a version."""
        with self._lock:
            return self._readers(edition, work, size)

    def _readers(self, edition: Edition, work: str, size: int) -> Readers:
        if edition.folder is None:
            return self.pool(work, size)
        key = work, edition.version.digest
        if key not in self._apart:
            self._apart[key] = Readers(size, self._limits.memory_mb, self._poison, beside=edition.folder)
        return self._apart[key]

    def pool(self, work: str, size: int) -> Readers:
        """The readers of what is installed, for one kind of work."""
        return self._pools.setdefault(work, Readers(size, self._limits.memory_mb, self._poison))

    def _retired(self) -> list[Readers]:
        """Readers of versions that neither are at work nor are held, taken out. Under the lock."""
        kept = {edition.version.digest for edition in self._taken.values()}
        kept |= {digest for digest, count in self._held.items() if count > 0}
        return [self._apart.pop(key) for key in list(self._apart) if key[1] not in kept]

    def close(self) -> None:
        """End all readers."""
        with self._lock:
            every = [*self._pools.values(), *self._apart.values()]
        _end(every)

    def condition(self) -> dict[str, Any]:
        """For the node's health."""
        with self._lock:
            pools = dict(self._pools)
            pools |= {f"{work} {digest[:12]}": pool for (work, digest), pool in self._apart.items()}
        marks = {edition.manifest.name: edition.version.mark for edition in self.available()}
        return {
            "refused_unread": len(self._poison),
            "versions": marks,
            "pools": {work: pool.condition() for work, pool in pools.items()},
        }


def _end(retired: list[Readers]) -> None:
    """End readers: the idle ones now, those at work when they have finished."""
    for readers in retired:
        readers.close()
