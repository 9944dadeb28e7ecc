"""Cosignatures: those that this node gives to other logs, and those that witnesses gave to its own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from audit.log.tables import cosignatures, head, held
from audit.tree.checkpoint import (
    Cosignature,
    NoteError,
    Signature,
    VerifierKey,
    WitnessSigner,
    verify_checkpoint,
    with_signatures,
)
from audit.tree.merkle import ProofError, root_at
from audit.tree.tiles import StoredTiles
from audit.tree.witness import Keys, WitnessError, all_alarms, verified


def cosign(connection: Connection, note: str, signer: WitnessSigner, now: datetime, *, keys: Keys) -> Signature:
    """Cosign a checkpoint that was proven here and whose log never raised an alarm. Raises WitnessError."""
    checkpoint = verified(note, keys)
    row = connection.execute(
        select(held.c.state).where(
            held.c.origin == checkpoint.origin, held.c.size == checkpoint.size, held.c.root == checkpoint.root
        )
    ).first()
    if row is None or row.state != "proven":
        raise WitnessError(f"the checkpoint of {checkpoint.size} entries has not been proven here")
    if all_alarms(connection, checkpoint.origin):
        raise WitnessError(f"the log {checkpoint.origin} has raised an alarm; it is not cosigned any more")
    return signer.cosign(checkpoint, int(now.timestamp()))


def latest_cosignatures(connection: Connection) -> tuple[tuple[str, int], ...]:
    """Of each witness of this node's own log: its name and the size of the largest checkpoint that it cosigned."""
    rows = connection.execute(
        select(cosignatures.c.witness, func.max(cosignatures.c.size))
        .group_by(cosignatures.c.witness)
        .order_by(cosignatures.c.witness)
    )
    return tuple((row[0], int(row[1])) for row in rows)


def keep_cosignatures(
    connection: Connection,
    note: str,
    signatures: Sequence[Signature],
    *,
    log_key: VerifierKey,
    witnesses: Sequence[VerifierKey],
) -> tuple[Cosignature, ...]:
    """Keep what witnesses signed about this node's own log; lines of unknown witnesses are dropped.

    Raises WitnessError if a known witness's line is bad, or the checkpoint is not one of this log's tree.
    """
    try:
        whole = with_signatures(note, signatures)
        checkpoint, marks = verify_checkpoint(whole, log_key, witnesses)
        stored = StoredTiles(connection)
        size = connection.scalar(select(head.c.size)) or 0
        if checkpoint.size > size or root_at(checkpoint.size, stored.node) != checkpoint.root:
            raise WitnessError("the cosigned checkpoint is not one of this log")
    except (NoteError, ProofError) as error:
        raise WitnessError(f"the cosignatures do not hold: {error}") from error
    for mark in marks:
        known = connection.execute(
            select(cosignatures.c.size).where(
                cosignatures.c.size == checkpoint.size,
                cosignatures.c.witness == mark.witness,
                cosignatures.c.timestamp == mark.timestamp,
            )
        ).first()
        if known is None:
            # All that the log itself has signed with: while its key changes, others know it by one of the two.
            own = "\n".join(item.line for item in checkpoint.signatures if item.name == log_key.name)
            connection.execute(
                insert(cosignatures).values(
                    size=checkpoint.size,
                    witness=mark.witness,
                    timestamp=mark.timestamp,
                    note=f"{checkpoint.text}\n{own}\n{mark.line}\n",
                )
            )
    return marks
