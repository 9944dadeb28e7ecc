"""Install an adapter that a test has written, as `pip install --target` would."""

from __future__ import annotations

from pathlib import Path

_MODULE = """\
from adapters.mapped import MappedAdapter
from adapters.sdk import Manifest, Text


def adapter() -> MappedAdapter:
    return MappedAdapter(Manifest("{name}", Text("x", "x", "x"), ("text/csv",)), __name__, "mapping.yaml")
"""


def install(site: Path, name: str, mapping: str, version: str = "1.0.0") -> Path:
    """Put an adapter of this mapping into a folder of packages; gives the folder, for PYTHONPATH."""
    package, about = site / name, site / f"{name}-{version}.dist-info"
    for folder in (package, about):
        folder.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(_MODULE.format(name=name), "utf-8")
    (package / "mapping.yaml").write_text(mapping, "utf-8")
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
    (about / "entry_points.txt").write_text(f"[yhdyspinta.adapters]\n{name} = {name}:adapter\n", "utf-8")
    return site
