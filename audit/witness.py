"""Witnesses: members hold each other's checkpoints, and notice when a log goes back or shows two histories.

Every signed message carries its sender's checkpoint. The receiver keeps it (`hold`), and on a schedule asks the sender
for proofs that all it holds belong to one growing log (`pending`, `answer`, `settle`). A checkpoint that was proven may
be cosigned (`cosign`), and the log keeps its cosignatures (`keep_cosignatures`). What does not fit becomes an alarm
that names both statements; they are signed, so it can be shown to anyone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Row, delete, insert, select, update

from audit.checkpoint import (
    Checkpoint,
    Cosignature,
    NoteError,
    Signature,
    VerifierKey,
    WitnessSigner,
    parse_checkpoint,
    verify_checkpoint,
    with_signatures,
)
from audit.entries import micros, moment, new_id
from audit.merkle import ProofError, consistency_proof, root_at, verify_consistency
from audit.tables import alarms, cosignatures, head, held
from audit.tiles import StoredTiles

MAX_SIZES: Final = 256
Keys = Mapping[str, VerifierKey]
"""The keys of known logs, by origin."""


class WitnessError(ValueError):
    """A checkpoint of an unknown log, one that its log did not sign, or one that must not be cosigned."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A log that was caught. Kinds: fork (two histories), rollback (it went back), inconsistent (a proof fails).

    `first` and `second` are the signed notes that contradict each other.
    """

    id: str
    origin: str
    kind: str
    first: str
    second: str
    found: datetime

    def explanation(self) -> str:
        """One sentence in English that names the log and both sizes."""
        one, two = parse_checkpoint(self.first).size, parse_checkpoint(self.second).size
        return {
            "fork": f"the log {self.origin} has shown two different histories of {one} and {two} entries",
            "rollback": f"the log {self.origin} went back from {one} to {two} entries",
            "inconsistent": f"the log {self.origin} cannot show that its {two} entries continue its earlier {one}",
        }[self.kind]


@dataclass(frozen=True, slots=True)
class Held:
    """A checkpoint that was taken in, and the alarm it raised, if any. `new`: it was not held before."""

    checkpoint: Checkpoint
    new: bool
    alarm: Alarm | None = None


@dataclass(frozen=True, slots=True)
class ConsistencyRequest:
    """A question to a log: show that your tree today continues your trees of these sizes (ascending)."""

    origin: str
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ConsistencyAnswer:
    """The log's newest checkpoint, and for each size asked for a proof from it to that checkpoint (None: no such)."""

    note: str
    proofs: tuple[tuple[int, tuple[bytes, ...] | None], ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer showed: the newest checkpoint, the sizes proven, and an alarm if something does not fit."""

    checkpoint: Checkpoint
    proven: tuple[int, ...]
    alarm: Alarm | None


def _verified(note: str, keys: Keys) -> Checkpoint:
    try:
        origin = parse_checkpoint(note).origin
        key = keys.get(origin)
        if key is None:
            raise WitnessError(f"{origin!r} is not a log that the registry knows")
        return verify_checkpoint(note, key)[0]
    except NoteError as error:
        raise WitnessError(f"the checkpoint does not hold: {error}") from error


def _raise_alarm(connection: Connection, kind: str, first: str, second: str, *, now: datetime) -> Alarm:
    origin = parse_checkpoint(first).origin
    known = connection.execute(
        select(alarms).where(alarms.c.origin == origin, alarms.c.kind == kind, alarms.c.second == second)
    ).first()
    if known is not None:
        return _alarm(known)
    alarm = Alarm(new_id(now), origin, kind, first, second, now)
    connection.execute(
        insert(alarms).values(id=alarm.id, origin=origin, kind=kind, first=first, second=second, found=micros(now))
    )
    return alarm


def _alarm(row: Row[tuple[str, ...]]) -> Alarm:
    return Alarm(row.id, row.origin, row.kind, row.first, row.second, moment(row.found))


def hold(connection: Connection, note: str, received_from: str, now: datetime, *, keys: Keys) -> Held:
    """Take in a checkpoint that came with a message or from another member who holds it.

    Two different roots for one size are a fork, found at once. Raises WitnessError if the log is unknown or did not
    sign it. Call it in the transaction that records the message.
    """
    checkpoint = _verified(note, keys)
    rows = connection.execute(
        select(held).where(held.c.origin == checkpoint.origin, held.c.size == checkpoint.size)
    ).all()
    if any(bytes(row.root) == checkpoint.root for row in rows):
        return Held(checkpoint, new=False)
    connection.execute(
        insert(held).values(
            origin=checkpoint.origin,
            size=checkpoint.size,
            root=checkpoint.root,
            note=note,
            received_from=received_from,
            received=micros(now),
            state="unproven",
        )
    )
    alarm = _raise_alarm(connection, "fork", rows[0].note, note, now=now) if rows else None
    return Held(checkpoint, new=True, alarm=alarm)


def newest(connection: Connection, origin: str) -> Checkpoint | None:
    """The largest checkpoint held of a log, proven or not."""
    row = connection.execute(
        select(held.c.note).where(held.c.origin == origin).order_by(held.c.size.desc()).limit(1)
    ).first()
    return None if row is None else parse_checkpoint(row.note)


def pending(connection: Connection) -> tuple[ConsistencyRequest, ...]:
    """What to ask each log whose checkpoints are held: the last proven size and all that are not proven yet."""
    requests = []
    for origin in connection.scalars(select(held.c.origin).distinct().order_by(held.c.origin)).all():
        proven = connection.scalar(
            select(held.c.size)
            .where(held.c.origin == origin, held.c.state == "proven")
            .order_by(held.c.size.desc())
            .limit(1)
        )
        unproven = connection.scalars(
            select(held.c.size)
            .where(held.c.origin == origin, held.c.state == "unproven")
            .order_by(held.c.size.desc())
            .limit(MAX_SIZES - 1)
        ).all()
        requests.append(ConsistencyRequest(origin, tuple(sorted({*unproven, *([] if proven is None else [proven])}))))
    return tuple(requests)


def answer(connection: Connection, request: ConsistencyRequest) -> ConsistencyAnswer:
    """The answer of the log in this database. Raises WitnessError if it is not the log asked for."""
    row = connection.execute(select(head.c.origin, head.c.size, head.c.note)).first()
    if row is None or row.origin != request.origin:
        raise WitnessError(f"{request.origin!r} is not the log of this node")
    if len(request.sizes) > MAX_SIZES:
        raise WitnessError(f"at most {MAX_SIZES} sizes are proven at a time")
    stored = StoredTiles(connection)
    proofs: list[tuple[int, tuple[bytes, ...] | None]] = []
    for size in request.sizes:
        try:
            proofs.append((size, consistency_proof(size, row.size, stored.node)))
        except ProofError:
            proofs.append((size, None))
    return ConsistencyAnswer(row.note, tuple(proofs))


def settle(
    connection: Connection,
    request: ConsistencyRequest,
    reply: ConsistencyAnswer,
    received_from: str,
    now: datetime,
    *,
    keys: Keys,
) -> Verdict:
    """Hold an answer against what was held. Proven checkpoints between the first and the last are then let go.

    Raises WitnessError if the answer's checkpoint is not signed by the log that was asked.
    """
    taken = hold(connection, reply.note, received_from, now, keys=keys)
    checkpoint = taken.checkpoint
    if checkpoint.origin != request.origin:
        raise WitnessError(f"{request.origin!r} was asked, {checkpoint.origin!r} answered")
    if taken.alarm is not None:
        return Verdict(checkpoint, (), taken.alarm)
    proofs = dict(reply.proofs)
    proven: list[int] = []
    alarm: Alarm | None = None
    rows = connection.execute(
        select(held).where(held.c.origin == request.origin, held.c.size.in_(request.sizes)).order_by(held.c.size)
    ).all()
    for row in rows:
        if row.size > checkpoint.size:
            alarm = alarm or _raise_alarm(connection, "rollback", row.note, reply.note, now=now)
            continue
        try:
            proof = proofs.get(row.size)
            if proof is None:
                raise ProofError("no proof was given")
            verify_consistency(row.size, bytes(row.root), checkpoint.size, checkpoint.root, proof)
        except ProofError:
            kind = "inconsistent" if proofs.get(row.size) is None else "fork"
            alarm = alarm or _raise_alarm(connection, kind, row.note, reply.note, now=now)
        else:
            proven.append(row.size)
    if alarm is None:
        connection.execute(
            update(held)
            .where(held.c.origin == request.origin, held.c.size.in_([*proven, checkpoint.size]))
            .values(state="proven")
        )
        connection.execute(
            delete(held).where(held.c.origin == request.origin, held.c.state == "proven", held.c.size < checkpoint.size)
        )
    return Verdict(checkpoint, tuple(proven), alarm)


def all_alarms(connection: Connection, origin: str | None = None) -> tuple[Alarm, ...]:
    """Alarms raised so far, newest first."""
    statement = select(alarms).order_by(alarms.c.found.desc(), alarms.c.id)
    if origin is not None:
        statement = statement.where(alarms.c.origin == origin)
    return tuple(_alarm(row) for row in connection.execute(statement))


def held_notes(connection: Connection, origin: str | None = None) -> tuple[str, ...]:
    """The checkpoints held of other logs (or of one), as they were signed: what their owners may be checked against."""
    statement = select(held.c.note).order_by(held.c.origin, held.c.size)
    if origin is not None:
        statement = statement.where(held.c.origin == origin)
    return tuple(connection.scalars(statement))


@dataclass(frozen=True, slots=True)
class Watched:
    """What this node knows of another log: its newest checkpoint, whence it came, and whether it is proven."""

    checkpoint: Checkpoint
    received_from: str
    received: datetime
    proven: bool
    alarms: int


def watched(connection: Connection) -> tuple[Watched, ...]:
    """All logs that this node keeps an eye on, by origin."""
    result = []
    for origin in connection.scalars(select(held.c.origin).distinct().order_by(held.c.origin)).all():
        row = connection.execute(
            select(held).where(held.c.origin == origin).order_by(held.c.size.desc()).limit(1)
        ).one()
        found = len(all_alarms(connection, origin))
        result.append(
            Watched(parse_checkpoint(row.note), row.received_from, moment(row.received), row.state == "proven", found)
        )
    return tuple(result)


def cosign(connection: Connection, note: str, signer: WitnessSigner, now: datetime, *, keys: Keys) -> Signature:
    """Cosign a checkpoint that was proven here and whose log never raised an alarm. Raises WitnessError."""
    checkpoint = _verified(note, keys)
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
            own = next(item.line for item in checkpoint.signatures if item.key_id == log_key.key_id)
            connection.execute(
                insert(cosignatures).values(
                    size=checkpoint.size,
                    witness=mark.witness,
                    timestamp=mark.timestamp,
                    note=f"{checkpoint.text}\n{own}\n{mark.line}\n",
                )
            )
    return marks
