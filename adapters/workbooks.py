"""Read and write XLSX workbooks: a sheet whose first row is its header, each further row a record.

A workbook is a ZIP archive: how far its parts unpack, and then how far the sheet's cells reach, is measured before
anything of it is read as a sheet. Cells are read as values, never as formulas, and written as text, never as formulas.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from itertools import chain, islice
from typing import Any, BinaryIO

import openpyxl
from openpyxl.cell import WriteOnlyCell

from adapters.csv_reader import counted
from adapters.joining import Joined, with_rows
from adapters.layouts import PLAIN, Join, Layout, tidied
from adapters.limiting import LimitedStream, LimitError, measure
from adapters.sdk import UNREADABLE, DateCell, Finding, Limits, NumberCell, Position, Record, Unreadable
from adapters.sheets import DoctypeError, Merging, areas_of, rows_of
from adapters.texts import finding, over

_PIECE = 64 * 1024
_LOOKED_AT = 20  # rows of another sheet


@dataclass(frozen=True, slots=True)
class XlsxForm:
    """How a workbook is laid out: the sheet that holds the records, and the column that is a record's key."""

    sheet: str
    key: str
    layout: Layout = PLAIN


def read_xlsx(
    stream: BinaryIO, form: XlsxForm, limits: Limits, header: list[str] | None = None
) -> Iterator[Record | Finding]:
    """The records of a workbook. A place is a row and the column's heading."""
    row = 0
    try:
        data = io.BufferedReader(LimitedStream(stream, limits)).read()
        with closing(_opened(data, limits)) as book:
            sheet = _sheet(book, form.sheet)
            with sheet._get_source() as part:
                merging = Merging(areas_of(part, limits), limits)
            joined = [_joined(book, join, limits) for join in form.layout.joins]
            unread = tuple(_unread(book, {form.sheet, *(join.sheet for join in form.layout.joins)}))
            with sheet._get_source() as part:
                for item in with_rows(_items(rows_of(sheet, part), merging, form, limits, header), joined, unread):
                    row = item.position.row
                    yield item
    except LimitError as error:
        yield over(error.limit, limits, Position(row=row))
    except _SheetError as error:
        yield finding("error", "sheet-missing", Position(column=error.sheet))
    except DoctypeError:
        yield finding("error", "doctype", Position())
    except Exception:  # foreign bytes find each way in which the libraries can fail, and all of them mean the same
        yield finding("error", "unreadable", Position(row=row))


def _unread(book: Any, names: set[str]) -> Iterator[Finding]:
    """A finding for each other sheet that holds more than a header."""
    read = {tidied(name).casefold() for name in names}
    for title in book.sheetnames:
        if tidied(title).casefold() in read or not hasattr(book[title], "_get_source"):
            continue
        with book[title]._get_source() as part:
            rows = sum(1 for _, cells in islice(rows_of(book[title], part), _LOOKED_AT) if cells)
        if rows > 1:
            yield finding("warning", "not-read", Position(column=title))


class _SheetError(LookupError):
    """A workbook has no sheet of a name."""

    def __init__(self, sheet: str) -> None:
        super().__init__(sheet)
        self.sheet = sheet


def _sheet(book: Any, name: str) -> Any:
    """A sheet by its name, in one case and one notation. Raises _SheetError."""
    found = [title for title in book.sheetnames if tidied(title).casefold() == tidied(name).casefold()]
    if len(found) != 1:
        raise _SheetError(name)
    return book[found[0]]


def _joined(book: Any, join: Join, limits: Limits) -> Joined:
    """The rows of another sheet. Raises LimitError, KeyError, ValueError."""
    sheet = _sheet(book, join.sheet)
    with sheet._get_source() as part:
        merging = Merging(areas_of(part, limits), limits)
    with sheet._get_source() as part:
        return Joined(
            join, _items(rows_of(sheet, part), merging, XlsxForm(join.sheet, join.on, join.layout), limits, None)
        )


def sheets_of(data: bytes, limits: Limits) -> list[str]:
    """The names of a workbook's sheets. Raises LimitError, ValueError."""
    try:
        with closing(_opened(data, limits)) as book:
            return list(book.sheetnames)
    except LimitError:
        raise
    except Exception:  # as above
        raise ValueError("no workbook that can be read") from None


