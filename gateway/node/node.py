"""A node that serves: its parts (`gateway.node.parts`) behind the sockets of its faces.

`Node(settings).run()` opens the database, reads the registry, starts the log, binds the listeners and serves until it
is told to stop. It binds before it starts anything, so that a taken port is told at once; it stops in the opposite
order, so that what was acknowledged is written and what was taken is answered.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError
from starlette.types import ASGIApp

from adapters.sdk import AdapterError
from audit.log.failure import said
from gateway.desk.desk import Desk
from gateway.keys.credentials import KeyPlace
from gateway.keys.errors import TrustError
from gateway.keys.expiry import STEPS, Ending
from gateway.node import health
from gateway.node import hold as holding
from gateway.node import log as log_web
from gateway.node.faces import Beside, PeerAdmission, client_admission, client_face, peer_face
from gateway.node.parts import Parts, assemble
from gateway.node.readiness import Seen, probe, reach, readiness
from gateway.node.refusals import client_listener, peer_listener
from gateway.node.secret_files import refuse_exposed
from gateway.node.upkeep import Upkeep
from gateway.node.wiring import (
    DeskParts,
    NodeError,
    client_keys,
    console_tls,
    database_error,
    desk_of,
    ed25519_key,
    keys_of,
    registered_clients,
    utc_now,
)
from gateway.node.working import Work, socket_of, start_listening, start_work
from gateway.reading.readers import Reading
from gateway.settings import Settings
from gateway.settings.problems import SettingsError
from gateway.settings.sources import MllpSource
from gateway.settings.values import Address
from gateway.telemetry import event
from gateway.web.application import application
from gateway.web.authentication import Callers
from gateway.web.listeners import Listener, Patience, bind
from gateway.web.slots import SlotLimits
from gateway.web.tokens import Tokens
from gateway.wire.problems import ProblemError

if TYPE_CHECKING:
    from gateway.console.office import Condition

LOGGER = logging.getLogger("yhdyspinta.node")
FACES = ("peers", "clients", "local", "console")


@dataclass(frozen=True, slots=True)
class _Doors:
    """Who may come in at the faces towards clients and peers, and the upkeep that shuts out whom it must."""

    callers: Callers
    tokens: Tokens
    upkeep: Upkeep
    peers: PeerAdmission


@dataclass(frozen=True, slots=True)
class _Running:
    """All of a node that its faces ask."""

    parts: Parts
    work: Work
    doors: _Doors
    desk: Desk


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
                raise NodeError(f"{error.code}: {error.detail}", error.remedy) from None
            except AdapterError as error:
                raise NodeError(str(error)) from None
            except SQLAlchemyError as error:
                raise database_error(self.settings, error) from None
            except OSError as error:
                raise NodeError(said(error)) from None
            await self._stopping.wait()
            event(LOGGER, logging.INFO, "stopping")

    async def _start(self, stack: AsyncExitStack) -> None:
        refuse_exposed(self.settings)
        # Bound before anything is opened, so that a taken port is told at once.
        sockets = _bound_sockets(stack, self.settings)
        # Before any secret is opened, so that those who read foreign bytes never had one near them.
        reading = await _start_reading(stack, self.settings)
        parts = await assemble(self.settings, stack, self._clock, reading)
        await _ask_others(stack, parts)
        work = start_work(parts, stack)
        stack.callback(asyncio.create_task(probe(parts.exchange.log, parts.exchange.node, self._clock)).cancel)
        doors = await self._open_doors(stack, parts)
        exchange = parts.exchange
        known = DeskParts(
            exchange.log,
            exchange.subjects,
            exchange.signer,
            exchange.witnessing.proven_to,
            reading.editions.installed,
            parts.versions.condition if parts.versions is not None else tuple,
        )
        desk = desk_of(self.settings, exchange.engine, self._clock, parts=known, standing=parts.latest)
        stack.callback(desk.close)
        await self._serve_faces(stack, sockets, _Running(parts, work, doors, desk))
        await start_listening(parts, stack, work, doors.callers, sockets)
        parts.exchange.witnessing.start()
        stack.push_async_callback(parts.exchange.witnessing.stop)
        self._ready()
        event(LOGGER, logging.INFO, "ready", node=self.settings.node.id)

    async def _open_doors(self, stack: AsyncExitStack, parts: Parts) -> _Doors:
        """Who may come in, and the upkeep that shuts out whom it must before anybody does."""
        settings, exchange = self.settings, parts.exchange
        tokens = Tokens(
            settings.node.id,
            ed25519_key(settings.secrets.token_key),
            client_keys(settings),
            log=exchange.log,
            replays=exchange.replays,
        )
        parts.secrets.tokens = tokens
        callers = Callers(
            registered_clients(settings),
            tokens=tokens.client_of,
            clock=self._clock,
            refused=lambda code, pin: parts.refused.count("clients", code, pin),
        )
        doors = _Doors(callers, tokens, Upkeep(parts, callers), PeerAdmission(exchange))
        await doors.upkeep.start()
        stack.push_async_callback(doors.upkeep.stop)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._renew, doors, parts.places)
        exchange.telemetry.watch(
            "yhdyspinta_certificate_remaining",
            "until the certificate of one of the node's keys expires",
            lambda: {name: place.remaining(self._clock()) for name, place in parts.places.items()},
            label="key",
        )
        exchange.telemetry.watch(
            "yhdyspinta_endings",
            "what ends within so many days: certificates of this node and anchors of the registry",
            lambda: _counted(doors.upkeep.endings(self._clock())),
            label="days",
            unit="1",
        )
        return doors

    async def _serve_faces(self, stack: AsyncExitStack, sockets: Mapping[str, Any], running: _Running) -> None:
        settings, parts, doors = self.settings, running.parts, running.doors
        patience = Patience(settings.limits.head_seconds, settings.limits.body_seconds)
        beside = Beside(doors.tokens, running.desk, two_people=settings.identity.two_people)
        client_app = client_face(parts.exchange, running.work.deliveries, doors.callers, beside)
        peer_app = peer_face(
            parts.exchange,
            parts.exchange.witnessing,
            readers=settings.audit.readers,
            verified=parts.said_by_us,
            heard=parts.hold.hear,
        )
        local_app = application("yhdyspinta local", health.router(lambda: self._condition(running)))
        limits = SlotLimits(settings.limits.in_flight, settings.limits.in_flight_each, settings.limits.strangers)
        peer_in, client_in = doors.peers, client_admission(doors.callers)
        for app, bound, tls, admission, refusing in (
            (peer_app, sockets["peers"], parts.faces.peers, peer_in, peer_listener(parts.exchange)),
            (client_app, sockets["clients"], parts.faces.clients, client_in, client_listener()),
            (local_app, sockets["local"], None, None, None),
        ):
            await self._serve(
                stack,
                Listener(app, bound, tls=tls, limits=limits, patience=patience, admission=admission, refused=refusing),
            )
        if settings.listen.console is not None:
            listener = Listener(
                _console(settings.listen.console, parts, running.desk, lambda: self._shown(running)),
                sockets["console"],
                tls=console_tls(settings),
                limits=SlotLimits(settings.limits.in_flight),
                patience=patience,
            )
            await self._serve(stack, listener)

    async def _serve(self, stack: AsyncExitStack, listener: Listener) -> None:
        serving = asyncio.create_task(listener.run_until_stopped())
        serving.add_done_callback(lambda _task: self.stop())

        async def end() -> None:
            listener.should_exit = True
            await serving

        stack.push_async_callback(end)
        await listener.opened()

    def _renew(self, doors: _Doors, places: Mapping[str, KeyPlace]) -> None:
        """SIGHUP: read the settings of keys and clients anew, and look at everything at once."""
        try:
            settings = self._reread() if self._reread is not None else self.settings
            doors.tokens.register(client_keys(settings))
            doors.callers.register(registered_clients(settings))
            doors.upkeep.renew_authorities(settings.tls.client_authorities)
            for name, key in keys_of(settings).items():
                places[name].use(key)
        except (SettingsError, NodeError, TrustError, OSError) as error:
            # The node goes on with what it has.
            event(LOGGER, logging.ERROR, "settings-not-renewed", reason=type(error).__name__)
        else:
            event(LOGGER, logging.INFO, "settings-renewed")
        doors.upkeep.hurry()

    def _shown(self, running: _Running) -> Condition:
        """What the console shows of the node, to whoever may see its first page."""
        # Loaded where the settings ask for a console.
        from gateway.console.office import Condition

        hold = running.parts.hold
        return Condition(hold.kind, hold.lacking, hold.since, running.doors.upkeep.endings(self._clock()))

    def _condition(self, running: _Running) -> dict[str, Any]:
        now, exchange = self._clock(), running.parts.exchange
        registry = running.parts.standings.condition(now)
        checkpoint = exchange.log.latest()
        keys = running.doors.upkeep.condition(now)
        seen = Seen(
            is_stopping=self._stopping.is_set(),
            is_log_writable=exchange.log.is_writable,
            is_registry_in_force=registry["in_force"],
            is_held=running.parts.hold.is_held,
            keys={name: key["in_force"] for name, key in keys.items()},
        )
        return {
            "node": self.settings.node.id,
            **readiness(seen),
            "registry": registry,
            "keys": keys,
            "endings": [ending.to_json() for ending in running.doors.upkeep.endings(now)],
            "log": {
                "origin": checkpoint.origin,
                "size": checkpoint.size,
                "waiting": exchange.log.waiting,
                "fault": exchange.log.look() or exchange.log.failure,
            },
            "secrets": {"exposed": [file.key for file in running.parts.secrets.exposed]},
            "witness": exchange.witnessing.condition(),
            "hold": running.parts.hold.condition(),
            "identity": running.work.waiting.condition(),
            "reach": reach(running.parts.latest(), self.settings, running.doors.peers.last_call),
            "readers": _readers(running.parts),
        }


def _readers(parts: Parts) -> dict[str, Any]:
    if parts.reading is None or parts.versions is None:
        return {}
    return {**parts.reading.condition(), "not_taken": parts.versions.condition()}


async def _start_reading(stack: AsyncExitStack, settings: Settings) -> Reading:
    """Start the processes in which adapters run. Raises NodeError."""
    reading = Reading(settings.adapters.limits())
    stack.callback(reading.close)
    try:
        await asyncio.to_thread(reading.start)
    except ProblemError as problem:
        raise NodeError(
            f"{problem.code}: {problem.detail}", "give the node leave to start processes, and adapters.memory_mb enough"
        ) from None
    return reading


async def _ask_others(stack: AsyncExitStack, parts: Parts) -> None:
    """Ask other nodes how far they know this node's log; goes on in the background after the first answers."""
    exchange = parts.exchange
    asking = asyncio.create_task(
        parts.hold.ask(
            lambda but: exchange.witnessing.held_by_others(
                but, lambda text: log_web.is_ours(exchange.log, text, parts.said_by_us)
            ),
            parts.settings.audit.answers_at_start,
        )
    )
    stack.callback(asking.cancel)
    # Nothing has been released yet: no delivery is worked and no listener accepts before the first answers are in.
    await asyncio.wait((asking,), timeout=holding.ASKING_SECONDS)


