"""An SFTP drop, against a real SSH server on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest
from pydantic import TypeAdapter, ValidationError

from adapters.sdk import Limits
from gateway.handover.feeds import source_of
from gateway.settings.sources import SftpSource
from gateway.sources.batches import FileBatch, SourceError
from gateway.sources.feed import Books, Feed, FeedPolicy, Intake
from gateway.sources.gathering import Parts
from gateway.sources.progress import Progress
from gateway.sources.sftp import Account, SftpDrop
from gateway.sources.sftp_drops import SftpDrops
from gateway.sources.taking import Door
from tests.adapters.test_drops import NEEDS
from tests.adapters.test_drops import source as joined
from tests.adapters.test_layouts import PATIENT, adapter
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
        for _ in range(2):  # one that comes again as it was is kept as well
            (drop / "monday.csv").write_bytes(export(["A2", "A3"]))
            await drain(again)

    assert sink.people == ["A1", "A2", "A3"]
    kept = sorted(path.name for path in (drop / "done").iterdir())
    reports = {path.name.partition(".")[0] for path in (tmp_path / "reports").iterdir()}
    assert len(kept) == 4
    assert {name.removesuffix(".csv").split("-")[1] for name in kept} == reports
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


PARTS = Parts(("henkilot-*.csv", "tarpeet-*.csv"), "valmis-*.ok")


def arrive(folder: Path, *names: str, text: str = "x") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(text)


def put_away(folder: Path) -> Path:
    """The one drop that was put away."""
    (kept,) = (folder / "done").glob("1-*")
    return kept


async def polled(source: SftpDrops, times: int = 2) -> FileBatch | None:
    """What the last of so many looks finds."""
    found = None
    for _ in range(times):
        found = await source.poll(None)
    assert found is None or isinstance(found, FileBatch)
    return found


async def test_persons_and_their_needs_are_one_drop_and_put_away_together(
    keys: asyncssh.SSHKey, books: Progress, tmp_path: Path
) -> None:
    drop, sink = tmp_path / "drop", Sink()
    arrive(drop, "henkilot-1.csv", text="NRO;SUKU\nA1;Oja\nA2;Niemi\n")
    arrive(drop, "tarpeet-1.csv", text="NRO;TARVE\nA2;housing\n")
    arrive(drop, "valmis-1.ok", "tarpeet-2.csv", "henkilot-2.csv", "muut.txt")
    async with serving(drop, keys) as port:
        source = SftpDrops(account(tmp_path, port), "", PARTS, body_limit=10_000)
        intake = Intake(source, adapter(joined(), PATIENT + NEEDS), Limits())
        door = Door(sink, sink.take_change)
        await drain(Feed("county", intake, door, Books(books, tmp_path / "reports"), FeedPolicy(0.01, 0.02)))

    assert [len(bundle["entry"]) for bundle in sink.taken.values()] == [1, 2]
    assert {file.name for file in put_away(drop).iterdir()} == {"henkilot-1.csv", "tarpeet-1.csv", "valmis-1.ok"}
    assert {file.name for file in drop.iterdir() if file.is_file()} == {"tarpeet-2.csv", "henkilot-2.csv", "muut.txt"}


@pytest.mark.parametrize(
    ("names", "late"),
    [
        (("henkilot-1.csv", "tarpeet-1.csv"), "valmis-1.ok"),
        (("henkilot-1.csv", "tarpeet-2.csv", "valmis-1.ok"), "tarpeet-1.csv"),
        (("henkilot-1.csv", "tarpeet-1.csv.part", "valmis-1.ok"), "tarpeet-1.csv"),
    ],
)
async def test_drop_on_a_server_is_left_until_all_of_it_is_there(
    keys: asyncssh.SSHKey, tmp_path: Path, names: tuple[str, ...], late: str
) -> None:
    arrive(tmp_path / "drop", *names)
    async with serving(tmp_path / "drop", keys) as port:
        source = SftpDrops(account(tmp_path, port), "", PARTS, body_limit=10_000)
        assert await polled(source, 3) is None
        arrive(tmp_path / "drop", late)
        found = await polled(source)

    assert found is not None
    assert found.title == "1"


@pytest.mark.parametrize("moved", [(), ("henkilot-1.csv",)], ids=["none moved", "one moved"])
async def test_drop_that_was_cut_while_it_was_moved_is_taken_whole(
    keys: asyncssh.SSHKey, tmp_path: Path, moved: tuple[str, ...]
) -> None:
    drop = tmp_path / "drop"
    arrive(drop / "working" / "1", *moved)
    arrive(drop, *{"henkilot-1.csv", "tarpeet-1.csv", "valmis-1.ok"} - set(moved))
    async with serving(drop, keys) as port:
        source = SftpDrops(account(tmp_path, port), "", PARTS, body_limit=10_000)
        found = await polled(source, 1 if moved else 3)
        assert found is not None
        await source.finished(found)

    assert len(list(put_away(drop).iterdir())) == 3


async def test_drop_that_has_grown_while_it_was_read_is_read_again(keys: asyncssh.SSHKey, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    arrive(drop, "henkilot-1.csv", "tarpeet-1.csv", "valmis-1.ok")
    async with serving(drop, keys) as port:
        source = SftpDrops(account(tmp_path, port), "", PARTS, body_limit=10_000)
        first = await polled(source)
        assert first is not None
        arrive(drop / "working" / "1", "tarpeet-1.csv", text="more than before")
        await source.finished(first)
        second = await polled(source, 1)
        assert second is not None
        await source.finished(second)

    assert first.id != second.id
    assert (put_away(drop) / "tarpeet-1.csv").read_text() == "more than before"


async def test_drop_that_is_too_large_together_is_refused(keys: asyncssh.SSHKey, tmp_path: Path) -> None:
    arrive(tmp_path / "drop", "henkilot-1.csv", "tarpeet-1.csv", "valmis-1.ok", text="x" * 60)
    async with serving(tmp_path / "drop", keys) as port:
        source = SftpDrops(account(tmp_path, port), "", PARTS, body_limit=100)
        with pytest.raises(SourceError, match="100 bytes"):
            await polled(source)


SETTINGS = {
    "kind": "sftp",
    "name": "county",
    "adapter": "county-files",
    "subsystem": "FI-DEMO/GOV/9000001-1/vastaanotto",
    "host": "sftp.example.fi",
    "user": "node",
    "key": "key",
    "known_hosts": "known",
}


def test_settings_with_parts_are_a_source_of_drops_and_without_them_of_files() -> None:
    settings = TypeAdapter(SftpSource)
    files = settings.validate_python(SETTINGS)
    together = settings.validate_python({**SETTINGS, "parts": list(PARTS.patterns), "marker": PARTS.marker})

    assert isinstance(source_of(files, adapter(joined(), PATIENT + NEEDS), 100), SftpDrop)
    assert isinstance(source_of(together, adapter(joined(), PATIENT + NEEDS), 100), SftpDrops)
    with pytest.raises(ValidationError, match="name the files"):
        settings.validate_python({**SETTINGS, "marker": PARTS.marker})
