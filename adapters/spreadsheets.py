"""A guard for text that a spreadsheet would run as a formula: written with an apostrophe before it, read without it.

A cell that begins with one of `= + - @`, a tab or a carriage return is a formula to the common programs. The guard
is undone when such a cell is read back, so that what was written is what is read.
"""

from __future__ import annotations

_STARTS = frozenset("=+-@\t\r'")


def guarded(text: str) -> str:
    """The text as a spreadsheet shows it and does not run it."""
    return "'" + text if text[:1] in _STARTS and text else text


def unguarded(text: str) -> str:
    """The text without the guard."""
    return text[1:] if len(text) > 1 and text[0] == "'" and text[1] in _STARTS else text
