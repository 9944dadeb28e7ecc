"""What comes with data that was got: which tasks, until which day it is kept, and what may not go on.

Everything follows from the bases by which the data moved and from what their rulebook says of each obligation. Whoever
got data tells the person (GDPR 14). Who must not be told is not told: where one basis hides the use from the person, no
task to tell is made.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from sqlalchemy import Connection

from audit.log.entries import Entry
from audit.questions.subjects import Subject
from consent.law import Basis, Rulebook
from consent.request import SubjectFacts
from consent.verdicts import Decision, legal_day
from gateway.obligations import tasks
from gateway.obligations.tasks import Care, Kind, NewTask
from gateway.person import restrictions
from gateway.person.restrictions import Restriction
from gateway.story import Story
from gateway.wire.identifiers import MemberId, SubsystemId

TELL: Final = "notify-subject"
RETAIN: Final = "retain-at-most"
KEEP: Final = "no-onward-disclosure"
HIDE: Final = "hide-from-subject"
DUTIES: Final = frozenset({TELL, RETAIN, KEEP})
"""What somebody has to see to at the recipient's."""
#: Until when a person is told at the latest: a month. Source: GDPR 14(3)(a).
MONTHS_TO_TELL: Final = 1
ADULT: Final = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Data that we got: by which decision, what of it was there, whose it is, from whom.

    `named` is what the person is known by, `under` the ids that they are found under.
    """

    decision: Decision
    rulebook: Rulebook
    categories: frozenset[str]
    facts: SubjectFacts | None
    subject: Subject
    under: Sequence[str]
    named: Sequence[tuple[str, str]]
    ours: MemberId
    party: SubsystemId
    message: str
    purpose: str
    language: str | None = None


def got(connection: Connection, story: Story, moved: Moved, now: datetime) -> tuple[Entry, ...]:
    """What comes with data that we got: the entries of the tasks; what may not go on is kept."""
    bases = _bases(moved)
    _restrict(connection, moved, bases, now)
    tells = [basis for basis in bases if TELL in basis.obligations]
    entries = _tell(connection, story, moved, tells, now)
    ends = retained_until(moved, now)
    if ends is not None:
        keeping = [basis.id for basis in bases if RETAIN in basis.obligations]
        task = _task(moved, Kind.DELETE, keeping, ends)
        entries = (*entries, *tasks.add(connection, story, task, now))
    return entries


def retained_until(moved: Moved, now: datetime) -> date | None:
    """The last day on which what came may be kept; None where nothing says so."""
    known = moved.rulebook.obligations.get(RETAIN)
    if known is None or known.years is None or RETAIN not in _obligations(moved):
        return None
    return _later(legal_day(now), months=12 * known.years)


def care_of(facts: SubjectFacts | None) -> tuple[Care, ...]:
    """Why a human chooses how this person is reached. What protects holds where it is not known."""
    known = facts if facts is not None else SubjectFacts()
    reasons = {
        Care.SAFETY: known.safety_prohibition is not False,
        Care.MINOR: known.age is None or known.age < ADULT,
        Care.TRAFFICKING: bool(known.trafficking_victim),
        Care.GUARDIAN: bool(known.has_guardian or known.has_representative),
    }
    return tuple(reason for reason, holds in reasons.items() if holds)


def _tell(
    connection: Connection, story: Story, moved: Moved, bases: Sequence[Basis], now: datetime
) -> tuple[Entry, ...]:
    if not bases or HIDE in _obligations(moved):
        return ()
    due = _later(legal_day(now), months=MONTHS_TO_TELL)
    return tasks.add(connection, story, _task(moved, Kind.TELL, [basis.id for basis in bases], due), now)


def _task(moved: Moved, kind: Kind, bases: Iterable[str], due: date) -> NewTask:
    return NewTask(
        kind=kind,
        member=str(moved.ours),
        subject=moved.subject,
        message=moved.message,
        party=str(moved.party),
        purpose=moved.purpose,
        categories=moved.categories,
        bases=tuple(sorted(bases)),
        care=care_of(moved.facts) if kind is not Kind.DELETE else (),
        due=due,
        named=moved.named,
        language=moved.language,
    )


def _bases(moved: Moved) -> tuple[Basis, ...]:
    """The bases that carried what was there, each once. A rulebook that does not say what its obligations are has none
    that could be carried out.
    """
    if not moved.rulebook.obligations:
        return ()
    used = (
        moved.rulebook.basis(permitted.basis)
        for permitted in moved.decision.permitted
        if any(moved.rulebook.covers(frozenset({permitted.category}), category) for category in moved.categories)
    )
    return tuple({basis.id: basis for basis in used if basis is not None}.values())


def _obligations(moved: Moved) -> frozenset[str]:
    """Of the bases, and of prohibitions that let it through with a condition."""
    return frozenset(moved.decision.obligations) if moved.rulebook.obligations else frozenset()


def _restrict(connection: Connection, moved: Moved, bases: Sequence[Basis], now: datetime) -> None:
    by_basis = {basis.id for basis in bases if KEEP in basis.obligations}
    carried = {permitted.category: permitted.basis for permitted in moved.decision.permitted}
    # A safety prohibition lets what it speaks of through on the same condition.
    by_prohibition = frozenset().union(
        *(prohibition.categories for prohibition in moved.rulebook.prohibitions if KEEP in prohibition.obliges)
    )
    is_protected = KEEP in _obligations(moved) and Care.SAFETY in care_of(moved.facts)
    held = {}
    for category in sorted(moved.categories):
        basis = _carrier(moved.rulebook, carried, category)
        if basis in by_basis or (is_protected and moved.rulebook.touches(by_prohibition, category)):
            held[category] = basis
    restrictions.keep(connection, moved.under, Restriction(moved.message, str(moved.party), held), now)


def _carrier(rulebook: Rulebook, carried: dict[str, str], category: str) -> str:
    found = (basis for code, basis in carried.items() if rulebook.covers(frozenset({code}), category))
    return next(found, "")


def _later(day: date, *, months: int) -> date:
    """The same day of a later month, or its last day."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))
