"""The review queue: emergency accesses and unusual patterns wait here until somebody signs them off.

An emergency access is in the queue because its entry is in the log; no step can be forgotten that would put it there.
A pattern is filed under its first entry and its rule: several patterns can begin with one entry, and each is reviewed.
A sign-off is written once and not changed; the caller records it in the log in the same unit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, and_, insert, select, update

from audit.log.entries import Entry, EntryType, micros, moment, new_id
from audit.log.tables import entries, reviews
from audit.questions.anomalies import Anomaly
from audit.questions.query import Found, Search, by_id, search
from audit.questions.words import is_told_by_giver

EMERGENCY: Final = EntryType.BREAK_GLASS.value
"""What the review of an emergency access is called where that of a pattern is called by its rule."""
MAX_REMARK: Final = 2_000


class Kind(StrEnum):
    """What a review is of."""

    EMERGENCY = "break-glass"
    ANOMALY = "anomaly"


class Verdict(StrEnum):
    """What whoever reviewed it concluded."""

    JUSTIFIED = "justified"
    EXPLAINED = "explained"
    NOT_JUSTIFIED = "not-justified"
    ESCALATED = "escalated"


@dataclass(frozen=True, slots=True)
class Said:
    """A conclusion: by whom (a pseudonym), what, and why."""

    by: str
    verdict: str
    remark: str


class ReviewError(ValueError):
    """No such review, one that was signed off before, a verdict that is none, or one without reasons."""


class ChoiceError(ReviewError):
    """Several reviews of an entry wait, or none by the rule that was named: `choices` are those that there are."""

    def __init__(self, message: str, choices: tuple[str, ...]) -> None:
        super().__init__(f"{message}; name one of {', '.join(choices)}")
        self.choices = choices


@dataclass(frozen=True, slots=True)
class Review:
    """A case for review. `entry` is the id of the entry it is about; the last four are None until it is signed off.

    `rule` is that of the pattern, None for an emergency access.
    """

    id: str
    kind: str
    entry: str
    opened: datetime
    rule: str | None
    explanation: str
    signed_off: datetime | None
    signed_by: str | None
    verdict: str | None
    remark: str | None

    @property
    def name(self) -> str:
        """What it is called among the reviews of its entry: the pattern's rule, or EMERGENCY."""
        return self.rule or EMERGENCY

    def to_dict(self) -> dict[str, Any]:
        """The review as JSON tells it."""
        return asdict(self)


def _review(row: Row[tuple[object, ...]]) -> Review:
    return Review(
        row.id,
        row.kind,
        row.entry,
        moment(row.opened),
        row.rule or None,
        row.explanation,
        None if row.signed_off is None else moment(row.signed_off),
        row.signed_by,
        row.verdict,
        row.remark,
    )


def unreviewed_emergencies(connection: Connection, *, limit: int = 200, find: Search = search) -> tuple[Found, ...]:
    """Emergency accesses that nobody has signed off, oldest first; with `find`, also those that were archived."""
    found = {item.entry.id: item for item in _unreviewed(connection, limit=limit)}
    for review in waiting(connection, kind=Kind.EMERGENCY, limit=limit):
        if review.entry not in found:
            archived = by_id(connection, review.entry, find=find)
            if archived is not None:
                found[review.entry] = archived
    return tuple(sorted(found.values(), key=lambda item: (item.entry.recorded, item.index))[:limit])


def unreviewed_in(connection: Connection, first: int, through: int) -> tuple[Found, ...]:
    """Those of the database whose place lies from `first` up to, not including, `through`."""
    return _unreviewed(connection, entries.c.idx >= first, entries.c.idx < through)


def _unreviewed(
    connection: Connection, *conditions: ColumnElement[bool], limit: int | None = None
) -> tuple[Found, ...]:
    rows = connection.execute(
        select(entries.c.idx, entries.c.body)
        .outerjoin(reviews, and_(reviews.c.entry == entries.c.id, reviews.c.kind == Kind.EMERGENCY.value))
        .where(entries.c.type == EMERGENCY, reviews.c.signed_off.is_(None), ~is_told_by_giver(), *conditions)
        .order_by(entries.c.recorded, entries.c.idx)
        .limit(limit)
    )
    return tuple(Found(row.idx, Entry.parse(row.body)) for row in rows)


def reviews_of(connection: Connection, entry: str) -> tuple[Review, ...]:
    """The reviews that were opened of this entry, an emergency access first, patterns by their rules."""
    rows = connection.execute(select(reviews).where(reviews.c.entry == entry).order_by(reviews.c.rule))
    return tuple(_review(row) for row in rows)


