"""Transforms: named, pure functions from a source's value to a canonical one and, where there is a way, back.

A transform raises TransformError with the code of a finding; it never puts the value into words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Any

from schemas.codes import code_system
from schemas.identifiers import SubjectIdentifierError, identity_code


class TransformError(ValueError):
    """A value that a transform cannot take; `code` is that of the finding."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Transform:
    """A transform: its name in mappings, what it does, an example, its function and the way back if there is one.

    `gives` is the JSON type of what it makes, by which the compiler knows where it can stand; empty if it is known
    only at work.
    """

    name: str
    does: str
    example: tuple[str, Any]
    forward: Callable[[Any], Any]
    backward: Callable[[Any], Any] | None
    gives: str = "string"


_FI_DATE = re.compile(r"([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})\Z")
_PHONE = re.compile(r"\+?[0-9]{5,15}\Z")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]+\.[^@\s]+\Z")


def hetu(value: Any) -> str:
    """A Finnish personal identity code: its date exists and its check character is right."""
    try:
        return identity_code(str(value))
    except SubjectIdentifierError as error:
        raise TransformError("hetu-check" if error.code == "subject-check" else "hetu-form") from None


def fi_date(value: Any) -> str:
    """A day as Finns write it, or as ISO 8601 does; gives ISO 8601."""
    text = str(value).strip()
    match = _FI_DATE.match(text)
    try:
        found = date(int(match[3]), int(match[2]), int(match[1])) if match else date.fromisoformat(text)
    except ValueError:
        raise TransformError("date-form") from None
    if not 1800 <= found.year <= 2199:
        raise TransformError("date-form")
    return found.isoformat()


def _to_fi_date(value: Any) -> str:
    found = date.fromisoformat(str(value))
    return f"{found.day}.{found.month}.{found.year}"


def _hl7_date(value: Any) -> str:
    text = str(value).strip()
    if re.fullmatch(r"[0-9]{8}([0-9]{2,6}([+-][0-9]{4})?)?", text) is None:
        raise TransformError("date-form")
    return fi_date(f"{text[:4]}-{text[4:6]}-{text[6:8]}")


def _to_hl7_date(value: Any) -> str:
    return date.fromisoformat(str(value)).strftime("%Y%m%d")


def _yes_no(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in {"k", "kyllä", "ja", "yes", "y", "true", "1", "x"}:
        return True
    if word in {"e", "ei", "nej", "no", "n", "false", "0"}:
        return False
    raise TransformError("not-yes-no")


def _number(value: Any) -> int:
    text = re.sub(r"[\s\u00a0]", "", str(value))
    if isinstance(value, bool) or re.fullmatch(r"-?[0-9]{1,9}", text) is None:
        raise TransformError("not-a-number")
    return int(text)


def _phone(value: Any) -> str:
    text = re.sub(r"[\s().\u00a0-]", "", str(value))
    if text.startswith("00"):
        text = "+" + text[2:]
    if _PHONE.match(text) is None:
        raise TransformError("phone-form")
    return text


def _email(value: Any) -> str:
    text = str(value).strip()
    if _EMAIL.match(text) is None:
        raise TransformError("email-form")
    return text


def _postal_code(value: Any) -> str:
    text = str(value).strip()
    if re.fullmatch(r"[0-9]{5}", text) is None:
        raise TransformError("postal-code-form")
    return text


def _country(value: Any) -> str:
    found = code_system("country").find(str(value))
    if found is None:
        raise TransformError("country-form")
    return found.code


def _language(value: Any) -> str:
    found = code_system("language").find(str(value))
    if found is None:
        raise TransformError("language-unknown")
    return found.code


def _text(value: Any) -> str:
    return str(value).strip()


def _joined(value: Any) -> str:
    if not isinstance(value, list):
        raise TransformError("unreadable")
    return " ".join(value)


def _k_or_e(value: Any) -> str:
    return "K" if value else "E"


def _words(value: Any) -> list[str]:
    return str(value).split()


_ALL = (
    Transform("text", "The text without the space around it.", (" Kotka ", "Kotka"), _text, str),
    Transform("words", "The words of a text, as a list.", ("Anna Maria", ["Anna", "Maria"]), _words, _joined, "array"),
    Transform("hetu", "A Finnish personal identity code, checked.", ("131052-900w", "131052-900W"), hetu, str),
    Transform("fi-date", "A day written 5.2.1990 (or 1990-02-05).", ("5.2.1990", "1990-02-05"), fi_date, _to_fi_date),
    Transform("iso-date", "A day written 1990-02-05.", ("1990-02-05", "1990-02-05"), fi_date, str),
    Transform(
        "hl7-date", "A day written 19900205, as HL7 v2 does.", ("19900205", "1990-02-05"), _hl7_date, _to_hl7_date
    ),
    Transform("yes-no", "Yes or no: K/E, kyllä/ei, true/false.", ("K", True), _yes_no, _k_or_e, "boolean"),
    Transform("boolean", "Yes or no; back as a JSON boolean.", ("true", True), _yes_no, bool, "boolean"),
    Transform("number", "A whole number.", ("1 200", 1200), _number, int, "integer"),
    Transform("phone", "A telephone number without spaces.", ("040 123 4567", "0401234567"), _phone, str),
    Transform("email", "An e-mail address.", ("a@example.fi", "a@example.fi"), _email, str),
    Transform("postal-code", "A Finnish postal code.", ("48100", "48100"), _postal_code, str),
    Transform("country", "A country by its ISO 3166 code, as its three letters.", ("ua", "UKR"), _country, str),
    Transform("language", "A language by ISO 639, as BCP 47 writes it.", ("UKR", "uk"), _language, str),
)

#: Every transform by its name. `code TABLE` and `table NAME` are made by the compiler from the mapping's tables.
TRANSFORMS: Mapping[str, Transform] = MappingProxyType({one.name: one for one in _ALL})
