"""An adapter's package as it is handed to a node: a wheel that makes one adapter, and nothing else is taken from it.

What was reviewed is what runs: a wheel holds one package of sources and data, each file once and under one name, and
its RECORD fits them. What its `.dist-info` says of the adapter is unpacked with it and in its digest; the rest is not.
"""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import io
import re
import stat
import sys
import unicodedata
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from adapters.sdk import GROUP, SHIPPED, AdapterError
from schemas.identifiers import masked

#: A mapping and some code tables: larger is no adapter's package.
MOST_BYTES: Final = 16 * 1024 * 1024
MOST_FILES: Final = 1_000
#: The packages that a node is made of.
OWN: Final = frozenset({"adapters", "audit", "consent", "gateway", "schemas", "texts"})
#: What nobody can review by reading it: made for machines, or with files within.
COMPILED: Final = frozenset(
    ("pyc", "pyo", "pyd", "so", "sl", "dylib", "dll", "exe", "bin", "o", "obj", "a", "lib", "wasm", "class", "jar")
) | {"zip", "egg", "whl", "pyz", "tar", "gz", "tgz", "bz2", "xz", "pkl", "pickle"}
_UNIVERSAL: Final = re.compile(r"-py3-none-any\.whl")
_WORD: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel that was looked through: the adapter's name, and by path the files that a reader gets."""

    name: str
    files: dict[str, bytes]

    def unpack(self, folder: Path) -> None:
        """Write its files into a folder. Raises OSError."""
        for path, content in self.files.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)


def opened(data: bytes) -> Wheel:
    """A wheel's files, once nothing else could run in their place. Raises AdapterError, which names the file."""
    try:
        return _looked_through(data)
    except AdapterError as error:
        raise AdapterError(masked(str(error))) from None  # a sample may be called by a person's number


def _looked_through(data: bytes) -> Wheel:
    if len(data) > MOST_BYTES:
        raise AdapterError(f"the wheel has more than {MOST_BYTES >> 20} MiB")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            # What an archive says of its sizes is read before anything of it is.
            if len(members) > MOST_FILES or sum(member.file_size for member in members) > MOST_BYTES:
                raise AdapterError(f"the wheel holds more than {MOST_FILES} files or {MOST_BYTES >> 20} MiB")
            for member in members:
                _plain(member)
            _once(PurePosixPath(member.filename) for member in members)
            found = {member.filename: archive.read(member) for member in members}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError):
        raise AdapterError("the file is no wheel, or a damaged one; pack it by `yhdyspinta adapter package`") from None
    about = _about(found)
    _recorded(found, f"{about}/RECORD")
    name, module = _named(found, f"{about}/entry_points.txt")
    _alone({path.partition("/")[0] for path in found} - {about}, module)
    if f"{module}.py" not in found and f"{module}/__init__.py" not in found:
        raise AdapterError(f"the wheel lacks {module}/__init__.py, which its entry_points.txt names")
    # The rest of .dist-info is for installers: an adapter could read it, and no digest would tell.
    told = {f"{about}/METADATA", f"{about}/entry_points.txt"}
    kept = {path: content for path, content in found.items() if path in told or not path.startswith(f"{about}/")}
    return Wheel(name, kept)


def is_universal(file: str) -> bool:
    """Whether a wheel's name says that it is plain Python: what was built for one machine is not taken for all."""
    return _UNIVERSAL.search(file) is not None


def _plain(member: zipfile.ZipInfo) -> None:
    """A file of sources or data inside of the folder, under the name that everybody reads. Raises AdapterError."""
    path = member.orig_filename
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or "\\" in path or ".." in parts or ":" in parts[0]:
        raise AdapterError(f"{path!r} of the wheel would be written outside of its folder")
    if path != member.filename or path != "/".join(parts) or not path.isprintable():
        raise AdapterError(f"{path!r} of the wheel is not written as a plain path")
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
        raise AdapterError(f"{path} of the wheel is a link or a device; pack the file itself")
    if parts[0].partition(".")[0].lower() in OWN or parts[0].endswith((".pth", ".data")):
        # Before all else on the path: it would be the node's own code for whoever reads.
        raise AdapterError(f"the wheel brings {parts[0]}, which would stand in for the node's own")
    if "__pycache__" in path.lower().split("/") or PurePosixPath(path.lower()).suffix[1:] in COMPILED:
        # Python runs bytecode in the place of the source beside it, and nobody reads it.
        raise AdapterError(f"{path} of the wheel is compiled or packed; a wheel holds sources and data alone")


