"""Pass a notice on to those to whom we have passed the data on, so that a withdrawal goes as far as the data went.

Of each person whom the notice is about: whoever got from us what it names, after something of the person had come to
us from the one who tells. The notice that goes on names what a first one names, and those of our own messages by which
the data went; not from whom we have it. A sender's word is passed on once, so a circle of recipients ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson
from sqlalchemy import Connection, select

from audit.log.entries import Entry, EntryType, Outcome, micros, new_id
from audit.log.tables import entries
from audit.questions import links
from audit.questions.subjects import Subject
from audit.questions.words import carries
from consent.words.consents import WordStatus
from gateway.exchange.context import Exchange
from gateway.exchange.holding import UNSENT
from gateway.exchange.opening import Incoming
from gateway.handover import store
from gateway.handover.states import ArrivalKind, DeliveryKind
from gateway.handover.store import NewDelivery
from gateway.storage.sealing import seal
from gateway.storage.tables import inbox
from gateway.wire.identifiers import IdentifierError, MemberId, SubsystemId

#: How many messages a notice names at most; what is older is found by the identifier alone.
MOST_NAMED: Final = 100
NOTICE_PURPOSE: Final = "withdrawal-notice"
_WENT: Final = (EntryType.QUERY, EntryType.BREAK_GLASS, EntryType.DELIVERY)
_ENDINGS: Final = frozenset(status.value for status in WordStatus)
_MOVED: Final = (Outcome.SUCCESS, Outcome.PARTIAL)
#: A delivery of which nobody knows that it did not arrive may have: its recipient is told too.
_MAY_HAVE: Final = (Outcome.REQUESTED, Outcome.FAILED)


@dataclass(frozen=True, slots=True)
class Told:
    """A notice that we were told: the word it is about, how that ended, the categories, and what names the person."""

    word: str
    status: object  # as it was told, or None; whoever reads it checks it
    categories: frozenset[str]
    named: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Passed:
    """To whom data of a person went from one of our subsystems, by which messages, in which case."""

    sender: str
    messages: tuple[str, ...]
    case: str | None


@dataclass(frozen=True, slots=True)
class Onward:
    """A notice that goes on: what it tells, under whom it is filed here, and to whom it goes."""

    told: Told
    subject: Subject
    to: Mapping[str, Passed]


def named(messages: Iterable[str]) -> list[str]:
    """The messages that a notice names: each once, however many entries tell of it; of many the newest."""
    return list(dict.fromkeys(messages))[-MOST_NAMED:]


def _is_told_anew(connection: Connection, incoming: Incoming, word: str) -> bool:
    """Whether this sender has not told of this word yet."""
    known = select(inbox.c.id).where(
        inbox.c.kind == ArrivalKind.NOTICE.value,
        inbox.c.handover == word,
        inbox.c.sender == str(incoming.claims.issuer),
        inbox.c.recipient == str(incoming.service.id.subsystem),
    )
    return connection.execute(known.limit(1)).first() is None


def told_on(connection: Connection, arrival: str) -> int:
    """To how many a notice that arrived went on, as its entry says."""
    found = select(entries.c.body).join(inbox, inbox.c.entry == entries.c.id).where(inbox.c.id == arrival)
    body = connection.execute(found).scalar()
    count = Entry.parse(body).detail.get("onward", 0) if body is not None else 0
    return count if isinstance(count, int) else 0


def going_on(exchange: Exchange, connection: Connection, incoming: Incoming, told: Told, subject: Subject) -> Onward:
    """To whom a notice goes on, each with what went there. `subject` is whom the notice is filed under."""
    subjects = exchange.subjects_of(incoming.service.id.subsystem)
    if not _is_told_anew(connection, incoming, told.word):
        return Onward(told, subject, {})
    found: dict[str, Passed] = {}
    seen: set[str] = set()
    for start in subjects.found_under(connection, [subject.id]):
        if start in seen:
            continue
        # Doubtful joins too: who is told of a wish too much can only protect.
        person = links.web(connection, (start,)).connected((start,))
        seen |= person
        pseudonyms = {name for id_ in sorted(person) for name in subjects.pseudonyms(connection, id_)}
        for recipient, passed in _passed_on(connection, incoming, told, pseudonyms).items():
            before = found.get(recipient)
            messages = passed.messages if before is None else (*before.messages, *passed.messages)
            found[recipient] = Passed(passed.sender, messages, passed.case)
    to = {recipient: passed for recipient, passed in found.items() if _service(incoming, recipient) is not None}
    return Onward(told, subject, to)


def plan(connection: Connection, incoming: Incoming, onward: Onward, entry: Entry) -> None:
    """Plan the notices that go on, in the transaction that takes the notice in."""
    told, subject = onward.told, onward.subject
    for recipient, passed in onward.to.items():
        service, notice = _service(incoming, recipient), new_id(incoming.now)
        if service is None:
            continue
        body = orjson.dumps(
            {
                "notice": notice,
                "consent": told.word,
                "status": told.status if told.status in _ENDINGS else WordStatus.WITHDRAWN.value,
                "categories": sorted(told.categories),
                "subject": [{"system": system, "value": value} for system, value in told.named],
                "messages": named(passed.messages),
                "onward": True,
            }
        )
        delivery = NewDelivery(
            id=notice,
            handover=None,
            kind=DeliveryKind.NOTICE,
            service=service,
            consumer=passed.sender,
            purpose=NOTICE_PURPOSE,
            subject=subject.id,
            due=micros(incoming.now),
            at=micros(incoming.now),
            entry=entry.id,
            case=passed.case,
            sealed=seal(subject.key, f"deliveries/{notice}", body),
        )
        store.add_delivery(connection, delivery)


def _service(incoming: Incoming, recipient: str) -> str | None:
    """Where a recipient takes notices."""
    services = incoming.registry.services_of(SubsystemId.parse(recipient), "notice")
    return str(services[0].id) if services else None


def _passed_on(connection: Connection, incoming: Incoming, told: Told, pseudonyms: Iterable[str]) -> dict[str, Passed]:
    """Who got from us what the notice names, after something of this person had come from the one who tells."""
    ours, teller = incoming.service.id.subsystem.member, incoming.claims.issuer
    bodies = connection.scalars(
        select(entries.c.body)
        .where(
            entries.c.subject.in_(sorted(pseudonyms)),
            entries.c.type.in_([kind.value for kind in (*_WENT, EntryType.RECEIPT)]),
            entries.c.outcome.in_([outcome.value for outcome in (*_MOVED, *_MAY_HAVE, Outcome.STOPPED)]),
        )
        .order_by(entries.c.idx)
    )
    has_come, came_to_nothing = False, set[str]()
    sent: list[Entry] = []
    for entry in map(Entry.parse, bodies):
        # What reached another member of this node is another register's, whoever sent both.
        if entry.giver == str(teller) and _is_of(entry.taker, ours):
            has_come = has_come or (entry.outcome in _MOVED and carries(entry))
        elif has_come and _is_passing(entry, told, incoming):
            sent.append(entry)
        if entry.outcome is Outcome.STOPPED or entry.detail.get(UNSENT) is True:
            came_to_nothing.add(entry.message_id or "")
    found: dict[str, Passed] = {}
    for entry in sent:
        message, recipient, sender = entry.message_id, entry.agents.recipient, entry.source
        if message is None or recipient is None or sender is None or message in came_to_nothing:
            continue
        before = found[recipient].messages if recipient in found else ()
        found[recipient] = Passed(sender, tuple(dict.fromkeys((*before, message))), entry.case)
    return found


def _is_passing(entry: Entry, told: Told, incoming: Incoming) -> bool:
    """Whether we gave somebody else what the notice names, or may have."""
    if entry.type not in _WENT or not _is_of(entry.giver, incoming.service.id.subsystem.member):
        return False
    if entry.outcome not in _MOVED and (entry.outcome not in _MAY_HAVE or entry.type is not EntryType.DELIVERY):
        return False
    # Whoever tells us knows; and a member tells nothing to itself.
    if _is_of(entry.taker, incoming.claims.issuer.member) or _is_of(entry.taker, incoming.service.id.subsystem.member):
        return False
    touches = incoming.rulebook.touches
    return any(touches(told.categories, category) for category in entry.categories.permitted)


def _is_of(subsystem: str | None, member: MemberId) -> bool:
    try:
        return subsystem is not None and SubsystemId.parse(subsystem).member == member
    except IdentifierError:
        return False
