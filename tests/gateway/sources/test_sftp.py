"""An SFTP drop, against a real SSH server on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest

from gateway.sources.batches import SourceError
from gateway.sources.progress import Progress
from gateway.sources.sftp import Account, SftpDrop
from tests.gateway.sources.conftest import Sink, drain, export, feed_of


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'node.db'}"


@asynccontextmanager
async def serving(folder: Path, known: asyncssh.SSHKey) -> AsyncIterator[int]:
    host_key = asyncssh.read_private_key(folder.parent / "host")

    def rooted(channel: asyncssh.SSHServerChannel) -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel, chroot=str(folder).encode())

    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        authorized_client_keys=asyncssh.import_authorized_keys(known.export_public_key().decode()),
        sftp_factory=rooted,
    )
    try:
        yield server.get_port()
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture
def keys(tmp_path: Path) -> asyncssh.SSHKey:
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "host")
    own = asyncssh.generate_private_key("ssh-ed25519")
    own.write_private_key(tmp_path / "node", "pkcs8-pem", "open sesame")
    (tmp_path / "passphrase").write_text("open sesame\n")
    (tmp_path / "drop").mkdir()
    return own


def account(folder: Path, port: int, host_key: str = "host") -> Account:
    public = asyncssh.read_private_key(folder / host_key).export_public_key().decode()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")
    return Account("127.0.0.1", port, "node", folder / "node", folder / "known_hosts", folder / "passphrase")


async def test_files_are_fetched_once_and_put_away_on_the_server(
    keys: asyncssh.SSHKey, books: Progress, tmp_path: Path
) -> None:
    drop, sink = tmp_path / "drop", Sink()
    async with serving(drop, keys) as port:
        (drop / "monday.csv").write_bytes(export(["A1", "A2"]))
        (drop / "readme.txt").write_text("not an export")
        (drop / "tuesday.csv.part").write_bytes(export(["A9"]))
        feed = feed_of(SftpDrop(account(tmp_path, port), "", pattern="*.csv"), sink, books, tmp_path / "reports")
        await drain(feed)
        (drop / "monday.csv").write_bytes(export(["A2", "A3"]))
        again = feed_of(SftpDrop(account(tmp_path, port), "", pattern="*.csv"), sink, books, tmp_path / "reports")
        await drain(again)

    assert sink.people == ["A1", "A2", "A3"]
    assert len(list((drop / "done").iterdir())) == 2
    assert sorted(one.name for one in drop.iterdir() if one.is_file()) == ["readme.txt", "tuesday.csv.part"]


async def test_a_server_with_another_host_key_is_shown_nothing(
    keys: asyncssh.SSHKey, books: Progress, tmp_path: Path
) -> None:
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "other")
    async with serving(tmp_path / "drop", keys) as port:
        source = SftpDrop(account(tmp_path, port, "other"), "")
        with pytest.raises(SourceError, match="host key") as caught:
            await source.poll(None)

    assert caught.value.code == "source-unauthorized"


async def test_a_server_that_refuses_the_key_or_is_away_is_told_apart(
    keys: asyncssh.SSHKey, books: Progress, tmp_path: Path
) -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    async with serving(tmp_path / "drop", stranger) as port:
        refused = SftpDrop(account(tmp_path, port), "")
        with pytest.raises(SourceError, match="refuses the node's key"):
            await refused.poll(None)

    with pytest.raises(SourceError) as caught:
        await refused.poll(None)
    assert caught.value.code == "source-unreachable"
