"""Persons for tests: what a register would have joined, without a register."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, update

from audit.log.entries import micros, new_id
from audit.log.tables import identifiers as identifiers_table
from audit.questions import links
from audit.questions.links import LinkAct, LinkRow
from audit.questions.subjects import Subject, Subjects, normalised


def joined(
    connection: Connection, subjects: Subjects, identifiers: Sequence[tuple[str, str]], now: datetime
) -> Subject:
    """One person with these identifiers, joined without doubt; filed under the first."""
    met = [known.subjects[0] for known in subjects.ensure(connection, identifiers, now)]
    for other in met[1:]:
        say(connection, met[0], other, LinkAct.ATTACHED, now)
    return met[0]


def say(connection: Connection, first: Subject, second: Subject, act: LinkAct, now: datetime) -> None:
    """Say something about two subjects."""
    links.add(connection, LinkRow(new_id(now), first.id, second.id, act, micros(now), "test"))


def as_recorded_before(connection: Connection, index_key: bytes, subject: str, spelling: tuple[str, str]) -> None:
    """What a former version wrote of an identifier: as it came, under the index of that time, of no member."""
    text = f"identifier\x00{spelling[0]}\x00{normalised(*spelling)}"
    blind = hmac.digest(index_key, text.encode(), "sha256")
    values = {"blind": blind, "notation": 1, "member": None, "system": None}
    connection.execute(update(identifiers_table).where(identifiers_table.c.subject == subject).values(values))
