"""An adapter's package as it is handed to a node: a wheel that makes one adapter, and nothing else is taken from it."""

from __future__ import annotations

import configparser
import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from adapters.sdk import GROUP, SHIPPED, AdapterError

#: A mapping and some code tables: larger is no adapter's package.
MOST_BYTES: Final = 16 * 1024 * 1024
MOST_FILES: Final = 1_000
_UNIVERSAL: Final = re.compile(r"-py3-none-any\.whl")
_WORD: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel that was looked through: the adapter's name, and its files by path."""

    name: str
    files: dict[str, bytes]

    def unpack(self, folder: Path) -> None:
        """Write its files into a folder. Raises OSError."""
        for path, content in self.files.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)


def opened(data: bytes) -> Wheel:
    """A wheel's files, none of which reaches outside of a folder. Raises AdapterError."""
    if len(data) > MOST_BYTES:
        raise AdapterError(f"the wheel has more than {MOST_BYTES} bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            # What an archive says of its sizes is read before anything of it is.
            if len(members) > MOST_FILES or sum(member.file_size for member in members) > MOST_BYTES:
                raise AdapterError(f"the wheel holds more than {MOST_FILES} files or {MOST_BYTES} bytes")
            found = {_inside(member.filename): archive.read(member) for member in members}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError):
        raise AdapterError("the file is no wheel, or a damaged one; pack it by `yhdyspinta adapter package`") from None
    return Wheel(_named(found), found)


def is_universal(file: str) -> bool:
    """Whether a wheel's name says that it is plain Python: what was built for one machine is not taken for all."""
    return _UNIVERSAL.search(file) is not None


def _inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or "\\" in path or ".." in parts or ":" in parts[0]:
        raise AdapterError("a file of the wheel would be written outside of its folder")
    if parts[0] in {"adapters", "gateway", "schemas", "consent", "audit", "texts"} or parts[0].endswith(
        (".pth", ".data")
    ):
        # Before all else on the path: it would be the node's own code for whoever reads.
        raise AdapterError(f"the wheel brings {parts[0]}, which would stand in for the node's own")
    return path


def _named(found: dict[str, bytes]) -> str:
    points = [content for path, content in found.items() if re.fullmatch(r"[^/]+\.dist-info/entry_points\.txt", path)]
    parser = configparser.ConfigParser(delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(points[0].decode() if len(points) == 1 else "")
    except (configparser.Error, UnicodeDecodeError):
        raise AdapterError("the wheel's entry_points.txt cannot be read") from None
    names = list(parser[GROUP]) if parser.has_section(GROUP) else []
    if len(names) != 1:
        raise AdapterError(f"the wheel names {len(names)} adapters under {GROUP}; it holds one")
    (name,) = names
    if not _WORD.fullmatch(name):
        raise AdapterError("an adapter's name is of small letters, digits and hyphens")
    if name in SHIPPED:
        raise AdapterError(f"{name} comes with the node, and changes with it")
    return name
