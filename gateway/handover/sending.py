"""Make a delivery ready to be sent: decide once more, at this moment, and sign."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection

from consent.deciding.verdicts import Decision
from gateway.exchange.context import Exchange
from gateway.exchange.deciding import Case
from gateway.exchange.messaging import Message, Outgoing, prepare
from gateway.handover import carrying
from gateway.handover.leases import Delivery, carried
from gateway.handover.plan import decide_for_delivery, recipient_service
from gateway.handover.states import DeliveryKind
from gateway.obligations.arising import tells
from gateway.person.values import Named, Person, Register
from gateway.registry.read.standing import Standing
from gateway.storage.sealing import unseal
from gateway.wire.identifiers import MemberId, ServiceId, SubsystemId
from gateway.wire.problems import ProblemError
from schemas.projection import project


@dataclass(frozen=True, slots=True)
class Sending:
    """One attempt at one delivery, ready to be recorded and sent."""

    delivery: Delivery
    outgoing: Outgoing
    decision: Decision | None = None
    person: Person | None = None
    kept: frozenset[str] = frozenset()
    withheld: tuple[str, ...] = ()


async def make_ready(exchange: Exchange, delivery: Delivery, standing: Standing, now: datetime) -> Sending:
    """Decide and sign. Raises ProblemError; what may not go any more has a decision that permits nothing."""
    content = await exchange.people.readers.read(lambda connection: _content(exchange, connection, delivery))
    if delivery.kind is not DeliveryKind.HANDOVER:
        return _plain(exchange, delivery, standing, content, now)
    bundle = orjson.loads(content)
    sender = SubsystemId.parse(delivery.consumer)
    # The record was believed or not when it was ordered; a delivery joins nothing.
    named = Named.in_record(str(sender.member), bundle, Register(""))
    # The recipient is looked up anew: the person's municipality may have joined, or changed its system, while
    # we waited.
    service = recipient_service(standing, bundle, delivery.role, now)
    if service is None:
        raise ProblemError("recipient-unknown", detail="no member of the registry serves this municipality yet")
    person = await exchange.people.recall(named)
    case = Case(
        provider=sender,
        requester=service.id.subsystem,
        purpose=delivery.purpose,
        categories=delivery.categories,
        at=now,
        mode="handover",
    )
    decision = decide_for_delivery(standing, case, bundle, person)
    projection = project(bundle, decision.permitted_categories)
    body = {
        "handover": delivery.handover,
        "delivery": delivery.id,
        "flow": delivery.flow,
        **told_words(standing, service.id.member, decision, person),
        # A recipient that is not told so tells the person itself: better twice than never.
        **({"tells": True} if tells(decision, standing.rulebook) else {}),
        "bundle": projection.bundle,
    }
    message = Message(
        consumer=sender,
        service=service,
        purpose=delivery.purpose,
        categories=projection.kept or decision.permitted_categories,
        body=orjson.dumps(body),
    )
    withheld = tuple(sorted({withheld.category for withheld in decision.withheld}))
    outgoing = prepare(exchange, standing, message, now)
    return Sending(delivery, outgoing, decision, person, projection.kept, withheld)


def _plain(exchange: Exchange, delivery: Delivery, standing: Standing, content: bytes, now: datetime) -> Sending:
    """An acceptance or a notice: it carries no category of the person's data, so there is nothing to decide."""
    service = standing.registry.service(ServiceId.parse(delivery.service))
    if service is None:
        raise ProblemError("service-unknown", detail="the registry lists no such service any more")
    message = Message(
        consumer=SubsystemId.parse(delivery.consumer),
        service=service,
        purpose=delivery.purpose,
        categories=delivery.categories or frozenset({"identity"}),
        body=content,
    )
    return Sending(delivery, prepare(exchange, standing, message, now))


def _content(exchange: Exchange, connection: Connection, delivery: Delivery) -> bytes:
    key = exchange.subjects.key_of(connection, delivery.subject)
    sealed = carried(connection, delivery)
    if key is None:
        raise ProblemError("body-destroyed", detail="the record is gone: its data subject's key was destroyed")
    if sealed is None:
        # An acceptance lets the record go, which is another thing: whoever comes too late for it finds, when the
        # problem is to be written, that the delivery is settled.
        raise ProblemError("delivery-state", detail="the record is not there, though the delivery is due")
    is_handover = delivery.kind is DeliveryKind.HANDOVER
    return unseal(key, f"handovers/{delivery.handover}" if is_handover else f"deliveries/{delivery.id}", sealed)


def told_words(standing: Standing, recipient: MemberId, decision: Decision, person: Person) -> dict[str, Any]:
    """By which words a delivery goes, in the version that the recipient takes."""
    if carrying.version_for(standing.registry, recipient) >= carrying.CARRIERS:
        return {"wrd": carrying.carriers(decision, standing.rulebook, person.words)}
    return {"consents": consents_told(decision, person)}


def consents_told(decision: Decision, person: Person) -> list[dict[str, Any]]:
    """The consents that carry a decision, as the recipient is told them: what was consented to, not by whom."""
    used = {permitted.consent_id for permitted in decision.permitted if permitted.consent_id is not None}
    return [record.to_wire() for record in person.words if record.id in used]
