"""An SFTP drop: files that someone puts on a server are fetched, read once and put away there.

The server is known by its host key from a file; an unknown key ends the connection before anything is shown. Files are
taken as in a watched directory: when two looks find the same size and time, moved into `working` on the server before
they are read, and into `done` when they have been worked to the end.
"""

from __future__ import annotations

import io
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import asyncssh

from gateway.sources.batches import Batch, FileBatch, SourceError, identity, kept_as, told_name
from gateway.sources.directory import wanted
from gateway.sources.gathering import State
from gateway.telemetry import event

LOGGER = logging.getLogger("yhdyspinta.sources")


@dataclass(frozen=True, slots=True)
class Account:
    """Where the drop is and as whom the node comes: `key` (PKCS#8) and `passphrase` are files."""

    host: str
    port: int
    user: str
    key: Path
    known_hosts: Path
    passphrase: Path | None = None


class OnServer:
    """What arrives in a folder of an SFTP server: worked beneath `working`, put away beneath `done`, oldest first."""

    #: Whether a file arrives or a folder of files.
    KIND: ClassVar[int] = asyncssh.FILEXFER_TYPE_REGULAR

    def __init__(self, account: Account, folder: str, *, body_limit: int, timeout_seconds: float = 30.0) -> None:
        self._account = account
        self._folder = folder.rstrip("/")
        self._body_limit = body_limit
        self._timeout = timeout_seconds
        self._seen: dict[str, State] = {}
        #: By title, how long each file was when it was read.
        self._taken: dict[str, dict[str, int]] = {}

    async def poll(self, position: str | None) -> Batch | None:
        """See Source."""
        async with connected(self._account, self._timeout) as server:
            for folder in ("working", "done"):
                await server.makedirs(self._path(folder), exist_ok=True)
            working = await files_of(server, self._path("working"), self.KIND)
            begun = sorted(name for entry in working if (name := str(entry.filename)) not in {".", ".."})
            title = begun[0] if begun else await self._settled(server)
            return await self._batch(server, title) if title is not None else None

    async def finished(self, batch: Batch) -> None:
        """See Source."""
        working = self._path(f"working/{batch.title}")
        async with connected(self._account, self._timeout) as server:
            if not await server.exists(working):
                return
            for path, size in self._taken.pop(batch.title, {}).items():
                if await server.getsize(path) != size:
                    # What came after it was read was not read, so it is read again whole.
                    event(LOGGER, logging.WARNING, "source-grew", batch=told_name(batch.id))
                    return
            for name in kept_as(batch.title, batch.id):
                if not await server.exists(target := self._path(f"done/{name}")):  # no file is ever lost
                    break
            await server.rename(working, target)

    async def close(self) -> None:
        """See Source."""

    async def _settled(self, server: Any) -> str | None:
        """The oldest that has not changed since the last look, moved to where it is worked."""
        raise NotImplementedError

    async def _batch(self, server: Any, title: str) -> FileBatch | None:
        """What is worked under a title."""
        raise NotImplementedError

    async def _found(self, server: Any, pattern: str = "*") -> dict[str, State]:
        return {
            str(entry.filename): (int(entry.attrs.mtime or 0), int(entry.attrs.size or 0))
            for entry in await files_of(server, self._folder or ".")
            if wanted(str(entry.filename), pattern)
        }

    async def _read(self, server: Any, paths: Iterable[str], too_large: SourceError) -> list[bytes]:
        """The contents of files, as long together as may be. Raises SourceError."""
        contents: list[bytes] = []
        left = self._body_limit
        for path in paths:
            async with server.open(path, "rb") as file:
                contents.append(await file.read(left + 1))
            left -= len(contents[-1])
            if left < 0:
                raise too_large
        return contents

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}" if self._folder else name


class SftpDrop(OnServer):
    """Files in a folder of an SFTP server that match a pattern."""

    def __init__(
        self, account: Account, folder: str, *, pattern: str = "*", body_limit: int = 64 * 1024 * 1024
    ) -> None:
        super().__init__(account, folder, body_limit=body_limit)
        self._pattern = pattern

    async def _settled(self, server: Any) -> str | None:
        found = await self._found(server, self._pattern)
        quiet = sorted((state, name) for name, state in found.items() if self._seen.get(name) == state)
        self._seen = found
        if not quiet:
            return None
        name = quiet[0][1]
        await server.rename(self._path(name), self._path(f"working/{name}"))
        return name

    async def _batch(self, server: Any, title: str) -> FileBatch | None:
        path, limit = self._path(f"working/{title}"), self._body_limit
        too_large = SourceError(
            "source-failed", f"a file is over {limit} bytes", "split the file, or raise limits.body_bytes"
        )
        (content,) = await self._read(server, [path], too_large)
        self._taken[title] = {path: len(content)}
        return FileBatch(identity(title.encode(), content), title, lambda: io.BytesIO(content))


async def files_of(server: Any, folder: str, kind: int = asyncssh.FILEXFER_TYPE_REGULAR) -> list[Any]:
    """The files of a folder; nothing that points elsewhere."""
    return [entry for entry in await server.readdir(folder) if entry.attrs.type == kind]


@asynccontextmanager
async def connected(account: Account, timeout_seconds: float = 30.0) -> AsyncIterator[Any]:
    """The server, for as long as it is talked with. Raises SourceError."""
    passphrase = account.passphrase.read_text("utf-8").strip() if account.passphrase else None
    try:
        async with (
            asyncssh.connect(
                account.host,
                account.port,
                username=account.user,
                client_keys=[asyncssh.read_private_key(account.key, passphrase)],
                known_hosts=str(account.known_hosts),
                config=None,
                agent_path=None,
                preferred_auth="publickey",
                connect_timeout=timeout_seconds,
                login_timeout=timeout_seconds,
            ) as connection,
            connection.start_sftp_client() as server,
        ):
            yield server
    except asyncssh.HostKeyNotVerifiable:
        raise SourceError(
            "source-unauthorized",
            "the server's host key is not the one that is known",
            "compare it with the server's keeper before you change the known_hosts file",
        ) from None
    except asyncssh.PermissionDenied:
        raise SourceError(
            "source-unauthorized", "the server refuses the node's key", "have the key's public half added there"
        ) from None
    except (asyncssh.Error, OSError) as error:
        raise SourceError("source-unreachable", f"the server cannot be used ({type(error).__name__})") from None
