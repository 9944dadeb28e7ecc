"""Go by the versions of adapters that the database says are in use, while the node runs.

A version is unpacked into a folder of this process, its files are held against the digest that the database has, and a
reader loads it; only then it takes the place of the former one. Where any of that fails the former one goes on, and
health says so.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from adapters.sdk import AdapterError, Limits
from gateway.reading import shelf
from gateway.reading.editions import Edition, tried
from gateway.reading.readers import Reading
from gateway.reading.wheels import opened
from gateway.storage.scratch import Scratch
from gateway.telemetry import event

LOGGER = logging.getLogger("yhdyspinta.reading")
LOOK_SECONDS: Final = 1.0


@dataclass(slots=True)
class AdapterWatch:
    """Keeps the versions at work to those that are in use. Its folder lasts as long as the process."""

    engine: Engine
    reading: Reading
    limits: Limits
    _scratch: Scratch = field(default_factory=Scratch)
    _known: dict[tuple[str, str], Edition] = field(default_factory=dict)
    #: By adapter the digest that could not be taken up, and whether it never will be.
    _refused: dict[str, tuple[str, bool]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self) -> None:
        """Take up what has changed. Blocks; raises SQLAlchemyError."""
        wanted = shelf.in_use(self.engine)
        at_work = self.reading.editions.taken()
        for name, digest in wanted.items():
            if digest == at_work.get(name, shelf.INSTALLED):
                self._refused.pop(name, None)
            elif self._refused.get(name) != (digest, True):
                self._change(name, digest)

    def _change(self, name: str, digest: str) -> None:
        try:
            edition = self.edition(name, digest) if digest != shelf.INSTALLED else None
        except (AdapterError, OSError) as error:
            # The former one goes on. What is wrong with a package stays so; what this machine lacks, as room on its
            # disk, may come: then it is tried again, and told of once.
            refused = (digest, isinstance(error, AdapterError))
            if self._refused.get(name) == refused:
                return
            self._refused[name] = refused
            event(LOGGER, logging.ERROR, "adapter-not-taken", adapter=name, version=digest, reason=str(error))
            return
        self.reading.editions.take(name, edition)
        self._refused.pop(name, None)
        event(LOGGER, logging.INFO, "adapter-taken", adapter=name, version=digest[:12] or "installed")

    def former(self, name: str, digest: str) -> Edition | None:
        """A version that is not at work, to finish with it what was begun with it; None if it cannot be had."""
        try:
            return self.edition(name, digest)
        except (AdapterError, OSError):
            return None

    def edition(self, name: str, digest: str) -> Edition:
        """A version out of the database. Blocks; raises AdapterError, OSError, SQLAlchemyError."""
        with self._lock:
            if (name, digest) not in self._known:
                self._known[name, digest] = self._unpacked(name, digest)
            return self._known[name, digest]

    def _unpacked(self, name: str, digest: str) -> Edition:
        data = shelf.wheel(self.engine, name, digest)
        if data is None:
            raise AdapterError(f"the database has no version {digest[:12]} of {name}")
        folder = self._scratch.folder / digest
        shutil.rmtree(folder, ignore_errors=True)  # of a try that failed
        opened(data).unpack(folder)
        edition = tried(folder, name, self.limits)
        if digest not in (edition.version.digest, edition.version.former):
            # What was agreed on is what runs, and nothing else.
            raise AdapterError(f"the files of {name} are not those of version {digest[:12]}")
        # Records name it as the log does, also one that was taken when digests were made otherwise.
        return replace(edition, version=replace(edition.version, digest=digest))

    async def run(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await asyncio.to_thread(self.look)
            except SQLAlchemyError as error:
                event(LOGGER, logging.WARNING, "adapters-not-compared", reason=type(error).__name__)

    def close(self) -> None:
        """Let go of the folder."""
        self._scratch.close()

    def condition(self) -> dict[str, Any]:
        """For the node's health: versions that are in use by the database and could not be taken up here."""
        return {name: digest[:12] for name, (digest, _) in self._refused.items()}
