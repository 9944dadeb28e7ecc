"""How a node gives memory back to the system.

A node frees in one thread what it took in another, and blocks of all sizes between each other. The C library's
allocator, left to itself, opens up to eight heaps for each processor, takes ever larger blocks out of them instead of
from the system, and gives back only what lies free at a heap's end: a process under constant load keeps growing,
although what it uses does not. And what refers to itself waits for a collector that looks only when tens of thousands
of such objects have gathered, and until then they and all that they hold add up.
Source: the GNU C Library's manual, "Malloc Tunable Parameters"; malloc_trim(3).
"""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8

HEAPS: Final = 2
"""Threads hold the interpreter's lock for most of what they allocate, so that more heaps would serve nobody."""

LARGE_BYTES: Final = 128 * 1024
"""A block this large comes from the system and goes back to it. Set by hand, the threshold no longer rises, and neither
does that of what is given back from a heap's end."""


def settle() -> bool:
    """Tell the allocator, before there are threads, to keep few heaps and to give back what is large.

    False where the C library has no such settings: the node runs all the same.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        settings = ((_M_ARENA_MAX, HEAPS), (_M_MMAP_THRESHOLD, LARGE_BYTES))
        return all(mallopt(name, value) == 1 for name, value in settings)
    return False


def give_back() -> bool:
    """End what only refers to itself, and return whole free pages to the system. False if the C library returned none.

    What was loaded at the start is frozen, so that the collector walks only what has come since.
    """
    gc.collect()
    with suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).malloc_trim(0))
    return False
