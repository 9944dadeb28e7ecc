"""What every adapter must hold, as checks that a developer, a package's own tests and a vendor run alike.

* maps: of each sample some record is mapped, unless it is declared to be there to be refused.
* protects: each protecting fact is made by the mapping, or it says that its source cannot know it.
* rejections: no record is rejected that was not before, unless that was agreed on with a reason.
* golden: each sample becomes what its golden file says.
* nothing-lost: `read = mapped + rejected`, each field of the sample is mapped, ignored by name or reported, and of what
  a reader in Python reads each line of the sample is in a record or told.
* valid-output: each bundle keeps the schemas and is about one person.
* repeatable: the same bytes give the same result.
* round-trip: what the adapter writes it reads back to the same record, as far as its format has place.
* dirty-input: samples that were broken in many ways neither crash it nor make anything vanish.

A check gives its faults as sentences; none of them holds a value of a record.
"""

from __future__ import annotations

import io
import random
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.sdk import Adapter, Finding, Limits, Mapped, Record, golden, rejections
from adapters.sdk.counting import unread
from adapters.sdk.folders import Package, open_folder
from schemas import reference
from schemas.catalogue import catalogue
from schemas.facts import check_single_subject
from schemas.identifiers import HETU

__all__ = [
    "CHECKS",
    "Check",
    "Coverage",
    "Package",
    "coverage",
    "dirtied",
    "ignored_by",
    "open_folder",
]

#: Faults told of one check; the rest are counted.
_TOLD = 10
DIRTY_ROUNDS = 60


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that an adapter must hold: its name, what it means, and the faults of a package."""

    name: str
    means: str
    _find: Callable[[Package], Iterator[str]]
    _applies: Callable[[Package], bool] = lambda _: True

    def applies(self, package: Package) -> bool:
        """Whether there is anything to check: an adapter that only reads has no round trip."""
        return self._applies(package)

    def faults(self, package: Package) -> list[str]:
        """What is wrong, at most some of it; empty if nothing is."""
        found = list(self._find(package))
        return found if len(found) <= _TOLD else [*found[:_TOLD], f"… and {len(found) - _TOLD} more"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the source over all samples: how often it held something (`kept`: in a record that was mapped),
    where that went, what became of it.
    """

    name: str
    filled: int
    targets: tuple[str, ...]
    transforms: tuple[str, ...]
    ignored: bool
    reported: int
    kept: int

    @property
    def lost(self) -> bool:
        """Whether a record that was mapped held something in it, and nothing was said of it."""
        return bool(self.kept) and not self.targets and not self.ignored and not self.reported


@dataclass(frozen=True, slots=True)
class Coverage:
    """Source fields against target elements, over all samples."""

    fields: tuple[Field, ...]
    read: int
    mapped: int
    rejected: int
    findings: Mapping[str, int] = field(default_factory=dict)

    @property
    def share(self) -> str:
        """How much of the samples is mapped, for people."""
        return f"maps {self.mapped} of {self.read} records ({100 * self.mapped // max(self.read, 1)} %)"


def coverage(package: Package) -> Coverage:
    """Where each field of the samples went."""
    filled: dict[str, int] = {}
    kept: dict[str, int] = {}
    targets: dict[str, set[str]] = {}
    transforms: dict[str, set[str]] = {}
    reported: dict[str, int] = {}
    findings: dict[str, int] = {}
    ignored = _ignored(package.adapter)
    read = mapped = rejected = 0
    for sample in package.samples:
        data = sample.read_bytes()
        items = package.adapter.read(io.BytesIO(data), Limits())
        for item, result in zip(items, package.adapter.convert(io.BytesIO(data), Limits()), strict=False):
            read += 1
            mapped += result.bundle is not None
            rejected += result.bundle is None
            for name, value in item.fields.items() if isinstance(item, Record) else ():
                filled[name] = filled.get(name, 0) + (not _empty(value))
                kept[name] = kept.get(name, 0) + (result.bundle is not None and not _empty(value))
            for pointer, origin in result.provenance.items():
                if result.bundle is not None:
                    name = _top(origin.position.column)
                    targets.setdefault(name, set()).add(target_of(pointer, result.bundle))
                    transforms.setdefault(name, set()).add(origin.transform)
            for found in result.findings:
                findings[found.code] = findings.get(found.code, 0) + 1
                name = _top(found.position.column)
                reported[name] = reported.get(name, 0) + 1
    names = dict.fromkeys([*filled, *targets])
    fields = tuple(
        Field(
            name,
            filled.get(name, 0),
            tuple(sorted(targets.get(name, ()))),
            tuple(sorted(transforms.get(name, ()))),
            ignored_by(name, ignored),
            reported.get(name, 0),
            kept.get(name, 0),
        )
        for name in names
    )
    return Coverage(fields, read, mapped, rejected, findings)


