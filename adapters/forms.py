"""The forms in which a mapped source can be written, by the `format` of its mapping: how each is read and written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, BinaryIO

from adapters.arranging import arranged
from adapters.csv_reader import CsvForm, read_csv
from adapters.drops import read_drop
from adapters.hl7_messages import Hl7Form, read_hl7, write_hl7
from adapters.json_reader import JsonForm, read_json
from adapters.layouts import Layout, layout_of
from adapters.sdk import Finding, Limits, Position, Record
from adapters.texts import finding, missing_columns
from adapters.workbooks import XlsxForm, read_xlsx, write_xlsx
from adapters.writers import write_csv, write_json, write_xml
from adapters.xml_reader import XmlForm, read_xml

Form = CsvForm | XmlForm | JsonForm | XlsxForm | Hl7Form


def form_of(source: Mapping[str, Any], lists: Collection[str] = ()) -> Form:
    """The form that a compiled mapping's `source` describes; `lists` are the fields that it takes as lists of objects.

    Raises LayoutError.
    """
    key = str(source["key"])
    layout = layout_of(source.get("layout", {}))
    match source["format"]:
        case "csv":
            return CsvForm(tuple(source["encoding"]), str(source["delimiter"]), key, layout)
        case "fixed":
            return CsvForm(tuple(source["encoding"]), "", key, layout)
        case "xml":
            return XmlForm(str(source["record"]), key, str(source.get("root", "Records")), frozenset(lists), layout)
        case "xlsx":
            return XlsxForm(str(source["sheet"]), key, layout)
        case "hl7":
            return Hl7Form(tuple(source["messages"]), frozenset(source.get("repeating", ())), key)
        case _:
            return JsonForm(key, bool(source.get("nested", False)), layout)


def read(stream: BinaryIO, form: Form, limits: Limits, columns: Collection[str]) -> Iterator[Record | Finding]:
    """The records of a source. A form with a header must have these columns in it; a source without any is told."""
    is_empty = True
    for item in _read(stream, form, limits, columns):
        is_empty = False
        yield item
    if is_empty:
        # An element that was renamed, a page that was not turned: no record at all says nothing good.
        yield finding("error", "no-record", Position())


def _read(stream: BinaryIO, form: Form, limits: Limits, columns: Collection[str]) -> Iterator[Record | Finding]:
    match form:
        case CsvForm():
            header: list[str] = []
            reading = read_drop if form.layout.file else read_csv
            items = _with_columns(reading(stream, form, limits, header), header, form.layout, columns)
            return arranged(items, form.layout, form.key, limits)
        case XlsxForm():
            header = []
            items = _with_columns(read_xlsx(stream, form, limits, header), header, form.layout, columns)
            return arranged(items, form.layout, form.key, limits)
        case XmlForm():
            return read_xml(stream, form, limits)
        case Hl7Form():
            return read_hl7(stream, form, limits)
        case JsonForm():
            return read_json(stream, form, limits)


def _with_columns(
    items: Iterator[Record | Finding], header: list[str], layout: Layout, columns: Collection[str]
) -> Iterator[Record | Finding]:
    checked = False
    for item in items:
        if not checked and header:
            checked = True
            found = {*header, *layout.made()}
            if layout.persons:
                found |= {name.removeprefix(prefix) for name in header for prefix in layout.persons}
            missing = sorted(set(columns) - found)
            if missing and len(missing) == len(set(columns) - set(layout.made())):
                yield finding("error", "header-unknown", Position(row=max(layout.header, 1)))
                return
            if missing:
                yield missing_columns(missing, header, max(layout.header, 1))
                return
        yield item


def write(
    fields: Mapping[str, Any],
    form: Form,
    columns: Sequence[str],
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> bytes:
    """One record in its form; `clock` gives the time that a message says it was written at."""
    match form:
        case CsvForm():
            return write_csv(fields, columns, form)
        case XlsxForm():
            return write_xlsx(fields, columns, form)
        case XmlForm():
            return write_xml(fields, form)
        case Hl7Form():
            return write_hl7(fields, form, clock)
        case JsonForm():
            return write_json(fields, form)
