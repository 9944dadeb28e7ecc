"""What the Estonian Data Tracker's usage protocol (version 2) tells a person about the use of their data.

These are the values behind its three endpoints, findUsage, usagePeriod and heartbeat, ready to be given out as JSON.
Disclosures under a basis that forbids telling the person are neither shown nor counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, select

from audit.log.rows import member_of
from audit.log.tables import entries
from audit.questions.query import Filters, Found, Search, disclosures, search, walk
from audit.questions.report import Names, Telling, usage_sentence

MAX_USAGES: Final = 1_000
MOST: Final = 100_000


class UsageError(ValueError):
    """An offset or limit outside what the protocol allows."""


def _zoned(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, slots=True)
class Usage:
    """One use of a person's data."""

    logtime: datetime
    action: str
    receiver_code: str
    receiver_name: str | None
    receiver_system: str

    def to_json(self) -> dict[str, str]:
        """The members of the protocol's usage object."""
        document = {
            "logtime": _zoned(self.logtime),
            "action": self.action,
            "receiverCode": self.receiver_code,
            "receiverSystem": self.receiver_system,
        }
        if self.receiver_name is not None:
            document["receiverName"] = self.receiver_name
        return document


@dataclass(frozen=True, slots=True)
class Usages:
    """One page of uses, newest first, and how many there are in all."""

    total: int
    usages: tuple[Usage, ...]

    def to_json(self) -> dict[str, object]:
        """The answer of findUsage."""
        return {"totalUsages": self.total, "usages": [usage.to_json() for usage in self.usages]}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which uses are asked for. Raises UsageError."""

    start: datetime | None = None
    end: datetime | None = None
    offset: int = 0
    limit: int = MAX_USAGES

    def __post_init__(self) -> None:
        if not 0 <= self.offset <= MOST or not 1 <= self.limit <= MAX_USAGES:
            raise UsageError(f"offset is between 0 and {MOST} and limit between 1 and {MAX_USAGES}")


def find_usage(connection: Connection, pseudonyms: Sequence[str], telling: Telling, wanted: Wanted) -> Usages:
    """Uses of one person's data, newest first."""
    theirs = disclosures(pseudonyms, start=wanted.start, end=wanted.end)
    shown = [
        found
        for found in walk(connection, theirs, order="newest", limit=MOST, find=telling.find)
        if not telling.hides(found.entry)
    ]
    page = shown[wanted.offset : wanted.offset + wanted.limit]
    return Usages(len(shown), tuple(_usage(found, telling.language, telling.names) for found in page))


def _usage(found: Found, language: str, names: Names) -> Usage:
    recipient = found.entry.taker or ""
    member = member_of(recipient)
    code = member.rsplit("/", 1)[1] if member else recipient
    name = names("subsystem", recipient, language) if recipient else None
    return Usage(found.entry.recorded, usage_sentence(found, language, names), code, name, recipient)


@dataclass(frozen=True, slots=True)
class UsagePeriod:
    """The time that the log covers; an open end means until now."""

    start: datetime
    end: datetime | None = None

    def to_json(self) -> dict[str, str]:
        """The answer of usagePeriod."""
        document = {"periodStart": _zoned(self.start)}
        if self.end is not None:
            document["periodEnd"] = _zoned(self.end)
        return document


def usage_period(connection: Connection, now: datetime, *, find: Search = search) -> UsagePeriod:
    """From the first entry on, wherever it is kept; of an empty log, from now on."""
    page = find(connection, Filters(), order="oldest", after=None, limit=1)
    return UsagePeriod(page.found[0].entry.recorded if page.found else now)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Whether uses can be looked up just now."""

    status: str
    message: str | None = None

    def to_json(self) -> dict[str, str]:
        """The answer of heartbeat."""
        return {"status": self.status} | ({} if self.message is None else {"message": self.message})


def heartbeat(connection: Connection) -> Heartbeat:
    """OK if the log can be read."""
    connection.execute(select(entries.c.idx).limit(1)).first()
    return Heartbeat("OK")
