"""Which records of the samples are rejected with the developer's consent: a new one needs consent of its own.

The golden file of a sample says which of its records were rejected when it was accepted, `golden/rejections.json` says
why. A record that has come to be rejected since is a fault until it is accepted by name and with a reason: accepting
the other results does not accept it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from adapters.sdk import AdapterError, Limits
from adapters.sdk.folders import Package

_GIVEN = re.compile(r"(?:(?P<sample>[^=]+):)?(?P<row>[0-9]+)=(?P<why>.*\S)", re.DOTALL)
UNTOLD = "rejected when the sample was first accepted"
DECLARED = "the sample is declared to be refused"


@dataclass(frozen=True, slots=True, order=True)
class Rejected:
    """A record of a sample that is rejected: where, by which codes, and why that was agreed on; empty: it was not."""

    sample: str
    row: int
    codes: tuple[str, ...] = ()
    why: str = ""

    def __str__(self) -> str:
        """How it is named in commands and faults."""
        return f"{self.sample}:{self.row}"


def rejected(package: Package) -> list[Rejected]:
    """The records of the samples that are rejected now."""
    reasons = _reasons(package)
    found = []
    for sample in package.samples:
        before = _before(package, sample)
        with sample.open("rb") as stream:
            for mapped in package.adapter.convert(stream, Limits()):
                if mapped.bundle is None and mapped.change is None:
                    row = mapped.position.row
                    codes = tuple(sorted({finding.code for finding in mapped.findings if finding.severity == "error"}))
                    is_agreed = before is None or row in before
                    why = reasons.get(sample.name, {}).get(str(row), UNTOLD) if is_agreed else ""
                    why = DECLARED if sample.name in package.rejected else why
                    found.append(Rejected(sample.name, row, codes, why))
    return found


def faults(package: Package) -> Iterator[str]:
    """The records that nobody has agreed to reject."""
    for record in rejected(package):
        if not record.why:
            yield (
                f"{record} is rejected ({', '.join(record.codes)}) and was not before; mend the mapping, "
                f'or agree: --accept --reject "{record}=why"'
            )


def accept(package: Package, given: Sequence[str]) -> None:
    """Agree to rejections, each as `SAMPLE:ROW=WHY`, or `ROW=WHY` where there is one sample, and keep their reasons.

    Raises AdapterError if one is left that was not agreed on, or one is given that is not rejected.
    """
    why = dict(_given(package, text) for text in given)
    now = rejected(package)
    if strange := sorted(
        f"{sample}:{row}" for sample, row in why.keys() - {(record.sample, record.row) for record in now}
    ):
        raise AdapterError(f"{', '.join(strange)} is not rejected, so there is nothing to agree to")
    if left := [str(record) for record in now if not record.why and (record.sample, record.row) not in why]:
        raise AdapterError(
            f"{', '.join(left)} would be rejected, and was not before; mend the mapping, or agree to each: "
            f'--reject "{left[0]}=why"'
        )
    kept: dict[str, dict[str, str]] = {}
    for record in now:
        reason = why.get((record.sample, record.row), record.why)
        if reason not in (UNTOLD, DECLARED):
            kept.setdefault(record.sample, {})[str(record.row)] = reason
    if kept or _file(package).exists():
        _file(package).parent.mkdir(parents=True, exist_ok=True)
        _file(package).write_bytes(orjson.dumps(kept, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def _given(package: Package, text: str) -> tuple[tuple[str, int], str]:
    found = _GIVEN.fullmatch(text)
    names = [sample.name for sample in package.samples]
    if found is None or (found["sample"] is None and len(names) != 1):
        raise AdapterError(f'{text!r} does not say which record and why; write "SAMPLE:ROW=why", as "{names[0]}:5=why"')
    return (found["sample"] or names[0], int(found["row"])), found["why"].strip()


def _file(package: Package) -> Path:
    return package.folder / "golden" / "rejections.json"


def _reasons(package: Package) -> Mapping[str, Mapping[str, str]]:
    path = _file(package)
    if not path.exists():
        return {}
    try:
        document = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict) or not all(isinstance(rows, dict) for rows in document.values()):
        raise AdapterError("golden/rejections.json is no list of reasons by sample and row")
    return document


def _before(package: Package, sample: Path) -> frozenset[int] | None:
    """The rows that were rejected when the sample's result was accepted; None if it never was."""
    golden = package.golden(sample)
    if not golden.exists():
        return None
    documents = orjson.loads(golden.read_bytes())
    return frozenset(document["row"] for document in documents if document["bundle"] is None)
