"""`yhdyspinta adapter new`: make an adapter's folder from a sample, and tell what was found in it and by what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from gateway.terminal.output import OUTSIDE, WRONG, console, fail, print_json, table

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def new(
    name: Annotated[str, typer.Argument(help="The adapter's name: small letters, digits and dashes.")],
    sample: Annotated[
        Path,
        typer.Option(
            "--from", help="A sample (CSV, fixed width, XML, JSON, XLSX, HL7 v2), or a folder or ZIP of several."
        ),
    ],
    into: Annotated[Path, typer.Option("--into", help="Where the folder is made.", metavar="DIR")] = Path(),
    allow_real_persons: Annotated[
        bool, typer.Option("--allow-real-persons", help="Copy a sample with identity codes of real persons.")
    ] = False,
    encoding: Annotated[str, typer.Option("--encoding", help="Its encoding, such as iso-8859-15.")] = "",
    delimiter: Annotated[str, typer.Option("--delimiter", help="What stands between its columns.")] = "",
    header_row: Annotated[int | None, typer.Option("--header-row", min=1, help="The row of its header.")] = None,
    sheet: Annotated[str, typer.Option("--sheet", help="The sheet of a workbook.")] = "",
    record: Annotated[str, typer.Option("--record", help="The XML element, or the path in JSON, of a record.")] = "",
    key: Annotated[str, typer.Option("--key", help="The column that tells records apart.")] = "",
    json: Json = False,
) -> None:
    """Make an adapter from a sample: find how it is laid out, recognise its columns, write a package that is tested."""
    from adapters.scaffold.outlining import SampleError
    from adapters.scaffold.sniffing import Hints
    from adapters.scaffold.writing import NewError
    from adapters.scaffold.writing import new as write

    hints = Hints(encoding, delimiter.replace("\\t", "\t"), header_row, sheet, record, key)
    try:
        written = write(name, sample, into, allow_real=allow_real_persons, hints=hints)
    except (NewError, SampleError) as error:
        fail(str(error), WRONG, remedy=error.remedy, json=json)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}", OUTSIDE, json=json)
    if json:
        print_json(_written(written))
    else:
        _show_written(written)
    if written.faults:
        raise typer.Exit(WRONG)


def _written(written: Any) -> dict[str, Any]:
    found = written.recognition
    return {
        "folder": str(written.folder),
        "source": dict(written.sample.source),
        "records": written.sample.records,
        "key": found.key,
        "mapped": written.covered.mapped,
        "faults": list(written.faults),
        "evidence": list(written.sample.evidence),
        "recognised": [
            {
                "column": column.column.name,
                "as": column.concept.name,
                "score": round(column.score, 2),
                "by": column.by,
                "unknown_values": column.unknown,
            }
            for column in found.recognised
        ],
        "left": [{"column": item.column.name, "reason": item.reason} for item in found.left],
    }


def _show_written(written: Any) -> None:
    found = written.recognition
    form = written.sample.source["format"]
    mark = "[red]✗[/]" if written.faults else "[green]✓[/]"
    console.print(f"{mark} {escape(str(written.folder))}: {written.sample.records} records, {form}")
    for line in (*written.sample.evidence, f"key {found.key}"):
        console.print(f"  [dim]guess[/] {escape(line)}")
    rows = [
        (
            escape(column.column.name),
            column.concept.title["en"],
            f"{column.score:.0%}",
            column.by + _unknown(column.unknown),
        )
        for column in found.recognised
    ]
    console.print(table("Recognised", ("column", "as", "sure", "by"), rows))
    if found.left:
        left = [(escape(item.column.name), escape(item.reason)) for item in found.left]
        console.print(table("Left for you", ("column", "why"), left))
    console.print(f"It {escape(written.covered.share)} as it stands.")
    for fault in written.faults:
        console.print(f"  [red]✗[/] {escape(fault)}")
    console.print(f"Next: [bold]yhdyspinta adapter watch {escape(str(written.folder))}[/]")


def _unknown(count: int) -> str:
    return f" — {count} of its values are in no table yet" if count else ""


#: What the command line offers of this module.
COMMANDS = (new,)
