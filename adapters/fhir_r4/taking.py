"""Take of a FHIR resource what a canonical schema has a place for, and tell the rest by its place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from adapters.legibility import is_damaged
from adapters.sdk import Finding, Origin, Position, Severity
from adapters.texts import damage, finding
from adapters.transforms import day_of_instant
from schemas.shape import Shape

#: Members that are left out on purpose: renderings, versions and labels of what is said elsewhere.
_IGNORED = frozenset(
    {
        "text",
        "meta/profile",
        "meta/versionId",
        "meta/lastUpdated",
        "meta/source",
        "identifier/use",
        "identifier/type",
        "name/use",
        "name/text",
        "telecom/use",
        "telecom/rank",
        "address/use",
        "address/text",
        "active",
        "identifier/period",
        "name/period",
        "telecom/period",
        "address/period",
    }
)
_INSTANT = re.compile(r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2})\Z")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")

_NOTHING: Any = object()

#: Stands in a list where something was that has been taken to another place.
MOVED: Any = object()


class Taking:
    """What is taken of one record: the origin of each value, and a finding for each that is left."""

    def __init__(self, row: int, names: Mapping[Any, str]) -> None:
        self._row = row
        self._names = names
        self.findings: list[Finding] = []
        self.provenance: dict[str, Origin] = {}

    def take(self, resource: Mapping[str, Any], shape: Shape, at: str, to: str) -> dict[str, Any]:
        """The part of a resource that the shape knows; `at` is its place in the source, `to` in the record."""
        taken = self._object(resource, shape, at, to, "")
        assert isinstance(taken, dict)
        return taken

    def tell(self, severity: Severity, code: str, at: str) -> None:
        """Tell of a place."""
        self.findings.append(finding(severity, code, Position(row=self._row, column=at)))

    def leave(self, at: str, value: Any) -> None:
        """Tell of each value below a place that it is not taken."""
        for pointer in _leaves(value, at):
            self.findings.append(finding("warning", "column-unmapped", Position(row=self._row, column=pointer)))

    def refuse(self, code: str, at: str) -> None:
        """Tell of a value that cannot be taken; the record is rejected."""
        self.findings.append(finding("error", code, Position(row=self._row, column=at)))

    def _value(self, value: Any, shape: Shape, at: str, to: str, path: str) -> Any:
        if shape.kind == "choice":
            told = value.get(shape.key) if isinstance(value, dict) else None
            option = shape.options.get(told) if isinstance(told, str) else None
            if option is None:
                self.leave(at, value)
                return _NOTHING
            shape = option
        if shape.kind == "object" and isinstance(value, dict):
            return self._object(value, shape, at, to, path)
        if shape.kind == "array" and isinstance(value, list):
            return self._array(value, shape, at, to, path)
        return self._leaf(value, shape, at, to)

    def _object(self, value: Mapping[str, Any], shape: Shape, at: str, to: str, path: str) -> Any:
        taken: dict[str, Any] = {}
        for name, member in value.items():
            inner = shape.members.get(name)
            below = f"{path}/{name}" if path else name
            if inner is not None:
                found = self._value(member, inner, f"{at}/{_escaped(name)}", f"{to}/{name}", below)
                if found is not _NOTHING:
                    taken[name] = found
            elif below == "meta" and isinstance(member, dict):
                for part, content in member.items():
                    if f"meta/{part}" not in _IGNORED:
                        self.leave(f"{at}/meta/{_escaped(part)}", content)
            elif below not in _IGNORED:
                self.leave(f"{at}/{_escaped(name)}", member)
        return taken if taken or not value else _NOTHING

    def _array(self, value: list[Any], shape: Shape, at: str, to: str, path: str) -> Any:
        assert shape.item is not None
        taken: list[Any] = []
        for index, item in enumerate(value):
            if item is MOVED:
                continue
            found = self._value(item, shape.item, f"{at}/{index}", f"{to}/{len(taken)}", path)
            if found is not _NOTHING:
                taken.append(found)
        return taken if taken or not value else _NOTHING

    def _leaf(self, value: Any, shape: Shape, at: str, to: str) -> Any:
        transform = "same"
        if isinstance(value, str):
            if _CONTROLS.search(value):
                self.refuse("control-character", at)
                return _NOTHING
            if is_damaged(value):
                self.findings.append(damage(Position(row=self._row, column=at), to))
            if to.endswith("/reference"):
                value, transform = self._names.get(value, value), "reference"
            elif shape.pattern is not None and _INSTANT.match(value) and not to.endswith("/birthDate"):
                # A birth date may be no instant: which day it was depends on a place that nobody names.
                value, transform = day_of_instant(value), "day-of"
        self.provenance[to] = Origin(Position(row=self._row, column=at), transform)
        return value


def _leaves(value: Any, at: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for name, member in value.items():
            yield from _leaves(member, f"{at}/{_escaped(name)}")
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, f"{at}/{index}")
    elif value is not MOVED and not isinstance(value, dict | list):
        yield at


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
