"""Record consents, refusals and withdrawals, and tell those who hold data that they must stop using it.

A change is in force for every decision whose record comes after it: the release of an answer or a delivery compares
the person's consents under the same lock. Deliveries that were planned are decided again when they are sent, so
nothing more is needed to stop them. Recipients that already hold data under a consent that ends, or of a kind that is
now refused, get a signed notice, as durable as a handover.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, select

from audit.log.entries import Categories, Entry, new_id
from audit.log.log import Written
from audit.log.tables import entries
from audit.questions.subjects import Subject
from consent import store
from consent.consents import ConsentError, ConsentRecord
from gateway.exchange.context import Exchange
from gateway.person.values import Person
from gateway.registry.read.standing import Standing
from gateway.sources.backends import Locator
from gateway.storage.sealing import seal, unseal
from gateway.storage.tables import deliveries, disclosures
from gateway.story import Story
from gateway.wire.identifiers import IdentifierError, ServiceId, SubsystemId
from gateway.wire.problems import ProblemError
from schemas.facts import born

#: How many messages a notice names at most; what is older is found by the identifier alone.
MOST_NAMED = 100
NOTICE_PURPOSE = "withdrawal-notice"
Ending = Literal["withdrawn", "entered-in-error"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A record that stands, whether it had been recorded before, and how many recipients are being told."""

    record: ConsentRecord
    known: bool
    notices: int


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A consent that ended, and how many recipients are being told."""

    record: ConsentRecord
    notices: int


class Consents:
    """The consents that this node holds. A member sees and ends only what was recorded in its own name."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def record(
        self, client: str, recorder: SubsystemId, locator: Locator, document: dict[str, Any], *, once: bool = False
    ) -> Recorded:
        """Store a consent or refusal from its JSON. With `once`, one that stands with the same content is not doubled.

        Raises ProblemError `consent-invalid`.
        """
        now = self._exchange.clock()
        standing = self._exchange.standing_though_held(now)
        self._check_words(standing, document)
        named = self._exchange.looked_for(recorder, locator.system, locator.value)

        def write(connection: Connection) -> Written[Recorded]:
            subject = self._exchange.people.file(connection, named, now).subject
            person = self._exchange.people.recall_in(connection, named)
            try:
                record = ConsentRecord.from_form(
                    document,
                    id=new_id(now),
                    subject=subject.id,
                    recorded_by=str(recorder),
                    recorded_at=now,
                    born=born(locator.system, locator.value),
                )
            except ConsentError as error:
                raise _invalid(error) from None
            if once:
                same = [word for word in person.shown if _content(word) == _content(record)]
                if same:
                    return Written(Recorded(same[0], True, 0), ())
            store.add(connection, record)
            entry = self._entry(client, recorder, record, subject, now)
            notices = 0
            if record.status == "refused":
                identifier = [{"system": locator.system, "value": locator.value}]
                for holder, messages in self._holders(connection, standing, recorder, record, person).items():
                    about = {"subject": identifier, "messages": messages[:MOST_NAMED]}
                    notices += self._notify(connection, standing, recorder, holder, about, record, subject, entry, now)
            return Written(Recorded(record, False, notices), (entry,))

        return (await self._exchange.log.commit(write)).value

    async def withdraw(
        self, client: str, recorder: SubsystemId, identifier: str, ending: Ending = "withdrawn"
    ) -> Withdrawn:
        """End a consent, or lift a refusal, and plan the notices.

        Raises ProblemError `consent-unknown`, `consent-withdrawn`.
        """
        now = self._exchange.clock()
        standing = self._exchange.standing_though_held(now)

        def write(connection: Connection) -> Written[Withdrawn]:
            held = store.current(connection, identifier)
            subject = self._exchange.subjects.by_id(connection, held.subject) if held is not None else None
            if held is None or subject is None or not _of(held, recorder):
                raise _unknown()
            if held.status not in {"active", "refused"}:
                raise ProblemError("consent-withdrawn", detail=f"the record is {held.status} already")
            record = store.end(connection, identifier, ending, now, str(recorder))
            entry = self._entry(client, recorder, record, subject, now)
            notices = self._notify_holders(connection, standing, recorder, record, subject, entry, now)
            return Written(Withdrawn(record, notices), (entry,))

        return (await self._exchange.log.commit(write)).value

    async def of(self, client: str, recorder: SubsystemId, locator: Locator) -> tuple[ConsentRecord, ...]:
        """The current consents and refusals of a person. Reading them is on record."""
        named = self._exchange.looked_for(recorder, locator.system, locator.value)
        person = await self._exchange.people.recall(named)
        found = tuple(word for word in person.shown if _of(word, recorder))
        if person.subject is not None:
            await self._record_reading(client, recorder, person.subject.pseudonym, found)
        return found

    async def history(self, client: str, recorder: SubsystemId, identifier: str) -> tuple[ConsentRecord, ...]:
        """All versions of one consent, oldest first; reading them is on record. Raises `consent-unknown`."""

        def read() -> tuple[tuple[ConsentRecord, ...], Subject | None]:
            with self._exchange.engine.connect() as connection:
                versions = store.history(connection, identifier)
                return versions, self._exchange.subjects.by_id(connection, versions[0].subject) if versions else None

        versions, subject = await asyncio.to_thread(read)
        if subject is None or not _of(versions[0], recorder):
            raise _unknown()
        await self._record_reading(client, recorder, subject.pseudonym, versions[-1:])
        return versions

    async def _record_reading(
        self, client: str, recorder: SubsystemId, pseudonym: str, found: tuple[ConsentRecord, ...]
    ) -> None:
        now = self._exchange.clock()
        entry = Story(
            client=client, node=self._exchange.node, recipient=str(recorder), source=str(recorder), subject=pseudonym
        ).entry(
            "consent", "success", now, consents=tuple((item.id, item.version) for item in found), detail={"act": "read"}
        )
        await self._exchange.log.append((entry,))

    def _check_words(self, standing: Standing, document: dict[str, Any]) -> None:
        """A consent speaks in the rulebook's words: one that was misspelt would protect nobody."""
        rulebook = standing.rulebook
        roles = set(rulebook.roles)
        for name, known in (("purposes", set(rulebook.purposes)), ("categories", set(rulebook.categories))):
            for index, code in enumerate(_listed(document.get(name))):
                if code not in known:
                    raise _invalid(ConsentError(f"/{name}/{index}", "is no code of the rulebook"))
        members = {str(member.id) for member in standing.registry.members()}
        for index, code in enumerate(_listed(document.get("recipients"))):
            # A refusal may name one system of an organisation, and then holds for all of it.
            member = code if document.get("status") != "refused" else "/".join(str(code).split("/")[:3])
            if isinstance(code, str) and code not in roles and member not in members:
                raise _invalid(ConsentError(f"/recipients/{index}", "is neither a role nor a member of the registry"))

    def _entry(
        self, client: str, recorder: SubsystemId, record: ConsentRecord, subject: Subject, now: datetime
    ) -> Entry:
        return Story(client=client, node=self._exchange.node, source=str(recorder), subject=subject.pseudonym).entry(
            "refusal" if record.status == "refused" else "consent",
            "success",
            now,
            categories=Categories((), tuple(sorted(record.categories)))
            if record.status != "active"
            else Categories(tuple(sorted(record.categories)), ()),
            consents=((record.id, record.version),),
            detail={"status": record.status, "version": record.version},
        )

    def _holders(
        self, connection: Connection, standing: Standing, sender: SubsystemId, record: ConsentRecord, person: Person
    ) -> dict[str, list[str]]:
        """Who has received from us what a new refusal is about, and in which messages, as the log tells.

        Whatever identifier it went out under: the recipient may know the person by another than the refusal names.
        """
        holders: dict[str, list[str]] = {}
        rows = connection.execute(
            select(entries.c.body)
            .where(
                entries.c.subject.in_(self._exchange.people.pseudonyms(connection, person)),
                entries.c.type.in_(("query", "delivery", "break-glass")),
                entries.c.outcome.in_(("success", "partial")),
                entries.c.source == str(sender),
            )
            .order_by(entries.c.idx)
        )
        for row in rows:
            released = Entry.parse(row.body)
            recipient = released.agents.recipient
            if recipient is None or recipient == str(sender):
                continue
            if not any(
                standing.rulebook.touches(record.categories, permitted) for permitted in released.categories.permitted
            ):
                continue
            member = recipient.rpartition("/")[0]
            roles = standing.registry.roles_of(SubsystemId.parse(recipient), released.recorded)
            if any(record.meant_for(released.purpose or "", role, member) for role in {*roles, ""}):
                holders.setdefault(recipient, []).extend([released.message_id] if released.message_id else [])
        return holders

    def _notify_holders(
        self,
        connection: Connection,
        standing: Standing,
        sender: SubsystemId,
        record: ConsentRecord,
        subject: Subject,
        entry: Entry,
        now: datetime,
    ) -> int:
        """Tell those who received data under a consent that it has ended."""
        rows = connection.execute(
            select(disclosures.c.recipient, disclosures.c.identifiers, disclosures.c.subject)
            .where(disclosures.c.consent == record.id)
            .order_by(disclosures.c.at)
        ).all()
        told = 0
        for row in rows:
            key = self._exchange.subjects.key_of(connection, row.subject)
            if key is None:
                continue  # whose key was destroyed cannot be named to anyone any more
            named = unseal(key, f"disclosures/{record.id}/{row.recipient}", row.identifiers)
            about = {"subject": orjson.loads(named)}
            told += self._notify(connection, standing, sender, row.recipient, about, record, subject, entry, now)
        return told

    def _notify(
        self,
        connection: Connection,
        standing: Standing,
        sender: SubsystemId,
        recipient: str,
        about: dict[str, Any],
        record: ConsentRecord,
        subject: Subject,
        entry: Entry,
        now: datetime,
    ) -> int:
        """Plan a notice to one recipient; 0 if it was told of this version already, or takes no notices."""
        services = standing.registry.services_of(SubsystemId.parse(recipient), "notice")
        if not services:
            return 0
        service = services[0].id
        told = connection.execute(
            select(deliveries.c.id).where(
                deliveries.c.kind == "notice", deliveries.c.entry == entry.id, deliveries.c.service == str(service)
            )
        ).first()
        if told is not None:
            return 0
        notice = new_id(now)
        body = orjson.dumps(
            {
                "notice": notice,
                "consent": record.id,
                "status": record.status,
                "categories": sorted(record.categories),
                **about,
            }
        )
        self._plan(connection, service, sender, notice, subject, body, entry, int(now.timestamp() * 1_000_000))
        return 1

    def _plan(
        self,
        connection: Connection,
        service: ServiceId,
        sender: SubsystemId,
        notice: str,
        subject: Subject,
        body: bytes,
        entry: Entry,
        at: int,
    ) -> None:
        connection.execute(
            deliveries.insert(),
            {
                "id": notice,
                "handover": None,
                "kind": "notice",
                "service": str(service),
                "consumer": str(sender),
                "role": "",
                "purpose": NOTICE_PURPOSE,
                "categories": "",
                "subject": subject.id,
                "state": "due",
                "attempts": 0,
                "due": at,
                "lease": 0,
                "created": at,
                "changed": at,
                "entry": entry.id,
                "sealed": seal(subject.key, f"deliveries/{notice}", body),
            },
        )


def _of(record: ConsentRecord, caller: SubsystemId) -> bool:
    """Whether a record was made in the name of the caller's own member."""
    try:
        return SubsystemId.parse(record.recorded_by).member == caller.member
    except IdentifierError:
        return False


def _content(record: ConsentRecord) -> ConsentRecord:
    """What a record says, whoever recorded it and when."""
    return replace(record, id="", version=0, recorded_by="", recorded_at=datetime.min)  # noqa: DTZ901


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _invalid(error: ConsentError) -> ProblemError:
    return ProblemError(
        "consent-invalid",
        pointer=error.pointer,
        detail=error.reason,
        remedy="see the interface description at /openapi.json",
    )


def _unknown() -> ProblemError:
    return ProblemError("consent-unknown", detail="this node holds no consent of that id")
