"""Archived months are found and proven like the rest, and a damaged archive names its first damaged entry."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from sqlalchemy import Connection, func, select

from audit.log.entries import Agents, Entry
from audit.log.tables import archives, entries, facets
from audit.questions import anomalies, archive, data_tracker, query, reviews, withdrawals
from audit.questions.archive import Archive, ArchiveError
from audit.questions.check import check
from audit.questions.checks import Others
from audit.questions.query import Filters, Found, Order, Page, Search
from audit.tree import proofs
from audit.tree.checkpoint import Checkpoint
from audit.tree.merkle import ProofError
from audit.tree.tiles import Tile
from audit.tree.verify import verify_export
from tests.audit.conftest import Bench

NOW = datetime(2026, 12, 3, tzinfo=UTC)


@pytest.fixture
def filled(bench: Bench, make_entry: Callable[..., Entry]) -> list[Checkpoint]:
    """Entries of October, November and three days of December: 300, 400 and 60."""
    given = []
    with bench.log() as log:
        for start, count in ((1, 300), (32, 400), (62, 60)):
            bench.clock.now = datetime(2026, 10, 1, 8, tzinfo=UTC) + timedelta(days=start - 1)
            for number in range(count // 20):
                bench.clock.move(minutes=5)
                batch = [make_entry(purpose=f"p-{number % 3}", case=f"c-{number}") for _ in range(20)]
                given.append(log.append_blocking(batch).checkpoint)
    bench.clock.now = NOW
    return given


def archived(bench: Bench, folder: Path) -> list[archive.Month]:
    with bench.engine.connect() as connection:
        due = archive.closed_months(connection, NOW)
    done = []
    for name, first, through in due:
        with bench.writing() as connection:
            done.append(archive.archive_month(connection, folder, name, range(first, through), now=NOW))
    return done


def searching(opened: Archive) -> Search:
    """A search over the database and this archive."""

    def find(connection: Connection, filters: Filters, *, order: Order, after: str | None, limit: int) -> Page:
        return opened.search_all(connection, filters, order=order, after=after, limit=limit)

    return find


def test_months_that_are_over_are_cut_at_whole_tiles(bench: Bench, filled: list[Checkpoint], tmp_path: Path) -> None:
    done = archived(bench, tmp_path / "archive")
    assert [(one.name, one.first, one.through) for one in done] == [("2026-10", 0, 256), ("2026-11", 256, 512)]
    with bench.engine.connect() as connection:
        assert archive.closed_months(connection, NOW) == ()
        assert connection.scalar(select(func.count()).select_from(entries)) == 760, "nothing leaves by archiving"
    for one in done:
        report = archive.verify_month(tmp_path / "archive", one.name, bench.signer.verifier)
        assert (report.sound, report.entries) == (True, 256)
    lines = gzip.decompress(done[0].entries_file.read_bytes()).splitlines()
    assert len(lines) == 256
    assert Entry.parse(lines[0]).recorded.month == 10


def test_archived_months_stay_searchable_and_provable_after_they_left_the_database(
    bench: Bench, filled: list[Checkpoint], tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    with bench.engine.connect() as connection:
        whole = [item.index for item in Archive().search_all(connection, Filters(), limit=1000).found]
    done = archived(bench, folder)
    for one in done:
        removed = archive.prune(bench.engine, folder, one.name, log_key=bench.signer.verifier, now=NOW)
        assert removed == 256
    opened = Archive(folder)
    with bench.engine.connect() as connection:
        assert connection.scalar(select(func.min(entries.c.idx))) == 512
        assert connection.scalar(select(func.min(facets.c.idx))) == 512
        assert data_tracker.usage_period(connection, NOW, find=searching(opened)).start == datetime(
            2026, 10, 1, 8, 5, tzinfo=UTC
        )
        found = opened.search_all(connection, Filters(), limit=1000)
        assert [item.index for item in found.found] == whole
        for filters in (
            Filters(purpose="p-1"),
            Filters(basis="law-1", start=datetime(2026, 10, 1, 9, tzinfo=UTC), end=datetime(2026, 11, 2, tzinfo=UTC)),
            Filters(member="FI/GOV/0246246-0", case="c-3"),
        ):
            pages, after = [], None
            while True:
                page = opened.search_all(connection, filters, order="oldest", after=after, limit=37)
                pages += [item.index for item in page.found]
                after = page.next
                if after is None:
                    break
            once = opened.search_all(connection, filters, order="oldest", limit=1000)
            assert pages == [item.index for item in once.found]
            assert pages == sorted(set(pages))
            assert min(pages) < 256 < max(pages) or filters.end is not None
        entry = opened.entry(17)
        assert entry is not None
        assert opened.entry(512) is None
        made = proofs.export_proofs(
            connection, {600: None, 17: entry}, log_key=bench.signer.verifier, earlier=[filled[0].note]
        )
    opened.close()
    report = verify_export(made, log_key=bench.signer.verifier)
    assert report.sound
    assert [index for index, _ in report.entries] == [17, 600]
    assert check(bench.engine, log_key=bench.signer.verifier, others=Others(seen=[one.note for one in filled])).sound


def test_prune_needs_a_sound_archive_and_goes_in_order(bench: Bench, filled: list[Checkpoint], tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    october, november = archived(bench, folder)
    options = {"log_key": bench.signer.verifier, "now": NOW}
    with pytest.raises(ArchiveError, match="older month"):
        archive.prune(bench.engine, folder, november.name, **options)  # type: ignore[arg-type]
    whole = october.entries_file.read_bytes()
    october.entries_file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArchiveError, match="does not hold"):
        archive.prune(bench.engine, folder, october.name, **options)  # type: ignore[arg-type]
    with bench.engine.connect() as connection:
        assert connection.scalar(select(func.min(entries.c.idx))) == 0
        assert connection.scalars(select(archives.c.pruned)).all() == [None, None]
    october.entries_file.write_bytes(whole)
    assert archive.prune(bench.engine, folder, october.name, **options) == 256  # type: ignore[arg-type]
    assert archive.prune(bench.engine, folder, october.name, **options) == 0, "it can be repeated"  # type: ignore[arg-type]


def test_damaged_archive_names_its_first_damaged_entry(bench: Bench, filled: list[Checkpoint], tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    october, november = archived(bench, folder)

    def damage(month: archive.Month, index: int) -> None:
        texts = gzip.decompress(month.entries_file.read_bytes()).splitlines()
        texts[index - month.first] = texts[index - month.first].replace(b"law-1", b"law-9")
        month.entries_file.write_bytes(gzip.compress(b"".join(text + b"\n" for text in texts)))

    damage(november, 300)
    report = archive.verify_month(folder, november.name, bench.signer.verifier)
    assert (report.sound, report.first) == (False, 300)
    tile = folder / Tile(0, 0).path()
    data = bytearray(tile.read_bytes())
    data[40] ^= 1
    tile.write_bytes(bytes(data))
    report = archive.verify_month(folder, october.name, bench.signer.verifier)
    assert (report.sound, report.first) == (False, 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: {**manifest, "checkpoint": manifest["checkpoint"].replace("\n760\n", "\n761\n")},
        lambda manifest: {**manifest, "consistency": []},
        lambda manifest: {**manifest, "frontier": "AAAA"},
    ],
    ids=["checkpoint", "consistency", "frontier"],
)
def test_manifest_that_was_touched_does_not_hold(
    bench: Bench, filled: list[Checkpoint], tmp_path: Path, change: Callable[[dict[str, object]], object]
) -> None:
    (october, _) = archived(bench, tmp_path)
    manifest = orjson.loads(october.manifest_file.read_bytes())
    october.manifest_file.write_bytes(orjson.dumps(change(manifest)))
    assert not archive.verify_month(tmp_path, october.name, bench.signer.verifier).sound


def test_what_cannot_be_archived_is_told(bench: Bench, filled: list[Checkpoint], tmp_path: Path) -> None:
    with bench.writing() as connection:
        with pytest.raises(ArchiveError, match="whole tiles"):
            archive.archive_month(connection, tmp_path, "2026-10", range(300), now=NOW)
        with pytest.raises(ArchiveError, match="check the log"):
            archive.archive_month(connection, tmp_path, "2026-12", range(512, 1024), now=NOW)
    with pytest.raises(ArchiveError):
        archive.verify_month(tmp_path, "2020-01", bench.signer.verifier)
    with bench.tampering() as connection:
        connection.exec_driver_sql("UPDATE audit_entries SET body = replace(body, 'law-1', 'law-9') WHERE idx = 5")
    with bench.writing() as connection, pytest.raises(ArchiveError, match="check the log"):
        archive.archive_month(connection, tmp_path, "2026-10", range(256), now=NOW)


def test_what_left_after_a_withdrawal_and_what_waits_for_review_is_told_of_archived_months_too(
    bench: Bench, make_entry: Callable[..., Entry], tmp_path: Path
) -> None:
    folder, anna, boris = tmp_path / "archive", "a" * 64, "b" * 64
    filler = [make_entry(subject="c" * 64) for _ in range(256)]
    under = {"subject": anna, "consents": (("c-1", 1),)}
    ended = {"type": "consent", "detail": {"status": "withdrawn", "version": 2}}
    seen = {"type": "break-glass", "subject": boris, "reason": "life-in-danger"}
    with bench.log() as log:
        october = [make_entry(**under), make_entry(**{**under, **ended, "consents": (("c-1", 2),)})]
        october += [make_entry(**under), make_entry(**seen), make_entry(**seen)]
        log.append_blocking([*october, *filler])
        bench.clock.now = NOW
        december = [make_entry(**under), make_entry(**seen)]
        log.append_blocking(december)
    with bench.writing() as connection:
        signed = query.by_id(connection, october[3].id)
        assert signed is not None
        review = reviews.open_emergency(connection, signed, NOW)
        reviews.sign_off(connection, review.id, reviews.Said("u-9", "justified", "seen"), NOW)

    (month,) = archived(bench, folder)
    archive.prune(bench.engine, folder, month.name, log_key=bench.signer.verifier, now=NOW + timedelta(days=40))
    opened = Archive(folder)

    def at(connection: Connection, index: int) -> Found | None:
        entry = opened.entry(index)
        return query.by_index(connection, index) if entry is None else Found(index, entry)

    with bench.engine.connect() as connection:
        assert query.by_index(connection, 0) is None
        for pseudonyms in ((), (anna,)):
            pairs = withdrawals.left_after_withdrawal(connection, pseudonyms, find=searching(opened), at=at)
            assert [(one.index, other.entry.id) for one, other in pairs] == [(1, october[2].id), (1, december[0].id)]
        since = NOW - timedelta(days=1)
        assert withdrawals.left_after_withdrawal(connection, start=since, find=searching(opened), at=at) == ()
        with pytest.raises(ProofError):
            withdrawals.left_after_withdrawal(connection)
        waiting = reviews.unreviewed_emergencies(connection, find=searching(opened))
        assert [one.entry.id for one in waiting] == [october[4].id, december[1].id]
    opened.close()


def test_patterns_are_seen_in_archived_months_as_they_were_in_the_database(
    bench: Bench, make_entry: Callable[..., Entry], tmp_path: Path
) -> None:
    limits = anomalies.Thresholds(bulk_lookups_per_hour=4, never_clients=2, client_within=timedelta(days=30))
    with bench.log() as log:
        asked = [make_entry(subject=f"{number}" * 64, agents=Agents(user="u-1")) for number in range(4)]
        became = [make_entry(type="receipt", subject=f"{number}" * 64) for number in range(2)]
        log.append_blocking([*asked, *became, *(make_entry(type="receipt", subject="c" * 64) for _ in range(250))])
        bench.clock.now = NOW
        log.append_blocking([make_entry(subject="c" * 64, agents=Agents(user="u-2")) for _ in range(4)])
    start, end = datetime(2026, 10, 1, tzinfo=UTC), NOW + timedelta(days=1)
    with bench.engine.connect() as connection:
        before = anomalies.detect(connection, anomalies.Span(start, end, end), limits)
    assert [(one.rule, one.actor, one.count) for one in before] == [
        ("bulk-lookups", "u-1", 4),
        ("never-clients", "u-1", 2),
        ("bulk-lookups", "u-2", 4),
    ]

    folder = tmp_path / "archive"
    (month,) = archived(bench, folder)
    archive.prune(bench.engine, folder, month.name, log_key=bench.signer.verifier, now=NOW + timedelta(days=40))
    opened = Archive(folder)

    with bench.engine.connect() as connection:
        assert (
            anomalies.detect(connection, anomalies.Span(start, end, end), limits, anomalies.Seen(searching(opened)))
            == before
        )
    opened.close()
