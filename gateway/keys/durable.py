"""Write a small file, for its owner alone unless said otherwise: whole or not at all, and for good."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_OWN: Final = 0o600


def replace(path: Path, data: bytes, mode: int = _OWN) -> None:
    """Whoever reads finds all of the former content or all of this, also after a power cut. Raises OSError."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        fresh.unlink()
    _write(fresh, data, mode)
    fresh.replace(path)
    _settle(path.parent)


def create(path: Path, data: bytes) -> None:
    """The same of a file that is not there. Raises FileExistsError rather than replace one, OSError."""
    _write(path, data, _OWN)
    _settle(path.parent)


def put(path: Path, data: bytes) -> None:
    """Write a file that is nobody's secret and can be written again, in the place of what was there. Raises OSError."""
    with _named(path):
        path.write_bytes(data)


def _write(path: Path, data: bytes, mode: int) -> None:
    with _named(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWN)
        try:
            with os.fdopen(descriptor, "wb") as file:
                # Exactly this, whatever the process leaves out of the modes of its files.
                os.fchmod(descriptor, mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            # An empty file would be in the way of the next try, or be taken for a secret that is broken.
            path.unlink()
            raise


def _settle(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # The new name is to survive a power cut: what is done next depends on it.
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """An error of writing says which file it is about: the system names none once a file is open. Raises OSError."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
