"""Parts that a test needs and pip or the machine may lack: a browser, a token, a tool, a server in a wheel.

Where one is missing the test is skipped and says so; with CI=true it fails, for nobody reads what a build skipped.
"""

from __future__ import annotations

import importlib
import os
import shutil
from pathlib import Path
from types import ModuleType

import pytest


def require(part: str, present: object, remedy: str) -> None:
    """Go on only where a part is there."""
    if present:
        return
    message = f"{part} is not on this machine, so this test did not run. {remedy}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message, allow_module_level=True)


def tool(name: str, remedy: str = "") -> str:
    """Path of a program."""
    found = shutil.which(name)
    require(name, found, remedy or f"Install it (Debian: apt-get install {name}).")
    return str(found)


def module(name: str) -> ModuleType:
    """A Python module of the development dependencies."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        require(f"The Python module {name}", False, f"Install requirements-dev.lock. ({error})")
        raise


def file(part: str, places: tuple[str, ...], remedy: str) -> Path:
    """The first of some files that is there."""
    found = next((Path(place) for place in places if Path(place).exists()), None)
    require(part, found, remedy)
    assert found is not None
    return found
