"""What a person's word says beyond its entry, and how it stands on a day: read from the words that the node keeps."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Connection

from audit.questions.said import Aim, AimedAt, Speaker, State, Terms, TermsOf
from consent.words import store
from consent.words.consents import ConsentRecord, WordKind, WordStatus

_ENDED = {
    WordStatus.WITHDRAWN: State.WITHDRAWN,
    WordStatus.ENTERED_IN_ERROR: State.IN_ERROR,
    WordStatus.LAPSED: State.LAPSED,
}


def terms_on(day: date) -> TermsOf:
    """The terms of words as they stand on this day (of Finland)."""

    def terms(connection: Connection, word: str, version: int) -> Terms | None:
        versions = {record.version: record for record in store.history(connection, word)}
        record = versions.get(version)
        if record is None:
            return None
        return Terms(
            speaker=Speaker(record.given_by.kind.value),
            state=state_of(record, day) if version == max(versions) else None,
            categories=tuple(sorted(record.categories)),
            purposes=tuple(sorted(record.purposes)),
            recipients=tuple(sorted(record.recipients)),
            starts=record.starts if record.stands else None,
            ends=_last_day(record),
            ended_by=None if record.ended_by is None else Speaker(record.ended_by.kind.value),
            aim=None if record.target is None else Aim(AimedAt(record.target.kind.value), record.target.code),
        )

    return terms


def state_of(record: ConsentRecord, day: date) -> State:
    """How the newest version of a word stands on a day."""
    ended = _ENDED.get(record.status)
    if ended is not None:
        return ended
    if record.in_force(day):
        return State.HOLDS if record.kind is WordKind.REPORT else State.IN_FORCE
    return State.NOT_YET if record.starts is not None and day < record.starts else State.ENDED


def _last_day(record: ConsentRecord) -> date | None:
    """The last day on which it stands: of its period, or of the mandate of whoever gave it. None if it was ended."""
    if not record.stands:
        return None
    last = [record.ends, None if record.forbids else record.given_by.mandate_until]
    return min((day for day in last if day is not None), default=None)
