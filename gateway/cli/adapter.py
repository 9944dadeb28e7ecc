"""`yhdyspinta adapter`: make an adapter from a sample, look at what it does, test it, pack it."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.columns import Columns
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from adapters.faults import MappingError
from adapters.sdk import Adapter, AdapterError, Finding, Limits, Manifest, Mapped, Record, available, load
from adapters.sdk.versions import version_of
from gateway.cli.adapter_new import new
from gateway.terminal.output import NO, OUTSIDE, WRONG, Drawn, console, fail, print_json, progress, table

app = typer.Typer(help="Make an adapter from a sample, look at what it does, test it, pack it.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Folder = Annotated[Path, typer.Argument(help="The adapter's folder.", metavar="FOLDER")]
T = TypeVar("T")
BUILDER = "install yhdyspinta[adapters]"


app.command()(new)


@app.command("list")
def list_(json: Json = False) -> None:
    """List the adapters that are installed."""
    found = available()
    if json:
        print_json(
            [
                {
                    "name": item.name,
                    "title": {"fi": item.title.fi, "sv": item.title.sv, "en": item.title.en},
                    "version": version_of(item.name).declared,
                    "digest": version_of(item.name).digest,
                    "media_types": item.media_types,
                    "reads": item.reads,
                    "writes": item.writes,
                }
                for item in found
            ]
        )
        return
    versions = [version_of(item.name) for item in found]
    rows = [
        (item.name, item.title.en, ", ".join(item.media_types), _does(item), version.declared, version.digest[:12])
        for item, version in zip(found, versions, strict=True)
    ]
    console.print(table("Adapters", ("name", "what it is", "media types", "does", "version", "digest"), rows))


def _does(item: Manifest) -> str:
    return " and ".join(word for word, does in (("reads", item.reads), ("writes", item.writes)) if does)


@app.command()
def preview(
    adapter: Annotated[str, typer.Argument(help="An adapter's folder, or the name of an installed one.")] = ".",
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="What to read; else the folder's first sample.", metavar="FILE")
    ] = None,
    records: Annotated[int, typer.Option("--records", "-n", min=1, help="How many records to show.")] = 3,
    json: Json = False,
) -> None:
    """Show records of a source and what they become, side by side."""
    chosen, source = _chosen(adapter, file, json=json)
    shown = _guarded(lambda: list(islice(_pairs(chosen, source), records)), json=json)
    if json:
        print_json([_pair(record, mapped) for record, mapped in shown])
        return
    for record, mapped in shown:
        console.print(Columns([_left(record, mapped), _right(mapped)], expand=False))


def _pairs(adapter: Adapter, source: Path) -> Any:
    data = source.read_bytes()
    return zip(adapter.read(io.BytesIO(data), Limits()), adapter.convert(io.BytesIO(data), Limits()), strict=False)


def _pair(record: Record | Finding, mapped: Mapped) -> dict[str, Any]:
    return {
        "row": mapped.position.row,
        "source": dict(record.fields) if isinstance(record, Record) else None,
        "bundle": mapped.bundle,
        "provenance": {
            pointer: {"column": origin.position.column, "transform": origin.transform}
            for pointer, origin in mapped.provenance.items()
        },
        "findings": [_finding(found) for found in mapped.findings],
    }


def _finding(found: Finding) -> dict[str, Any]:
    return {
        "severity": found.severity,
        "code": found.code,
        "row": found.position.row,
        "column": found.position.column,
        "target": found.target,
        "message": found.message.en,
        "hint": found.hint.en,
    }


def _left(record: Record | Finding, mapped: Mapped) -> Panel:
    marks = {found.position.column: found.severity for found in mapped.findings}
    grid = Table.grid(padding=(0, 2))
    if isinstance(record, Record):
        for name, value in record.fields.items():
            if value not in (None, "", []):
                style = {"error": "bold red", "warning": "yellow"}.get(marks.get(name, ""), "cyan")
                grid.add_row(f"[{style}]{escape(name)}[/]", escape(str(value)))
    return Panel(grid, title=f"row {mapped.position.row}", title_align="left", border_style="dim")


def _right(mapped: Mapped) -> Panel:
    from adapters.sdk.testing import target_of

    grid = Table.grid(padding=(0, 2))
    for pointer, origin in mapped.provenance.items():
        if mapped.bundle is not None:
            value = _at(mapped.bundle, pointer)
            target = target_of(pointer, mapped.bundle)
            grid.add_row(
                f"[green]{escape(target)}[/]",
                escape(str(value)),
                f"[dim]← {escape(origin.position.column)} · {escape(origin.transform)}[/]",
            )
    for found in mapped.findings:
        style = "bold red" if found.severity == "error" else "yellow"
        place = escape(found.position.column or "the record")
        told = f"{found.message.en} {escape(_taught(found))} [dim]{found.hint.en}[/]"
        grid.add_row(f"[{style}]{found.code}[/]", place, told)
    taken = mapped.bundle is not None
    return Panel(
        grid, title="mapped" if taken else "rejected", title_align="left", border_style="green" if taken else "red"
    )


def _taught(found: Finding) -> str:
    """The value, its rule and what comes nearest: here persons are invented, and nothing leaves the terminal."""
    if found.shown is None:
        return ""
    near = f" Nearest: “{found.shown.near}”." if found.shown.near else ""
    return f"“{found.shown.value}” by {found.shown.rule}.{near}"


def _at(bundle: Any, pointer: str) -> Any:
    for step in pointer.strip("/").split("/"):
        bundle = bundle[int(step)] if isinstance(bundle, list) else bundle[step]
    return bundle


@app.command("test")
def check(
    folder: Folder = Path(),
    accept: Annotated[bool, typer.Option("--accept", help="Make the results the golden files first.")] = False,
    reject: Annotated[
        list[str] | None,
        typer.Option("--reject", help="With --accept: agree that a record is rejected.", metavar="SAMPLE:ROW=WHY"),
    ] = None,
    json: Json = False,
) -> None:
    """Run what every adapter must hold: it maps, golden files, nothing lost, valid output, round trip, dirty input."""
    from adapters.sdk import rejections
    from adapters.sdk.golden import write_golden
    from adapters.sdk.testing import CHECKS, coverage, open_folder

    if reject and not accept:
        fail("--reject agrees to a result, so it goes with --accept", WRONG, json=json)
    package = _guarded(lambda: open_folder(folder), json=json)
    if accept:
        # First, for it refuses: what is accepted without a word would hide a record that is newly lost.
        _guarded(lambda: rejections.accept(package, reject or ()), json=json)
    accepted = _guarded(lambda: write_golden(package), json=json) if accept else []
    results = []
    with progress("checking", quiet=json) as step:
        chosen = [check for check in CHECKS if check.applies(package)]
        for number, check in enumerate(chosen, 1):
            results.append((check, _guarded(lambda check=check: check.faults(package), json=json)))  # type: ignore[misc]
            step(number, len(chosen))
    covered = _guarded(lambda: coverage(package), json=json)
    turned = _guarded(lambda: rejections.rejected(package), json=json)
    tried = _Tried(package.name, accepted, results, covered, turned)
    if json:
        print_json(tried.document())
    else:
        tried.tell()
        for check in CHECKS:
            if not check.applies(package):
                console.print(f"[dim]– {check.name}: it only reads[/]")
        verdict = "[green]passes[/]" if tried.is_held else "[bold red]does not pass[/]"
        console.print(f"{package.name} {verdict}: {covered.share}, {covered.rejected} rejected")
    if not tried.is_held:
        raise SystemExit(NO)


@dataclass(frozen=True, slots=True)
class _Tried:
    """What the test of an adapter has found."""

    name: str
    accepted: list[Path]
    results: list[tuple[Any, list[str]]]
    covered: Any
    turned: list[Any]

    @property
    def is_held(self) -> bool:
        return not any(faults for _, faults in self.results)

    def document(self) -> dict[str, Any]:
        """For programs."""
        covered = self.covered
        checks = [{"name": check.name, "passed": not faults, "faults": faults} for check, faults in self.results]
        return {
            "adapter": self.name,
            "passed": self.is_held,
            "accepted": [str(path) for path in self.accepted],
            "checks": checks,
            "read": covered.read,
            "mapped": covered.mapped,
            "rejected": covered.rejected,
            "rejections": [
                {"sample": record.sample, "row": record.row, "codes": record.codes, "why": record.why or None}
                for record in self.turned
            ],
            "findings": dict(covered.findings),
            "fields": [
                {
                    "field": field.name,
                    "filled": field.filled,
                    "targets": field.targets,
                    "transforms": field.transforms,
                    "ignored": field.ignored,
                    "reported": field.reported,
                }
                for field in covered.fields
            ],
        }

    def tell(self) -> None:
        """For people: how much is mapped comes first."""
        console.print(f"{self.name} [{'green' if self.covered.mapped else 'bold red'}]{self.covered.share}[/]")
        for path in self.accepted:
            console.print(f"[dim]accepted[/] {escape(str(path))}")
        console.print(_coverage_table(self.covered))
        for record in self.turned:
            why = escape(record.why) or "[bold red]not agreed on[/]"
            console.print(f"[dim]rejected[/] {escape(str(record))} {', '.join(record.codes)}: {why}", soft_wrap=True)
        for check, faults in self.results:
            console.print(f"[{'red]✗' if faults else 'green]✓'}[/] {check.name}: {check.means}")
            for fault in faults:
                console.print(f"    {escape(fault)}")


def _coverage_table(covered: Any) -> Drawn:
    rows = []
    for field in covered.fields:
        went = ", ".join(field.targets)
        if field.ignored:
            went = "[dim]ignored by name[/]"
        elif not went:
            often = "once" if field.reported == 1 else f"{field.reported} times"
            went = f"[yellow]reported {often}[/]" if field.reported else "[dim]always empty[/]"
        if field.lost:
            went = "[bold red]lost[/]"
        rows.append((escape(field.name), str(field.filled), went, escape(", ".join(field.transforms))))
    return table("Coverage", ("source field", "filled", "target element", "by"), rows)


@app.command()
def package(
    folder: Folder = Path(),
    out: Annotated[
        Path | None, typer.Option("--out", help="Where the wheel goes; else its dist/.", metavar="DIR")
    ] = None,
    json: Json = False,
) -> None:
    """Pack the adapter as a wheel, once it passes its tests."""
    from adapters.sdk.testing import CHECKS, open_folder

    found = _guarded(lambda: open_folder(folder), json=json)
    faults = _guarded(lambda: {check.name: check.faults(found) for check in CHECKS if check.applies(found)}, json=json)
    failing = [name for name, told in faults.items() if told]
    if failing:
        fail(f"the adapter does not pass: {', '.join(failing)}", NO, remedy="see `yhdyspinta adapter test`", json=json)
    if importlib.util.find_spec("hatchling") is None:
        fail("the builder is not installed", OUTSIDE, remedy=BUILDER if json else escape(BUILDER), json=json)
    target = (out or found.folder / "dist").resolve()
    before = set(target.glob("*.whl")) if target.is_dir() else set()
    with progress("building", quiet=json):
        built = subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)],
            cwd=found.folder,
            capture_output=True,
            text=True,
            check=False,
        )
    if built.returncode:
        fail(built.stderr.strip().splitlines()[-1] if built.stderr.strip() else "the build failed", WRONG, json=json)
    wheels = sorted(target.glob("*.whl"), key=lambda wheel: (wheel not in before, wheel.stat().st_mtime_ns))
    if json:
        print_json({"wheel": str(wheels[-1])})
    else:
        console.print(f"[green]✓[/] {escape(str(wheels[-1]))}")


def _chosen(adapter: str, file: Path | None, *, json: bool) -> tuple[Adapter, Path]:
    from adapters.sdk.folders import open_folder

    if (Path(adapter) / "pyproject.toml").exists():
        folder = _guarded(lambda: open_folder(Path(adapter)), json=json)
        source = file or (folder.samples[0] if folder.samples else None)
        if source is None:
            fail("the folder has no sample", WRONG, remedy="put one into samples/, or name a --file", json=json)
        return folder.adapter, source
    found = _guarded(lambda: load(adapter), json=json)
    if file is None:
        fail("an installed adapter has no sample", WRONG, remedy="say which --file to read", json=json)
    return found, file


def _guarded(work: Callable[[], T], *, json: bool) -> T:
    try:
        return work()
    except MappingError as error:
        fail(escape(str(error)), WRONG, json=json)
    except AdapterError as error:
        fail(escape(str(error)), WRONG, json=json)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}", OUTSIDE, json=json)


@app.command()
def codes(
    name: Annotated[str, typer.Argument(help="A code system of the reference, such as municipality.")],
    json: Json = False,
) -> None:
    """Print all codes of a code system with their names."""
    from schemas.codes import code_system, code_systems

    if name not in code_systems():
        fail(f"there is no code system {name!r}", WRONG, remedy=f"one of: {', '.join(code_systems())}", json=json)
    found = code_system(name).codes.values()
    if json:
        print_json([{"code": item.code, "fi": item.fi, "sv": item.sv, "en": item.en} for item in found])
        return
    rows = [(escape(item.code), escape(item.fi), escape(item.sv), escape(item.en)) for item in found]
    console.print(table(name, ("code", "fi", "sv", "en"), rows))


@app.command()
def reference() -> None:
    """Print the reference of the mapping language and its transforms, as Markdown."""
    from adapters.reference import reference as rendered

    sys.stdout.write(rendered())


@app.command()
def watch(
    folder: Folder = Path(),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on 127.0.0.1; 0: any free one.")] = 8610,
    language: Annotated[str, typer.Option("--language", help="fi, sv or en.")] = "fi",
    rulebook: Annotated[
        Path | None, typer.Option("--rulebook", help="Decide by this rulebook; else the reference.", metavar="FILE")
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the browser.")] = True,
) -> None:
    """Open the workbench in the browser: source, result, findings and recipients, live on save."""
    import asyncio
    import webbrowser
    from datetime import UTC, datetime

    import uvicorn

    from adapters.workbench.looking import Bench
    from consent.rulebook import load as load_rulebook
    from consent.rulebook import reference_rulebook
    from consent.rules.document import RulebookError
    from gateway.cli.workbench import workbench
    from gateway.web.listeners import bind
    from texts import LANGUAGES

    if language not in LANGUAGES:
        fail(f"there is no language {language!r}", WRONG, remedy="use fi, sv or en")
    if not (folder / "pyproject.toml").exists():
        fail(f"{folder} has no pyproject.toml, so it is no adapter's folder", WRONG, remedy="see `adapter new`")
    try:
        text = rulebook.read_bytes() if rulebook else reference_rulebook()
        rules = load_rulebook(text, source=str(rulebook or "reference rulebook"))
        bound = bind("127.0.0.1", port)
        bound.listen()
    except RulebookError as error:
        fail(escape(str(error)), WRONG)
    except OSError as error:
        fail(f"{error.filename or f'127.0.0.1:{port}'}: {error.strerror}", OUTSIDE, remedy="choose another --port")
    stopping = asyncio.Event()
    bench = workbench(Bench(folder.resolve()), rules, lambda: datetime.now(UTC), stopping, language=language)

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: Any) -> None:
            stopping.set()  # streams of events end by themselves
            super().handle_exit(sig, frame)

    address = f"http://127.0.0.1:{bound.getsockname()[1]}/"
    console.print(f"[green]✓[/] The workbench is at [bold]{address}[/] (Ctrl-C ends it)", soft_wrap=True)
    if open_browser:
        webbrowser.open(address)
    with contextlib.suppress(KeyboardInterrupt):
        Server(uvicorn.Config(bench, log_level="warning", access_log=False, server_header=False)).run(sockets=[bound])
