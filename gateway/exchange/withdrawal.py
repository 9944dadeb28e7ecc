"""Record consents, refusals and withdrawals, and tell those who hold data when one is withdrawn.

A change is in force for every decision whose record comes after it: the release of an answer or a delivery compares
the person's consents under the same lock. Deliveries that were planned are decided again when they are sent, so
nothing more is needed to stop them. Recipients that already hold data under the consent get a signed notice, as
durable as a handover.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, select

from audit.entries import Agents, Categories, Entry, new_id
from audit.log import Written
from audit.subjects import Subject
from consent import store
from consent.consents import ConsentRecord
from gateway.exchange.context import Exchange, Standing
from gateway.protocol.identifiers import ServiceId, SubsystemId
from gateway.protocol.problems import ProblemError
from gateway.services.backends import Locator
from gateway.storage.sealing import seal, unseal
from gateway.storage.tables import deliveries, disclosures

NOTICE_PURPOSE = "withdrawal-notice"


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A withdrawn consent, and how many recipients are being told."""

    record: ConsentRecord
    notices: int


class Consents:
    """The consents that this node holds."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def record(
        self, client: str, recorder: SubsystemId, locator: Locator, document: dict[str, Any]
    ) -> ConsentRecord:
        """Store a consent or refusal from its JSON. Raises ProblemError `consent-invalid`."""
        now = self._exchange.clock()

        def write(connection: Connection) -> Written[ConsentRecord]:
            subject = self._exchange.subjects.resolve(connection, ((locator.system, locator.value),), now)
            try:
                record = ConsentRecord.from_form(
                    document, id=new_id(now), subject=subject.id, recorded_by=str(recorder), recorded_at=now
                )
            except ValueError as error:
                raise ProblemError(
                    "consent-invalid", detail=str(error), remedy="see the interface description at /openapi.json"
                ) from None
            store.add(connection, record)
            return Written(record, (self._entry(client, recorder, record, subject, now),))

        return (await self._exchange.log.commit(write)).value

    async def withdraw(self, client: str, recorder: SubsystemId, identifier: str) -> Withdrawn:
        """Withdraw a consent and plan the notices. Raises ProblemError `consent-unknown`, `consent-withdrawn`."""
        now = self._exchange.clock()
        standing = self._exchange.standing(now)

        def write(connection: Connection) -> Written[Withdrawn]:
            held = store.current(connection, identifier)
            if held is None:
                raise ProblemError("consent-unknown", detail="this node holds no consent of that id")
            if held.status != "active":
                raise ProblemError("consent-withdrawn", detail=f"the consent is {held.status} already")
            record = store.withdraw(connection, identifier, now, str(recorder))
            subject = self._exchange.subjects.by_id(connection, record.subject)
            if subject is None:
                raise ProblemError("consent-unknown", detail="this node holds no consent of that id")
            entry = self._entry(client, recorder, record, subject, now)
            notices = self._plan_notices(connection, standing, recorder, record, subject, entry, now)
            return Written(Withdrawn(record, notices), (entry,))

        return (await self._exchange.log.commit(write)).value

    async def of(self, locator: Locator) -> tuple[ConsentRecord, ...]:
        """The current consents and refusals of a person."""
        person = await self._exchange.people.recall(((locator.system, locator.value),))
        return person.consents

    async def history(self, identifier: str) -> tuple[ConsentRecord, ...]:
        """All versions of one consent, oldest first. Raises ProblemError `consent-unknown`."""

        def read() -> tuple[ConsentRecord, ...]:
            with self._exchange.engine.connect() as connection:
                return tuple(store.history(connection, identifier))

        versions = await asyncio.to_thread(read)
        if not versions:
            raise ProblemError("consent-unknown", detail="this node holds no consent of that id")
        return versions

    def _entry(
        self, client: str, recorder: SubsystemId, record: ConsentRecord, subject: Subject, now: datetime
    ) -> Entry:
        return Entry(
            type="refusal" if record.status == "refused" else "consent",
            outcome="success",
            recorded=now,
            id=new_id(now),
            agents=Agents(client=client, node=self._exchange.node),
            source=str(recorder),
            subject=subject.pseudonym,
            categories=Categories(
                *((), tuple(sorted(record.categories)))
                if record.status in {"refused", "withdrawn"}
                else (tuple(sorted(record.categories)), ())
            ),
            consents=((record.id, record.version),),
            detail={"status": record.status, "version": record.version},
        )

    def _plan_notices(
        self,
        connection: Connection,
        standing: Standing,
        sender: SubsystemId,
        record: ConsentRecord,
        subject: Subject,
        entry: Entry,
        now: datetime,
    ) -> int:
        at = int(now.timestamp() * 1_000_000)
        rows = connection.execute(
            select(disclosures.c.recipient, disclosures.c.sender, disclosures.c.identifiers)
            .where(disclosures.c.consent == record.id)
            .order_by(disclosures.c.at)
        ).all()
        told: set[str] = set()
        for row in rows:
            services = standing.registry.services_of(SubsystemId.parse(row.recipient), "notice")
            if row.recipient in told or not services:
                continue
            told.add(row.recipient)
            notice = new_id(now)
            body = orjson.dumps(
                {
                    "notice": notice,
                    "consent": record.id,
                    "categories": sorted(record.categories),
                    "subject": orjson.loads(self._opened(subject, record.id, row)),
                }
            )
            self._plan(connection, services[0].id, sender, notice, subject, body, entry, at)
        return len(told)

    def _opened(self, subject: Subject, consent: str, row: Any) -> bytes:
        return unseal(subject.key, f"disclosures/{consent}/{row.recipient}", row.identifiers)

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
