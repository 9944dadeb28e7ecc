"""The files of a node that hold secrets, and which of them others could read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from gateway.settings import Settings
from gateway.settings.values import IsSecret


@dataclass(frozen=True, slots=True)
class Exposed:
    """A secret file that is not its owner's alone: the setting that names it, where it lies, its mode."""

    key: str
    path: Path
    mode: int

    @property
    def fault(self) -> str:
        """What is wrong with it."""
        return f"{self.path} may be read or written by others (mode {self.mode:04o})"

    @property
    def remedy(self) -> str:
        """What mends it."""
        return f"take it from them: chmod 600 {self.path}; and make another secret if somebody may have read it"


def exposed(settings: Settings) -> tuple[Exposed, ...]:
    """The secret files that others than the node could read. One that is missing, whoever opens it tells."""
    found: dict[Path, Exposed] = {}
    for key, path in secret_files(settings):
        try:
            status = path.stat()
        except OSError:
            continue
        if _is_open(status):
            found.setdefault(path, Exposed(key, path, stat.S_IMODE(status.st_mode)))
    return tuple(found.values())


def _is_open(status: os.stat_result) -> bool:
    # A file of somebody else's, as a container is given its secrets, reaches the node by the node's group.
    given = stat.S_IRGRP if status.st_uid != os.geteuid() else 0
    return bool(stat.S_IMODE(status.st_mode) & (stat.S_IRWXG | stat.S_IRWXO) & ~given)


def secret_files(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Each setting that names a secret file, with the file."""
    return _within(settings, "")


def _within(value: Any, key: str) -> Iterator[tuple[str, Path]]:
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _within(item, f"{key}.{number}")
    elif isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            inner, place = getattr(value, name), f"{key}.{name}".removeprefix(".")
            if isinstance(inner, Path) and any(isinstance(mark, IsSecret) for mark in field.metadata):
                yield place, inner
            yield from _within(inner, place)
