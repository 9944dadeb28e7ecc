"""What a test of the kit is, and the list of all of them.

A test is a function that is given a Bench and raises Failed if the target is not as it should be. Its docstring says
what it does; the requirement that it holds the target to names the section of the page that makes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

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


class Failed(Exception):  # noqa: N818  a verdict on the target, not an error of the kit
    """The target is not as the requirement says: what was expected of it, and what came."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected = expected
        self.got = got


class NotGiven(Exception):  # noqa: N818  says that the test cannot be run, which is nobody's error
    """The profile lacks something that the test found that it needs; says what."""


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


_CASES: dict[str, Case] = {}


def case(identifier: str, group: Group, title: str, requirement: Requirement, *needs: str) -> Callable[[Check], Check]:
    """Make a function a test; `needs` are the tables of the profile without which it cannot be run."""

    def taken(check: Check) -> Check:
        does = " ".join((check.__doc__ or "").split())
        if not does or identifier in _CASES:
            raise ValueError(f"{identifier} is there twice, or does not say what it does")
        _CASES[identifier] = Case(identifier, group, title, requirement, needs, does, check)
        return check

    return taken


def cases() -> tuple[Case, ...]:
    """All tests, in the order of their ids."""
    # The modules with the tests register them when they are loaded.
    from gateway.conformance import (  # noqa: F401
        client_access,
        client_consents,
        client_handovers,
        client_input,
        node_answers,
        node_deliveries,
        node_messages,
        node_transport,
    )

    return tuple(_CASES[identifier] for identifier in sorted(_CASES, key=_order))


def chosen(
    found: Iterable[Case], *, role: Role | None, groups: frozenset[str], only: frozenset[str]
) -> tuple[Case, ...]:
    """Those of a role, of some groups, or with some ids; what is empty or None chooses all."""
    return tuple(
        entry
        for entry in found
        if (role is None or entry.role is role)
        and (not groups or entry.group.value in groups)
        and (not only or entry.id in only)
    )


def _order(identifier: str) -> tuple[str, int]:
    prefix, _, number = identifier.rpartition("-")
    return prefix, int(re.sub(r"\D", "", number))
