"""The canonical form itself as an adapter: JSON bundles in, the same out, checked against the schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import orjson

from adapters.agreement import doubts, today
from adapters.json_reader import JsonForm, read_json
from adapters.sdk import Finding, Limits, Manifest, Mapped, Record, Rendered, Text
from adapters.texts import FINDINGS, finding
from schemas.catalogue import catalogue
from schemas.facts import check_single_subject

_MEDIA_TYPE = "application/fhir+json"


class CanonicalAdapter:
    """Bundles as they are: one, or a list of them."""

    @property
    def manifest(self) -> Manifest:
        return Manifest(
            "canonical",
            Text("Kanoninen paketti", "Kanonisk bunt", "Canonical bundle"),
            (_MEDIA_TYPE,),
            writes=True,
            extensions=("json",),
        )

    def read(self, stream: BinaryIO, limits: Limits) -> Iterator[Record | Finding]:
        """See Adapter."""
        return read_json(stream, JsonForm("id"), limits)

    def to_canonical(self, record: Record) -> Mapped:
        """See Adapter."""
        bundle = dict(record.fields)
        found = catalogue().validate_bundle(bundle) or check_single_subject(bundle)
        findings = tuple(
            finding("error", FINDINGS.get(item.code, "schema"), record.position, item.pointer) for item in found
        ) or tuple(
            finding(doubt.severity, doubt.code, record.position, doubt.pointer) for doubt in doubts(bundle, today())
        )
        rejected = any(told.severity == "error" for told in findings)
        return Mapped(record.key, None if rejected else bundle, {}, findings, record.position)

    def convert(self, stream: BinaryIO, limits: Limits) -> Iterator[Mapped]:
        """See Adapter."""
        for item in self.read(stream, limits):
            if isinstance(item, Finding):
                yield Mapped("", None, {}, (item,), item.position)
            else:
                yield self.to_canonical(item)

    def from_canonical(self, bundle: Mapping[str, Any]) -> Rendered:
        """See Adapter."""
        return Rendered(_MEDIA_TYPE, orjson.dumps(bundle))
