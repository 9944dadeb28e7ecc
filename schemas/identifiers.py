"""How an identifier of a person is written and checked, for every door by which one comes in.

One person, one notation: what a source, a client, a peer, a form or a hand at a keyboard sends is brought into the
notation in which persons are kept and looked up, or refused. A refusal under an identifier that no record can ever have
would protect nobody, so nothing is guessed: what is not certain is refused, with the remedy.

Source: Government Decree on the Population Information System (128/2010), 2 §, with the century signs in use from 2023.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import date
from types import MappingProxyType
from typing import Final, Literal

HETU: Final = "urn:oid:1.2.246.21"
MIGRI_CUSTOMER: Final = "urn:yhdyspinta:id:migri-customer"
LOCAL: Final = "urn:yhdyspinta:id:local"

Fault = Literal["subject-system-unknown", "subject-form", "subject-check"]

_CENTURIES: Final = {"+": 1800, **dict.fromkeys("-YXWVU", 1900), **dict.fromkeys("ABCDEF", 2000)}
_CHECKS: Final = "0123456789ABCDEFHJKLMNPRSTUVWXY"
_HETU: Final = re.compile(r"([0-9]{2})([0-9]{2})([0-9]{2})([-+YXWVUA-F])([0-9]{3})([0-9A-Y])\Z")
_CUSTOMER: Final = re.compile(r"[A-Z0-9][A-Z0-9._-]{0,39}\Z")
_LOCAL: Final = re.compile(r"[A-Z0-9][A-Z0-9._-]{0,63}\Z")
_BLANKS: Final = " \t\r\n"
#: What may be somebody's number, code, telephone or day of birth, however it is written, and the word around it.
_TELLING: Final = re.compile(
    r"\b\w*\d(?:[ -]{0,3}\d){5,}\w*(?:[^\w\s]?\w*\d\w*)*"
    r"|(?<![\d.])\d{1,2}[./]\d{1,2}[./](?:\d{4}|\d{2})(?!\d)\w*(?:[^\w\s]?\w*\d\w*)*"
)
#: Signs that look like a hyphen and have no category of their own for it: minus, hyphen bullet, modifier minus.
_LIKE_HYPHENS: Final = frozenset("\u2212\u2043\u02d7")


class SubjectIdentifierError(ValueError):
    """An identifier of a person that cannot be taken. It never holds the identifier.

    `code` says what is wrong, `member` in which member of `{"system": …, "value": …}`.
    """

    def __init__(self, code: Fault, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.code: Fault = code
        self.member = "system" if code == "subject-system-unknown" else "value"
        self.detail = detail
        self.remedy = remedy


def canonical(system: str, value: str) -> tuple[str, str]:
    """The system and the value as they are kept and looked up. Raises SubjectIdentifierError."""
    known = system.strip(_BLANKS)
    write = _SYSTEMS.get(known)
    if write is None:
        raise SubjectIdentifierError(
            "subject-system-unknown",
            "no system of that name gives identifiers to persons",
            "use one of: " + ", ".join(_SYSTEMS),
        )
    return known, write(_tidy(value))


def identity_code(text: str) -> str:
    """A Finnish personal identity code in upper case: its day exists, its check character is right.

    Raises SubjectIdentifierError.
    """
    return _identity_code(_tidy(text))


def born(system: str, value: str) -> date | None:
    """The day of birth that a Finnish personal identity code tells; None if it is none, or another identifier."""
    match = _HETU.match(value.upper()) if system == HETU else None
    return None if match is None else _day(match)


def masked(name: str) -> str:
    """A name that others gave (of a column, a sheet, a member), without what may say who it is about."""
    return _TELLING.sub("…", name) if len(name) > 5 else name


def check_character(digits: str) -> str:
    """The check character of the nine digits of a personal identity code."""
    return _CHECKS[int(digits) % 31]


def _tidy(value: str) -> str:
    """One of several ways to type the same: width and ligatures (NFKC), blanks around, case. Not what only looks alike:
    a hyphen that is none is refused, not replaced, since elsewhere it was taken for another character.
    """
    if value.isascii() and value.isprintable() and " " not in value:
        return value.upper()  # nearly every one: nothing in it has another way to be typed
    if any(character.isdigit() and not character.isdecimal() for character in value):
        raise _form("there is a raised or ringed digit in it", "write the digits 0 to 9")  # NFKC would make it another
    text = unicodedata.normalize("NFKC", value).strip(_BLANKS)
    for character in text:
        kind = unicodedata.category(character)
        if (kind == "Pd" and character != "-") or character in _LIKE_HYPHENS:
            raise _form("a sign in it looks like a hyphen and is another", "write the hyphen-minus of the keyboard, -")
        if kind[0] in "CZ":
            raise _form("there is a blank or a control character in it", "write it without blanks")
    return text.upper() if text.isascii() else text


def _identity_code(text: str) -> str:
    match = _HETU.match(text)
    if match is None or _day(match) is None:
        raise _form("it is no personal identity code: its form is wrong or its day does not exist", "write DDMMYYxNNNT")
    day, month, year, _, number, check = match.groups()
    if check_character(day + month + year + number) != check:
        raise SubjectIdentifierError(
            "subject-check",
            "the check character of the personal identity code is wrong",
            "check the code against the person's document",
        )
    return text


def _number(form: re.Pattern[str]) -> Callable[[str], str]:
    def write(text: str) -> str:
        if form.match(text) is None:
            raise _form("it is no customer number", "write letters A to Z, digits, and . _ - between them")
        return text

    return write


def _day(match: re.Match[str]) -> date | None:
    try:
        return date(_CENTURIES[match[4]] + int(match[3]), int(match[2]), int(match[1]))
    except ValueError:
        return None


def _form(detail: str, remedy: str) -> SubjectIdentifierError:
    return SubjectIdentifierError("subject-form", detail, remedy)


_SYSTEMS: Final[Mapping[str, Callable[[str], str]]] = MappingProxyType(
    {HETU: _identity_code, MIGRI_CUSTOMER: _number(_CUSTOMER), LOCAL: _number(_LOCAL)}
)
#: The systems that give identifiers to persons; the schema of Patient knows the same.
SYSTEMS: Final = tuple(_SYSTEMS)
