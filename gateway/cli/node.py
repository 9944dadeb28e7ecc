"""`yhdyspinta node`: run a node, or check its settings without running it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from gateway.cli.output import OUTSIDE, WRONG, console, errors, fail, print_json
from gateway.settings import Settings, SettingsError, load

app = typer.Typer(help="Run a node, or check its settings.", no_args_is_help=True)
Config = Annotated[Path, typer.Option("--config", "-c", help="The node's settings, a TOML file.", metavar="FILE")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command()
def run(config: Config = Path("node.toml")) -> None:
    """Run the node until it is told to stop (Ctrl-C, SIGTERM)."""
    from gateway.node import Node, NodeError
    from gateway.telemetry import configure_logging

    settings = _settings(config, json=False)
    configure_logging(settings.telemetry.log_level)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(Node(settings, reread=lambda: load(config)).run())
    except NodeError as error:
        fail(str(error), OUTSIDE, remedy=error.remedy)


@app.command()
def check(config: Config = Path("node.toml"), json: Json = False) -> None:
    """Check the settings file, line by line."""
    settings = _settings(config, json=json)
    if json:
        print_json({"node": settings.node.id, "problems": []})
    else:
        console.print(f"[green]✓[/] {config}: node {settings.node.id}, the settings are usable")


def _settings(config: Path, *, json: bool) -> Settings:
    try:
        return load(config)
    except SettingsError as error:
        if json:
            print_json(
                {
                    "problems": [
                        {"file": str(error.source), "line": one.line, "key": one.key, "message": one.message}
                        for one in error.problems
                    ]
                }
            )
        else:
            for line in error.lines():
                errors.print(line, markup=False, soft_wrap=True)
        raise SystemExit(WRONG) from None
