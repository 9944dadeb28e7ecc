"""Put the parts of a node together, without a socket: for a node that serves, and for tests and commands that do not.

`assemble` opens the database, reads the registry, starts the log and wires what an exchange passes through. Nothing
listens and nothing works in the background; `gateway.node.node` adds that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from audit.log.log import Log, LogError
from gateway.exchange.context import DeliveryPolicy, Exchange, Limits
from gateway.exchange.rates import RateLimits, Rates
from gateway.exchange.transport import PeerTransport
from gateway.exchange.witnessing import OwnLog, Witnessing, WitnessPolicy
from gateway.keys.credentials import KeyPlace
from gateway.node import secret_files
from gateway.node.adapter_watch import AdapterWatch
from gateway.node.handshakes import RefusedConnections
from gateway.node.hold import Hold, path_of
from gateway.node.secret_watch import SecretWatch
from gateway.node.tls import TlsFaces
from gateway.node.wiring import (
    NodeError,
    authorities,
    backends_of,
    key_places,
    log_of,
    registers_of,
    signers_of,
    subjects_of,
    subsystems_of,
    utc_now,
    witness_signers,
)
from gateway.person.held import HeldRecords
from gateway.person.people import People
from gateway.reading.readers import IN_PROCESS, Adapters, Reading
from gateway.registry.read.registry import Registry
from gateway.registry.read.standing import Standing, Standings
from gateway.settings import Settings
from gateway.storage import engine as storage
from gateway.storage import schema
from gateway.storage.replay import Replays
from gateway.telemetry import Telemetry, event
from gateway.wire.identifiers import MemberId
from gateway.wire.problems import ProblemError
from gateway.wire.signing import Verifier, author

LOGGER = logging.getLogger("yhdyspinta.node")


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one node, open and wired. Closed by the stack that they were assembled on."""

    settings: Settings
    exchange: Exchange
    standings: Standings
    places: Mapping[str, KeyPlace]
    faces: TlsFaces
    refused: RefusedConnections
    hold: Hold
    secrets: SecretWatch
    reading: Reading | None
    versions: AdapterWatch | None

    def adapters(self, work: str, size: int = 2) -> Adapters:
        """Adapters for some work, with so many processes of their own."""
        return _adapters(self.reading, work, size)

    @property
    def members(self) -> frozenset[MemberId]:
        """The members that the node speaks for."""
        return frozenset(subsystem.member for subsystem in self.exchange.subsystems)

    def latest(self) -> Standing | None:
        """The registry and rulebook that the node has, in force or expired."""
        return self.standings.latest

    def said_by_us(self, message: str) -> bool:
        """Whether a signed message is one of this node's members."""
        latest = self.standings.latest
        try:
            return (
                latest is not None
                and author(message, Verifier(latest.registry.signing_key, self.exchange.clock())) in self.members
            )
        except ProblemError:
            return False


async def assemble(
    settings: Settings, stack: AsyncExitStack, clock: Callable[[], datetime] = utc_now, reading: Reading | None = None
) -> Parts:
    """The parts that these settings name; adapters run in the processes of `reading`, else in this one.

    Raises NodeError, TrustError, AdapterError, SQLAlchemyError or OSError.
    """
    telemetry = _telemetry(settings, stack)
    engine, is_token_key_another = _database(settings, stack, clock)
    members = frozenset(subsystem.member for subsystem in subsystems_of(settings))
    standings = Standings(settings.registry, min(member.instance for member in members), clock, telemetry)
    await standings.start()
    stack.push_async_callback(standings.stop)
    log = _log(settings, stack, engine, clock)
    if is_token_key_another:
        event(LOGGER, logging.WARNING, "token-key-another")
        await log.append((secret_files.noticed(settings.node.id, clock()),))
    hold = Hold(path_of(settings), engine, log)
    hold.look()
    subjects = subjects_of(settings)
    secrets = SecretWatch(settings, engine, subjects.keys, clock, log=log)
    hold.lack(secrets.look())
    refused = RefusedConnections(settings.node.id, clock, telemetry)
    refused.report_to(log)
    places = key_places(stack, settings, standings)
    faces = TlsFaces(places, authorities(settings), standings, refused)
    versions = await _versions(settings, stack, engine, reading)
    transport = await _transport(settings, stack, faces)
    backends = backends_of(settings, _adapters(reading, "questions"))
    for backend in backends.values():
        stack.push_async_callback(backend.close)
    held = HeldRecords(settings.node.id, subjects, clock)
    people = People(engine, subjects, held, settings.node.id)
    stack.callback(people.close)
    exchange = Exchange(
        node=settings.node.id,
        subsystems=subsystems_of(settings),
        clock=clock,
        adapters=_adapters(reading, "clients"),
        standing=hold.gate(standings.now),
        standing_ungated=standings.now,
        is_held=lambda: hold.is_held,
        signer=signers_of(settings, places),
        log=log,
        engine=engine,
        subjects=subjects,
        people=people,
        held=held,
        registers=registers_of(settings),
        replays=Replays(),
        witnessing=_witnessing(settings, standings, transport, OwnLog(settings.node.id, engine, log, clock)),
        transport=transport,
        backends=backends,
        telemetry=telemetry,
        limits=_limits(settings),
        rates=Rates(RateLimits(**settings.rates.model_dump())),
        delivery=_delivery(settings),
    )
    return Parts(settings, exchange, standings, places, faces, refused, hold, secrets, reading, versions)


