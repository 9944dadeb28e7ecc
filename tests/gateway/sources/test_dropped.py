"""Several files as one drop: taken whole when all of it has arrived, never with a part of another, put away whole."""

from __future__ import annotations

import logging
import os
import zipfile
from pathlib import Path

import pytest

from adapters.sdk import Limits
from gateway.sources.batches import SourceError
from gateway.sources.dropped import DropDirectory
from gateway.sources.feed import Books, Feed, FeedPolicy, Intake
from gateway.sources.gathering import Parts
from gateway.sources.progress import Progress
from gateway.sources.taking import Door
from tests.adapters.test_drops import NEEDS
from tests.adapters.test_drops import source as joined
from tests.adapters.test_layouts import PATIENT, adapter
from tests.gateway.sources.conftest import Sink, drain

PARTS = Parts(("persons-*.csv", "needs-*.csv"), "export-*.ok")


@pytest.fixture
def sink() -> Sink:
    return Sink()


def directory(folder: Path, parts: Parts = PARTS, limit: int = 10_000) -> DropDirectory:
    return DropDirectory(folder, parts, body_limit=limit)


def arrive(folder: Path, *names: str, text: str = "x") -> None:
    for name in names:
        (folder / name).write_text(text)


def put_away(folder: Path) -> Path:
    """The one drop that was put away."""
    (kept,) = (folder / "done").glob("1-*")
    return kept


async def looked(source: DropDirectory, times: int = 3) -> list[str]:
    """The titles of what is found in so many looks, each put away."""
    found = []
    for _ in range(times):
        batch = await source.poll(None)
        if batch is not None:
            found.append(batch.title)
            await source.finished(batch)
    return found


@pytest.mark.parametrize(
    "names",
    [
        ("persons-1.csv",),
        ("persons-1.csv", "needs-1.csv"),
        ("persons-1.csv", "export-1.ok"),
        ("persons-1.csv", "needs-2.csv", "export-1.ok"),
        ("persons-1.csv", "needs-1.csv.part", "export-1.ok"),
        ("persons-1.csv", ".needs-1.csv", "export-1.ok"),
    ],
)
async def test_a_drop_is_left_until_all_of_it_is_there(tmp_path: Path, names: tuple[str, ...]) -> None:
    arrive(tmp_path, *names)

    assert await looked(directory(tmp_path)) == []
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == set(names)


@pytest.mark.parametrize("star", [".", ".."])
async def test_files_that_would_name_a_folder_around_them_are_no_drop_and_hold_up_nobody(
    tmp_path: Path, star: str
) -> None:
    arrive(tmp_path, f"persons-{star}.csv", f"needs-{star}.csv", f"export-{star}.ok")
    arrive(tmp_path, "persons-1.csv", "needs-1.csv", "export-1.ok")

    assert await looked(directory(tmp_path)) == ["1"]
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {
        f"persons-{star}.csv", f"needs-{star}.csv", f"export-{star}.ok"
    }  # fmt: skip


async def test_a_whole_drop_is_read_as_one_archive_and_put_away_whole(tmp_path: Path) -> None:
    arrive(tmp_path, "persons-1.csv", "needs-1.csv", "needs-2.csv", "export-1.ok", "other.txt")
    source = directory(tmp_path)
    assert await source.poll(None) is None

    batch = await source.poll(None)

    assert batch is not None
    with batch.opened() as stream, zipfile.ZipFile(stream) as archive:  # type: ignore[attr-defined]
        assert archive.namelist() == ["persons-1.csv", "needs-1.csv"]
    await source.finished(batch)
    assert {path.name for path in put_away(tmp_path).iterdir()} == {
        "persons-1.csv",
        "needs-1.csv",
        "export-1.ok",
    }
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"needs-2.csv", "other.txt"}


async def test_a_part_that_still_grows_holds_its_drop_and_no_other(tmp_path: Path) -> None:
    arrive(tmp_path, "persons-1.csv", "needs-1.csv", "export-1.ok", "persons-2.csv", "needs-2.csv", "export-2.ok")
    source = directory(tmp_path)
    await source.poll(None)
    arrive(tmp_path, "needs-1.csv", text="more than before")

    batch = await source.poll(None)

    assert batch is not None
    assert batch.title == "2"


async def test_a_node_that_was_killed_while_it_moved_a_drop_takes_it_whole(tmp_path: Path) -> None:
    arrive(tmp_path, "needs-1.csv", "export-1.ok")
    (tmp_path / "working" / "1").mkdir(parents=True)
    arrive(tmp_path / "working" / "1", "persons-1.csv")

    assert await looked(directory(tmp_path), 1) == ["1"]
    assert len(list(put_away(tmp_path).iterdir())) == 3


async def test_a_node_that_was_killed_before_it_moved_anything_takes_the_drop(tmp_path: Path) -> None:
    arrive(tmp_path, "persons-1.csv", "needs-1.csv", "export-1.ok")
    (tmp_path / "working" / "1").mkdir(parents=True)

    assert await looked(directory(tmp_path), 3) == ["1"]


