"""Read and write XLSX workbooks: a sheet whose first row is its header, each further row a record.

A workbook is a ZIP archive: how far its parts unpack is measured before anything of it is read as a sheet. Cells are
read as values, never as formulas, and written as text, never as formulas.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, BinaryIO

import openpyxl
import python_calamine
from openpyxl.cell import WriteOnlyCell

from adapters.limiting import LimitedStream, LimitError
from adapters.sdk import Finding, Limits, Position, Record
from adapters.texts import finding, over

_PIECE = 64 * 1024


@dataclass(frozen=True, slots=True)
class XlsxForm:
    """How a workbook is laid out: the sheet that holds the records, and the column that is a record's key."""

    sheet: str
    key: str


def read_xlsx(
    stream: BinaryIO, form: XlsxForm, limits: Limits, header: list[str] | None = None
) -> Iterator[Record | Finding]:
    """The records of a workbook. A place is a row and the column's heading."""
    try:
        data = io.BufferedReader(LimitedStream(stream, limits)).read()
        _measure(data, limits)
        rows = _rows(data, form)
    except LimitError as error:
        yield over(error.limit, limits)
        return
    except (
        zipfile.BadZipFile,
        zlib.error,
        python_calamine.CalamineError,
        python_calamine.WorksheetNotFound,
        OSError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ):
        yield finding("error", "unreadable", Position())
        return
    columns = [str(cell).strip() for cell in rows[0]] if rows else []
    while columns and not columns[-1]:
        columns.pop()
    if header is not None:
        header.extend(columns)
    doubled = next((name for index, name in enumerate(columns) if name in columns[:index]), None)
    if doubled is not None:
        yield finding("error", "duplicate-member", Position(row=1, column=doubled))
    elif len(columns) > limits.fields:
        yield over("fields", limits, Position(row=1))
    else:
        yield from _records(rows[1:], columns, form, limits)


def _records(
    rows: Sequence[Sequence[Any]], columns: Sequence[str], form: XlsxForm, limits: Limits
) -> Iterator[Record | Finding]:
    count = 0
    for line, row in enumerate(rows, 2):
        cells = [_value(cell) for cell in row]
        if all(cell in ("", None) for cell in cells):
            continue
        count += 1
        position = Position(row=line)
        if count > limits.records:
            yield over("records", limits, position)
            return
        if any(cell not in ("", None) for cell in cells[len(columns) :]):
            yield finding("error", "column-count", position)
            continue
        fields = dict(zip(columns, [*cells, *[""] * (len(columns) - len(cells))], strict=False))
        long = next((name for name, cell in fields.items() if len(str(cell)) > limits.field_characters), None)
        if long is not None:
            yield over("field_characters", limits, Position(row=line, column=long))
        else:
            yield Record(str(fields.get(form.key, "")).strip(), fields, position)


def _measure(data: bytes, limits: Limits) -> None:
    """Unpack each part of the archive and count, holding nothing. Raises LimitError."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if len(members) > limits.fields:
            raise LimitError("fields")
        unpacked = 0
        for member in members:
            with archive.open(member) as part:
                while piece := part.read(_PIECE):
                    unpacked += len(piece)
                    if unpacked > limits.total_bytes:
                        raise LimitError("total_bytes")
                    if unpacked > limits.ratio * max(len(data), _PIECE):
                        raise LimitError("ratio")


def _rows(data: bytes, form: XlsxForm) -> list[list[Any]]:
    workbook = python_calamine.load_workbook(io.BytesIO(data))
    try:
        return workbook.get_sheet_by_name(form.sheet).to_python(skip_empty_area=False)
    finally:
        workbook.close()


def _value(cell: Any) -> Any:
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    if isinstance(cell, datetime):
        return cell.date().isoformat() if cell.time() == datetime.min.time() else cell.isoformat()
    if isinstance(cell, date):
        return cell.isoformat()
    return cell if isinstance(cell, str | bool | int | float) else str(cell)


def write_xlsx(fields: Mapping[str, Any], columns: Sequence[str], form: XlsxForm) -> bytes:
    """A header and one row, every cell as text."""
    return write_rows([fields], columns, form)


def write_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], form: XlsxForm) -> bytes:
    """A header and a row for each record, every cell as text that is never run."""
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet(form.sheet)
    sheet.append(list(columns))
    for row in rows:
        sheet.append([_cell(sheet, str(row.get(column, ""))) for column in columns])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _cell(sheet: Any, text: str) -> Any:
    cell = WriteOnlyCell(sheet, value=text)
    cell.data_type = "s"  # openpyxl takes text that begins with = for a formula
    cell.quotePrefix = True
    return cell
