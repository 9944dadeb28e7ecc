"""A log that rewrites its history is caught by whoever holds a checkpoint of it, within one round of questions."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from sqlalchemy import Connection, Engine, delete, insert, select, update

from audit.log.entries import Entry
from audit.log.rows import entry_row
from audit.log.tables import entries, head, held, metadata, tiles
from audit.tree import witness
from audit.tree.checkpoint import (
    Checkpoint,
    LogSigner,
    NoteError,
    WitnessSigner,
    verify_checkpoint,
    with_signatures,
)
from audit.tree.cosignatures import cosign, keep_cosignatures, latest_cosignatures
from audit.tree.merkle import Frontier, consistency_proof, leaf_hash
from audit.tree.proofs import current
from audit.tree.tiles import StoredTiles, completed
from audit.tree.witness import Accusation, Arrival, ConsistencyRequest, Held, Verdict
from gateway.storage import engine as storage
from tests.audit.conftest import ORIGIN, Bench

NAME = "yhdyspinta/b/witness"
ML_DSA = WitnessSigner(MLDSA44PrivateKey.from_seed_bytes(b"\x03" * 32), NAME)
ED25519 = WitnessSigner(Ed25519PrivateKey.from_private_bytes(b"\x03" * 32), NAME)


def message(checkpoint: Checkpoint) -> str:
    """As much of a signed message as matters: its second part has the claim."""
    root = base64.b64encode(checkpoint.root).decode()
    claim = {"log": {"origin": checkpoint.origin, "size": checkpoint.size, "root": root}}
    return "e30." + base64.urlsafe_b64encode(json.dumps(claim).encode()).decode().rstrip("=") + ".c2ln"


@dataclass
class Pair:
    """A log, and a witness with a database of its own."""

    log: Bench
    witness: Engine

    def claim(self, checkpoint: Checkpoint) -> Held:
        """The witness receives a message which states this checkpoint."""
        with self.witness.execution_options(writes=True).begin() as connection:
            stated = replace(checkpoint, note=message(checkpoint))
            return witness.hold_claim(connection, stated, "FI-DEMO/MUN/1", self.log.clock())

    def ask(self) -> Verdict:
        """One round of the schedule: the witness asks for proof of everything that it holds."""
        with self.witness.connect() as connection:
            (request,) = witness.pending(connection)
        with self.log.engine.connect() as connection:
            answer = witness.answer(connection, request)
        with self.witness.execution_options(writes=True).begin() as connection:
            return witness.settle(connection, request, answer, self.arrival)

    def bring(self, old: int, note: str | None = None, proof: tuple[bytes, ...] | None = None) -> Checkpoint:
        """The log brings its newest checkpoint to the witness."""
        with self.log.engine.connect() as connection:
            newest = current(connection)
            made = consistency_proof(old, newest.size, StoredTiles(connection).node) if proof is None else proof
        with self.witness.execution_options(writes=True).begin() as connection:
            return witness.add_checkpoint(connection, old, made, note or newest.note, self.arrival)

    @property
    def keys(self) -> witness.Keys:
        return {ORIGIN: self.log.signer.verifier}

    @property
    def arrival(self) -> Arrival:
        return Arrival("a", self.log.clock(), self.keys)

    def state(self) -> list[tuple[int, str]]:
        with self.witness.connect() as connection:
            return [(row.size, row.state) for row in connection.execute(select(held).order_by(held.c.size))]


@pytest.fixture
def pair(bench: Bench, tmp_path: Path) -> Iterator[Pair]:
    engine = storage.create(f"sqlite:///{tmp_path / 'witness.db'}")
    metadata.create_all(engine)
    yield Pair(bench, engine)
    engine.dispose()


@pytest.fixture
def grow(bench: Bench, make_entry: Callable[..., Entry]) -> Callable[[int], Checkpoint]:
    """Append so many entries; gives the checkpoint after them."""

    def append(count: int) -> Checkpoint:
        bench.clock.move(minutes=1)
        with bench.log() as log:
            return log.append_blocking([make_entry() for _ in range(count)]).checkpoint

    return append


def rewrite(bench: Bench, change: Callable[[Connection], None]) -> None:
    """Change entries in plain SQL, then let the log's own key make everything agree again."""
    with bench.tampering() as connection:
        change(connection)
        bodies = connection.scalars(select(entries.c.body).order_by(entries.c.idx)).all()
        leaves = [leaf_hash(body.encode()) for body in bodies]
        names = [column.name for column in entries.columns]
        connection.execute(delete(entries))
        for index, body in enumerate(bodies):
            row = entry_row(index, Entry.parse(body), body.encode())
            connection.execute(insert(entries).values(**dict(zip(names, row, strict=True))))
        connection.execute(delete(tiles))
        for level, number, root, hashes in completed(StoredTiles(connection), 0, leaves, []):
            connection.execute(insert(tiles).values(level=level, number=number, root=root, hashes=hashes))
        frontier = Frontier().extended(leaves)
        note = bench.signer.sign(len(leaves), frontier.root()).note
        connection.execute(update(head).values(size=len(leaves), frontier=frontier.to_bytes(), note=note))