async def _versions(
    settings: Settings, stack: AsyncExitStack, engine: Engine, reading: Reading | None
) -> AdapterWatch | None:
    """The versions of adapters that are in use, at work before anything is read."""
    if reading is None:
        return None
    versions = AdapterWatch(engine, reading, settings.adapters.limits())
    stack.callback(versions.close)
    await asyncio.to_thread(versions.look)
    reading.former = versions.former
    return versions


def _telemetry(settings: Settings, stack: AsyncExitStack) -> Telemetry:
    told = settings.telemetry
    telemetry = Telemetry(settings.node.id, otlp_endpoint=told.otlp_endpoint, sample_ratio=told.sample_ratio)
    stack.callback(telemetry.close)
    return telemetry


async def _transport(settings: Settings, stack: AsyncExitStack, faces: TlsFaces) -> PeerTransport:
    limits = settings.limits
    transport = PeerTransport(
        faces.outgoing(), timeout_seconds=limits.peer_timeout_seconds, body_limit=limits.body_bytes
    )
    await transport.open()
    stack.push_async_callback(transport.close)
    return transport


def _adapters(reading: Reading | None, work: str, size: int = 2) -> Adapters:
    return IN_PROCESS if reading is None else reading.adapters(work, size)


def _database(settings: Settings, stack: AsyncExitStack, clock: Callable[[], datetime]) -> tuple[Engine, bool]:
    """The database, and whether the token key is another than before."""
    wanted = settings.database
    engine = storage.create(wanted.url, pool_size=wanted.pool_size, cache_mb=wanted.cache_mb)
    stack.callback(engine.dispose)
    schema.bring_up_to_date(engine)
    # Before anything is read under a secret, let alone released.
    return engine, secret_files.prepare(settings, engine, clock())


def _log(settings: Settings, stack: AsyncExitStack, engine: Engine, clock: Callable[[], datetime]) -> Log:
    log = log_of(settings, engine, clock, told=_tell_writable)
    try:
        log.start()
    except LogError as error:
        raise NodeError(str(error), "the log must be the one this node wrote: see `yhdyspinta audit check`") from None
    stack.callback(log.close)
    return log


def _tell_writable(failure: str | None) -> None:
    if failure is None:
        event(LOGGER, logging.INFO, "log-written-again")
    else:
        event(LOGGER, logging.ERROR, "log-not-written", reason=failure)


def _witnessing(settings: Settings, standings: Standings, transport: PeerTransport, own: OwnLog) -> Witnessing:
    def registry() -> Registry | None:
        return standings.latest.registry if standings.latest is not None else None

    return Witnessing(
        own,
        registry=registry,
        transport=transport,
        signer=witness_signers(settings, lambda key: (now := registry()) is not None and now.lists_witness(key)),
        policy=WitnessPolicy(settings.audit.witness_seconds, settings.audit.cosign_seconds, settings.audit.witnesses),
    )


def _limits(settings: Settings) -> Limits:
    limits = settings.limits
    return Limits(limits.body_bytes, limits.message_bytes, limits.peer_timeout_seconds, settings.adapters.limits())


def _delivery(settings: Settings) -> DeliveryPolicy:
    delivery = settings.delivery
    return DeliveryPolicy(
        delivery.workers,
        delivery.poll_seconds,
        delivery.retry_seconds,
        delivery.retry_limit_seconds,
        delivery.lease_seconds,
        delivery.overdue_hours * 3600,
        delivery.recipient_workers,
        delivery.recipient_failures,
        delivery.attempt_seconds,
    )
