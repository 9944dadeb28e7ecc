"""A mapped record's provenance as FHIR has it: for each resource, the cells and transforms that its values came from.

It names places and transforms, never a value. It speaks about a record and never travels in one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from adapters.sdk import Mapped, Origin

_ORIGIN = "urn:yhdyspinta:extension:value-origin"


def provenance_of(mapped: Mapped, *, adapter: str, recorded: datetime) -> list[dict[str, Any]]:
    """A Provenance for each resource of a mapped record; none for a rejected one. `recorded` is an aware instant."""
    if mapped.bundle is None:
        return []
    origins: dict[int, dict[str, Origin]] = {}
    for pointer, origin in mapped.provenance.items():
        _, _, index, _, rest = pointer.split("/", 4)
        origins.setdefault(int(index), {})["/" + rest] = origin
    return [
        _provenance(number, mapped.bundle["entry"][index]["resource"], values, adapter, recorded)
        for number, (index, values) in enumerate(sorted(origins.items()), 1)
    ]


def _provenance(
    number: int, resource: Mapping[str, Any], values: Mapping[str, Origin], adapter: str, recorded: datetime
) -> dict[str, Any]:
    return {
        "resourceType": "Provenance",
        "id": f"provenance-{number}",
        "extension": [{"url": _ORIGIN, "extension": _parts(pointer, origin)} for pointer, origin in values.items()],
        "target": [{"reference": f"{resource['resourceType']}/{resource['id']}"}],
        "recorded": recorded.isoformat(timespec="seconds"),
        "agent": [{"who": {"display": adapter}}],
    }


def _parts(pointer: str, origin: Origin) -> list[dict[str, Any]]:
    place = origin.position
    parts: list[dict[str, Any]] = [{"url": "pointer", "valueString": pointer}]
    if place.file:
        parts.append({"url": "file", "valueString": place.file})
    if place.row:
        parts.append({"url": "row", "valueInteger": place.row})
    if place.column:
        parts.append({"url": "column", "valueString": place.column})
    return [*parts, {"url": "transform", "valueString": origin.transform}]