def meant(connection: Connection, found: Found, rule: str | None, now: datetime) -> Review:
    """The open review of this entry by this rule; without a rule the only one. EMERGENCY names an emergency access.

    Opens the review of an emergency access. Raises ChoiceError, or ReviewError if nothing of the entry waits.
    """
    if found.entry.type == EMERGENCY:
        open_emergency(connection, found, now)
    opened = reviews_of(connection, found.entry.id)
    waits = {review.name: review for review in opened if review.signed_off is None}
    if not waits:
        raise ReviewError(f"nothing of entry {found.entry.id} waits for review")
    if rule is None and len(waits) > 1:
        raise ChoiceError("several reviews of this entry wait; say by its rule which is meant", tuple(waits))
    if rule is not None and rule not in waits:
        raise ChoiceError("no review of this entry waits by that rule", tuple(waits))
    return waits[rule] if rule is not None else next(iter(waits.values()))


def open_emergency(connection: Connection, found: Found, now: datetime) -> Review:
    """The review of an emergency access, opened if it is not yet."""
    if found.entry.type != EMERGENCY:
        raise ReviewError(f"entry {found.entry.id} is not an emergency access")
    reason = found.entry.reason or "emergency"
    if is_disputed(found.entry):
        reason += "; the record named identifiers of two people"
    return _open(connection, _fresh(Kind.EMERGENCY, found.entry.id, None, reason, now))


def is_disputed(entry: Entry) -> bool:
    """Whether data left although the record named identifiers of two people, as only an emergency lets it."""
    return entry.detail.get("identity") == "disputed"


def open_anomaly(connection: Connection, anomaly: Anomaly, now: datetime) -> Review:
    """The review of a pattern, filed under its first entry and its rule, opened if it is not yet."""
    return _open(connection, _fresh(Kind.ANOMALY, anomaly.entries[0], anomaly.rule, anomaly.explanation("en"), now))


def open_anomalies(
    connection: Connection, seen: Iterable[Anomaly], now: datetime
) -> tuple[tuple[Anomaly, Review], ...]:
    """Open the review of each pattern; gives those that were not open before, for the caller to put on record."""
    opened = ((anomaly, open_anomaly(connection, anomaly, now)) for anomaly in seen)
    return tuple((anomaly, review) for anomaly, review in opened if review.opened == now)


def _fresh(kind: Kind, entry: str, rule: str | None, explanation: str, now: datetime) -> Review:
    return Review(new_id(now), kind.value, entry, now, rule, explanation, None, None, None, None)


def _open(connection: Connection, review: Review) -> Review:
    rule = review.rule or ""
    same = (reviews.c.entry == review.entry, reviews.c.rule == rule)
    known = connection.execute(select(reviews).where(*same)).first()
    if known is not None:
        return _review(known)
    connection.execute(
        insert(reviews).values(
            id=review.id,
            kind=review.kind,
            entry=review.entry,
            opened=micros(review.opened),
            rule=rule,
            explanation=review.explanation,
        )
    )
    return review


def waiting(connection: Connection, *, kind: Kind | None = None, limit: int = 200) -> tuple[Review, ...]:
    """Reviews that are open, oldest first."""
    statement = select(reviews).where(reviews.c.signed_off.is_(None)).order_by(reviews.c.opened, reviews.c.id)
    if kind is not None:
        statement = statement.where(reviews.c.kind == kind.value)
    return tuple(_review(row) for row in connection.execute(statement.limit(limit)))


def done(connection: Connection, *, limit: int = 200) -> tuple[Review, ...]:
    """Reviews that were signed off, newest first."""
    statement = select(reviews).where(reviews.c.signed_off.is_not(None)).order_by(reviews.c.signed_off.desc())
    return tuple(_review(row) for row in connection.execute(statement.limit(limit)))


def sign_off(connection: Connection, id: str, said: Said, now: datetime) -> Review:  # noqa: A002
    """Sign a review off. Raises ReviewError."""
    if said.verdict not in set(Verdict):
        raise ReviewError(f"that is not a verdict; use one of {', '.join(sorted(Verdict))}")
    if not said.remark.strip():
        raise ReviewError("a sign-off needs its reasons: the remark is empty")
    if len(said.remark) > MAX_REMARK:
        raise ReviewError(f"a remark has at most {MAX_REMARK} characters")
    changed = connection.execute(
        update(reviews)
        .where(reviews.c.id == id, reviews.c.signed_off.is_(None))
        .values(signed_off=micros(now), signed_by=said.by, verdict=str(said.verdict), remark=said.remark)
    )
    if changed.rowcount != 1:
        raise ReviewError("there is no open review of this id")
    return _review(connection.execute(select(reviews).where(reviews.c.id == id)).one())
