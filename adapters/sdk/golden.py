"""What each sample became when it was last agreed on, kept in a file beside it, and where it becomes something else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from adapters.sdk import Adapter, Finding, Limits, Mapped
from adapters.sdk.folders import Package


def golden_of(adapter: Adapter, sample: Path) -> bytes:
    """What a sample becomes, as its golden file holds it."""
    with sample.open("rb") as stream:
        documents = [_document(mapped) for mapped in adapter.convert(stream, Limits())]
    return orjson.dumps(documents, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def write_golden(package: Package) -> list[Path]:
    """Make what the samples become now their golden files; gives those that changed."""
    changed = []
    for sample in package.samples:
        path, wanted = package.golden(sample), golden_of(package.adapter, sample)
        if not path.exists() or path.read_bytes() != wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(wanted)
            changed.append(path)
    return changed


def faults(package: Package) -> Iterator[str]:
    """Where the samples become something else than their golden files say."""
    if not package.samples:
        yield "there is no sample; put one into samples/"
    for sample in package.samples:
        path = package.golden(sample)
        if not path.exists():
            yield f"{path.relative_to(package.folder)} is missing; look at the preview, then accept the result"
            continue
        wanted, found = orjson.loads(path.read_bytes()), orjson.loads(golden_of(package.adapter, sample))
        if wanted != found:
            yield from _differences(f"{sample.name}", wanted, found)


def _document(mapped: Mapped) -> dict[str, Any]:
    return {
        "row": mapped.position.row,
        "findings": [_told(found) for found in mapped.findings],
        "bundle": mapped.bundle,
    }


def _told(found: Finding) -> dict[str, Any]:
    return {
        "severity": found.severity,
        "code": found.code,
        "row": found.position.row,
        "column": found.position.column,
        "target": found.target,
    }


def _differences(name: str, wanted: Any, found: Any, pointer: str = "") -> Iterator[str]:
    """Where two results differ, by pointer: never what stands there."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in dict.fromkeys([*wanted, *found]):
            if key not in found:
                yield f"{name}: {pointer}/{key} is in the golden file and no longer in the result"
            elif key not in wanted:
                yield f"{name}: {pointer}/{key} is in the result and not in the golden file"
            else:
                yield from _differences(name, wanted[key], found[key], f"{pointer}/{key}")
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for index, (item, other) in enumerate(zip(wanted, found, strict=True)):
            yield from _differences(name, item, other, f"{pointer}/{index}")
    elif isinstance(wanted, list) and isinstance(found, list):
        yield f"{name}: {pointer or '/'} has {len(found)} items instead of {len(wanted)}"
    elif wanted != found:
        yield f"{name}: {pointer or '/'} is another value than in the golden file"
