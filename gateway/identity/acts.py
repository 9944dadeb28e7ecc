"""What a registrar does about who is who, put on record: held records let go, joins made, undone and placed.

An act about two identifiers takes two people: one proposes it, another carries it out. So does taking a held record for
one person's, since that joins whoever it names. Neither is the data protection officer, who sees each act in the log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection

from audit.log.entries import Entry
from audit.log.waiting import Written
from gateway.exchange.context import Exchange
from gateway.handover.plan import Handovers, Order, Plan
from gateway.person.held import HeldKind, HeldRecord, HeldState, Proposal
from gateway.person.registrar import Doubtful, IdentityAct, Registrar, Released
from gateway.storage.engine import read
from gateway.wire.identifiers import SubsystemId
from gateway.wire.problems import ProblemError
from schemas.facts import Identifier, identifiers


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: the client, the subsystem it acts for, and the pseudonym of the person behind it.

    `person` is the pseudonym that is the same whichever client and subsystem of the member they act by, and `formerly`
    are those that they had under former index keys.
    """

    client: str
    subsystem: SubsystemId
    user: str
    person: str = ""
    formerly: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """How the act is signed."""
        return f"{self.client} {self.user}"


@dataclass(frozen=True, slots=True)
class Done:
    """What came of an act: what had been released under a join that is undone, or the handover that went on."""

    released: tuple[Released, ...] = ()
    plan: Plan | None = None


@dataclass(frozen=True, slots=True)
class Proposed:
    """An act that waits for a second person; `known_apart` says why the two are known to be two people, if they are."""

    id: str
    known_apart: str | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """What waits, with whom it names. `record_key` is the key of the record in its register, if it has one."""

    record: HeldRecord
    identifiers: tuple[Identifier, ...]
    record_key: str | None
    known_apart: str | None


