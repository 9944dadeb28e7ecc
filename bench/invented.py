"""A log about invented people, of any size: what the officer's questions are timed on.

The first span of time is made entry by entry, as a node would make it; each further one is a copy of it, later, about
other people, made by the database itself. So ten million entries take minutes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, Engine, func, insert, select
from sqlalchemy.schema import CreateIndex, DropIndex

from audit.log.entries import Agents, Categories, Entry, micros
from audit.log.rows import FacetRow, entry_row, facet_rows, insert_rows
from audit.log.tables import FACETS, checkpoints, entries, head, metadata, tiles
from audit.questions import tallies
from audit.tree.checkpoint import LogSigner
from audit.tree.merkle import Frontier
from audit.tree.tiles import StoredTiles, completed
from schemas.categories import CATEGORIES

ORIGIN: Final = "yhdyspinta/bench"
SIGNER: Final = LogSigner(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32), ORIGIN)
END: Final = datetime(2026, 10, 1, tzinfo=UTC)
YEAR: Final = timedelta(days=365)
A_YEAR: Final = 1_000_000
"""Entries of one year: so dense is every log made here, and a small one is that of a shorter time."""
BATCH: Final = 16_384
_CATEGORIES: Final = sorted(CATEGORIES)
REASONS: Final = ("not-permitted", "purpose-not-declared", "category-unknown", "subject-unknown", "message-replayed")


@dataclass(frozen=True, slots=True)
class People:
    """Who and what the invented log speaks of; everything follows from its size."""

    size: int

    @property
    def persons(self) -> int:
        """Every person has some twenty entries."""
        return max(50, self.size // 20)

    def person(self, number: int) -> str:
        """The pseudonym of a person."""
        return f"{number:064x}"

    def recipient(self, number: int) -> str:
        """A receiving subsystem: 330 municipalities and counties."""
        return f"FI-BENCH/MUN/{number:07d}-0/kotoutuminen"

    def source(self, number: int) -> str:
        """A subsystem that holds data: one of three of the organisation whose log this is."""
        return f"FI-BENCH/GOV/{number:07d}-0/vastaanotto"


def length(size: int) -> timedelta:
    """How long it takes for so many entries to come about."""
    return YEAR * size / A_YEAR


def made(size: int, end: datetime = END, seed: int = 7) -> Iterator[Entry]:
    """Entries of a time, in its order, skewed as real ones are: a few large members, many persons."""
    people, chance = People(size), random.Random(seed)
    start, step = end - length(size), YEAR / A_YEAR
    for number in range(size):
        at = start + step * number
        what = chance.random()
        person = chance.randrange(people.persons)
        recipient = people.recipient(min(int(chance.expovariate(1 / 40)), 329))
        source = people.source(chance.randrange(3))
        kind, outcome, reason = "query", "success", None
        permitted: tuple[str, ...] = tuple(chance.sample(_CATEGORIES, 3))
        withheld: tuple[str, ...] = (chance.choice(_CATEGORIES),)
        consents: tuple[tuple[str, int], ...] = ()
        detail: dict[str, Any] = {}
        if what < 0.05:
            outcome, reason, permitted = "refused", chance.choice(REASONS), ()
        elif what < 0.08:
            outcome, permitted, withheld = "not-found", (), ()
        elif what < 0.30:
            kind = ("handover", "delivery", "receipt", "acceptance")[number % 4]
        elif what < 0.33:
            kind, permitted, withheld = "consent", (), ()
            consents, detail = ((f"c-{person}", 1),), {"status": "active"}
            if what < 0.302:  # nothing leaves under it any more
                consents, detail = ((f"w-{number}", 2),), {"status": "withdrawn"}
            elif what < 0.3025:
                kind, consents, detail = "break-glass", (), {}
        elif what < 0.36:
            kind, permitted, withheld = "console-read", (), ()
        elif what < 0.45:
            consents = ((f"c-{person}", 1),)
        yield Entry(
            kind,
            outcome,
            at,
            id=f"{micros(at) // 1000:012x}"[:8] + f"-{number >> 32:04x}-7{number >> 20 & 0xFFF:03x}-8000-{number:012x}",
            agents=Agents("casework", f"u-{person % 5000:032x}", "bench", recipient),
            source=source,
            service=f"{source}/palvelutarve",
            message_id=f"m-{number:032x}",
            subject=people.person(person),
            purpose=f"purpose-{chance.randrange(12)}",
            categories=Categories(permitted, withheld),
            bases=(f"basis-{min(int(chance.expovariate(1 / 6)), 59)}",) if permitted else (),
            consents=consents,
            rulebook=f"sha256:{number * 5 // size:064x}",
            request_digest=f"sha-256=:{number:043x}=:",
            trace_id=f"{number:032x}",
            reason=reason,
            case=f"{person // 2:064x}" if number % 4 == 0 else None,
            detail=detail,
        )


Progress = Callable[[int, int], None]


def _quiet(_done: int, _size: int) -> None:
    return None


def fill(engine: Engine, size: int, progress: Progress = _quiet, *, spans: int = 1) -> None:
    """Make the tables and a log in them, with its tiles, checkpoints and tallies.

    `size` entries are made for the first of `spans`, the others copied from it; the last ends at END.
    """
    span = length(size)
    metadata.create_all(engine)
    with engine.execution_options(writes=True).connect() as connection:
        _hurry(connection, engine, hurried=True)
        with connection.begin():
            for index in entries.indexes:
                connection.execute(DropIndex(index))
            connection.exec_driver_sql(
                "CREATE TABLE made_facets (kind smallint, value text, recorded bigint, idx bigint)"
            )
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql("ALTER TABLE audit_facets DROP CONSTRAINT audit_facets_pkey")
        frontier = _first(connection, size, END - span * (spans - 1), spans, progress)
        for number in range(1, spans):
            with connection.begin():
                _copy(connection, size, number, span)
                frontier = _grow(connection, frontier, size * number, size * (number + 1))
            progress(size * (number + 1), size * spans)
        with connection.begin():
            _copy_facets(connection, size, spans, span)
            note, at = SIGNER.sign(size * spans, frontier.root()).note, micros(END)
            values = {
                "origin": ORIGIN,
                "size": size * spans,
                "frontier": frontier.to_bytes(),
                "recorded": at,
                "kept": at,
            }
            connection.execute(insert(head).values(id=1, note=note, **values))
            connection.exec_driver_sql("DROP TABLE made_facets")
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(
                    "ALTER TABLE audit_facets ADD CONSTRAINT audit_facets_pkey PRIMARY KEY (kind, value, recorded, idx)"
                )
        for index in sorted(entries.indexes, key=lambda one: str(one.name)):
            with connection.begin():
                connection.execute(CreateIndex(index))
        _hurry(connection, engine, hurried=False)
    tallies.keep_all(engine, END + timedelta(days=2))
    if engine.dialect.name == "postgresql":  # as its own upkeep does sooner or later
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")


def _hurry(connection: Connection, engine: Engine, *, hurried: bool) -> None:
    """On SQLite, give up for the time of filling what makes a database survive a crash."""
    if engine.dialect.name != "sqlite":
        return
    cursor = connection.connection.cursor()
    modes = ("journal_mode=OFF", "synchronous=OFF", "cache_size=-1048576", "temp_store=FILE")
    for pragma in (
        modes if hurried else ("journal_mode=WAL", "synchronous=FULL", "cache_size=-16384", "temp_store=MEMORY")
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _first(connection: Connection, size: int, end: datetime, spans: int, progress: Progress) -> Frontier:
    frontier, batch, done = Frontier(), list[Entry](), 0

    def write() -> None:
        nonlocal frontier, done
        bodies = [entry.canonical() for entry in batch]
        rows = [entry_row(done + at, entry, body) for at, (entry, body) in enumerate(zip(batch, bodies, strict=True))]
        facet: list[FacetRow] = [row for at, entry in enumerate(batch) for row in facet_rows(done + at, entry)]
        leaves = [row[1] for row in rows]
        with connection.begin():
            whole = completed(StoredTiles(connection), done, leaves, None)
            insert_rows(connection, rows, ())
            _stage(connection, facet)
            for level, number, root, hashes in whole:
                connection.execute(insert(tiles).values(level=level, number=number, root=root, hashes=hashes))
            frontier = frontier.extended(leaves)
            done += len(batch)
            note = SIGNER.sign(done, frontier.root()).note
            connection.execute(insert(checkpoints).values(size=done, recorded=rows[-1][3], note=note))
        batch.clear()
        progress(done, size * spans)

    for entry in made(size, end):
        batch.append(entry)
        if len(batch) == BATCH:
            write()
    if batch:
        write()
    return frontier


def _stage(connection: Connection, rows: list[FacetRow]) -> None:
    if connection.dialect.name == "postgresql":
        arrays = "unnest(%s::smallint[], %s::text[], %s::bigint[], %s::bigint[])"
        columns = tuple(list(column) for column in zip(*rows, strict=True))
        connection.exec_driver_sql(f"INSERT INTO made_facets SELECT * FROM {arrays}", columns)
    else:
        connection.exec_driver_sql("INSERT INTO made_facets VALUES (?, ?, ?, ?)", rows)


def _copy(connection: Connection, size: int, number: int, span: timedelta) -> None:
    """One more span: the first one's rows at other places and times, about other persons."""
    later = number * (span // timedelta(microseconds=1))
    mark = f"{number:02x}"
    columns = {
        "idx": f"idx + {number * size}",
        "recorded": f"recorded + {later}",
        "id": f"'{mark}' || substr(id, 3)",
        "subject": f"'{mark}' || substr(subject, 3)",
        "message_id": f"'{mark}' || substr(message_id, 3)",
        "case_key": f"'{mark}' || substr(case_key, 3)",
    }
    names = [column.name for column in entries.columns]
    picked = ", ".join(columns.get(name, name) for name in names)
    connection.exec_driver_sql(
        f"INSERT INTO audit_entries ({', '.join(names)}) "
        f"SELECT {picked} FROM audit_entries WHERE idx < {size} ORDER BY idx"
    )


def _copy_facets(connection: Connection, size: int, spans: int, span: timedelta) -> None:
    """What entries may have several of, for all spans, in the order in which the table keeps them."""
    later = span // timedelta(microseconds=1)
    numbers = ", ".join(f"({number}, '{f'-{number:02x}' if number else ''}')" for number in range(spans))
    connection.exec_driver_sql(
        f"INSERT INTO audit_facets (kind, value, recorded, idx) "
        f"SELECT kind, CASE WHEN kind = {FACETS['consent']} THEN value || spans.mark ELSE value END, "
        f"recorded + spans.number * {later}, idx + spans.number * {size} "
        f"FROM made_facets CROSS JOIN "
        f"(SELECT column1 AS number, column2 AS mark FROM (VALUES {numbers}) AS listed) AS spans "
        f"ORDER BY 1, 2, 3, 4"
    )


def _grow(connection: Connection, frontier: Frontier, old: int, new: int) -> Frontier:
    """The tiles over entries that the database has copied."""
    for low in range(old, new, BATCH):
        leaves = [
            bytes(leaf)
            for leaf in connection.scalars(
                select(entries.c.leaf)
                .where(entries.c.idx >= low, entries.c.idx < min(low + BATCH, new))
                .order_by(entries.c.idx)
            )
        ]
        for level, number, root, hashes in completed(StoredTiles(connection), low, leaves, None):
            connection.execute(insert(tiles).values(level=level, number=number, root=root, hashes=hashes))
        frontier = frontier.extended(leaves)
    return frontier


def filled(engine: Engine) -> int:
    """How many entries the database holds already."""
    metadata.create_all(engine)
    with engine.connect() as connection:
        return int(connection.scalar(select(func.coalesce(func.max(head.c.size), 0))) or 0)
