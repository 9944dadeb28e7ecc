"""What a word is aimed at, where it is narrower than all of a person's data.

In social care a prohibition may be aimed at a controller, a service task or a document; in health care at a controller,
a register of it, or a service event. A minor who is able to decide may forbid besides that a guardian or representative
hears. Source: Act 703/2023, sections 51 and 59.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from consent.words.reading import ConsentError, code_of


class TargetKind(StrEnum):
    """What a target is."""

    CONTROLLER = "controller"
    REGISTER = "register"
    SERVICE_TASK = "service-task"
    DOCUMENT = "document"
    SERVICE_EVENT = "service-event"
    GUARDIAN = "guardian"
    REPRESENTATIVE = "representative"


class Sector(StrEnum):
    """Whose customer the person is."""

    SOCIAL = "social"
    HEALTH = "health"


#: Those by whom the person is not to be heard of: they are aimed at who asks, and name nothing more.
LISTENERS: Final = frozenset({TargetKind.GUARDIAN, TargetKind.REPRESENTATIVE})
_ALLOWED: Final = {
    Sector.SOCIAL: frozenset({TargetKind.CONTROLLER, TargetKind.SERVICE_TASK, TargetKind.DOCUMENT}) | LISTENERS,
    Sector.HEALTH: frozenset({TargetKind.CONTROLLER, TargetKind.REGISTER, TargetKind.SERVICE_EVENT}) | LISTENERS,
}
_CODE = re.compile(r"[^\x00-\x1f\x7f]{1,300}")


@dataclass(frozen=True, slots=True)
class Target:
    """One target. `code` is the member id of a controller, that of a register's controller and its name after a slash,
    or the code by which the holder knows a task, document or event.
    """

    kind: TargetKind
    code: str = ""
    sector: Sector | None = None

    def is_aimed_at(self, holder: str, role: str) -> bool:
        """Whether it stops what this member would give to somebody of this role. What is not known counts as yes.

        A task, document or event cannot be told apart in a record, so whatever may hold it is meant.
        """
        if self.kind in LISTENERS:
            return role in {"", self.kind.value}
        if self.kind in {TargetKind.CONTROLLER, TargetKind.REGISTER}:
            return holder in {"", self.code} or self.code.startswith(f"{holder}/")
        return True

    def is_all_of(self, holder: str) -> bool:
        """Whether it surely takes in all that this member holds."""
        return self.kind == TargetKind.CONTROLLER and self.code == holder

    def __str__(self) -> str:
        """In one line: `social:document:code`, without the sector where none was named."""
        sector = f"{self.sector}:" if self.sector is not None else ""
        return f"{sector}{self.kind}:{self.code}" if self.code else f"{sector}{self.kind}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"kind": self.kind.value, "code": self.code, "sector": self.sector and self.sector.value}

    @classmethod
    def read(cls, stated: object) -> Target | None:
        """Read what `to_dict` or `__str__` wrote; None for nothing, which means all. Raises ConsentError."""
        if stated is None or stated in ("", "all"):
            return None
        document = _parts(stated) if isinstance(stated, str) else stated
        if not isinstance(document, Mapping):
            raise ConsentError(
                "/target", 'write {"kind": "controller", "code": "…"}, or leave it out: then all is meant'
            )
        kind = code_of(TargetKind, document.get("kind"), "/target/kind")
        named = document.get("sector")
        sector = None if named is None else code_of(Sector, named, "/target/sector")
        if sector is not None and kind not in _ALLOWED[sector]:
            allowed = ", ".join(sorted(_ALLOWED[sector]))
            raise ConsentError("/target/kind", f"in this sector a prohibition is aimed at one of {allowed}, or at all")
        code = document.get("code") or ""
        if not isinstance(code, str) or (code and _CODE.fullmatch(code) is None):
            raise ConsentError("/target/code", "write a code of at most 300 characters")
        if not code and kind not in LISTENERS:
            raise ConsentError("/target/code", "name what it is aimed at, or leave the target out: then all is meant")
        return cls(kind, code, sector)


def _parts(text: str) -> dict[str, Any]:
    head, _, rest = text.partition(":")
    if head in set(Sector):
        kind, _, code = rest.partition(":")
        return {"sector": head, "kind": kind, "code": code}
    return {"kind": head, "code": rest}
