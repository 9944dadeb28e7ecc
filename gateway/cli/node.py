"""`yhdyspinta node`: run a node, or check its settings without running it."""

from __future__ import annotations

import asyncio
import gc

import typer
import uvloop
from rich.markup import escape

from gateway.settings import load
from gateway.terminal.configuration import CONFIG, Config, Json, settings_of
from gateway.terminal.output import OUTSIDE, console, fail, print_json

app = typer.Typer(help="Run a node, or check its settings.", no_args_is_help=True)


@app.command()
def run(config: Config = CONFIG) -> None:
    """Run the node until it is told to stop (Ctrl-C, SIGTERM)."""
    from gateway.loglines import configure_logging
    from gateway.node.node import Node
    from gateway.node.wiring import NodeError

    settings = settings_of(config, json=False)
    configure_logging(settings.telemetry.log_level)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(Node(settings, reread=lambda: load(config), ready=_loaded).run())
    except NodeError as error:
        fail(escape(str(error)), OUTSIDE, remedy=escape(error.remedy))


def _loaded() -> None:
    # What is loaded by now stays for good: the collector is spared from going through it while requests wait.
    gc.collect()
    gc.freeze()


@app.command()
def settings() -> None:
    """Print every setting with its kind, its default and its meaning, as Markdown."""
    from gateway.cli.settings_reference import reference

    typer.echo(reference())


@app.command()
def check(config: Config = CONFIG, json: Json = False) -> None:
    """Check the settings file, line by line."""
    settings = settings_of(config, json=json)
    if json:
        print_json({"node": settings.node.id, "problems": []})
    else:
        console.print(f"[green]✓[/] {config}: node {settings.node.id}, the settings are usable")
