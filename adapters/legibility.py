"""Tell text that was decoded wrongly from text that was written so.

A character set of one byte a letter decodes nearly everything: that it did proves nothing. What shows the mistake are
characters where no writing has them: a broken bar at the head of a word stands for Š, a lone cedilla within one for ž.
"""

from __future__ import annotations

import re

_DOS_PAGES = frozenset({"cp850", "cp437", "cp858"})
_LETTER = r"[^\W\d_]"
#: What the letters of ISO-8859-15 that windows-1252 does not share (Š š Ž ž Œ œ Ÿ €) look like when read as such. An
#: acute between letters is left out, for it is typed as an apostrophe, and so is a fraction after a number.
_LATIN_9 = re.compile(rf"¤|(?<!\w)´(?={_LETTER})|[¦¨¸](?={_LETTER})|(?<={_LETTER})[¦¨¸¼½¾]")
#: Control characters of the upper half, which windows-1252 has letters and quotation marks for.
_C1 = re.compile(r"[\x80-\x9f]")
#: What å ä ö Å Ö of code page 850 (a DOS console's) look like when read as windows-1252; Å has no letter there at all.
_DOS = re.compile(rf"(?<={_LETTER})[„†”‡™](?={_LETTER})")
#: What a text of another set looks like when it is read as code page 850: lines and blocks that draw boxes.
_BOXES = re.compile(r"[\u2500-\u25a0]|[¤þÞ·]")
#: Two letters that UTF-8 writes as two bytes each, read one byte a letter: `Ã¤` for ä, `Ð¡` for С.
_TAILS = "".join(bytes([byte]).decode("windows-1252", "replace") for byte in range(0x80, 0xC0)).replace("\ufffd", "")
_DOUBLED = re.compile(rf"Ã[{re.escape(_TAILS)}\x80-\xbf]|Å[¡¾½]|(?:[ÐÑØÙ][{re.escape(_TAILS)}\x80-\xbf]){{2}}")
#: A question mark within a word: some letter could not be written.
_LOST = re.compile(rf"(?<={_LETTER})\?+(?={_LETTER})")
#: Boxes that a font draws for letters that it does not have, and letters that were written for another kind of file:
#: `&auml;`, `\\u00e4`, `=E4`, `%C3%A4`.
_ESCAPED = re.compile(
    r"[\u25a0\u25a1\u25af\u2610\ufffc]|&#?[A-Za-z0-9]{2,8};|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|=[0-9A-F]{2}(?![0-9A-Za-z])"
    r"|(?<=[A-Za-z])(?:=[0-9A-F]{2}|%[0-9A-F]{2})(?=[A-Za-z=%])"
)
#: The mark of a letter that was lost, and the marks that turn the direction of what follows, seen or unseen.
_BROKEN = re.compile(r"[\ufffd\x80-\x9f\u202a-\u202e\u2066-\u2069]")
#: Without one of these signs no name has lost a letter: each form of `_LOST` and `_ESCAPED` begins with one.
_SIGNS = re.compile(r"[?&\\=%\u25a0\u25a1\u25af\u2610\ufffc]")
#: Without one of these no text is damaged: what UTF-8 writes beyond ASCII begins with a byte from C2 to F4, and a byte
#: from 80 to BF follows it, whichever of the two sets it is then read in.
_SUSPECT = re.compile(rf"{_BROKEN.pattern}|[\xc2-\xf4][{re.escape(_TAILS)}\x80-\xbf]")


def is_misdecoded(text: str, encoding: str) -> bool:
    """Whether text that was decoded from this encoding of one byte a letter was written in another."""
    name = encoding.lower()
    if name in _DOS_PAGES:
        return bool(_BOXES.search(text))
    if name == "iso-8859-15":
        return bool(_C1.search(text))
    return bool(_C1.search(text) or _LATIN_9.search(text) or _DOS.search(text))


def has_lost_letters(text: str) -> bool:
    """Whether a name shows that a letter of it could not be written: `M?kinen`, `M&auml;kinen`."""
    if _SIGNS.search(text) is None:
        return False
    return _LOST.search(text) is not None or _ESCAPED.search(text) is not None


def is_damaged(text: str) -> bool:
    """Whether text shows that it was decoded wrongly before it came here, or that it hides the order of its letters."""
    if text.isascii() or _SUSPECT.search(text) is None:
        return False
    if _BROKEN.search(text) or _DOUBLED.search(text):
        return True
    for encoding in ("windows-1252", "iso-8859-1"):
        try:
            text.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
        return True  # its letters are the bytes of other letters in UTF-8
    return False
