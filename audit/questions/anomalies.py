"""Patterns that deserve a look: rules over who looked up whom, when, and how often.

A rule says what it saw, how it compares with its threshold, and what may explain it innocently; it accuses nobody. The
rules are pure functions of events; `detect` reads the events of a window and applies them all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select

from audit.log.entries import REFUSED, EntryType, Outcome, micros, moment
from audit.log.tables import archives, entries
from audit.questions.persons import persons
from audit.questions.query import CLOCKS_DIFFER, Filters, Search, search, walk
from audit.questions.sides import without_index
from audit.questions.subjects import Subjects
from audit.questions.words import RELEASED
from texts import Catalogue

_ASKED_AT_ONCE: Final = 500
_SAYS: Final = Catalogue("audit")
_OF_CLIENTS: Final = tuple(
    kind.value for kind in (EntryType.HANDOVER, EntryType.DELIVERY, EntryType.RECEIPT, EntryType.ACCEPTANCE)
)


@dataclass(frozen=True, slots=True)
class Span:
    """The time that is looked at, and when it is done."""

    start: datetime
    end: datetime
    now: datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """Where look-ups are read: `find` knows what was moved out of the database, `subjects` which pseudonyms are one
    person; without them each pseudonym counts for somebody.
    """

    find: Search = search
    subjects: Subjects | None = None


DATABASE: Final = Seen()


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a pattern counts as unusual. Counts are reached at the value given; hours are local to `zone`."""

    bulk_lookups_per_hour: int = 60
    persons_per_day: int = 100
    night_from: int = 22
    night_until: int = 6
    night_lookups: int = 5
    denied_per_hour: int = 5
    client_within: timedelta = timedelta(days=90)
    never_clients: int = 3
    zone: str = "Europe/Helsinki"
    staff: Mapping[str, str] = field(default_factory=dict)
    """Users whose own data the node may hold: user pseudonym → subject pseudonym."""


