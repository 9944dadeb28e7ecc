"""Which logs a node asks, which witnesses it calls, and what the two say to each other. Nobody is called from here."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

import orjson
from sqlalchemy import Engine

from audit.tree import witness
from audit.tree.checkpoint import Checkpoint, NoteError, VerifierKey
from audit.tree.merkle import consistency_proof
from audit.tree.proofs import current
from audit.tree.tiles import StoredTiles
from gateway.registry.read.entries import Node, witness_name
from gateway.registry.read.registry import Registry


@dataclass(frozen=True, slots=True)
class Proven:
    """A node that was shown that our log only grew: since which size at the latest, and when it last asked."""

    node: str
    size: int
    at: datetime


def logs_of(registry: Registry, but: str) -> dict[str, tuple[Node, VerifierKey]]:
    """The logs of all nodes but one, by origin, with the node and the key that the registry lists for each."""
    found = {}
    for node in registry.content.nodes:
        if node.log_origin is not None and node.log_key is not None and node.id != but:
            try:
                key = VerifierKey.parse(node.log_key)
            except NoteError:
                continue
            if key.name == node.log_origin:
                found[node.log_origin] = (node, key)
    return found


def witnesses_of(registry: Registry, caller: str, origin: str) -> list[tuple[Node, list[VerifierKey]]]:
    """The witnesses for the log `origin` of the node `caller`: of other members, in an order that is always the same
    and another for each log, so that they are spread over the network.

    A witness that changes its key has two for a while.
    """
    ours = registry.node(caller)
    named = {witness_name(node.id): node for node in registry.content.nodes}
    found: dict[str, list[VerifierKey]] = {}
    for listed in registry.witnesses:
        node = named.get(listed.name)
        if node is None or ours is None or node.owner == ours.owner or not node.address.startswith("https:"):
            continue
        try:
            found.setdefault(listed.name, []).append(VerifierKey.parse(listed.key))
        except NoteError:
            continue
    calls = [(named[name], keys) for name, keys in found.items()]
    return sorted(calls, key=lambda call: sha256(f"{origin}\n{call[0].id}".encode()).digest())


def read_answer(body: bytes) -> witness.ConsistencyAnswer:
    """What a log answers to being asked for proofs. Raises WitnessError."""
    try:
        document = orjson.loads(body)
        proofs = tuple(
            (int(stated["size"]), None if stated["proof"] is None else tuple(map(_decoded, stated["proof"])))
            for stated in document["proofs"]
        )
        return witness.ConsistencyAnswer(str(document["checkpoint"]), proofs)
    except (ValueError, KeyError, TypeError) as error:
        raise witness.WitnessError("the answer is not one of the protocol") from error


def _decoded(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    if len(data) != 32:
        raise ValueError("a hash has 32 bytes")
    return data


def growth(engine: Engine, old: int) -> tuple[Checkpoint, bytes]:
    """The newest checkpoint, and the body that brings it to a witness: that it continues the first `old` entries."""
    with engine.connect() as connection:
        checkpoint = current(connection)
        old = min(old, checkpoint.size)
        proof = consistency_proof(old, checkpoint.size, StoredTiles(connection).node)
    lines = "".join(f"{base64.b64encode(item).decode()}\n" for item in proof)
    return checkpoint, f"old {old}\n{lines}\n{checkpoint.note}".encode()
