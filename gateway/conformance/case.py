"""What a test of the kit is.

A test is a function that is given a Bench and raises Failed if the target is not as it should be. Its docstring says
what it does. What it is about stands in `cases.toml`: the requirement that it holds the target to, the section of the
page that makes it, and the tables of the profile without which it cannot be run.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.conformance.bench import Bench


class Role(StrEnum):
    """Whom the kit plays against the target: an information system, or another member's node."""

    CLIENT = "client"
    NODE = "node"


class Group(StrEnum):
    """What a test is about."""

    IDENTITY = "identity"
    CONSENTS = "consents"
    IDEMPOTENCY = "idempotency"
    CURSORS = "cursors"
    ACCEPTANCE = "acceptance"
    EXISTENCE = "existence"
    INPUT = "malformed-input"
    SIGNATURES = "signatures"


@dataclass(frozen=True, slots=True)
class Requirement:
    """What must be so, and the page and section that say it."""

    section: str
    text: str


Check = Callable[["Bench"], None]


@dataclass(frozen=True, slots=True)
class Case:
    """One test."""

    id: str
    group: Group
    title: str
    requirement: Requirement
    needs: tuple[str, ...]
    does: str
    check: Check

    @property
    def role(self) -> Role:
        """Whom the kit plays in it."""
        return Role.CLIENT if self.id.startswith("CLI-") else Role.NODE


CASES: dict[str, Case] = {}
"""The tests of the modules that have been loaded, by their ids."""


@cache
def rows() -> dict[str, dict[str, Any]]:
    """What each test is about, by its id."""
    return tomllib.loads((files("gateway.conformance") / "cases.toml").read_text("utf-8"))


def case(identifier: str) -> Callable[[Check], Check]:
    """Make a function the test that stands under this id in `cases.toml`."""

    def taken(check: Check) -> Check:
        row = rows()[identifier]
        does = row.get("does") or " ".join((check.__doc__ or "").split())
        if not does or identifier in CASES:
            raise ValueError(f"{identifier} is there twice, or does not say what it does")
        requirement = Requirement(row["section"], row["requirement"])
        needs = tuple(row["needs"])
        CASES[identifier] = Case(identifier, Group(row["group"]), row["title"], requirement, needs, does, check)
        return check

    return taken
