"""The log as other nodes see it: its checkpoint, proofs and tiles to read, and a witness to bring checkpoints to.

All of it stands on the face towards peers. Hashes are nobody's data, so every node of the registry may read them; the
entries behind them only those nodes that the settings name, each reading on record.
Sources: C2SP tlog-tiles, tlog-checkpoint, tlog-witness.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable, Collection

import orjson
from fastapi import APIRouter, Request, Response
from sqlalchemy import Engine

from audit.log.log import Log
from audit.tree import witness
from audit.tree.checkpoint import MAX_NOTE_BYTES, NoteError, verify_checkpoint
from audit.tree.merkle import ProofError
from audit.tree.proofs import current
from audit.tree.tiles import StoredTiles, Tile, TilePathError
from gateway.exchange.context import Exchange
from gateway.exchange.opening import calling_node
from gateway.exchange.witnessing import ANSWER_TYPE, Witnessing
from gateway.registry.read.entries import Node
from gateway.story import Story
from gateway.web.bodies import read_body
from gateway.web.listeners import CERTIFICATE
from gateway.wire.problems import ProblemError

NOTE_TYPE = "text/plain; charset=utf-8"
SIZE_TYPE = "text/x.tlog.size"
FOR_EVER = "public, max-age=31536000, immutable"
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")
_MAX_PROOF = 63


def router(
    exchange: Exchange,
    witnessing: Witnessing,
    *,
    readers: Collection[str] = (),
    verified: Callable[[str], bool],
) -> APIRouter:
    """`readers` are ids of nodes that may read entries; `verified` says whether a signed message is one of ours."""
    routes = APIRouter()

    @routes.get("/log/checkpoint")
    @routes.get("/peer/v1/log/checkpoint")
    async def checkpoint(request: Request) -> Response:
        _peer(exchange, request)
        note = await asyncio.to_thread(_note, exchange.engine)
        return Response(note, 200, {"Cache-Control": "no-store"}, NOTE_TYPE)

    @routes.get("/peer/v1/log/consistency")
    async def consistency(request: Request) -> Response:
        _peer(exchange, request)
        answer = await witnessing.answer(_sizes(request.query_params.get("sizes", "")))
        document = {
            "checkpoint": answer.note,
            "proofs": [
                {
                    "size": size,
                    "proof": None if proof is None else [base64.b64encode(digest).decode() for digest in proof],
                }
                for size, proof in answer.proofs
            ],
        }
        return Response(orjson.dumps(document), 200, {"Cache-Control": "no-store"}, ANSWER_TYPE)

    @routes.get("/log/{path:path}")
    @routes.get("/peer/v1/log/{path:path}")
    async def tile(request: Request, path: str) -> Response:
        node = _peer(exchange, request)
        try:
            wanted = Tile.parse(path)
        except TilePathError as error:
            raise ProblemError("not-found", detail=str(error)) from None
        if wanted.level is None:
            await _may_read(exchange, node, wanted, readers)
        data = await asyncio.to_thread(_tile, exchange.engine, wanted)
        if data is None:
            raise ProblemError("not-found", detail="the log has not got so far, or these entries are archived")
        return Response(data, 200, {"Cache-Control": FOR_EVER}, "application/octet-stream")

    @routes.post("/peer/v1/checkpoints")
    async def bring(request: Request) -> Response:
        node = _peer(exchange, request)
        old, proof, note = _brought(await read_body(request, MAX_NOTE_BYTES))
        try:
            line = await witnessing.cosign(old, proof, note, node)
        except witness.OldSizeError as error:
            return Response(f"{error.size}\n", 409, media_type=SIZE_TYPE)
        except witness.UnprovenError as error:
            raise ProblemError("log-not-proven", detail=str(error)) from None
        except witness.WitnessError as error:
            raise ProblemError("log-refused", detail=str(error)) from None
        return Response(f"{line}\n", 200, media_type=NOTE_TYPE)

    @routes.post("/peer/v1/alarms")
    async def alarm(request: Request) -> Response:
        node = _peer(exchange, request)
        kind, first, second = _alarm(await read_body(request, 2 * MAX_NOTE_BYTES))
        for statement in (first, second):
            if not _ours(exchange.log, statement, verified):
                raise ProblemError("log-refused", detail="a statement of the alarm is not one of this node")
        try:
            borne_out = await witnessing.accused(kind, first, second, node)
        except (witness.WitnessError, NoteError) as error:
            raise ProblemError("log-refused", detail=str(error)) from None
        return Response(orjson.dumps({"borne_out": borne_out}), 200, media_type=ANSWER_TYPE)

    return routes


def _peer(exchange: Exchange, request: Request) -> Node:
    """The node that calls, by its pinned certificate. Raises ProblemError."""
    now = exchange.clock()
    return calling_node(exchange.standing(now).registry, request.scope.get(CERTIFICATE) or b"", now)


def _note(engine: Engine) -> str:
    with engine.connect() as connection:
        return current(connection).note


def _tile(engine: Engine, tile: Tile) -> bytes | None:
    with engine.connect() as connection:
        try:
            return StoredTiles(connection).read(tile, current(connection).size)
        except ProofError:
            return None


async def _may_read(exchange: Exchange, node: Node, tile: Tile, readers: Collection[str]) -> None:
    now = exchange.clock()
    permitted = node.id in readers
    entry = Story(client=node.id, node=exchange.node).entry(
        "export",
        "success" if permitted else "refused",
        now,
        reason=None if permitted else "client-not-permitted",
        detail={"question": "entries-tile", "tile": tile.number},
    )
    await exchange.log.append((entry,))
    if not permitted:
        raise ProblemError(
            "client-not-permitted",
            detail="this node may read the log's hashes, not its entries",
            remedy="have the node's id added to audit.readers in the settings",
        )


def _sizes(text: str) -> tuple[int, ...]:
    parts = text.split(",") if text else []
    if len(parts) > witness.MAX_SIZES or not all(part.isdecimal() and len(part) <= 18 for part in parts):
        raise ProblemError(
            "invalid-request", pointer="/sizes", detail=f"sizes is a list of at most {witness.MAX_SIZES} whole numbers"
        )
    return tuple(sorted({int(part) for part in parts}))


def _brought(body: bytes) -> tuple[int, tuple[bytes, ...], str]:
    """The parts of an `add-checkpoint` request: old size, consistency proof, note. Raises ProblemError."""
    try:
        before, separator, note = body.decode("utf-8").partition("\n\n")
        first, *lines = before.split("\n")
        old = _OLD.fullmatch(first)
        if not separator or old is None or len(lines) > _MAX_PROOF:
            raise ValueError("not of the form")
        proof = tuple(base64.b64decode(line, validate=True) for line in lines)
        if any(len(item) != 32 for item in proof):
            raise ValueError("not of the form")
    except ValueError:
        raise ProblemError(
            "invalid-request",
            detail="the body is the old size, the lines of a consistency proof, an empty line and a checkpoint",
        ) from None
    return int(old[1]), proof, note


def _alarm(body: bytes) -> tuple[str, str, str]:
    try:
        document = orjson.loads(body)
        kind, first, second = document["kind"], document["first"], document["second"]
        if not all(isinstance(text, str) for text in (kind, first, second)):
            raise ValueError("not texts")
    except (ValueError, KeyError, TypeError):
        raise ProblemError("invalid-request", detail="an alarm has the members kind, first and second") from None
    return kind, first, second


def _ours(log: Log, statement: str, verified: Callable[[str], bool]) -> bool:
    if "\n" not in statement:
        return verified(statement)
    try:
        verify_checkpoint(statement, log.verifier)
    except NoteError:
        return False
    return True
