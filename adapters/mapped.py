"""An adapter that is a mapping file and, at most, a few functions of its own: it reads a form (CSV, XML, JSON, XLSX,
HL7), maps, checks, and writes the same form back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from datetime import date
from functools import cached_property
from importlib.resources import files
from typing import Any, BinaryIO

from adapters.agreement import doubts, today
from adapters.converting import convert_with
from adapters.csv_reader import CsvForm
from adapters.faults import MappingError
from adapters.forms import Form, form_of, read, write
from adapters.hl7_doubts import DEATH
from adapters.mapping import CompiledMapping, Status, compile_mapping
from adapters.protecting import names_prohibition, speaks_of_prohibition
from adapters.sdk import AdapterError, Change, ChangeKind, Finding, Limits, Manifest, Mapped, Position, Record, Rendered
from adapters.tables import folded
from adapters.texts import FINDINGS, finding
from adapters.transforms import Transform
from adapters.under_way import Build, Write, member_of
from adapters.workbooks import XlsxForm
from schemas.catalogue import catalogue
from schemas.facts import check_single_subject

#: What marks a further repetition of a field: `5[2].1` beside `5.1`.
_REPETITION = re.compile(r"\[[0-9]+\]")


class MappedAdapter:
    """An adapter made of a manifest and a mapping file in a package."""

    def __init__(
        self,
        manifest: Manifest,
        package: str,
        file: str,
        functions: Mapping[str, Transform] | None = None,
        today: Callable[[], date] = today,
    ) -> None:
        self._manifest = manifest
        self._package = package
        self._file = file
        self._functions = functions or {}
        self._today = today

    @property
    def manifest(self) -> Manifest:
        return self._manifest

    @cached_property
    def mapping(self) -> CompiledMapping:
        """The compiled mapping. Raises MappingError at first use if the file is wrong."""
        text = (files(self._package) / self._file).read_text(encoding="utf-8")
        return compile_mapping(text, catalogue(), source=self._file, functions=self._functions, read=self._beside)

    def compiles(self, text: str) -> str:
        """What is wrong with a text as this adapter's mapping; empty if nothing is."""
        try:
            compile_mapping(text, catalogue(), source=self._file, functions=self._functions, read=self._beside)
        except MappingError as error:
            return str(error)
        return ""

    def _beside(self, name: str) -> str:
        """The text of a file in the package. Raises OSError."""
        if ".." in name.split("/") or name.startswith("/"):
            raise FileNotFoundError(name)
        return (files(self._package) / name).read_text(encoding="utf-8")

    @cached_property
    def _form(self) -> Form:
        return form_of(self.mapping.source, self.mapping.parts)

    @cached_property
    def _passed_over(self) -> tuple[str, ...]:
        """The beginnings of fields that are ignored by name: `PV1-*`."""
        return tuple(name[:-1] for name in self.mapping.ignored if name.endswith("*"))

    def read(self, stream: BinaryIO, limits: Limits) -> Iterator[Record | Finding]:
        """See Adapter."""
        return read(stream, self._form, limits, self.mapping.fields - self.mapping.optional)

    def to_canonical(self, record: Record) -> Mapped:
        """See Adapter."""
        build = Build(record, findings=[told for told in record.findings if not self._is_passed_over(told)])
        if self.mapping.status is not None and self._is_withdrawn(build, self.mapping.status):
            return self._withdrawn(build)
        resources: list[dict[str, Any]] = []
        count: dict[str, int] = {}
        for resource in self.mapping.resources:
            for made in resource.build(build, count, len(resources)):
                resources.append(made)
                count[resource.kind] = count.get(resource.kind, 0) + 1
        build.findings += self._unmapped(build)
        build.findings += self._of_others(build)
        bundle: dict[str, Any] = {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [{"resource": resource} for resource in resources],
        }
        if not any(told.severity == "error" for told in build.findings):
            build.findings += self._against_schema(build, bundle)
        rejected = any(told.severity == "error" for told in build.findings)
        return Mapped(
            record.key,
            None if rejected else bundle,
            build.provenance,
            tuple(build.findings),
            record.position,
        )

    def _of_others(self, build: Build) -> Iterator[Finding]:
        """What the rows of one person say otherwise than the first of them, where the mapping takes it of the person:
        a prohibition in the second row holds as much as one in the first.
        """
        group = self._form.layout.group if isinstance(self._form, CsvForm | XlsxForm) else None
        if group is None or not group.first:
            return
        own = build.record.fields
        for name in self.mapping.fields - self.mapping.parts.get(group.into, frozenset()) - {group.into}:
            held = [row.get(name) for row in own.get(group.into, ())]
            if any(not _empty(value) and value != own.get(name) for value in held):
                yield finding("error", "contradictory", build.at(name))

    def _is_passed_over(self, told: Finding) -> bool:
        """Whether a finding tells of a part of the file that is ignored by name, or a death that the mapping takes."""
        known = self.mapping.fields if told.code == DEATH else self.mapping.ignored
        return told.code in ("not-read", DEATH) and told.position.column in known

    @staticmethod
    def _is_withdrawn(build: Build, status: Status) -> bool:
        """Whether the register has taken the record back. Where nobody can tell, the record stops."""
        value = build.record.fields.get(status.field)
        build.taken.add(status.field)
        if _empty(value):
            return False
        if not isinstance(value, str | int) or (told := folded(value)) not in status.current | status.withdrawn:
            is_readable = isinstance(value, str | int)
            build.findings.append(
                finding("error", "code-unknown" if is_readable else "unreadable", build.at(status.field))
            )
            return False
        return told in status.withdrawn

    def _withdrawn(self, build: Build) -> Mapped:
        """What is said of a record that was taken back: of whom. Nothing else of it is looked at."""
        person = next(self.mapping.resources[0].build(build, {}, 0), {})
        named = person.get("identifier", ())
        at = "/entry/0/resource/identifier"
        doubts = [told for told in build.findings if told.severity == "error" and (told.target or at).startswith(at)]
        if not named and not doubts:
            doubts.append(finding("error", "field-missing", build.record.position, at))
        pairs = tuple((identifier["system"], identifier["value"]) for identifier in named)
        change = None if doubts else Change(ChangeKind.WITHDRAWN, pairs, build.record.key)
        told = doubts or [finding("warning", "client-withdrawn", build.record.position)]
        return Mapped(build.record.key, None, {}, tuple(told), build.record.position, change)

    def _unmapped(self, build: Build) -> list[Finding]:
        """Each field that holds something and is neither taken nor ignored by name."""
        mapping = self.mapping
        found = {told.position.column for told in build.findings}
        left = []
        for name, value in build.record.fields.items():
            if (name in build.taken and name not in mapping.parts) or name in mapping.ignored:
                continue
            if _empty(value) or name.startswith(self._passed_over):
                continue
            if name in mapping.parts:
                value = value if isinstance(value, list) else [value]
                names = mapping.parts[name] | mapping.ignored
                parts = list(_unmapped_parts(name, value, names, build.matched.get(name, ())))
                repeated = [
                    place for place, _ in parts if _REPETITION.sub("", place.rpartition("/")[2]) in mapping.parts[name]
                ]
                build.findings += [finding("error", "contradictory", build.at(place)) for place in repeated]
                left += [part for part in parts if part[0] not in repeated]
            elif name not in build.taken and name not in found:
                left.append((name, name in mapping.fields))
        return [self._left(build, name, is_known) for name, is_known in left]

    @staticmethod
    def _left(build: Build, place: str, is_known: bool) -> Finding:
        """The finding for what holds something and goes nowhere. What may be a prohibition stops the record."""
        field, _, at = place.partition("[")
        part = build.record.fields.get(field)
        number = at.partition("]")[0]
        whole = part[int(number) - 1] if number and isinstance(part, list) and "/" not in at else None
        is_told = any(told.severity == "error" and told.position.column == place for told in build.findings)
        is_indicator = place.startswith("PD1-12") and part != "N"  # HL7's own sign of protection
        # Of a part that the mapping takes, what the list is called says nothing of each of its members.
        own = place.partition("]/")[2] or place
        if not is_told and (is_indicator or names_prohibition(own) or speaks_of_prohibition(whole)):
            return finding("error", "misplaced", build.at(place))
        return finding("warning", "not-taken" if is_known else "column-unmapped", build.at(place))

    def _against_schema(self, build: Build, bundle: dict[str, Any]) -> list[Finding]:
        found = []
        for fault in catalogue().validate_bundle(bundle) or check_single_subject(bundle):
            origin = build.provenance.get(fault.pointer)
            place = origin.position if origin is not None else build.record.position
            code = "field-missing" if fault.code == "required" else FINDINGS.get(fault.code, "schema")
            found.append(finding("error", code, place, fault.pointer))
        for doubt in () if found else doubts(bundle, self._today()):
            origin = build.provenance.get(doubt.pointer) or next(
                (made for at, made in build.provenance.items() if at.startswith(doubt.pointer + "/")), None
            )
            place = origin.position if origin is not None else build.record.position
            found.append(finding(doubt.severity, doubt.code, place, doubt.pointer))
        return found

    def codes_of(self, record: Record) -> Iterator[str]:
        """The identity codes of a record as they stand in it, to be held against those of other records."""
        for name, each in self.mapping.codes:
            if each is None:
                found = [record.fields.get(name)]
            else:
                listed = record.fields.get(each.field)
                parts = listed if isinstance(listed, list) else ()
                found = [member_of(part, name[2:]) for part in parts if each.is_meant(part)]
            yield from (value for value in found if isinstance(value, str) and value and not value.isspace())

    def convert(self, stream: BinaryIO, limits: Limits) -> Iterator[Mapped]:
        """See Adapter."""
        records = convert_with(self, stream, limits, self.codes_of)
        if "safety-prohibition" in self.mapping.cannot_say:
            # Once for a source, with the first of its records that goes on.
            for mapped in records:
                if mapped.bundle is not None:
                    unknown = finding("warning", "safety-unknown", mapped.position)
                    yield replace(mapped, findings=(*mapped.findings, unknown))
                    break
                yield mapped
        yield from records

    def from_canonical(self, bundle: Mapping[str, Any]) -> Rendered:
        """See Adapter."""
        if not self._manifest.writes:
            raise AdapterError(f"{self._manifest.name} only reads")
        into = Write()
        for index, entry in enumerate(bundle["entry"]):
            resource = entry["resource"]
            for template in self.mapping.resources:
                if template.kind == resource["resourceType"] and template.write(
                    into, resource, f"/entry/{index}/resource"
                ):
                    break
        left = [pointer for pointer in _leaves(bundle["entry"], "/entry") if pointer not in into.written]
        findings = tuple(
            finding("warning", "no-place", Position(), pointer) for pointer in left if not _is_form(pointer)
        )
        body = write(into.fields, self._form, sorted(self.mapping.fields))
        return Rendered(self._manifest.media_types[0], body, findings)