def cells_of(data: bytes, sheet: str, limits: Limits) -> Iterator[tuple[int, list[str]]]:
    """The rows of a sheet as texts, for looking at it; nothing for one that cannot be read."""
    try:
        with closing(_opened(data, limits)) as book:
            found = _sheet(book, sheet)
            with found._get_source() as part:
                areas_of(part, limits)
            with found._get_source() as part:
                for number, row in rows_of(found, part):
                    yield number, [str(_value(row.get(at, ""))) for at in range(1, max(row, default=0) + 1)]
    except Exception:  # as in read_xlsx, which then says why
        return


def _opened(data: bytes, limits: Limits) -> Any:
    """The workbook, once it is known how far it unpacks. Raises LimitError, and whatever the libraries raise."""
    measure(data, limits)
    return openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)


def _items(
    rows: Iterator[tuple[int, dict[int, Any]]],
    merging: Merging,
    form: XlsxForm,
    limits: Limits,
    header: list[str] | None,
) -> Iterator[Record | Finding]:
    """Each record or finding of a sheet. Raises LimitError."""
    layout = form.layout
    columns: list[Any] = list(layout.columns)
    rest: Iterable[tuple[int, dict[int, Any]]] = rows
    if layout.header:
        number, first = next((item for item in rows if item[0] >= layout.header), (layout.header, {}))
        merging.fill(number, first, 0)
        if number == layout.header:
            if layout.columns and layout.is_moved([str(first.get(at, "")) for at in range(1, max(first) + 1)]):
                yield finding("error", "header-again", Position(row=number))
                return
            columns = _headings(first, layout)
        else:
            rest = chain([(number, first)], rows)
            columns = []
    if header is not None:
        header.extend(name for name in columns if name is not UNREADABLE)
    doubled = next((name for index, name in enumerate(columns) if name in columns[:index]), None)
    at = max(layout.header, 1)
    if UNREADABLE in columns:
        yield finding("error", "unreadable", Position(row=at))
    elif doubled is not None:
        yield finding("error", "duplicate-member", Position(row=at, column=doubled))
    elif len(columns) > limits.fields:
        yield over("fields", limits, Position(row=at))
    else:
        yield from _records(rest, columns, merging, form, limits)


def _headings(cells: Mapping[int, Any], layout: Layout) -> list[Any]:
    names = [cells.get(at, "") for at in range(1, max(cells, default=0) + 1)]
    if any(name is UNREADABLE for name in names) and not layout.columns:
        return names
    return layout.named([str(name) for name in names])


def _records(
    rows: Iterable[tuple[int, dict[int, Any]]],
    columns: Sequence[str],
    merging: Merging,
    form: XlsxForm,
    limits: Limits,
) -> Iterator[Record | Finding]:
    count, number = 0, 1
    is_counted = not form.layout.is_counted
    for number, row in rows:
        cells = merging.fill(number, row, len(columns))
        values = [str(row.get(at, "")) for at in range(1, max(row, default=0) + 1)]
        if not row or values == columns:  # an empty row, or the header again
            continue
        position = Position(row=number)
        if form.layout.footer and form.layout.is_footer(values):
            if form.layout.counts(values) and (told := counted(values)) is not None:
                is_counted = True
                if told != count:
                    yield finding("error", "count-differs", position)
            continue
        count += 1
        if count > limits.records:
            yield over("records", limits, position)
            return
        if max(row) > len(columns):
            yield finding("error", "column-count", position)
            continue
        fields = {name: _value(cells.get(at, "")) for at, name in enumerate(columns, 1)}
        long = next((name for name, cell in fields.items() if len(str(cell)) > limits.field_characters), None)
        if long is not None:
            yield over("field_characters", limits, Position(row=number, column=long))
        else:
            key = fields.get(form.key, "")
            yield Record("" if key is UNREADABLE else str(key).strip(), fields, position)
    if not is_counted:
        yield finding("error", "count-differs", Position(row=number, column="".join(form.layout.footer[:1])))


def _value(cell: Any) -> Any:
    if isinstance(cell, float) and cell.is_integer():
        return NumberCell(cell)
    if isinstance(cell, int) and not isinstance(cell, bool):
        return NumberCell(cell)
    if isinstance(cell, datetime):
        return DateCell(cell.date().isoformat() if cell.time() == datetime.min.time() else cell.isoformat())
    if isinstance(cell, date):
        return DateCell(cell.isoformat())
    return cell if isinstance(cell, str | bool | int | float | Unreadable) else str(cell)


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
