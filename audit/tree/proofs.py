"""Prove to others that an entry existed and has not changed, and that the log has only grown."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, select

from audit.log.entries import Entry
from audit.log.tables import checkpoints, cosignatures, entries, head
from audit.tree.checkpoint import (
    Checkpoint,
    Cosignature,
    Former,
    NoteError,
    Signature,
    VerifierKey,
    parse_checkpoint,
    split_note,
    verify_checkpoint,
    with_signatures,
)
from audit.tree.merkle import ProofError, consistency_proof, inclusion_proof, root_at
from audit.tree.tiles import StoredTiles
from audit.tree.verify import FORMAT


@dataclass(frozen=True, slots=True)
class EntryProof:
    """What shows that an entry stands in the log.

    `position` counts from one: "this record is the `position`th of `checkpoint.size`". `since` is the earliest
    checkpoint kept that includes it: the entry existed when that was signed. `cosignatures` are those of witnesses over
    any checkpoint that includes it.
    """

    index: int
    entry: Entry
    checkpoint: Checkpoint
    proof: tuple[bytes, ...]
    since: Checkpoint | None
    cosignatures: tuple[tuple[Checkpoint, Cosignature], ...]

    @property
    def position(self) -> int:
        """The entry's place, counted from one."""
        return self.index + 1

    def to_dict(self) -> dict[str, Any]:
        """The proof as JSON tells it."""
        return {
            "index": self.index,
            "position": self.position,
            "entry": self.entry.to_dict(),
            "canonical": self.entry.canonical().decode(),
            "proof": _texts(self.proof),
            "checkpoint": self.checkpoint.note,
            "since": None if self.since is None else self.since.note,
            "cosignatures": [
                {"witness": mark.witness, "timestamp": mark.timestamp, "size": checkpoint.size}
                for checkpoint, mark in self.cosignatures
            ],
        }


def current(connection: Connection) -> Checkpoint:
    """The newest checkpoint in the database. Raises ProofError if there is no log."""
    row = connection.execute(select(head.c.note)).first()
    if row is None:
        raise ProofError("there is no log in this database")
    return parse_checkpoint(row.note)


def cosigned(connection: Connection, covering: int = 0, limit: int = 64) -> tuple[tuple[Checkpoint, Cosignature], ...]:
    """Cosignatures of this node's own log over checkpoints of at least `covering` entries, smallest first."""
    rows = connection.execute(
        select(cosignatures).where(cosignatures.c.size >= covering).order_by(cosignatures.c.size).limit(limit)
    )
    found: list[tuple[Checkpoint, Cosignature]] = []
    for row in rows:
        checkpoint = parse_checkpoint(row.note)
        line = next(item.line for item in checkpoint.signatures if item.name == row.witness)
        found.append((checkpoint, Cosignature(row.witness, row.timestamp, line)))
    return tuple(found)


def prove(
    connection: Connection, index: int, entry: Entry | None = None, checkpoint: Checkpoint | None = None
) -> EntryProof:
    """The proof of one entry in the newest (or the given) checkpoint. Raises ProofError if it is not there.

    `entry` is given for entries that live in an archive; its place in the stored tree is what is proven.
    """
    against = checkpoint or current(connection)
    if entry is None:
        row = connection.execute(select(entries.c.body).where(entries.c.idx == index)).first()
        if row is None:
            raise ProofError(f"record {index + 1} is not in this database")
        entry = Entry.parse(row.body)
    proof = inclusion_proof(index, against.size, StoredTiles(connection).node)
    kept = connection.scalar(
        select(checkpoints.c.note).where(checkpoints.c.size > index).order_by(checkpoints.c.size).limit(1)
    )
    since = None if kept is None else parse_checkpoint(kept)
    return EntryProof(index, entry, against, proof, since, cosigned(connection, index + 1))


