"""`python -m bench`: measure everything, print it, and write `bench/results.json` and `bench/results.html`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.table import Table

from bench.figures import Figure
from bench.page import page
from gateway.terminal.output import console

PARTS = ("starting", "exchange", "deciding", "mapping", "questions", "registry")
FOLDER = Path(__file__).parent


def main(
    parts: Annotated[list[str] | None, typer.Argument(help=f"Which parts: {', '.join(PARTS)}. All without.")] = None,
) -> None:
    """Measure, as ratios against a baseline in the same run."""
    figures: list[Figure] = []
    for part in parts or PARTS:
        if part not in PARTS:
            raise typer.BadParameter(f"{part} is not one of {', '.join(PARTS)}")
        console.print(f"[bold]{part}[/] …")
        run: Callable[[], list[Figure]] = importlib.import_module(f"bench.{part}").run
        figures += run()
    console.print(drawn(figures))
    document = [{**asdict(figure), "compared": figure.compared, "reached": figure.reached} for figure in figures]
    (FOLDER / "results.json").write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    (FOLDER / "results.html").write_text(page(figures), encoding="utf-8")
    console.print("Written to bench/results.json and bench/results.html.")


def drawn(figures: list[Figure]) -> Table:
    """The figures as a table."""
    table = Table(title="Measured", title_justify="left", title_style="bold", expand=True)
    table.add_column("what", ratio=5)
    table.add_column("median", ratio=3)
    table.add_column("against", ratio=4)
    table.add_column("ratio", justify="right")
    table.add_column("goal", no_wrap=True)
    for one in figures:
        goal = "" if one.goal is None else f"{'≥' if one.sense == 'at least' else '≤'} {one.goal:g}"
        mark = {None: "", True: "[green]✓[/] ", False: "[red]✗[/] "}[one.reached]
        table.add_row(
            f"{one.part}: {one.what}",
            f"{one.value:,.4g} {one.unit}",
            f"{one.against}: {one.baseline:,.4g}" if one.baseline is not None else "",
            f"{one.compared:.3g}" if one.baseline is not None else "",
            f"{mark}{goal}",
        )
    return table


if __name__ == "__main__":
    typer.run(main)