def target_of(pointer: str, bundle: Mapping[str, Any] | None) -> str:
    """A pointer into a bundle as a person reads it: `Patient.name.family`, `Patient.move.date`."""
    value: Any = bundle
    parts: list[str] = []
    for step in pointer.strip("/").split("/"):
        holder = value
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (KeyError, IndexError, ValueError, TypeError):
            value = None
        if step == "resource" and isinstance(value, dict):
            parts.append(str(value.get("resourceType", "")))
        elif step.isdigit() and isinstance(value, dict) and parts:
            told = value.get("url") or value.get("system")
            if parts[-1] == "extension" and isinstance(told, str):
                parts[-1] = re.split("[:/]", told)[-1]
            elif parts[-1] in {"identifier", "telecom"} and isinstance(told, str):
                parts[-1] = f"{parts[-1]}({re.split('[:/]', told)[-1]})"
        elif not (step.isdigit() or step in {"entry", "coding"} or _form(step, holder)):
            parts.append(step)
    return ".".join(parts)


def _form(step: str, holder: Any) -> bool:
    """Whether a step is how FHIR writes a value and not what it is: `valueDate`, the `code` of a Coding."""
    return re.fullmatch(r"value[A-Z]\w*", step) is not None or (
        step in {"code", "value"} and isinstance(holder, dict) and "system" in holder
    )


def dirtied(data: bytes, draw: random.Random) -> bytes:
    """The bytes of a sample, broken in one of the ways in which exports break."""
    if not data:
        return data
    at, end = sorted((draw.randrange(len(data)), draw.randrange(len(data))))
    lines = data.splitlines(keepends=True)
    line = draw.randrange(len(lines))
    match draw.randrange(12):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + data[end:]
        case 2:
            return data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :]
        case 3:
            return data[:at] + bytes(draw.randrange(256) for _ in range(8)) + data[at:]
        case 4:
            return b"".join([*lines[: line + 1], lines[line], *lines[line + 1 :]])
        case 5:
            return b"".join([*lines[:line], *lines[line + 1 :]])
        case 6:
            return b"".join([*lines[:line], b"\r\n\r\n", *lines[line:]])
        case 7:
            return data[:at] + draw.choice([b'"', b"<", b"{", b"]", b"'", b";", b"\t", b","]) + data[at:]
        case 8:
            return data[:at] + b"\x00" + data[at:]
        case 9:
            return data[:at] + b"9" * 30_000 + data[at:]
        case 10:
            return data.decode("utf-8", "replace").encode("utf-16")
        case _:
            return re.sub(rb"[0-9]", lambda found: bytes([48 + (found[0][0] + 1) % 10]), data, count=draw.randrange(20))


# -- the checks -----------------------------------------------------------------------------------------------------


def _maps(package: Package) -> Iterator[str]:
    """What an adapter is for. The other checks hold of one that refuses everything, for they compare it with itself."""
    names = {sample.name for sample in package.samples}
    yield from (f"{name} is declared as rejected and is no sample" for name in package.rejected if name not in names)
    for sample in package.samples:
        with sample.open("rb") as stream:
            results = list(package.adapter.convert(stream, Limits()))
        mapped = sum(result.bundle is not None for result in results)
        if sample.name in package.rejected:
            if mapped:
                yield f"{sample.name} is declared as rejected, and {mapped} of its records are mapped"
        elif not mapped:
            codes = ", ".join(sorted({found.code for result in results for found in result.findings if _stops(found)}))
            yield (
                f"{sample.name}: none of its {len(results)} records is mapped ({codes or 'no finding says why'}); mend "
                f'the mapping, or declare it in pyproject.toml: [tool.yhdyspinta] rejected = ["{sample.name}"]'
            )
        elif nobody := sum(result.bundle is not None and not is_somebody(result.bundle) for result in results):
            yield f"{sample.name}: {nobody} records have {_FLOOR}"


_FLOOR = "neither a name, nor an identity code, nor a birth date, and are nobody whom a receiver could know; map one"
_UNWRITTEN = "a layout, or a field that is parted, is not written again: say writes=False in the adapter's Manifest"


def is_somebody(bundle: Mapping[str, Any]) -> bool:
    """Whether a receiver could know whom a bundle is about: by a name, an identity code or a birth date."""
    patients = [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "Patient"]
    return any(
        patient.get("birthDate")
        or any(name.get("family") for name in patient.get("name", ()))
        or any(number["system"] == HETU for number in patient.get("identifier", ()))
        for patient in patients
    )


def _protects(package: Package) -> Iterator[str]:
    mapping = getattr(package.adapter, "mapping", None)
    for fact in sorted(getattr(mapping, "unsaid", frozenset()) - getattr(mapping, "cannot_say", frozenset())):
        yield f"the mapping says nothing of {fact}: map it, or write cannot-say: [{fact}] if the source cannot know it"


def _stops(found: Finding) -> bool:
    return found.severity == "error"


def _nothing_lost(package: Package) -> Iterator[str]:
    for sample in package.samples:
        data = sample.read_bytes()
        yield from _lost(package.adapter, data, sample.name)
        for row in unread(package.adapter, data):
            yield f"{sample.name}: row {row}: something of it is in no record and in no finding that `read` gives"
    for source in coverage(package).fields:
        if source.lost:
            yield f"{source.name} holds a value in {source.filled} records and is neither mapped, ignored nor reported"


