"""What an acceptance of our own says about who an arrival is: the only thing that joins what a peer has named.

The recipient accepts an arrival and says whose it is in its own register. From then on the identifiers that the peer
named and that of the register are one person, without doubt.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from audit.log.entries import Entry, EntryType, Outcome, micros, new_id
from audit.questions import links
from audit.questions.links import LinkAct, LinkRow
from audit.questions.subjects import Subjects
from gateway.person.people import known_apart
from gateway.person.values import ConflictReason
from gateway.story import Story
from gateway.wire.problems import ProblemError
from schemas.facts import Identifier


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Whose an arrival is: `arrival` its id, `filed` the subject it is filed under, `own` our register's identifier."""

    arrival: str
    filed: str
    own: Identifier
    client: str
    node: str


def join(connection: Connection, subjects: Subjects, acceptance: Acceptance, now: datetime) -> tuple[Entry, ...]:
    """Join them in a unit, with the entry that tells of it; nothing where they are one person already.

    Raises ProblemError `subject-ambiguous` where they are known to be two persons: then nothing is accepted.
    """
    own = acceptance.own
    (known,) = subjects.ensure(connection, ((own.system, own.value),), now)
    mine, theirs = known.subjects[0], sorted(set(subjects.found_under(connection, [acceptance.filed])))
    web, reason = known_apart(connection, subjects, (mine.id, *theirs))
    if reason is not None:
        raise _refused(reason)
    # Whoever a peer named is nobody that we know: without this no word under that identifier would be found.
    subjects.own(connection, theirs)
    certain = web.certain((mine.id,))
    fresh = [subject for subject in theirs if subject not in certain]
    for subject in fresh:
        act = LinkRow(new_id(now), mine.id, subject, LinkAct.CONFIRMED, micros(now), acceptance.client[:128])
        links.add(connection, act)
    if not fresh:
        return ()
    entry = Story(client=acceptance.client, node=acceptance.node or None, subject=mine.pseudonym).entry(
        EntryType.IDENTITY,
        Outcome.SUCCESS,
        now,
        detail={"act": LinkAct.CONFIRMED.value, "acts": len(fresh), "arrival": acceptance.arrival},
    )
    return (entry,)


def _refused(reason: ConflictReason) -> ProblemError:
    return ProblemError(
        "subject-ambiguous",
        pointer="/person",
        detail=f"the person named and the one that the arrival is about are known to be two people ({reason.value})",
        remedy="accept without `person`, or have a registrar decide who it is about",
    )
