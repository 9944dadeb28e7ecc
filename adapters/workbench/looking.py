"""A look at an adapter's folder as its files stand now: records, cells, values with their origin, findings in place.

`Bench.look` loads the folder anew when a file has changed. A fault in the mapping is part of the look, with its place;
the last good result stays in sight beside it.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from adapters.faults import MappingError
from adapters.scaffold.placing import proposed
from adapters.scaffold.recognising import parted_by
from adapters.sdk import AdapterError, Finding, Limits, Mapped, Record
from adapters.sdk.folders import Package, open_folder
from adapters.sdk.testing import ignored_by, target_of
from adapters.workbench.editing import PERSON, Edit, EditError, edited
from schemas.codes import code_system, code_systems

#: Records that are listed and can be looked at; the counts are of these.
LISTED = 500


@dataclass(frozen=True, slots=True)
class Fault:
    """Why the adapter cannot be loaded: the place if there is one, the lines around it, what would mend it."""

    message: str
    remedy: str = ""
    file: str = ""
    line: int = 0
    column: int = 0
    lines: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """A field of the source record: its value, whether it is taken, ignored or left, and what was found there."""

    column: str
    value: str
    state: str  # taken, ignored, left, empty
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the result: where it stands, and the cell and the transform that it came from."""

    pointer: str
    target: str
    value: str
    column: str
    transform: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A record in the list: its number from 0, its row and its key, whether it was mapped, how many findings it has."""

    number: int
    row: int
    mapped: bool
    findings: int
    key: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """A finding over all records of a sample: one of its kind, and the numbers of the records that it was told of."""

    finding: Finding
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Desk:
    """What can be changed from the page: the digest of the mapping file as it was seen, and what may be chosen."""

    digest: str
    proposed: Mapping[str, str]
    tables: Mapping[str, tuple[str, ...]]
    may_undo: bool


@dataclass(frozen=True, slots=True)
class Look:
    """All that the page shows of one record of one sample."""

    name: str
    sample: str
    samples: tuple[str, ...]
    records: tuple[Listed, ...]
    number: int
    row: int
    cells: tuple[Cell, ...]
    values: Mapping[str, tuple[Value, ...]]
    bundle: Mapping[str, Any] | None
    findings: tuple[Finding, ...]
    fault: Fault | None = None
    stale: bool = False
    told: tuple[Told, ...] = ()
    unsaid: tuple[str, ...] = ()
    desk: Desk | None = None

    @property
    def mapped(self) -> int:
        """How many records were mapped."""
        return sum(record.mapped for record in self.records)


@dataclass(slots=True)
class _Read:
    """A sample as the adapter reads it now."""

    pairs: Sequence[tuple[Record | Finding, Mapped]]
    ignored: frozenset[str]


@dataclass(slots=True)
class Bench:
    """An adapter's folder under someone's hands."""

    folder: Path
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _mark: str = ""
    _package: Package | None = None
    _fault: Fault | None = None
    _read: dict[str, _Read] = field(default_factory=dict)
    _proposed: dict[str, Mapping[str, str]] = field(default_factory=dict)
    #: What was written from the page: the text before each change, and the digest of the text after it.
    _done: list[tuple[bytes, str]] = field(default_factory=list)

    def mark(self) -> str:
        """A mark that changes when a file of the adapter does."""
        digest = hashlib.sha256()
        for path in self._files():
            try:
                stat = path.stat()
            except OSError:
                continue
            digest.update(f"{path}\0{stat.st_mtime_ns}\0{stat.st_size}\0".encode())
        return digest.hexdigest()[:16]

    def look(self, sample: str = "", number: int = 0) -> Look:
        """The look at one record. Raises AdapterError if the folder has never been loadable."""
        with self._lock:
            stale = self._load()
            if self._package is None:
                fault = self._fault or Fault("the adapter cannot be loaded")
                return Look(self.folder.name, "", (), (), 0, 0, (), {}, None, (), fault)
            package = self._package
            names = tuple(sample.name for sample in package.samples)
            chosen = sample if sample in names else (names[0] if names else "")
            read = self._read.get(chosen) or _Read((), frozenset())
            look = _look(_Shelf(package.name, chosen, names, self._fault, stale), read, number)
            return replace(look, told=_told(read), unsaid=_unsaid(package), desk=self._desk(package, chosen))

    def edit(self, edit: Edit, digest: str) -> None:
        """Write a change into the mapping file as it was seen. Raises EditError, OSError."""
        with self._lock:
            path = self._mapping()
            before = path.read_bytes()
            if _digest(before) != digest:
                # Whoever edits it meanwhile must not lose what they wrote.
                raise EditError("edit-changed")
            after = edited(before.decode("utf-8"), self._parted(edit)).encode()
            compiles = getattr(self._package and self._package.adapter, "compiles", None)
            if compiles is not None and (fault := compiles(after.decode())):
                raise EditError("edit-fault", fault)
            _replace(path, after)
            self._done.append((before, _digest(after)))

    def _parted(self, edit: Edit) -> Edit:
        """A change with what parts the column's cells, where one resource is made of each part."""
        if edit.resource == PERSON:
            return edit
        fields = [item.fields for read in self._read.values() for item, _ in read.pairs if isinstance(item, Record)]
        held = [value for value in (of.get(edit.name) for of in fields) if isinstance(value, str)]
        return replace(edit, by=parted_by("service-need", held))

    def undo(self) -> None:
        """Take the last change back, unless somebody has edited the file since. Raises EditError, OSError."""
        with self._lock:
            path = self._mapping()
            if not self._done:
                raise EditError("edit-none")
            before, digest = self._done[-1]
            if _digest(path.read_bytes()) != digest:
                raise EditError("edit-changed")
            _replace(path, before)
            self._done.pop()

    def _mapping(self) -> Path:
        """The mapping file. Raises EditError if the adapter has none."""
        found = next((file for file in self._files() if file.name == "mapping.yaml"), None)
        if found is None:
            raise EditError("edit-none")
        return found

    def _desk(self, package: Package, sample: str) -> Desk | None:
        """What can be changed; nothing of an adapter without a mapping file."""
        try:
            content = self._mapping().read_bytes()
            document = YAML(typ="safe", pure=True).load(content.decode("utf-8"))
        except (EditError, OSError, UnicodeDecodeError, YAMLError):
            return None
        if sample not in self._proposed:
            path = next((path for path in package.samples if path.name == sample), None)
            self._proposed[sample] = proposed(path) if path is not None else {}
        tables = document.get("tables") if isinstance(document, dict) else None
        return Desk(_digest(content), self._proposed[sample], _codes(tables or {}), bool(self._done))

    def _load(self) -> bool:
        """Load what has changed; whether what is held is older than the files."""
        mark = self.mark()
        if mark != self._mark:
            self._mark = mark
            try:
                package = open_folder(self.folder)
                read = {sample.name: _read(package, sample) for sample in package.samples}
            except MappingError as error:
                self._fault = self._place(error)
            except AdapterError as error:
                self._fault = Fault(str(error))
            except Exception as error:
                # The developer's own code; whatever it raises is theirs to see.
                self._fault = Fault(f"{type(error).__name__}: {error}")
            else:
                self._package, self._read, self._fault = package, read, None
                self._proposed = {}
        return self._fault is not None

    def _place(self, error: MappingError) -> Fault:
        path = next((file for file in self._files() if file.name == "mapping.yaml"), None)
        text = path.read_text("utf-8", "replace").splitlines() if path else []
        around = range(max(1, error.line - 2), min(len(text), error.line + 2) + 1)
        lines = tuple((number, text[number - 1]) for number in around)
        return Fault(error.message, error.remedy, path.name if path else "", error.line, error.column, lines)

    def _files(self) -> list[Path]:
        found = [self.folder / "pyproject.toml"]
        for path in sorted(self.folder.rglob("*")):
            parts = path.relative_to(self.folder).parts
            hidden = any(part.startswith(".") or part in {"__pycache__", "golden", "dist", "tests"} for part in parts)
            if not hidden and path.is_file():
                found.append(path)
        return found