async def test_a_drop_that_has_grown_while_it_was_read_is_read_again(tmp_path: Path) -> None:
    arrive(tmp_path, "persons-1.csv", "needs-1.csv", "export-1.ok")
    source = directory(tmp_path)
    await source.poll(None)
    first = await source.poll(None)
    assert first is not None
    arrive(tmp_path / "working" / "1", "needs-1.csv", text="more than before")

    await source.finished(first)
    second = await source.poll(None)

    assert second is not None
    assert second.id != first.id
    await source.finished(second)
    assert (put_away(tmp_path) / "needs-1.csv").read_text() == "more than before"


async def test_a_drop_that_was_begun_and_lost_a_part_is_told_and_not_read(tmp_path: Path) -> None:
    (tmp_path / "working" / "1").mkdir(parents=True)
    arrive(tmp_path / "working" / "1", "persons-1.csv", "export-1.ok")

    with pytest.raises(SourceError, match="lacks a part"):
        await directory(tmp_path).poll(None)


async def test_the_same_drop_has_the_same_identity_and_another_content_another(tmp_path: Path) -> None:
    ids = []
    for text in ("a", "a", "b"):
        arrive(tmp_path, "persons-1.csv", "needs-1.csv", "export-1.ok", text=text)
        source = directory(tmp_path)
        await source.poll(None)
        batch = await source.poll(None)
        assert batch is not None
        ids.append(batch.id)
        await source.finished(batch)

    assert ids[0] == ids[1] != ids[2]
    assert len(list((tmp_path / "done").iterdir())) == 3


async def test_persons_are_handed_over_with_their_rows_of_the_other_file(
    tmp_path: Path, books: Progress, sink: Sink
) -> None:
    arrive(tmp_path, "henkilot-1.csv", text="NRO;SUKU\nA1;Oja\nA2;Niemi\n")
    arrive(tmp_path, "tarpeet-1.csv", text="NRO;TARVE\nA2;housing\nA9;housing\n")
    parts = Parts(("henkilot-*.csv", "tarpeet-*.csv"))
    joining = adapter(joined(), PATIENT + NEEDS)
    taking = Door(sink, sink.take_change)
    intake = Intake(directory(tmp_path, parts), joining, Limits())
    feed = Feed("county", intake, taking, Books(books, tmp_path / "reports"), FeedPolicy(0.01, 0.02))

    await drain(feed)

    assert [len(bundle["entry"]) for bundle in sink.taken.values()] == [1, 2]
    assert sink.people == ["A1", "A2"]
    (report,) = (tmp_path / "reports").iterdir()
    assert put_away(tmp_path).name == f"1-{report.name.partition('.')[0]}"
    assert '"read":3,"taken":2,"rejected":1' in report.read_text("utf-8")


async def test_a_drop_that_never_comes_whole_is_told_once_without_its_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arrive(tmp_path, "persons-Liisa.csv")
    os.utime(tmp_path / "persons-Liisa.csv", (1_000_000_000, 1_000_000_000))

    with caplog.at_level(logging.WARNING, "yhdyspinta.sources"):
        await looked(directory(tmp_path))

    assert [record.message for record in caplog.records] == ["drop-incomplete"]
    assert "Liisa" not in str(caplog.records[0].__dict__)


async def test_what_the_star_of_a_drop_stands_for_is_told_nowhere(tmp_path: Path, books: Progress, sink: Sink) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    arrive(drop, "henkilot-010190-999X.csv", text="NRO;SUKU\nA1;Oja\n")
    arrive(drop, "tarpeet-010190-999X.csv", text="NRO;TARVE\nA9;housing\n")
    intake = Intake(
        directory(drop, Parts(("henkilot-*.csv", "tarpeet-*.csv"))), adapter(joined(), PATIENT + NEEDS), Limits()
    )

    await drain(Feed("county", intake, Door(sink, sink.take_change), Books(books, tmp_path / "reports"), FeedPolicy()))

    (report,) = (tmp_path / "reports").iterdir()
    assert "join-apart" in report.read_text("utf-8")
    assert "010190" not in report.name + report.read_text("utf-8")
    assert [path.name[:12] for path in (drop / "done").iterdir()] == ["010190-999X-"]


async def test_a_drop_that_is_too_large_is_refused_with_its_limit(tmp_path: Path) -> None:
    arrive(tmp_path, "persons-1.csv", "needs-1.csv", "export-1.ok", text="x" * 60)
    source = directory(tmp_path, limit=100)
    await source.poll(None)

    with pytest.raises(SourceError, match="100 bytes"):
        await source.poll(None)


async def test_a_single_file_with_a_marker_is_given_as_it_is(tmp_path: Path) -> None:
    arrive(tmp_path, "persons-1.csv", "persons-1.ok", text="NRO;SUKU")
    source = directory(tmp_path, Parts(("persons-*.csv",), "persons-*.ok"))
    await source.poll(None)

    batch = await source.poll(None)

    assert batch is not None
    assert batch.opened().read() == b"NRO;SUKU"  # type: ignore[attr-defined]
