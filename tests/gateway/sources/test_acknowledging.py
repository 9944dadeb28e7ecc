"""What answers say: codes and places that are known, so many of them, each under a number of its own."""

from __future__ import annotations

from datetime import UTC, datetime

from adapters.hl7_heads import Head, Heads
from adapters.sdk import Finding, Limits, Position, Text
from gateway.sources.acknowledging import TAKEN, Answer, Answered, Fault, acknowledgement, rejection

NOW = datetime(2026, 11, 28, 8, 0, tzinfo=UTC)


def finding(code: str, place: str = "PID-7", severity: str = "error") -> Finding:
    words = Text("", "", "")
    return Finding(severity, code, Position("", 1, place), None, words, words)  # type: ignore[arg-type]


def segments(answers: list[Answer], *numbers: str) -> list[list[str]]:
    written = acknowledgement(Heads(tuple(map(Head, numbers))), answers, "N", NOW).decode("ascii")
    return [segment.split("|") for segment in written.split("\r")]


def test_a_place_that_is_no_field_is_not_told() -> None:
    answer = rejection(
        "not-mapped", [finding("date-form", "Salainen^Liisa"), finding("date-form", "PID-7 Salainen")], Limits()
    )

    told = segments([answer], "M1")

    assert [fields[2] for fields in told if fields[0] == "ERR"] == ["", ""]
    assert "Salainen" not in str(told)


def test_what_was_found_without_harm_is_no_reason_of_a_rejection() -> None:
    answer = rejection("not-mapped", [finding("column-unknown", severity="warning"), finding("date-form")], Limits())

    assert [fault.code for fault in answer.faults] == ["date-form"]


def test_a_rejection_tells_ten_reasons_at_most_and_one_at_least() -> None:
    assert len(rejection("not-mapped", [finding("date-form")] * 20, Limits()).faults) == 10
    assert rejection("not-mapped", [], Limits()) == Answer(Answered.ERROR, (Fault("not-mapped"),))


def test_each_answer_of_a_batch_has_a_number_of_its_own() -> None:
    told = segments([TAKEN, TAKEN], "M1", "M2")

    assert [fields[9] for fields in told if fields[0] == "MSH"] == ["N-1", "N-2"]
