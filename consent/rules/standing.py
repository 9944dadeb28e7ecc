"""Standing requests: what a recipient asks once for all, so that a holder may send without being asked each time.

A right to get answers a question. It carries a handover only where the recipient has asked for it beforehand: in a
dated record, signed by its member and published in the registry, which names the provision, the purpose, the
categories and the persons that it is about. Whether it is published and signed is for the registry; here it is a value,
and what it covers. Source: Act 906/2019, section 22.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

from consent.rules.provisions import Provision, ProvisionError

_MEMBERS = frozenset(
    {
        "id",
        "member",
        "role",
        "providers",
        "provision",
        "purpose",
        "categories",
        "conditions",
        "first",
        "last",
        "signature",
    }
)
_LONGEST = 300
_LONGEST_SIGNATURE = 64 * 1024
_MOST = 128


class _Party(Protocol):
    """One side of an exchange, as far as a standing request names it."""

    @property
    def role(self) -> str: ...

    @property
    def member(self) -> str: ...


class StandingRequestError(ValueError):
    """A standing request that cannot be taken: which member of it, and why."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(f"{pointer}: {message}")
        self.pointer = pointer
        self.reason = message


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingRequest:
    """One standing request. Days are of the Finnish calendar, both counted; without a last one it stands until ended.

    `member` asks in its `role`; `providers` are roles or members; `conditions` are names of the rulebook's vocabulary,
    all of which hold of the persons that it is about, besides what the provision itself asks.
    """

    id: str
    member: str
    role: str
    providers: frozenset[str]
    provision: Provision
    purpose: str
    categories: frozenset[str]
    conditions: tuple[str, ...] = ()
    first: date
    last: date | None = None
    #: The member's own, as a compact JWS; whether it is, is for the registry to say.
    signature: str = ""

    def stands(self, day: date) -> bool:
        """Whether it stands on a day."""
        return self.first <= day and (self.last is None or day <= self.last)

    def asks(self, requester: _Party, provider: _Party, purpose: str) -> bool:
        """Whether this recipient asks this provider for this purpose by it."""
        return (self.member, self.role, self.purpose) == (requester.member, requester.role, purpose) and not (
            self.providers.isdisjoint((provider.role, provider.member))
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        document = {
            "id": self.id,
            "member": self.member,
            "role": self.role,
            "providers": sorted(self.providers),
            "provision": str(self.provision),
            "purpose": self.purpose,
            "categories": sorted(self.categories),
            "conditions": list(self.conditions),
            "first": self.first.isoformat(),
            "last": self.last.isoformat() if self.last is not None else None,
        }
        return {**document, "signature": self.signature} if self.signature else document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> StandingRequest:
        """Read what `to_dict` wrote. Raises StandingRequestError, which names the member."""
        for name in sorted(document.keys() - _MEMBERS):
            raise StandingRequestError(f"/{name}", "there is no such member")
        try:
            provision = Provision.parse(_text(document, "provision"))
        except ProvisionError as error:
            raise StandingRequestError("/provision", str(error)) from None
        first = _day(document, "first")
        last = _day(document, "last") if document.get("last") is not None else None
        if last is not None and last < first:
            raise StandingRequestError("/last", "it ends before it begins")
        return cls(
            id=_text(document, "id"),
            member=_text(document, "member"),
            role=_text(document, "role"),
            providers=frozenset(_names(document, "providers")),
            provision=provision,
            purpose=_text(document, "purpose"),
            categories=frozenset(_names(document, "categories")),
            conditions=tuple(_names(document, "conditions", may_be_empty=True)),
            first=first,
            last=last,
            signature=_signature(document),
        )


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST:
        raise StandingRequestError(f"/{name}", f"a text of 1 to {_LONGEST} characters is needed")
    return value


def _signature(document: Mapping[str, Any]) -> str:
    value = document.get("signature", "")
    if not isinstance(value, str) or len(value) > _LONGEST_SIGNATURE or not value.isascii():
        raise StandingRequestError("/signature", "a compact JWS is needed, or none")
    return value


def _day(document: Mapping[str, Any], name: str) -> date:
    try:
        return date.fromisoformat(_text(document, name))
    except ValueError:
        raise StandingRequestError(f"/{name}", "write a date as YYYY-MM-DD") from None


def _names(document: Mapping[str, Any], name: str, *, may_be_empty: bool = False) -> Iterable[str]:
    value = document.get(name, [])
    if not isinstance(value, list) or len(value) > _MOST or not (value or may_be_empty):
        raise StandingRequestError(f"/{name}", f"a list of {0 if may_be_empty else 1} to {_MOST} codes is needed")
    if not all(isinstance(entry, str) and 0 < len(entry) <= _LONGEST for entry in value):
        raise StandingRequestError(f"/{name}", "each is a text")
    return value
