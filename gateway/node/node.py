"""The composition root: the one place where the parts of a node are made and wired together.

`Node(settings).run()` opens the database, reads the registry, starts the log, binds the listeners and serves until it
is told to stop. It binds before it starts anything, so that a taken port is told at once; it stops in the opposite
order, so that what was acknowledged is written and what was taken is answered.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from adapters.sdk import AdapterError
from audit.log.log import Log, LogError, Written
from audit.questions import tallies
from gateway.desk.console.composition import address_of, console_app
from gateway.evidence.timestamps import Stamping
from gateway.exchange.consents.reports import Reports
from gateway.exchange.context import DeliveryPolicy, Exchange, Limits
from gateway.exchange.handover.deliver import Deliveries
from gateway.exchange.handover.feeds import open_feed
from gateway.exchange.handover.plan import Handovers
from gateway.exchange.transport import PeerTransport
from gateway.exchange.witnessing import Witnessing, WitnessPolicy
from gateway.keys.credentials import KeyPlace
from gateway.keys.errors import TrustError
from gateway.keys.expiry import STEPS
from gateway.node import health, secret_files
from gateway.node import hold as holding
from gateway.node import log as log_web
from gateway.node.faces import Beside, client_admission, client_face, peer_admission, peer_face
from gateway.node.handshakes import RefusedConnections
from gateway.node.refusals import client_listener, peer_listener
from gateway.node.upkeep import TlsFaces, Upkeep
from gateway.node.wiring import (
    NodeError,
    authorities,
    backends_of,
    client_keys,
    console_tls,
    database_error,
    desk_of,
    ed25519_key,
    key_places,
    keys_of,
    log_of,
    registered_clients,
    registers_of,
    signer_of,
    subjects_of,
    utc_now,
    witness_signers,
)
from gateway.person.figures import IdentityWatch
from gateway.person.held import HeldRecords
from gateway.person.people import People
from gateway.registry.read.registry import Registry
from gateway.registry.read.standing import Standings
from gateway.settings import Settings, SettingsError
from gateway.sources.progress import Progress
from gateway.storage import engine as storage
from gateway.storage import schema
from gateway.storage.replay import Replays
from gateway.telemetry import Telemetry, event
from gateway.web.application import application
from gateway.web.authentication import Callers
from gateway.web.listeners import Listener, Patience, bind
from gateway.web.slots import SlotLimits
from gateway.web.tokens import Tokens
from gateway.wire.identifiers import MemberId, SubsystemId
from gateway.wire.problems import ProblemError
from gateway.wire.signing import author

LOGGER = logging.getLogger("yhdyspinta.node")
SWEEP_SECONDS = 300.0


class Node:
    """One node, from its settings."""

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], datetime] = utc_now,
        reread: Callable[[], Settings] | None = None,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        """`reread` reads the settings anew when the process is sent SIGHUP; raises SettingsError. `ready` is called
        once everything is loaded and open.
        """
        self.settings = settings
        self._clock = clock
        self._reread = reread
        self._ready = ready
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Tell the node to end what is under way and stop."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until told to stop. Raises NodeError if the node cannot start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        async with AsyncExitStack() as stack:
            try:
                await self._start(stack)
            except TrustError as error:
                raise NodeError(f"{error.code}: {error}", error.remedy) from None
            except AdapterError as error:
                raise NodeError(str(error)) from None
            except SQLAlchemyError as error:
                raise database_error(self.settings, error) from None
            except OSError as error:
                raise NodeError(f"{error.strerror}: {error.filename or ''}".rstrip(": ")) from None
            await self._stopping.wait()
            event(LOGGER, logging.INFO, "stopping")

    async def _start(self, stack: AsyncExitStack) -> None:
        settings, clock = self.settings, self._clock
        sockets = {
            name: _bound(stack, name, str(address.host), address.port)
            for name, address in (
                ("peers", settings.listen.peers),
                ("clients", settings.listen.clients),
                ("local", settings.listen.local),
                ("console", settings.listen.console),
            )
            if address is not None
        }
        telemetry = Telemetry(
            settings.node.id,
            otlp_endpoint=settings.telemetry.otlp_endpoint,
            sample_ratio=settings.telemetry.sample_ratio,
        )
        stack.callback(telemetry.close)
        engine = storage.create(settings.database.url, pool_size=settings.database.pool_size)
        stack.callback(engine.dispose)
        schema.bring_up_to_date(engine)
        # Before anything is read under a secret, let alone released.
        is_token_key_another = secret_files.prepare(settings, engine, clock())

        members = frozenset(SubsystemId.parse(subsystem).member for subsystem in settings.node.subsystems)
        standings = Standings(settings.registry, min(member.instance for member in members), clock, telemetry)
        await standings.start()
        stack.push_async_callback(standings.stop)

        log = log_of(settings, engine, clock)
        try:
            log.start()
        except LogError as error:
            raise NodeError(
                str(error), "the log must be the one this node wrote: see `yhdyspinta audit check`"
            ) from None
        stack.callback(log.close)
        if is_token_key_another:
            event(LOGGER, logging.WARNING, "token-key-another")
            await log.append((secret_files.noticed(settings.node.id, clock()),))
        hold = holding.Hold(holding.path_of(settings), engine, log)
        hold.look()

        subjects = subjects_of(settings)
        held = HeldRecords(settings.node.id, subjects, clock)
        people = People(engine, subjects, held, settings.node.id)
        stack.callback(people.close)
        refused = RefusedConnections(settings.node.id, clock, telemetry)
        refused.report_to(log)
        places = key_places(stack, settings, standings, members)
        faces = TlsFaces(places, authorities(settings), standings, refused)
        transport = PeerTransport(
            faces.outgoing(),
            timeout_seconds=settings.limits.peer_timeout_seconds,
            body_limit=settings.limits.body_bytes,
        )
        await transport.open()
        stack.push_async_callback(transport.close)
        backends = backends_of(settings)
        for backend in backends.values():
            stack.push_async_callback(backend.close)

        def registry() -> Registry | None:
            return standings.latest.registry if standings.latest is not None else None

        witnessing = Witnessing(
            settings.node.id,
            engine=engine,
            log=log,
            clock=clock,
            registry=registry,
            transport=transport,
            signer=witness_signers(settings, lambda key: (now := registry()) is not None and now.lists_witness(key)),
            policy=WitnessPolicy(
                settings.audit.witness_seconds, settings.audit.cosign_seconds, settings.audit.witnesses
            ),
        )
        asking = asyncio.create_task(
            hold.ask(
                lambda but: witnessing.held_by_others(
                    but,
                    lambda text: log_web.is_ours(log, text, lambda said: _said_by(members, standings, said, clock())),
                ),
                settings.audit.answers_at_start,
            )
        )
        stack.callback(asking.cancel)
        # Nothing has been released yet: no delivery is worked and no listener accepts before the first answers are in.
        await asyncio.wait((asking,), timeout=holding.ASKING_SECONDS)
        exchange = Exchange(
            node=settings.node.id,
            subsystems=tuple(SubsystemId.parse(subsystem) for subsystem in settings.node.subsystems),
            clock=clock,
            standing=hold.gate(standings.now),
            standing_ungated=standings.now,
            signer=lambda: signer_of(places),
            log=log,
            engine=engine,
            subjects=subjects,
            people=people,
            held=held,
            registers=registers_of(settings),
            replays=Replays(),
            witnessing=witnessing,
            transport=transport,
            backends=backends,
            telemetry=telemetry,
            limits=Limits(
                settings.limits.body_bytes,
                settings.limits.message_bytes,
                settings.limits.peer_timeout_seconds,
                settings.adapters.limits(),
            ),
            delivery=DeliveryPolicy(
                settings.delivery.workers,
                settings.delivery.poll_seconds,
                settings.delivery.retry_seconds,
                settings.delivery.retry_limit_seconds,
                settings.delivery.lease_seconds,
                settings.delivery.overdue_hours * 3600,
            ),
        )
        deliveries = Deliveries(exchange)
        deliveries.start()
        stack.push_async_callback(deliveries.stop)
        progress = Progress(engine, log, clock)
        for source in settings.sources:
            feed = open_feed(
                source,
                Handovers(exchange),
                deliveries,
                progress,
                body_limit=settings.limits.body_bytes,
                limits=settings.adapters.limits(),
                trace_id=lambda: telemetry.trace()[0],
            )
            feed.start()
            stack.push_async_callback(feed.stop)
        waiting = IdentityWatch(engine, held, clock, telemetry)
        stack.callback(asyncio.create_task(waiting.run()).cancel)
        sweeping = asyncio.create_task(_sweep(exchange))
        stack.callback(sweeping.cancel)
        if settings.timestamps.url is not None:
            stamping = Stamping(
                settings.timestamps.url,
                settings.timestamps.authorities,
                settings.timestamps.every_seconds,
                log=log,
                clock=clock,
            )
            stack.callback(asyncio.create_task(stamping.run()).cancel)

        tokens = Tokens(
            settings.node.id,
            ed25519_key(settings.secrets.token_key),
            client_keys(settings),
            log=log,
            replays=exchange.replays,
        )
        callers = Callers(
            registered_clients(settings),
            tokens=tokens.client_of,
            clock=clock,
            refused=lambda code, pin: refused.count("clients", code, pin),
        )
        upkeep = Upkeep(
            settings.node.id,
            clock=clock,
            standings=standings,
            places=places,
            faces=faces,
            transport=transport,
            callers=callers,
            refused=refused,
            engine=engine,
            log=log,
            hold=hold,
        )
        await upkeep.start()
        stack.push_async_callback(upkeep.stop)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._renew, upkeep, places, callers, tokens)
        telemetry.watch(
            "yhdyspinta_certificate_remaining",
            "until the certificate of one of the node's keys expires",
            lambda: {name: place.remaining(clock()) for name, place in places.items()},
            label="key",
        )
        telemetry.watch(
            "yhdyspinta_endings",
            "what ends within so many days: certificates of this node and anchors of the registry",
            lambda: {str(step): float(sum(e.within <= step for e in upkeep.endings(clock()))) for step in STEPS},
            label="days",
            unit="1",
        )
        peer_app = peer_face(
            exchange,
            witnessing,
            readers=settings.audit.readers,
            verified=lambda text: _said_by(members, standings, text, clock()),
            heard=hold.hear,
        )
        desk = desk_of(settings, engine, clock, parts=(log, subjects), standing=lambda: standings.latest)
        stack.callback(desk.close)
        client_app = client_face(
            exchange, deliveries, callers, Beside(tokens, desk, two_people=settings.identity.two_people)
        )
        local_app = application(
            "yhdyspinta local",
            health.router(
                lambda: {
                    **self._condition(standings, upkeep, log, witnessing, hold),
                    "identity": waiting.condition(),
                }
            ),
        )
        patience = Patience(settings.limits.head_seconds, settings.limits.body_seconds)
        limits = SlotLimits(settings.limits.in_flight, settings.limits.in_flight_each, settings.limits.strangers)
        for app, bound, tls, admission, refusing in (
            (peer_app, sockets["peers"], faces.peers, peer_admission(exchange), peer_listener(exchange)),
            (client_app, sockets["clients"], faces.clients, client_admission(callers), client_listener()),
            (local_app, sockets["local"], None, None, None),
        ):
            listener = Listener(
                app, bound, tls=tls, limits=limits, patience=patience, admission=admission, refused=refusing
            )
            await self._serve(stack, listener)
        if settings.listen.console is not None:
            address = address_of(settings.console, settings.listen.console.host, settings.listen.console.port)
            listener = Listener(
                console_app(settings, address, desk),
                sockets["console"],
                tls=console_tls(settings),
                limits=SlotLimits(settings.limits.in_flight),
                patience=patience,
            )
            await self._serve(stack, listener)
        witnessing.start()
        stack.push_async_callback(witnessing.stop)
        self._ready()
        event(LOGGER, logging.INFO, "ready", node=settings.node.id)

    async def _serve(self, stack: AsyncExitStack, listener: Listener) -> None:
        serving = asyncio.create_task(listener.run_until_stopped())
        serving.add_done_callback(lambda _task: self.stop())

        async def end() -> None:
            listener.should_exit = True
            await serving

        stack.push_async_callback(end)
        await listener.opened()

    def _renew(self, upkeep: Upkeep, places: Mapping[str, KeyPlace], callers: Callers, tokens: Tokens) -> None:
        """SIGHUP: read the settings of keys and clients anew, and look at everything at once."""
        try:
            settings = self._reread() if self._reread is not None else self.settings
            tokens.register(client_keys(settings))
            callers.register(registered_clients(settings))
            upkeep.renew_authorities(settings.tls.client_authorities)
            for name, key in keys_of(settings).items():
                places[name].use(key)
        except (SettingsError, NodeError, TrustError, OSError) as error:
            # The node goes on with what it has.
            event(LOGGER, logging.ERROR, "settings-not-renewed", reason=type(error).__name__)
        else:
            event(LOGGER, logging.INFO, "settings-renewed")
        upkeep.hurry()

    def _condition(
        self, standings: Standings, upkeep: Upkeep, log: Log, witnessing: Witnessing, hold: holding.Hold
    ) -> dict[str, Any]:
        now = self._clock()
        registry = standings.condition(now)
        checkpoint = log.latest()
        return {
            "node": self.settings.node.id,
            "ready": registry["in_force"] and upkeep.in_force(now) and not hold.is_held and not self._stopping.is_set(),
            "registry": registry,
            "keys": upkeep.condition(now),
            "endings": [ending.to_json() for ending in upkeep.endings(now)],
            "log": {"origin": checkpoint.origin, "size": checkpoint.size, "waiting": log.waiting},
            "witness": witnessing.condition(),
            "hold": hold.condition(),
        }


def _bound(stack: AsyncExitStack, name: str, host: str, port: int) -> Any:
    try:
        bound = bind(host, port)
    except OSError as error:
        raise NodeError(
            f"listen.{name}: {host}:{port} cannot be bound ({error.strerror})",
            "choose another port, or end what uses it",
        ) from None
    stack.callback(bound.close)
    return bound


def _said_by(members: frozenset[MemberId], standings: Standings, message: str, now: datetime) -> bool:
    """Whether a signed message is one of ours."""
    latest = standings.latest
    try:
        return latest is not None and author(message, keys=latest.registry.signing_key, now=now) in members
    except ProblemError:
        return False


def _keep(day: tallies.Counted, connection: Connection) -> Written[bool]:
    return Written(tallies.keep(connection, day), ())


async def _sweep(exchange: Exchange) -> None:
    """Let go of message ids that nobody could replay any more, and of reports whose time is over; count past days."""
    reports = Reports(exchange)

    def forget(connection: Connection) -> Written[int]:
        return Written(exchange.replays.sweep(connection, exchange.clock()), ())

    def counted() -> tallies.Counted | None:
        with exchange.engine.connect() as connection:
            return tallies.next_day(connection, exchange.clock())

    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        try:
            await exchange.log.commit(forget)
            await reports.lapse()
            while (day := await asyncio.to_thread(counted)) is not None:
                await exchange.log.commit(partial(_keep, day))
        except LogError as error:
            event(LOGGER, logging.WARNING, "sweep-failed", reason=type(error).__name__)
