"""The officer's questions on a large log: how long each takes, and how that grows with the log.

`python -m bench.questions SMALL LARGE` asks every question of two logs about invented people, by default of 100 000 and
of ten million entries, each a file for SQLite or the URL of a database; they are filled if they are empty. Both logs
are equally dense: the small one is five weeks of an organisation, the large one ten years. `python -m bench questions`
compares 10 000 with 200 000 entries on SQLite. A question that names a person, a member, a basis or a time window
should take the same time on any log, and less than 100 ms.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Final

import orjson
import typer
from rich.table import Table
from sqlalchemy import Connection, Engine, select

from audit.log.tables import checkpoints
from audit.questions import anomalies, data_tracker, query, report, reviews, tallies, withdrawals
from audit.questions.query import Filters
from audit.tree import proofs
from bench.figures import Figure
from bench.invented import A_YEAR, END, SIGNER, People, fill, filled
from gateway.storage import engine as storage

WITHIN_MS: Final = 100.0

Question = Callable[[Connection], object]


def questions(size: int) -> dict[str, Question]:
    """Every question, about persons, members and cases in the middle of the log."""
    people = People(min(size, A_YEAR))
    who = (people.person(people.persons // 3),)
    member = "FI-BENCH/MUN/0000003-0"
    day, hour = END - timedelta(days=35), END - timedelta(days=20, hours=12)
    month = END - timedelta(days=35, hours=7, minutes=13)
    cursors: list[str | None] = []

    def page(filters: Filters, **options: Any) -> Question:
        return lambda connection: query.search(connection, filters, order=options.get("order", "newest"))

    def deep(connection: Connection) -> object:
        if not cursors:
            cursors.append(query.search(connection, Filters(member=member), limit=1000).next)
        return query.search(connection, Filters(member=member), limit=50, after=cursors[0])

    def unchanged(connection: Connection) -> object:
        kept = connection.scalar(select(checkpoints.c.note).order_by(checkpoints.c.size).limit(1))
        return proofs.unchanged_since(connection, str(kept), SIGNER.verifier)

    telling = report.Telling("fi", lambda _kind, _code, _language: None, END, report.Controller("Bench"))
    return {
        "person: who received the data": page(query.disclosures(who)),
        "person: who looked in vain": page(query.fruitless_lookups(who)),
        "person: everything": page(query.person(who)),
        "person: consents and what was given under each": lambda connection: withdrawals.consents_of(connection, who),
        "person: what left after a withdrawal": lambda connection: withdrawals.left_after_withdrawal(connection, who),
        "person: extract": lambda connection: report.extract(connection, who, telling),
        "person: days": lambda connection: query.heat(connection, query.disclosures(who)),
        "person: own view (findUsage)": lambda connection: data_tracker.find_usage(
            connection, who, telling, data_tracker.Wanted(limit=100)
        ),
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
        "member: rare category, in one month": page(
            Filters(day, day + timedelta(days=30), member="FI-BENCH/MUN/0000100-0", withheld="child-protection")
        ),
        "member: a thousand entries further on": deep,
        "user: newest": page(Filters(user=f"u-{17:032x}")),
        "rulebook: oldest of a version": page(Filters(rulebook=f"sha256:{3:064x}"), order="oldest"),
        "window: one hour": page(Filters(hour, hour + timedelta(hours=1))),
        "emergencies: newest": page(Filters(types=("break-glass",))),
        "emergencies: not reviewed": lambda connection: reviews.unreviewed_emergencies(connection, limit=50),
        "reads: newest": page(Filters(types=("console-read", "export"))),
        "proof of an entry": lambda connection: proofs.prove(connection, size // 3),
        "altered since the first checkpoint": unchanged,
        "everybody: what left after a withdrawal, one month": lambda connection: withdrawals.left_after_withdrawal(
            connection, start=END - timedelta(days=30)
        ),
        "flows: of one month": lambda connection: tallies.between(connection, month, month + timedelta(days=30)),
        "processing: the record of one year": lambda connection: report.record_of_processing(
            connection, END.year, (), telling
        ),
        "unusual: of one hour": lambda connection: anomalies.detect(
            connection,
            anomalies.Span(hour, hour + timedelta(hours=1), END),
            anomalies.Thresholds(client_within=timedelta(days=10)),
        ),
    }


def timed(logs: Mapping[int, Engine], rounds: int = 7) -> dict[int, dict[str, list[float]]]:
    """Milliseconds of each question on the logs by size, in turn; the first round warms up and is left out."""
    asked = {size: questions(size) for size in logs}
    found: dict[int, dict[str, list[float]]] = {size: {name: [] for name in asked[size]} for size in logs}
    for turn in range(rounds + 1):
        for size, engine in logs.items():
            for name, ask in asked[size].items():
                with engine.connect() as connection:
                    begun = time.perf_counter()
                    ask(connection)
                    if turn:
                        found[size][name].append((time.perf_counter() - begun) * 1000)
    return found


@contextmanager
def _database(where: str) -> Iterator[Engine]:
    engine = storage.create(where if "://" in where else f"sqlite:///{where}", pool_size=2)
    try:
        yield engine
    finally:
        engine.dispose()


def run(small: int = 10_000, large: int = 200_000) -> list[Figure]:
    """Each question on a log many times the other, on SQLite."""
    with tempfile.TemporaryDirectory(prefix="yhdyspinta-bench-") as folder:
        names = [str(Path(folder) / f"{size}.db") for size in (small, large)]
        return compared(names[0], names[1], small, large)


def compared(
    small_log: str, large_log: str, small: int, large: int, say: Callable[[str], None] = lambda _line: None
) -> list[Figure]:
    """The figures of both logs, asked in turn; they are filled if need be."""
    with _database(small_log) as few, _database(large_log) as many:
        for engine, size in ((few, small), (many, large)):
            begun = time.perf_counter()
            spans = max(1, size // A_YEAR)
            if filled(engine) != size:
                fill(engine, size // spans, spans=spans)
                say(f"{size} entries on {engine.dialect.name} after {time.perf_counter() - begun:.0f} s")
        times = timed({small: few, large: many})
        kind = many.dialect.name
    found = []
    for name, samples in times[large].items():
        ours, theirs = tuple(samples), tuple(times[small][name])
        value, baseline = median(ours), median(theirs)
        rounds, against = len(ours), f"{small} entries"
        part, what = f"{kind}, {large} entries", name
        found.append(Figure(part, what, "ms", value, None, None, WITHIN_MS, "at most", rounds, ours))
        found.append(Figure(part, what, "ms", value, against, baseline, 3.0, "at most", rounds, ours, theirs))
    return found


def main(
    small_log: Annotated[str, typer.Argument(help="The small log: a file for SQLite, or the URL of a database.")],
    large_log: Annotated[str, typer.Argument(help="The large log.")],
    small: Annotated[int, typer.Option(help="Entries of the small log.")] = 100_000,
    large: Annotated[int, typer.Option(help="Entries of the large log.")] = 10_000_000,
    output: Annotated[Path | None, typer.Option(help="Write the samples there, as JSON.")] = None,
) -> None:
    """Fill two databases, unless they are filled already, and time every question on both, in turn."""
    from gateway.terminal.output import console

    figures = compared(small_log, large_log, small, large, typer.echo)
    table = Table(title=figures[0].part, title_justify="left")
    for column in ("question", "ms, median", f"ms on {small}", "growth", "within the goals"):
        table.add_column(column, justify="left" if column == "question" else "right")
    for alone, growth in zip(figures[::2], figures[1::2], strict=True):
        reached = alone.reached and growth.reached
        values = f"{alone.value:.1f}", f"{growth.baseline:.1f}", f"{growth.compared:.2f}", "yes" if reached else "NO"
        table.add_row(alone.what, *values)
    console.print(table)
    if output is not None:
        output.write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    typer.run(main)