def alter(connection: Connection) -> None:
    body = connection.scalar(select(entries.c.body).where(entries.c.idx == 17))
    changed = replace(Entry.parse(str(body)), purpose="marketing").canonical().decode()
    connection.execute(update(entries).where(entries.c.idx == 17).values(body=changed))


def remove(connection: Connection) -> None:
    connection.execute(delete(entries).where(entries.c.idx == 17))


def push_in(connection: Connection) -> None:
    for index in range(289, 16, -1):
        connection.execute(update(entries).where(entries.c.idx == index).values(idx=index + 1))
    body = connection.scalar(select(entries.c.body).where(entries.c.idx == 16))
    extra = replace(Entry.parse(str(body)), id="", reason="pushed-in")
    names = [column.name for column in entries.columns]
    row = entry_row(17, extra, extra.canonical())
    connection.execute(insert(entries).values(**dict(zip(names, row, strict=True))))


def swap(connection: Connection) -> None:
    for where, to in ((17, 10_000), (60, 17), (10_000, 60)):
        connection.execute(update(entries).where(entries.c.idx == where).values(idx=to))


def back_date(connection: Connection) -> None:
    body = connection.scalar(select(entries.c.body).where(entries.c.idx == 17))
    entry = Entry.parse(str(body))
    changed = replace(entry, recorded=entry.recorded - timedelta(days=30)).canonical().decode()
    connection.execute(update(entries).where(entries.c.idx == 17).values(body=changed))


def truncate(connection: Connection) -> None:
    connection.execute(delete(entries).where(entries.c.idx >= 270))


def test_growing_log_is_proven_and_only_its_newest_checkpoint_is_kept(
    pair: Pair, grow: Callable[[int], Checkpoint]
) -> None:
    for count in (3, 250, 40):
        assert pair.claim(grow(count)).new
    assert not pair.claim(current_of(pair)).new, "the same statement is held once"
    verdict = pair.ask()
    assert (verdict.alarm, verdict.proven) == (None, (3, 253, 293))
    assert pair.state() == [(293, "proven")]
    late = pair.claim(grow(1))
    assert late.new
    assert pair.ask().proven == (293, 294)


def current_of(pair: Pair) -> Checkpoint:
    with pair.log.engine.connect() as connection:
        return current(connection)


def test_statement_that_comes_late_is_proven_too(pair: Pair, grow: Callable[[int], Checkpoint]) -> None:
    early, later = grow(5), grow(300)
    pair.claim(later)
    pair.ask()
    pair.claim(early)
    verdict = pair.ask()
    assert (verdict.alarm, verdict.proven) == (None, (5, 305))
    assert pair.state() == [(305, "proven")]


@pytest.mark.parametrize("change", [alter, remove, push_in, swap, back_date, truncate], ids=lambda one: one.__name__)
def test_history_rewritten_with_the_logs_own_key_raises_an_alarm_in_the_next_round(
    pair: Pair, grow: Callable[[int], Checkpoint], change: Callable[[Connection], None]
) -> None:
    pair.claim(grow(290))
    rewrite(pair.log, change)
    verdict = pair.ask()
    assert verdict.alarm is not None
    assert verdict.alarm.kind == ("rollback" if change in (truncate, remove) else "fork")
    assert verdict.alarm.new
    assert verdict.alarm.sizes[0] == 290
    assert ORIGIN in verdict.alarm.explanation()
    assert pair.ask().alarm is None, "the same contradiction is told once"
    grow(50)
    pair.ask()
    with pair.witness.connect() as connection:
        assert len(witness.all_alarms(connection)) == 1
    assert (290, "contradicted") in pair.state(), "the statement stays as evidence"


