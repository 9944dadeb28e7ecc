"""Names of members, subsystems and services, as X-Road writes them.

`INSTANCE/CLASS/MEMBER[/SUBSYSTEM[/SERVICE]]`, for example `FI-DEMO/GOV/0000000-0/vastaanotto/palvelutarve`. An
identifier that exists is well formed: a part that is empty, too long, `.`, `..`, or that holds a control character or
one of `/ \\ % ;` is refused and never repaired, because two nodes that repair differently disagree about who is meant.
In text each part is percent-encoded UTF-8 of its own; `str()` gives the one canonical spelling.
Source: X-Road Message Protocol for REST, section 4.1 (identifiers in URLs and headers); RFC 3986 section 2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

PART_LIMIT = 255
_TEXT_LIMIT = 5 * (PART_LIMIT * 12 + 1)
# Also what cannot be seen (C1 controls, zero-width space, byte order mark), and unpaired surrogates, no UTF-8 at all.
_REFUSED = re.compile("[\x00-\x1f\x7f-\x9f\u200b\ufeff\ud800-\udfff/\\\\%;]")
_BROKEN_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")


class IdentifierError(ValueError):
    """A text is not an identifier; the message says which part is wrong and why, without repeating the part."""


@dataclass(frozen=True, slots=True)
class MemberId:
    """An organisation: `INSTANCE/CLASS/MEMBER`."""

    instance: str
    member_class: str
    code: str

    def __post_init__(self) -> None:
        """Refuse parts that no identifier may have. Raises IdentifierError."""
        _check("instance", self.instance)
        _check("member class", self.member_class)
        _check("member code", self.code)

    @classmethod
    def parse(cls, text: str) -> MemberId:
        """Parse `INSTANCE/CLASS/MEMBER`, each part percent-encoded. Raises IdentifierError."""
        return _member(text)

    def __hash__(self) -> int:
        return hash((self.code, self.member_class))

    def __str__(self) -> str:
        return f"{_print(self.instance)}/{_print(self.member_class)}/{_print(self.code)}"


@dataclass(frozen=True, slots=True)
class SubsystemId:
    """An information system of a member as the others see it: `INSTANCE/CLASS/MEMBER/SUBSYSTEM`."""

    member: MemberId
    code: str

    def __post_init__(self) -> None:
        """Refuse parts that no identifier may have. Raises IdentifierError."""
        _check("subsystem code", self.code)

    @classmethod
    def parse(cls, text: str) -> SubsystemId:
        """Parse `INSTANCE/CLASS/MEMBER/SUBSYSTEM`, each part percent-encoded. Raises IdentifierError."""
        return _subsystem(text)

    # Look-ups by identifier are on every path; the codes alone tell nearly all apart, at a third of the cost.
    def __hash__(self) -> int:
        return hash((self.code, self.member.code))

    def __str__(self) -> str:
        return f"{self.member}/{_print(self.code)}"


@dataclass(frozen=True, slots=True)
class ServiceId:
    """What a subsystem offers: `INSTANCE/CLASS/MEMBER/SUBSYSTEM/SERVICE`."""

    subsystem: SubsystemId
    code: str

    def __post_init__(self) -> None:
        """Refuse parts that no identifier may have. Raises IdentifierError."""
        _check("service code", self.code)

    @property
    def member(self) -> MemberId:
        """The organisation that offers the service."""
        return self.subsystem.member

    @classmethod
    def parse(cls, text: str) -> ServiceId:
        """Parse `INSTANCE/CLASS/MEMBER/SUBSYSTEM/SERVICE`, each part percent-encoded. Raises IdentifierError."""
        return _service(text)

    def __hash__(self) -> int:
        return hash((self.code, self.subsystem.code, self.subsystem.member.code))

    def __str__(self) -> str:
        return f"{self.subsystem}/{_print(self.code)}"


# The same few identifiers come with every message; a bounded memory of parsed texts spares their parsing.
@lru_cache(maxsize=16384)
def _member(text: str) -> MemberId:
    return MemberId(*_parts(text, 3, "INSTANCE/CLASS/MEMBER"))


@lru_cache(maxsize=16384)
def _subsystem(text: str) -> SubsystemId:
    *member, code = _parts(text, 4, "INSTANCE/CLASS/MEMBER/SUBSYSTEM")
    return SubsystemId(MemberId(*member), code)


@lru_cache(maxsize=16384)
def _service(text: str) -> ServiceId:
    *member, subsystem, code = _parts(text, 5, "INSTANCE/CLASS/MEMBER/SUBSYSTEM/SERVICE")
    return ServiceId(SubsystemId(MemberId(*member), subsystem), code)


def _check(name: str, part: str) -> None:
    if not part:
        raise IdentifierError(f"the {name} is empty")
    if len(part) > PART_LIMIT:
        raise IdentifierError(f"the {name} has more than {PART_LIMIT} characters")
    if part in {".", ".."}:
        raise IdentifierError(f"the {name} is a path segment with a meaning of its own")
    if _REFUSED.search(part):
        raise IdentifierError(f"the {name} holds a character that identifiers may not have (control, / \\ % ;)")


def _parts(text: str, count: int, form: str) -> list[str]:
    if len(text) > _TEXT_LIMIT:
        raise IdentifierError("the identifier is too long")
    parts = text.split("/")
    if len(parts) != count:
        raise IdentifierError(f"write it as {form}: {count} parts, this has {len(parts)}")
    return [_decode(part) for part in parts]


def _decode(part: str) -> str:
    if "%" not in part:
        return part
    if _BROKEN_ESCAPE.search(part):
        raise IdentifierError("a percent sign is not followed by two hexadecimal digits")
    try:
        return unquote_to_bytes(part).decode("utf-8")
    except UnicodeError:
        raise IdentifierError("a percent-encoded part is not UTF-8") from None


@lru_cache(maxsize=16384)
def _print(part: str) -> str:
    return quote(part, safe="")
