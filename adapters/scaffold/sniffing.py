"""Look at a sample and say how it is written: its format, encoding, delimiter, record and columns.

Only what the shipped readers read is recognised, and the sample is then read by them, so that what is seen here is
what the adapter will see.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson
from lxml import etree

from adapters.legibility import is_misdecoded
from adapters.limiting import LimitError
from adapters.sdk import Finding, Limits, Record, Unreadable

DELIMITERS = (";", ",", "\t", "|")
_ONE_BYTE = ("windows-1252", "iso-8859-15")
#: How many records of a sample are looked at.
LOOKED_AT = 2000


class SampleError(ValueError):
    """A sample that cannot be made sense of: what is wrong, what would help."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Column:
    """A column (or path) of a sample: its name, its values in their order, and whether a record may hold several."""

    name: str
    values: tuple[str, ...]
    filled: int
    listed: bool = False
    booleans: bool = False

    @property
    def held(self) -> list[str]:
        """The values that are not empty."""
        return [value for value in self.values if value.strip()]

    @property
    def unique(self) -> bool:
        """Whether every record holds one and no two the same."""
        return not self.listed and self.filled == len(self.values) > 0 and len(set(self.values)) == len(self.values)


@dataclass(frozen=True, slots=True)
class Sample:
    """How a sample is written (`source` of a mapping, without its key), how many records it has, and its columns."""

    source: Mapping[str, Any]
    records: int
    columns: tuple[Column, ...]
    extension: str
    media_type: str


def sniff(data: bytes, name: str = "") -> Sample:
    """Look at the bytes of a sample; `name` is its file's, for a hint. Raises SampleError."""
    if not data.strip():
        raise SampleError("the sample is empty", "give a file with a header and at least one record")
    if data.startswith(b"PK\x03\x04"):
        return _xlsx(data)
    text, encoding = _decoded(data)
    start = text.lstrip("\ufeff \r\n\t")[:1]
    if start == "<":
        return _xml(data)
    if start in {"{", "["}:
        return _json(data)
    return _csv(text, encoding)


def text_of(data: bytes) -> str:
    """The text of a sample, whatever it is in: of an archive, or of letters that make no sense, what ASCII there is."""
    try:
        return _decoded(data)[0]
    except SampleError:
        return data.decode("ascii", "replace")


def _decoded(data: bytes) -> tuple[str, list[str]]:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace"), ["utf-16"]
    for encoding in ("utf-8-sig", *_ONE_BYTE):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding == "utf-8-sig" or not is_misdecoded(text, encoding):
            # Of an export in UTF-8 it is not known what the next would be in; windows-1252 is what is left if not.
            return text, ["utf-8-sig", encoding if encoding in _ONE_BYTE else _ONE_BYTE[0]]
    raise SampleError(
        "the letters of the sample make sense neither as UTF-8 nor as windows-1252 nor as ISO-8859-15",
        "export it again as UTF-8",
    )


def _csv(text: str, encodings: list[str]) -> Sample:
    best: tuple[float, str, list[list[str]]] = (0.0, "", [])
    for delimiter in DELIMITERS:
        try:
            rows = [row for row in islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), 200) if row]
        except csv.Error:
            continue
        if not rows or len(rows[0]) < 2:
            continue
        width = len(rows[0])
        alike = sum(len(row) == width for row in rows) / len(rows)
        score = alike * min(width, 12) if alike >= 0.6 else 0.0
        if score > best[0]:
            best = (score, delimiter, rows)
    score, delimiter, rows = best
    if not score:
        raise SampleError(
            "the sample has neither a delimiter that fits its rows nor the look of XML, JSON or XLSX",
            "export it with a header line and one of ; , | or a tabulator between the columns",
        )
    header = [name.strip() for name in rows[0]]
    if len(set(header)) != len(header) or not all(header):
        raise SampleError("the header has an empty name, or a name twice", "give every column a name of its own")
    from adapters.csv_reader import CsvForm, read_csv

    form = CsvForm(tuple(encodings), delimiter, header[0])
    data = text.encode("utf-16") if encodings == ["utf-16"] else text.encode("utf-8")
    found = list(islice(read_csv(io.BytesIO(data), form, Limits()), LOOKED_AT))
    source = {"format": "csv", "encoding": encodings, "delimiter": delimiter}
    return _sample(source, found, header, "csv", "text/csv")


