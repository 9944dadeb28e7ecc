"""The two hundred invented persons, written once for all tests of adapters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapters.samples import write_samples


@dataclass(frozen=True)
class Samples:
    """The folder of the samples and their manifest."""

    folder: Path
    manifest: dict[str, Any]

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        return (self.folder / name).read_bytes()


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """Samples of 200 persons."""
    folder = tmp_path_factory.mktemp("samples")
    return Samples(folder, write_samples(folder))
