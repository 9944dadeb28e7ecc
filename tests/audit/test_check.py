"""Whoever changes the log behind its back, in plain SQL without triggers, is found out at the right entry."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, insert, select, update

from audit.log.entries import Entry, micros
from audit.log.rows import entry_row, facet_rows, seal
from audit.log.tables import checkpoints, cosignatures, entries, facets, head, tiles
from audit.questions.check import Report, check
from audit.questions.checks import Others
from audit.questions.damage import Finding
from audit.tree.checkpoint import Checkpoint, LogSigner, WitnessSigner, with_signatures
from audit.tree.merkle import Frontier, leaf_hash
from tests.audit.conftest import ORIGIN, Bench
from tests.trees import root_of

SIZE = 300
BATCH = 10


@pytest.fixture
def filled(bench: Bench, make_entry: Callable[..., Entry]) -> list[Checkpoint]:
    """A log of 300 entries, ten a minute, with the checkpoints that were given out on the way."""
    with bench.log() as log:
        given = []
        for _ in range(SIZE // BATCH):
            bench.clock.move(minutes=1)
            given.append(log.append_blocking([make_entry() for _ in range(BATCH)]).checkpoint)
    return given


def examine(bench: Bench, **settings: object) -> Report:
    return check(bench.engine, log_key=bench.signer.verifier, **settings)  # type: ignore[arg-type]


def found(bench: Bench, **settings: object) -> Finding:
    report = examine(bench, **settings)
    assert not report.sound
    assert report.first is not None
    return report.first


def body_at(connection: Connection, index: int) -> str:
    return connection.execute(select(entries.c.body).where(entries.c.idx == index)).scalar_one()


def rewritten(connection: Connection, index: int, **changes: object) -> Entry:
    return replace(Entry.parse(body_at(connection, index)), **changes)  # type: ignore[arg-type]


def write_row(connection: Connection, index: int, entry: Entry) -> None:
    """Change an entry the thorough way: text, hash, seal and search columns all agree."""
    row = entry_row(index, entry, entry.canonical())
    names = [column.name for column in entries.columns]
    connection.execute(update(entries).where(entries.c.idx == index).values(**dict(zip(names, row, strict=True))))
    connection.execute(facets.delete().where(facets.c.idx == index))
    for kind, value, at, where in facet_rows(index, entry):
        connection.execute(insert(facets).values(kind=kind, value=value, recorded=at, idx=where))


def resign(connection: Connection, signer: LogSigner) -> None:
    """Rebuild everything that the log's key can rebuild: tiles, frontier, head and kept checkpoints."""
    leaves = [leaf_hash(body.encode()) for body in connection.scalars(select(entries.c.body).order_by(entries.c.idx))]
    for index, leaf in enumerate(leaves):
        connection.execute(update(entries).where(entries.c.idx == index).values(leaf=leaf, seal=seal(index, leaf)))
    for number in range(len(leaves) // 256):
        block = leaves[number * 256 : number * 256 + 256]
        connection.execute(
            update(tiles)
            .where(tiles.c.level == 0, tiles.c.number == number)
            .values(root=root_of(block), hashes=b"".join(block))
        )
    frontier = Frontier().extended(leaves)
    connection.execute(
        update(head).values(
            size=len(leaves),
            frontier=frontier.to_bytes(),
            note=signer.sign(len(leaves), frontier.root()).note,
        )
    )
    for size in connection.scalars(select(checkpoints.c.size)).all():
        where = checkpoints.c.size == size
        if size > len(leaves):
            connection.execute(checkpoints.delete().where(where))
        else:
            note = signer.sign(size, root_of(leaves[:size])).note
            connection.execute(update(checkpoints).where(where).values(note=note))


def test_untouched_log_passes(bench: Bench, filled: list[Checkpoint]) -> None:
    steps: list[tuple[int, int]] = []
    report = examine(
        bench,
        others=Others(seen=[checkpoint.note for checkpoint in filled]),
        progress=lambda done, size: steps.append((done, size)),
    )
    assert report.findings == ()
    assert report.sound
    assert report.first is None
    assert (report.origin, report.size, report.checked) == (ORIGIN, SIZE, SIZE)
    assert report.root == filled[-1].root
    assert report.anchors > 2 * len(filled) - 2
    assert steps[-1] == (SIZE, SIZE)


def test_empty_log_passes(bench: Bench) -> None:
    with bench.log():
        pass
    assert examine(bench).sound


@pytest.mark.parametrize("index", [0, 123, 255, 256, 299])
def test_entry_whose_text_was_changed_is_named(bench: Bench, filled: list[Checkpoint], index: int) -> None:
    with bench.tampering() as connection:
        changed = rewritten(connection, index, purpose="marketing")
        connection.execute(update(entries).where(entries.c.idx == index).values(body=changed.canonical().decode()))
    first = found(bench)
    assert (first.kind, first.index, first.through, first.entry) == ("altered", index, index, changed.id)


@pytest.mark.parametrize("index", [0, 123, 255])
def test_entry_changed_with_its_hash_and_columns_is_named_by_its_tile(
    bench: Bench, filled: list[Checkpoint], index: int
) -> None:
    with bench.tampering() as connection:
        write_row(connection, index, rewritten(connection, index, purpose="marketing"))
    first = found(bench)
    assert (first.kind, first.index, first.through) == ("altered", index, index)


def test_thorough_change_is_not_hidden_behind_a_clumsy_one_in_the_same_stretch(
    bench: Bench, filled: list[Checkpoint]
) -> None:
    with bench.tampering() as connection:
        write_row(connection, 291, rewritten(connection, 291, purpose="marketing"))
        clumsy = rewritten(connection, 295, purpose="marketing").canonical().decode()
        connection.execute(update(entries).where(entries.c.idx == 295).values(body=clumsy))
    report = examine(bench)
    assert [(item.kind, item.index) for item in report.findings] == [("forked", 290), ("altered", 295)]


def test_history_signed_anew_here_and_there_is_bounded_by_what_others_vouch_for(
    bench: Bench, filled: list[Checkpoint]
) -> None:
    with bench.tampering() as connection:
        kept = {row.size: row.note for row in connection.execute(select(checkpoints)) if row.size == 150}
        write_row(connection, 123, rewritten(connection, 123, purpose="marketing"))
        resign(connection, bench.signer)
        for size, note in kept.items():
            connection.execute(update(checkpoints).where(checkpoints.c.size == size).values(note=note))
    first = found(bench, others=Others(seen=[filled[9].note, filled[19].note]))
    assert (first.kind, first.index, first.through) == ("forked", 100, 149)


@pytest.mark.parametrize("index", [5, 123, 270, 299])
def test_history_rewritten_everywhere_but_in_signed_checkpoints_is_placed_between_two_of_them(
    bench: Bench, filled: list[Checkpoint], index: int
) -> None:
    with bench.tampering() as connection:
        kept = {row.size: row.note for row in connection.execute(select(checkpoints))}
        write_row(connection, index, rewritten(connection, index, purpose="marketing"))
        resign(connection, bench.signer)
        for size, note in kept.items():
            connection.execute(update(checkpoints).where(checkpoints.c.size == size).values(note=note))
    first = found(bench)
    assert first.kind == "forked"
    assert (first.index, first.through) == (index // BATCH * BATCH, index // BATCH * BATCH + BATCH - 1)


def test_history_rewritten_with_the_logs_own_key_is_found_by_what_others_hold(
    bench: Bench, filled: list[Checkpoint]
) -> None:
    witness = WitnessSigner(Ed25519PrivateKey.from_private_bytes(b"\x09" * 32), "witness.example.fi/w")
    with bench.tampering() as connection:
        write_row(connection, 123, rewritten(connection, 123, purpose="marketing"))
        resign(connection, bench.signer)
    assert examine(bench).sound, "nothing inside the database can tell"

    assert found(bench, others=Others(seen=[filled[9].note, filled[14].note])).index == 100
    assert found(bench, others=Others(seen=[filled[9].note, filled[14].note])).kind == "forked"

    at = micros(bench.clock()) // 10**6
    with bench.writing() as connection:
        for checkpoint in (filled[4], filled[14]):
            note = with_signatures(checkpoint.note, [witness.cosign(checkpoint, at)])
            connection.execute(
                insert(cosignatures).values(size=checkpoint.size, witness=witness.name, timestamp=at, note=note)
            )
    first = found(bench, others=Others(witnesses=[witness.verifier]))
    assert (first.kind, first.index, first.through) == ("forked", 50, 149)
    assert witness.name in first.explanation


@pytest.mark.parametrize(("index", "count"), [(0, 1), (123, 1), (250, 12), (298, 1)])
def test_deleted_entries_are_named(bench: Bench, filled: list[Checkpoint], index: int, count: int) -> None:
    with bench.tampering() as connection:
        connection.execute(entries.delete().where(entries.c.idx >= index, entries.c.idx < index + count))
    first = found(bench)
    assert (first.kind, first.index, first.through) == ("deleted", index, index + count - 1)


@pytest.mark.parametrize("index", [0, 123, 280])
def test_deleted_entry_is_named_even_when_the_rest_was_renumbered(
    bench: Bench, filled: list[Checkpoint], index: int
) -> None:
    with bench.tampering() as connection:
        connection.execute(entries.delete().where(entries.c.idx == index))
        for following in range(index + 1, SIZE):
            connection.execute(update(entries).where(entries.c.idx == following).values(idx=following - 1))
    first = found(bench)
    assert (first.kind, first.index) == ("deleted", index)


def test_two_removals_with_renumbering_are_both_named(bench: Bench, filled: list[Checkpoint]) -> None:
    with bench.tampering() as connection:
        for index in (50, 199):
            connection.execute(entries.delete().where(entries.c.idx == index))
            for following in range(index + 1, SIZE + 1):
                connection.execute(update(entries).where(entries.c.idx == following).values(idx=following - 1))
    report = examine(bench)
    assert [(item.kind, item.index) for item in report.findings] == [("deleted", 50), ("deleted", 200)]


def test_entry_pushed_in_is_named_even_when_the_rest_was_renumbered(bench: Bench, filled: list[Checkpoint]) -> None:
    with bench.tampering() as connection:
        extra = rewritten(connection, 123, id="", reason="pushed-in")
        for following in range(SIZE - 1, 122, -1):
            connection.execute(update(entries).where(entries.c.idx == following).values(idx=following + 1))
        names = [column.name for column in entries.columns]
        connection.execute(
            insert(entries).values(**dict(zip(names, entry_row(123, extra, extra.canonical()), strict=True)))
        )
    first = found(bench)
    assert (first.kind, first.index, first.through) == ("inserted", 123, 123)


@pytest.mark.parametrize(("one", "other"), [(3, 200), (40, 41), (260, 299)])
def test_entries_that_changed_places_are_named(bench: Bench, filled: list[Checkpoint], one: int, other: int) -> None:
    with bench.tampering() as connection:
        for where, to in ((one, 10_000), (other, one), (10_000, other)):
            connection.execute(update(entries).where(entries.c.idx == where).values(idx=to))
    report = examine(bench)
    assert [(item.kind, item.index) for item in report.findings[:2]] == [("swapped", one), ("swapped", other)]


def test_three_entries_that_went_round_are_named_as_moved(bench: Bench, filled: list[Checkpoint]) -> None:
    with bench.tampering() as connection:
        for where, to in ((40, 10_000), (41, 40), (42, 41), (10_000, 42)):
            connection.execute(update(entries).where(entries.c.idx == where).values(idx=to))
    report = examine(bench)
    assert {item.kind for item in report.findings} == {"swapped"}
    assert report.first is not None
    assert (report.first.index, report.findings[-1].through) == (40, 42)


def test_entries_whose_texts_changed_places_are_named(bench: Bench, filled: list[Checkpoint]) -> None:
    with bench.tampering() as connection:
        texts = body_at(connection, 30), body_at(connection, 60)
        connection.execute(update(entries).where(entries.c.idx == 30).values(body=texts[1]))
        connection.execute(update(entries).where(entries.c.idx == 60).values(body=texts[0]))
    report = examine(bench)
    assert [(item.kind, item.index) for item in report.findings[:2]] == [("swapped", 30), ("swapped", 60)]


@pytest.mark.parametrize("column", ["leaf", "seal"])
@pytest.mark.parametrize("index", [0, 123, 299])
def test_changed_leaf_hash_or_seal_is_named(bench: Bench, filled: list[Checkpoint], index: int, column: str) -> None:
    with bench.tampering() as connection:
        value = b"\x01" * (32 if column == "leaf" else 8)
        connection.execute(update(entries).where(entries.c.idx == index).values({column: value}))
    first = found(bench)
    assert (first.kind, first.index) == ("altered", index)


def test_entry_that_is_no_longer_an_entry_is_named(bench: Bench, filled: list[Checkpoint]) -> None:
    with bench.tampering() as connection:
        connection.execute(update(entries).where(entries.c.idx == 77).values(body='{"hello":"there"}'))
    first = found(bench)
    assert (first.kind, first.index) == ("altered", 77)


def test_checkpoint_rewritten_by_someone_without_the_key_is_named(bench: Bench, filled: list[Checkpoint]) -> None:
    forger = LogSigner(Ed25519PrivateKey.from_private_bytes(b"\x08" * 32), ORIGIN)
    forged = forger.sign(120, b"\x01" * 32)
    with bench.tampering() as connection:
        connection.execute(update(checkpoints).where(checkpoints.c.size == 120).values(note=forged.note))
    first = found(bench)
    assert (first.kind, first.index) == ("head", 120)


def test_checkpoint_rewritten_with_the_logs_key_is_named(bench: Bench, filled: list[Checkpoint]) -> None:
    with bench.tampering() as connection:
        note = bench.signer.sign(120, b"\x01" * 32).note
        connection.execute(update(checkpoints).where(checkpoints.c.size == 120).values(note=note))
    first = found(bench)
    assert (first.kind, first.index, first.through) == ("forked", 110, 119)


def test_checkpoint_filed_under_another_size_is_named(bench: Bench, filled: list[Checkpoint]) -> None:
    with bench.tampering() as connection:
        connection.execute(update(checkpoints).where(checkpoints.c.size == 120).values(note=filled[3].note))
    first = found(bench)
    assert (first.kind, first.index) == ("head", 120)


@pytest.mark.parametrize("left", [0, 123, 256, 295])
def test_tail_that_was_cut_off_is_named(bench: Bench, filled: list[Checkpoint], left: int) -> None:
    with bench.tampering() as connection:
        connection.execute(entries.delete().where(entries.c.idx >= left))
    first = found(bench)
    assert (first.kind, first.index) == ("truncated", left)
    assert first.through >= left


def test_tail_cut_off_together_with_all_that_the_key_can_mend_is_found_by_what_others_hold(
    bench: Bench, filled: list[Checkpoint]
) -> None:
    with bench.tampering() as connection:
        connection.execute(entries.delete().where(entries.c.idx >= 275))
        connection.execute(facets.delete().where(facets.c.idx >= 275))
        resign(connection, bench.signer)
    assert examine(bench).sound, "nothing inside the database can tell"
    first = found(bench, others=Others(seen=[filled[-1].note]))
    assert (first.kind, first.index, first.through) == ("truncated", 275, 299)


def test_entry_beyond_the_end_is_named(bench: Bench, filled: list[Checkpoint]) -> None:
    with bench.tampering() as connection:
        extra = rewritten(connection, 299, id="")
        names = [column.name for column in entries.columns]
        connection.execute(
            insert(entries).values(**dict(zip(names, entry_row(300, extra, extra.canonical()), strict=True)))
        )
    first = found(bench)
    assert (first.kind, first.index) == ("inserted", 300)


@pytest.mark.parametrize("column", ["subject", "outcome", "recipient", "purpose"])
def test_entry_hidden_from_search_is_named(bench: Bench, filled: list[Checkpoint], column: str) -> None:
    with bench.tampering() as connection:
        connection.execute(update(entries).where(entries.c.idx == 44).values({column: "other"}))
    first = found(bench)
    assert (first.kind, first.index) == ("search", 44)


def test_entry_whose_filing_for_search_was_removed_or_invented_is_named(bench: Bench, filled: list[Checkpoint]) -> None:
    with bench.tampering() as connection:
        row = connection.execute(select(facets).where(facets.c.idx == 44)).first()
        assert row is not None
        connection.execute(facets.delete().where(facets.c.idx == 44, facets.c.value == row.value))
    assert (found(bench).kind, found(bench).index) == ("search", 44)
    with bench.writing() as connection:
        connection.execute(insert(facets).values(**row._asdict()))
    assert examine(bench).sound
    with bench.writing() as connection:
        connection.execute(insert(facets).values(kind=1, value="invented", recorded=row.recorded, idx=45))
    assert (found(bench).kind, found(bench).index) == ("search", 45)


def test_back_dated_entry_is_named(bench: Bench, filled: list[Checkpoint]) -> None:
    with bench.tampering() as connection:
        earlier = rewritten(connection, 123, recorded=bench.clock() - timedelta(days=3))
        write_row(connection, 123, earlier)
        resign(connection, bench.signer)
    first = found(bench)
    assert (first.kind, first.index) == ("back-dated", 123)


@pytest.mark.parametrize("index", [123, 280])
def test_back_dated_text_is_named_as_such(bench: Bench, filled: list[Checkpoint], index: int) -> None:
    with bench.tampering() as connection:
        earlier = rewritten(connection, index, recorded=bench.clock() - timedelta(days=3)).canonical().decode()
        connection.execute(update(entries).where(entries.c.idx == index).values(body=earlier))
    report = examine(bench)
    assert [(item.kind, item.index) for item in report.findings] == [("back-dated", index)]


def test_entries_recorded_while_the_clock_was_set_back_are_named(
    bench: Bench, filled: list[Checkpoint], make_entry: Callable[..., Entry]
) -> None:
    bench.clock.move(hours=-1)
    with bench.log() as log:
        log.append_blocking([make_entry(), make_entry()])
    first = found(bench)
    assert (first.kind, first.index, first.through) == ("back-dated", 300, 301)


def test_time_changed_for_search_only_is_named(bench: Bench, filled: list[Checkpoint]) -> None:
    with bench.tampering() as connection:
        connection.execute(update(entries).where(entries.c.idx == 9).values(recorded=entries.c.recorded - 1))
    assert (found(bench).kind, found(bench).index) == ("back-dated", 9)


@pytest.mark.parametrize("column", ["root", "hashes"])
def test_changed_tile_is_named_with_its_entries(bench: Bench, filled: list[Checkpoint], column: str) -> None:
    with bench.tampering() as connection:
        row = connection.execute(select(tiles)).one()
        value = row.root if column == "root" else row.hashes
        at = 0 if column == "root" else 123 * 32
        changed = bytes(value[:at]) + b"\x00" * 32 + bytes(value[at + 32 :])
        connection.execute(update(tiles).values({column: changed}))
    first = found(bench)
    assert (first.kind, first.index) == ("tiles", 0 if column == "root" else 123)


def test_missing_tile_is_named_with_its_entries(bench: Bench, filled: list[Checkpoint]) -> None:
    with bench.tampering() as connection:
        connection.execute(tiles.delete())
    first = found(bench)
    assert (first.kind, first.index, first.through) == ("tiles", 0, 255)


def test_missing_or_forged_head_is_told(bench: Bench, filled: list[Checkpoint]) -> None:
    with bench.tampering() as connection:
        before = connection.execute(select(head)).one()._asdict()
        connection.execute(update(head).values(frontier=b"\x01" * len(before["frontier"])))
    assert found(bench).kind == "head"
    with bench.writing() as connection:
        connection.execute(update(head).values(note=before["note"].replace(ORIGIN, "log.example.fi/node-b")))
    assert found(bench).kind == "head"
    with bench.writing() as connection:
        connection.execute(head.delete())
    assert found(bench).kind == "head"


def test_report_keeps_the_order_of_the_entries(bench: Bench, filled: list[Checkpoint]) -> None:
    with bench.tampering() as connection:
        for index in (290, 20, 150):
            document = json.loads(body_at(connection, index))
            document["outcome"] = "refused"
            body = json.dumps(document, sort_keys=True, separators=(",", ":"))
            connection.execute(update(entries).where(entries.c.idx == index).values(body=body))
    report = examine(bench)
    assert [item.index for item in report.findings if item.kind == "altered"] == [20, 150, 290]


# -- the newest entries only -----------------------------------------------------------------------------------------


def test_the_newest_entries_are_checked_from_the_beginning_of_a_tile(bench: Bench, filled: list[Checkpoint]) -> None:
    for newest in (1, 44, 45, 299, 300, 9_999):
        report = examine(bench, newest=newest)
        since = 256 if newest <= 44 else 0
        assert (report.sound, report.since, report.checked) == (True, since, SIZE - since)
        assert (report.size, report.root) == (SIZE, filled[-1].root)
        assert report.anchors >= 1


def test_among_the_newest_the_first_that_was_altered_is_named(bench: Bench, filled: list[Checkpoint]) -> None:
    for index in (299, 280, 256):
        with bench.tampering() as connection:
            body = body_at(connection, index)
            connection.execute(update(entries).where(entries.c.idx == index).values(body=body.replace(":", ": ", 1)))
        first = found(bench, newest=40)
        assert (first.kind, first.index) == ("altered", index)


@pytest.mark.parametrize(("kind", "first", "last"), [("deleted", 270, 280), ("truncated", 290, 300)])
def test_among_the_newest_those_that_are_gone_are_named(
    bench: Bench, filled: list[Checkpoint], kind: str, first: int, last: int
) -> None:
    with bench.tampering() as connection:
        connection.execute(entries.delete().where(entries.c.idx >= first, entries.c.idx < last))
    told = found(bench, newest=40)
    assert (told.kind, told.index, told.through) == (kind, first, last - 1)


def test_what_is_older_is_not_read_yet_its_stored_roots_must_be_those_that_were_signed(
    bench: Bench, filled: list[Checkpoint]
) -> None:
    with bench.tampering() as connection:
        body = body_at(connection, 100)
        connection.execute(update(entries).where(entries.c.idx == 100).values(body=body.replace(":", ": ", 1)))
    assert examine(bench, newest=40).sound
    assert found(bench).index == 100, "the whole check reads it"
    with bench.tampering() as connection:
        connection.execute(update(tiles).values(root=b"\x00" * 32))
    told = found(bench, newest=40)
    assert (told.kind, told.index) == ("forked", 0)


def test_a_history_that_was_signed_anew_is_found_among_the_newest_by_what_a_witness_signed(
    bench: Bench, filled: list[Checkpoint]
) -> None:
    witness = WitnessSigner(Ed25519PrivateKey.from_private_bytes(b"\x05" * 32), "witness.example/w")
    mark = witness.cosign(filled[-1], int(bench.clock().timestamp()))
    with bench.tampering() as connection:
        connection.execute(
            insert(cosignatures).values(
                size=SIZE, witness=witness.name, timestamp=int(bench.clock().timestamp()),
                note=with_signatures(filled[-1].note, [mark]),
            )
        )  # fmt: skip
    assert examine(bench, newest=40, others=Others(witnesses=(witness.verifier,))).sound
    with bench.tampering() as connection:
        write_row(connection, 280, rewritten(connection, 280, purpose="other"))
        resign(connection, bench.signer)
    told = found(bench, newest=40, others=Others(witnesses=(witness.verifier,)))
    assert told.kind == "forked"
    assert told.index <= 280 <= told.through


def test_a_head_that_is_gone_does_not_make_a_short_check_a_long_one(bench: Bench, filled: list[Checkpoint]) -> None:
    with bench.tampering() as connection:
        connection.execute(head.delete())
    report = examine(bench, newest=40)
    assert (report.since, report.first is not None and report.first.kind) == (256, "head")


@pytest.mark.parametrize("newest", [None, 40])
def test_a_log_that_grows_while_it_is_checked_is_not_taken_for_an_altered_one(
    bench: Bench, filled: list[Checkpoint], make_entry: Callable[..., Entry], newest: int | None
) -> None:
    with bench.log() as log:

        def meanwhile(done: int, _all: int) -> None:
            if not done:
                bench.clock.move(minutes=1)
                log.append_blocking([make_entry() for _ in range(7)])

        report = examine(bench, newest=newest, progress=meanwhile)
    assert report.findings == ()
    assert report.size == SIZE
    assert examine(bench).size == SIZE + 7
