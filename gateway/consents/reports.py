"""Prohibitions that wait for a human: told by somebody who may not speak for the person, or tied to nobody yet.

A report holds what rests on a permission or consent while the person is asked, and no longer than that: an answer makes
it the person's own prohibition or ends it, and without an answer it lapses on its last day, with an entry. What cannot
be tied to a person protects nobody; it is kept sealed, and stands first among what waits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import orjson
from sqlalchemy import Connection

from audit.log.entries import ZONE
from audit.log.waiting import Written
from consent.words import store
from consent.words.consents import ConsentRecord, WordKind, WordStatus
from consent.words.givers import Giver, GiverKind
from gateway.consents.endings import Lifting, TakenBack, check_taken_back
from gateway.consents.notices import Change, Notices
from gateway.consents.record import Consents, Recorded, Recorder, check_codes, entry_of, is_of, own_word
from gateway.exchange.context import Exchange
from gateway.person.held import HeldKind, HeldRecord, HeldState
from gateway.sources.backends import Locator
from gateway.storage.engine import read
from gateway.telemetry import event
from gateway.wire.identifiers import SubsystemId
from gateway.wire.problems import ProblemError

LOGGER = logging.getLogger("yhdyspinta.consents")


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for a human of one member, most pressing first: what protects nobody, then what holds for a time."""

    unplaced: tuple[HeldRecord, ...]
    reports: tuple[ConsentRecord, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the person said when they were asked, by whom and in which language."""

    forbids: bool
    giver: Giver
    language: str
    age: int | None = None
    is_unaccompanied: bool = False


class Reports:
    """What people are still to be asked about."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._consents = Consents(exchange)
        self._notices = Notices(exchange)

    async def waiting(self, recorder: SubsystemId) -> Waiting:
        """What waits for the caller's member."""
        held, reports = await read(
            self._exchange.engine,
            lambda connection: (self._exchange.held.waiting(connection), store.open_reports(connection)),
        )
        unplaced = (item for item in held if item.kind is HeldKind.WORD and item.member == str(recorder.member))
        return Waiting(tuple(unplaced), tuple(report for report in reports if is_of(report, recorder)))

    async def put_aside(self, who: Recorder, form: dict[str, Any]) -> str:
        """Keep a prohibition that names nobody whom it could protect; gives the id under which it waits."""
        member, kept = str(who.subsystem.member), orjson.dumps(form)

        def write(connection: Connection) -> Written[str]:
            identifier, entries = self._exchange.held.keep_word(connection, member, kept)
            return Written(identifier, entries)

        return (await self._exchange.log.commit(write)).value

    async def place(self, who: Recorder, identifier: str, locator: Locator) -> Recorded:
        """Record what waited, for the person whom it is about. Raises ProblemError."""
        waiting = await self.waiting(who.subsystem)
        if identifier not in {item.id for item in waiting.unplaced}:
            raise ProblemError("not-found", detail="no prohibition of that id waits to be placed")

        def write(connection: Connection) -> Written[Recorded]:
            kept = self._exchange.held.content(connection, identifier)
            now = self._exchange.clock()
            entries = self._exchange.held.settle(connection, identifier, HeldState.DONE, who.client, now)
            form = orjson.loads(kept or b"{}")
            check_codes(self._exchange.standing_though_held(now), form)
            recorded = self._consents.write(connection, who, locator, form)
            return Written(recorded.value, (*entries, *recorded.entries))

        return (await self._exchange.log.commit(write)).value

    async def answer(self, who: Recorder, identifier: str, answer: Answer, known_by: Locator) -> Recorded:
        """Say what the person answered: a report becomes their prohibition, or ends. Raises ProblemError."""
        if answer.giver.kind is GiverKind.OTHER:
            raise ProblemError(
                "invalid-request",
                pointer="/given_by/kind",
                detail="the answer is the person's, or of who may speak for the person by law",
                remedy="ask the person, and not through the one who reported",
            )
        named = self._exchange.looked_for(who.subsystem, known_by.system, known_by.value)

        def write(connection: Connection) -> Written[Recorded]:
            now = self._exchange.clock()
            held, subject = own_word(self._exchange, connection, who.subsystem, identifier)
            person = self._exchange.people.recall_in(connection, named)
            if not held.forbids or held.kind is not WordKind.REPORT:
                raise ProblemError("consent-withdrawn", detail="no report of that id waits for an answer")
            if identifier not in {word.id for word in person.words}:
                # Asked about somebody else's report, the wrong person's "no" would be stored as the right one's.
                raise ProblemError("consent-unknown", pointer="/subject", detail="the report is about somebody else")
            by = str(who.subsystem)
            if answer.forbids:
                record = held.confirmed(answer.giver, answer.language, now, by)
            else:
                said = TakenBack(answer.giver, known_by, answer.age, answer.is_unaccompanied)
                check_taken_back(self._exchange, connection, Lifting(held, who.subsystem, now), said)
                record = held.ended(WordStatus.LAPSED, now, by).taken_back_by(answer.giver)
            store.add(connection, record)
            entry = entry_of(self._exchange, who, record, subject, now)
            change = Change(record, who.subsystem, subject, entry, self._exchange.standing_though_held(now), now)
            told = self._notices.of_prohibition(connection, change, person, known_by) if answer.forbids else 0
            return Written(Recorded(record, False, told), (entry,))

        return (await self._exchange.log.commit(write)).value

    async def lapse(self) -> int:
        """End the reports whose last day is over, each with an entry; gives how many."""
        today = self._exchange.clock().astimezone(ZONE).date()
        ended = 0
        for report in await read(self._exchange.engine, store.open_reports):
            if _is_over(report, today):
                ended += (await self._exchange.log.commit(self._lapsing(report.id))).value
        if ended:
            event(LOGGER, logging.WARNING, "reports-lapsed", reports=ended)
        return ended

    def _lapsing(self, identifier: str) -> Callable[[Connection], Written[int]]:
        def write(connection: Connection) -> Written[int]:
            now = self._exchange.clock()
            held = store.current(connection, identifier)
            # Another replica, or an answer, may have been first.
            if held is None or held.kind is not WordKind.REPORT or not held.forbids:
                return Written(0, ())
            subject = self._exchange.subjects.by_id(connection, held.subject)
            record = store.end(connection, identifier, WordStatus.LAPSED, now, held.recorded_by)
            if subject is None:
                return Written(1, ())  # whose key was destroyed, has no pseudonym to be told under
            who = Recorder("", SubsystemId.parse(held.recorded_by))
            return Written(1, (entry_of(self._exchange, who, record, subject, now),))

        return write


def _is_over(report: ConsentRecord, today: date) -> bool:
    return report.ends is not None and report.ends < today


def is_last_day(report: ConsentRecord, now: datetime) -> bool:
    """Whether today is the last day on which a report holds, or it is over."""
    return report.ends is None or report.ends <= now.astimezone(ZONE).date()
