"""The officer's questions on a large log: how long each takes, and how that grows with the log.

`python -m bench.questions --entries 1000000 --years 10 --database FILE-or-URL` makes a log about invented people and
asks every question of it; without arguments (as part of `python -m bench`) it compares 200 000 entries with
20 000 on SQLite. A question that names a person, a member, a basis or a time window should take the same time on any
log, and less than 100 ms.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Final

import orjson
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.table import Table
from sqlalchemy import Connection, Engine, func, insert, select, text
from sqlalchemy.schema import CreateIndex, DropIndex

from audit import anomalies, data_tracker, proofs, query, report, reviews, tallies
from audit.checkpoint import LogSigner
from audit.entries import Agents, Categories, Entry, micros
from audit.merkle import Frontier
from audit.query import Filters
from audit.rows import entry_row, facet_rows, insert_rows
from audit.tables import FACETS, checkpoints, entries, head, metadata, tiles
from audit.tiles import StoredTiles, completed
from bench.figures import Figure
from gateway.storage import engine as storage

ORIGIN: Final = "yhdyspinta/bench"
SIGNER: Final = LogSigner(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32), ORIGIN)
END: Final = datetime(2026, 10, 1, tzinfo=UTC)
YEAR: Final = timedelta(days=365)
BATCH: Final = 16_384
CATEGORIES: Final = (
    "identity",
    "contact",
    "language",
    "family",
    "residence-permit",
    "move",
    "housing",
    "education",
    "employment",
    "social-needs",
    "health-needs",
    "child-protection",
    "vulnerability",
    "guardianship",
    "finances",
)
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


def made(size: int, seed: int = 7) -> Iterator[Entry]:
    """Entries of one year, in order of time, skewed as real ones are: a few large members, many persons."""
    people, chance = People(size), random.Random(seed)
    start, step = END - YEAR, YEAR / size
    for number in range(size):
        at = start + step * number
        what = chance.random()
        person = chance.randrange(people.persons)
        recipient = people.recipient(min(int(chance.expovariate(1 / 40)), 329))
        source = people.source(chance.randrange(3))
        kind, outcome, reason = "query", "success", None
        permitted: tuple[str, ...] = tuple(chance.sample(CATEGORIES, 3))
        withheld: tuple[str, ...] = (chance.choice(CATEGORIES),)
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
            consents, detail = ((f"c-{person}", 1),), {"status": "withdrawn" if what < 0.332 else "active"}
        elif what < 0.3302:
            kind = "break-glass"
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


def fill(
    engine: Engine, size: int, progress: Callable[[int, int], None] = lambda _done, _size: None, *, years: int = 1
) -> None:
    """Make the tables and a log in them, with its tiles, checkpoints and tallies.

    `size` entries are made for the last year. Each further year before it is a copy, with other persons, cases and
    ids, made by the database itself, which is faster: so a log can be made large in minutes.
    """
    metadata.create_all(engine)
    with engine.execution_options(writes=True).begin() as connection:
        for index in entries.indexes:
            connection.execute(DropIndex(index))
    frontier, batch, done = Frontier(), list[Entry](), 0

    def write() -> None:
        nonlocal frontier, done
        bodies = [entry.canonical() for entry in batch]
        rows = [entry_row(done + at, entry, body) for at, (entry, body) in enumerate(zip(batch, bodies, strict=True))]
        facet = [row for at, entry in enumerate(batch) for row in facet_rows(done + at, entry)]
        leaves = [row[1] for row in rows]
        with engine.execution_options(writes=True).begin() as connection:
            whole = completed(StoredTiles(connection), done, leaves, None)
            insert_rows(connection, rows, sorted(facet))
            for level, number, root, hashes in whole:
                connection.execute(insert(tiles).values(level=level, number=number, root=root, hashes=hashes))
            frontier = frontier.extended(leaves)
            done += len(batch)
            note = SIGNER.sign(done, frontier.root()).note
            connection.execute(insert(checkpoints).values(size=done, recorded=rows[-1][3], note=note))
        batch.clear()
        progress(done, size)

    for entry in made(size):
        batch.append(entry)
        if len(batch) == BATCH:
            write()
    if batch:
        write()
    for year in range(1, years):
        with engine.execution_options(writes=True).begin() as connection:
            _copy(connection, size, year)
            frontier = _grow(connection, frontier, done, done + size)
            done += size
        progress(done, size * years)
    with engine.execution_options(writes=True).begin() as connection:
        note = SIGNER.sign(done, frontier.root()).note
        at = micros(END)
        values = {"origin": ORIGIN, "size": done, "frontier": frontier.to_bytes(), "recorded": at, "kept": at}
        connection.execute(insert(head).values(id=1, note=note, **values))
    for index in entries.indexes:
        with engine.execution_options(writes=True).begin() as connection:
            connection.execute(CreateIndex(index))
    with engine.execution_options(writes=True).begin() as connection:
        tallies.tally(connection, END + timedelta(days=2))
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("ANALYZE"))


def _copy(connection: Connection, size: int, year: int) -> None:
    """One more year: the first year's rows at other places and times, about other persons."""
    back = year * (YEAR // timedelta(microseconds=1))
    mark = f"{year:02x}"
    columns = {
        "idx": f"idx + {year * size}",
        "recorded": f"recorded - {back}",
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
    value = f"CASE WHEN kind = {FACETS['consent']} THEN value || '-{mark}' ELSE value END"
    connection.exec_driver_sql(
        f"INSERT INTO audit_facets (kind, value, recorded, idx) "
        f"SELECT kind, {value}, recorded - {back}, idx + {year * size} FROM audit_facets WHERE idx < {size}"
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


Question = Callable[[Connection], object]


def questions(size: int) -> dict[str, Question]:
    """Every question, about persons, members and cases in the middle of the log."""
    people = People(size)
    who = (people.person(people.persons // 3),)
    member = "FI-BENCH/MUN/0000003-0"
    day = END - timedelta(days=100)
    note = SIGNER

    def page(filters: Filters, **options: Any) -> Question:
        return lambda connection: query.search(connection, filters, order=options.get("order", "newest"))

    def deep(connection: Connection) -> object:
        found = query.search(connection, Filters(member=member), limit=1000)
        return query.search(connection, Filters(member=member), limit=50, after=found.next)

    def unchanged(connection: Connection) -> object:
        kept = connection.scalar(select(checkpoints.c.note).order_by(checkpoints.c.size).limit(1))
        return proofs.unchanged_since(connection, str(kept), note.verifier)

    return {
        "person: who received the data": page(query.disclosures(who)),
        "person: who looked in vain": page(query.fruitless_lookups(who)),
        "person: everything": page(query.person(who)),
        "person: consents and what was given under each": lambda connection: query.consents_of(connection, who),
        "person: what left after a withdrawal": lambda connection: query.left_after_withdrawal(connection, who),
        "person: extract": lambda connection: report.extract(
            connection, who, controller="Bench", language="fi", now=END
        ),
        "person: days": lambda connection: query.heat(connection, query.disclosures(who)),
        "person: own view (findUsage)": lambda connection: data_tracker.find_usage(connection, who, limit=100),
        "case: timeline": page(query.case(f"{people.persons // 6:064x}"), order="oldest"),
        "refusals: newest": page(query.refusals()),
        "refusals: of one reason, in one month": page(
            query.refusals(reason="not-permitted", start=day, end=day + timedelta(days=30))
        ),
        "basis: newest": page(Filters(basis="basis-7")),
        "basis: rare, oldest": page(Filters(basis="basis-50"), order="oldest"),
        "basis: of one member, in one month": page(
            Filters(day, day + timedelta(days=30), basis="basis-20", member=member)
        ),
        "purpose: in one day": page(Filters(day, day + timedelta(days=1), purpose="purpose-3")),
        "member: newest": page(Filters(member=member)),
        "member: what was refused to it": page(Filters(member=member, outcomes=("refused",))),
        "member: rare category": page(Filters(member="FI-BENCH/MUN/0000200-0", withheld="child-protection")),
        "member: a thousand entries further on": deep,
        "user: newest": page(Filters(user=f"u-{17:032x}")),
        "rulebook: oldest of a version": page(Filters(rulebook=f"sha256:{3:064x}"), order="oldest"),
        "window: one hour": page(Filters(day, day + timedelta(hours=1))),
        "emergencies: newest": page(Filters(types=("break-glass",))),
        "emergencies: not reviewed": lambda connection: reviews.unreviewed_emergencies(connection, limit=50),
        "reads: newest": page(Filters(types=("console-read", "export"))),
        "proof of an entry": lambda connection: proofs.prove(connection, size // 3),
        "altered since the first checkpoint": unchanged,
        "flows: of one month": lambda connection: tallies.counts(connection, day, day + timedelta(days=30)),
        "unusual: of one hour": lambda connection: anomalies.detect(
            connection, day, day + timedelta(hours=1), anomalies.Thresholds(), now=END
        ),
    }


def timed(engine: Engine, size: int, rounds: int = 5) -> dict[str, list[float]]:
    """Milliseconds of each question, in interleaved rounds; the first round warms up and is left out."""
    asked = questions(size)
    found: dict[str, list[float]] = {name: [] for name in asked}
    for turn in range(rounds + 1):
        for name, ask in asked.items():
            with engine.connect() as connection:
                begun = time.perf_counter()
                ask(connection)
                if turn:
                    found[name].append((time.perf_counter() - begun) * 1000)
    return found


@contextmanager
def _database(where: str) -> Iterator[Engine]:
    engine = storage.create(where if "://" in where else f"sqlite:///{where}", pool_size=2)
    try:
        if engine.dialect.name == "sqlite":
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA cache_size=-65536")
        yield engine
    finally:
        engine.dispose()


def filled(engine: Engine) -> int:
    """How many entries the database holds already."""
    metadata.create_all(engine)
    with engine.connect() as connection:
        return int(connection.scalar(select(func.coalesce(func.max(head.c.size), 0))) or 0)


def run(large: int = 200_000, small: int = 20_000) -> list[Figure]:
    """Each question on a log ten times the other, on SQLite."""
    with tempfile.TemporaryDirectory(prefix="yhdyspinta-bench-") as folder:
        times: dict[int, dict[str, list[float]]] = {}
        for size in (small, large):
            with _database(str(Path(folder) / f"{size}.db")) as engine:
                fill(engine, size)
                times[size] = timed(engine, size)
    return [
        Figure(
            "questions",
            name,
            "ms",
            median(samples),
            f"{small} entries",
            median(times[small][name]),
            3.0,
            "at most",
            len(samples),
            tuple(samples),
            tuple(times[small][name]),
        )
        for name, samples in times[large].items()
    ]


def main(
    entries: Annotated[int, typer.Option(help="How many entries each year of the log is to have.")] = 1_000_000,
    years: Annotated[int, typer.Option(help="How many years it is to have.", min=1, max=255)] = 1,
    database: Annotated[str, typer.Option(help="A file for SQLite, or the URL of a database.")] = "questions.db",
    output: Annotated[Path | None, typer.Option(help="Write the samples there, as JSON.")] = None,
) -> None:
    """Fill a database, unless it is filled already, and time every question."""
    with _database(database) as engine:
        begun = time.perf_counter()
        if filled(engine) != entries * years:
            fill(engine, entries, lambda done, size: typer.echo(f"\r{done} of {size}", nl=False), years=years)
        typer.echo(f"\n{entries * years} entries after {time.perf_counter() - begun:.0f} s")
        times = timed(engine, entries)
    table = Table(title=f"{entries * years} entries, {engine.dialect.name}", title_justify="left")
    for column in ("question", "median ms", "worst ms"):
        table.add_column(column)
    for name, samples in times.items():
        table.add_row(name, f"{median(samples):.2f}", f"{max(samples):.2f}")
    from gateway.cli.output import console

    console.print(table)
    if output is not None:
        output.write_bytes(orjson.dumps(times, option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    typer.run(main)
