"""Several samples of one source, in a folder or a ZIP archive: files that are written alike, or the parts of a drop.

Nothing is written under the name that a sample has, and no more is unpacked than a reader would take.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from adapters.forms import form_of, read
from adapters.limiting import LimitError, measure
from adapters.scaffold.outlining import SampleError
from adapters.scaffold.recognising import recognise
from adapters.scaffold.sniffing import LOOKED_AT, Column, Hints, Media, Sample, sample_of, sniff, text_of
from adapters.sdk import Limits
from schemas.identifiers import masked

#: Files that are looked at.
MOST = 100
_NUMBER = re.compile(r"[0-9]+(?:[-_.T][0-9]+)*")
#: Of how a file's rows lie, what a joined one may say.
_OF_ROWS = ("header", "columns", "widths", "footer", "counted")
_ALIKE = "give samples of one export, all of one version"


@dataclass(frozen=True, slots=True)
class Gathered:
    """What samples say together, the files as an adapter is given them, all that is read in them, and their key."""

    sample: Sample
    files: tuple[bytes, ...]
    seen: tuple[str, ...]
    key: str


def gathered(place: Path, hints: Hints) -> Gathered:
    """The samples of a file, a folder or an archive. Raises SampleError, OSError."""
    found = dict(_of_folder(place)) if place.is_dir() else _of_file(place)
    if not found or len(found) > MOST:
        raise SampleError(f"there are {len(found) or 'no'} samples, or more", f"give 1 to {MOST} files of one source")
    seen = tuple(map(text_of, found.values()))
    if len(found) == 1:
        ((name, data),) = found.items()
        return Gathered(sniff(data, hints), (data,), seen, hints.key)
    samples: dict[str, Sample] = {}
    for name, data in sorted(found.items()):
        try:
            samples[name] = sniff(data, hints)
        except SampleError as error:
            raise SampleError(f"{masked(name)}: {error}", error.remedy) from None
    if len({_kind(sample) for sample in samples.values()}) == 1:
        largest = max(samples.values(), key=lambda sample: sample.records)
        key = recognise(largest, hints.key).key
        return Gathered(_together(list(samples.values())), tuple(found[name] for name in samples), seen, key)
    # The parts of a drop keep their names.
    return replace(_drops(found, samples, hints), seen=(*found, *seen))


def _of_folder(place: Path) -> Iterator[tuple[str, bytes]]:
    left = Limits().total_bytes
    files = (path for path in sorted(place.rglob("*")) if path.is_file() and not path.is_symlink())
    for path in islice((path for path in files if _is_meant(path.relative_to(place).as_posix())), MOST + 1):
        left -= path.stat().st_size
        if left < 0:
            raise SampleError("the samples are more than is read", "give fewer records")
        yield path.relative_to(place).as_posix(), path.read_bytes()


def _of_file(place: Path) -> dict[str, bytes]:
    """A file, or those in it: a workbook is an archive and one file."""
    data = place.read_bytes()
    if not data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return {place.name: data}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [member.filename for member in archive.infolist() if not member.is_dir()]
            if "[Content_Types].xml" in names:
                return {place.name: data}
            measure(data, Limits())
            return {name: archive.read(name) for name in names if _is_meant(name)}
    except LimitError as error:
        raise SampleError(f"the archive goes over {error.limit} of what is read", "give fewer records") from None
    except (ValueError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError):
        raise SampleError(
            "the file is neither a workbook nor a ZIP archive that can be read",
            "save it as XLSX or as CSV, or pack the samples anew, without a password and each name once",
        ) from None


def _is_meant(name: str) -> bool:
    """Whether it is no file that a system puts beside others."""
    return not any(part.startswith((".", "__MACOSX")) and part != ".." for part in PurePosixPath(name).parts)


def _kind(sample: Sample) -> tuple[Any, ...]:
    """What samples of one source have in common: of tables the columns too."""
    form = sample.source["format"]
    is_table = form in {"csv", "fixed", "xlsx"}
    return form, tuple(column.name for column in sample.columns) if is_table else ()


def _together(samples: Sequence[Sample]) -> Sample:
    """Samples that are written alike as one. Raises SampleError."""
    first = samples[0]
    source = dict(first.source)
    if "encoding" in source:
        source["encoding"] = _encoding(samples)
    if "messages" in source:
        source["messages"] = list(dict.fromkeys(kind for sample in samples for kind in sample.source["messages"]))
    if first.source["format"] == "json" and any("nested" in sample.source for sample in samples):
        source["nested"] = True
    if any({**sample.source, **_own(source)} != source for sample in samples):
        raise SampleError("the samples are not written alike", _ALIKE)
    columns: dict[str, list[Column]] = {}
    for sample in samples:
        for column in sample.columns:
            columns.setdefault(column.name, []).append(column)
    merged = tuple(
        Column(
            name,
            tuple(value for column in held for value in column.values),
            sum(column.filled for column in held),
            any(column.listed for column in held),
        )
        for name, held in columns.items()
    )
    evidence = dict.fromkeys(line for sample in samples for line in sample.evidence)
    return replace(
        first,
        source=source,
        columns=merged,
        records=sum(sample.records for sample in samples),
        evidence=(*evidence, f"{len(samples)} samples"),
    )


def _own(source: Mapping[str, Any]) -> dict[str, Any]:
    """What each sample of a source may have for itself."""
    return {name: source[name] for name in ("encoding", "messages", "nested") if name in source}


def _encoding(samples: Iterable[Sample]) -> list[str]:
    """The encoding of all: what is in UTF-8 says nothing of what else there may be. Raises SampleError."""
    found = {(tuple(sample.source["encoding"]), _tells_encoding(sample)) for sample in samples}
    telling = {encoding for encoding, is_told in found if is_told} or {encoding for encoding, _ in found}
    if len(telling) > 1:
        raise SampleError("the samples are in several encodings", "say --encoding, or " + _ALIKE)
    return list(telling.pop())


def _tells_encoding(sample: Sample) -> bool:
    return sample.source["encoding"][0] != "utf-8-sig" or any(line.startswith("encoding ") for line in sample.evidence)


def _drops(found: Mapping[str, bytes], samples: Mapping[str, Sample], hints: Hints) -> Gathered:
    """Tables in which rows of some files belong to records of another. Raises SampleError."""
    forms = {(sample.source["format"], sample.source.get("delimiter")) for sample in samples.values()}
    if len(forms) > 1 or forms & {("xlsx", None), ("xml", None), ("json", None), ("hl7", None)}:
        raise SampleError("the samples are neither written alike nor tables that belong together", _ALIKE)
    drops = _parted(list(found))
    parts = {pattern: _together([samples[drop[pattern]] for drop in drops]) for pattern in drops[0]}
    # In another drop the same person may be there again, and no number would tell records apart.
    main, key, joins = _joined({pattern: samples[name] for pattern, name in drops[0].items()}, hints)
    own = parts[main].source
    layout = {**own.get("layout", {}), "file": main, "join": joins}
    source = {**own, "encoding": _encoding(parts.values()), "layout": layout}
    form = form_of({**source, "key": key})
    evidence = tuple(line for part in parts.values() for line in part.evidence if not line.endswith(" samples"))
    told = [f"{join['file']}: rows that belong to a record of {main} by {join['on']}" for join in joins]
    files, read_so = [], []
    for drop in drops:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in drop.values():
                archive.writestr(zipfile.ZipInfo(PurePosixPath(name).name), found[name])
        files.append(out.getvalue())
        records = list(islice(read(io.BytesIO(files[-1]), form, Limits(), frozenset()), LOOKED_AT))
        header = [column.name for column in parts[main].columns]
        media = Media("zip", "application/zip")
        read_so.append(sample_of(source, records, header, media, (*evidence, *told)))
    return Gathered(_together(read_so) if len(read_so) > 1 else read_so[0], tuple(files), (), key)


def _parted(names: Sequence[str]) -> list[dict[str, str]]:
    """The files of each drop by their patterns: what numbers a name has is of the drop. Raises SampleError."""
    for count in (None, 1, 0):
        drops: dict[tuple[str, ...], dict[str, str]] = {}
        for name in names:
            file = PurePosixPath(name).name
            numbers = list(_NUMBER.finditer(file))
            of_drop = numbers if count is None else numbers[len(numbers) - count :] if count else []
            pattern = file
            for number in reversed(of_drop):
                pattern = f"{pattern[: number.start()]}*{pattern[number.end() :]}"
            drops.setdefault(tuple(number[0] for number in of_drop), {}).setdefault(pattern, name)
        patterns = {frozenset(drop) for drop in drops.values()}
        if count == 0 and len({_NUMBER.sub("*", PurePosixPath(name).name) for name in names}) < len(names):
            break  # one part of two drops, of which another is missing
        if len(patterns) == 1 and sum(map(len, drops.values())) == len(names) and len(patterns.pop()) > 1:
            return [dict(sorted(drop.items())) for _, drop in sorted(drops.items())]
    raise SampleError(
        "by their names the samples are no drops, each with the same parts",
        "name them as the source does: persons-20261128.csv with needs-20261128.csv",
    )


def _joined(parts: Mapping[str, Sample], hints: Hints) -> tuple[str, str, list[dict[str, Any]]]:
    """The pattern of the file that holds the records, their key, and how the rows of the others belong to them.

    Raises SampleError.
    """
    tried = []
    for pattern, sample in parts.items():
        try:
            seen = recognise(sample, hints.key)
        except SampleError:  # no key: a file of rows
            continue
        tried.append((-len(seen.recognised), pattern, seen.key))
    for _, main, key in sorted(tried):
        keys = {value for column in parts[main].columns if column.name == key for value in column.held}
        taken = {column.name for column in parts[main].columns}
        joins: list[dict[str, Any]] = []
        for pattern, other in parts.items():
            if pattern != main and (on := _on(other, key, keys)):
                into = re.sub(r"\W+", "_", pattern.rpartition(".")[0].replace("*", "")).strip("_").upper() or "ROWS"
                into = into if into not in taken else f"{into}_{len(joins) + 1}"
                taken.add(into)
                lies = {name: said for name, said in other.source.get("layout", {}).items() if name in _OF_ROWS}
                joins.append({"file": pattern, "on": on, "into": into, **lies})
        if len(joins) == len(parts) - 1:
            return main, key, joins
    raise SampleError("of no file of the samples all others have the key", "say --key, and give files of one export")


def _on(sample: Sample, key: str, keys: set[str]) -> str:
    """The column that says to which record a row belongs; empty if none does."""
    found = [
        (column.name == key, share, column.name)
        for column in sample.columns
        if column.held and (share := sum(value in keys for value in column.held) / len(column.held)) >= 0.9
    ]
    return max(found)[2] if found else ""