def test_two_histories_shown_to_one_witness_are_a_fork_at_once(pair: Pair, grow: Callable[[int], Checkpoint]) -> None:
    shown = grow(10)
    pair.claim(shown)
    taken = pair.claim(pair.log.signer.sign(10, b"\x01" * 32))
    assert taken.alarm is not None
    assert (taken.alarm.kind, taken.alarm.new) == ("fork", True)
    assert read_both(taken.alarm) == {shown.root, b"\x01" * 32}


def read_both(alarm: witness.Alarm) -> set[bytes]:
    return {witness.read_statement(alarm.first).root, witness.read_statement(alarm.second).root}


def test_history_that_forks_before_two_witnesses_is_found_by_the_one_who_is_lied_to(
    pair: Pair, grow: Callable[[int], Checkpoint]
) -> None:
    grow(10)
    pair.claim(pair.log.signer.sign(8, b"\x02" * 32))
    verdict = pair.ask()
    assert verdict.alarm is not None
    assert verdict.alarm.kind == "fork"


def test_log_that_gives_no_proof_is_inconsistent(pair: Pair, grow: Callable[[int], Checkpoint]) -> None:
    pair.claim(grow(10))
    note = grow(5).note
    request = ConsistencyRequest(ORIGIN, (10,))
    with pair.witness.execution_options(writes=True).begin() as connection:
        answer = witness.ConsistencyAnswer(note, ((10, None),))
        verdict = witness.settle(connection, request, answer, pair.arrival)
    assert verdict.alarm is not None
    assert verdict.alarm.kind == "inconsistent"


def test_answer_of_another_log_or_by_another_key_is_refused(pair: Pair, grow: Callable[[int], Checkpoint]) -> None:
    pair.claim(grow(10))
    forger = LogSigner(Ed25519PrivateKey.from_private_bytes(b"\x08" * 32), ORIGIN)
    stranger = LogSigner(Ed25519PrivateKey.from_private_bytes(b"\x08" * 32), "log.example.fi/node-z")
    for signer in (forger, stranger):
        answer = witness.ConsistencyAnswer(signer.sign(12, b"\x01" * 32).note, ())
        with (
            pytest.raises(witness.WitnessError),
            pair.witness.execution_options(writes=True).begin() as connection,
        ):
            witness.settle(connection, ConsistencyRequest(ORIGIN, (10,)), answer, pair.arrival)
    assert pair.state() == [(10, "unproven")]


@pytest.mark.parametrize("signer", [ML_DSA, ED25519], ids=["ml-dsa-44", "ed25519"])
def test_checkpoint_that_its_log_brings_is_cosigned_and_the_cosignature_kept(
    pair: Pair, grow: Callable[[int], Checkpoint], signer: WitnessSigner
) -> None:
    grow(30)
    brought = pair.bring(0)
    with pair.witness.connect() as connection:
        line = cosign(connection, brought.note, signer, pair.log.clock(), keys=pair.keys)
    with pair.log.writing() as connection:
        (kept,) = keep_cosignatures(
            connection, brought.note, [line], log_key=pair.log.signer.verifier, witnesses=[signer.verifier]
        )
        assert latest_cosignatures(connection) == ((NAME, 30),)
    assert (kept.witness, kept.timestamp) == (NAME, int(pair.log.clock().timestamp()))
    whole = with_signatures(brought.note, [line])
    assert verify_checkpoint(whole, pair.log.signer.verifier, [signer.verifier])[1] == (kept,)
    grow(300)
    assert pair.bring(30).size == 330
    assert pair.state() == [(330, "proven")]


def test_witness_takes_a_checkpoint_only_from_where_it_left_off(pair: Pair, grow: Callable[[int], Checkpoint]) -> None:
    grow(30)
    pair.bring(0)
    grow(5)
    with pytest.raises(witness.OldSizeError) as caught:
        pair.bring(0)
    assert caught.value.size == 30
    with pytest.raises(witness.WitnessError, match="begins after"):
        pair.bring(36, proof=())
    with pytest.raises(witness.UnprovenError):
        pair.bring(30, proof=(b"\x00" * 32,))


