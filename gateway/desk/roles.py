"""Roles at the officer's desk; a module that loads nothing else, since commands offer them by name."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What somebody may do at the desk. Systems with the right `audit`, and whoever has the node's secrets, do all."""

    OFFICER = "officer"
    OPERATOR = "operator"
    AUDITOR = "auditor"
