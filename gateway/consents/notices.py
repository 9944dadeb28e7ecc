"""Tell those who hold data that a word has ended, or that a new prohibition is about it: signed notices.

A notice is as durable as a handover. It names the word by the digests under which its versions have travelled, the
categories, and what the recipient knows the person by; nothing of who said it, or why.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import Connection, select

from audit.log.entries import Entry, Outcome, micros, new_id
from audit.log.tables import entries
from audit.questions.subjects import Subject
from consent.words import store
from consent.words.consents import ConsentRecord
from gateway.exchange.context import Exchange
from gateway.exchange.holding import UNSENT, case_of, has_surely_left_nothing
from gateway.handover.carrying import CARRIERS, digest_of, version_for
from gateway.handover.onward import MOST_NAMED, NOTICE_PURPOSE, named
from gateway.handover.states import DeliveryKind
from gateway.handover.store import NewDelivery, add_delivery
from gateway.person.values import Person
from gateway.registry.read.standing import Standing
from gateway.sources.backends import Locator
from gateway.storage.sealing import seal, unseal
from gateway.storage.tables import deliveries, disclosures
from gateway.wire.identifiers import SubsystemId

_MAY_HAVE_LEFT: Final = frozenset({Outcome.SUCCESS, Outcome.PARTIAL, Outcome.REQUESTED})


@dataclass(frozen=True, slots=True)
class Change:
    """A new version of a word, in whose name it was recorded, whose it is, and the entry that tells of it."""

    record: ConsentRecord
    sender: SubsystemId
    subject: Subject
    entry: Entry
    standing: Standing
    at: datetime


@dataclass(frozen=True, slots=True)
class _To:
    """Who is told, and in which case it got the data: so the notice stands in the course of that case."""

    recipient: str
    case: str | None


class Notices:
    """Plans notices, in the transaction that records the change."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def of_prohibition(self, connection: Connection, change: Change, person: Person, known_by: Locator) -> int:
        """Tell whoever has received what a new prohibition is about; gives how many are told."""
        identifier = [{"system": known_by.system, "value": known_by.value}]
        told = 0
        for holder, released in self._holders(connection, change, person).items():
            messages = [entry.message_id for entry in released if entry.message_id]
            about = {"subject": identifier, "messages": named(messages)}
            told += self._notify(connection, change, _To(holder, released[-1].case), about)
        return told

    def of_ending(self, connection: Connection, change: Change) -> int:
        """Tell whoever received data under a permission or consent that it has ended; gives how many are told."""
        rows = connection.execute(
            select(disclosures.c.recipient, disclosures.c.identifiers, disclosures.c.subject, disclosures.c.at)
            .where(disclosures.c.consent == change.record.id)
            .order_by(disclosures.c.at)
        ).all()
        told = 0
        for row in rows:
            # To whom nothing has come, a notice would be the first word of it.
            if has_surely_left_nothing(connection, change.record.id, row.recipient, row.at):
                continue
            key = self._exchange.subjects.key_of(connection, row.subject)
            if key is None:
                continue  # whose key was destroyed cannot be named to anyone any more
            named = unseal(key, f"disclosures/{change.record.id}/{row.recipient}", row.identifiers)
            holder = _To(row.recipient, case_of(connection, change.record.id, row.recipient))
            told += self._notify(connection, change, holder, {"subject": orjson.loads(named)})
        return told

    def _holders(self, connection: Connection, change: Change, person: Person) -> dict[str, list[Entry]]:
        """Who has received from us what a new prohibition is about, or may have, and by which releases.

        As the log tells: an attempt of which the end is not on record is under way, or may have arrived. Whatever
        identifier it went out under: the recipient may know the person by another than the prohibition names.
        """
        record, registry = change.record, change.standing.registry
        holders: dict[str, list[Entry]] = {}
        rows = connection.execute(
            select(entries.c.body)
            .where(
                entries.c.subject.in_(self._exchange.people.pseudonyms(connection, person)),
                entries.c.type.in_(("query", "delivery", "break-glass")),
                entries.c.outcome.in_(("success", "partial", "requested", "failed", "stopped")),
                entries.c.source == str(change.sender),
            )
            .order_by(entries.c.idx)
        )
        told = [Entry.parse(row.body) for row in rows]
        # To whom not a byte was sent, a notice would be the first word of the person.
        unsent = {entry.previous for entry in told if entry.detail.get(UNSENT) is True}
        left = (entry for entry in told if entry.outcome in _MAY_HAVE_LEFT and entry.id not in unsent)
        for released in left:
            recipient = released.agents.recipient
            if recipient is None or recipient == str(change.sender):
                continue
            permitted = released.categories.permitted
            touches = change.standing.rulebook.touches
            if not record.names_all and not any(touches(record.categories, category) for category in permitted):
                continue
            member = recipient.rpartition("/")[0]
            roles = registry.roles_of(SubsystemId.parse(recipient), released.recorded)
            if any(record.meant_for(released.purpose or "", role, member) for role in {*roles, ""}):
                holders.setdefault(recipient, []).append(released)
        return holders

    def _notify(self, connection: Connection, change: Change, to: _To, about: dict[str, Any]) -> int:
        """Plan a notice to one recipient; 0 if it was told of this version already, or takes no notices."""
        record, entry = change.record, change.entry
        services = change.standing.registry.services_of(SubsystemId.parse(to.recipient), "notice")
        if not services:
            return 0
        service = str(services[0].id)
        told = connection.execute(
            select(deliveries.c.id).where(
                deliveries.c.kind == "notice", deliveries.c.entry == entry.id, deliveries.c.service == service
            )
        ).first()
        if told is not None:
            return 0
        notice, at = new_id(change.at), micros(change.at)
        if version_for(change.standing.registry, services[0].id.member) >= CARRIERS:
            # By the digests under which the word's versions have travelled, the recipient finds what came by it.
            former = store.history(connection, record.id)[-MOST_NAMED:]
            about = {**about, "words": [digest_of(version) for version in former if version.carries]}
        body = orjson.dumps(
            {
                "notice": notice,
                "consent": record.id,
                "status": record.status.value,
                "categories": sorted(_categories(change)),
                **about,
            }
        )
        add_delivery(
            connection,
            NewDelivery(
                id=notice,
                handover=None,
                kind=DeliveryKind.NOTICE,
                service=service,
                consumer=str(change.sender),
                purpose=NOTICE_PURPOSE,
                subject=change.subject.id,
                due=at,
                at=at,
                entry=entry.id,
                case=to.case,
                sealed=seal(change.subject.key, f"deliveries/{notice}", body),
            ),
        )
        return 1


def _categories(change: Change) -> frozenset[str]:
    """What the word is about; by name also where it means all, for the recipient reads codes."""
    if not change.record.names_all:
        return change.record.categories
    known = change.standing.rulebook.categories
    return frozenset(code for code, category in known.items() if category.parent is None)
