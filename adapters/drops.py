"""Read tables that come in several files, as one ZIP archive: the records in one of them, their rows in the others.

A drop is read whole or not at all. Without its needs, or with those of another day, each record would say less than its
register does, or something else; so a part that is missing, there twice, of another day or not to be read stops all.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO

from adapters.csv_reader import CsvForm, read_csv
from adapters.joining import Joined, UnreadRowError, with_rows
from adapters.limiting import LimitedStream, LimitError, measure
from adapters.sdk import Finding, Limits, Position, Record
from adapters.texts import finding, over


class _PartError(ValueError):
    """A drop whose parts are not what they should be: the finding's code, and the pattern of the part."""

    def __init__(self, code: str, pattern: str) -> None:
        super().__init__(code)
        self.code = code
        self.pattern = pattern


def read_drop(stream: BinaryIO, form: CsvForm, limits: Limits, header: list[str]) -> Iterator[Record | Finding]:
    """The records of a drop, each with its rows of the other files. A place is a row of the records' file."""
    layout = form.layout
    try:
        data = io.BufferedReader(LimitedStream(stream, limits)).read()
        if not data.startswith(b"PK"):
            raise _PartError("part-missing", layout.joins[0].file)  # one of the files, without the others
        measure(data, limits)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            patterns = (layout.file, *(join.file for join in layout.joins))
            names, is_more = _parts(archive.namelist(), patterns)
            joined = []
            for join, name in zip(layout.joins, names[1:], strict=True):
                other = replace(form, key=join.on, layout=join.layout)
                joined.append(Joined(join, _read(archive.read(name), other, limits)))
            unread = (finding("warning", "not-read", Position(column="*")),) if is_more else ()
            yield from with_rows(read_csv(io.BytesIO(archive.read(names[0])), form, limits, header), joined, unread)
    except LimitError as error:
        yield over(error.limit, limits)
    except _PartError as error:
        yield finding("error", error.code, Position(column=error.pattern))
    except UnreadRowError as error:
        yield error.found
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError, EOFError):
        # An archive that is none, is cut, needs a password or is packed in a way that nobody knows.
        yield finding("error", "unreadable", Position())


def _read(data: bytes, form: CsvForm, limits: Limits) -> Iterator[Record | Finding]:
    """The rows of another file. Raises UnreadRowError: not even a header is no word that nobody has anything there."""
    header: list[str] = []
    for item in read_csv(io.BytesIO(data), form, limits, header):
        yield item if form.key in header or isinstance(item, Finding) else _lacking(form.key)
    if form.key not in header:
        yield _lacking(form.key)


def _lacking(column: str) -> Finding:
    return finding("error", "column-missing", Position(column=column))


def _parts(names: Sequence[str], patterns: Sequence[str]) -> tuple[list[str], bool]:
    """The member of an archive for each pattern, and whether there are others. What `*` stands for is the same in all
    names: `persons-20261128.csv` and `needs-20261127.csv` are of two days. Raises _PartError.
    """
    found: list[tuple[str, tuple[str, ...]]] = []
    for pattern in patterns:
        own = re.compile("(.*)".join(re.escape(part) for part in pattern.split("*")), re.IGNORECASE)
        fitting = [(name, match.groups()) for name in names if (match := own.fullmatch(name.rpartition("/")[2]))]
        if len(fitting) != 1:
            raise _PartError("part-twice" if fitting else "part-missing", pattern)
        if found and fitting[0][1] != found[0][1]:
            raise _PartError("part-of-another", pattern)
        found += fitting
    chosen = [name for name, _ in found]
    return chosen, any(name not in chosen and not name.endswith("/") for name in names)
