"""An adapter's folder on a developer's disk: found by its `pyproject.toml`, loaded as it stands, not installed."""

from __future__ import annotations

import importlib
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.sdk import GROUP, Adapter, AdapterError


@dataclass(frozen=True, slots=True)
class Package:
    """An adapter and its folder; `module` is the package's name, `golden` has one file for each sample.

    `rejected` names the samples that are there to be refused: `rejected` under `[tool.yhdyspinta]` in pyproject.toml.
    """

    folder: Path
    name: str
    module: str
    adapter: Adapter
    samples: tuple[Path, ...]
    rejected: tuple[str, ...] = ()

    def golden(self, sample: Path) -> Path:
        """The golden file of a sample."""
        return self.folder / "golden" / f"{sample.name}.json"

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files that make the adapter what it is: its package and its samples."""
        root = self.folder / self.module
        inside = root.rglob("*") if root.is_dir() else iter([self.folder / f"{self.module}.py"])
        return (*sorted(file for file in inside if file.is_file() and "__pycache__" not in file.parts), *self.samples)


def open_folder(folder: Path) -> Package:
    """Load the adapter of a folder, fresh from its files. Raises AdapterError; its mapping is compiled at first use."""
    folder = folder.resolve()
    try:
        with (folder / "pyproject.toml").open("rb") as file:
            document = tomllib.load(file)
    except FileNotFoundError:
        raise AdapterError(f"{folder} has no pyproject.toml, so it is no adapter's folder") from None
    except tomllib.TOMLDecodeError as error:
        raise AdapterError(f"{folder / 'pyproject.toml'} is not TOML: {error}") from None
    points: dict[str, Any] = document.get("project", {}).get("entry-points", {}).get(GROUP, {})
    if len(points) != 1:
        raise AdapterError(
            f'pyproject.toml names {len(points)} adapters under [project.entry-points."{GROUP}"]; a folder holds one'
        )
    ((name, target),) = points.items()
    module, _, maker = str(target).partition(":")
    adapter: Adapter = getattr(_fresh(folder, module), maker)()
    samples = folder / "samples"
    found = sorted(file for file in samples.iterdir() if file.is_file()) if samples.is_dir() else []
    rejected = document.get("tool", {}).get("yhdyspinta", {}).get("rejected", [])
    if not isinstance(rejected, list) or not all(isinstance(sample, str) for sample in rejected):
        raise AdapterError("`rejected` under [tool.yhdyspinta] of pyproject.toml is no list of samples' names")
    shown = tuple(item for item in found if item.name[0] != ".")
    return Package(folder, name, module.split(".")[0], adapter, shown, tuple(rejected))


def _fresh(folder: Path, module: str) -> Any:
    """Import a module of the folder anew, so that what was edited is what runs."""
    top = module.split(".", maxsplit=1)[0]
    for name in [module for module in sys.modules if module == top or module.startswith(top + ".")]:
        del sys.modules[name]
    importlib.invalidate_caches()
    path, bytecode = list(sys.path), sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True  # two edits within a second would otherwise look like one
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise AdapterError(f"the adapter's package cannot be imported: {error}") from None
    except SyntaxError as error:
        raise AdapterError(f"{error.filename}:{error.lineno}: {error.msg}") from None
    finally:
        sys.path[:], sys.dont_write_bytecode = path, bytecode
