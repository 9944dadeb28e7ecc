"""Witnesses: members hold each other's checkpoints, and notice when a log goes back or shows two histories.

Every signed message states its sender's checkpoint. The receiver keeps it (`hold_claim`), and on a schedule asks the
sender for proofs that all it holds belong to one growing log (`pending`, `answer`, `settle`). A log may also bring its
checkpoint with a proof (`add_checkpoint`). What was proven may be cosigned (`cosign`), and the log keeps its
cosignatures (`keep_cosignatures`). What does not fit becomes an alarm that names both statements. A statement is a note
that the log signed, or the signed message whose claim it is, so that it can be shown to anyone.
Source: C2SP tlog-witness.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson
from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from audit.log.entries import micros, moment, new_id
from audit.log.statements import Fixed
from audit.log.tables import alarms, head, held
from audit.tree.checkpoint import (
    Checkpoint,
    NoteError,
    VerifierKey,
    parse_checkpoint,
    verify_checkpoint,
)
from audit.tree.merkle import ProofError, consistency_proof, root_at, verify_consistency
from audit.tree.tiles import StoredTiles

MAX_SIZES: Final = 256
_KINDS: Final = frozenset({"fork", "rollback", "inconsistent"})
Keys = Mapping[str, VerifierKey]
"""The keys of known logs, by origin."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a checkpoint came: from whom, when, and by which keys the logs are known here."""

    sender: str
    at: datetime
    keys: Keys


@dataclass(frozen=True, slots=True)
class Accusation:
    """What another member says of this node's log: a kind of alarm, and the two statements that contradict."""

    kind: str
    first: str
    second: str


class WitnessError(ValueError):
    """A checkpoint of an unknown log, one that its log did not sign, or one that must not be cosigned."""


