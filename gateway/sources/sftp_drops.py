"""Several files on an SFTP server that make one drop, taken as those of a watched directory are.

A drop is taken when all its parts, and its marker where one is declared, are there and two looks in a row find each of
them unchanged. It is moved into a folder of its own beneath `working` on the server, read as one ZIP archive, and put
away whole beneath `done`.
"""

from __future__ import annotations

import logging
from typing import Any

import asyncssh

from gateway.sources.batches import Batch, FileBatch
from gateway.sources.directory import wanted
from gateway.sources.dropped import Overdue, archived, missing_of, too_large
from gateway.sources.gathering import Drop, Parts, State, drops, settled
from gateway.sources.sftp import Account, connected, files_of
from gateway.telemetry import event

LOGGER = logging.getLogger("yhdyspinta.sources")


class SftpDrops:
    """The drops in a folder of an SFTP server, oldest first."""

    def __init__(
        self, account: Account, folder: str, parts: Parts, *, body_limit: int, timeout_seconds: float = 30.0
    ) -> None:
        self._account = account
        self._folder = folder.rstrip("/")
        self._parts = parts
        self._body_limit = body_limit
        self._timeout = timeout_seconds
        self._overdue = Overdue(parts)
        self._seen: dict[str, State] = {}
        self._taken: dict[str, dict[str, int]] = {}

    async def poll(self, position: str | None) -> Batch | None:
        """See Source."""
        async with connected(self._account, self._timeout) as server:
            for folder in ("working", "done"):
                await server.makedirs(self._path(folder), exist_ok=True)
            folders = await files_of(server, self._path("working"), asyncssh.FILEXFER_TYPE_DIRECTORY)
            begun = sorted(name for entry in folders if (name := str(entry.filename)) not in {".", ".."})
            title = begun[0] if begun else await self._settled(server)
            return await self._batch(server, title) if title is not None else None

    async def finished(self, batch: Batch) -> None:
        """See Source."""
        working, target = self._path(f"working/{batch.title}"), self._path(f"done/{batch.title}")
        async with connected(self._account, self._timeout) as server:
            if not await server.exists(working):
                return
            for name, size in self._taken.pop(batch.title, {}).items():
                if await server.getsize(f"{working}/{name}") != size:
                    # What came after it was read was not read, so it is read again whole.
                    event(LOGGER, logging.WARNING, "source-grew", batch=batch.id[:12])
                    return
            if await server.exists(target):  # another drop of the same name, and no file is ever lost
                target = f"{target}-{batch.id[:12]}"
            await server.rename(working, target)

    async def close(self) -> None:
        """See Source."""

    async def _batch(self, server: Any, title: str) -> FileBatch | None:
        folder = self._path(f"working/{title}")
        names = [str(entry.filename) for entry in await files_of(server, folder)]
        if not names:
            # The connection was cut before the first of them was moved: all of them still stand where they came.
            await server.rmdir(folder)
            return None
        (drop,) = drops(names, self._parts) or (Drop(()),)
        if not drop.is_whole(self._parts):
            # The connection was cut while they were moved: what is missing still stands where it came.
            waiting = list(await self._found(server))
            await self._moved(server, Drop(drop.star, missing_of(drop, waiting, self._parts)), folder)
            return await self._batch(server, title)
        contents: list[tuple[str, bytes]] = []
        left = self._body_limit
        for pattern in self._parts.patterns:
            async with server.open(f"{folder}/{drop.files[pattern]}", "rb") as file:
                content = await file.read(left + 1)
            left -= len(content)
            if left < 0:
                raise too_large(self._body_limit)
            contents.append((drop.files[pattern], content))
        self._taken[title] = {name: len(content) for name, content in contents}
        return archived(title, contents)

    async def _settled(self, server: Any) -> str | None:
        """The oldest drop that is whole and has not changed since the last look, moved to where it is worked."""
        found = await self._found(server)
        drop = settled(found, self._seen, self._parts)
        self._seen = found
        self._overdue.tell({name: float(state[0]) for name, state in found.items()})
        if drop is None:
            return None
        target = self._path(f"working/{drop.title}")
        await server.mkdir(target)
        await self._moved(server, drop, target)
        return drop.title

    async def _found(self, server: Any) -> dict[str, State]:
        return {
            str(entry.filename): (int(entry.attrs.mtime or 0), int(entry.attrs.size or 0))
            for entry in await files_of(server, self._folder or ".")
            if wanted(str(entry.filename), "*")
        }

    async def _moved(self, server: Any, drop: Drop, target: str) -> None:
        for name in drop.files.values():
            await server.rename(self._path(name), f"{target}/{name}")

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}" if self._folder else name
