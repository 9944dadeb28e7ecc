"""Decode the escapes of HL7 v2 texts (chapter 2, section 2.7).

What only looks like an escape, as a path `K:\\hoito\\tulos.pdf` does, is kept as it stands: nothing is dropped. What is
an escape whose characters cannot be had, such as a change to a character set that is not read, is UNREADABLE.
"""

from __future__ import annotations

import re

from adapters.sdk import UNREADABLE, Unreadable

_ESCAPE = re.compile(r"\\([^\\]+)(?=\\)")
_SEPARATORS = {"F": "|", "S": "^", "T": "&", "R": "~", "E": "\\"}
#: Marks of how a text is shown, not of what it says: highlighting, and lines that are filled or not.
_SHOWN = frozenset({"H", "N", ".fi", ".nf"})
_LAYOUT = re.compile(r"\.(br|ce|sp|sk|in|ti)[+ ]?([0-9]{1,2})?\Z")
_HEX = re.compile(r"X((?:[0-9A-Fa-f]{2})+)\Z")
_CHARACTER_SET = re.compile(r"C[0-9A-Fa-f]{4}\Z|M[0-9A-Fa-f]{4}(?:[0-9A-Fa-f]{2})?\Z")


def unescaped(text: str, charset: str) -> str | Unreadable:
    """The text that the escapes of a value stand for; `charset` is the message's, in which `\\X…\\` is written."""
    made: list[str] = []
    at = 0
    while (start := text.find("\\", at)) >= 0:
        made.append(text[at:start])
        found = _ESCAPE.match(text, start)
        meant = _meaning(found[1], charset) if found else None
        if meant is None or found is None:
            made.append("\\")  # of the text itself; what follows may begin an escape
            at = start + 1
        elif isinstance(meant, Unreadable):
            return UNREADABLE
        else:
            made.append(meant)
            at = found.end() + 1
    return "".join([*made, text[at:]])


def _meaning(escape: str, charset: str) -> str | Unreadable | None:
    """What stands for an escape; None if it is none."""
    if escape in _SEPARATORS:
        return _SEPARATORS[escape]
    if escape in _SHOWN:
        return ""
    if _CHARACTER_SET.match(escape):
        return UNREADABLE
    if found := _HEX.match(escape):
        try:
            return bytes.fromhex(found[1]).decode(charset)
        except UnicodeDecodeError:
            return UNREADABLE
    if found := _LAYOUT.match(escape):
        return ("\n" if found[1] in {"br", "ce", "sp"} else " ") * int(found[2] or 1)
    return None
