"""Plan a handover: who is to get what of one person's record, decided for each recipient on its own.

"Saattaen vaihtaen", an escorted handover: it is complete when every recipient has accepted it and named who is
responsible. The plan, its deliveries and their log entries are stored in one transaction; the record itself is held
sealed under the person's key until the last delivery is done. `deliver` works the deliveries and
decides once more at the moment of sending.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import orjson
from sqlalchemy import Connection

from audit.log.entries import Categories, Entry, EntryType, Outcome, micros, new_id
from audit.log.waiting import Written
from audit.questions.subjects import Subject
from consent.deciding.verdicts import Decision
from consent.rules.law import Flow, FlowDelivery
from gateway.exchange.context import Exchange
from gateway.exchange.deciding import Case, decide_between, facts_of
from gateway.exchange.holding import basis_and_consents
from gateway.exchange.keeping import keep_decision
from gateway.handover import store
from gateway.handover.states import DeliveryKind, DeliveryState, HandoverState
from gateway.handover.store import NewDelivery, NewHandover, Ordered
from gateway.obligations.asking import Wanted, not_asked
from gateway.person.held import HeldKind
from gateway.person.people import StaleError
from gateway.person.values import Named, Person, Register
from gateway.registry.read.entries import ServiceDescriptor
from gateway.registry.read.registry import Registry
from gateway.registry.read.standing import Standing
from gateway.storage.sealing import seal
from gateway.story import Story, made_by
from gateway.wire.identifiers import ServiceId, SubsystemId
from gateway.wire.problems import ProblemError
from schemas.catalogue import catalogue
from schemas.facts import check_single_subject

ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Once:
    """What a client says is to be done once: the keyed hashes of its idempotency key, and of its whole request.

    `former` are the same two under index keys before today's.
    """

    key: str
    fingerprint: str
    former: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """What a client asks: hand this person's record over, in this flow, not before this moment."""

    client: str
    sender: SubsystemId
    bundle: dict[str, Any]
    flow: str
    idempotency: str | None
    case: str | None
    user: str | None
    not_before: datetime | None
    trace_id: str
    #: Where the record comes from, and its key there: by both a register that names another identifier corrects itself.
    register: Register
    record_key: str | None = None
    #: The version of the adapter that made the record.
    made_by: str = ""
    once: Once | None = None
    #: Refuses, by raising, a recipient's service, a purpose or categories that the client has no right to.
    permits: Callable[[ServiceId | None, str, frozenset[str]], None] = lambda _service, _purpose, _categories: None

    def to_json(self) -> bytes:
        """The order as it is kept while its record waits."""
        return orjson.dumps(
            {
                "client": self.client,
                "sender": str(self.sender),
                "bundle": self.bundle,
                "flow": self.flow,
                "idempotency": self.idempotency,
                "case": self.case,
                "user": self.user,
                "not_before": self.not_before,
                "trace_id": self.trace_id,
                "register": [self.register.name, self.register.is_authoritative],
                "record_key": self.record_key,
                "made_by": self.made_by,
            }
        )

    @classmethod
    def from_json(cls, kept: bytes) -> Order:
        """An order that was kept. What its client had a right to was seen to when it was taken."""
        document = orjson.loads(kept)
        moment = document.pop("not_before")
        return cls(
            sender=SubsystemId.parse(document.pop("sender")),
            register=Register(*document.pop("register")),
            not_before=datetime.fromisoformat(moment) if moment else None,
            **document,
        )


@dataclass(frozen=True, slots=True)
class Planned:
    """One recipient of a handover and what was decided for it."""

    id: str
    role: str
    purpose: str
    service: ServiceDescriptor | None
    categories: frozenset[str]
    decision: Decision | None = None
    state: DeliveryState = DeliveryState.DUE
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A handover as it was planned; `existing` if the same order had been taken before."""

    id: str
    state: HandoverState
    deliveries: tuple[Planned, ...]
    existing: bool


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan before it is stored; `keys` are what the order is known by, here and to former versions."""

    order: Order
    standing: Standing
    keys: tuple[str, ...]
    person: Person
    planned: tuple[Planned, ...]
    now: datetime


