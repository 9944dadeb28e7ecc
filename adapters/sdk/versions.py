"""Which version of an adapter is at work: what it declares, and the digest of its files, which nobody forgets to raise.

The declared version is the mapping's `version`; an adapter without a mapping has that of its distribution. The digest
is of all files of the adapter's package and of what its distribution says of it: METADATA and entry_points.txt.
Bytecode that Python keeps beside sources is in no digest, so a reader does not run it (`run_sources`).
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Final

from adapters.sdk import GROUP, SHIPPED, Adapter, AdapterError, load

#: So much of a digest tells two versions apart wherever people read it.
_SHOWN: Final = 12
_DISTRIBUTION: Final = "yhdyspinta"
#: What Python keeps of a source, and what it is called while it is written.
_BYTECODE: Final = re.compile(r".+\.pyc(\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Version:
    """A version of an adapter: its name, what it declares, the SHA-256 of its files in hex.

    `former` is the digest that it had when what its distribution says of it was in none: in older databases.
    """

    name: str
    declared: str
    digest: str
    former: str = field(default="", compare=False)

    @property
    def mark(self) -> str:
        """What records and log entries call it: `harju 3 5f1d0c2b9a77`."""
        return " ".join(filter(None, (self.name, self.declared, self.digest[:_SHOWN])))


@dataclass(frozen=True, slots=True)
class InUse:
    """An adapter that stays the same version for as long as it is held, and that version's digest."""

    adapter: Adapter
    digest: str


@cache
def version_of(name: str) -> Version:
    """The version of an adapter as it was loaded. Raises AdapterError, MappingError."""
    mapping = getattr(load(name), "mapping", None)
    declared = str(mapping.version) if mapping is not None else _distributed(name)
    root = _root(name)
    return Version(name, declared, digest_of(root, _registered(name)), digest_of(root))


def digest_of(root: Traversable, registered: str = "") -> str:
    """The digest of a file, or of all files of a folder by their names, and of what a distribution says of them."""
    whole = hashlib.sha256()
    # No path within a folder begins so: each has a slash before it.
    said = [("registered", registered.encode())] if registered else []
    for path, content in sorted([*_content(root, ""), *said]):
        name = path.encode()
        whole.update(len(name).to_bytes(4, "big") + name + hashlib.sha256(content).digest())
    return whole.hexdigest()


def _content(place: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    if place.is_file():
        yield path, place.read_bytes()
        return
    for item in place.iterdir():
        # Only that: a file of another kind could be read from there like any other.
        if place.name != "__pycache__" or not _BYTECODE.fullmatch(item.name):
            yield from _content(item, f"{path}/{item.name}")


def run_sources() -> None:
    """From now on the packages of installed adapters run from their sources, whatever bytecode lies beside them."""
    packages = {point.module.partition(".")[0] for point in entry_points(group=GROUP) if point.name not in SHIPPED}
    sys.meta_path.insert(0, _Sources(frozenset(packages)))


class _Sources(MetaPathFinder):
    """Finds modules of some packages where others find them, and has their sources run."""

    def __init__(self, packages: frozenset[str]) -> None:
        self._packages = packages

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See MetaPathFinder."""
        if fullname.partition(".")[0] not in self._packages:
            return None
        others = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((spec for spec in others if spec is not None), None)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Source(fullname, spec.loader.get_filename(fullname))
        return spec


class _Source(SourceFileLoader):
    """Runs what the source says; bytecode may say anything, even of a source that it names by its digest."""

    def get_code(self, fullname: str) -> CodeType:
        """See SourceFileLoader."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _target(name: str) -> str:
    """The module that makes an adapter."""
    if name in SHIPPED:
        return SHIPPED[name].partition(":")[0]
    return _point(name).module.partition(".")[0]


def _point(name: str) -> EntryPoint:
    for point in entry_points(group=GROUP, name=name):
        return point
    raise AdapterError(f"no adapter {name!r} is installed")


def _registered(name: str) -> str:
    """What decides which code of the package makes the adapter, and what version it says it is."""
    if name in SHIPPED:
        return SHIPPED[name]
    found = _point(name).dist
    texts = (found.read_text(file) for file in ("METADATA", "entry_points.txt")) if found is not None else ()
    return "\0".join(text or "" for text in texts)


def _root(name: str) -> Traversable:
    parent, _, last = _target(name).rpartition(".")
    if parent:
        holder = files(parent)
        return holder / last if (holder / last).is_dir() else holder / f"{last}.py"
    return _top(last)


def _top(module: str) -> Traversable:
    """The folder of a package, or the file of a module that stands alone."""
    spec = find_spec(module)
    if spec is not None and spec.submodule_search_locations is None and spec.origin is not None:
        return Path(spec.origin)
    return files(module)


def _distributed(name: str) -> str:
    for point in entry_points(group=GROUP, name=name):
        if point.dist is not None:
            return point.dist.version
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:
        return ""
