"""The list of all tests of the kit, and which of them are chosen."""

from __future__ import annotations

import re
from collections.abc import Iterable

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
from gateway.conformance.case import CASES, Case, Role


def cases() -> tuple[Case, ...]:
    """All tests, in the order of their ids."""
    return tuple(CASES[identifier] for identifier in sorted(CASES, key=_order))


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