class Handovers:
    """Takes orders for handovers."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def plan(self, order: Order) -> Plan:
        """Decide for each recipient and store the plan. Raises ProblemError."""
        now = self._exchange.clock()
        standing = self._exchange.standing(now)
        flow = standing.rulebook.flows.get(order.flow)
        if flow is None:
            raise ProblemError(
                "flow-unknown",
                pointer="/flow",
                detail="the rulebook has no such flow",
                remedy="use one of: " + ", ".join(sorted(standing.rulebook.flows)),
            )
        sent = _sent_by(standing, order, flow, now)
        _check(order.bundle)
        named = Named.in_record(str(order.sender.member), order.bundle, order.register, order.record_key)
        former = order.idempotency or _content(order)
        # Former versions wrote the key as it is, and without one a plain hash of the record.
        keys = (*self._exchange.subjects.fingerprints("handover", former.encode()), former)
        for _ in range(ATTEMPTS):
            person = await self._exchange.people.recall(named)
            if person.conflict is not None:
                raise await self._hold(order, person)
            planned = [self._decide(order, standing, part, person, now) for part in sent]
            draft = Draft(order, standing, keys, person, tuple(planned), now)
            try:
                stored = await self._exchange.log.commit(partial(self._store, draft))
                self._exchange.rulebooks.committed(standing.rulebook.digest)
                return stored.value
            except StaleError:
                continue
        raise ProblemError("busy", detail="the person's consents are changing right now", retry_after=1)

    async def _hold(self, order: Order, person: Person) -> ProblemError:
        """Put the order aside: its record names two people, and waits until somebody says who it is about."""

        def put_aside(connection: Connection) -> Written[ProblemError]:
            problem, entries = self._exchange.held.hold(connection, person, HeldKind.HANDOVER, order.to_json())
            return Written(problem, entries)

        return (await self._exchange.log.commit(put_aside)).value

    def _decide(self, order: Order, standing: Standing, part: FlowDelivery, person: Person, now: datetime) -> Planned:
        service = recipient_service(standing, order.bundle, part.to_role, now)
        order.permits(service.id if service else None, part.purpose, part.categories)
        planned = Planned(new_id(now), part.to_role, part.purpose, service, part.categories)
        if service is None:
            return replace(planned, problem="recipient-unknown")
        case = Case(
            provider=order.sender,
            requester=service.id.subsystem,
            purpose=part.purpose,
            categories=part.categories,
            at=now,
            mode="handover",
        )
        decision = decide_for_delivery(standing, case, order.bundle, person)
        if not decision.permitted:
            return replace(planned, decision=decision, state=DeliveryState.STOPPED, problem="not-permitted")
        return replace(planned, decision=decision)

    def _store(self, draft: Draft, connection: Connection) -> Written[Plan]:
        """Store what was decided, unless the same order was taken before. In a unit; raises StaleError."""
        order, now = draft.order, draft.now
        if order.once is not None:
            _remember(connection, order.client, order.once, now)
        held = store.ordered(connection, order.client, *draft.keys)
        if held is not None:
            # The register has gone back to what it had sent before: that corrects what waits, as a new record does.
            return Written(
                _existing(connection, held), self._exchange.held.corrected(connection, draft.person.named, now)
            )
        settled = self._exchange.people.settle(connection, draft.person, now)
        rulebook = draft.standing.rulebook
        self._exchange.rulebooks.keep(connection, rulebook.digest, draft.standing.registry.rulebook, now)
        is_planned = any(planned.state is DeliveryState.DUE for planned in draft.planned)
        state = HandoverState.PLANNED if is_planned else HandoverState.STOPPED
        handover = new_id(now)
        story = self._story(draft, settled.subject)
        opening = story.entry(
            EntryType.HANDOVER,
            Outcome.PLANNED if is_planned else Outcome.STOPPED,
            now,
            id=handover,
            detail={"flow": order.flow, "handover": handover, **made_by(order.made_by)},
        )
        new = NewHandover(
            id=handover,
            flow=order.flow,
            subject=settled.subject.id,
            case=order.case,
            client=order.client,
            idempotency=draft.keys[0],
            state=state,
            at=micros(now),
            entry=opening.id,
            sealed=seal(settled.subject.key, f"handovers/{handover}", orjson.dumps(order.bundle)),
            adapter=order.made_by or None,
        )
        store.add_handover(connection, new)
        entries = []
        for planned in draft.planned:
            entry = _delivery_entry(story, opening, planned)
            entries.append(entry)
            if planned.decision is not None:
                subject = settled.subject
                keep_decision(connection, entry, planned.decision, subject=subject.id, key=subject.key)
                entries += self._to_ask(connection, draft, planned, subject, opening)
            store.add_delivery(connection, _delivery(draft, new, planned, entry))
        plan = Plan(handover, state, draft.planned, existing=False)
        return Written(plan, (opening, *entries, *settled.entries))

    def _to_ask(
        self, connection: Connection, draft: Draft, planned: Planned, subject: Subject, opening: Entry
    ) -> tuple[Entry, ...]:
        """The task to ask the person for what nobody has asked them."""
        if planned.decision is None or planned.service is None:
            return ()
        party, named = str(planned.service.id.subsystem), draft.person.named.pairs
        wanted = Wanted(draft.order.sender.member, party, subject, named, opening.id)
        return not_asked(connection, self._story(draft, subject), planned.decision, wanted, draft.now)

    def _story(self, draft: Draft, subject: Subject) -> Story:
        """Who hands over whose data, on whose order."""
        order = draft.order
        return Story(
            node=self._exchange.node,
            client=order.client,
            user=order.user,
            source=str(order.sender),
            subject=subject.pseudonym,
            rulebook=draft.standing.rulebook.digest,
            trace_id=order.trace_id,
            case=order.case,
        )


def _sent_by(standing: Standing, order: Order, flow: Flow, now: datetime) -> Sequence[FlowDelivery]:
    """The deliveries of a flow that fall to a role of the sender. Raises ProblemError if none does.

    A flow names who sends in it: under the name of another's flow nobody plans what that other may give.
    """
    roles = standing.registry.roles_of(order.sender, now)
    # A rulebook of the first form does not say who sends.
    sent = [part for part in flow.deliveries if not part.from_roles or not part.from_roles.isdisjoint(roles)]
    if not sent and flow.deliveries:
        own = sorted(code for code, other in standing.rulebook.flows.items() if _falls_to(other, roles))
        raise ProblemError(
            "flow-unknown",
            pointer="/flow",
            detail="the rulebook lets no role of the sender send in this flow",
            remedy="use one of: " + ", ".join(own) if own else "no flow of the rulebook falls to a role of the sender",
        )
    return sent


def _falls_to(flow: Flow, roles: frozenset[str]) -> bool:
    return any(not part.from_roles.isdisjoint(roles) for part in flow.deliveries)


def _delivery(draft: Draft, handover: NewHandover, planned: Planned, entry: Entry) -> NewDelivery:
    order = draft.order
    return NewDelivery(
        id=planned.id,
        handover=handover.id,
        kind=DeliveryKind.HANDOVER,
        service=str(planned.service.id) if planned.service else "",
        consumer=str(order.sender),
        role=planned.role,
        purpose=planned.purpose,
        categories=planned.categories,
        subject=handover.subject,
        state=planned.state,
        due=micros(order.not_before) if order.not_before else handover.at,
        problem=planned.problem,
        at=handover.at,
        entry=entry.id,
        case=order.case,
    )


def recipient_service(standing: Standing, bundle: dict[str, Any], role: str, now: datetime) -> ServiceDescriptor | None:
    """The inbox of the member that has this role for the person's municipality; None if no member has joined for it."""
    facts = facts_of(bundle, standing.registry, now)
    if facts.municipality is None:
        return None
    subsystem = _responsible(standing.registry, facts.municipality, role, now)
    inboxes = standing.registry.services_of(subsystem, "inbox") if subsystem else ()
    return inboxes[0] if inboxes else None


