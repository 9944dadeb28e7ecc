"""Read who is meant and what has been said: one statement for one identifier, two where identifiers are linked.

Each exchange reads it three times, two of them under the log's lock, where everybody waits for every round trip. The
second reading of a person is held against the first as rows, and nothing is worked out again if they are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, exists, or_, select

from audit.log.statements import Counted
from audit.log.tables import identifiers, subjects
from audit.log.tables import links as links_table
from audit.questions.links import MOST_LINKED, LinkRow, Web, acts_around, folded
from audit.questions.subjects import Known, Subject, Subjects
from consent.words import store
from consent.words.consents import ConsentRecord
from consent.words.tables import epochs


@dataclass(frozen=True, slots=True)
class Asked:
    """One identifier with the blind indexes under which it may stand: ten hashes, made once for an exchange."""

    system: str
    value: str
    blinds: tuple[bytes, ...]


def asked(subjects: Subjects, pairs: Sequence[tuple[str, str]]) -> tuple[Asked, ...]:
    """These identifiers, each once."""
    return tuple(Asked(system, value, subjects.blinds(system, value)) for system, value in dict.fromkeys(pairs))


@dataclass(frozen=True, slots=True)
class Rows:
    """What the database says of these identifiers: two readings that are equal say the same of the person.

    `named` are the subjects with the epoch of each, `acts` what was said about who is who around them, and `changes`
    the epochs of those who are only reached by links.
    """

    named: tuple[tuple[Any, ...], ...]
    acts: tuple[LinkRow, ...] = ()
    changes: tuple[tuple[str, int], ...] = ()


def rows(connection: Connection, asked: Sequence[Asked]) -> Rows:
    """Read what there is of these identifiers. Raises GroupTooLargeError."""
    named = tuple(_NAMED.rows(connection, [blind for identifier in asked for blind in identifier.blinds]))
    # One that only other organisations have named is not known: their messages change nothing for anybody.
    own = {row[_ID] for row in named if not row[_CLAIMED] and row[_KEY] is not None}
    if not any(row[_LINKED] for row in named if row[_ID] in own) and len(own) <= MOST_LINKED:
        return Rows(named)
    acts = acts_around(connection, sorted(own))
    further = {end for act in acts for end in (act.first, act.second)} - own
    changes = _EPOCHS.rows(connection, sorted(further)) if further else ()
    return Rows(named, acts, tuple((str(subject), int(epoch)) for subject, epoch in changes))


@dataclass(frozen=True, slots=True)
class Found:
    """The same as values: what is known of each identifier, the links, everybody reached, and all their epochs."""

    known: tuple[Known, ...]
    web: Web
    reached: tuple[str, ...]
    changes: tuple[tuple[str, int], ...]


def found(subjects: Subjects, asked: Sequence[Asked], rows: Rows) -> Found:
    """What rows say."""
    by_blind: dict[bytes, Subject] = {}
    changes = dict(rows.changes)
    for row in rows.named:
        subject = None if row[_CLAIMED] else subjects.opened(row[_ID], row[_PSEUDONYM], row[_KEY])
        if subject is not None:
            by_blind[bytes(row[_BLIND])] = subject
            if row[_EPOCH] is not None:
                changes[subject.id] = int(row[_EPOCH])
    known = tuple(
        Known(identifier.system, identifier.value, _distinct(by_blind, identifier.blinds)) for identifier in asked
    )
    starts = {subject.id for subject in by_blind.values()}
    reached = starts.union(*((act.first, act.second) for act in rows.acts))
    return Found(known, folded(rows.acts), tuple(sorted(reached)), tuple(sorted(changes.items())))


def _distinct(by_blind: Mapping[bytes, Subject], blinds: Sequence[bytes]) -> tuple[Subject, ...]:
    return tuple({by_blind[blind].id: by_blind[blind] for blind in blinds if blind in by_blind}.values())


def words(connection: Connection, reached: Sequence[str]) -> tuple[ConsentRecord, ...]:
    """The newest versions of all records of these subjects, oldest record first."""
    return tuple(store.read_version(document, kind) for document, kind in _WORDS.rows(connection, reached))


_BLIND, _CLAIMED, _EPOCH, _LINKED, _ID, _PSEUDONYM, _KEY = range(7)
_NAMED: Final = Counted(
    lambda blinds: (
        select(
            identifiers.c.blind,
            subjects.c.claimed,
            epochs.c.epoch,
            exists().where(or_(links_table.c.first == subjects.c.id, links_table.c.second == subjects.c.id)),
            subjects.c.id,
            subjects.c.pseudonym,
            subjects.c.wrapped_key,
        )
        .join(subjects, subjects.c.id == identifiers.c.subject)
        .outerjoin(epochs, epochs.c.subject == subjects.c.id)
        .where(identifiers.c.blind.in_(blinds))
    )
)
_EPOCHS: Final = Counted(store.changes)
_WORDS: Final = Counted(store.words)
