"""What a feed could not hand over, one report for each batch: a file of JSON lines that the source's keeper reads.

Each finding names the record's row and column, what is wrong and how to mend it, never the value. The last line counts:
`read = taken + rejected`. A report that was cut off is taken back to where the books say it was, so
that no line is lost and none stands there twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from adapters.sdk import Mapped
from gateway.person.held import held_as
from gateway.wire.problem_table import PROBLEMS
from gateway.wire.problems import ProblemError
from texts import OTHERWISE, Catalogue

_PIECE: Final = 64 * 1024


class Report:
    """The report of one batch."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.report.jsonl"

    def rewind(self, length: int) -> bool:
        """Keep the first `length` bytes and drop what was written after them; False if there were not so many."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            if os.fstat(descriptor).st_size < length:
                return False
            os.ftruncate(descriptor, length)
            os.fsync(descriptor)
            return True
        finally:
            os.close(descriptor)

    def append(self, lines: Iterable[Mapping[str, Any]]) -> int:
        """Write lines durably; gives the length of the report now."""
        with self.path.open("ab") as file:
            for line in lines:
                file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
            file.flush()
            os.fsync(file.fileno())
            return file.tell()

    def add(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Write lines durably to a report of messages, which no books know the length of. A line that was cut off is
        taken out: the message that it tells of was not answered, and comes again.
        """
        self.rewind(self._whole())
        self.append(lines)

    def _whole(self) -> int:
        """Where the last whole line ends. Read from the end: a day's report may be long."""
        if not self.path.exists():
            return 0
        with self.path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            while end:
                begin = max(0, end - _PIECE)
                file.seek(begin)
                found = file.read(end - begin).rfind(b"\n")
                if found >= 0:
                    return begin + found + 1
                end = begin
        return 0

    def rejected(self) -> int:
        """How many records the report tells of as rejected."""
        with self.path.open("rb") as file:
            return sum(orjson.loads(line).get("rejected_record") is True for line in file)


_TEXTS: Final = Catalogue("rejections")


def words_of(code: str, problem: ProblemError | None = None) -> dict[str, dict[str, str]]:
    """What is wrong and what mends it, in Finnish, Swedish and English. A problem says itself what it is in English."""
    known = code if f"{code}.is" in _TEXTS else "any"
    held = held_as(problem) if problem is not None else ""
    place = (problem.pointer if problem is not None else None) or "–"

    def said(part: str) -> dict[str, str]:
        text = _TEXTS[f"{known}.{part}"]
        return {
            language: words.format(title=PROBLEMS[code].title.in_language(language), held=held, place=place)
            if code in PROBLEMS
            else words
            for language, words in text.to_dict().items()
        }

    message, hint = said("is"), said("mends")
    if problem is not None:
        message[OTHERWISE] = problem.detail or message[OTHERWISE]
        hint[OTHERWISE] = problem.remedy or hint[OTHERWISE]
    return {"message": message, "hint": hint}


def rejection_line(mapped: Mapped, reason: str, problem: ProblemError | None = None) -> dict[str, Any]:
    """The line that says that a record was not handed over; its findings stand before it."""
    return {
        "rejected_record": True,
        "file": mapped.position.file,
        "row": mapped.position.row,
        "code": reason,
        **words_of(reason, problem),
    }
