"""The versions of adapters that were taken into use, and which of them is: in the database, the same for all replicas.

A wheel is kept whole, so that every replica has it without anybody copying files, and a former version can be taken
back. Which one is in use is the newest row of `adapter_uses`; no row is ever changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Engine, func, insert, select

from adapters.sdk import AdapterError
from adapters.sdk.versions import Version
from audit.log.entries import Entry, EntryType, Outcome, micros, moment
from audit.log.waiting import Written
from gateway.storage.tables import adapter_uses, adapter_versions
from gateway.story import Story

#: Stands for what is installed beside the node.
INSTALLED: Final = ""


@dataclass(frozen=True, slots=True)
class Use:
    """A version in its turn: since when an adapter has been this one; `digest` is empty for what is installed.

    `entry` is the entry of the log that tells of it.
    """

    name: str
    number: int
    digest: str
    declared: str
    since: datetime
    entry: str = ""


def in_use(engine: Engine) -> dict[str, str]:
    """The digest of the version that is in use, by adapter; an adapter that is not there was never changed."""
    newest = select(adapter_uses.c.name, func.max(adapter_uses.c.number).label("number")).group_by(adapter_uses.c.name)
    last = newest.subquery()
    with engine.connect() as connection:
        rows = connection.execute(
            select(adapter_uses.c.name, adapter_uses.c.digest).join(
                last, (adapter_uses.c.name == last.c.name) & (adapter_uses.c.number == last.c.number)
            )
        )
        return {str(row.name): str(row.digest) for row in rows}


def history(connection: Connection, name: str | None = None) -> Sequence[Use]:
    """The versions that an adapter has been, newest first; without a name those of all, by name."""
    statement = (
        select(adapter_uses, adapter_versions.c.declared)
        .outerjoin(
            adapter_versions,
            (adapter_versions.c.name == adapter_uses.c.name) & (adapter_versions.c.digest == adapter_uses.c.digest),
        )
        .order_by(adapter_uses.c.name, adapter_uses.c.number.desc())
    )
    rows = connection.execute(statement if name is None else statement.where(adapter_uses.c.name == name))
    return [Use(row.name, row.number, row.digest, row.declared or "", moment(row.at), row.entry) for row in rows]


def wheel(engine: Engine, name: str, digest: str) -> bytes | None:
    """A version's wheel, if the database has it."""
    with engine.connect() as connection:
        found = connection.execute(
            select(adapter_versions.c.wheel).where(adapter_versions.c.name == name, adapter_versions.c.digest == digest)
        ).scalar()
    return None if found is None else bytes(found)


def take(connection: Connection, version: Version, data: bytes, story: Story, now: datetime) -> Written[bool]:
    """Take a version into use, on record in the same transaction; False if it is in use already."""
    known = connection.execute(
        select(adapter_versions.c.digest).where(
            adapter_versions.c.name == version.name, adapter_versions.c.digest == version.digest
        )
    ).first()
    if known is None:
        row = {"name": version.name, "digest": version.digest, "declared": version.declared, "wheel": data}
        connection.execute(insert(adapter_versions), {**row, "at": micros(now)})
    return _use(connection, version, story, now)


def take_back(connection: Connection, name: str, story: Story, now: datetime) -> Written[Version]:
    """Take the version before into use again, on record. Raises AdapterError if there is none.

    The first one's turn is what is installed. To take back a taking back brings the newer version again.
    """
    turns = history(connection, name)
    if not turns:
        raise AdapterError(f"no version of {name} was taken into use here, so there is none to take back")
    before = turns[1] if len(turns) > 1 else Use(name, 0, INSTALLED, "", now)
    version = Version(name, before.declared, before.digest)
    return Written(version, _use(connection, version, story, now).entries)


def _use(connection: Connection, version: Version, story: Story, now: datetime) -> Written[bool]:
    turns = history(connection, version.name)
    if turns and turns[0].digest == version.digest:
        return Written(False, ())
    entry = _entry(story, version, turns[0].digest if turns else INSTALLED, now)
    row = {"name": version.name, "number": (turns[0].number if turns else 0) + 1, "digest": version.digest}
    connection.execute(insert(adapter_uses), {**row, "at": micros(now), "entry": entry.id})
    return Written(True, (entry,))


def _entry(story: Story, version: Version, former: str, now: datetime) -> Entry:
    detail = {
        "act": "adapter",
        "adapter": version.name,
        "declared": version.declared,
        "version": version.digest or "installed",
        "former": former or "installed",
    }
    return story.entry(EntryType.MAINTENANCE, Outcome.SUCCESS, now, detail=detail)
