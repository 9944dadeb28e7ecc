"""Read the cells of a sheet row by row, as values, and hold no more than a row.

How far a sheet reaches is measured on its own cells before any of them is read: its `dimension` is not believed, and
a lone cell in the farthest corner costs nothing but its refusal. What a cell cannot say (an error, a formula that was
never calculated, a date that is none) is UNREADABLE, never empty.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from math import isfinite
from typing import Any

from lxml import etree
from openpyxl.styles.numbers import BUILTIN_FORMATS_MAX_SIZE
from openpyxl.utils.cell import coordinate_to_tuple, range_boundaries
from openpyxl.worksheet._reader import WorkSheetParser

from adapters.limiting import LimitError
from adapters.sdk import UNREADABLE, Limits

_LAST_ROW = 1_048_576
_LAST_COLUMN = 16_384
#: Elements that one row may have, empty cells that are only formatted among them.
_ROW_ELEMENTS = 4 * _LAST_COLUMN
_PIECE = 64 * 1024
_NEVER = 60
_MIDNIGHT = 1 - 1e-5  # a second before
_KINDS = frozenset({"n", "s", "b", "d", "str", "inlineStr"})

# Warnings of openpyxl quote the value of a cell, and standard error is the log.
warnings.filterwarnings("ignore", module=r"openpyxl(\.|$)")


class DoctypeError(ValueError):
    """A sheet with a document type, which no program writes."""


@dataclass(frozen=True, slots=True)
class Area:
    """Cells that are merged into one, which shows what the first of them says."""

    row: int
    column: int
    last_row: int
    last_column: int


class _Measure:
    """Takes the events of a sheet's XML and keeps nothing but its merged areas. Raises LimitError, ValueError."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._row = 0
        self._column = 0
        self._elements = 0
        self.areas: list[Area] = []

    def start(self, tag: Any, attributes: Mapping[Any, Any]) -> None:
        """An element begins."""
        name = tag.rpartition("}")[2]
        if name == "row":
            self._row = int(attributes.get("r", self._row + 1))
            self._column = self._elements = 0
        elif name == "c":
            self._column = coordinate_to_tuple(attributes["r"])[1] if "r" in attributes else self._column + 1
        elif name in {"v", "f", "is"}:  # the cell holds something
            if self._column > self._limits.fields:
                raise LimitError("fields")
            if self._row > self._limits.records + 1:
                raise LimitError("records")
        elif name == "mergeCell":
            column, row, last_column, last_row = range_boundaries(attributes["ref"])
            # Whole columns or rows are written without the other half of their corners.
            self.areas.append(Area(row or 1, column or 1, last_row or _LAST_ROW, last_column or _LAST_COLUMN))
        self._elements += 1
        if self._row and self._elements > _ROW_ELEMENTS + len(self.areas):
            raise LimitError("fields")

    def end(self, tag: Any) -> None:
        """An element ends."""
        if tag.rpartition("}")[2] == "sheetData":
            self._row = 0

    def data(self, data: Any) -> None:
        """Text is measured with the part."""

    def doctype(self, *_: Any) -> None:
        """A document type begins."""
        raise DoctypeError

    def comment(self, _: Any) -> None:
        """A comment says nothing."""

    def close(self) -> None:
        """The end."""