def _counted(endings: Sequence[Ending]) -> dict[str, float]:
    """How many things end within each step of days."""
    return {str(step): float(sum(ending.within <= step for ending in endings)) for step in STEPS}


def _console(address: Address, parts: Parts, desk: Desk, condition: Callable[[], Condition]) -> ASGIApp:
    # Loaded where the settings ask for a console: its pages, OpenID Connect and templates are of no use to others.
    from gateway.console.composition import address_of, console_app

    shown = address_of(parts.settings.console, address.host, address.port)
    return console_app(parts.settings, shown, desk, condition)


def _bound_sockets(stack: AsyncExitStack, settings: Settings) -> dict[str, Any]:
    listen = settings.listen
    addresses = {f"listen.{name}": getattr(listen, name) for name in FACES}
    addresses |= {socket_of(source): source.listen for source in settings.sources if isinstance(source, MllpSource)}
    return {
        name.removeprefix("listen."): _bound(stack, name, str(address.host), address.port)
        for name, address in addresses.items()
        if address is not None
    }


def _bound(stack: AsyncExitStack, name: str, host: str, port: int) -> Any:
    try:
        bound = bind(host, port)
    except OSError as error:
        raise NodeError(
            f"{name}: {host}:{port} cannot be bound ({error.strerror})",
            "choose another port, or end what uses it",
        ) from None
    stack.callback(bound.close)
    return bound
