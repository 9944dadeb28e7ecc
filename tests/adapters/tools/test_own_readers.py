"""A reader in Python: the page's example does what it says, and what one loses is found in the raw sample."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from adapters.mapped import MappedAdapter
from adapters.sdk import Finding, Limits, Manifest, Mapped, Record, Text
from adapters.sdk.counting import unread
from adapters.sdk.testing import CHECKS, Package
from tests.adapters.test_layouts import PATIENT, ROWS, Made
from tests.adapters.tools.documents import DOCS, blocks

PAGE = {
    block.language: block.text for block in blocks(DOCS / "wild-exports.md") if block.heading == "A reader in Python"
}
MANIFEST = Manifest("blocks", Text("x", "x", "x"), ("text/plain",))
NOTHING_LOST = next(check for check in CHECKS if check.name == "nothing-lost")


@pytest.fixture
def blocks_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    package = tmp_path / "wild_blocks"
    package.mkdir()
    (package / "__init__.py").write_text(PAGE["python"], "utf-8")
    (package / "mapping.yaml").write_text(PAGE["yaml"], "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("wild_blocks", None)
    import wild_blocks  # type: ignore[import-not-found]

    yield wild_blocks.Blocks
    sys.modules.pop("wild_blocks", None)


def lost(adapter: MappedAdapter, folder: Path, text: str) -> list[str]:
    sample = folder / "sample.txt"
    sample.write_text(text, "utf-8")
    return list(NOTHING_LOST.faults(Package(folder, "blocks", "blocks", adapter, (sample,), ())))


def test_the_example_reads_each_block_as_a_person_and_tells_of_what_it_cannot_read(blocks_adapter: Any) -> None:
    adapter = blocks_adapter(MANIFEST, "wild_blocks", "mapping.yaml")

    found: list[Mapped] = list(adapter.convert(io.BytesIO(PAGE["text"].encode()), Limits()))
    torn: list[Mapped] = list(adapter.convert(io.BytesIO(b"NRO: A1\nSUKU: Oja\nTURVAKIELTO K\n"), Limits()))

    assert [(item.key, len(item.bundle["entry"])) for item in found if item.bundle] == [("A1001", 2), ("A1002", 1)]
    assert [item.bundle for item in torn] == [None]
    assert ("unreadable", 3) in [(told.code, told.position.row) for told in torn[0].findings]


def test_the_example_loses_nothing_of_its_sample(blocks_adapter: Any, tmp_path: Path) -> None:
    assert lost(blocks_adapter(MANIFEST, "wild_blocks", "mapping.yaml"), tmp_path, PAGE["text"]) == []


def test_a_line_that_the_example_would_skip_is_found_in_the_raw_sample(blocks_adapter: Any, tmp_path: Path) -> None:
    class Skipping(blocks_adapter):  # type: ignore[misc]
        def read(self, stream: BinaryIO, limits: Limits) -> Iterator[Record | Finding]:
            yield from (item for item in super().read(stream, limits) if item.position.row == 1)

    (fault, *_) = lost(Skipping(MANIFEST, "wild_blocks", "mapping.yaml"), tmp_path, PAGE["text"])

    assert "row 5" in fault
    assert "Niemi" not in fault


class Dropping(Made):
    """Loses a person, in silence."""

    person = ""

    def read(self, stream: BinaryIO, limits: Limits) -> Iterator[Record | Finding]:
        for item in super().read(stream, limits):
            if not isinstance(item, Record) or item.key != self.person:
                yield item


@pytest.mark.parametrize(
    ("source", "data"),
    [
        ('{format: csv, encoding: [utf-8-sig, iso-8859-15], delimiter: ";", key: NRO}', ROWS.replace("Oja", "Öhmän")),
        ("{format: json, key: NRO}", '[{"NRO": "A1", "SUKU": "Äijälä"}, {"NRO": "A2", "SUKU": "Öhmän"}]'),
    ],
    ids=["csv", "json"],
)
def test_a_person_whom_a_reader_drops_is_found_whatever_the_format(source: str, data: str) -> None:
    made = Dropping(f"mapping: made\nversion: 1\nsource: {source}\n{PATIENT}")
    assert unread(made, data.encode()) == []

    made.person = "A2"

    assert len(unread(made, data.encode())) == 1


def test_titles_and_headers_above_the_records_are_no_loss() -> None:
    class Titled(Made):
        def read(self, stream: BinaryIO, limits: Limits) -> Iterator[Record | Finding]:
            stream.readline()
            for item in super().read(stream, limits):
                if isinstance(item, Record):
                    number, family, town = item.fields.values()
                    yield Record(item.key, {"a": number, "b": family, "c": town}, item.position)

    made = Titled(
        'mapping: made\nversion: 1\nsource: {format: csv, encoding: [utf-8], delimiter: ";", key: NRO}\n' + PATIENT
    )
    data = b"Siirtolista\nNRO;SUKU;KAUPUNKI\nA1001;Azimi;Kotka\nA1002;Ovar;Kouvola\n"

    assert unread(made, data) == []
