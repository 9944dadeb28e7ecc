"""Put on record what a face refused before any exchange began.

At the peer face everything is recorded in the audit log: whoever gets that far has shown a certificate that the
network's anchors issued. At the client face the log records a registered client that asks for more than its rights;
what a stranger sends is an event in the operational log and no more, so that nobody can fill the audit log from
outside.
"""

from __future__ import annotations

import asyncio
import logging

from fastapi import Request

from audit.log.entries import Entry, EntryType, Outcome
from audit.log.log import LogError
from gateway.exchange.context import Exchange
from gateway.story import Story
from gateway.telemetry import event
from gateway.web.authentication import Caller
from gateway.web.listeners import CERTIFICATE, Refused
from gateway.web.problems import Recorder
from gateway.wire.decided import body_digest
from gateway.wire.problems import ProblemError

LOGGER = logging.getLogger("yhdyspinta.refusals")
_OUTSIDE = frozenset({"method-not-allowed", "tls-certificate-unknown"})
_TYPES = {
    "queries": EntryType.QUERY,
    "handovers": EntryType.HANDOVER,
    "inbox": EntryType.RECEIPT,
    "consents": EntryType.CONSENT,
}


def peer_recorder(exchange: Exchange) -> Recorder:
    """Records what the peer face refuses outside its routes: other paths, other methods, unknown nodes.

    What a route refuses, it records itself if it is worth a record: a witness that asks for what is not there yet must
    not make the log grow.
    """

    async def record(request: Request, problem: ProblemError) -> None:
        if request.scope.get("route") is not None and problem.code not in _OUTSIDE:
            return
        await _append(exchange, _peer_entry(exchange, problem, request.scope.get(CERTIFICATE)), problem)

    return record


def peer_listener(exchange: Exchange) -> Refused:
    """Records what the peer face's listener refuses before there is a request."""
    tasks: set[asyncio.Task[None]] = set()

    def refused(problem: ProblemError, certificate: bytes | None) -> None:
        task = asyncio.create_task(_append(exchange, _peer_entry(exchange, problem, certificate), problem))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    return refused


def client_recorder(exchange: Exchange) -> Recorder:
    """Records a registered client's attempt at more than its rights; what strangers send is an event only."""

    async def record(request: Request, problem: ProblemError) -> None:
        caller: Caller | None = getattr(request.state, "caller", None)
        if problem.status not in {401, 403} and caller is not None:
            return
        event(LOGGER, logging.WARNING, "client-refused", reason=problem.code, client=caller.name if caller else None)
        if caller is None or problem.code != "client-not-permitted":
            return
        kind = _TYPES.get(request.url.path.split("/")[2] if request.url.path.count("/") > 1 else "", EntryType.QUERY)
        entry = Story(client=caller.name, node=exchange.node, recipient=str(caller.subsystem)).entry(
            kind, Outcome.REFUSED, exchange.clock(), reason=problem.code
        )
        await _append(exchange, entry, problem)

    return record


def client_listener() -> Refused:
    """Tells the operational log what the client face's listener refuses."""

    def refused(problem: ProblemError, _certificate: bytes | None) -> None:
        event(LOGGER, logging.WARNING, "client-refused", reason=problem.code)

    return refused


def _peer_entry(exchange: Exchange, problem: ProblemError, certificate: bytes | None) -> Entry:
    return Story(node=exchange.node).entry(
        EntryType.QUERY,
        Outcome.REFUSED,
        exchange.clock(),
        reason=problem.code,
        detail={"pin": body_digest(certificate)} if certificate else {},
    )


async def _append(exchange: Exchange, entry: Entry, problem: ProblemError) -> None:
    try:
        await exchange.log.append((entry,))
    except LogError as error:
        event(LOGGER, logging.ERROR, "refusal-not-recorded", reason=type(error).__name__, code=problem.code)