class OldSizeError(WitnessError):
    """A proof that does not begin where this witness left off; `size` is where it did."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the last checkpoint proven here has {size} entries")
        self.size = size


class UnprovenError(WitnessError):
    """A checkpoint whose proof does not hold; the alarm says what contradicts it."""

    def __init__(self, alarm: Alarm, new: bool) -> None:
        super().__init__(alarm.explanation())
        self.alarm = alarm
        self.new = new


def read_statement(statement: str) -> Checkpoint:
    """The checkpoint that a statement speaks of, unverified. Raises NoteError if it is neither note nor message."""
    if "\n" in statement:
        return parse_checkpoint(statement)
    try:
        payload = statement.split(".")[1]
        claim = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["log"]
        root = base64.b64decode(claim["root"], validate=True)
        return Checkpoint(str(claim["origin"]), int(claim["size"]), root, statement)
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error) as error:
        raise NoteError(f"neither a signed note nor a signed message: {type(error).__name__}") from error


@dataclass(frozen=True, slots=True)
class Alarm:
    """A log that was caught. Kinds: fork (two histories), rollback (it went back), inconsistent (a proof fails).

    `first` and `second` are the statements that contradict each other. `new`: it was not raised before.
    """

    id: str
    origin: str
    kind: str
    first: str
    second: str
    found: datetime
    new: bool = False

    @property
    def sizes(self) -> tuple[int, int]:
        """The sizes that both statements speak of."""
        return read_statement(self.first).size, read_statement(self.second).size

    def explanation(self) -> str:
        """One sentence in English that names the log and both sizes."""
        one, two = self.sizes
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


def verified(note: str, keys: Keys) -> Checkpoint:
    try:
        origin = parse_checkpoint(note).origin
        key = keys.get(origin)
        if key is None:
            raise WitnessError(f"{origin!r} is not a log that the registry knows")
        return verify_checkpoint(note, key)[0]
    except NoteError as error:
        raise WitnessError(f"the checkpoint does not hold: {error}") from error


def _raise_alarm(connection: Connection, kind: str, first: str, second: str, *, now: datetime) -> Alarm:
    """Raise an alarm, once for each statement that is contradicted."""
    origin = read_statement(first).origin
    known = connection.execute(
        select(alarms).where(alarms.c.origin == origin, alarms.c.kind == kind, alarms.c.first == first)
    ).first()
    if known is not None:
        return _alarm(known)
    alarm = Alarm(new_id(now), origin, kind, first, second, now, new=True)
    connection.execute(
        insert(alarms).values(id=alarm.id, origin=origin, kind=kind, first=first, second=second, found=micros(now))
    )
    return alarm


def _alarm(row: Row[tuple[str, ...]]) -> Alarm:
    return Alarm(row.id, row.origin, row.kind, row.first, row.second, moment(row.found))


_HELD: Final = Fixed(
    select(held.c.root, held.c.note).where(held.c.origin == bindparam("of"), held.c.size == bindparam("at")), "of", "at"
)
_HOLD: Final = Fixed.insert(held, "origin", "size", "root", "note", "received_from", "received", "state")


def hold_claim(connection: Connection, claim: Checkpoint, received_from: str, now: datetime) -> Held:
    """Take in the checkpoint that a verified message states; the claim's `note` is the text of that message.

    The caller has verified the message and that its sender speaks for this log.
    """
    return _take(connection, claim, received_from, now)


def _take(connection: Connection, checkpoint: Checkpoint, received_from: str, now: datetime) -> Held:
    rows = _HELD.rows(connection, checkpoint.origin, checkpoint.size)
    if any(bytes(root) == checkpoint.root for root, _ in rows):
        return Held(checkpoint, new=False)
    alarm = _raise_alarm(connection, "fork", rows[0][1], checkpoint.note, now=now) if rows else None
    _HOLD.run(
        connection,
        checkpoint.origin,
        checkpoint.size,
        checkpoint.root,
        checkpoint.note,
        received_from,
        micros(now),
        "unproven" if alarm is None else "contradicted",
    )
    return Held(checkpoint, new=True, alarm=alarm)


def newest(connection: Connection, origin: str) -> Checkpoint | None:
    """The largest checkpoint held of a log, proven or not."""
    row = connection.execute(
        select(held.c.note).where(held.c.origin == origin).order_by(held.c.size.desc()).limit(1)
    ).first()
    return None if row is None else read_statement(row.note)


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
    arrival: Arrival,
) -> Verdict:
    """Hold an answer against what was held. Proven checkpoints between the first and the last are then let go.

    Raises WitnessError if the answer's checkpoint is not signed by the log that was asked.
    """
    taken = _take(connection, verified(reply.note, arrival.keys), arrival.sender, arrival.at)
    checkpoint = taken.checkpoint
    if checkpoint.origin != request.origin:
        raise WitnessError(f"{request.origin!r} was asked, {checkpoint.origin!r} answered")
    proofs = dict(reply.proofs)
    proven: list[int] = []
    alarm = taken.alarm
    rows = connection.execute(
        select(held)
        .where(held.c.origin == request.origin, held.c.size.in_(request.sizes), held.c.state != "contradicted")
        .order_by(held.c.size)
    ).all()
    for row in rows:
        kind = _contradiction(row, checkpoint, proofs.get(row.size))
        if kind is None:
            proven.append(row.size)
            continue
        raised = _raise_alarm(connection, kind, row.note, reply.note, now=arrival.at)
        alarm = alarm or raised
        connection.execute(
            update(held)
            .where(held.c.origin == row.origin, held.c.size == row.size, held.c.root == row.root)
            .values(state="contradicted")
        )
    if taken.alarm is None:
        connection.execute(
            update(held)
            .where(
                held.c.origin == request.origin,
                held.c.size.in_([*proven, checkpoint.size]),
                held.c.state == "unproven",
            )
            .values(state="proven")
        )
    _let_go(connection, request.origin)
    return Verdict(checkpoint, tuple(proven), alarm)


def _contradiction(row: Row[tuple[object, ...]], now: Checkpoint, proof: tuple[bytes, ...] | None) -> str | None:
    """What is wrong between a checkpoint that is held and the newest one: a kind of alarm, or None."""
    if row.size > now.size:
        return "rollback"
    if proof is None:
        return "inconsistent"
    try:
        verify_consistency(row.size, bytes(row.root), now.size, now.root, proof)
    except ProofError:
        return "fork"
    return None


def _let_go(connection: Connection, origin: str) -> None:
    """Of what was proven, the largest is enough."""
    largest = (
        select(held.c.size)
        .where(held.c.origin == origin, held.c.state == "proven")
        .order_by(held.c.size.desc())
        .limit(1)
        .scalar_subquery()
    )
    connection.execute(delete(held).where(held.c.origin == origin, held.c.state == "proven", held.c.size < largest))


def add_checkpoint(
    connection: Connection,
    old: int,
    proof: Sequence[bytes],
    note: str,
    arrival: Arrival,
) -> Checkpoint:
    """Take in a checkpoint that its log brings, with the proof that it continues the last one proven here.

    Raises WitnessError, OldSizeError if the proof begins elsewhere, UnprovenError if it does not hold.
    """
    checkpoint = verified(note, arrival.keys)
    last = connection.execute(
        select(held)
        .where(held.c.origin == checkpoint.origin, held.c.state == "proven")
        .order_by(held.c.size.desc())
        .limit(1)
    ).first()
    if old > checkpoint.size:
        raise WitnessError("the proof begins after the checkpoint")
    if old != (0 if last is None else last.size):
        raise OldSizeError(0 if last is None else int(last.size))
    if last is not None:
        kind = _contradiction(last, checkpoint, tuple(proof))
        if kind is not None:
            alarm = _raise_alarm(connection, kind, last.note, note, now=arrival.at)
            raise UnprovenError(alarm, alarm.new)
    taken = _take(connection, checkpoint, arrival.sender, arrival.at)
    if taken.alarm is not None:
        raise UnprovenError(taken.alarm, taken.alarm.new)
    # The note takes the place of a message that stated the same: it is the log's own signature.
    connection.execute(
        update(held)
        .where(
            held.c.origin == checkpoint.origin,
            held.c.size == checkpoint.size,
            held.c.root == checkpoint.root,
            held.c.state != "contradicted",
        )
        .values(state="proven", note=note)
    )
    _let_go(connection, checkpoint.origin)
    return checkpoint


def accused(connection: Connection, accusation: Accusation, now: datetime, *, origin: str) -> Alarm | None:
    """Another member says that this node's log contradicts itself: gives the alarm, or None if its tree bears both out.

    The caller has verified that both statements are this node's. Raises WitnessError, NoteError.
    """
    kind, first, second = accusation.kind, accusation.first, accusation.second
    if kind not in _KINDS:
        raise WitnessError(f"{kind!r} is not a kind of alarm")
    stored = StoredTiles(connection)
    size = connection.scalar(select(head.c.size)) or 0
    for statement in (first, second):
        checkpoint = read_statement(statement)
        if checkpoint.origin != origin:
            raise WitnessError("the statement is about another log")
        try:
            if checkpoint.size > size or root_at(checkpoint.size, stored.node) != checkpoint.root:
                return _raise_alarm(connection, kind, first, second, now=now)
        except ProofError:
            return _raise_alarm(connection, kind, first, second, now=now)
    return None


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
    # What only a message states is not signed by the log itself.
    return tuple(note for note in connection.scalars(statement) if "\n" in note)


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
            Watched(
                Checkpoint(row.origin, row.size, bytes(row.root), row.note),
                row.received_from,
                moment(row.received),
                row.state == "proven",
                found,
            )
        )
    return tuple(result)
