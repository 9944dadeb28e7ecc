"""`yhdyspinta audit search | timeline | export | prove | extract | report | archive | forget`: what an officer does.

Each reading is itself an entry of the log, committed before anything is printed, so these commands need the node's
secrets; the node may be running or not. A person is never named on the command line, where the shell would remember
it: with `--person` the identifier is read from standard input.
Exit codes: 0 found and done; 1 nothing found; 2 the question is wrong; 3 database or log.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
import typer

from audit.questions import report as reports
from gateway.desk.cli.desk import (
    HEADINGS,
    Language,
    Since,
    System,
    Until,
    Who,
    desk,
    person_given,
    rows,
    utc,
)
from gateway.desk.cli.log import app, notes_in
from gateway.desk.questions import Person, Question, filters_of
from gateway.terminal.configuration import CONFIG, Config, Json
from gateway.terminal.output import NO, OUTSIDE, WRONG, console, fail, print_json, progress, table

__all__ = ["app"]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write there instead of standard output.")
]
Asked = Annotated[
    str,
    typer.Argument(
        metavar="[QUESTION]",
        help="search, person, disclosures, fruitless, refusals, emergencies, reads or anomalies.",
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", "-w", metavar="NAME=VALUE", help="A filter, such as `purpose=…`. Can be repeated."),
]
CaseReference = Annotated[str | None, typer.Option("--case", help="About this case reference.")]


def _question(
    name: str,
    where: Sequence[str] | None,
    person: Person | None,
    case: str | None,
    start: datetime | None,
    end: datetime | None,
) -> Question:
    pairs = [one.partition("=")[::2] for one in where or ()]
    return Question(name, filters_of(pairs, start=utc(start), end=utc(end)), person, case)


@app.command()
def search(
    question: Asked = "search",
    config: Config = CONFIG,
    where: Where = None,
    person: Who = False,
    system: System = "hetu",
    case: CaseReference = None,
    start: Since = None,
    end: Until = None,
    oldest: Annotated[bool, typer.Option("--oldest", help="Oldest first instead of newest first.")] = False,
    limit: Annotated[int, typer.Option(help="Entries on a page.", min=1, max=1000)] = 50,
    after: Annotated[str | None, typer.Option(help="The cursor that the page before ended with.")] = None,
    json: Json = False,
) -> None:
    """Ask the log: who received a person's data, what was refused, everything under one basis or purpose."""
    who = person_given(system, json=json) if person else None
    with desk(config, json=json) as (officer, reader):
        asked = _question(question, where, who, case, start, end)
        page = officer.search(reader, asked, order="oldest" if oldest else "newest", after=after, limit=limit)
    if json:
        print_json({"found": [item.to_dict() for item in page.found], "next": page.next})
    else:
        console.print(table(question, HEADINGS, rows(page.found)))
        if page.next is not None:
            console.print(f"More: --after {page.next}")
    raise SystemExit(0 if page.found else NO)


@app.command()
def timeline(
    config: Config = CONFIG,
    handover: Annotated[str | None, typer.Option(help="Of this handover, sent or received.")] = None,
    entry: Annotated[str | None, typer.Option(help="Of the story that this entry id belongs to.")] = None,
    case: CaseReference = None,
    json: Json = False,
) -> None:
    """Tell everything about one handover, one case or one entry, oldest first."""
    if sum(one is not None for one in (handover, entry, case)) != 1:
        fail("a timeline is of one thing", WRONG, remedy="give one of --handover, --case and --entry", json=json)
    with desk(config, json=json) as (officer, reader):
        story = officer.timeline(reader, handover=handover, entry=entry, case=case)
    if json:
        print_json({"found": [item.to_dict() for item in story]})
    else:
        console.print(table("timeline", HEADINGS, rows(story)))
    raise SystemExit(0 if story else NO)


@app.command()
def export(
    question: Asked = "search",
    config: Config = CONFIG,
    where: Where = None,
    person: Who = False,
    system: System = "hetu",
    case: CaseReference = None,
    start: Since = None,
    end: Until = None,
    form: Annotated[Literal["csv", "jsonl", "fhir"], typer.Option("--format", "-f")] = "jsonl",
    output: Output = None,
) -> None:
    """Write the whole answer to a question as CSV, JSON Lines or a FHIR bundle. What is to be proven: see `prove`."""
    who = person_given(system, json=False) if person else None
    with desk(config, json=False) as (officer, reader), ExitStack() as stack:
        pieces = officer.export(reader, _question(question, where, who, case, start, end), form)
        file = sys.stdout.buffer if output is None else stack.enter_context(_opened(output))
        for piece in pieces:
            file.write(piece)
        file.flush()