@pytest.mark.parametrize("change", [alter, remove, push_in, swap, back_date], ids=lambda one: one.__name__)
def test_rewritten_log_that_comes_for_a_cosignature_gets_an_alarm(
    pair: Pair, grow: Callable[[int], Checkpoint], change: Callable[[Connection], None]
) -> None:
    grow(290)
    pair.bring(0)
    rewrite(pair.log, change)
    grow(20)
    with pytest.raises(witness.UnprovenError) as caught:
        pair.bring(290)
    assert (caught.value.alarm.kind, caught.value.new) == ("fork", True)


def test_log_that_raised_an_alarm_is_not_cosigned_any_more(pair: Pair, grow: Callable[[int], Checkpoint]) -> None:
    grow(10)
    brought = pair.bring(0)
    pair.claim(pair.log.signer.sign(10, b"\x01" * 32))
    with pair.witness.connect() as connection, pytest.raises(witness.WitnessError, match="alarm"):
        cosign(connection, brought.note, ML_DSA, pair.log.clock(), keys=pair.keys)


def test_checkpoint_that_was_not_proven_is_not_cosigned(pair: Pair, grow: Callable[[int], Checkpoint]) -> None:
    checkpoint = grow(10)
    pair.claim(checkpoint)
    with pair.witness.connect() as connection, pytest.raises(witness.WitnessError, match="not been proven"):
        cosign(connection, checkpoint.note, ML_DSA, pair.log.clock(), keys=pair.keys)


def test_log_keeps_no_cosignature_that_is_bad_or_of_another_tree(pair: Pair, grow: Callable[[int], Checkpoint]) -> None:
    checkpoint = grow(10)
    at = int(pair.log.clock().timestamp())
    good = ML_DSA.cosign(checkpoint, at)
    bad = replace(good, signature=good.signature[:-1] + bytes([good.signature[-1] ^ 1]))
    other = pair.log.signer.sign(10, b"\x01" * 32)
    options = {"log_key": pair.log.signer.verifier, "witnesses": [ML_DSA.verifier]}
    with pair.log.writing() as connection:
        for note, line in ((checkpoint.note, bad), (other.note, ML_DSA.cosign(other, at))):
            with pytest.raises(witness.WitnessError):
                keep_cosignatures(connection, note, [line], **options)  # type: ignore[arg-type]
        assert latest_cosignatures(connection) == ()


def test_accusation_is_believed_only_if_the_tree_bears_it_out(pair: Pair, grow: Callable[[int], Checkpoint]) -> None:
    first, second = grow(10), grow(10)
    false = pair.log.signer.sign(10, b"\x01" * 32)
    with pair.log.writing() as connection:
        now = pair.log.clock()
        assert witness.accused(connection, Accusation("fork", first.note, message(second)), now, origin=ORIGIN) is None
        alarm = witness.accused(connection, Accusation("fork", first.note, false.note), now, origin=ORIGIN)
        assert alarm is not None
        assert alarm.new
        beyond = pair.log.signer.sign(900, b"\x01" * 32)
        assert (
            witness.accused(connection, Accusation("rollback", beyond.note, first.note), now, origin=ORIGIN) is not None
        )
        with pytest.raises(witness.WitnessError):
            witness.accused(connection, Accusation("gossip", first.note, false.note), now, origin=ORIGIN)
        with pytest.raises(witness.WitnessError):
            witness.accused(connection, Accusation("fork", first.note, false.note), now, origin="another")


@pytest.mark.parametrize("statement", ["", "a.b", "a.!!.c", "e30.e30.e30", "e30.bnVsbA.e30"])
def test_what_is_no_statement_is_told(statement: str) -> None:
    with pytest.raises(NoteError):
        witness.read_statement(statement)


def test_what_is_watched_is_listed(pair: Pair, grow: Callable[[int], Checkpoint]) -> None:
    pair.claim(grow(10))
    with pair.witness.connect() as connection:
        (watched,) = witness.watched(connection)
        assert (watched.checkpoint.size, watched.proven, watched.alarms) == (10, False, 0)
        assert witness.held_notes(connection) == (), "what only a message states is not the log's own signature"
    pair.ask()
    pair.claim(grow(1))
    pair.ask()
    with pair.witness.connect() as connection:
        (watched,) = witness.watched(connection)
        assert (watched.checkpoint.size, watched.proven) == (11, True)
