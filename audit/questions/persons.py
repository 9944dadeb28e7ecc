"""Who is one person, for counting: any number of pseudonyms at once, by the links that are beyond doubt."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection, select

from audit.log.tables import claims as claims_table
from audit.log.tables import subjects as subjects_table
from audit.questions.links import CERTAIN, MOST_LINKED, LinkRow, around, folded

_AT_ONCE: Final = 500


def persons(connection: Connection, pseudonyms: Iterable[str]) -> dict[str, str]:
    """For each pseudonym what stands for its person: the same for all pseudonyms of one person.

    A pseudonym that nobody has any more stands for itself. An item of another organisation that names several
    persons counts for one of them: for one of our own, if there is one.
    """
    wanted = sorted(set(pseudonyms))
    subject_of: dict[str, str] = {}
    for low in range(0, len(wanted), _AT_ONCE):
        table, some = subjects_table, wanted[low : low + _AT_ONCE]
        rows = connection.execute(select(table.c.pseudonym, table.c.id).where(table.c.pseudonym.in_(some)))
        subject_of.update((row.pseudonym, row.id) for row in rows)
    claimed: dict[str, str] = {}
    ids = sorted(set(subject_of.values()))
    for low in range(0, len(ids), _AT_ONCE):
        named = claims_table.c.claim.in_(ids[low : low + _AT_ONCE])
        subject = claims_table.c.subject
        of_claim = select(claims_table.c.claim, subject).join(subjects_table, subjects_table.c.id == subject)
        for row in connection.execute(of_claim.where(named).order_by(subjects_table.c.claimed, subject)):
            claimed.setdefault(row.claim, row.subject)
    person = _standing_for(connection, {claimed.get(id_, id_) for id_ in ids})
    return {
        pseudonym: person[claimed.get(subject_of[pseudonym], subject_of[pseudonym])]
        if pseudonym in subject_of
        else pseudonym
        for pseudonym in wanted
    }


def _standing_for(connection: Connection, subjects: Iterable[str]) -> dict[str, str]:
    """For each of any number of subjects one that stands for its person: the same for all that are one beyond doubt."""
    seen: set[str] = set()
    acts: dict[str, LinkRow] = {}
    wanted = set(subjects)
    waiting = sorted(wanted)
    while waiting:
        for low in range(0, len(waiting), MOST_LINKED):
            acts.update((row.id, row) for row in around(connection, waiting[low : low + MOST_LINKED]))
        seen.update(waiting)
        waiting = sorted({end for row in acts.values() for end in (row.first, row.second)} - seen)
    near: dict[str, set[str]] = {}
    for link in folded(acts.values()).links:
        if link.act in CERTAIN:
            near.setdefault(link.first, set()).add(link.second)
            near.setdefault(link.second, set()).add(link.first)
    standing: dict[str, str] = {}
    for subject in sorted(seen):
        reach = [subject]
        while reach:
            member = reach.pop()
            if member not in standing:
                standing[member] = subject
                reach.extend(near.get(member, ()))
    return {subject: standing[subject] for subject in wanted}
