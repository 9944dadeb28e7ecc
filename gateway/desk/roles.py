"""Roles at the officer's desk; a module that loads nothing else, since commands offer them by name."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What somebody may do at the desk. A system with `audit`, and who has the secrets, reads all."""

    OFFICER = "officer"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    REGISTRAR = "registrar"  # signs, and sees to what people are owed; sees no searches
