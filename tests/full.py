"""A disk that takes nothing more, without one: no file of this process grows."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def disk_that_is_full() -> Iterator[None]:
    """Each write to a file fails as on a full disk, but for the words: `File too large`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    no_file_grows(hard)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def no_file_grows(hard: int = resource.RLIM_INFINITY) -> None:
    """The same for a process that is about to run something."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
