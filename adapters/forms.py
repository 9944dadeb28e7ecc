"""The forms in which a mapped source can be written, by the `format` of its mapping: how each is read and written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, BinaryIO

from adapters.hl7_messages import Hl7Form, read_hl7, write_hl7
from adapters.json_reader import JsonForm, read_json
from adapters.readers import CsvForm, XmlForm, read_csv, read_xml
from adapters.sdk import Finding, Limits, Position, Record
from adapters.texts import finding
from adapters.workbooks import XlsxForm, read_xlsx, write_xlsx
from adapters.writers import write_csv, write_json, write_xml

Form = CsvForm | XmlForm | JsonForm | XlsxForm | Hl7Form


def form_of(source: Mapping[str, Any]) -> Form:
    """The form that a compiled mapping's `source` describes."""
    key = str(source["key"])
    match source["format"]:
        case "csv":
            return CsvForm(tuple(source["encoding"]), str(source["delimiter"]), key)
        case "xml":
            return XmlForm(str(source["record"]), key, str(source.get("root", "Records")))
        case "xlsx":
            return XlsxForm(str(source["sheet"]), key)
        case "hl7":
            return Hl7Form(tuple(source["messages"]), frozenset(source.get("repeating", ())), key)
        case _:
            return JsonForm(key, bool(source.get("nested", False)))


def read(stream: BinaryIO, form: Form, limits: Limits, columns: Collection[str]) -> Iterator[Record | Finding]:
    """The records of a source. A form with a header must have these columns in it."""
    match form:
        case CsvForm():
            header: list[str] = []
            return _with_columns(read_csv(stream, form, limits, header), header, columns)
        case XlsxForm():
            header = []
            return _with_columns(read_xlsx(stream, form, limits, header), header, columns)
        case XmlForm():
            return read_xml(stream, form, limits)
        case Hl7Form():
            return read_hl7(stream, form, limits)
        case JsonForm():
            return read_json(stream, form, limits)


def _with_columns(
    items: Iterator[Record | Finding], header: list[str], columns: Collection[str]
) -> Iterator[Record | Finding]:
    checked = False
    for item in items:
        if not checked and header:
            checked = True
            missing = sorted(set(columns) - set(header))
            if missing:
                for column in missing:
                    yield finding("error", "column-missing", Position(row=1, column=column))
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