@dataclass(frozen=True, slots=True)
class Continuity:
    """Whether the log of today continues an earlier checkpoint; `problem` says what is wrong if it does not."""

    earlier: Checkpoint
    now: Checkpoint
    proof: tuple[bytes, ...]
    problem: str | None

    @property
    def unchanged(self) -> bool:
        """Nothing that the earlier checkpoint covers has changed."""
        return self.problem is None

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON tells it."""
        return {
            "unchanged": self.unchanged,
            "problem": self.problem,
            "earlier": _told(self.earlier),
            "now": _told(self.now),
            "proof": _texts(self.proof),
        }


def unchanged_since(connection: Connection, note: str, log_key: VerifierKey) -> Continuity:
    """Has the log been altered since this checkpoint of it? Raises NoteError if the note is not the log's."""
    earlier, _ = verify_checkpoint(note, log_key)
    now = current(connection)
    try:
        stored = StoredTiles(connection)
        if earlier.size > now.size:
            raise ProofError(f"the log went back from {earlier.size} to {now.size} entries")
        if root_at(earlier.size, stored.node) != earlier.root:
            raise ProofError(f"the first {earlier.size} entries are not those that were signed")
        proof = consistency_proof(earlier.size, now.size, stored.node)
    except ProofError as error:
        return Continuity(earlier, now, (), str(error))
    return Continuity(earlier, now, proof, None)


def export_proofs(
    connection: Connection,
    wanted: Mapping[int, Entry | None],
    *,
    log_key: VerifierKey | Former,
    witnesses: Sequence[VerifierKey] = (),
    earlier: Sequence[str] = (),
) -> bytes:
    """One file with these entries, their proofs, the checkpoint and its cosignatures, for `verify_export`.

    `wanted` are the entries by index: itself for one that lives in an archive, None for one that is to be read here.
    It is proven against the newest checkpoint that a witness cosigned and that covers all of the entries, or else
    against the newest one. `earlier` are further checkpoints whose continuity the file shows as well. Of a
    former key no later checkpoint is taken than the last that it signed. Raises ProofError.
    """
    newest = parse_checkpoint(log_key.note) if isinstance(log_key, Former) else current(connection)
    log_key = log_key.key if isinstance(log_key, Former) else log_key
    # By the key that the file names, not only by one before it: a reader may know no other.
    least = max((max(wanted, default=-1) + 1, *(former.size for former in log_key.former)))
    checkpoint = _cosigned_note(connection, least, newest.size) or newest
    stored = StoredTiles(connection)
    items = []
    for index in sorted(wanted):
        proof = prove(connection, index, wanted[index], checkpoint)
        items.append({"index": index, "entry": proof.entry.canonical().decode(), "proof": _texts(proof.proof)})
    older = []
    for note in earlier:
        try:
            old, _ = verify_checkpoint(note, log_key)
        except NoteError as error:
            raise ProofError(f"an earlier checkpoint does not hold: {error}") from error
        if old.size <= checkpoint.size:
            older.append({"note": note, "proof": _texts(consistency_proof(old.size, checkpoint.size, stored.node))})
    document = {
        "format": FORMAT,
        "log_key": str(log_key),
        **told_former(log_key),
        "witness_keys": [str(key) for key in witnesses],
        "checkpoint": checkpoint.note,
        "earlier": older,
        "entries": items,
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)


def told_former(log_key: VerifierKey) -> dict[str, Any]:
    """The keys that the log had before, for a file; nothing if there were none."""
    items = [{"key": str(former.key), "checkpoint": former.note} for former in log_key.former]
    return {"log_former": items} if items else {}


def _told(checkpoint: Checkpoint) -> dict[str, Any]:
    return {"size": checkpoint.size, "root": base64.b64encode(checkpoint.root).decode(), "note": checkpoint.note}


def _texts(hashes: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(item).decode() for item in hashes]


def _cosigned_note(connection: Connection, covering: int, most: int) -> Checkpoint | None:
    """The largest cosigned checkpoint of at most that size, all its cosignatures in one note."""
    size = connection.scalar(
        select(cosignatures.c.size)
        .where(cosignatures.c.size.between(covering, most))
        .order_by(cosignatures.c.size.desc())
        .limit(1)
    )
    if size is None:
        return None
    notes = connection.scalars(
        select(cosignatures.c.note).where(cosignatures.c.size == size).order_by(cosignatures.c.timestamp)
    ).all()
    lines: dict[str, Signature] = {}
    for note in notes:
        for line in split_note(note)[1]:
            lines.setdefault(line.line, line)
    return parse_checkpoint(with_signatures(notes[0], tuple(lines.values())))
