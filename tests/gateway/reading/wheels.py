"""Wheels of adapters that were made for a test."""

from __future__ import annotations

import base64
import hashlib
import io
import warnings
import zipfile
from collections.abc import Mapping, Sequence

#: Each line becomes a record whose key is the version and the line; `waits` holds the reader until a file is there.
SOURCE = """
from adapters.sdk import Limits, Manifest, Mapped, Position, Text

VERSION = "{version}"

class Harju:
    manifest = Manifest("{name}", Text("Harju", "Harju", "Harju"), ("text/x-harju",))

    def convert(self, stream, limits):
        for line in stream.read().decode().splitlines():
            for copy in range({copies}):
                yield Mapped(f"{{VERSION}}:{{line}}", {{"made": f"{{VERSION}}:{{line}}"}}, {{}}, (), Position(row=1))
"""


def wheel(
    version: str,
    *,
    name: str = "harju",
    source: str = "",
    copies: int = 1,
    more: Mapping[str, str | bytes | None] | None = None,
) -> bytes:
    """A wheel with one module; `more` are further files, or others in the place of its own; None leaves one out."""
    about = f"{name}-{version}.dist-info"
    files: dict[str, str | bytes | None] = {
        f"{name}.py": source or SOURCE.format(version=version, name=name, copies=copies),
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/entry_points.txt": f"[yhdyspinta.adapters]\n{name} = {name}:Harju\n",
        **(more or {}),
    }
    found = [(path, text) for path, text in files.items() if text is not None]
    record = f"{about}/RECORD"
    return packed(found if record in files else [*found, (record, recorded(found, record))])


def recorded(files: Sequence[tuple[str, str | bytes]], record: str) -> str:
    """A RECORD that fits the files."""
    lines = []
    for path, text in files:
        content = text.encode() if isinstance(text, str) else text
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(content)}\n")
    return "".join((*lines, f"{record},,\n"))


def packed(files: Sequence[tuple[str, str | bytes]]) -> bytes:
    """An archive of just these, in this order, a name as often as it is given."""
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # of a name twice
        for path, text in files:
            archive.writestr(path, text)
    return out.getvalue()
