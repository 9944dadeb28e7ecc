"""Write an adapter's folder: an installable package with its mapping, its sample, its golden files, its tests."""

from __future__ import annotations

import keyword
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from adapters.faults import MappingError
from adapters.scaffold.proposing import mapping_of
from adapters.scaffold.recognising import Concept, Left, Recognised, Recognition, recognise, why_left
from adapters.scaffold.several import Gathered, gathered
from adapters.scaffold.sniffing import Column, Hints, Sample
from adapters.sdk.golden import write_golden
from adapters.sdk.testing import CHECKS, Coverage, coverage, open_folder
from adapters.transforms import TransformError, hetu

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")
_CODE = re.compile(r"[0-9]{6}[-+YXWVUA-F]([0-9]{3})[0-9A-Y]")
_FILES = {
    "pyproject.toml.j2": "pyproject.toml",
    "README.md.j2": "README.md",
    "init.py.j2": "{module}/__init__.py",
    "test_adapter.py.j2": "tests/test_adapter.py",
    "gitignore.j2": ".gitignore",
}


class NewError(ValueError):
    """An adapter's folder cannot be written: why, and what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Written:
    """A folder that was written, and what was recognised in its sample."""

    folder: Path
    sample: Sample
    recognition: Recognition
    #: What the mapping that was written makes of the sample, and what is wrong with that: then nothing has begun well.
    covered: Coverage
    faults: Sequence[str]


def module_of(name: str) -> str:
    """The import name of an adapter: `my-system` is `my_system`. Raises NewError."""
    module = name.replace("-", "_")
    if not _NAME.match(name) or keyword.iskeyword(module) or module in {"adapters", "gateway", "schemas", "tests"}:
        raise NewError(f"{name!r} is no name for an adapter", "use small letters, digits and dashes: my-system")
    return module


def real_codes(text: str) -> int:
    """How many identity codes in a text may be those of real persons: valid, and not of the artificial 900 series."""
    return sum(1 for match in _codes(text) if not match[1].startswith("9"))


def _codes(text: str) -> Iterator[re.Match[str]]:
    for match in _CODE.finditer(text):
        try:
            hetu(match[0])
        except TransformError:
            continue
        yield match


def _refuse_real(given: Gathered) -> None:
    # The bytes as text, and the values as they were read: a workbook is an archive, and shows nothing from outside.
    seen = [*given.seen, *(value for column in given.sample.columns for value in column.values)]
    if real_codes("\n".join(seen)):
        raise NewError(
            "the sample holds identity codes that may be those of real persons",
            "use invented persons with codes of the 900 series (as in 010190-900A), or say --allow-real-persons",
        )


def new(name: str, place: Path, parent: Path, *, allow_real: bool = False, hints: Hints = Hints()) -> Written:
    """Write the folder `parent/name` from a sample, or from several of one source in a folder or a ZIP archive.

    The golden files come from the adapter itself. `hints` are what the developer says of the sample.

    Raises NewError, SampleError, OSError.
    """
    module = module_of(name)
    folder = parent / name
    if folder.exists():
        raise NewError(f"{folder} is there already", "choose another name, or remove the folder")
    given = gathered(place, hints)
    sample = given.sample
    if not allow_real:
        _refuse_real(given)
    found = recognise(sample, given.key)
    is_messages = sample.source["format"] == "hl7"
    environment = Environment(
        loader=PackageLoader("adapters.scaffold"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - it writes TOML, Python and Markdown, no page
    )
    values = {
        "name": name,
        "module": module,
        "title": name.replace("-", " ").capitalize(),
        "media_type": sample.media_type,
        "extension": sample.extension,
        # Titles, sums, envelopes and families are not written again, nor is a field that two transforms part.
        "writes": "layout" not in sample.source
        and sample.source["format"] not in {"hl7", "fixed"}
        and "full-name" not in {column.concept.name for column in found.recognised},
        "recognised": found.recognised,
        "left": found.left,
    }
    for template, target in _FILES.items():
        path = folder / target.format(module=module)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(environment.get_template(template).render(values), encoding="utf-8")
    (folder / module / "mapping.yaml").write_text(mapping_of(name, sample, found), encoding="utf-8")
    (folder / "samples").mkdir()
    for number, data in enumerate(given.files, 1):
        which = f"-{number}" if len(given.files) > 1 else ""
        (folder / "samples" / f"sample{which}.{sample.extension}").write_bytes(data)
    try:
        package = open_folder(folder)
    except MappingError as error:
        shutil.rmtree(folder)
        raise NewError(f"no mapping can be made of what was recognised ({error})", "say --key, or --record") from None
    write_golden(package)
    (maps,) = (check for check in CHECKS if check.name == "maps")
    covered = coverage(package)
    if is_messages:
        found = _as_written(covered, str(getattr(package.adapter, "mapping").source["key"]))  # noqa: B009
    return Written(folder, sample, found, covered, maps.faults(package))


def _as_written(covered: Coverage, key: str) -> Recognition:
    """What the mapping of messages takes: the standard says what their fields are, and no guess by their values."""
    by = "the standard, as the mapping has it"
    recognised = [
        Recognised(Column(field.name, (), field.filled), Concept("standard", {"en": target}, "", ()), 1.0, by)
        for field in covered.fields
        if (target := ", ".join(field.targets)) and not field.ignored
    ]
    left = [
        Left(Column(field.name, (), field.filled), why_left(field.name) or "the standard leaves it to your system")
        for field in sorted(covered.fields, key=lambda field: not why_left(field.name))
        if not field.targets and not field.ignored and field.filled
    ]
    return Recognition(tuple(recognised), tuple(left), key)