def _xml(data: bytes) -> Sample:
    from adapters.xml_reader import XmlForm, read_xml

    counts: Counter[tuple[int, str]] = Counter()
    try:
        depth = 0
        for event, element in etree.iterparse(
            io.BytesIO(data), events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False
        ):
            if event == "start":
                depth += 1
                continue
            if len(element) and depth > 1:
                counts[depth, str(element.tag)] += 1
            depth -= 1
    except etree.XMLSyntaxError as error:
        raise SampleError(f"the sample is not well-formed XML (line {error.lineno})", "export it again") from None
    if not counts:
        raise SampleError("the sample has no element that could be a record", "a record is an element with elements")
    most = max(counts.values())
    (_, record) = min((depth, tag) for (depth, tag), count in counts.items() if count == most or depth == 2)
    found = list(islice(read_xml(io.BytesIO(data), XmlForm(record, ""), Limits()), LOOKED_AT))
    return _sample({"format": "xml", "record": record}, found, [], "xml", "application/xml")


def _json(data: bytes) -> Sample:
    from adapters.json_reader import JsonForm, read_json

    try:
        document = orjson.loads(data.removeprefix(codecs.BOM_UTF8))
    except orjson.JSONDecodeError as error:
        raise SampleError(f"the sample is not JSON (line {error.lineno})", "export it again") from None
    records = document if isinstance(document, list) else [document]
    if not records or not all(isinstance(record, dict) for record in records):
        raise SampleError("the sample is no list of objects", "give a list of records: [{…}, {…}]")
    wrapped = [name for record in records if len(records) == 1 for name, value in record.items() if _objects(value)]
    if wrapped and not any(isinstance(value, str | int) for value in records[0].values()):
        raise SampleError(
            f"the records stand inside the member {wrapped[0]!r}",
            "export the list itself, or set `records` of the feed",
        )
    nested = any(isinstance(value, dict) for record in records for value in record.values())
    found = list(islice(read_json(io.BytesIO(data), JsonForm("", nested), Limits()), LOOKED_AT))
    return _sample({"format": "json"} | ({"nested": True} if nested else {}), found, [], "json", "application/json")


def _objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _xlsx(data: bytes) -> Sample:
    """The first sheet with a header and a record."""
    from adapters.workbooks import XlsxForm, read_xlsx

    limits = Limits()
    for sheet in _sheets(data, limits):
        found = list(islice(read_xlsx(io.BytesIO(data), XlsxForm(sheet, ""), limits), LOOKED_AT))
        if any(isinstance(item, Record) for item in found):
            media = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
            return _sample({"format": "xlsx", "sheet": sheet}, found, [], "xlsx", media)
    raise SampleError("the workbook has no sheet with a header and a record", "put the header into the first row")


def _sheets(data: bytes, limits: Limits) -> list[str]:
    """The names of the sheets, once a reader has found the archive to be within its limits."""
    from adapters.workbooks import sheets_of

    try:
        return sheets_of(data, limits)
    except LimitError:
        raise SampleError("the workbook unpacks to more than is read", "give a workbook with fewer records") from None
    except ValueError:
        raise SampleError("the sample is no workbook that can be read", "save it as XLSX, or as CSV") from None


def _sample(
    source: Mapping[str, Any], found: Sequence[Record | Finding], header: Sequence[str], extension: str, media_type: str
) -> Sample:
    records = [item for item in found if isinstance(item, Record)]
    if not records:
        codes = ", ".join(sorted({item.code for item in found if isinstance(item, Finding)})) or "no record"
        raise SampleError(f"no record of the sample can be read ({codes})", "export it again, with at least one record")
    names = list(dict.fromkeys([*header, *(name for record in records for name in record.fields)]))
    return Sample(source, len(records), tuple(_column(name, records) for name in names), extension, media_type)


def _column(name: str, records: Sequence[Record]) -> Column:
    raw = [record.fields.get(name) for record in records]
    values: list[str] = []
    for value in raw:
        values += [_written(item) for item in value] if isinstance(value, list) else [_written(value)]
    return Column(
        name,
        tuple(values),
        sum(value not in (None, "", []) and bool(str(value).strip()) for value in raw),
        listed=any(isinstance(value, list) for value in raw),
        booleans=any(isinstance(value, bool) for value in raw),
    )


def _written(value: Any) -> str:
    if value is None or isinstance(value, Unreadable):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
