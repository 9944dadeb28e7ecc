"""Look at a sample and say how it is written: its format, encoding, delimiter, record and columns.

Only what the shipped readers read is recognised, and the sample is then read by them, so that what is seen here is
what the adapter will see.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import Any

import orjson

from adapters.arranging import arranged
from adapters.layouts import own_name
from adapters.legibility import is_misdecoded
from adapters.limiting import LimitError
from adapters.scaffold.outlining import SampleError, enveloped, outlined, prefixed
from adapters.scaffold.tabling import LOOKED_AT as TABLE_ROWS
from adapters.scaffold.tabling import Rows, Table, families_of, furniture_of, sum_of, table_of, widths_of
from adapters.sdk import Finding, Limits, Record, Unreadable

DELIMITERS = (";", ",", "\t", "|")
_ONE_BYTE = ("windows-1252", "iso-8859-15", "cp850")
#: How many records of a sample are looked at.
LOOKED_AT = 2000


@dataclass(frozen=True, slots=True)
class Column:
    """A column (or path) of a sample: its name, its values in their order, and whether a record may hold several."""

    name: str
    values: tuple[str, ...]
    filled: int
    listed: bool = False

    @property
    def held(self) -> list[str]:
        """The values that are not empty."""
        return [value for value in self.values if value.strip()]

    @property
    def unique(self) -> bool:
        """Whether every record holds one and no two the same."""
        return not self.listed and self.filled == len(self.values) > 0 and len(set(self.values)) == len(self.values)


@dataclass(frozen=True, slots=True)
class Hints:
    """What the developer says of a sample; what is empty is guessed."""

    encoding: str = ""
    delimiter: str = ""
    header: int | None = None
    sheet: str = ""
    record: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """How a sample is written (`source` of a mapping, without its key), how many records it has, its columns, and what
    tells that it is so, as sentences: every guess that could have been another.
    """

    source: Mapping[str, Any]
    records: int
    columns: tuple[Column, ...]
    extension: str
    media_type: str
    evidence: tuple[str, ...] = ()


def sniff(data: bytes, hints: Hints = Hints()) -> Sample:
    """Look at the bytes of a sample. Raises SampleError."""
    if not data.strip():
        raise SampleError("the sample is empty", "give a file with a header and at least one record")
    if data.startswith(b"PK\x03\x04"):
        return _xlsx(data, hints)
    text, encodings = _decoded(data, hints.encoding)
    start = text.lstrip("\ufeff \r\n\t\x0b")
    if start[:4] in {"MSH|", "FHS|", "BHS|"}:
        return _hl7(data)
    if start[:1] == "<":
        return _xml(data, hints)
    if start[:1] in {"{", "["}:
        return _json(data, hints)
    return replace(found := _csv(text, encodings, hints), evidence=(*found.evidence, *_doubts(data, encodings)))


def text_of(data: bytes) -> str:
    """The text of a sample, whatever it is in: of an archive, or of letters that make no sense, what ASCII there is."""
    try:
        return _decoded(data)[0]
    except SampleError:
        return data.decode("ascii", "replace")


def _decoded(data: bytes, told: str = "") -> tuple[str, list[str]]:
    if told:
        try:
            return data.decode(told), [told]
        except (UnicodeDecodeError, LookupError):
            raise SampleError(
                f"the sample is not written in {told}", "leave --encoding out to have it guessed"
            ) from None
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
        "the letters of the sample make sense neither as UTF-8 nor as windows-1252, ISO-8859-15 or code page 850",
        "export it again as UTF-8, or say --encoding",
    )


def _csv(text: str, encodings: list[str], hints: Hints) -> Sample:
    text = text.removeprefix("\ufeff")
    first = text.splitlines()[0].strip().strip('"') if text.splitlines() else ""
    delimiters: Sequence[str] = [hints.delimiter] if hints.delimiter else DELIMITERS
    above = 0
    if first[:4].lower() == "sep=" and len(first) == 5:
        delimiters, above = [first[4]], 1
    best: tuple[float, str, Table | None] = (0.0, "", None)
    for delimiter in delimiters:
        rows = _rows(text, delimiter, above)
        found = table_of(rows, hints.header) if rows is not None else None
        if found is not None and above and found.header == above + 1:
            found = replace(found, header=1)  # the line `sep=;` counts only where rows are passed over
        if found is None or rows is None:
            continue
        width = len(found.columns)
        # Registers are sparse: cells that are empty to the end of a row are cells nevertheless.
        sound = sum(len(cells) >= width - 1 and len(_without_end(cells)) <= width for cells in rows.cells)
        alike = sound / max(sum(any(cells) for cells in rows.cells), 1)
        # What the developer says is a fact; of what is guessed the rows must be alike.
        score = alike * min(width, 12) if width >= 2 and (alike >= 0.5 or hints.delimiter) else 0.0
        if score > best[0]:
            best = (score, delimiter, found)
    _, delimiter, table = best
    if table is None and hints.delimiter:
        raise SampleError(
            f"with {hints.delimiter!r} between the columns no row of the sample looks like a header",
            "say --header-row, or another --delimiter",
        )
    if table is None:
        return _fixed(text, encodings, hints)
    source: dict[str, Any] = {"format": "csv", "encoding": encodings, "delimiter": delimiter}
    layout, evidence = table.layout(), table.evidence
    if persons := families_of(table.columns):
        layout["persons"] = list(persons)
        evidence = (
            *evidence,
            f"a row holds {len(persons)} persons, by the beginnings of their columns: {', '.join(persons)}",
            "what no beginning tells to be somebody's is the first person's: list under common what is said of all",
        )
    if layout:
        source["layout"] = layout
    return _read(source, text, list(table.columns), evidence)


def _rows(text: str, delimiter: str, above: int) -> Rows | None:
    """The first rows by a delimiter, each with the line that it begins at; a line `sep=;` is none of them."""
    numbers, rows = [], []
    reader = csv.reader(io.StringIO("".join(text.splitlines(keepends=True)[above:]), newline=""), delimiter=delimiter)
    begins = 1 + above
    try:
        for cells in islice(reader, TABLE_ROWS):
            if cells:
                numbers.append(begins)
                rows.append(cells)
            begins = reader.line_num + 1 + above
    except csv.Error:
        return None
    return Rows(numbers, rows) if rows else None


def _without_end(cells: Sequence[str]) -> Sequence[str]:
    kept = list(cells)
    while kept and not kept[-1].strip():
        kept.pop()
    return kept


def _doubts(data: bytes, encodings: Sequence[str]) -> tuple[str, ...]:
    """What is told of an encoding that could have been another."""
    if encodings[0] != "utf-8-sig":
        return ()
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        told = (
            f"encoding {encodings[-1]}: it is no UTF-8, and these letters make words; say --encoding if it is another"
        )
        return (told,)
    return ()


def _fixed(text: str, encodings: list[str], hints: Hints) -> Sample:
    """Columns of fixed width."""
    lines = text.split("\n")
    kept, furniture = furniture_of([line for line in lines[:TABLE_ROWS] if line.strip()])
    widths = widths_of(kept)
    ends = [0, *(sum(widths[: count + 1]) for count in range(len(widths)))]
    cut = [[line[a:b].strip() for a, b in pairwise(ends)] for line in kept]
    numbers = [lines.index(line) + 1 for line in kept]
    table = table_of(Rows(numbers, cut), hints.header) if widths else None
    if table is None:
        raise SampleError(
            "the sample has neither a delimiter that fits its rows nor the look of XML, JSON, XLSX or HL7",
            "export it with a header line and one of ; , | or a tabulator between the columns, or say --delimiter; of "
            "columns of fixed width the mapping says `columns` and `widths` (see the reference)",
        )
    counted, total = sum_of(kept)
    footer = [*counted, *(begins for begins in (*table.footer, *furniture) if begins not in counted)]
    layout = {**table.layout(), "columns": list(table.columns), "widths": list(widths)}
    if footer:
        layout["footer"] = footer
    if total is not None and table.header and total == len(kept) - 2:
        layout["counted"] = True
    source = {"format": "fixed", "encoding": encodings, "layout": layout}
    told = f"columns of fixed width: blanks stand below each other between {len(widths)} columns"
    return _read(source, text, list(table.columns), (told, *table.evidence))


def _read(source: dict[str, Any], text: str, header: list[str], evidence: tuple[str, ...]) -> Sample:
    """A table as its reader reads it."""
    from adapters.csv_reader import CsvForm, read_csv
    from adapters.forms import form_of

    form = form_of({**source, "key": ""})
    assert isinstance(form, CsvForm)
    encodings = source["encoding"]
    data = text.encode("utf-16") if encodings == ["utf-16"] else text.encode("utf-8")
    form = replace(form, encodings=("utf-16",) if encodings == ["utf-16"] else ("utf-8",))
    rows = islice(read_csv(io.BytesIO(data), form, Limits()), LOOKED_AT)
    found = list(arranged(rows, form.layout, "", Limits()))
    header = list(dict.fromkeys(own_name(name, form.layout.persons) for name in header))
    return sample_of(source, found, header, Media("csv", "text/csv"), evidence)


def _xml(data: bytes, hints: Hints) -> Sample:
    from adapters.forms import form_of
    from adapters.xml_reader import XmlForm, read_xml

    outline = outlined(data)
    namespaces = outline.namespaces
    layout = {"layout": {"namespaces": namespaces}} if namespaces else {}
    names = {uri: prefix for prefix, uri in namespaces.items()}
    record = hints.record or prefixed(outline.record, names)
    lists = outline.lists(record, names)
    source = {"format": "xml", "record": record, **layout}
    form = form_of({**source, "key": ""}, lists)
    assert isinstance(form, XmlForm)
    found = list(islice(read_xml(io.BytesIO(data), form, Limits()), LOOKED_AT))
    evidence = (
        [f"record <{record}>: it is there {outline.count} times, nearest to the root"] if not hints.record else []
    )
    evidence += [f"<{path}> repeats within a record: take it with each: {{of: {path}}}" for path in sorted(lists)]
    return sample_of(source, found, [], Media("xml", "application/xml"), tuple(evidence))


def _json(data: bytes, hints: Hints) -> Sample:
    from adapters.forms import form_of
    from adapters.json_reader import JsonForm, read_json

    try:
        document = orjson.loads(data.removeprefix(codecs.BOM_UTF8))
    except orjson.JSONDecodeError as error:
        raise SampleError(f"the sample is not JSON (line {error.lineno})", "export it again") from None
    first = document[0] if isinstance(document, list) and document else document
    if isinstance(first, dict) and isinstance(first.get("resourceType"), str):
        raise SampleError(
            "the sample is FHIR, which has an adapter of its own",
            "try `yhdyspinta adapter preview fhir-r4 --file SAMPLE`; codes of other systems: see the cookbook",
        )
    path, records, total = enveloped(document, hints.record)
    layout: dict[str, Any] = {"records": "/".join(path)} if path else {}
    if total:
        layout["total"] = total
    nested = any(isinstance(value, dict) for record in records for value in record.values())
    source = {"format": "json"} | ({"nested": True} if nested else {}) | ({"layout": layout} if layout else {})
    form = form_of({**source, "key": ""})
    assert isinstance(form, JsonForm)
    found = list(islice(read_json(io.BytesIO(data), form, Limits()), LOOKED_AT))
    evidence = (f"records at {layout['records']}: the longest list of objects, {len(records)} of them",) if path else ()
    return sample_of(source, found, [], Media("json", "application/json"), evidence)


def _hl7(data: bytes) -> Sample:
    """Messages: which types there are, and which segments and fields repeat."""
    from adapters.hl7_messages import Hl7Form, read_hl7

    kinds: dict[str, None] = {}
    for line in re.split(r"[\r\n]+", data.decode("utf-8", "replace")):
        parts = line.strip("\x0b\x1c\ufeff").split("|")
        if parts[0] == "MSH" and len(parts) > 8:
            kinds["^".join(parts[8].split("^")[:2])] = None
    repeating = ("PID-3", "PID-13", "NK1", "DG1", "OBX")
    form = Hl7Form(tuple(kinds), frozenset(repeating), "PID-3")
    found = list(islice(read_hl7(io.BytesIO(data), form, Limits()), LOOKED_AT))
    source = {"format": "hl7", "messages": list(kinds), "repeating": list(repeating)}
    told = "PID is mapped as the standard has it; OBX and segments of your own are left to you"
    return sample_of(source, found, [], Media("hl7", "application/hl7-v2+er7"), (told,))


def _xlsx(data: bytes, hints: Hints) -> Sample:
    """The first sheet with a header and a record, or the one that the developer names."""
    from adapters.forms import form_of
    from adapters.workbooks import XlsxForm, cells_of, read_xlsx

    limits = Limits()
    sheets = _sheets(data, limits)
    for sheet in [hints.sheet] if hints.sheet else sheets:
        numbered = list(islice(cells_of(data, sheet, limits), TABLE_ROWS))
        rows = Rows([number for number, _ in numbered], [cells for _, cells in numbered])
        table = table_of(rows, hints.header)
        if table is None or not table.header:
            continue
        layout = {"layout": table.layout()} if table.layout() else {}
        source = {"format": "xlsx", "sheet": sheet, **layout}
        form = form_of({**source, "key": ""})
        assert isinstance(form, XlsxForm)
        found = list(islice(read_xlsx(io.BytesIO(data), form, limits), LOOKED_AT))
        if any(isinstance(item, Record) for item in found):
            media = Media("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")
            others = [f"sheet “{other}” is not read: see `join`, or say --sheet" for other in sheets if other != sheet]
            return sample_of(source, found, list(table.columns), media, (*table.evidence, *others))
    raise SampleError(
        "the workbook has no sheet with a header and a record", "say --sheet and --header-row, or tidy the sheet"
    )


def _sheets(data: bytes, limits: Limits) -> list[str]:
    """The names of the sheets, once a reader has found the archive to be within its limits."""
    from adapters.workbooks import sheets_of

    try:
        return sheets_of(data, limits)
    except LimitError:
        raise SampleError("the workbook unpacks to more than is read", "give a workbook with fewer records") from None
    except ValueError:
        raise SampleError("the sample is no workbook that can be read", "save it as XLSX, or as CSV") from None


@dataclass(frozen=True, slots=True)
class Media:
    """The ending of a file's name, and its media type."""

    extension: str
    type: str