def _once(paths: Iterable[PurePosixPath]) -> None:
    """Each file once, and no two whose names some system takes for one. Raises AdapterError."""
    seen: dict[str, str] = {}
    for path in paths:
        for place in (path, *path.parents[:-1]):
            spelled = str(place) if place is path else f"{place}/"
            key = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", str(place)).casefold())
            former = seen.get(key)
            if former is not None and (place is path or former != spelled):
                also = "twice" if former == spelled else f"and {former}, which some systems take for the same"
                raise AdapterError(f"the wheel holds {spelled} {also}")
            seen[key] = spelled


def _about(found: dict[str, bytes]) -> str:
    folders = sorted({path.partition("/")[0] for path in found if re.match(r"[^/]+\.dist-info/", path)})
    if len(folders) != 1:
        raise AdapterError(f"the wheel has {len(folders)} folders .dist-info ({', '.join(folders)}); it has one")
    if f"{folders[0]}/METADATA" not in found:
        raise AdapterError(f"the wheel lacks {folders[0]}/METADATA")
    return folders[0]


def _recorded(found: dict[str, bytes], record: str) -> None:
    """Each file is what the wheel's RECORD says, and there is no other. Raises AdapterError."""
    if record not in found:
        raise AdapterError(f"the wheel lacks {record}")
    try:
        rows = list(csv.reader(found[record].decode().splitlines(), strict=True))
        listed = {path: digest for path, digest, _size in rows}
    except (csv.Error, ValueError):
        raise AdapterError(f"{record} of the wheel cannot be read") from None
    if len(listed) != len(rows):
        raise AdapterError(f"{record} of the wheel names a file twice")
    for path in sorted(found.keys() | listed.keys()):
        if path not in found:
            raise AdapterError(f"{path} stands in the wheel's RECORD and not in the wheel")
        if path not in listed:
            raise AdapterError(f"{path} stands in the wheel and not in its RECORD")
        digest = base64.urlsafe_b64encode(hashlib.sha256(found[path]).digest()).rstrip(b"=").decode()
        if path != record and listed[path] != f"sha256={digest}":
            raise AdapterError(f"{path} of the wheel is not the one of its RECORD: its SHA-256 is another")


def _named(found: dict[str, bytes], points: str) -> tuple[str, str]:
    """The adapter's name, and the package that makes it. Raises AdapterError."""
    parser = configparser.ConfigParser(delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(found.get(points, b"").decode())
        targets = dict(parser.items(GROUP, raw=True)) if parser.has_section(GROUP) else {}
    except (configparser.Error, UnicodeDecodeError):
        raise AdapterError(f"{points} of the wheel cannot be read") from None
    if len(targets) != 1:
        raise AdapterError(f"the wheel names {len(targets)} adapters under {GROUP}; it holds one")
    ((name, target),) = targets.items()
    if not _WORD.fullmatch(name):
        raise AdapterError("an adapter's name is of small letters, digits and hyphens")
    if name in SHIPPED:
        raise AdapterError(f"{name} comes with the node, and changes with it")
    module = target.partition(":")[0].partition(".")[0].strip()
    if module in OWN or module in sys.stdlib_module_names:
        raise AdapterError(f"{points} of the wheel names {module}, which is not the adapter's own; call it otherwise")
    return name, module


def _alone(tops: set[str], module: str) -> None:
    """Nothing stands beside the package that makes the adapter: its digest is of that one. Raises AdapterError."""
    own = module if module in tops else f"{module}.py"
    if strange := sorted(tops - {own}):
        raise AdapterError(
            f"the wheel brings {strange[0]} beside {own}; it holds one package or module, which makes the adapter"
        )
