"""How commands speak: tables and progress for people, one JSON document for programs, exit codes for scripts.

Exit codes: 0 all was well; 1 the answer is no (a check failed, something was refused); 2 the command or its input is
wrong; 3 something outside failed (network, database, files).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson
import typer
from rich.console import Console, ConsoleOptions
from rich.markup import escape, render
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.segment import Segment, Segments
from rich.table import Table

OK = 0
NO = 1
WRONG = 2
OUTSIDE = 3


@dataclass(frozen=True, slots=True)
class Drawn:
    """A table as `table` describes it: boxes for people; for a pipe one row a line, with tabs between the cells."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    lines: bool = False
    widest: int | None = None

    def __rich_console__(self, _console: Console, _options: ConsoleOptions) -> Iterator[Table]:
        drawn = Table(
            title=self.title, title_justify="left", title_style="bold", header_style="bold", show_lines=self.lines
        )
        drawn.expand = self.widest is not None
        for number, column in enumerate(self.columns):
            ratio = None if self.widest is None else 9 if number == self.widest else 5
            drawn.add_column(column, overflow="fold", ratio=ratio)
        for row in self.rows:
            drawn.add_row(*row)
        yield drawn

    def piped(self) -> str:
        """Title, columns and rows, a line each, however long: a program cuts it at the tabs."""
        lines = ["\t".join(_cell(cell) for cell in row) for row in (self.columns, *self.rows)]
        return "\n".join((render(self.title).plain, *lines))


def _cell(cell: str) -> str:
    """A cell on one line: lines within it are joined by semicolons."""
    return "; ".join(render(cell).plain.expandtabs(1).splitlines())


class Terminal(Console):
    """A console that breaks no line and draws no box where nobody is looking."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does; into a pipe or a file unwrapped, and tables as lines with tabs."""
        if self.is_terminal:
            super().print(*objects, **options)
        elif len(objects) == 1 and isinstance(objects[0], Drawn):
            super().print(Segments([Segment(objects[0].piped() + "\n")]), soft_wrap=True)  # text would lose its tabs
        else:
            super().print(*objects, **{"soft_wrap": True, **options})


console = Terminal(highlight=False)
errors = Terminal(stderr=True, highlight=False)


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS, default=str).decode())
    sys.stdout.write("\n")


def table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, lines: bool = False, widest: int | None = None
) -> Drawn:
    """A table with a title; `lines` draws one between rows, `widest` is the column that takes what room there is."""
    return Drawn(title, columns, rows, lines, widest)


def fail(message: str, code: int, *, remedy: str = "", json: bool = False) -> NoReturn:
    """Say what is wrong and what would make it right, on standard error, and end the command."""
    if json:
        print_json({"error": message, "remedy": remedy, "exit_code": code})
    else:
        errors.print(f"[bold red]✗[/] {message}", soft_wrap=True)
        if remedy:
            errors.print(f"  {remedy}", soft_wrap=True)
    raise SystemExit(code)


def agreed(steps: Sequence[str], question: str, *, yes: bool, json: bool = False) -> None:
    """Say what a command is about to do, and ask whether it shall, unless that was said with --yes. Ends it if not."""
    if not json:
        errors.print("[bold]This will:[/]")
        for step in steps:
            errors.print(f"  • {escape(step)}", soft_wrap=True)
    if yes:
        return
    if json or not sys.stdin.isatty():
        fail("nobody is here to be asked", WRONG, remedy="add --yes", json=json)
    if not typer.confirm(question, err=True):
        errors.print("Nothing was changed.")
        raise SystemExit(NO)


@contextmanager
def progress(description: str, *, quiet: bool = False) -> Generator[Callable[[int, int], None], None, None]:
    """A bar that shows itself on a terminal only; call what it gives with (done, total)."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=errors,
        transient=True,
        disable=quiet or not errors.is_terminal,
    ) as bar:
        task = bar.add_task(description, total=None)

        def step(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield step