def sample_of(
    source: Mapping[str, Any],
    found: Sequence[Record | Finding],
    header: Sequence[str],
    media: Media,
    evidence: tuple[str, ...] = (),
) -> Sample:
    """What was read of a sample, by its columns. Raises SampleError."""
    records = [item for item in found if isinstance(item, Record)]
    if not records:
        codes = ", ".join(sorted({item.code for item in found if isinstance(item, Finding)})) or "no record"
        raise SampleError(f"no record of the sample can be read ({codes})", "export it again, with at least one record")
    names = list(dict.fromkeys([*header, *(name for record in records for name in record.fields)]))
    broken = sum(isinstance(item, Finding) for item in found)
    if broken > len(records):
        codes = ", ".join(sorted({item.code for item in found if isinstance(item, Finding)}))
        raise SampleError(
            f"{broken} of {len(found)} rows cannot be read as the sample seems to be written ({codes})",
            "say how it is written: --encoding, --delimiter, --header-row, --sheet or --record",
        )
    columns = tuple(_columns(names, records))
    return Sample(source, len(records), columns, media.extension, media.type, evidence)


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
    )


def _columns(names: Sequence[str], records: Sequence[Record]) -> Iterator[Column]:
    """A column for each field; of a list of objects one for each member of them: `tarpeet[]/koodi`."""
    for name in names:
        parts = [part for record in records if isinstance(held := record.fields.get(name), list) for part in held]
        if not any(isinstance(part, dict) for part in parts):
            yield _column(name, records)
            continue
        flat = [dict(_flat(part, "")) for part in parts if isinstance(part, dict)]
        for path in dict.fromkeys(path for part in flat for path in part):
            values = tuple(_written(part.get(path)) for part in flat)
            yield Column(f"{name}[]/{path}", values, sum(map(bool, values)), listed=True)


def _flat(part: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    for name, value in part.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}/")
        elif not isinstance(value, list):
            yield f"{before}{name}", value


def _written(value: Any) -> str:
    if value is None or isinstance(value, Unreadable):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
