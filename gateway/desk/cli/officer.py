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
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from audit.questions.report import Extract as Made
from audit.questions.report import RecordOfProcessing
from gateway.desk.cli.desk import (
    HEADINGS,
    Language,
    Since,
    System,
    Until,
    Who,
    desk,
    entry_named,
    person_given,
    rows,
    utc,
)
from gateway.desk.cli.log import app, notes_in
from gateway.desk.forgetting import Forgotten, Others
from gateway.desk.forgetting import forget as forget_person
from gateway.desk.forms import YEARS, Format, Order
from gateway.desk.keeping import archive_months
from gateway.desk.questions.counting import Processing
from gateway.desk.questions.persons import ExtractOf
from gateway.desk.questions.proving import Proofs
from gateway.desk.questions.searching import Export, Find
from gateway.desk.questions.stories import Timeline
from gateway.terminal.configuration import CONFIG, Config, Json
from gateway.terminal.identifiers import SYSTEMS
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


def _narrowed(where: Sequence[str] | None) -> dict[str, list[str]]:
    """The filters that --where names, each with its alternatives."""
    given: dict[str, list[str]] = {}
    for name, _, value in (pair.partition("=") for pair in where or ()):
        given.setdefault(name, []).append(value)
    return given


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
    order = Order.OLDEST if oldest else Order.NEWEST
    with desk(config, json=json) as (officer, asker):
        asked = Find.of(
            question=question,
            person=who,
            case=case,
            filters=_narrowed(where),
            start=utc(start),
            end=utc(end),
            order=order,
            after=after,
            limit=limit,
        )
        page = officer.ask(asked, asker)
    if json:
        print_json(page.to_dict())
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
    explain: Annotated[Language | None, typer.Option(help="Also why it was decided so, in this language.")] = None,
    json: Json = False,
) -> None:
    """Tell everything about one handover, one case or one entry, oldest first."""
    named = entry_named(entry, json=json) if entry is not None else None
    with desk(config, json=json) as (officer, asker):
        course = officer.ask(Timeline.of(handover=handover, entry=named, case=case, explained_in=explain), asker)
    if json:
        print_json(course.to_dict())
    else:
        console.print(table("timeline", HEADINGS, rows(course.found)))
        for index, reasons in course.reasons.items():
            console.print(f"Record {index + 1}: {escape(reasons.text)}")
            if not reasons.same:
                console.print("  Made again now, another decision came out: run yhdyspinta rulebook replay.")
    raise SystemExit(0 if course.found else NO)


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
    form: Annotated[Format, typer.Option("--format", "-f")] = Format.JSONL,
    output: Output = None,
) -> None:
    """Write the whole answer to a question as CSV, JSON Lines or a FHIR bundle. What is to be proven: see `prove`."""
    who = person_given(system, json=False) if person else None
    with desk(config, json=False) as (officer, asker), ExitStack() as stack:
        asked = Export.of(
            question=question,
            person=who,
            case=case,
            filters=_narrowed(where),
            start=utc(start),
            end=utc(end),
            form=form,
        )
        made = officer.ask(asked, asker)
        file = sys.stdout.buffer if output is None else stack.enter_context(_opened(output))
        for piece in made.pieces():
            file.write(piece)
        file.flush()


def _opened(path: Path) -> Any:
    try:
        return path.open("wb")
    except OSError as error:
        fail(f"{path}: {error.strerror}", OUTSIDE)