def _responsible(registry: Registry, municipality: str, role: str, now: datetime) -> SubsystemId | None:
    recipients = registry.recipients(municipality, now)
    if role == "municipality":
        return recipients.municipality
    if role == "county":
        own = recipients.municipality
        # A municipality without a county arranges social and health services itself.
        return recipients.county or (own if own and "county" in registry.roles_of(own, now) else None)
    for member in registry.members():
        for subsystem in member.subsystems:
            if role in registry.roles_of(subsystem.id, now) and registry.services_of(subsystem.id, "inbox"):
                return subsystem.id
    return None


def decide_for_delivery(
    standing: Standing,
    case: Case,
    bundle: dict[str, Any],
    person: Person,
) -> Decision:
    """What of the record may go to this recipient, at this moment, under the words of the person that count."""
    facts = facts_of(bundle, standing.registry, case.at)
    return decide_between(
        standing.registry,
        standing.rulebook,
        replace(case, facts=facts, consents=person.words, restricted=person.restricted),
    )


def _check(bundle: dict[str, Any]) -> None:
    findings = catalogue().validate_bundle(bundle) or check_single_subject(bundle)
    if findings:
        raise ProblemError(
            "record-invalid",
            pointer=findings[0].pointer,
            detail="the record breaks the schema: "
            + "; ".join(f"{finding.pointer} {finding.code}" for finding in findings[:5]),
            remedy="mend the record in the source system and send it again",
        )


