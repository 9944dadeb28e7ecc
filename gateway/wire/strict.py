"""Take a compact JWS apart without believing any of it, and refuse every text that two parsers could read differently.

Three segments of canonical unpadded base64url; header and claims are UTF-8 JSON objects without repeated members,
without numbers other than short whole ones, without control characters or unpaired surrogates in strings, and nested
no deeper than DEPTH_LIMIT.
Source: RFC 7515 sections 2 and 7.1; RFC 4648 sections 3.3 and 3.5; RFC 8259; RFC 7493 (I-JSON).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

from gateway.wire.problems import ProblemError

DEPTH_LIMIT = 4
HEADER_LIMIT = 512
# Written so that a string is passed over in runs, and not letter by letter.
_STRINGS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKETS = re.compile(r"[{}\[\]]")
_REFUSED_TEXT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_URL_ALPHABET = str.maketrans("-_", "+/")


@dataclass(frozen=True, slots=True)
class Segments:
    """A JWS taken apart: header and claims as parsed, the signature's bytes, and the bytes that were signed."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signature: bytes
    signed: bytes


def b64url(data: bytes) -> str:
    """Unpadded base64url (RFC 7515 appendix C)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def split(jws: str, limit: int) -> Segments:
    """Take a compact JWS of at most `limit` characters apart. Raises ProblemError, with a code for each fault."""
    if len(jws) > limit:
        raise ProblemError("message-too-large", detail=f"a message has at most {limit} characters")
    parts = jws.split(".")
    if len(parts) != 3 or not all(parts):
        raise ProblemError("message-not-compact", detail="a message is header, claims and signature, joined by dots")
    header, claims, signature = parts
    if len(header) > HEADER_LIMIT:
        raise ProblemError("message-too-large", detail=f"the header has at most {HEADER_LIMIT} characters")
    return Segments(
        header=_header(header),
        claims=strict_object(b64url_decode(claims)),
        signature=b64url_decode(signature),
        signed=f"{header}.{claims}".encode("ascii"),
    )


def b64url_decode(text: str) -> bytes:
    """Decode canonical unpadded base64url. Raises ProblemError `message-not-base64url`."""
    try:
        decoded = binascii.a2b_base64(text.translate(_URL_ALPHABET) + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError:
        decoded = b""
    if b64url(decoded) != text:
        raise ProblemError(
            "message-not-base64url",
            detail="a segment has padding, a character outside the alphabet, or bits left over",
            remedy="encode as base64url without padding",
        )
    return decoded


def strict_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object that every parser reads in the same way. Raises ProblemError, with a code for each fault."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ProblemError("message-not-utf8", detail="the bytes are not UTF-8") from None
    # Counting is cheap and settles nearly every message; only one with many brackets is looked at more closely.
    if text.count("{") + text.count("[") > DEPTH_LIMIT and _depth(text) > DEPTH_LIMIT:
        raise ProblemError("message-too-deep", detail=f"JSON is nested at most {DEPTH_LIMIT} deep")
    try:
        parsed = _PARSER.decode(text)
    except (json.JSONDecodeError, RecursionError):
        raise ProblemError("message-not-json", detail="the text is not JSON") from None
    if not isinstance(parsed, dict):
        raise ProblemError("message-not-json", detail="the text is JSON, but not an object")
    # Raw control characters are no JSON at all, and UTF-8 has no surrogates: both can only come by an escape.
    if "\\" in text or "\x7f" in text:
        _plain(parsed)
    return parsed


@lru_cache(maxsize=1024)
def _header_items(segment: str) -> tuple[tuple[str, Any], ...]:
    return tuple(strict_object(b64url_decode(segment)).items())


def _header(segment: str) -> dict[str, Any]:
    # All messages of one certificate have the same header text; what is remembered is its parse, never a verdict.
    return dict(_header_items(segment))


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ProblemError("message-member-repeated", detail="a name stands twice in one object")
    return members


def _refuse_number(_text: str) -> NoReturn:
    raise ProblemError(
        "message-number-refused", detail="numbers are whole, of at most 15 digits, without fraction or exponent"
    )


def _whole_number(text: str) -> int:
    if len(text) > 15 or text.startswith("-"):
        _refuse_number(text)
    return int(text)


_PARSER = json.JSONDecoder(
    object_pairs_hook=_members,
    parse_float=_refuse_number,
    parse_int=_whole_number,
    parse_constant=_refuse_number,
)


def _depth(text: str) -> int:
    deepest = depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub("", text)):
        if bracket in "{[":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def _plain(value: object) -> None:
    if isinstance(value, str):
        if _REFUSED_TEXT.search(value):
            raise ProblemError("message-text-refused", detail="a text holds a control character or half a character")
    elif isinstance(value, dict):
        for name, member in value.items():
            _plain(name)
            _plain(member)
    elif isinstance(value, list):
        for item in value:
            _plain(item)
