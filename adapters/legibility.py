"""Tell text that was decoded wrongly from text that was written so.

A character set of one byte a letter decodes nearly everything: that it did proves nothing. What shows the mistake are
characters where no writing has them: a broken bar at the head of a word stands for Š, a lone cedilla within one for ž.
"""

from __future__ import annotations

import re

_LETTER = r"[^\W\d_]"
#: What the letters of ISO-8859-15 that windows-1252 does not share (Š š Ž ž Œ œ Ÿ €) look like when read as such. An
#: acute between letters is left out, for it is typed as an apostrophe, and so is a fraction after a number.
_LATIN_9 = re.compile(rf"¤|(?<!\w)´(?={_LETTER})|[¦¨¸](?={_LETTER})|(?<={_LETTER})[¦¨¸¼½¾]")
#: Control characters of the upper half, which windows-1252 has letters and quotation marks for.
_C1 = re.compile(r"[\x80-\x9f]")
#: The mark of a letter that was lost, and the marks that turn the direction of what follows, seen or unseen.
_BROKEN = re.compile(r"[\ufffd\x80-\x9f\u202a-\u202e\u2066-\u2069]")


def is_misdecoded(text: str, encoding: str) -> bool:
    """Whether text that was decoded from this encoding of one byte a letter was written in another."""
    name = encoding.lower()
    return bool(_C1.search(text)) or (name != "iso-8859-15" and bool(_LATIN_9.search(text)))


def is_damaged(text: str) -> bool:
    """Whether text shows that it was decoded wrongly before it came here, or that it hides the order of its letters."""
    if text.isascii():
        return False
    if _BROKEN.search(text):
        return True
    for encoding in ("windows-1252", "iso-8859-1"):
        try:
            text.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
        return True  # its letters are the bytes of other letters in UTF-8
    return False
