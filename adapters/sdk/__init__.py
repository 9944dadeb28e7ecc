"""What an adapter is: reads records of a source format, maps them to canonical bundles, writes bundles in a
recipient's format.

An adapter is found by the entry point group `yhdyspinta.adapters`. It is given bytes and gives back values; it never
sees keys, policy or the network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, BinaryIO, Final, Literal, Protocol

from texts import Text as Text

GROUP = "yhdyspinta.adapters"

Severity = Literal["error", "warning"]


class AdapterError(Exception):
    """There is no such adapter, or it cannot do what was asked of it."""


class Unreadable(Enum):
    """What a record holds in place of a value that its source cannot say: an error in a cell, a formula that was never
    calculated. It is never the same as an empty field; whatever is made of it is a finding.
    """

    VALUE = "\ufffd"

    def __str__(self) -> str:
        """What is shown of it: the character for what cannot be read."""
        return self.value


UNREADABLE: Final = Unreadable.VALUE


class NumberCell(int):
    """A whole number that a cell of a spreadsheet holds as such: whether zeros stood before it nobody knows."""


class DateCell(str):
    """A day that a cell of a spreadsheet holds as such: as an identifier it is none."""


class Withdrawn(dict[str, Any]):
    """An object in a list of a record that its source takes back: deleted, or posted to the wrong person."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a source: the file (empty if it has no name), the row or line from 1, the column or path."""

    file: str = ""
    row: int = 0
    column: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """What only the developer's tools show of a finding: the value, the rule that refused it, what comes nearest."""

    value: str
    rule: str
    near: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that an adapter could not take: where it stands, where it was to go, what is wrong, how to mend it.

    Neither text ever holds the value itself, nor does what is written of a finding: `shown` is for the developer's
    tools, where persons are invented, and no node writes it anywhere.
    """

    severity: Severity
    code: str
    position: Position
    target: str | None
    message: Text
    hint: Text
    shown: Shown | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON values, its sentences in all three languages."""
        return {
            "severity": self.severity,
            "code": self.code,
            "file": self.position.file,
            "row": self.position.row,
            "column": self.position.column,
            "target": self.target,
            "message": self.message.to_dict(),
            "hint": self.hint.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an adapter reads before it refuses; a refusal names the member of this class that it stands on.

    `total_bytes` of a source (for XLSX also of each part unpacked), `records` of it, `row_characters` of one record
    as text, `field_characters` of one field, `fields` of one record, `depth` of nesting, `ratio` of unpacked to packed
    bytes, `seconds` for the whole source by `clock`. Where an adapter runs in a reader process, it may take `memory_mb`
    of address space, and `record_seconds` of processor time for one record.
    """

    total_bytes: int = 64 * 1024 * 1024
    records: int = 1_000_000
    row_characters: int = 200_000
    field_characters: int = 20_000
    fields: int = 1_000
    depth: int = 32
    ratio: int = 100
    seconds: float = 3_600.0
    memory_mb: int = 1_024
    record_seconds: float = 10.0
    clock: Callable[[], float] = field(default=time.monotonic, compare=False)


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a source: its key, its fields by name or path, its place, and what its reader has to tell of it."""

    key: str
    fields: Mapping[str, Any]
    position: Position
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value of a bundle came from: the place in the source and the transform that made it."""

    position: Position
    transform: str


class ChangeKind(StrEnum):
    """What a source says of a record, in place of the record."""

    WITHDRAWN = "client-withdrawn"  # the register has taken back its record of the person


@dataclass(frozen=True, slots=True)
class Change:
    """What a source says of a record that it gave before: of whom, by identifiers as pairs of system and value, and of
    which record, by its key there.
    """

    kind: ChangeKind
    identifiers: tuple[tuple[str, str], ...]
    key: str = ""


@dataclass(frozen=True, slots=True)
class Mapped:
    """One record, mapped. `bundle` is None if it was rejected; `findings` then say why.

    `provenance` gives the origin of each value by its JSON Pointer in the bundle. With a `change` there is no bundle
    either: who does not know of changes takes it for a record that was rejected, and hands nothing over. `made_by` is
    the version of the adapter, where a node had it made.
    """

    key: str
    bundle: dict[str, Any] | None
    provenance: Mapping[str, Origin]
    findings: tuple[Finding, ...]
    position: Position
    change: Change | None = None
    made_by: str = ""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A bundle in a recipient's format, and what that format has no place for."""

    media_type: str
    body: bytes
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an adapter says of itself: its name, its title, the media types that it reads or writes."""

    name: str
    title: Text
    media_types: tuple[str, ...]
    reads: bool = True
    writes: bool = False
    extensions: tuple[str, ...] = field(default=())


class Adapter(Protocol):
    """An adapter of one source or recipient format."""

    @property
    def manifest(self) -> Manifest:
        """What the adapter is."""
        ...

    def read(self, stream: BinaryIO, limits: Limits) -> Iterator[Record | Finding]:
        """The records of a source in their order, and a finding in place of each that cannot be read."""
        ...

    def to_canonical(self, record: Record) -> Mapped:
        """Map one record."""
        ...

    def convert(self, stream: BinaryIO, limits: Limits) -> Iterator[Mapped]:
        """Read and map: one Mapped for each record, rejected ones included."""
        ...

    def from_canonical(self, bundle: Mapping[str, Any]) -> Rendered:
        """Write a bundle in this format. Raises AdapterError if the adapter only reads."""
        ...


#: The adapters that come with the node, by name: where each is made. Others are found by their entry points, so that
#: what an installation has registered can be stale without a shipped adapter going missing.
SHIPPED: Mapping[str, str] = MappingProxyType(
    {
        "canonical": "adapters.canonical:CanonicalAdapter",
        "county-hl7": "adapters.wellbeing_county:hl7_adapter",
        "county-json": "adapters.wellbeing_county:json_adapter",
        "fhir-r4": "adapters.fhir_r4:FhirAdapter",
        "municipality-json": "adapters.municipality:json_adapter",
        "municipality-xlsx": "adapters.municipality:xlsx_adapter",
        "reception-centre-csv": "adapters.reception_centre:csv_adapter",
        "reception-centre-xml": "adapters.reception_centre:xml_adapter",
    }
)


@cache
def load(name: str) -> Adapter:
    """The adapter of that name: a shipped one, or an installed one. Raises AdapterError."""
    if name in SHIPPED:
        module, _, maker = SHIPPED[name].partition(":")
        shipped: Adapter = getattr(import_module(module), maker)()
        return shipped
    for point in entry_points(group=GROUP, name=name):
        adapter: Adapter = point.load()()
        return adapter
    raise AdapterError(f"no adapter {name!r} is installed")


def is_installed(name: str) -> bool:
    """Whether an adapter of that name comes with the product or is installed beside it."""
    return name in SHIPPED or bool(entry_points(group=GROUP, name=name))


@cache
def available() -> tuple[Manifest, ...]:
    """The manifests of all shipped and installed adapters, by name."""
    names = {*SHIPPED, *(point.name for point in entry_points(group=GROUP))}
    return tuple(load(name).manifest for name in sorted(names))