def _unsaid(package: Package) -> tuple[str, ...]:
    """The protecting facts of which the mapping says nothing, not even that its source cannot know them."""
    mapping = getattr(package.adapter, "mapping", None)
    unsaid, said = (frozenset(getattr(mapping, name, ())) for name in ("unsaid", "cannot_say"))
    return tuple(sorted(unsaid - said))


def _told(read: _Read) -> tuple[Told, ...]:
    """The findings of all records, each sentence once, those that stop a record first."""
    found: dict[tuple[str, str, str], tuple[Finding, list[int]]] = {}
    for number, (_, mapped) in enumerate(read.pairs):
        for finding in mapped.findings:
            column = finding.position.column.split("[", maxsplit=1)[0]
            numbers = found.setdefault((finding.severity, finding.code, column), (finding, []))[1]
            if number not in numbers:
                numbers.append(number)
    return tuple(Told(finding, tuple(numbers)) for _, (finding, numbers) in sorted(found.items()))


def _codes(tables: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The codes that each table may give, and those of each code system that is no table here."""
    systems = code_systems()
    found = {name: tuple(code_system(name).codes) for name in systems}
    for name, table in tables.items():
        extended = table.get("extends") if isinstance(table, dict) else None
        own = {str(code) for key, code in table.items() if key not in {"extends", "file"}} if table else set()
        found[name] = tuple(code_system(extended).codes) if extended in systems else tuple(sorted(own))
    return found


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _replace(path: Path, content: bytes) -> None:
    """Write a file in one step: whoever is cut off leaves the one before."""
    fresh = path.with_name(f".{path.name}.fresh")
    fresh.write_bytes(content)
    shutil.copymode(path, fresh)
    fresh.replace(path)


def _read(package: Package, sample: Path) -> _Read:
    data = sample.read_bytes()
    items = package.adapter.read(io.BytesIO(data), Limits())
    results = package.adapter.convert(io.BytesIO(data), Limits())
    mapping = getattr(package.adapter, "mapping", None)
    return _Read(
        list(islice(zip(items, results, strict=False), LISTED)), frozenset(getattr(mapping, "ignored", frozenset()))
    )


@dataclass(frozen=True, slots=True)
class _Shelf:
    """Of which adapter and sample a look is, among which samples, and what is wrong with the files if anything is."""

    adapter: str
    sample: str
    samples: tuple[str, ...]
    fault: Fault | None
    is_stale: bool


def _look(shelf: _Shelf, read: _Read, number: int) -> Look:
    adapter, sample, samples, fault, is_stale = shelf.adapter, shelf.sample, shelf.samples, shelf.fault, shelf.is_stale
    records = tuple(
        Listed(index, mapped.position.row, mapped.bundle is not None, len(mapped.findings), _key(item, mapped))
        for index, (item, mapped) in enumerate(read.pairs)
    )
    number = min(max(number, 0), max(len(records) - 1, 0))
    if not records:
        return Look(adapter, sample, samples, (), 0, 0, (), {}, None, (), fault, is_stale)
    item, mapped = read.pairs[number]
    taken = {origin.position.column for origin in mapped.provenance.values()}
    cells = tuple(_cells(item, mapped, taken, read.ignored))
    placed = {finding.position.column for finding in mapped.findings} & {cell.column for cell in cells}
    return Look(
        adapter,
        sample,
        samples,
        records,
        number,
        mapped.position.row,
        cells,
        _values(mapped),
        mapped.bundle,
        tuple(finding for finding in mapped.findings if finding.position.column not in placed),
        fault,
        is_stale,
    )


def _key(item: Record | Finding, mapped: Mapped) -> str:
    """What the source itself calls a record."""
    return mapped.key or (item.key if isinstance(item, Record) else "")


def _cells(item: Record | Finding, mapped: Mapped, taken: set[str], ignored: frozenset[str]) -> list[Cell]:
    if not isinstance(item, Record):
        return []
    cells = []
    for column, value in item.fields.items():
        written = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
        findings = tuple(
            finding for finding in mapped.findings if finding.position.column.split("[", maxsplit=1)[0] == column
        )
        if ignored_by(column, ignored):
            state = "ignored"
        elif not written.strip():
            state = "empty"
        elif any(source.split("[", maxsplit=1)[0] == column for source in taken):
            state = "taken"
        else:
            state = "left"
        cells.append(Cell(column, written, state, findings))
    return cells


def _values(mapped: Mapped) -> dict[str, tuple[Value, ...]]:
    """The values that came from the source, by resource."""
    if mapped.bundle is None:
        return {}
    found: dict[str, list[Value]] = {}
    for pointer, origin in mapped.provenance.items():
        steps = pointer.strip("/").split("/")
        resource = mapped.bundle["entry"][int(steps[1])]["resource"]
        value: Any = mapped.bundle
        for step in steps:
            value = value[int(step)] if isinstance(value, list) else value[step]
        target = target_of(pointer, mapped.bundle).partition(".")[2] or pointer
        name = f"{resource['resourceType']}/{resource['id']}"
        shown = " ".join(map(str, value)) if isinstance(value, list) else _written(value)
        found.setdefault(name, []).append(Value(pointer, target, shown, origin.position.column, origin.transform))
    return {name: tuple(values) for name, values in found.items()}


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