def _unmapped_parts(
    field: str, parts: list[Any], names: Collection[str], matched: Collection[int]
) -> Iterator[tuple[str, bool]]:
    """The parts of a list, and the members of them, that no `each` takes; with whether the mapping knows them."""
    for index, part in enumerate(parts):
        if index not in matched:
            yield f"{field}[{index + 1}]", True
        elif isinstance(part, dict):
            for name, value in _paths(part, names):
                if name not in names and f"{field}/{name}" not in names and not _empty(value):
                    yield f"{field}[{index + 1}]/{name}", False


def _paths(part: Mapping[str, Any], names: Collection[str], before: str = "") -> Iterator[tuple[str, Any]]:
    """The members of a part by their paths, as deep as the mapping looks."""
    for name, value in part.items():
        path = f"{before}{name}"
        if isinstance(value, dict) and any(known.startswith(f"{path}/") for known in names):
            yield from _paths(value, names, f"{path}/")
        else:
            yield path, value


def _empty(value: Any) -> bool:
    return value in (None, "", [], {}) or (isinstance(value, str) and not value.strip())


def _leaves(value: Any, pointer: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _leaves(member, f"{pointer}/{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{pointer}/{index}")
    else:
        yield pointer


#: What is form and not content: it needs no place in another format.
_FORM = frozenset({"resourceType", "id", "url", "system", "status", "intent", "reference", "display"})


def _is_form(pointer: str) -> bool:
    return pointer.rsplit("/", 1)[-1] in _FORM
