"""Which files of a folder are one drop: a part for each pattern, and a marker that says that all of them are there.

What `*` stands for in the patterns is the same for all files of a drop, so that none of another day is mixed in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

#: What a file is known by: its size and its time, or whatever else changes with it.
State = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Parts:
    """The files of a drop, by their patterns, and the pattern of the marker; empty if there is none."""

    patterns: tuple[str, ...]
    marker: str = ""


@dataclass(slots=True)
class Drop:
    """A drop: what `*` stands for, and its files by their patterns."""

    star: tuple[str, ...]
    files: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What it is called in folders and reports."""
        return "-".join(self.star) or "drop"

    def is_whole(self, parts: Parts) -> bool:
        """Whether each part is there, and the marker."""
        return all(pattern in self.files for pattern in parts.patterns) and (
            not parts.marker or parts.marker in self.files
        )


def drops(names: Iterable[str], parts: Parts) -> list[Drop]:
    """The drops that have begun to arrive, whole or not, by what `*` stands for. What fits no pattern is in none."""
    found: dict[tuple[str, ...], Drop] = {}
    expressions = {
        pattern: re.compile("(.+)".join(map(re.escape, pattern.split("*"))))
        for pattern in (*parts.patterns, *((parts.marker,) if parts.marker else ()))
    }
    for name in sorted(names):
        for pattern, expression in expressions.items():
            if match := expression.fullmatch(name):
                drop = found.setdefault(match.groups(), Drop(match.groups()))
                drop.files.setdefault(pattern, name)
                break
    # A drop is put into a folder of its title: that would be the folder around it, or the one above.
    return [drop for drop in found.values() if drop.title not in {".", ".."}]


def settled(found: Mapping[str, State], seen: Mapping[str, State], parts: Parts) -> Drop | None:
    """The oldest whole drop none of whose files has changed since the last look."""
    quiet = [
        (max(found[name] for name in drop.files.values()), drop.star, drop)
        for drop in drops(found, parts)
        if drop.is_whole(parts) and all(seen.get(name) == found[name] for name in drop.files.values())
    ]
    return min(quiet, key=lambda entry: entry[:2])[2] if quiet else None