class Identity:
    """The registrar's acts on this node."""

    def __init__(self, exchange: Exchange, handovers: Handovers, *, two_people: bool = True) -> None:
        self._exchange = exchange
        self._handovers = handovers
        self._two_people = two_people

    async def waiting(self, actor: Actor) -> tuple[HeldRecord, ...]:
        """The held records and proposals of the actor's member."""
        waiting = await read(self._exchange.engine, self._exchange.held.waiting)
        return tuple(record for record in waiting if record.member == str(actor.subsystem.member))

    async def doubtful(self, actor: Actor) -> tuple[Doubtful, ...]:
        """The joins that nobody has confirmed."""
        return await read(self._exchange.engine, self._registrar(actor).doubtful)

    async def take(self, actor: Actor, held: str) -> None:
        """The actor answers for a held record from now on."""
        await self._own(actor, held, HeldKind.HANDOVER, HeldKind.QUERY)
        await self._commit(lambda at: self._exchange.held.take(at, held, actor.name, self._exchange.clock()))

    async def open(self, actor: Actor, identifier: str) -> Opened:
        """What waits, with whom it names: whoever decides has seen it, and that they have is on record."""
        record = await self._own(actor, identifier, HeldKind.HANDOVER, HeldKind.QUERY, HeldKind.PROPOSAL)

        def opened(connection: Connection) -> Written[Opened]:
            entries = self._exchange.held.opened(connection, identifier, actor.name, self._exchange.clock())
            kept = self._exchange.held.content(connection, record.about or record.id)
            document = orjson.loads(kept) if kept is not None else {}
            named = _named(document)
            apart: str | None = None if record.kind is HeldKind.PROPOSAL else record.reason
            if record.reason == IdentityAct.JOIN and len(named) == 2:
                # As things stand now: since it was proposed somebody may have said that they are two people.
                apart = self._registrar(actor).known_apart(connection, *named)
            return Written(Opened(record, named, document.get("record_key"), apart), entries)

        return (await self._exchange.log.commit(opened)).value

    async def drop(self, actor: Actor, proposal: str) -> Done:
        """Take a proposal back, whoever made it: it will not be carried out."""
        await self._own(actor, proposal, HeldKind.PROPOSAL)
        await self._commit(
            lambda at: self._exchange.held.settle(at, proposal, HeldState.DROPPED, actor.name, self._exchange.clock())
        )
        return Done()

    async def same(self, actor: Actor, held: str) -> Proposed | Done:
        """A held record is about one person: proposed by the first who says so, carried out when another agrees."""
        waiting = await self._own(actor, held, HeldKind.HANDOVER, HeldKind.QUERY)
        if not self._two_people:
            return await self._one_person(actor, held)
        kept = orjson.dumps({"act": HeldState.SAME.value, "held": held, "by": _whoever(actor)})

        def record(connection: Connection) -> Written[tuple[str, bool]]:
            for proposal in self._exchange.held.proposed_about(connection, held):
                content = self._exchange.held.content(connection, proposal)
                if content is not None:
                    return Written((proposal, not _is_by(actor, orjson.loads(content))), ())
            proposed = Proposal(HeldState.SAME.value, kept, actor.name)
            identifier, entries = self._exchange.held.propose_same(connection, held, proposed)
            return Written((identifier, False), entries)

        proposal, is_agreed = (await self._exchange.log.commit(record)).value
        return await self.approve(actor, proposal) if is_agreed else Proposed(proposal, waiting.reason)

    async def apart(self, actor: Actor, held: str) -> Done:
        """A held record mixes two people: it is dropped."""
        await self._own(actor, held, HeldKind.HANDOVER, HeldKind.QUERY)
        await self._commit(lambda at: self._registrar(actor).apart(at, held, actor.name, self._exchange.clock()))
        return Done()

    async def propose(self, actor: Actor, act: IdentityAct, first: Identifier, second: Identifier) -> Proposed | Done:
        """Propose an act, to be carried out by another person; where one person will do, it is carried out at once.

        Raises ProblemError for what could not be carried out.
        """
        if not self._two_people:
            return await self._carry_out(actor, act, first, second)
        pairs = tuple((identifier.system, identifier.value) for identifier in (first, second))
        kept = orjson.dumps({"act": act.value, "identifiers": pairs, "by": _whoever(actor)})
        member = str(actor.subsystem.member)

        def record(connection: Connection) -> Written[Proposed]:
            apart = self._registrar(actor).weigh(connection, act, first, second)
            proposal = Proposal(act.value, kept, actor.name)
            identifier, entries = self._exchange.held.propose(connection, member, pairs, proposal)
            return Written(Proposed(identifier, apart), entries)

        return (await self._exchange.log.commit(record)).value

    async def approve(self, actor: Actor, proposal: str) -> Done:
        """Carry out what another person has proposed. Raises ProblemError."""
        await self._own(actor, proposal, HeldKind.PROPOSAL)
        kept = await read(self._exchange.engine, lambda connection: self._exchange.held.content(connection, proposal))
        if kept is None:
            raise _unknown()
        document = orjson.loads(kept)
        # By the person alone: by another client of theirs they are still the one who proposed it.
        if _is_by(actor, document):
            raise ProblemError(
                "client-not-permitted",
                detail="whoever proposed the act does not carry it out",
                remedy="have another registrar approve it",
            )
        if document["act"] == HeldState.SAME.value:
            return await self._one_person(actor, document["held"], proposal)
        first, second = (Identifier(*pair) for pair in document["identifiers"])
        return await self._carry_out(actor, IdentityAct(document["act"]), first, second, proposal=proposal)

    async def _one_person(self, actor: Actor, held: str, proposal: str | None = None) -> Done:
        waiting = await self._own(actor, held, HeldKind.HANDOVER, HeldKind.QUERY)

        def record(connection: Connection) -> Written[bytes | None]:
            now = self._exchange.clock()
            entries = self._exchange.held.approved(connection, proposal, actor.name, now) if proposal else ()
            kept = self._exchange.held.content(connection, held)
            return Written(kept, entries + self._registrar(actor).same(connection, held, actor.name, now))

        kept = (await self._exchange.log.commit(record)).value
        if kept is None or waiting.kind is not HeldKind.HANDOVER:
            return Done()
        return Done(plan=await self._handovers.plan(Order.from_json(kept)))

    async def _carry_out(
        self, actor: Actor, act: IdentityAct, first: Identifier, second: Identifier, *, proposal: str | None = None
    ) -> Done:
        registrar = self._registrar(actor)

        def record(connection: Connection) -> Written[Done]:
            now = self._exchange.clock()
            # The proposal leaves in the same transaction, and only if it was still waiting: nothing is done twice.
            entries = self._exchange.held.approved(connection, proposal, actor.name, now) if proposal else ()
            released: tuple[Released, ...] = ()
            if act is IdentityAct.JOIN:
                told = registrar.join(connection, first, second, actor.name, now)
            elif act is IdentityAct.PLACE:
                told = registrar.place(connection, first, second, actor.name, now)
            else:
                told, released = registrar.undo(connection, first, second, actor.name, now)
            return Written(Done(released), (*entries, *told))

        return (await self._exchange.log.commit(record)).value

    async def _commit(self, act: Callable[[Connection], tuple[Entry, ...]]) -> None:
        await self._exchange.log.commit(lambda connection: Written(None, act(connection)))

    async def _own(self, actor: Actor, held: str, *kinds: HeldKind) -> HeldRecord:
        """What waits under this id, if it is the actor's member's and of these kinds. Raises ProblemError."""
        waiting = await self.waiting(actor)
        found = next((record for record in waiting if record.id == held and record.kind in kinds), None)
        if found is None:
            raise _unknown()
        return found

    def _registrar(self, actor: Actor) -> Registrar:
        return Registrar(self._exchange.node, self._exchange.subjects_of(actor.subsystem), self._exchange.held)


def _whoever(actor: Actor) -> str:
    return actor.person or actor.user


def _is_by(actor: Actor, proposal: dict[str, str]) -> bool:
    """Whether the actor is who proposed it: also under the pseudonyms that they had by former keys of the index."""
    return proposal["by"] in {_whoever(actor), *actor.formerly}


def _named(document: dict[str, Any]) -> tuple[Identifier, ...]:
    """Whom what is kept names: a handover by its record, a query and a proposal by themselves."""
    if "bundle" in document:
        return identifiers(document["bundle"])
    return tuple(Identifier(*pair) for pair in document.get("identifiers", ()))


def _unknown() -> ProblemError:
    return ProblemError("not-found", detail="nothing of that id waits for a decision about who it is about")
