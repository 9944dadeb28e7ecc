"""Keep each decision that was acted on, so that anyone with the right to can have it made again.

The log entry names the decision by its id, which is a digest of its text. What it was made of (facts of the person,
consents by version) is kept beside it, sealed under the person's key, and the rulebook once by its digest. When a
person's key is destroyed their decisions become noise, and the log stays as it was.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, bindparam, select

from audit.log.entries import Entry
from audit.log.statements import Fixed
from audit.questions.subjects import Subjects
from consent.deciding import replaying
from consent.deciding.replaying import Recorded
from consent.deciding.verdicts import Decision
from consent.words import store
from consent.words.consents import ConsentRecord
from gateway.storage.sealing import seal, unseal
from gateway.storage.tables import decisions, rulebooks

_KEEP = Fixed.insert(decisions, "entry", "decision", "rulebook", "subject", "at", "sealed")
_KEEP_RULEBOOK = Fixed.insert(rulebooks, "digest", "text", "at")
_HELD_RULEBOOK = Fixed(select(rulebooks.c.at).where(rulebooks.c.digest == bindparam("of")), "of")


class KeptRulebooks:
    """Which rulebooks this process knows to be durable, so that each is looked for once and not at every decision."""

    def __init__(self) -> None:
        self._durable: set[str] = set()

    def keep(self, connection: Connection, digest: str, text: bytes, at: datetime) -> None:
        """Store a rulebook's text under its digest, unless it is there."""
        if digest in self._durable or _HELD_RULEBOOK.row(connection, digest) is not None:
            return
        _KEEP_RULEBOOK.run(connection, digest, text, _micros(at))

    def committed(self, digest: str) -> None:
        """The transaction in which it was kept, or found, has been committed."""
        self._durable.add(digest)


def keep_decision(connection: Connection, entry: Entry, decision: Decision, *, subject: str, key: bytes) -> None:
    """Keep a decision beside the log entry that speaks of it, in the transaction that records the entry."""
    sealed = seal(key, f"decisions/{entry.id}", replaying.written(decision))
    _KEEP.run(connection, entry.id, decision.id, decision.rulebook, subject, _micros(decision.at), sealed)


@dataclass(frozen=True, slots=True)
class Kept:
    """A decision that was kept. `recorded` and `consents` are None once the person's key was destroyed."""

    entry: str
    decision: str
    rulebook: str
    recorded: Recorded | None
    consents: tuple[ConsentRecord, ...] | None


@dataclass(frozen=True, slots=True)
class Period:
    """From a moment on (`start`, inclusive), before another (`end`, exclusive), or without one."""

    start: datetime | None = None
    end: datetime | None = None


ALWAYS = Period()


def kept_decisions(
    engine: Engine,
    subjects: Subjects,
    *,
    within: Period = ALWAYS,
    entry: str | None = None,
    newest: int | None = None,
) -> Generator[Kept, None, None]:
    """The kept decisions, oldest first: all, or those within a period, or the one of a log entry.

    With `newest` at most so many, newest first. Close what is not read to the end.
    """
    statement = select(decisions).order_by(decisions.c.at, decisions.c.entry)
    if newest is not None:
        statement = select(decisions).order_by(decisions.c.at.desc(), decisions.c.entry.desc()).limit(newest)
    if within.start is not None:
        statement = statement.where(decisions.c.at >= _micros(within.start))
    if within.end is not None:
        statement = statement.where(decisions.c.at < _micros(within.end))
    if entry is not None:
        statement = statement.where(decisions.c.entry == entry)
    with engine.connect() as connection, engine.connect() as reading:
        for row in connection.execution_options(yield_per=500).execute(statement):
            key = subjects.key_of(reading, row.subject)
            if key is None:
                yield Kept(row.entry, row.decision, row.rulebook, None, None)
                continue
            recorded = replaying.read(unseal(key, f"decisions/{row.entry}", row.sealed))
            yield Kept(row.entry, row.decision, row.rulebook, recorded, store.versions(reading, recorded.considered))


def kept_rulebook(engine: Engine, digest: str) -> bytes | None:
    """The text of a rulebook by which this node once decided."""
    with engine.connect() as connection:
        text = connection.execute(select(rulebooks.c.text).where(rulebooks.c.digest == digest)).scalar_one_or_none()
    return None if text is None else bytes(text)


def _micros(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000)
