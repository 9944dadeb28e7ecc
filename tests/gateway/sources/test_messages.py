"""HL7 messages at the node's door: answered as taken when they are on record, once, and never with what they say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from sqlalchemy import Engine

from adapters.sdk import AdapterError, Limits, Mapped, load
from audit.log.log import LogError
from gateway.sources.frames import BEGIN, CLOSE, framed
from gateway.sources.messages import MOST, Messages
from gateway.sources.progress import Progress
from gateway.sources.taking import Door, Taking
from gateway.sources.window import Window
from gateway.wire.problems import ProblemError
from tests.gateway.sources.conftest import Sink, clock
from tests.gateway.sources.hl7 import batch, codes, message, said


@dataclass
class Hall:
    """A source's messages with a door that is a table."""

    messages: Messages
    sink: Sink
    folder: Path
    now: list[datetime] = field(default_factory=lambda: [clock()])

    async def send(self, body: bytes, sender: str = "kanta") -> str:
        answer = await self.messages.answer(sender, framed(body), load("county-hl7"))
        return answer.removeprefix(BEGIN).removesuffix(CLOSE).decode()

    def report(self) -> list[dict[str, Any]]:
        return [
            json.loads(line) for path in self.folder.glob("*.jsonl") for line in path.read_text("utf-8").splitlines()
        ]


@pytest.fixture
def hall(books: Progress, engine: Engine, tmp_path: Path) -> Hall:
    return opened(books, engine, tmp_path)


ALL = Limits()


def opened(books: Progress, engine: Engine, folder: Path, sink: Sink | None = None, limits: Limits = ALL) -> Hall:
    sink, now = sink or Sink(), [clock()]
    window = Window("county", engine, books._log, hashes, 3600.0)
    taking = Taking("county", Door(sink, sink.take_change))
    return Hall(Messages(taking, window, folder / "reports", limits, lambda: now[0]), sink, folder / "reports", now)


def hashes(purpose: str, *parts: bytes) -> tuple[str, ...]:
    return (f"{abs(hash((purpose, parts))):064x}", "0" * 64)


async def test_a_message_that_is_on_record_is_taken_and_told_by_its_number(hall: Hall) -> None:
    answer = await hall.send(message("M1"))

    assert said(answer) == ["AA M1"]
    assert hall.sink.people == ["C-1"]
    assert answer.split("\r")[0].split("|")[8:12] == ["ACK", answer.split("\r")[0].split("|")[9], "P", "2.5.1"]


async def test_a_sender_of_the_enhanced_mode_is_told_of_the_commit(hall: Hall) -> None:
    assert said(await hall.send(message("M1", accept="AL"))) == ["CA M1"]
    assert said(await hall.send(message("M2", accept="AL", mode="T"))) == ["CR M2"]
    assert said(await hall.send(message("M3", accept="NE"))) == ["AA M3"]


async def test_a_message_that_comes_again_is_taken_once_though_its_moment_differs(hall: Hall) -> None:
    first = await hall.send(message("M1"))
    again = await hall.send(message("M1", at="20261128090000"))

    assert said(first) == said(again) == ["AA M1"]
    assert hall.sink.calls == 1


async def test_a_message_that_comes_again_does_not_undo_a_newer_one(hall: Hall) -> None:
    for body in (message("M1"), message("M2", event="A23"), message("M1")):
        await hall.send(body)

    assert (hall.sink.calls, len(hall.sink.changes)) == (1, 1)


async def test_another_message_of_a_number_is_refused(hall: Hall) -> None:
    await hall.send(message("M1"))

    answer = await hall.send(message("M1", "C-2"))

    assert (said(answer), codes(answer)) == (["AE M1"], ["control-reused"])
    assert hall.sink.people == ["C-1"]
    assert [line["code"] for line in hall.report() if "code" in line] == ["control-reused"]


async def test_two_senders_number_their_messages_each_for_itself(hall: Hall) -> None:
    await hall.send(message("M1"))

    assert said(await hall.send(message("M1", "C-2"), sender="lab")) == ["AA M1"]
    assert hall.sink.people == ["C-1", "C-2"]


async def test_a_number_is_known_for_as_long_as_the_window_says_and_after_a_restart(
    hall: Hall, books: Progress, engine: Engine, tmp_path: Path
) -> None:
    await hall.send(message("M1"))
    later = opened(books, engine, tmp_path, hall.sink)

    later.now[0] = clock() + timedelta(seconds=3599)
    assert codes(await later.send(message("M1", "C-2"))) == ["control-reused"]
    later.now[0] = clock() + timedelta(seconds=3601)
    assert said(await later.send(message("M1", "C-2"))) == ["AA M1"]


#: Around what a record may be, and around what is read at once.
TOO_LONG = (Limits().row_characters, 300_000, 900_000)


async def test_the_separators_of_newer_versions_are_read(hall: Hall) -> None:
    newer = message("M1", "C-1").replace(b"^~\\&|", b"^~\\&#|", 1)

    assert said(await hall.send(newer)) == ["AA M1"]


