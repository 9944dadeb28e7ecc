"""What a registrar does about who is who, put on record: held records let go, joins made, undone and placed.

An act about two identifiers takes two people: one proposes it, another carries it out. So does taking a held record for
one person's, since that joins whoever it names. Neither is the data protection officer, who sees each act in the log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import orjson
from sqlalchemy import Connection

from audit.log.entries import Entry
from audit.log.waiting import Written
from gateway.exchange.context import Exchange
from gateway.handover.plan import Handovers, Order, Plan
from gateway.person.held import HeldKind, HeldRecord, HeldState
from gateway.person.registrar import Doubtful, Registrar, Released
from gateway.storage.engine import read
from gateway.wire.identifiers import SubsystemId
from gateway.wire.problems import ProblemError
from schemas.facts import Identifier


class IdentityAct(StrEnum):
    """What is said of two identifiers."""

    JOIN = "join"
    UNDO = "undo"
    PLACE = "place"


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

    async def same(self, actor: Actor, held: str) -> str | Done:
        """A held record is about one person: proposed by the first who says so, carried out when another agrees."""
        await self._own(actor, held, HeldKind.HANDOVER, HeldKind.QUERY)
        if not self._two_people:
            return await self._one_person(actor, held)
        kept = orjson.dumps({"act": HeldState.SAME.value, "held": held, "by": _whoever(actor)})

        def record(connection: Connection) -> Written[tuple[str, bool]]:
            for proposal in self._exchange.held.proposed_about(connection, held):
                content = self._exchange.held.content(connection, proposal)
                if content is not None:
                    return Written((proposal, not _is_by(actor, orjson.loads(content))), ())
            identifier, entries = self._exchange.held.propose_same(connection, held, kept, actor.name)
            return Written((identifier, False), entries)

        proposal, is_agreed = (await self._exchange.log.commit(record)).value
        return await self.approve(actor, proposal) if is_agreed else proposal

    async def apart(self, actor: Actor, held: str) -> Done:
        """A held record mixes two people: it is dropped."""
        await self._own(actor, held, HeldKind.HANDOVER, HeldKind.QUERY)
        await self._commit(lambda at: self._registrar(actor).apart(at, held, actor.name, self._exchange.clock()))
        return Done()

    async def propose(self, actor: Actor, act: IdentityAct, first: Identifier, second: Identifier) -> str | Done:
        """Propose an act, to be carried out by another person; where one person will do, it is carried out at once."""
        if not self._two_people:
            return await self._carry_out(actor, act, first, second)
        named = [[identifier.system, identifier.value] for identifier in (first, second)]
        kept = orjson.dumps({"act": act.value, "identifiers": named, "by": _whoever(actor)})
        member = str(actor.subsystem.member)

        def record(connection: Connection) -> Written[str]:
            pairs = ((first.system, first.value), (second.system, second.value))
            identifier, entries = self._exchange.held.propose(connection, member, pairs, kept, actor.name)
            return Written(identifier, entries)

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
        def record(connection: Connection) -> Written[bytes | None]:
            now = self._exchange.clock()
            entries = self._exchange.held.approved(connection, proposal, actor.name, now) if proposal else ()
            kept = self._exchange.held.content(connection, held)
            return Written(kept, entries + self._registrar(actor).same(connection, held, actor.name, now))

        kept = (await self._exchange.log.commit(record)).value
        return Done() if kept is None else Done(plan=await self._handovers.plan(Order.from_json(kept)))

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


def _unknown() -> ProblemError:
    return ProblemError("not-found", detail="nothing of that id waits for a decision about who it is about")