def _lost(adapter: Adapter, data: bytes, name: str) -> Iterator[str]:
    read = sum(1 for _ in adapter.read(io.BytesIO(data), Limits()))
    results = list(adapter.convert(io.BytesIO(data), Limits()))
    if read != len(results):
        yield f"{name}: {read} records were read, {len(results)} were told of"
    for mapped in results:
        if mapped.bundle is None and not any(finding.severity == "error" for finding in mapped.findings):
            yield f"{name}: row {mapped.position.row} was rejected without a finding that says why"


def _valid(package: Package) -> Iterator[str]:
    for sample in package.samples:
        with sample.open("rb") as stream:
            for mapped in package.adapter.convert(stream, Limits()):
                yield from _invalid(mapped, sample.name)


def _invalid(mapped: Mapped, name: str) -> Iterator[str]:
    if mapped.bundle is None:
        return
    faults = catalogue().validate_bundle(mapped.bundle) or check_single_subject(mapped.bundle)
    for fault in faults:
        yield f"{name}: row {mapped.position.row}: {fault.pointer}: {fault.message}"
    if faults:
        return
    # Others may validate with another library than a node does; what only one of the two takes is not sound.
    for number, entry in enumerate(mapped.bundle["entry"]):
        if not reference.is_valid(entry["resource"]):
            yield f"{name}: row {mapped.position.row}: /entry/{number}/resource: a second validator does not take it"


def _repeatable(package: Package) -> Iterator[str]:
    for sample in package.samples:
        if golden.golden_of(package.adapter, sample) != golden.golden_of(package.adapter, sample):
            yield f"{sample.name}: read twice, it becomes two different things"


def _round_trip(package: Package) -> Iterator[str]:
    adapter = package.adapter
    for sample in package.samples:
        with sample.open("rb") as stream:
            bundles = [
                (result.position.row, result.bundle) for result in adapter.convert(stream, Limits()) if result.bundle
            ]
        for row, bundle in bundles:
            rendered = adapter.from_canonical(bundle)
            back = list(adapter.convert(io.BytesIO(rendered.body), Limits()))
            if len(back) != 1 or back[0].bundle is None:
                codes = ", ".join(sorted({found.code for result in back for found in result.findings}))
                yield f"{sample.name}: row {row}: what was written cannot be read back ({codes}); {_UNWRITTEN}"
            elif not rendered.findings and back[0].bundle != bundle:
                yield f"{sample.name}: row {row}: what was written is read back as another record"
            elif not _settles(adapter, back[0].bundle):
                yield f"{sample.name}: row {row}: written a second time, it is another record"


def _settles(adapter: Adapter, bundle: Mapping[str, Any]) -> bool:
    """Whether a record that has been written and read once stays as it is; files may differ, by their time for one."""
    again = list(adapter.convert(io.BytesIO(adapter.from_canonical(bundle).body), Limits()))
    return len(again) == 1 and again[0].bundle == bundle


def _dirty_input(package: Package) -> Iterator[str]:
    draw = random.Random(20261124)  # noqa: S311 - samples, not secrets
    for sample in package.samples:
        data = sample.read_bytes()[: 64 * 1024]
        for _ in range(DIRTY_ROUNDS):
            broken = dirtied(data, draw)
            if draw.random() < 0.3:
                broken = dirtied(broken, draw)
            try:
                yield from _lost(package.adapter, broken, f"{sample.name}, broken")
                for mapped in package.adapter.convert(io.BytesIO(broken), Limits()):
                    yield from _invalid(mapped, f"{sample.name}, broken")
            except Exception as error:
                yield f"{sample.name}, broken: {type(error).__name__} instead of a finding"


CHECKS: tuple[Check, ...] = (
    Check("maps", "of each sample some record is mapped", _maps),
    Check("protects", "each protecting fact is mapped, or declared as one that the source cannot know", _protects),
    Check("rejections", "no record is rejected that was not before, unless that was agreed on", rejections.faults),
    Check("golden", "each sample becomes what its golden file says", golden.faults),
    Check("nothing-lost", "each record and each field is mapped, ignored by name or reported", _nothing_lost),
    Check("valid-output", "each bundle keeps the schemas", _valid),
    Check("repeatable", "the same bytes give the same result", _repeatable),
    Check(
        "round-trip",
        "what is written is read back the same",
        _round_trip,
        lambda package: package.adapter.manifest.writes,
    ),
    Check("dirty-input", "broken samples neither crash it nor make anything vanish", _dirty_input),
)


def _ignored(adapter: Adapter) -> frozenset[str]:
    mapping = getattr(adapter, "mapping", None)
    return frozenset(getattr(mapping, "ignored", ()))


def ignored_by(name: str, ignored: Collection[str]) -> bool:
    """Whether a field is left out by name, or by the beginning of its name: `PV1-*`."""
    return name in ignored or any(pattern.endswith("*") and name.startswith(pattern[:-1]) for pattern in ignored)


def _top(column: str) -> str:
    """The field of a place within it: `needs[2]/code` stands in `needs`."""
    return column.split("[", maxsplit=1)[0]


def _empty(value: Any) -> bool:
    return value in (None, "", [], {}) or (isinstance(value, str) and not value.strip())
