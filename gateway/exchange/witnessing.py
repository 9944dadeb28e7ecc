"""Every node is a witness of its peers' logs: it keeps what they state in messages, and asks them to stand by it.

`take` holds the checkpoint of a received message, in the transaction that records the message. On a schedule `run`
asks each log that is held for a proof that all of it belongs to one growing log, and brings this node's own checkpoint
to the witnesses that the registry lists, whose cosignatures it keeps. What contradicts itself becomes an `anomaly`
entry here and, by a notice that carries both statements, at the node whose log it is; both show it in their health.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from audit.log.entries import Entry
from audit.log.log import Log, LogError
from audit.log.waiting import Written
from audit.tree import cosignatures, witness
from audit.tree.checkpoint import Checkpoint, NoteError, VerifierKey, WitnessSigner, split_note
from gateway.exchange.transport import PeerTransport
from gateway.exchange.witnesses import Proven, growth, logs_of, read_answer, witnesses_of
from gateway.registry.read.entries import Node
from gateway.registry.read.registry import Registry
from gateway.storage.engine import read
from gateway.story import Story
from gateway.telemetry import event
from gateway.wire.identifiers import MemberId
from gateway.wire.message import Checkpoint as Claim
from gateway.wire.problems import ProblemError

LOGGER = logging.getLogger("yhdyspinta.witness")
ROUNDS = 64
"""How many questions one log is asked in a row before its turn is over."""
MOST_ASKED = 16
"""How many other nodes are asked at once for what they hold of this log."""
STANDING_STILL = timedelta(days=1)
"""A log that has not grown is brought to its witnesses only so often."""
ANSWER_TYPE = "application/json"
Detail = Mapping[str, str | int | bool]


@dataclass(frozen=True, slots=True)
class WitnessPolicy:
    """How often peers are asked and witnesses are called (seconds), and how many witnesses this log wants."""

    ask_seconds: float = 60.0
    bring_seconds: float = 3600.0
    most: int = 5


@dataclass(frozen=True, slots=True)
class OwnLog:
    """A node's own log, with the database that holds it and the clock by which it is written."""

    node: str
    engine: Engine
    log: Log
    clock: Callable[[], datetime]


