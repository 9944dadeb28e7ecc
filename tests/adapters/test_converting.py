"""The loop that reads and maps a source: what it keeps of a small one, and that keys are compared in any."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import pytest

from adapters.converting import FEW, convert_with
from adapters.sdk import Finding, Limits, Manifest, Mapped, Position, Record, Rendered, Text

NAME = Text("x", "x", "x")


class Lines:
    """An adapter of lines `key value`, which counts how often it was read."""

    manifest = Manifest("lines", NAME, ("text/plain",))

    def __init__(self) -> None:
        self.readings = 0

    def read(self, stream: BinaryIO, limits: Limits) -> Iterator[Record | Finding]:
        self.readings += 1
        for number, line in enumerate(stream):
            key, value = line.decode().split()
            yield Record(key, {"value": value}, Position(row=number))

    def to_canonical(self, record: Record) -> Mapped:
        return Mapped(record.key, {"value": record.fields["value"]}, {}, (), record.position)

    def convert(self, stream: BinaryIO, limits: Limits) -> Iterator[Mapped]:
        return convert_with(self, stream, limits)

    def from_canonical(self, bundle: Mapping[str, Any]) -> Rendered:
        raise NotImplementedError


@pytest.mark.parametrize(("further", "readings"), [(0, 1), (FEW - 3, 1), (FEW - 2, 2), (200, 2)])
def test_records_of_one_key_that_differ_are_rejected_in_small_and_large_sources(further: int, readings: int) -> None:
    lines = ["a 1", "b 1", "A 2", *(f"more{number} 1" for number in range(further))]
    adapter = Lines()

    mapped = list(adapter.convert(io.BytesIO("\n".join(lines).encode()), Limits()))

    assert [record.key for record in mapped if record.bundle is None] == ["a", "A"]
    assert len(mapped) == len(lines)
    assert adapter.readings == readings