@dataclass(frozen=True, slots=True)
class Event:
    """A look-up: its place in the log and who looked up whom with what outcome.

    `person` is the same for all pseudonyms of one person; without it the pseudonym stands for itself.
    """

    index: int
    id: str
    at: datetime
    actor: str
    subject: str | None
    outcome: str
    person: str = ""

    @property
    def whom(self) -> str | None:
        """Who was looked up."""
        return self.person or self.subject

    @property
    def denied(self) -> bool:
        """Whether it was refused, or there was nobody: whoever tries identifiers gets no refusal of the law."""
        return self.outcome in (*REFUSED, Outcome.NOT_FOUND)


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A pattern that was seen. `entries` are the ids of the entries that make it up, in order."""

    rule: str
    actor: str
    first: datetime
    last: datetime
    count: int
    threshold: int
    entries: tuple[str, ...]

    def explanation(self, language: str) -> str:
        """What was seen and what may explain it, in Finnish, Swedish or English."""
        return _SAYS(f"anomaly.{self.rule}", language, count=self.count, threshold=self.threshold)


Rule = Callable[[Sequence[Event], Thresholds], list[Anomaly]]


def _by_actor(events: Iterable[Event]) -> dict[str, list[Event]]:
    actors: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        actors[event.actor].append(event)
    return actors


def _anomaly(rule: str, events: Sequence[Event], threshold: int, count: int | None = None) -> Anomaly:
    ids = tuple(event.id for event in events)
    return Anomaly(
        rule, events[0].actor, events[0].at, events[-1].at, len(events) if count is None else count, threshold, ids
    )


def _bursts(events: Sequence[Event], window: timedelta, least: int) -> list[list[Event]]:
    """Maximal runs in which each `least` neighbours fall into one window; runs that overlap are one."""
    runs: list[tuple[int, int]] = []
    for end in range(least - 1, len(events)):
        start = end - least + 1
        if events[end].at - events[start].at <= window:
            if runs and start <= runs[-1][1]:
                runs[-1] = (runs[-1][0], end)
            else:
                runs.append((start, end))
    return [list(events[start : end + 1]) for start, end in runs]


def bulk_lookups(events: Sequence[Event], thresholds: Thresholds) -> list[Anomaly]:
    """Many look-ups by one user within an hour."""
    least = thresholds.bulk_lookups_per_hour
    return [
        _anomaly("bulk-lookups", run, least)
        for mine in _by_actor(events).values()
        for run in _bursts(mine, timedelta(hours=1), least)
    ]


def many_persons(events: Sequence[Event], thresholds: Thresholds) -> list[Anomaly]:
    """One user who looked up very many different persons in one day (local time)."""
    zone = ZoneInfo(thresholds.zone)
    found = []
    for mine in _by_actor(event for event in events if event.subject is not None).values():
        days: dict[object, list[Event]] = defaultdict(list)
        for event in mine:
            days[event.at.astimezone(zone).date()].append(event)
        for day in days.values():
            persons = len({event.whom for event in day})
            if persons >= thresholds.persons_per_day:
                found.append(_anomaly("many-persons", day, thresholds.persons_per_day, persons))
    return found


def night_use(events: Sequence[Event], thresholds: Thresholds) -> list[Anomaly]:
    """Look-ups at night (local time), several by one user in one night."""
    zone = ZoneInfo(thresholds.zone)
    found = []
    for mine in _by_actor(events).values():
        nights: dict[object, list[Event]] = defaultdict(list)
        for event in mine:
            local = event.at.astimezone(zone)
            if local.hour >= thresholds.night_from or local.hour < thresholds.night_until:
                nights[(local - timedelta(hours=12)).date()].append(event)
        found += [
            _anomaly("night-use", night, thresholds.night_lookups)
            for night in nights.values()
            if len(night) >= thresholds.night_lookups
        ]
    return found


def repeated_denials(events: Sequence[Event], thresholds: Thresholds) -> list[Anomaly]:
    """One user who was refused, or asked about nobody, again and again within an hour."""
    least = thresholds.denied_per_hour
    return [
        _anomaly("repeated-denials", run, least)
        for mine in _by_actor(event for event in events if event.denied).values()
        for run in _bursts(mine, timedelta(hours=1), least)
    ]


def own_entries(events: Sequence[Event], thresholds: Thresholds) -> list[Anomaly]:
    """Somebody looked up their own data, or that of a colleague."""
    staff = set(thresholds.staff.values())
    found = []
    for actor, mine in _by_actor(events).items():
        own = [event for event in mine if event.whom is not None and event.whom == thresholds.staff.get(actor)]
        others = [event for event in mine if event.whom in staff and event not in own]
        found += [_anomaly(rule, seen, 1) for rule, seen in (("own-data", own), ("colleague", others)) if seen]
    return found


RULES: Final[tuple[Rule, ...]] = (bulk_lookups, many_persons, night_use, repeated_denials, own_entries)


def _pruned(connection: Connection) -> bool:
    """Whether entries have left the database for an archive."""
    return connection.scalar(select(archives.c.first).where(archives.c.pruned.is_not(None)).limit(1)) is not None


def read_events(connection: Connection, start: datetime, end: datetime, *, find: Search = search) -> list[Event]:
    """The look-ups of a window, in order of time. Those without a user count for the client system or recipient.

    A look-up counts once: by the entry that says how it ended, not by the one before it that says it was sent. `find`
    knows what was moved out of the database.
    """
    columns = (
        entries.c.idx,
        entries.c.id,
        entries.c.recorded,
        entries.c.user_id,
        entries.c.client,
        entries.c.recipient,
        entries.c.subject,
        entries.c.outcome,
    )
    rows = connection.execute(
        select(*columns)
        .where(
            entries.c.type == EntryType.QUERY.value,
            entries.c.recorded >= micros(start),
            entries.c.recorded < micros(end),
            without_index(entries.c.outcome != Outcome.REQUESTED.value),
        )
        .order_by(entries.c.recorded, entries.c.idx)
    )
    events = {
        row.idx: Event(
            row.idx,
            row.id,
            moment(row.recorded),
            _actor(row.user_id, row.client, row.recipient),
            row.subject,
            row.outcome,
        )
        for row in rows
    }
    events |= {event.index: event for event in _archived_events(connection, start, end, find)}
    return sorted(events.values(), key=lambda event: (event.at, event.index))


def _archived_events(connection: Connection, start: datetime, end: datetime, find: Search) -> Iterator[Event]:
    if not _pruned(connection):
        return
    oldest = connection.scalar(select(func.min(entries.c.recorded)))
    if oldest is not None:  # what is older has left the database; clocks of one log's writers may differ a little
        end = min(end, moment(oldest) + CLOCKS_DIFFER)
    for found in (
        walk(connection, Filters(start, end, types=(EntryType.QUERY.value,)), find=find) if start < end else ()
    ):
        entry, agents = found.entry, found.entry.agents
        if entry.outcome == Outcome.REQUESTED:
            continue
        actor = _actor(agents.user, agents.client, agents.recipient)
        yield Event(found.index, entry.id, entry.recorded, actor, entry.subject, entry.outcome)


def _actor(user: str | None, client: str | None, recipient: str | None) -> str:
    return user or client or recipient or "?"


def never_clients(
    connection: Connection, events: Sequence[Event], thresholds: Thresholds, now: datetime, seen: Seen = DATABASE
) -> list[Anomaly]:
    """Persons whose data was looked up with success, but who did not become clients in the time given.

    A person counts as a client once a handover, receipt or acceptance speaks of them, under whichever pseudonym. Only
    look-ups older than that time are judged.
    """
    ripe = [
        event
        for event in events
        if event.subject is not None and event.outcome in RELEASED and event.at + thresholds.client_within <= now
    ]
    pseudonyms = {event.subject or "" for event in ripe}
    clients = _clients(connection, pseudonyms, seen.find)
    became = {event.whom for event in ripe if event.subject in clients}
    if seen.subjects is not None:
        for event in ripe:
            if event.whom not in became:
                others = set(seen.subjects.same_person(connection, event.subject or "")) - pseudonyms
                if others and _clients(connection, others, seen.find):
                    became.add(event.whom)
    strangers = [event for event in ripe if event.whom not in became]
    found = []
    for mine in _by_actor(strangers).values():
        counted = len({event.whom for event in mine})
        if counted >= thresholds.never_clients:
            found.append(_anomaly("never-clients", mine, thresholds.never_clients, counted))
    return found


def _clients(connection: Connection, pseudonyms: Iterable[str], find: Search) -> set[str]:
    """Those of these pseudonyms of which an entry says that they became clients."""
    wanted = sorted(pseudonyms)
    clients: set[str] = set()
    for low in range(0, len(wanted), _ASKED_AT_ONCE):
        clients.update(
            connection.scalars(
                select(entries.c.subject)
                .where(
                    entries.c.subject.in_(wanted[low : low + _ASKED_AT_ONCE]),
                    # Joined to nothing, so that the index of persons serves, whatever statistics there are.
                    without_index(entries.c.type.in_(_OF_CLIENTS)),
                )
                .distinct()
            )
        )
    if _pruned(connection):
        clients.update(
            pseudonym
            for pseudonym in wanted
            if pseudonym not in clients
            and any(walk(connection, Filters(subjects=(pseudonym,), types=_OF_CLIENTS), limit=1, find=find))
        )
    return clients


def detect(connection: Connection, span: Span, thresholds: Thresholds, seen: Seen = DATABASE) -> tuple[Anomaly, ...]:
    """All patterns in this time, by time. Look-ups that ripened in it are judged for `never_clients`."""
    ripening = span.start - thresholds.client_within, span.end - thresholds.client_within
    events = read_events(connection, span.start, span.end, find=seen.find)
    ripened = read_events(connection, *ripening, find=seen.find)
    if seen.subjects is not None:
        pseudonyms = {event.subject for event in (*events, *ripened) if event.subject} | {*thresholds.staff.values()}
        person = persons(connection, pseudonyms)
        thresholds = replace(thresholds, staff={user: person[of] for user, of in thresholds.staff.items()})
        events, ripened = _of_persons(events, person), _of_persons(ripened, person)
    found = [anomaly for rule in RULES for anomaly in rule(events, thresholds)]
    found += never_clients(connection, ripened, thresholds, span.now, seen)
    return tuple(sorted(found, key=lambda anomaly: (anomaly.first, anomaly.rule, anomaly.actor)))


def _of_persons(events: Iterable[Event], person: Mapping[str, str]) -> list[Event]:
    return [replace(event, person=person.get(event.subject or "", "")) for event in events]
