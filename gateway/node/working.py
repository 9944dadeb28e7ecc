"""What a node does by itself while it serves: deliveries, feeds, sweeps, counts, timestamps, watching what waits."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from adapters.sdk import Adapter
from audit.log.log import LogError
from audit.log.waiting import Written
from audit.questions import tallies
from gateway.asking.observing import Observing
from gateway.consents.reports import Reports
from gateway.exchange.context import Exchange
from gateway.handover.deliver import Deliveries
from gateway.handover.feeds import open_feed, open_messages
from gateway.node.parts import Parts
from gateway.node.wiring import NodeError
from gateway.obligations.retention import Retention
from gateway.person.figures import IdentityWatch
from gateway.settings.sources import MllpSource
from gateway.sources.progress import Progress
from gateway.telemetry import event
from gateway.web.authentication import Callers
from gateway.wire.problems import ProblemError

if TYPE_CHECKING:
    from gateway.sources.mllp import Senders

LOGGER = logging.getLogger("yhdyspinta.node")
SWEEP_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Work:
    """What works in the background and is asked by the node's faces."""

    deliveries: Deliveries
    waiting: IdentityWatch


def start_work(parts: Parts, stack: AsyncExitStack) -> Work:
    """Start all that works in the background. The stack stops it."""
    exchange = parts.exchange
    deliveries = Deliveries(exchange)
    deliveries.start()
    stack.push_async_callback(deliveries.stop)
    _start_feeds(parts, stack, deliveries)
    waiting = IdentityWatch(exchange.engine, exchange.held, exchange.clock, exchange.telemetry)
    stack.callback(asyncio.create_task(waiting.run()).cancel)
    stack.callback(asyncio.create_task(_sweep(exchange)).cancel)
    stack.callback(asyncio.create_task(Observing(exchange).run()).cancel)
    if parts.versions is not None:
        stack.callback(asyncio.create_task(parts.versions.run()).cancel)
    _start_stamping(parts, stack)
    return Work(deliveries, waiting)


def _start_feeds(parts: Parts, stack: AsyncExitStack, deliveries: Deliveries) -> None:
    settings, exchange = parts.settings, parts.exchange
    progress = Progress(exchange.engine, exchange.log, exchange.clock)
    for source in settings.sources:
        if isinstance(source, MllpSource):
            continue  # it listens, and is opened with the node's other doors
        feed = open_feed(source, exchange, deliveries, progress, parts.adapters(f"source {source.name}", 1))
        feed.start()
        stack.push_async_callback(feed.stop)


async def start_listening(
    parts: Parts, stack: AsyncExitStack, work: Work, callers: Callers, sockets: Mapping[str, socket.socket]
) -> None:
    """Serve the sources that send by themselves, on the sockets that were bound for them. Raises NodeError."""
    for source in parts.settings.sources:
        if isinstance(source, MllpSource):
            from gateway.sources.mllp import MllpListener, MllpPolicy  # which few nodes ask for

            listener = MllpListener(
                source.name,
                sockets[socket_of(source)],
                _senders(source, parts, callers),
                open_messages(source, parts.exchange, work.deliveries),
                MllpPolicy(source.message_bytes, source.message_seconds, source.idle_seconds, source.connections),
            )
            await listener.start()
            stack.push_async_callback(listener.stop)


def socket_of(source: MllpSource) -> str:
    """What the socket of a source is called among the node's sockets."""
    return f"sources.{source.name}"


def _senders(source: MllpSource, parts: Parts, callers: Callers) -> Senders:
    from gateway.sources.mllp import Senders

    def adapter(sender: str) -> Adapter:
        # A reader for each sender: one whose messages kill readers rests, and the others go on.
        return parts.adapters(f"source {source.name} of {sender}", 1).load(source.adapter)

    # An adapter that is not there is told now, and not with the first message.
    parts.adapters(f"source {source.name}", 1).load(source.adapter)
    if source.plain:
        return Senders(None, lambda _certificate: "loopback", adapter)
    if parts.faces.messages is None:
        raise NodeError(
            f"sources.{source.name}: nobody is named whose certificates are believed",
            "give tls.client_authorities the issuers of the senders' certificates",
        )

    def name(certificate: bytes | None) -> str:
        caller = callers.recognise(certificate, "")
        if caller.name not in source.senders:
            raise ProblemError("client-unknown", detail="the source does not name this client among its senders")
        return caller.name

    return Senders(parts.faces.messages, name, adapter)


def _start_stamping(parts: Parts, stack: AsyncExitStack) -> None:
    settings = parts.settings.timestamps
    if settings.url is None:
        return
    from gateway.evidence.timestamps import Stamping  # loads the reader of timestamps, which few nodes ask for

    stamping = Stamping(
        settings.url,
        settings.authorities,
        settings.every_seconds,
        log=parts.exchange.log,
        clock=parts.exchange.clock,
    )
    stack.callback(asyncio.create_task(stamping.run()).cancel)


def _keep(day: tallies.Counted, connection: Connection) -> Written[bool]:
    return Written(tallies.keep(connection, day), ())


async def _sweep(exchange: Exchange) -> None:
    """Let go of message ids that nobody could replay any more, and of reports whose time is over; count past days."""
    reports, retention = Reports(exchange), Retention(exchange)

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
            if await retention.is_any_over():
                await retention.end()
            while (day := await asyncio.to_thread(counted)) is not None:
                await exchange.log.commit(partial(_keep, day))
        except LogError as error:
            event(LOGGER, logging.WARNING, "sweep-failed", reason=type(error).__name__)
