"""What the log promises whoever writes to it: all or nothing, in order, durable, and never two stories."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from audit.log.entries import Entry, EntryError
from audit.log.log import Log, LogAlteredError, LogClosedError, LogError, LogOverloadedError, LogUnavailableError
from audit.log.tables import TRIGGER_DDL, checkpoints, entries, head, metadata, tiles
from audit.log.waiting import Written
from audit.questions.check import check
from audit.tree.checkpoint import LogSigner, verify_checkpoint
from audit.tree.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from audit.tree.tiles import StoredTiles, Tile
from gateway.storage import engine as storage
from tests.audit.conftest import START, Bench, entry_at
from tests.trees import root_of, tiles_of, unbundle
from tests.waiting import LIMIT_SECONDS

Make = Callable[..., Entry]


def stored(engine: Engine) -> list[tuple[int, str]]:
    with engine.connect() as connection:
        return [(row.idx, row.id) for row in connection.execute(select(entries).order_by(entries.c.idx))]


def gate() -> tuple[Callable[[Connection], Written[None]], threading.Event, threading.Event]:
    """A unit that holds the appender until it is let go, so that what comes meanwhile forms one batch."""
    entered, leave = threading.Event(), threading.Event()

    def unit(_: Connection) -> Written[None]:
        entered.set()
        assert leave.wait(LIMIT_SECONDS)
        return Written(None, ())

    return unit, entered, leave


async def test_concurrent_units_get_dense_distinct_indexes_in_their_order(bench: Bench, make_entry: Make) -> None:
    unit, entered, leave = gate()
    with bench.log() as log:
        blocked = asyncio.ensure_future(log.commit(unit))
        await asyncio.to_thread(entered.wait)
        made = [[make_entry() for _ in range(number % 4)] for number in range(60)]
        waiting = [
            asyncio.ensure_future(log.commit(lambda _, mine=mine, number=number: Written(number, mine)))
            for number, mine in enumerate(made)
        ]
        await asyncio.sleep(0)
        leave.set()
        await blocked
        committed = await asyncio.gather(*waiting)
    assert [done.value for done in committed] == list(range(60))
    indexes = [index for done in committed for index in done.indexes]
    assert indexes == list(range(sum(len(mine) for mine in made)))
    assert len({done.checkpoint.size for done in committed}) == 1, "what waited together is written together"
    expected = [(index, entry.id) for index, entry in enumerate(entry for mine in made for entry in mine)]
    assert stored(bench.engine) == expected


def test_units_from_many_threads_get_dense_distinct_indexes(bench: Bench, make_entry: Make) -> None:
    with bench.log(max_batch=7) as log, ThreadPoolExecutor(8) as pool:
        committed = list(pool.map(lambda _: log.append_blocking([make_entry(), make_entry()]), range(60)))
        assert sorted(index for done in committed for index in done.indexes) == list(range(120))
        assert all(done.indexes[1] == done.indexes[0] + 1 for done in committed)
        assert all(done.checkpoint.size > done.indexes[1] for done in committed)
        assert log.latest().size == 120


@pytest.mark.parametrize("company", ["alone", "in company"])
async def test_failing_unit_raises_to_its_own_waiter_only_and_leaves_nothing(
    bench: Bench, make_entry: Make, company: str
) -> None:
    with bench.writing() as connection:
        connection.execute(text("CREATE TABLE consent_rows (id INTEGER PRIMARY KEY)"))
    unit, entered, leave = gate()

    def writes(number: int) -> Callable[[Connection], Written[int]]:
        def run(connection: Connection) -> Written[int]:
            connection.execute(text("INSERT INTO consent_rows VALUES (:n)"), {"n": number})
            return Written(number, [make_entry()])

        return run

    def withdrawn(connection: Connection) -> Written[int]:
        writes(50)(connection)
        raise PermissionError("the consent was withdrawn")

    def clashes(connection: Connection) -> Written[int]:
        writes(51)(connection)
        return writes(51)(connection)

    def unrecordable(connection: Connection) -> Written[int]:
        writes(52)(connection)
        return Written(52, [make_entry(reason="x" * 70_000)])

    with bench.log() as log:
        if company == "in company":
            blocked = asyncio.ensure_future(log.commit(unit))
            await asyncio.to_thread(entered.wait)
            waiting = [
                asyncio.ensure_future(log.commit(each))
                for each in (writes(1), withdrawn, writes(2), clashes, unrecordable, writes(3))
            ]
            await asyncio.sleep(0)
            leave.set()
            await blocked
            results = await asyncio.gather(*waiting, return_exceptions=True)
        else:
            results = [
                (await asyncio.gather(log.commit(each), return_exceptions=True))[0]
                for each in (writes(1), withdrawn, writes(2), clashes, unrecordable, writes(3))
            ]
        size = log.latest().size
    assert [type(result).__name__ for result in results[1:2]] == ["PermissionError"]
    assert isinstance(results[3], IntegrityError)
    assert isinstance(results[4], EntryError)
    assert [results[at].indexes for at in (0, 2, 5)] == [(0,), (1,), (2,)]
    assert size == 3
    with bench.engine.connect() as connection:
        assert connection.scalars(text("SELECT id FROM consent_rows ORDER BY id")).all() == [1, 2, 3]
    assert len(stored(bench.engine)) == 3


def test_unit_sees_what_earlier_units_wrote(bench: Bench, make_entry: Make) -> None:
    with bench.log() as log:
        log.append_blocking([make_entry(), make_entry()])
        seen = log.commit_blocking(
            lambda connection: Written(connection.scalar(select(func.count()).select_from(entries)), ())
        )
    assert seen.value == 2
    assert seen.indexes == ()
    assert seen.checkpoint.size == 2


def test_each_commit_is_covered_by_a_checkpoint_that_proves_it(bench: Bench, make_entry: Make) -> None:
    with bench.log() as log:
        assert (log.latest().size, log.latest().root) == (0, EMPTY_ROOT)
        earlier = log.latest()
        for _ in range(12):
            made = make_entry()
            done = log.append_blocking([make_entry(), made])
            checkpoint, _ = verify_checkpoint(done.checkpoint.note, bench.signer.verifier)
            assert checkpoint == done.checkpoint
            with bench.engine.connect() as connection:
                index = done.indexes[1]
                proof = inclusion_proof(index, checkpoint.size, StoredTiles(connection).node)
                verify_inclusion(leaf_hash(made.canonical()), index, checkpoint.size, proof, checkpoint.root)
                proof = consistency_proof(earlier.size, checkpoint.size, StoredTiles(connection).node)
                verify_consistency(earlier.size, earlier.root, checkpoint.size, checkpoint.root, proof)
                assert log.entry(connection, index) == made
                assert log.entry(connection, index + 1) is None
            earlier = checkpoint


async def test_too_many_waiting_units_are_refused_with_the_time_to_come_back(bench: Bench, make_entry: Make) -> None:
    unit, entered, leave = gate()
    with bench.log(max_waiting=3) as log:
        blocked = asyncio.ensure_future(log.commit(unit))
        await asyncio.to_thread(entered.wait)
        waiting = [asyncio.ensure_future(log.append([make_entry()])) for _ in range(3)]
        await asyncio.sleep(0)
        assert log.waiting == 3
        beyond = asyncio.ensure_future(log.append([make_entry()]))
        await asyncio.sleep(0)
        leave.set()  # a log that took it all the same must not be waited for without end
        with pytest.raises(LogOverloadedError) as caught:
            await beyond
        await blocked
        assert [done.indexes for done in await asyncio.gather(*waiting)] == [(0,), (1,), (2,)]
        assert (await log.append([make_entry()])).indexes == (3,)
    assert caught.value.retry_after >= 0.1


async def test_unit_whose_waiter_gave_up_before_its_turn_is_not_recorded(bench: Bench, make_entry: Make) -> None:
    unit, entered, leave = gate()
    with bench.log() as log:
        blocked = asyncio.ensure_future(log.commit(unit))
        await asyncio.to_thread(entered.wait)
        gone = asyncio.ensure_future(log.append([make_entry(reason="gone")]))
        stays = asyncio.ensure_future(log.append([make_entry(reason="stays")]))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        leave.set()
        await blocked
        assert (await stays).indexes == (0,)
    assert len(stored(bench.engine)) == 1


def test_log_continues_its_tree_after_a_restart(bench: Bench, make_entry: Make) -> None:
    with bench.log() as log:
        log.append_blocking([make_entry() for _ in range(300)])
        earlier = log.latest()
    with bench.log() as log:
        assert log.latest() == earlier
        done = log.append_blocking([make_entry() for _ in range(300)])
        assert done.indexes == tuple(range(300, 600))
        with bench.engine.connect() as connection:
            proof = consistency_proof(300, 600, StoredTiles(connection).node)
            leaves = [leaf_hash(body.encode()) for body in connection.scalars(select(entries.c.body))]
        verify_consistency(300, earlier.root, 600, done.checkpoint.root, proof)
        assert done.checkpoint.root == root_of(leaves)


def test_stored_tiles_are_those_of_the_tree(bench: Bench, make_entry: Make) -> None:
    with bench.log() as log:
        made = [make_entry() for _ in range(900)]
        for cut in (0, 100, 255, 256, 300, 899):
            following = next((at for at in (100, 255, 256, 300, 899) if at > cut), 900)
            log.append_blocking(made[cut:following])
        checkpoint = log.latest()
    leaves = [leaf_hash(entry.canonical()) for entry in made]
    assert checkpoint.root == root_of(leaves)
    with bench.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(tiles)) == 3
        stored_tiles = StoredTiles(connection)
        for tile in tiles_of(900):
            if tile.level == 0:
                first = tile.number * 256
                assert stored_tiles.read(tile, 900) == b"".join(leaves[first : first + tile.width])
            else:
                roots = [root_of(leaves[at * 256 : (at + 1) * 256]) for at in range(3)]
                assert stored_tiles.read(tile, 900) == b"".join(roots)
        bundle = stored_tiles.read(Tile(None, 3, 132), 900)
        assert bundle is not None
        assert unbundle(bundle) == [entry.canonical() for entry in made[768:]]
        assert stored_tiles.read(Tile(0, 3), 900) is None
        assert stored_tiles.read(Tile(None, 4, 1), 900) is None


def test_two_replicas_on_one_database_never_fork(postgresql_url: str) -> None:
    one_engine, two_engine = storage.create(postgresql_url), storage.create(postgresql_url)
    metadata.create_all(one_engine)
    with Bench(one_engine).log(max_batch=5) as one, Bench(two_engine).log(max_batch=5) as two:
        turns = [(one, two)[number % 2] for number in range(160)]
        with ThreadPoolExecutor(8) as pool:
            committed = list(pool.map(lambda log: log.append_blocking([entry_at(START), entry_at(START)]), turns))
    assert sorted(index for done in committed for index in done.indexes) == list(range(320))
    seen = {(done.checkpoint.size, done.checkpoint.root) for done in committed}
    assert len({size for size, _ in seen}) == len(seen), "no size has two roots"
    with one_engine.connect() as connection:
        bodies = connection.scalars(select(entries.c.body).order_by(entries.c.idx)).all()
    leaves = [leaf_hash(body.encode()) for body in bodies]
    for size, root in seen:
        assert root == root_of(leaves[:size])
    one_engine.dispose()
    two_engine.dispose()


def test_replica_refuses_to_write_on_a_database_that_was_set_back(bench: Bench, make_entry: Make) -> None:
    with bench.log() as log:
        log.append_blocking([make_entry()])
        with bench.engine.connect() as connection:
            before = connection.execute(select(head)).one()
        log.append_blocking([make_entry()])
        with bench.tampering() as connection:
            connection.execute(entries.delete().where(entries.c.idx == 1))
            connection.execute(head.update().values(**before._asdict()))
        with pytest.raises(LogAlteredError, match="went back from 2 to 1"):
            log.append_blocking([make_entry()])


def test_replica_refuses_to_write_on_a_tree_that_is_not_the_one_it_signed(bench: Bench, make_entry: Make) -> None:
    with bench.log() as log:
        log.append_blocking([make_entry()])
        with bench.tampering() as connection:
            connection.execute(head.update().values(frontier=b"\x01" * 32))
        with pytest.raises(LogAlteredError, match="another root"):
            log.append_blocking([make_entry()])


def test_nothing_is_acknowledged_when_the_database_does_not_take_it(bench: Bench, make_entry: Make) -> None:
    with bench.log() as log:
        log.append_blocking([make_entry()])
        with bench.tampering() as connection:
            connection.exec_driver_sql("ALTER TABLE audit_entries RENAME TO away")
        with pytest.raises(LogUnavailableError):
            log.append_blocking([make_entry()])
        assert log.latest().size == 1
        with bench.tampering() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO audit_entries")
        assert log.append_blocking([make_entry()]).indexes == (1,)
    assert [index for index, _ in stored(bench.engine)] == [0, 1]


@pytest.mark.parametrize("table", ["entries", "facets", "tiles", "checkpoints"])
def test_database_refuses_to_change_or_delete_what_was_recorded(bench: Bench, make_entry: Make, table: str) -> None:
    with bench.log() as log:
        bench.clock.move(minutes=2)
        log.append_blocking([make_entry() for _ in range(256)])
    column = {"entries": "outcome", "facets": "value", "tiles": "root", "checkpoints": "note"}[table]
    attempts = [f"UPDATE audit_{table} SET {column} = {column}", f"DELETE FROM audit_{table}"]
    if bench.engine.dialect.name == "postgresql":
        attempts.append(f"TRUNCATE audit_{table}")
    for attempt in attempts:
        with pytest.raises(DBAPIError, match="append-only"), bench.writing() as connection:
            connection.exec_driver_sql(attempt)
    with bench.engine.connect() as connection:
        assert connection.exec_driver_sql(f"SELECT count(*) FROM audit_{table}").scalar_one() > 0


def test_migrations_find_the_triggers_of_both_databases() -> None:
    for dialect in ("sqlite", "postgresql"):
        made = [statement for statement in TRIGGER_DDL[dialect] if statement.startswith("CREATE TRIGGER")]
        for table in ("entries", "facets", "tiles", "checkpoints", "cosignatures"):
            for action in ("update", "delete"):
                assert sum(f"audit_{table}_no_{action} " in statement for statement in made) == 1


def test_checkpoints_are_kept_at_the_pace_that_was_asked_for(bench: Bench, make_entry: Make) -> None:
    with bench.log() as log:
        for _ in range(7):
            bench.clock.move(seconds=20)
            log.append_blocking([make_entry()])
    with bench.engine.connect() as connection:
        sizes = connection.scalars(select(checkpoints.c.size).order_by(checkpoints.c.size)).all()
    assert sizes == [3, 6]


def test_log_that_is_not_running_says_so(bench: Bench, make_entry: Make) -> None:
    log = Log(bench.engine, bench.signer, origin=bench.signer.name, clock=bench.clock)
    with pytest.raises(LogClosedError, match="not been started"):
        log.append_blocking([make_entry()])
    with pytest.raises(LogClosedError, match="not been started"):
        log.latest()
    log.start()
    with pytest.raises(LogError, match="already"):
        log.start()
    log.close()
    log.close()
    with pytest.raises(LogClosedError, match="closed"):
        log.append_blocking([make_entry()])


async def test_units_that_waited_when_the_log_closed_are_written(bench: Bench, make_entry: Make) -> None:
    unit, entered, leave = gate()
    with bench.log() as log:
        blocked = asyncio.ensure_future(log.commit(unit))
        await asyncio.to_thread(entered.wait)
        waiting = [asyncio.ensure_future(log.append([make_entry()])) for _ in range(4)]
        await asyncio.sleep(0)
        leave.set()
        await asyncio.to_thread(log.close)
        await blocked
        assert [done.indexes for done in await asyncio.gather(*waiting)] == [(0,), (1,), (2,), (3,)]


def test_log_of_another_node_is_refused(bench: Bench, make_entry: Make) -> None:
    with bench.log() as log:
        log.append_blocking([make_entry()])
    other = LogSigner(Ed25519PrivateKey.generate(), "log.example.fi/node-b")
    with pytest.raises(LogAlteredError, match="node-a"):
        Log(bench.engine, other, origin=other.name, clock=bench.clock).start()
    with pytest.raises(ValueError, match="signer"):
        Log(bench.engine, other, origin="log.example.fi/node-a", clock=bench.clock)


@pytest.mark.parametrize("trouble", ["disk full", "read-only"])
def test_full_disk_and_read_only_database_acknowledge_nothing_and_pass(
    bench: Bench, make_entry: Make, trouble: str
) -> None:
    postgresql = bench.engine.dialect.name == "postgresql"
    if postgresql and trouble == "disk full":
        pytest.skip("a full disk of PostgreSQL cannot be had without one; its error takes the same way")

    def strike(connection: Connection) -> Written[None]:
        if postgresql:
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        else:
            connection.exec_driver_sql("PRAGMA query_only=1" if trouble == "read-only" else "PRAGMA max_page_count=1")
        return Written(None, [make_entry(detail={"filling": "x" * 5_000}) for _ in range(50)])

    with bench.log() as log:
        log.append_blocking([make_entry()])
        with pytest.raises(LogUnavailableError):
            log.commit_blocking(strike)
        assert log.latest().size == 1
        assert not log.is_writable
        if not postgresql:
            assert ("full" if trouble == "disk full" else "readonly") in str(log.failure)
        assert log.append_blocking([make_entry()]).indexes == (1,)
        assert log.is_writable
    assert [index for index, _ in stored(bench.engine)] == [0, 1]
    assert check(bench.engine, log_key=bench.signer.verifier).sound


def test_log_does_not_go_on_with_another_key_when_its_own_was_lost(bench: Bench, make_entry: Make) -> None:
    with bench.log() as log:
        log.append_blocking([make_entry()])
    new = LogSigner(Ed25519PrivateKey.generate(), bench.signer.name)
    with pytest.raises(LogAlteredError, match="the key given"):
        Log(bench.engine, new, origin=new.name, clock=bench.clock).start()
    report = check(bench.engine, log_key=new.verifier)
    assert {finding.kind for finding in report.findings} == {"head"}
    assert check(bench.engine, log_key=bench.signer.verifier).sound