@app.command()
def prove(
    entries: Annotated[list[str], typer.Argument(metavar="ENTRY...", help="Ids of entries, or numbers of records.")],
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
    named = {entry_named(entry, json=json): entry for entry in entries}
    with desk(config, json=json) as (officer, asker):
        made = officer.ask(Proofs.of(entries=list(named), earlier=notes), asker)
        if made.missing:
            missing = ", ".join(given for entry, given in named.items() if str(entry) in made.missing)
            fail(f"not in this log: {missing}", NO, remedy="look it up by `audit search`", json=json)
    if output is None:
        sys.stdout.buffer.write(made.whole + b"\n")
        return
    with _opened(output) as file:
        file.write(made.whole)
    if json:
        print_json({"file": str(output), "entries": len(entries), "size": made.size})
    else:
        console.print(f"[green]✓[/] {output}: {len(entries)} of {made.size} records, with their proofs")


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
    with desk(config, json=json) as (officer, asker):
        asked = ExtractOf.of(person=who, language=language, start=utc(start), end=utc(end), for_officer=for_officer)
        made = officer.ask(asked, asker)
    _write_report(made, output, json=json)
    raise SystemExit(NO if made.is_empty else 0)


@app.command()
def report(
    year: Annotated[int, typer.Argument(min=YEARS[0], max=YEARS[1], help="The calendar year, in Finnish time.")],
    config: Config = CONFIG,
    language: Language = "fi",
    output: Output = None,
    json: Json = False,
) -> None:
    """Write the record of processing activities (GDPR art. 30) of a year as a printable page."""
    with desk(config, json=json) as (officer, asker):
        made = officer.ask(Processing.of(year=year, language=language), asker)
    _write_report(made, output, json=json)


def _write_report(made: Made | RecordOfProcessing, output: Path | None, *, json: bool) -> None:
    if output is not None:
        with _opened(output) as file:
            file.write(made.page().encode())
    if json:
        print_json(made.to_dict())
    elif output is None:
        sys.stdout.write(made.page() + "\n")
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
    with desk(config, json=json) as (officer, asker), progress("archiving", quiet=json) as step:
        months = archive_months(officer, asker, folder.resolve(), prune=prune, progress=step)
    if json:
        print_json([{"month": month.name, "first": month.first, "through": month.through} for month in months])
    elif months:
        for month in months:
            console.print(f"[green]✓[/] {month.name}: records {month.first + 1} to {month.through}")
    else:
        console.print("No month is over that is not archived yet.")


@app.command()
def forget(
    config: Config = CONFIG,
    system: System = "hetu",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: the key is destroyed for good.")] = False,
    others: Annotated[
        Others | None,
        typer.Option(help="What is kept under further identifiers, which may be somebody else's: forget or keep it."),
    ] = None,
    json: Json = False,
) -> None:
    """Destroy a person's key: no query finds them any more, what is kept of them cannot be read, all proofs still hold.

    The identifier is read from standard input. Backups keep the key until they are overwritten. If something is kept
    under a further identifier of which nobody has said that it is theirs, nothing is done without --others.
    Exit codes: 0 all is forgotten; 1 nobody is known by it, or something is kept still; 2 nothing was done.
    """
    who = person_given(system, json=json)
    if not yes:
        if not sys.stdin.isatty():
            fail("this cannot be undone", WRONG, remedy="say --yes if it is meant", json=json)
        typer.confirm("The key is destroyed for good. Go on?", abort=True)
    with desk(config, json=json) as (officer, asker):
        done = forget_person(officer, asker, who, others)
    if json:
        print_json(done.to_dict())
    else:
        _print_forgotten(done)
    raise SystemExit(WRONG if done.is_open else 0 if done.keys and not done.kept else NO)


def _print_forgotten(done: Forgotten) -> None:
    kept = ", ".join(f"{kind}: {count}" for kind, count in done.kept.items()) or "entries alone"
    kinds = ", ".join(_KINDS.get(system, system) if system else "of a kind not on record" for system in done.systems)
    under = f"{done.others} further identifier{'s' if done.others > 1 else ''} ({kinds})"
    if done.is_open:
        console.print(f"[red]✗[/] nothing was destroyed: {under} may be the same person's. Kept under them: {kept}.")
        console.print("  They stand together with this one in what came, or in a join that nobody has confirmed.")
        console.print("  Say --others forget if it is one person, or --others keep if it may be somebody else.")
    elif done.keys:
        console.print(f"[green]✓[/] {done.keys} key{'s' if done.keys > 1 else ''} destroyed")
        if done.tasks:
            console.print(f"  {done.tasks} task{'s' if done.tasks > 1 else ''} ended, since nobody can see to them")
        if done.kept:
            console.print(f"[yellow]![/] kept still, under {under}: {kept}")
    else:
        console.print("Nobody is known by this identifier.")


_KINDS = {uri: name for name, uri in SYSTEMS.items()}
