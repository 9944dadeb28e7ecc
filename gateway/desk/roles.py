"""Who asks at the officer's desk, and in which role. It loads nothing else, since commands offer roles by name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What somebody may do at the desk. A system with `audit`, and who has the secrets, reads all."""

    OFFICER = "officer"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    REGISTRAR = "registrar"  # signs, and sees to what people are owed; sees no searches


EVERYONE: Final = frozenset(Role)
INSPECTORS: Final = frozenset({Role.OFFICER, Role.AUDITOR})
OFFICER: Final = frozenset({Role.OFFICER})
REGISTRAR: Final = frozenset({Role.REGISTRAR})


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: the system that they use, the person by a pseudonym, and their role.

    `member` limits what they see to entries that name it, and to its persons. `page` is the console's page that asks.
    """

    client: str
    user: str | None = None
    role: Role = Role.OFFICER
    member: str | None = None
    page: str | None = None
