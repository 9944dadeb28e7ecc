"""A watched directory: each file once, whole, in order, and put away."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from gateway.sources.directory import Directory
from gateway.sources.progress import Progress
from gateway.wire.problems import ProblemError
from schemas.identifiers import MIGRI_CUSTOMER
from tests.adapters.test_hl7_escapes import message
from tests.gateway.sources.conftest import Sink, drain, export, feed_of
from tests.waiting import until


def lines(folder: Path) -> list[dict[str, object]]:
    (report,) = folder.glob("*.report.jsonl")
    return [json.loads(line) for line in report.read_text("utf-8").splitlines()]


async def test_each_file_is_read_once_and_put_away(books: Progress, tmp_path: Path) -> None:
    drop, sink = tmp_path / "drop", Sink()
    drop.mkdir()
    (drop / "monday.csv").write_bytes(export(["A1", "A2"]))
    feed = feed_of(Directory(drop, "*.csv"), sink, books, tmp_path / "reports")

    await drain(feed)
    (drop / "tuesday.csv").write_bytes(export(["A2", "A3"]))
    await drain(feed)

    assert sink.people == ["A1", "A2", "A3"]
    reports = [path.name.partition(".")[0] for path in (tmp_path / "reports").iterdir()]
    kept = sorted(path.name for path in (drop / "done").iterdir())
    assert [name.partition("-")[0] for name in kept] == ["monday", "tuesday"]
    assert sorted(name.partition("-")[2] for name in kept) == sorted(f"{report}.csv" for report in reports)
    assert not list((drop / "working").iterdir())


async def test_a_changed_record_is_handed_over_anew_and_an_unchanged_one_is_not(
    books: Progress, tmp_path: Path
) -> None:
    drop, sink = tmp_path / "drop", Sink()
    drop.mkdir()
    feed = feed_of(Directory(drop), sink, books, tmp_path / "reports")

    (drop / "one.csv").write_bytes(export(["A1"]))
    await drain(feed)
    (drop / "two.csv").write_bytes(export(["A1"], born="6.2.1990"))
    await drain(feed)
    (drop / "three.csv").write_bytes(export(["A1"]))
    await drain(feed)

    assert sink.people == ["A1", "A1"]


async def test_a_file_that_is_still_being_written_is_left_alone(books: Progress, tmp_path: Path) -> None:
    drop, sink = tmp_path / "drop", Sink()
    drop.mkdir()
    whole = export(["A1", "A2"])
    feed = feed_of(Directory(drop), sink, books, tmp_path / "reports")

    for end in range(10, len(whole), 40):
        (drop / "growing.csv").write_bytes(whole[:end])
        assert not await feed.step()
    (drop / "growing.csv").write_bytes(whole)
    (drop / "later.csv.part").write_bytes(whole)
    (drop / ".hidden").write_bytes(whole)
    await drain(feed)

    assert sink.people == ["A1", "A2"]
    assert sorted(one.name for one in drop.iterdir() if one.is_file()) == [".hidden", "later.csv.part"]


async def test_a_file_that_grew_while_it_was_read_is_read_again_whole(books: Progress, tmp_path: Path) -> None:
    drop, sink = tmp_path / "drop", Sink()
    drop.mkdir()
    first, whole = export(["A1", "A2"]), export(["A1", "A2", "A3", "A4"])
    (drop / "stalled.csv").write_bytes(first)
    source = Directory(drop)
    assert await source.poll(None) is None
    batch = await source.poll(None)
    assert batch is not None

    (drop / "working" / "stalled.csv").write_bytes(whole)  # its writer had it open all the time
    await source.finished(batch)
    assert not list((drop / "done").iterdir())
    await drain(feed_of(source, sink, books, tmp_path / "reports"))

    assert sink.people == ["A1", "A2", "A3", "A4"]
    (kept,) = (drop / "done").iterdir()
    assert kept.read_bytes() == whole


async def test_what_was_rejected_is_told_in_the_report_and_counted(books: Progress, tmp_path: Path) -> None:
    drop, sink = tmp_path / "drop", Sink()
    sink.refuse["A3"] = ProblemError("record-invalid", detail="the record breaks the schema", remedy="mend it")
    drop.mkdir()
    whole = export(["A1", "A2", "A3", "A4"]).splitlines(keepends=True)
    content = b"".join(line.replace(b"5.2.1990", b"bad-day") if b";A2;" in line else line for line in whole)
    (drop / "dirty.csv").write_bytes(content)

    await drain(feed_of(Directory(drop), sink, books, tmp_path / "reports"))

    told = lines(tmp_path / "reports")
    assert sink.people == ["A1", "A4"]
    assert [(one["row"], one["code"]) for one in told if one.get("rejected_record")] == [
        (3, "not-mapped"),
        (4, "record-invalid"),
    ]
    assert [one["code"] for one in told if one.get("column") == "SYNTYMAAIKA"] == ["date-form"]
    assert told[-1] == {"summary": True, "read": 4, "taken": 2, "rejected": 2}
    assert "bad-day" not in json.dumps(told)


async def test_a_node_that_cannot_decide_makes_the_feed_wait_and_loses_nothing(books: Progress, tmp_path: Path) -> None:
    drop, sink = tmp_path / "drop", Sink(stop_after=40)
    drop.mkdir()
    people = [f"A{number}" for number in range(100)]
    (drop / "many.csv").write_bytes(export([*people, "A5"]))
    feed = feed_of(Directory(drop), sink, books, tmp_path / "reports")

    with pytest.raises(ProblemError, match="too old"):
        await drain(feed)
    sink.stop_after = None
    again = feed_of(Directory(drop), sink, books, tmp_path / "reports")
    await drain(again)

    told = lines(tmp_path / "reports")
    assert sorted(sink.people) == sorted(people)
    assert sink.calls < 2 * len(people), "the groups that were done are not worked again"
    assert [one["code"] for one in told if "column" in one] == ["duplicate-key"]
    assert told[-1] == {"summary": True, "read": 101, "taken": 100, "rejected": 1}


async def test_two_files_of_one_name_are_both_kept(books: Progress, tmp_path: Path) -> None:
    drop, sink = tmp_path / "drop", Sink()
    drop.mkdir()
    feed = feed_of(Directory(drop), sink, books, tmp_path / "reports")

    for number in ("A1", "A2"):
        (drop / "export.csv").write_bytes(export([number]))
        await drain(feed)

    (drop / "export.csv").write_bytes(export(["A2"]))
    await drain(feed)

    assert sink.people == ["A1", "A2"]
    assert len(list((drop / "done").iterdir())) == 3, "and one that comes again as it was"


@pytest.mark.parametrize(
    "name", ["Virtanen 010190-999X.csv", "010190A999X.csv", "M\udce4ki 010190-999X.csv", "x" * 251 + ".csv"]
)
async def test_name_of_a_file_is_told_nowhere(
    books: Progress, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    drop, sink = tmp_path / "drop", Sink()
    drop.mkdir()
    (drop / name).write_bytes(export(["A1"], born="bad-day"))

    with caplog.at_level(logging.DEBUG):
        await drain(feed_of(Directory(drop), sink, books, tmp_path / "reports"))

    (report,) = (tmp_path / "reports").iterdir()
    (kept,) = (drop / "done").iterdir()
    told = report.name + report.read_text("utf-8") + " ".join(str(record.__dict__) for record in caplog.records)
    assert not any(part in told for part in ("Virtanen", "010190", "999X", "ki ", "xxx"))
    assert kept.stem.endswith(f"-{report.name.partition('.')[0]}"), "by which the file of a report is found"
    assert kept.stem[0] == name[0]
    assert {line["file"] for line in lines(tmp_path / "reports") if "file" in line} == {report.name.partition(".")[0]}


async def test_report_that_was_taken_away_is_written_anew_and_nothing_is_doubled(
    books: Progress, tmp_path: Path
) -> None:
    drop, sink = tmp_path / "drop", Sink(stop_after=40)
    drop.mkdir()
    people = [f"A{number}" for number in range(100)]
    (drop / "many.csv").write_bytes(export(["A5", *people]))
    with pytest.raises(ProblemError):
        await drain(feed_of(Directory(drop), sink, books, tmp_path / "reports"))
    (report,) = (tmp_path / "reports").iterdir()
    report.unlink()
    sink.stop_after = None

    await drain(feed_of(Directory(drop), sink, books, tmp_path / "reports"))

    told = lines(tmp_path / "reports")
    assert sorted(sink.people) == sorted(people)
    assert [line["code"] for line in told if "column" in line] == ["duplicate-key"]
    assert told[-1] == {"summary": True, "read": 101, "taken": 100, "rejected": 1}


async def test_a_running_feed_reads_what_is_put_there(books: Progress, tmp_path: Path) -> None:
    drop, sink = tmp_path / "drop", Sink()
    drop.mkdir()
    feed = feed_of(Directory(drop), sink, books, tmp_path / "reports")
    feed.start()
    (drop / "live.csv").write_bytes(export(["A1"]))

    await until(lambda: sink.people == ["A1"])
    await feed.stop()

    assert sink.people == ["A1"]


async def test_a_record_that_was_taken_back_comes_to_the_door_as_that_and_is_in_the_report(
    books: Progress, tmp_path: Path
) -> None:
    drop, sink = tmp_path / "drop", Sink()
    drop.mkdir()
    (drop / "deleted.hl7").write_bytes(message().replace(b"REF^I12^REF_I12", b"ADT^A29"))
    feed = feed_of(Directory(drop), sink, books, tmp_path / "reports", "county-hl7")

    await drain(feed)

    assert [change.identifiers for change in sink.changes] == [((MIGRI_CUSTOMER, "A-77"),)]
    assert sink.people == []
    told = lines(tmp_path / "reports")
    assert [line.get("code") or line.get("change") for line in told] == ["client-withdrawn", "client-withdrawn", None]
    assert told[-1] == {"summary": True, "read": 1, "taken": 1, "rejected": 0}
