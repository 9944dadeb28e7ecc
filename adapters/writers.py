"""Write the fields of one record in the form that the readers read: CSV, XML, JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from lxml import etree

from adapters.csv_reader import CsvForm
from adapters.json_reader import JsonForm
from adapters.spreadsheets import guarded
from adapters.xml_reader import XmlForm


def write_csv(fields: Mapping[str, Any], columns: Sequence[str], form: CsvForm) -> bytes:
    """A header and one row, in UTF-8 or the form's encoding; text that a spreadsheet would run is guarded."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=form.delimiter, lineterminator="\r\n")
    writer.writerow([guarded(column) for column in columns])
    writer.writerow([guarded(str(fields.get(column, ""))) for column in columns])
    return out.getvalue().encode("utf-8-sig" if "utf-8-sig" in form.encodings else form.encodings[0])


def write_xml(fields: Mapping[str, Any], form: XmlForm) -> bytes:
    """One record below a root element; a list makes as many elements as it has items."""
    root = etree.Element(form.root)
    record = etree.SubElement(root, form.record)
    for path, value in fields.items():
        for index, item in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(item, dict):  # an element of a list that is kept apart
                *parents, name = path.split("/")
                part = etree.SubElement(_holder(record, parents), name)
                for inner, text in item.items():
                    _place(part, inner.split("/"), 0, str(text))
            else:
                _place(record, path.split("/"), index, str(item))
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def _holder(holder: Any, steps: Sequence[str]) -> Any:
    """The element at the end of a path; made where it is not there."""
    for name in steps:
        found = holder.find(name)
        holder = etree.SubElement(holder, name) if found is None else found
    return holder


def _place(holder: Any, steps: Sequence[str], index: int, text: str) -> None:
    """Put the n-th value of a path where it belongs: elements on the way are shared, the last that is one repeats."""
    attribute = steps[-1][1:] if steps[-1].startswith("@") else None
    elements = steps[:-1] if attribute else steps
    for depth, name in enumerate(elements, 1):
        found = holder.findall(name)
        wanted = index if depth == len(elements) else 0
        while len(found) <= wanted:
            found.append(etree.SubElement(holder, name))
        holder = found[wanted]
    if attribute is None:
        holder.text = text
    else:
        holder.set(attribute, text)


def write_json(fields: Mapping[str, Any], form: JsonForm) -> bytes:
    """One object; where objects nest, a path makes them."""
    made = _nested(fields) if form.nested else {name: _deep(value) for name, value in fields.items()}
    return orjson.dumps(made, option=orjson.OPT_INDENT_2)


def _deep(value: Any) -> Any:
    """A list with its objects nested by their paths."""
    return [_nested(item) if isinstance(item, dict) else item for item in value] if isinstance(value, list) else value


def _nested(fields: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for path, value in fields.items():
        *parents, last = path.split("/")
        holder = made
        for name in parents:
            holder = holder.setdefault(name, {})
        holder[last] = _deep(value)
    return made