class Witnessing:
    """The node as a witness, and its own log before other witnesses."""

    def __init__(
        self,
        own: OwnLog,
        *,
        registry: Callable[[], Registry | None],
        transport: PeerTransport,
        signer: Callable[[], WitnessSigner],
        policy: WitnessPolicy,
    ) -> None:
        self._node = own.node
        self._engine = own.engine
        self._log = own.log
        self._clock = own.clock
        self._registry = registry
        self._transport = transport
        self._signer = signer
        self._policy = policy
        self._strangers: set[tuple[str, str]] = set()  # members and the origins they claimed without listing them
        self._brought: dict[str, int] = {}  # witness → size it last took in
        self._cosigned: dict[str, tuple[object, datetime]] = {}  # witness → what it cosigned with which keys, and when
        self._proven: dict[str, Proven] = {}  # node → what it was shown of our log, since this process began
        self._silent: dict[str, int] = {}  # node → turns in a row without an answer
        self._bring_at: datetime | None = None
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._seen: dict[str, Any] = {"watched": [], "alarms": [], "cosigned": []}

    # -- what messages state --------------------------------------------------------------------------------------

    def take(self, connection: Connection, claim: Claim, message: str, member: MemberId) -> tuple[Entry, ...]:
        """Hold the checkpoint that a verified message of this member states. Gives entries to record with it."""
        now = self._clock()
        registry = self._registry()
        if registry is None or claim.origin == self._log.origin:
            return ()
        listed = {node.log_origin for node in registry.nodes_of(member)} - {None}
        if claim.origin not in listed:
            return self._stranger(claim, member, now) if listed else ()
        stated = Checkpoint(claim.origin, claim.size, claim.root, message)
        held = witness.hold_claim(connection, stated, str(member), now)
        if held.alarm is None or not held.alarm.new:
            return ()
        self._hurry.set()
        return (self._anomaly(held.alarm, now),)

    def _stranger(self, claim: Claim, member: MemberId, now: datetime) -> tuple[Entry, ...]:
        key = (str(member), claim.origin)
        if key in self._strangers or len(self._strangers) > 1_000:
            return ()
        self._strangers.add(key)
        detail: Detail = {"member": str(member), "size": claim.size}
        return (self._entry("log-unlisted", now, detail),)

    def _anomaly(self, alarm: witness.Alarm, now: datetime) -> Entry:
        first, second = alarm.sizes
        event(LOGGER, logging.ERROR, "log-contradicts-itself", kind=alarm.kind, origin=alarm.origin)
        detail: Detail = {"alarm": alarm.id, "origin": alarm.origin, "first_size": first, "second_size": second}
        return self._entry(f"log-{alarm.kind}", now, detail)

    def _entry(self, reason: str, now: datetime, detail: Detail) -> Entry:
        return Story(node=self._node).entry("anomaly", "failed", now, reason=reason, detail=detail)

    # -- on a schedule ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin the schedule on the running loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End the schedule."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self.turn()
            except (LogError, SQLAlchemyError, ProblemError, NoteError) as error:
                event(LOGGER, logging.WARNING, "witness-turn-failed", reason=type(error).__name__)
            self._hurry.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._policy.ask_seconds):
                    await self._hurry.wait()

    async def turn(self) -> None:
        """Ask every log that is held, bring our own checkpoint if it is time, and tell those who contradict
        themselves."""
        registry = self._registry()
        now = self._clock()
        if registry is None or registry.expired(now):
            return
        await self._ask_all(registry)
        if self._bring_at is None or now >= self._bring_at:
            await self._bring_all(registry)
            self._bring_at = now + timedelta(seconds=self._policy.bring_seconds)
        self._seen = await asyncio.to_thread(self._look)

    async def _ask_all(self, registry: Registry) -> None:
        keys = logs_of(registry, self._node)
        for request in await asyncio.to_thread(self._pending):
            known = keys.get(request.origin)
            if known is None or not known[0].address.startswith("https:"):
                continue
            node, key = known
            try:
                await self._ask(node, key, request)
                self._silent.pop(node.id, None)
            except (ProblemError, witness.WitnessError) as error:
                self._silent[node.id] = self._silent.get(node.id, 0) + 1
                event(LOGGER, logging.WARNING, "log-not-proven", node=node.id, reason=type(error).__name__)

    def _pending(self) -> tuple[witness.ConsistencyRequest, ...]:
        with self._engine.connect() as connection:
            return witness.pending(connection)

    async def _ask(self, node: Node, key: VerifierKey, request: witness.ConsistencyRequest) -> None:
        for _ in range(ROUNDS):
            answer = await self._answer(node, request)
            now = self._clock()

            def settle(
                connection: Connection,
                request: witness.ConsistencyRequest = request,
                answer: witness.ConsistencyAnswer = answer,
                now: datetime = now,
            ) -> Written[witness.Verdict]:
                arrival = witness.Arrival(node.id, now, {key.name: key})
                verdict = witness.settle(connection, request, answer, arrival)
                told = verdict.alarm is not None and verdict.alarm.new
                entries = (self._anomaly(verdict.alarm, now),) if verdict.alarm is not None and told else ()
                return Written(verdict, entries)

            verdict = (await self._log.commit(settle)).value
            if verdict.alarm is not None and verdict.alarm.new:
                await self._tell(node, verdict.alarm)
            if len(request.sizes) < witness.MAX_SIZES:
                return
            pending = await asyncio.to_thread(self._pending)
            left = [further for further in pending if further.origin == request.origin]
            if not left:
                return
            request = left[0]

    async def _answer(self, node: Node, request: witness.ConsistencyRequest) -> witness.ConsistencyAnswer:
        sizes = ",".join(str(size) for size in request.sizes)
        reply = await self._transport.call(node, "GET", f"/peer/v1/log/consistency?sizes={sizes}")
        if reply.status != 200:
            raise witness.WitnessError(f"the log answered {reply.status}")
        return read_answer(reply.body)

    async def _tell(self, node: Node, alarm: witness.Alarm) -> None:
        """Both sides' officers are told: here by the entry, there by this notice."""
        document = {"kind": alarm.kind, "first": alarm.first, "second": alarm.second}
        try:
            await self._transport.call(node, "POST", "/peer/v1/alarms", orjson.dumps(document), ANSWER_TYPE)
        except ProblemError as error:
            event(LOGGER, logging.WARNING, "alarm-not-told", node=node.id, reason=error.code)

    # -- our own log before witnesses ---------------------------------------------------------------------------------

    def _witnesses(self, registry: Registry) -> list[tuple[Node, list[VerifierKey]]]:
        return witnesses_of(registry, self._node, self._log.origin)[: self._policy.most]

    async def _bring_all(self, registry: Registry) -> None:
        for node, keys in self._witnesses(registry):
            try:
                await self._bring(node, keys)
                self._silent.pop(node.id, None)
            except (ProblemError, witness.WitnessError) as error:
                self._silent[node.id] = self._silent.get(node.id, 0) + 1
                event(LOGGER, logging.WARNING, "not-cosigned", node=node.id, reason=type(error).__name__)

    async def _bring(self, node: Node, keys: list[VerifierKey]) -> None:
        for _ in range(2):
            checkpoint, body = await asyncio.to_thread(growth, self._engine, self._brought.get(node.id, 0))
            brought, now = (checkpoint.size, checkpoint.root, [str(key) for key in keys]), self._clock()
            before, at = self._cosigned.get(node.id, (None, now))
            if brought == before and now - at < STANDING_STILL:
                return
            reply = await self._transport.call(node, "POST", "/peer/v1/checkpoints", body, "text/plain; charset=utf-8")
            if reply.status == 409:
                size = int(reply.body) if reply.body.strip().isdigit() else -1
                if size > checkpoint.size:
                    await self._witness_holds_more(node, size, checkpoint.size)
                    raise witness.WitnessError("the witness holds a longer log than this")
                self._brought[node.id] = max(0, size)
                continue
            if reply.status != 200:
                raise witness.WitnessError(f"the witness answered {reply.status}")
            await self._keep(checkpoint, reply.body, keys)
            self._brought[node.id] = checkpoint.size
            self._cosigned[node.id] = brought, now
            return
        raise witness.WitnessError("the witness does not say where it left off")

    async def _witness_holds_more(self, node: Node, size: int, ours: int) -> None:
        now = self._clock()
        key = (node.id, str(size))
        if key not in self._strangers:
            self._strangers.add(key)
            detail: Detail = {"witness": node.id, "first_size": size, "second_size": ours}
            await self._log.append((self._entry("log-rollback", now, detail),))

    async def _keep(self, checkpoint: Checkpoint, lines: bytes, keys: list[VerifierKey]) -> None:
        try:
            _, signatures = split_note(checkpoint.note + lines.decode())
        except UnicodeDecodeError as error:
            raise witness.WitnessError("the cosignature is not text") from error

        def keep(connection: Connection) -> Written[int]:
            kept = cosignatures.keep_cosignatures(
                connection,
                checkpoint.note,
                [signature for signature in signatures if signature.name == keys[0].name],
                log_key=self._log.verifier,
                witnesses=keys,
            )
            return Written(len(kept), ())

        if not (await self._log.commit(keep)).value:
            raise witness.WitnessError("the witness gave no cosignature by its listed key")

    # -- when peers call ----------------------------------------------------------------------------------------------

    async def cosign(self, old: int, proof: tuple[bytes, ...], note: str, node: Node) -> str:
        """Take in a peer's checkpoint and cosign it: the signature line. Raises WitnessError and its kinds."""
        now = self._clock()
        if node.log_origin is None or node.log_key is None:
            raise witness.WitnessError("the registry lists no log of this node")
        keys = {node.log_origin: VerifierKey.parse(node.log_key)}

        def unit(connection: Connection) -> Written[str | witness.UnprovenError]:
            try:
                witness.add_checkpoint(connection, old, proof, note, witness.Arrival(node.id, now, keys))
            except witness.UnprovenError as error:
                # The alarm is to stand, so this is a result and no failure.
                return Written(error, (self._anomaly(error.alarm, now),) if error.new else ())
            return Written(cosignatures.cosign(connection, note, self._signer(), now, keys=keys).line, ())

        result = (await self._log.commit(unit)).value
        if isinstance(result, witness.UnprovenError):
            if result.new:
                await self._tell(node, result.alarm)
            raise result
        return result

    async def answer(self, sizes: tuple[int, ...], node: Node) -> witness.ConsistencyAnswer:
        """Proofs for a peer that our log today continues our log at these sizes."""
        asked = witness.ConsistencyRequest(self._log.origin, sizes)
        answer = await read(self._engine, lambda connection: witness.answer(connection, asked))
        shown = [size for size, proof in answer.proofs if proof is not None]
        if shown:
            self._proven[node.id] = Proven(node.id, max(shown), self._clock())
        return answer

    def proven_to(self) -> tuple[Proven, ...]:
        """The nodes that were shown that our log only grew, the latest first; as far as this process knows."""
        return tuple(sorted(self._proven.values(), key=lambda proven: proven.at, reverse=True))

    async def held_of(self, node: Node) -> str | None:
        """The newest statement, a note or a message, that this node holds of a peer's log."""
        origin = node.log_origin

        def look(connection: Connection) -> str | None:
            found = witness.newest(connection, origin) if origin is not None else None
            return found.note if found is not None else None

        return await read(self._engine, look)

    async def held_by_others(
        self, but: Collection[str], is_ours: Callable[[str], bool]
    ) -> Mapping[str, Checkpoint | None]:
        """The newest that some other nodes hold of this log, in our own words (`is_ours`); only those that answer."""
        registry = self._registry()
        if registry is None:
            return {}
        # The witnesses first: they are brought checkpoints even when nobody exchanges anything.
        witnesses = [node for node, _ in self._witnesses(registry)]
        nodes = {node.id: node for node in (*witnesses, *registry.content.nodes)}
        asked = [
            node
            for node in nodes.values()
            if node.id != self._node and node.id not in but and node.address.startswith("https:")
        ]

        async def ask(node: Node) -> tuple[str, Checkpoint | None] | None:
            try:
                reply = await self._transport.call(node, "GET", "/peer/v1/log/held")
                text = reply.body.decode()
                if reply.status == 204:
                    return node.id, None
                if reply.status != 200 or not await asyncio.to_thread(is_ours, text):
                    return None
                stated = witness.read_statement(text)
            except (ProblemError, NoteError, UnicodeDecodeError):
                return None
            return (node.id, stated) if stated.origin == self._log.origin else None

        answers = await asyncio.gather(*(ask(node) for node in asked[:MOST_ASKED]))
        return dict(answer for answer in answers if answer is not None)

    async def accused(self, accusation: witness.Accusation, by: Node) -> bool:
        """A peer shows two statements of our log that contradict each other. Gives whether our tree bears that out.

        The caller has verified that both are ours.
        """
        now = self._clock()

        def unit(connection: Connection) -> Written[bool]:
            alarm = witness.accused(connection, accusation, now, origin=self._log.origin)
            if alarm is None:
                return Written(False, ())
            told = replace(self._anomaly(alarm, now)) if alarm.new else None
            if told is not None:
                told = replace(told, detail={**told.detail, "told_by": by.id})
            return Written(True, () if told is None else (told,))

        borne_out = (await self._log.commit(unit)).value
        self._seen = await asyncio.to_thread(self._look)
        return borne_out

    # -- health -------------------------------------------------------------------------------------------------------

    def _look(self) -> dict[str, Any]:
        with self._engine.connect() as connection:
            watched, alarms = witness.watched(connection), witness.all_alarms(connection)
            cosigned = cosignatures.latest_cosignatures(connection)
        return {
            "watched": [
                {"origin": log.checkpoint.origin, "size": log.checkpoint.size, "proven": log.proven} for log in watched
            ],
            "alarms": [{"origin": alarm.origin, "kind": alarm.kind, "sizes": alarm.sizes} for alarm in alarms],
            "cosigned": [{"witness": name, "size": size} for name, size in cosigned],
        }

    def condition(self) -> dict[str, Any]:
        """What is watched and how it stands, as of the last turn; `sound` is whether no log contradicted itself.

        `listed` is whether the registry lists the key with which this node cosigns: if not, nobody asks it to.
        """
        registry = self._registry()
        listed = registry is not None and registry.lists_witness(str(self._signer().verifier))
        proven = [{"node": item.node, "size": item.size, "at": item.at.isoformat()} for item in self.proven_to()]
        return {
            **self._seen,
            "proven_to": proven,
            "silent": sorted(self._silent),
            "sound": not self._seen["alarms"],
            "listed": listed,
        }
