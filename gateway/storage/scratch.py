"""Folders that last as long as a process. What a killed one left, the next one of the same user removes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

PREFIX: Final = "yhdyspinta-work-"
_LOCK: Final = "lock"


class Scratch:
    """A folder of this process, which nobody else may read. Its lock is held until it is closed or the process ends."""

    def __init__(self) -> None:
        _sweep()
        while True:
            self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
            self._lock = os.open(self.folder / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            # Whoever sweeps at this very moment may have had the lock first, and the folder is gone: make another.
            if _locked(self._lock) and (self.folder / _LOCK).exists():
                return
            os.close(self._lock)

    def close(self) -> None:
        """Remove the folder. A second time nothing is done."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sweep() -> None:
    """Remove what no process holds. The place is everybody's: not what is another user's or behind a link."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.lstat().st_uid != os.geteuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if _locked(lock):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
