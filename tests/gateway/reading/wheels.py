"""Wheels of adapters that were made for a test."""

from __future__ import annotations

import io
import zipfile

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
    more: dict[str, str] | None = None,
) -> bytes:
    """A wheel with one module; `more` are further files."""
    about = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": source or SOURCE.format(version=version, name=name, copies=copies),
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/entry_points.txt": f"[yhdyspinta.adapters]\n{name} = {name}:Harju\n",
        **(more or {}),
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return out.getvalue()
