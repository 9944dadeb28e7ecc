"""A secret's file: one line of base64 for each key of 32 bytes. The first writes; the others are still read, or wait.

A file is replaced in one step, so that whoever reads it meets it before a change or after, and never half of it.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gateway.keys import durable

KEY_BYTES: Final = 32
#: A secret is changed once in a while; a file with more lines than this is something else.
MOST_KEYS: Final = 16


class RingError(ValueError):
    """The file does not hold secrets."""


def new() -> bytes:
    """A new key, from the operating system's randomness."""
    return secrets.token_bytes(KEY_BYTES)


def read(path: Path) -> tuple[bytes, ...]:
    """The keys in a file, in their order. Raises RingError, OSError."""
    try:
        lines = path.read_bytes().decode("ascii").split("\n")
        keys = tuple(base64.b64decode(line.strip(), validate=True) for line in lines if line.strip())
    except ValueError:
        keys = ()
    if not 0 < len(keys) <= MOST_KEYS or any(len(key) != KEY_BYTES for key in keys) or len(set(keys)) < len(keys):
        raise RingError(f"{path} does not hold 32 bytes in base64 in each line")
    return keys


def replace(path: Path, keys: Sequence[bytes]) -> None:
    """Write other keys in the place of those in a file, in one step and for good. Raises OSError."""
    durable.replace(path, b"".join(base64.b64encode(key) + b"\n" for key in keys))