def _delivery_entry(story: Story, opening: Entry, planned: Planned) -> Entry:
    decision, service = planned.decision, planned.service
    bases, consents = basis_and_consents(decision)
    story = story.to(
        str(service.id) if service else None, str(service.id.subsystem) if service else None, planned.purpose
    )
    return story.entry(
        EntryType.DECISION,
        Outcome.PLANNED if planned.state is DeliveryState.DUE else Outcome.WITHHELD,
        opening.recorded,
        categories=Categories(
            tuple(sorted(decision.permitted_categories)) if decision else (),
            tuple(sorted(withheld.category for withheld in decision.withheld)) if decision else (),
        ),
        bases=bases,
        consents=consents,
        previous=opening.id,
        reason=planned.problem,
        detail={
            **opening.detail,
            "delivery": planned.id,
            "role": planned.role,
            **({"decision": decision.id} if decision is not None else {}),
        },
    )


def _content(order: Order) -> str:
    """What an order without a key is known by."""
    record = orjson.dumps(order.bundle, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(b"\n".join((str(order.sender).encode(), order.flow.encode(), record))).hexdigest()


def _remember(connection: Connection, client: str, once: Once, now: datetime) -> None:
    """Take a key for one request and for no other. Raises ProblemError `idempotency-conflict`."""
    asked = ((once.key, once.fingerprint), *once.former)
    held = [(store.fingerprint(connection, client, key), fingerprint) for key, fingerprint in asked]
    if all(known is None for known, _ in held):
        store.remember(connection, client, once.key, once.fingerprint, micros(now))
    elif any(known is not None and known != fingerprint for known, fingerprint in held):
        # Answered as done, it would leave a person behind whom nobody has handed over.
        raise ProblemError(
            "idempotency-conflict",
            detail="this client has used the Idempotency-Key for a request that was not the same in every part",
            remedy="send what you sent under that key, or give this request a key of its own",
        )


def _existing(connection: Connection, held: Ordered) -> Plan:
    planned = tuple(
        Planned(row.id, row.role, row.purpose, None, row.categories, None, row.state, row.problem)
        for row in store.ordered_deliveries(connection, held.id)
    )
    return Plan(held.id, held.state, planned, existing=True)
