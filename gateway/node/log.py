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
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy import Engine

from audit.log.entries import EntryType, Outcome
from audit.log.log import Log
from audit.tree import witness
from audit.tree.checkpoint import MAX_NOTE_BYTES, Checkpoint, NoteError, verify_checkpoint
from audit.tree.merkle import ProofError
from audit.tree.proofs import current
from audit.tree.tiles import StoredTiles, Tile, TilePathError
from gateway.exchange.context import Exchange
from gateway.exchange.opening import calling_node
from gateway.exchange.witnessing import ANSWER_TYPE, Witnessing
from gateway.node.peer_forms import Alarm, Consistency, Judged
from gateway.registry.read.entries import Node
from gateway.story import Story
from gateway.web.description import problems
from gateway.web.doors import CERTIFICATE_SCHEME, Body, Bytes, Gate
from gateway.web.listeners import CERTIFICATE
from gateway.wire.problems import ProblemError

NOTE_TYPE = "text/plain; charset=utf-8"
SIZE_TYPE = "text/x.tlog.size"
FOR_EVER = "public, max-age=31536000, immutable"
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")
_MAX_PROOF = 63

Heard = Callable[[str, Checkpoint], None]
"""Told the id of a node and a checkpoint of ours that it showed."""

Sizes = Annotated[str, Query(max_length=19 * witness.MAX_SIZES, description="whole numbers with commas between")]


class PeerDoor(Gate):
    """Lets in a node of the registry, by its pinned certificate."""

    schemes = (CERTIFICATE_SCHEME,)
    codes = ("tls-certificate-unknown", "tls-certificate-unfit", "tls-certificate-not-in-force")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def __call__(self, request: Request) -> Node:
        """The node that calls. Raises ProblemError."""
        now = self._exchange.clock()
        return calling_node(
            self._exchange.standing_though_held(now).registry, request.scope.get(CERTIFICATE) or b"", now
        )


def router(
    exchange: Exchange,
    witnessing: Witnessing,
    *,
    readers: Collection[str] = (),
    verified: Callable[[str], bool],
    heard: Heard = lambda _node, _checkpoint: None,
) -> APIRouter:
    """`readers` are ids of nodes that may read entries; `verified` says whether a signed message is one of ours.

    `heard` is told what a peer showed of our log that our tree does not bear out: it blocks.
    """
    routes = APIRouter(tags=["log"])
    door = PeerDoor(exchange)
    routes.include_router(_bringing(exchange, witnessing, door, verified, heard))
    routes.include_router(_reading(exchange, witnessing, door, readers))
    return routes


def _reading(exchange: Exchange, witnessing: Witnessing, door: PeerDoor, readers: Collection[str]) -> APIRouter:
    routes = APIRouter()
    let_in = Depends(door)
    note: dict[int | str, dict[str, Any]] = {200: {"description": "a signed note", "content": {"text/plain": {}}}}
    tiles: dict[int | str, dict[str, Any]] = {
        200: {"description": "the tile", "content": {"application/octet-stream": {}}},
        **problems("not-found", "client-not-permitted"),
    }

    @routes.get("/log/checkpoint", summary="The newest checkpoint", response_model=None, responses=note)
    @routes.get("/peer/v1/log/checkpoint", summary="The newest checkpoint", response_model=None, responses=note)
    async def checkpoint(_node: Node = let_in) -> Response:
        newest = await asyncio.to_thread(_note, exchange.engine)
        return Response(newest, 200, {"Cache-Control": "no-store"}, NOTE_TYPE)

    @routes.get(
        "/peer/v1/log/consistency",
        summary="Proofs that the log only grew since it had these sizes",
        response_model=None,
        responses={200: {"model": Consistency}},
    )
    async def consistency(node: Node = let_in, sizes: Sizes = "") -> Response:
        answer = await witnessing.answer(_sizes(sizes), node)
        document = {
            "checkpoint": answer.note,
            "proofs": [
                {"size": size, "proof": None if proof is None else [base64.b64encode(node).decode() for node in proof]}
                for size, proof in answer.proofs
            ],
        }
        return Response(orjson.dumps(document), 200, {"Cache-Control": "no-store"}, ANSWER_TYPE)

    @routes.get(
        "/peer/v1/log/held",
        summary="The newest statement that this node holds of the caller's log",
        response_model=None,
        responses={**note, 204: {"description": "it holds none"}},
    )
    async def held(node: Node = let_in) -> Response:
        statement = await witnessing.held_of(node)
        return Response(statement, 200 if statement is not None else 204, {"Cache-Control": "no-store"}, NOTE_TYPE)

    @routes.get("/log/{path:path}", summary="A tile of hashes or entries", response_model=None, responses=tiles)
    @routes.get("/peer/v1/log/{path:path}", summary="A tile of hashes or entries", response_model=None, responses=tiles)
    async def tile(path: str, node: Node = let_in) -> Response:
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

    return routes


def _bringing(
    exchange: Exchange, witnessing: Witnessing, door: PeerDoor, verified: Callable[[str], bool], heard: Heard
) -> APIRouter:
    routes = APIRouter()
    let_in = Depends(door)
    cosigned: dict[int | str, dict[str, Any]] = {
        200: {"description": "the cosignature line", "content": {"text/plain": {}}},
        409: {"description": "", "content": {SIZE_TYPE: {}}},  # with the size that we hold
        **problems("log-not-proven", "log-refused"),
    }

    @routes.post("/peer/v1/checkpoints", summary="Have a checkpoint witnessed", response_model=None, responses=cosigned)
    async def bring(node: Node = let_in, body: bytes = Depends(Bytes(MAX_NOTE_BYTES))) -> Response:
        old, proof, note = _brought(body)
        try:
            line = await witnessing.cosign(old, proof, note, node)
        except witness.OldSizeError as error:
            return Response(f"{error.size}\n", 409, media_type=SIZE_TYPE)
        except witness.UnprovenError as error:
            raise ProblemError("log-not-proven", detail=str(error)) from None
        except witness.WitnessError as error:
            raise ProblemError("log-refused", detail=str(error)) from None
        return Response(f"{line}\n", 200, media_type=NOTE_TYPE)

    @routes.post(
        "/peer/v1/alarms",
        summary="Show two statements of this node's log that contradict each other",
        response_model=None,
        responses={200: {"model": Judged}, **problems("log-refused")},
    )
    async def alarm(
        node: Node = let_in, form: Alarm = Depends(Body(Alarm, 2 * MAX_NOTE_BYTES, is_typed=False))
    ) -> Response:
        for statement in (form.first, form.second):
            if not is_ours(exchange.log, statement, verified):
                raise ProblemError("log-refused", detail="a statement of the alarm is not one of this node")
        try:
            borne_out = await witnessing.accused(witness.Accusation(form.kind, form.first, form.second), node)
        except (witness.WitnessError, NoteError) as error:
            raise ProblemError("log-refused", detail=str(error)) from None
        if borne_out:
            for statement in (form.first, form.second):
                await asyncio.to_thread(heard, node.id, witness.read_statement(statement))
        return Response(orjson.dumps({"borne_out": borne_out}), 200, media_type=ANSWER_TYPE)

    return routes


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
        EntryType.EXPORT,
        Outcome.SUCCESS if permitted else Outcome.REFUSED,
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


def is_ours(log: Log, statement: str, verified: Callable[[str], bool]) -> bool:
    """Whether a statement, a note or a message, was signed by this node."""
    if "\n" not in statement:
        return verified(statement)
    try:
        verify_checkpoint(statement, log.verifier)
    except NoteError:
        return False
    return True
