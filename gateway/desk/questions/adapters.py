"""Which version of each adapter is in use, since when and by whom, and which there were before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from adapters.sdk.versions import Version
from audit.log.entries import Agents, timestamp
from gateway.desk.asking import Answered, Note, Question
from gateway.desk.reading import Reading
from gateway.desk.roles import EVERYONE
from gateway.reading import shelf

#: As many turns of an adapter are told, the newest first.
MOST: Final = 20


@dataclass(frozen=True, slots=True)
class Turn:
    """A version in its turn. `client` and `user` (a pseudonym) took it into use, as `entry` says.

    Without a digest it is what is installed, to which the adapter was taken back.
    """

    version: Version
    since: datetime
    entry: str
    client: str | None
    user: str | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "declared": self.version.declared,
            "digest": self.version.digest or None,
            "since": timestamp(self.since),
            "entry": self.entry,
            "client": self.client,
            "user": self.user,
        }


@dataclass(frozen=True, slots=True)
class Used:
    """An adapter: its version in use, and the turns of its versions. Without any it is as it was installed.

    `is_taken_up` is false where this node could not take the version up, and goes on with the former.
    """

    version: Version
    turns: tuple[Turn, ...]
    is_installed: bool
    is_taken_up: bool = True

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "name": self.version.name,
            "declared": self.version.declared,
            "digest": self.version.digest or None,
            "is_installed": self.is_installed,
            "is_taken_up": self.is_taken_up,
            "turns": [turn.to_dict() for turn in self.turns],
        }


@dataclass(frozen=True, slots=True)
class AllUsed:
    """The adapters of a node, by name."""

    found: tuple[Used, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"adapters": [used.to_dict() for used in self.found]}


class Adapters(Question[AllUsed], named="adapters", roles=EVERYONE):
    """Which version of each adapter is in use, since when and by whom; and the versions that were."""

    def read(self, reading: Reading) -> Answered[AllUsed]:
        """The answer and its note."""
        found = tuple(sorted(_used(reading), key=lambda used: used.version.name))
        return Answered(AllUsed(found), Note(bool(found), detail={"adapters": len(found)}))


def _used(reading: Reading) -> Iterator[Used]:
    installed = {version.name: version for version in reading.context.installed()}
    not_taken = frozenset(reading.context.not_taken())
    for name, uses in groupby(shelf.history(reading.connection), lambda use: use.name):
        beside = installed.pop(name, Version(name, "", shelf.INSTALLED))
        turns = tuple(_turn(reading, use) for use in list(uses)[:MOST])
        newest = turns[0].version
        is_installed = newest.digest == shelf.INSTALLED
        yield Used(beside if is_installed else newest, turns, is_installed, name not in not_taken)
    for version in installed.values():
        yield Used(version, (), is_installed=True)


def _turn(reading: Reading, use: shelf.Use) -> Turn:
    found = reading.locate(use.entry)
    agents = found.entry.agents if found is not None else Agents()
    version = Version(use.name, use.declared, use.digest)
    return Turn(version, use.since, use.entry, agents.client, agents.user)
