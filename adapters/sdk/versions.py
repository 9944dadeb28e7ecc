"""Which version of an adapter is at work: what it declares, and the digest of its files, which nobody forgets to raise.

The declared version is the mapping's `version`; an adapter without a mapping has that of its distribution.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, entry_points, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from adapters.sdk import GROUP, SHIPPED, Adapter, AdapterError, load

#: So much of a digest tells two versions apart wherever people read it.
_SHOWN: Final = 12
_DISTRIBUTION: Final = "yhdyspinta"


@dataclass(frozen=True, slots=True)
class Version:
    """A version of an adapter: its name, what it declares, the SHA-256 of its files in hex."""

    name: str
    declared: str
    digest: str

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
    return Version(name, declared, digest_of(_root(name)))


def digest_of(root: Traversable) -> str:
    """The digest of a file, or of all files of a folder by their names; what Python makes of them is none of them."""
    whole = hashlib.sha256()
    for path, content in sorted(_content(root, "")):
        name = path.encode()
        whole.update(len(name).to_bytes(4, "big") + name + hashlib.sha256(content).digest())
    return whole.hexdigest()


def _content(place: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    if place.is_file():
        yield path, place.read_bytes()
        return
    for item in place.iterdir():
        if item.name != "__pycache__":
            yield from _content(item, f"{path}/{item.name}")


def _target(name: str) -> str:
    """The module that makes an adapter."""
    if name in SHIPPED:
        return SHIPPED[name].partition(":")[0]
    for point in entry_points(group=GROUP, name=name):
        return point.module.partition(".")[0]
    raise AdapterError(f"no adapter {name!r} is installed")


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