def _opened(path: Path) -> Any:
    try:
        return path.open("wb")
    except OSError as error:
        fail(f"{path}: {error.strerror}", OUTSIDE)


@app.command()
def prove(
    entries: Annotated[list[str], typer.Argument(metavar="ENTRY...", help="Ids of entries, or their places.")],
    config: Config = CONFIG,
    output: Output = None,
    earlier: Annotated[
        list[Path] | None,
        typer.Option("--earlier", metavar="FILE", help="Checkpoints whose continuity the file shows as well."),
    ] = None,
    json: Json = False,
) -> None:
    """Prove that entries existed and have not changed, to someone who trusts nobody: a file for `audit verify`."""
    notes = [note for path in earlier or [] for note in notes_in(path, json=json)]
    with desk(config, json=json) as (officer, reader):
        whole, missing = officer.prove_to_others(reader, entries, earlier=notes)
        if missing:
            fail(f"not in this log: {', '.join(missing)}", NO, remedy="look it up by `audit search`", json=json)
    if output is None:
        sys.stdout.buffer.write(whole + b"\n")
        return
    with _opened(output) as file:
        file.write(whole)
    checkpoint = orjson.loads(whole)["checkpoint"].split("\n")
    if json:
        print_json({"file": str(output), "entries": len(entries), "size": int(checkpoint[1])})
    else:
        console.print(f"[green]✓[/] {output}: {len(entries)} of {checkpoint[1]} entries, with their proofs")


@app.command()
def extract(
    config: Config = CONFIG,
    system: System = "hetu",
    start: Since = None,
    end: Until = None,
    language: Language = "fi",
    for_officer: Annotated[bool, typer.Option("--for-officer", help="Say how many lines the law hides.")] = False,
    output: Output = None,
    json: Json = False,
) -> None:
    """Write the extract for a person (GDPR art. 15) as a printable page. The identifier is read from standard input."""
    who = person_given(system, json=json)
    with desk(config, json=json) as (officer, reader):
        made = officer.extract(reader, who, language=language, start=utc(start), end=utc(end), for_officer=for_officer)
    _write_report(reports.extract_page(made), made, output, json=json)
    raise SystemExit(0 if made.disclosures or made.fruitless or made.consents else NO)


@app.command()
def report(
    year: Annotated[int, typer.Argument(min=2020, max=2200, help="The calendar year, in Finnish time.")],
    config: Config = CONFIG,
    language: Language = "fi",
    output: Output = None,
    json: Json = False,
) -> None:
    """Write the record of processing activities (GDPR art. 30) of a year as a printable page."""
    with desk(config, json=json) as (officer, reader):
        made = officer.record_of_processing(reader, year, language=language)
    _write_report(reports.processing_page(made), made, output, json=json)


def _write_report(page: str, made: Any, output: Path | None, *, json: bool) -> None:
    if output is not None:
        with _opened(output) as file:
            file.write(page.encode())
    if json:
        print_json(made)
    elif output is None:
        sys.stdout.write(page + "\n")
    else:
        console.print(f"[green]✓[/] {output}")


@app.command()
def archive(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the archive is or will be.")],
    config: Config = CONFIG,
    prune: Annotated[bool, typer.Option("--prune", help="Then take what was archived out of the database.")] = False,
    json: Json = False,
) -> None:
    """Write months that are over to a folder, where they stay searchable and provable, and check what was written."""
    with desk(config, json=json) as (officer, reader), progress("archiving", quiet=json) as step:
        months = officer.archive_months(reader, folder.resolve(), prune=prune, progress=step)
    if json:
        print_json([{"month": month.name, "first": month.first, "through": month.through} for month in months])
    elif months:
        for month in months:
            console.print(f"[green]✓[/] {month.name}: entries {month.first} to {month.through - 1}")
    else:
        console.print("No month is over that is not archived yet.")


@app.command()
def forget(
    config: Config = CONFIG,
    system: System = "hetu",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: the key is destroyed for good.")] = False,
    json: Json = False,
) -> None:
    """Destroy a person's key: no query finds them any more, what is kept of them cannot be read, all proofs still hold.

    The identifier is read from standard input. Backups keep the key until they are overwritten.
    """
    who = person_given(system, json=json)
    if not yes:
        if not sys.stdin.isatty():
            fail("this cannot be undone", WRONG, remedy="say --yes if it is meant", json=json)
        typer.confirm("The key is destroyed for good. Go on?", abort=True)
    with desk(config, json=json) as (officer, reader):
        gone = officer.forget(reader, who)
    if json:
        print_json({"keys_destroyed": gone})
    elif gone:
        console.print(f"[green]✓[/] {gone} key{'s' if gone > 1 else ''} destroyed")
    else:
        console.print("Nobody is known by this identifier.")
    raise SystemExit(0 if gone else NO)
