"""What comes with data that moved: which tasks, until which day it is kept, and what may not go on.

Everything follows from the bases by which the data moved and from what their rulebook says of each obligation. Whose
duty it is to tell the person, the rulebook says: as a rule whoever got the data (GDPR 14), and of a handover by the
person's word whoever gave it. Who must not be told is not told: where one basis hides the use from the person, no task
to tell is made.
"""

from __future__ import annotations

import calendar
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from sqlalchemy import Connection

from audit.log.entries import Entry
from audit.questions.subjects import Subject
from consent.deciding.verdicts import Decision, legal_day
from consent.rules.law import RETAIN, Basis, Bearer, Rulebook
from consent.rules.request import SubjectFacts, Way
from gateway.obligations import tasks
from gateway.obligations.tasks import Care, Kind, NewTask
from gateway.person import restrictions
from gateway.person.restrictions import Restriction
from gateway.story import Story
from gateway.wire.identifiers import MemberId, SubsystemId

TELL: Final = "notify-subject"
KEEP: Final = "no-onward-disclosure"
HIDE: Final = "hide-from-subject"
#: Until when a person is told at the latest: a month. Source: GDPR 14(3)(a).
MONTHS_TO_TELL: Final = 1
ADULT: Final = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Data that we got, or gave: by which decision, what of it was there, whose it is, from whom or to whom.

    `named` is what the person is known by, `under` the ids that they are found under. `is_told` is whether whoever gave
    it tells the person of what goes by their word.
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
    is_told: bool = False


def got(connection: Connection, story: Story, moved: Moved, now: datetime) -> tuple[Entry, ...]:
    """What comes with data that we got: the entries of the tasks; what may not go on is kept."""
    bases = _bases(moved)
    _restrict(connection, moved, bases, now)
    ours = {Bearer.RECIPIENT, Bearer.BOTH} if moved.is_told else frozenset(Bearer)
    made = _telling(moved, Kind.TELL, _to_tell(moved, bases, ours), now)
    ends, ending = _ending(moved, bases)
    if ends:
        last = _ends(moved, ends, now)
        made = (*made, _task(moved, Kind.DELETE, [basis.id for basis in ends], last, ending))
    return tuple(entry for task in made for entry in tasks.add(connection, story, task, now))


def given(connection: Connection, story: Story, moved: Moved, now: datetime) -> tuple[Entry, ...]:
    """What comes with data that we handed over: the entries of the task to tell the person, if it is ours."""
    bases = _to_tell(moved, _bases(moved), {Bearer.PROVIDER, Bearer.BOTH})
    made = _telling(moved, Kind.TELL_GIVEN, bases, now)
    return tuple(entry for task in made for entry in tasks.add(connection, story, task, now))


def tells(decision: Decision, rulebook: Rulebook) -> bool:
    """Whether whoever hands over by this decision tells the person of what goes by their word."""
    if not rulebook.obligations or HIDE in decision.obligations:
        return False
    used = [basis for permitted in decision.permitted if (basis := rulebook.basis(permitted.basis)) is not None]
    return any(
        _bearer(rulebook, decision, basis) is not Bearer.RECIPIENT for basis in used if TELL in basis.obligations
    )


def retained_until(moved: Moved, now: datetime) -> date | None:
    """The last day on which what came may be kept; None where nothing says so."""
    ends, _ = _ending(moved, _bases(moved))
    return _ends(moved, ends, now) if ends else None


def _ending(moved: Moved, bases: Iterable[Basis]) -> tuple[list[Basis], frozenset[str]]:
    """The bases whose time ends something that was there, and what."""
    ends, ending = [], set[str]()
    for basis in bases:
        if RETAIN not in basis.obligations or _years(moved, basis) is None:
            continue
        period = moved.rulebook.retention.get(basis.retention or "")
        left = period.but if period is not None else frozenset()
        carried = {permitted.category for permitted in moved.decision.permitted if permitted.basis == basis.id}
        covers = moved.rulebook.covers
        found = {code for code in moved.categories if covers(frozenset(carried), code) and not covers(left, code)}
        if found:
            ends.append(basis)
            ending |= found
    return ends, frozenset(ending)


def _ends(moved: Moved, bases: Iterable[Basis], now: datetime) -> date:
    """The first day of those on which their times end: what came together ends together."""
    years = min(years for basis in bases if (years := _years(moved, basis)) is not None)
    return _later(legal_day(now), months=12 * years)


def _years(moved: Moved, basis: Basis) -> int | None:
    period = moved.rulebook.retention.get(basis.retention or "")
    known = moved.rulebook.obligations.get(RETAIN)
    return period.years if period is not None else known.years if known is not None else None


def _to_tell(moved: Moved, bases: Iterable[Basis], ours: Collection[Bearer]) -> list[Basis]:
    """The bases of which one of these is to tell the person."""
    return [
        basis for basis in bases if TELL in basis.obligations and _bearer(moved.rulebook, moved.decision, basis) in ours
    ]


def _bearer(rulebook: Rulebook, decision: Decision, basis: Basis) -> Bearer:
    by_word = basis.needs_word and decision.request.way is Way.HANDOVER
    known = rulebook.obligations.get(TELL)
    return known.bearer(by_word=by_word) if known is not None else Bearer.RECIPIENT


def care_of(facts: SubjectFacts | None) -> tuple[Care, ...]:
    """Why a human chooses how this person is reached. What protects holds where it is not known."""
    known = facts if facts is not None else SubjectFacts()
    reasons = {
        Care.SAFETY: known.safety_prohibition is not False,
        Care.MINOR: not known.ages or min(known.ages) < ADULT,
        Care.TRAFFICKING: bool(known.trafficking_victim),
        Care.GUARDIAN: bool(known.has_guardian or known.has_representative),
    }
    return tuple(reason for reason, holds in reasons.items() if holds)


def _telling(moved: Moved, kind: Kind, bases: Sequence[Basis], now: datetime) -> tuple[NewTask, ...]:
    """The task to tell the person, where there is one."""
    is_dead = moved.facts is not None and moved.facts.deceased is True
    if not bases or is_dead or HIDE in _obligations(moved):
        return ()
    due, ids = _later(legal_day(now), months=MONTHS_TO_TELL), {basis.id for basis in bases}
    # Of what went by other bases the other side tells, or nobody has to.
    carried = frozenset(item.category for item in moved.decision.permitted if item.basis in ids)
    categories = frozenset(code for code in moved.categories if moved.rulebook.covers(carried, code))
    return (_task(moved, kind, ids, due, categories),)


def _task(moved: Moved, kind: Kind, bases: Iterable[str], due: date, categories: frozenset[str]) -> NewTask:
    return NewTask(
        kind=kind,
        member=str(moved.ours),
        subject=moved.subject,
        message=moved.message,
        party=str(moved.party),
        purpose=moved.purpose,
        categories=categories,
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
