"""Parts of a mapping that hold only under a condition on other fields of the same record, or of the same part."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from adapters.sdk import Unreadable
from adapters.tables import folded
from adapters.under_way import NOTHING, Build, Node, Write, member_of


@dataclass(frozen=True, slots=True)
class Condition:
    """Fields and the values of which each must have one; none of them, with `is_denied`.

    A field that cannot be read fulfils neither: what would be given away if it were otherwise is not given.
    """

    values: Mapping[str, frozenset[str]]
    is_denied: bool = False

    def holds(self, build: Build) -> bool:
        """Whether a record, or the part at hand, fulfils it."""
        for name, wanted in self.values.items():
            held = member_of(build.part, name[2:]) if name.startswith("./") else build.record.fields.get(name)
            if isinstance(held, Unreadable | dict | list):
                return False
            if (folded("" if held is None else held) in wanted) is self.is_denied:
                return False
        return True


@dataclass(frozen=True, slots=True)
class When:
    """A node that makes its value only when all conditions hold. `fields` are those within it: they are looked at, and
    so are those of the conditions.
    """

    node: Node
    conditions: tuple[Condition, ...]
    fields: Collection[str]

    def build(self, build: Build, pointer: str) -> tuple[Any, bool]:
        """The value, or NOTHING."""
        for condition in self.conditions:
            build.taken.update(condition.values)
        if all(condition.holds(build) for condition in self.conditions):
            return self.node.build(build, pointer)
        build.taken.update(self.fields)
        return NOTHING, False

    def fits(self, value: Any) -> bool:
        """As the node within."""
        return self.node.fits(value)

    def write(self, write: Write, value: Any, pointer: str) -> None:
        """As the node within."""
        self.node.write(write, value, pointer)