def areas_of(part: Any, limits: Limits) -> list[Area]:
    """The merged areas of a sheet that keeps the limits, from above. Raises LimitError, ValueError, XMLSyntaxError."""
    measure = _Measure(limits)
    parser = etree.XMLParser(target=measure, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    while piece := part.read(_PIECE):
        parser.feed(piece)
    parser.close()
    return sorted(measure.areas, key=lambda area: area.row)


class _Cells(WorkSheetParser):  # only this reader shows each cell as it stands in the file
    zeros: Mapping[str, int]

    def parse_cell(self, element: Any) -> dict[str, Any]:
        try:
            cell: dict[str, Any] = super().parse_cell(element)
        except (ValueError, TypeError, LookupError, OverflowError):
            cell = {"row": self.row_counter, "column": self.col_counter, "value": UNREADABLE}
            if "r" in element.attrib:
                cell["column"] = coordinate_to_tuple(element.get("r"))[1]
        else:
            if _unreadable(cell, element):
                cell["value"] = UNREADABLE
            elif type(cell["value"]) is int and (digits := self.zeros.get(element.get("s"))):
                cell["value"] = f"{cell['value']:0{digits}d}"
        if cell["row"] != self.row_counter:
            raise ValueError("a cell that says that it is of another row")
        return cell


def _zeros(book: Any) -> Iterator[tuple[str, int]]:
    """The styles whose number format fills a number with zeros, and to how many digits: what stands on the screen is
    the customer number that people know.
    """
    for index, style in enumerate(book._cell_styles):
        at = style.numFmtId - BUILTIN_FORMATS_MAX_SIZE
        if 0 <= at < len(book._number_formats):
            written = str(book._number_formats[at])
            if len(written) > 1 and not written.strip("0"):
                yield str(index), len(written)


def _unreadable(cell: Mapping[str, Any], element: Any) -> bool:
    kind, value = element.get("t", "n"), cell["value"]
    if kind == "n" and isinstance(value, datetime) and not _is_day(element):
        return True
    if kind not in _KINDS or cell["data_type"] == "e" or (isinstance(value, float) and not isfinite(value)):
        return True
    # A formula whose result is the empty text says so by its kind; without a result it was never calculated.
    return value is None and kind != "str" and any(child.tag.endswith("}f") for child in element)


def _is_day(element: Any) -> bool:
    """Whether a number that is shown as a date says which day it is: not before the count of days begins, not the day
    that never was (60 is 29 February 1900), and not a hair before midnight, where programs round to different days.
    """
    written = next((child.text for child in element if child.tag.endswith("}v")), None)
    number = float(written or "nan")
    return number >= 0 and int(number) != _NEVER and number % 1 < _MIDNIGHT


def rows_of(sheet: Any, part: Any) -> Iterator[tuple[int, dict[int, Any]]]:
    """The rows of a sheet (of openpyxl, opened to be read only) from its part: number, and what its cells hold by
    column. Raises ValueError for rows or cells that are not in their order.
    """
    book = sheet.parent
    parser = _Cells(
        part,
        sheet._shared_strings,
        data_only=True,
        epoch=book.epoch,
        date_formats=book._date_formats,
        timedelta_formats=book._timedelta_formats,
    )
    parser.zeros = dict(_zeros(book))
    last = 0
    for number, cells in parser.parse():
        columns = [cell["column"] for cell in cells]
        if number <= last or any(left >= right for left, right in pairwise(columns)):
            raise ValueError("rows and cells stand in their order, each once")
        last = number
        yield number, {cell["column"]: cell["value"] for cell in cells if cell["value"] not in (None, "")}


class Merging:
    """Lets every row see what the merged cells above it and beside it show. Rows come from above."""

    def __init__(self, areas: list[Area], limits: Limits) -> None:
        self._waiting = areas[::-1]
        self._limits = limits
        self._active: list[tuple[Area, Any]] = []

    def fill(self, number: int, cells: dict[int, Any], width: int) -> dict[int, Any]:
        """The row with what its merged cells show, up to a column. Raises LimitError.

        Down its first column an area means the same for each row. What stands beside that, or hidden beneath it, was
        meant for nobody knows which column: it cannot be read.
        """
        self._active = [(area, value) for area, value in self._active if area.last_row >= number]
        while self._waiting and self._waiting[-1].row <= number:
            area = self._waiting.pop()
            if area.last_row >= number:
                self._active.append((area, cells.get(area.column) if area.row == number else None))
        if len(self._active) > self._limits.fields:
            raise LimitError("fields")
        filled = dict(cells)
        for area, value in self._active:
            for column in range(area.column, min(area.last_column, width) + 1):
                own = cells.get(column)
                if (area.row, area.column) == (number, column) or (own is None and value is None):
                    continue
                is_same = column == area.column and own in (None, value)
                filled[column] = value if is_same else UNREADABLE
        return filled