async def test_a_limit_is_named_in_the_answer(hall: Hall) -> None:
    answer = await hall.send(message("M1") + b"OBX|1|ED|X||" + b"A" * 300_000 + b"\r")

    assert f"row_characters ({Limits().row_characters})" in answer


@pytest.mark.parametrize("told", [b"2", b"x", b"9" * 5000], ids=["two", "x", "endless"])
async def test_a_file_of_another_number_of_batches_is_not_taken(hall: Hall, told: bytes) -> None:
    batch = b"FHS|^~\\&\rBHS|^~\\&\r" + message("M1", "C-1") + b"BTS|1\rFTS|"

    assert codes(await hall.send(batch + told + b"\r")) == ["batch-differs"]
    assert said(await hall.send(batch + b"1\r")) == ["AA M1"]


@pytest.mark.parametrize(
    ("body", "outcome", "code"),
    [
        (message("M1", mode="T"), "AR M1", "not-production"),
        (message("M1", event="A40"), "AR M1", "message-type"),
        (message("", "C-1"), "AR", "control-missing"),
        (b"PID|1||C-1^^^MIGRI^PI||Salainen^Liisa\r", "AR", "control-missing"),
        (b"Liisa Salainen\r", "AR", "control-missing"),
        (message("M1").replace(b"^", b"$"), "AR", "control-missing"),
        (message("M1").replace(b"^~\\&", b"^~\\&*"), "AR", "control-missing"),
        *((message("M1") + b"OBX|1|ED|X||" + b"A" * size + b"\r", "AE M1", "limit-exceeded") for size in TOO_LONG),
        (message("M1") + b"OBX|1|ST|X||1\r" * 20_000, "AE M1", "limit-exceeded"),
        (message("M1") + b"NK1|1|" + b"A^B&C~" * 50_000 + b"\r", "AE M1", "limit-exceeded"),
        (message("M1", number="C" * 300_000), "AE M1", "limit-exceeded"),
        (b"", "AR", "no-message"),
        (message("M1", born="19901399"), "AE M1", "date-form"),
        (message("M1", number=""), "AE M1", "field-missing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_is_not_taken_is_told_with_a_code_and_stands_in_the_report(
    hall: Hall, body: bytes, outcome: str, code: str
) -> None:
    answer = await hall.send(body)

    assert said(answer) == [outcome]
    assert code in codes(answer)
    assert hall.sink.taken == {}
    number = answer.split("|")[9]
    assert {line["answer"] for line in hall.report()} == {number}


async def test_an_answer_names_the_field_and_nothing_of_what_stands_in_it(hall: Hall) -> None:
    answer = await hall.send(message("M1", "0101900-XYZ", name="Salainen^Liisa", born="Salainen"))

    assert "PID^1^7" in answer
    for personal in ("Salainen", "Liisa", "0101900"):
        assert personal not in answer
        assert personal not in json.dumps(hall.report())


async def test_a_node_that_cannot_decide_refuses_nothing_for_good(hall: Hall) -> None:
    hall.sink.stop_after = 0

    answer = await hall.send(message("M1"))
    hall.sink.stop_after = None

    assert (said(answer), codes(answer)) == (["AR M1"], ["not-now"])
    assert said(await hall.send(message("M1"))) == ["AA M1"]


@pytest.mark.parametrize("error", [LogError("the log is full"), OSError("no disk")])
async def test_a_node_that_cannot_keep_anything_refuses_nothing_for_good(
    books: Progress, engine: Engine, tmp_path: Path, error: Exception
) -> None:
    class Failing(Sink):
        async def __call__(self, mapped: Mapped, key: str) -> bool:
            raise error

    hall = opened(books, engine, tmp_path, Failing())

    assert codes(await hall.send(message("M1"))) == ["not-now"]


class Copies:
    """An adapter that makes so many records of each message, or ends instead."""

    def __init__(self, copies: int | None) -> None:
        self._adapter = load("county-hl7")
        self._copies = copies
        self.manifest = self._adapter.manifest

    def convert(self, stream: BinaryIO, limits: Limits) -> Iterator[Mapped]:
        if self._copies is None:
            raise AdapterError("its reader is gone")
        for mapped in self._adapter.convert(stream, limits):
            yield from [mapped] * self._copies


@pytest.mark.parametrize(("copies", "code"), [(0, "no-message"), (2, "no-message"), (None, "not-now")])
async def test_of_one_message_one_record_is_taken_or_nothing(hall: Hall, copies: int | None, code: str) -> None:
    answer = (await hall.messages.answer("kanta", framed(message("M1")), Copies(copies))).decode()

    assert codes(answer) == [code]
    assert hall.sink.taken == {}


async def test_a_record_that_the_node_refuses_is_an_error_and_may_be_mended_under_its_number(hall: Hall) -> None:
    hall.sink.refuse["C-1"] = ProblemError("subject-ambiguous", detail="two people")

    refused = await hall.send(message("M1"))
    hall.sink.refuse.clear()

    assert (said(refused), codes(refused)) == (["AE M1"], ["subject-ambiguous"])
    assert said(await hall.send(message("M1"))) == ["AA M1"]


async def test_a_report_that_cannot_be_written_is_no_answer_of_success(hall: Hall) -> None:
    hall.folder.parent.joinpath("reports").write_text("in the way")

    assert codes(await hall.send(message("M1", event="A23"))) == ["not-now"]


async def test_a_client_that_is_withdrawn_is_a_change(hall: Hall) -> None:
    assert said(await hall.send(message("M1", event="A29"))) == ["AA M1"]
    assert [change.kind.value for change in hall.sink.changes] == ["client-withdrawn"]


async def test_each_message_of_a_batch_has_its_answer(hall: Hall) -> None:
    body = batch(message("M1"), message("M2", "C-2", born="x"), message("M3", "C-3"))

    answer = await hall.send(body)

    assert said(answer) == ["AA M1", "AE M2", "AA M3"]
    assert answer.startswith("BHS|")
    assert answer.endswith("BTS|3\r")
    assert "|B-7\r" in answer
    assert hall.sink.people == ["C-1", "C-3"]
    number = answer.split("|")[10]
    assert {(line["sender"], line["answer"]) for line in hall.report()} == {("kanta", f"{number}-2")}
    assert [line["file"] for line in hall.report() if line.get("rejected_record")] == ["kanta"]
    assert said(await hall.send(body)) == ["AA M1", "AE M2", "AA M3"]
    assert hall.sink.calls == 2


@pytest.mark.parametrize("is_batch", [True, False])
@pytest.mark.parametrize("most", [MOST, 3], ids=["at all", "by the settings"])
async def test_of_more_messages_than_a_frame_may_hold_none_is_taken(
    books: Progress, engine: Engine, tmp_path: Path, most: int, is_batch: bool
) -> None:
    hall = opened(books, engine, tmp_path, limits=Limits(records=most))
    many = [message(f"M{number}", f"C-{number}") for number in range(most + 2)]

    answer = await hall.send(batch(*many) if is_batch else b"".join(many))

    assert (said(answer), codes(answer)) == (["AE"], ["batch-too-long"])
    assert hall.sink.people == []
    assert [line["code"] for line in hall.report()] == ["batch-too-long"]
    if most == 3:
        assert said(await hall.send(batch(*many[:most]))) == ["AA M0", "AA M1", "AA M2"]


@pytest.mark.parametrize(
    "body",
    [
        batch(message("M1"), message("M2", "C-2"), count=3),
        batch(message("M1"), message("M2", "C-2")).rpartition(b"BTS")[0],
        batch(message("M1"), count=2),
    ],
)
async def test_of_a_batch_that_does_not_hold_what_it_says_nothing_is_taken(hall: Hall, body: bytes) -> None:
    answer = await hall.send(body)

    assert {line.split()[0] for line in said(answer)} == {"AE"}
    assert set(codes(answer)) == {"batch-differs"}
    assert hall.sink.taken == {}


@pytest.mark.parametrize(
    "body",
    [
        batch(message("M1")) + batch(message("M2", "C-2")),
        batch(message("M1")) + message("M2", "C-2"),
        message("M1") + batch(message("M2", "C-2")),
        b"BHS|^~\\&|A\r" + message("M1") + b"BHS|^~\\&|A\r" + message("M2", "C-2") + b"BTS|2\r",
        b"BHS|^~\\&|A\r" + message("M1") + b"BTS\r" + message("M2", "C-2"),
    ],
    ids=["two", "a message after one", "a message before one", "one in another", "an end without a number"],
)
async def test_of_several_batches_in_a_frame_nothing_is_taken_and_each_message_is_told(hall: Hall, body: bytes) -> None:
    answer = await hall.send(body)

    assert said(answer) == ["AE M1", "AE M2"]
    assert set(codes(answer)) == {"batch-several"}
    assert hall.sink.taken == {}
    assert [line["code"] for line in hall.report()] == ["batch-several"] * 2
    assert "B-7" not in answer, "the number of one of them would be said of both"


async def test_a_line_of_the_report_that_was_cut_off_is_taken_out(hall: Hall) -> None:
    await hall.send(message("M1", mode="T"))
    (path,) = hall.folder.glob("*.jsonl")
    with path.open("ab") as file:
        file.write(b'{"code": "cut')

    await hall.send(message("M2", mode="T"))

    assert len({line["answer"] for line in hall.report()}) == 2


def test_a_reader_is_not_believed_that_a_code_is_one() -> None:
    from adapters.sdk import Finding, Position, Text
    from gateway.sources.acknowledging import rejection

    words = Text("", "", "")
    fault = Finding("error", "Liisa Salainen", Position("", 1, "Salainen|Liisa"), None, words, words)

    assert [found.code for found in rejection("not-mapped", (fault,), Limits()).faults] == ["not-mapped"]
