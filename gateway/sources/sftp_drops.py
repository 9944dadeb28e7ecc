"""Several files on an SFTP server that make one drop, taken as those of a watched directory are.

A drop is taken when all its parts, and its marker where one is declared, are there and two looks in a row find each of
them unchanged. It is moved into a folder of its own beneath `working` on the server, read as one ZIP archive, and put
away whole beneath `done`.
"""

from __future__ import annotations

from typing import Any

import asyncssh

from gateway.sources.batches import FileBatch
from gateway.sources.dropped import Overdue, archived, missing_of, too_large
from gateway.sources.gathering import Drop, Parts, drops, settled
from gateway.sources.sftp import Account, OnServer, files_of


class SftpDrops(OnServer):
    """The drops in a folder of an SFTP server."""

    KIND = asyncssh.FILEXFER_TYPE_DIRECTORY

    def __init__(self, account: Account, folder: str, parts: Parts, *, body_limit: int) -> None:
        super().__init__(account, folder, body_limit=body_limit)
        self._parts = parts
        self._overdue = Overdue(parts)

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
        read = [drop.files[pattern] for pattern in self._parts.patterns]
        paths = [f"{folder}/{name}" for name in read]
        contents = await self._read(server, paths, too_large(self._body_limit))
        self._taken[title] = dict(zip(paths, map(len, contents), strict=True))
        return archived(title, list(zip(read, contents, strict=True)))

    async def _settled(self, server: Any) -> str | None:
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

    async def _moved(self, server: Any, drop: Drop, target: str) -> None:
        for name in drop.files.values():
            await server.rename(self._path(name), f"{target}/{name}")
