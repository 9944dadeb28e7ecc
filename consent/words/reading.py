"""Read the members of a form or a stored record, and say which of them is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import TypeVar

_Code = TypeVar("_Code", bound=StrEnum)
_MOST_CODES = 128
_LONGEST_CODE = 300
_LONGEST_TEXT = 200
#: RFC 5646, 2.1: language, extended language, script, region, variants, extensions, private use; or private use alone.
_TAG = re.compile(
    r"(?:(?:[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4,8})(?:-[a-z]{4})?(?:-(?:[a-z]{2}|[0-9]{3}))?"
    r"(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*(?:-[0-9a-wy-z](?:-[a-z0-9]{2,8})+)*(?:-x(?:-[a-z0-9]{1,8})+)?"
    r"|x(?:-[a-z0-9]{1,8})+)\Z",
    re.IGNORECASE | re.ASCII,
)
_LONGEST_TAG = 35  # RFC 5646, 4.4.1: what no reader may cut off


class ConsentError(ValueError):
    """A consent record that cannot be taken: which member of it, and why."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(f"{pointer}: {message}")
        self.pointer = pointer
        self.reason = message


def code_of(kinds: type[_Code], value: object, pointer: str) -> _Code:
    """One code of a closed set. Raises ConsentError."""
    if isinstance(value, str) and value in set(kinds):
        return kinds(value)
    raise ConsentError(pointer, f"use one of {', '.join(kinds)}")


def codes_of(value: object, pointer: str) -> frozenset[str]:
    """A list of codes; empty where nothing stands. Raises ConsentError."""
    if value is None:
        return frozenset()
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
        raise ConsentError(pointer, "write a list of codes")
    codes = list(value)
    if len(codes) > _MOST_CODES or not all(isinstance(code, str) and 0 < len(code) <= _LONGEST_CODE for code in codes):
        raise ConsentError(pointer, f"write a list of at most {_MOST_CODES} codes")
    return frozenset(codes)


def answer_of(value: object, pointer: str) -> bool | None:
    """Yes, no, or not said. Raises ConsentError."""
    if value is None or isinstance(value, bool):
        return value
    raise ConsentError(pointer, "write true or false, or leave it out if it is not known")


def day_of(value: object, pointer: str) -> date | None:
    """A day; None where none stands. Raises ConsentError."""
    if value is None or isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise ConsentError(pointer, "write a date as YYYY-MM-DD") from None


def moment_of(value: object, pointer: str) -> datetime:
    """A moment; without a zone it is UTC. Raises ConsentError."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise ConsentError(pointer, "write a time in ISO 8601 with its zone") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def text_of(value: object) -> str | None:
    """A text, cut to what is kept of it."""
    return value[:_LONGEST_TEXT] if isinstance(value, str) else None


def iso(value: date | None) -> str | None:
    """A day as it is written."""
    return value.isoformat() if value is not None else None


def language_of(value: object, pointer: str) -> str:
    """A language tag, of any language. Raises ConsentError."""
    if not isinstance(value, str) or len(value) > _LONGEST_TAG or _TAG.match(value) is None:
        raise ConsentError(pointer, "write a language tag (BCP 47), such as uk, prs or zh-Hant-TW")
    return value
